//! A long text, seen through a window that moves on over it.

use std::io::{self, Read};
use std::ops::ControlFlow;

use crate::codec::char_boundary;

/// **Units**: bytes read at a time.
const STEP: usize = 1 << 20;
/// **Units**: bytes kept for what looks behind, which is at most a character.
const BEHIND: usize = 4 << 10;

/// How much of a text is seen at once.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    /// **Units**: bytes of a window. A text that is no longer is seen whole.
    pub(crate) window: usize,
    /// **Units**: bytes that neighbouring windows share: a match that begins
    /// in one is seen so far at least.
    pub(crate) overlap: usize,
}

/// A text as far as it is read.
pub(crate) struct Window<R> {
    source: R,
    size: Size,
    pub(crate) text: String,
    /// The beginning of a character that is not read whole.
    cut: Vec<u8>,
    /// Bytes and lines before the window.
    pub(crate) offset: u64,
    pub(crate) lines: u64,
    /// It reaches the end of the text.
    pub(crate) ended: bool,
}

impl<R: Read> Window<R> {
    /// Moves over a text. `each` is given the window and where to look in it:
    /// for what begins from one place on and before another. It says from where
    /// on to look next, or that it has seen enough.
    pub(crate) fn pass(
        source: R,
        size: Size,
        mut each: impl FnMut(&Self, usize, usize) -> ControlFlow<(), usize>,
    ) -> io::Result<()> {
        let mut window = Self {
            source,
            size,
            text: String::new(),
            cut: Vec::new(),
            offset: 0,
            lines: 0,
            ended: false,
        };
        let mut at = 0;
        loop {
            window.fill()?;
            // What begins in the overlap is seen better in the next window.
            let end = match window.ended {
                true => window.text.len() + 1,
                false => window.shared(),
            };
            match each(&window, at, end) {
                ControlFlow::Continue(next) if !window.ended => at = next.max(end),
                _ => return Ok(()),
            }
            let keep = char_boundary::floor(&window.text, at.min(end).saturating_sub(BEHIND));
            window.drop_before(keep);
            at -= keep;
        }
    }

    /// Where the part begins that the next window shows again.
    pub(crate) fn shared(&self) -> usize {
        let overlap = self.text.len().saturating_sub(self.size.overlap);
        char_boundary::floor(&self.text, overlap)
    }

    /// Reads on, up to the size of a window.
    fn fill(&mut self) -> io::Result<()> {
        while !self.ended && self.text.len() < self.size.window {
            let mut bytes = std::mem::take(&mut self.cut);
            let room = bytes.len() + STEP;
            let read = self
                .source
                .by_ref()
                .take(STEP as u64)
                .read_to_end(&mut bytes)?;
            self.ended = read < STEP && bytes.len() < room;
            let valid = match std::str::from_utf8(&bytes) {
                Ok(_) => bytes.len(),
                Err(error) => error.valid_up_to(),
            };
            self.cut = bytes.split_off(valid);
            self.make_room(bytes.len());
            self.text
                .push_str(&String::from_utf8(bytes).unwrap_or_default());
        }
        Ok(())
    }

    /// Room for so many bytes more; for all of a window where half of it is
    /// filled: growing on by doubling would hold three times as much.
    fn make_room(&mut self, more: usize) {
        let len = self.text.len() + more;
        if len > self.text.capacity() && len > self.size.window / 2 {
            let whole = self.size.window + 2 * STEP;
            self.text.reserve_exact(whole.max(len) - self.text.len());
        }
    }

    /// Drops what lies before a place.
    fn drop_before(&mut self, at: usize) {
        let gone = &self.text.as_bytes()[..at];
        self.lines += memchr::memchr_iter(b'\n', gone).count() as u64;
        self.offset += at as u64;
        self.text.drain(..at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_takes_no_more_room_than_it_shows() {
        let size = Size {
            window: 8 << 20,
            overlap: 1 << 20,
        };
        let (mut windows, mut bytes) = (0, 0);
        let text = "é1".repeat(9 << 20);
        Window::pass(text.as_bytes(), size, |window, _, end| {
            assert!(window.text.capacity() <= size.window + 2 * STEP);
            bytes = window.offset as usize + window.text.len();
            windows += 1;
            ControlFlow::Continue(end)
        })
        .unwrap();
        assert_eq!(bytes, text.len());
        assert!(windows > 3);
    }
}
