//! Inflated frames, kept for the next lines that are asked for.

use std::ops::Range;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use super::IndexError;
use super::members::Listed;
use super::searcher::Searcher;

/// **Units**: bytes of frames kept for the next hits, which come in the order
/// of time: of a fleet most lines that a common pattern lists.
const FRAMES_MAX: usize = 40 << 20;

/// Lines of a frame: all of them, or those that are listed.
pub(super) struct Frame {
    text: String,
    /// Where each line begins; one that is left out takes no room.
    starts: Vec<u32>,
    is_whole: bool,
}

impl Frame {
    fn whole(text: String) -> Self {
        let feeds = memchr::memchr_iter(b'\n', text.as_bytes());
        let starts = std::iter::once(0).chain(feeds.map(|feed| feed as u32 + 1));
        Self {
            starts: starts.collect(),
            text,
            is_whole: true,
        }
    }

    /// Leaves out what is not listed, where that is most of it: a pattern that
    /// is common lists some lines of nearly every frame.
    fn listed(text: String, is_listed: impl Fn(u32) -> bool) -> Self {
        let all = Self::whole(text);
        let lines = all.starts.len() as u32;
        let listed = (0..lines).filter(|line| is_listed(*line)).count() as u32;
        if listed > lines / 2 {
            return all;
        }
        let mut some = Self {
            text: String::new(),
            starts: Vec::with_capacity(lines as usize),
            is_whole: false,
        };
        for line in 0..lines {
            some.starts.push(some.text.len() as u32);
            if is_listed(line) {
                some.text.push_str(all.line(line));
            }
        }
        some.text.shrink_to_fit();
        some
    }

    fn bytes(&self) -> usize {
        self.text.len() + self.starts.len() * size_of::<u32>()
    }

    /// A line with its line feed.
    pub(super) fn line(&self, n: u32) -> &str {
        let start = |n: u32| self.starts.get(n as usize).map(|start| *start as usize);
        let end = start(n.saturating_add(1)).unwrap_or(self.text.len());
        let line = start(n).and_then(|start| self.text.get(start..end));
        line.unwrap_or("")
    }
}

/// As many frames as there is room for.
pub(super) struct Frames<'a> {
    searcher: &'a Searcher,
    /// By segment, where few other lines are asked for.
    listed: &'a [Listed],
    kept: FxHashMap<(u32, usize), Rc<Frame>>,
    /// **Units**: bytes of those.
    bytes: usize,
    /// The frame of the last line, and its lines.
    last: Option<(u32, Range<u32>, Rc<Frame>)>,
}

impl<'a> Frames<'a> {
    pub(super) fn new(searcher: &'a Searcher, listed: &'a [Listed]) -> Self {
        Self {
            searcher,
            listed,
            kept: FxHashMap::default(),
            bytes: 0,
            last: None,
        }
    }

    /// A line's frame, and which of its lines it is.
    pub(super) fn line(&mut self, number: u32, line: u32) -> Result<(Rc<Frame>, u32), IndexError> {
        if let Some((of, lines, frame)) = &self.last
            && *of == number
            && lines.contains(&line)
            && (frame.is_whole || self.is_listed(number, line))
        {
            return Ok((Rc::clone(frame), line - lines.start));
        }
        let segment = self.searcher.segment(number);
        let nth = segment.frame_of(line);
        let lines = segment.frame_start(nth)..segment.frame_start(nth + 1);
        let frame = self.frame((number, nth), line, lines.start)?;
        self.last = Some((number, lines.clone(), Rc::clone(&frame)));
        Ok((frame, line - lines.start))
    }

    fn is_listed(&self, number: u32, line: u32) -> bool {
        let listed = self.listed.get(number as usize);
        listed.is_some_and(|listed| listed.has_line(line))
    }

    /// A frame that has `line`; its lines are those from `first` on.
    fn frame(
        &mut self,
        (number, nth): (u32, usize),
        line: u32,
        first: u32,
    ) -> Result<Rc<Frame>, IndexError> {
        let is_listed = self.is_listed(number, line);
        let known = self.kept.get(&(number, nth));
        if let Some(known) = known.filter(|known| known.is_whole || is_listed) {
            return Ok(Rc::clone(known));
        }
        let text = self.searcher.segment(number).frame(nth)?;
        let frame = Rc::new(match is_listed {
            true => Frame::listed(text, |nth| self.is_listed(number, first + nth)),
            false => Frame::whole(text),
        });
        if self.bytes > FRAMES_MAX {
            self.bytes = halve(&mut self.kept, |frame| frame.bytes());
        }
        self.bytes += frame.bytes();
        if let Some(old) = self.kept.insert((number, nth), Rc::clone(&frame)) {
            self.bytes -= old.bytes();
        }
        Ok(frame)
    }
}

/// Makes room for others, of any that came: what is listed of a fleet comes
/// round again from the first device to the last. Gives the bytes that stay.
pub(super) fn halve<K, V>(kept: &mut FxHashMap<K, V>, bytes: impl Fn(&V) -> usize) -> usize {
    let (mut stays, mut rest) = (false, 0);
    kept.retain(|_, value| {
        stays = !stays;
        rest += if stays { bytes(value) } else { 0 };
        stays
    });
    rest
}
