//! A window over a byte stream. It is always filled completely, so that a
//! decoder sees the same bytes however the stream splits its reads.

use std::io::{self, Read};

/// Bytes of the first window, which decides the format and the encoding, and
/// of each further step. Large enough to contain a non-ASCII character of most
/// files, small enough to be allocated for every member.
pub(crate) const WINDOW_BYTES: usize = 64 << 10;

pub(crate) struct ByteWindow<'a> {
    stream: &'a mut dyn Read,
    buf: Vec<u8>,
    /// Number of consumed bytes of `buf`.
    at: usize,
    step: usize,
    ended: bool,
}

impl<'a> ByteWindow<'a> {
    pub fn new(stream: &'a mut dyn Read) -> Self {
        Self {
            stream,
            buf: Vec::new(),
            at: 0,
            step: WINDOW_BYTES,
            ended: false,
        }
    }

    /// Sets how many bytes each further step reads.
    #[cfg(test)]
    pub fn set_step(&mut self, step: usize) {
        self.step = step.max(1);
    }

    /// The bytes read and not yet consumed.
    pub fn unread(&self) -> &[u8] {
        self.buf.get(self.at..).unwrap_or_default()
    }

    /// Whether the stream ends with the window.
    pub fn is_last(&self) -> bool {
        self.ended
    }

    pub fn consume(&mut self, n: usize) {
        self.at = (self.at + n).min(self.buf.len());
    }

    /// Reads the first window.
    pub fn fill_first(&mut self) -> io::Result<()> {
        self.read_to(WINDOW_BYTES)
    }

    /// Drops the consumed bytes and reads one more step.
    pub fn fill(&mut self) -> io::Result<()> {
        self.buf.drain(..self.at);
        self.at = 0;
        self.read_to(self.buf.len() + self.step)
    }

    fn read_to(&mut self, len: usize) -> io::Result<()> {
        let mut filled = self.buf.len();
        self.buf.resize(len, 0);
        while let Some(free) = self.buf.get_mut(filled..).filter(|b| !b.is_empty()) {
            match self.stream.read(free) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.buf.truncate(filled);
                    return Err(e);
                }
            }
        }
        self.buf.truncate(filled);
        Ok(())
    }
}

impl Read for ByteWindow<'_> {
    /// Consumes the window, then reads on from the stream.
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.unread().len().min(buf.len());
        if n == 0 {
            return self.stream.read(buf);
        }
        buf[..n].copy_from_slice(&self.unread()[..n]);
        self.consume(n);
        Ok(n)
    }
}
