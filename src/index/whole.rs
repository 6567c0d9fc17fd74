//! Patterns that cross line ends: every text is built again from its lines
//! and searched as a whole.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use regex::Regex;

use super::searcher::Searcher;
use super::within::Within;
use super::{IndexError, border};
use crate::evidence::{Layer, Sha256};

/// **Units**: bytes of a text searched in one go. A longer one is searched in
/// windows of this size.
const WINDOW: usize = 32 << 20;
/// **Units**: bytes that neighbouring windows share: the longest match that is
/// surely found in a text that takes more than one.
const OVERLAP: usize = 4 << 20;
/// **Units**: bytes read at a time.
const STEP: usize = 1 << 20;
/// Texts searched at the same time, whatever the cores: each takes a window.
const THREADS_MAX: usize = 4;

/// Where matches begin: the first of each line, by line from 0.
pub(super) type Starts = BTreeMap<u64, Start>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// **Units**: bytes of the decoded text before the match.
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// Matches by content and part.
pub(super) type Found = HashMap<(Sha256, Option<Layer>), Starts>;

/// Searches every text, or those of the contents in `within`.
///
/// **Cost**: inflates all text there is, on all cores.
///
/// **Memory**: a window for each thread.
pub(super) fn find(
    searcher: &Searcher,
    pattern: &Regex,
    within: Option<&Within>,
) -> Result<Found, IndexError> {
    let texts = texts(searcher, within)?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<Found, IndexError> {
        let mut found = Found::new();
        while let Some((content, part)) = texts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut text = searcher.text(content, part.as_ref())?;
            let starts = search(&mut text, pattern);
            let starts = starts.map_err(unreadable)?;
            if !starts.is_empty() {
                found.insert((*content, part.clone()), starts);
            }
        }
        Ok(found)
    };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let all = Mutex::new(Ok(Found::new()));
    std::thread::scope(|scope| {
        for _ in 0..cores.min(THREADS_MAX) {
            scope.spawn(|| {
                let found = work();
                let mut all = all.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                match (&mut *all, found) {
                    (Ok(all), Ok(found)) => all.extend(found),
                    (all, Err(error)) => *all = Err(error),
                    (Err(_), Ok(_)) => {}
                }
            });
        }
    });
    all.into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The reader's own error comes out of its wrapping.
fn unreadable(error: std::io::Error) -> IndexError {
    let wrapped = error.downcast::<IndexError>();
    wrapped.unwrap_or_else(|source| IndexError::Io {
        action: "read the text of",
        path: "the index".into(),
        source,
    })
}

fn texts(
    searcher: &Searcher,
    within: Option<&Within>,
) -> Result<Vec<(Sha256, Option<Layer>)>, IndexError> {
    let segments = searcher.segments().iter();
    let contents = segments.flat_map(|segment| segment.contents());
    let mut contents: Vec<Sha256> = contents.filter_map(|c| searcher.resolve(c)).collect();
    if let Some(within) = within {
        contents.retain(|content| within.contents.contains(content));
    }
    contents.sort_unstable();
    contents.dedup();
    let mut texts = Vec::with_capacity(contents.len());
    for content in contents {
        let parts = searcher.parts(&content)?.into_iter();
        texts.extend(parts.map(|part| (content, part)));
    }
    Ok(texts)
}

/// A text as far as it is read.
struct Window<R> {
    source: R,
    text: String,
    /// The beginning of a character that is not read whole.
    cut: Vec<u8>,
    /// Bytes and lines before the window.
    offset: u64,
    lines: u64,
    ended: bool,
}

impl<R: Read> Window<R> {
    /// Reads on, up to the size of a window.
    fn fill(&mut self) -> std::io::Result<()> {
        while !self.ended && self.text.len() < WINDOW {
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
            self.text
                .push_str(&String::from_utf8(bytes).unwrap_or_default());
        }
        Ok(())
    }

    /// Drops what lies before a place.
    fn drop_before(&mut self, at: usize) {
        let gone = &self.text.as_bytes()[..at];
        self.lines += memchr::memchr_iter(b'\n', gone).count() as u64;
        self.offset += at as u64;
        self.text.drain(..at);
    }
}

fn search(source: impl Read, pattern: &Regex) -> std::io::Result<Starts> {
    let mut window = Window {
        source,
        text: String::new(),
        cut: Vec::new(),
        offset: 0,
        lines: 0,
        ended: false,
    };
    let mut starts = Starts::new();
    let mut at = 0;
    loop {
        window.fill()?;
        // A match that begins in the overlap is found whole in the next one.
        let end = match window.ended {
            true => window.text.len() + 1,
            false => border::floor(&window.text, window.text.len() - OVERLAP),
        };
        at = search_window(&window, pattern, at, end, &mut starts);
        if window.ended {
            return Ok(starts);
        }
        // What looks behind sees a little of what was there.
        let keep = border::floor(&window.text, at.min(end).saturating_sub(STEP));
        window.drop_before(keep);
        at -= keep;
    }
}

/// Notes the matches that begin from `at` on and before `end`; says where the
/// next may begin.
fn search_window<R>(
    window: &Window<R>,
    pattern: &Regex,
    mut at: usize,
    end: usize,
    starts: &mut Starts,
) -> usize {
    let text = &window.text;
    let (mut line, mut counted) = (window.lines, 0);
    while at <= text.len()
        && let Some(found) = pattern.find_at(text, at)
    {
        if found.start() >= end {
            return end;
        }
        // Behind the last line feed is no line.
        let is_behind = found.start() == text.len() && text.ends_with('\n');
        if is_behind || text.is_empty() {
            break;
        }
        let passed = &text.as_bytes()[counted..found.start()];
        line += memchr::memchr_iter(b'\n', passed).count() as u64;
        counted = found.start();
        starts.entry(line).or_insert(Start {
            offset: window.offset + found.start() as u64,
            len: found.len() as u64,
        });
        at = match found.is_empty() {
            false => found.end(),
            true => border::ceil(text, found.end() + 1),
        };
    }
    at.max(end.min(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(text: &str, pattern: &str) -> Vec<(u64, u64, u64)> {
        let pattern = Regex::new(&format!("(?m){pattern}")).unwrap();
        let found = search(text.as_bytes(), &pattern).unwrap();
        let each = found.iter();
        each.map(|(line, start)| (*line, start.offset, start.len))
            .collect()
    }

    #[test]
    fn matches_cross_lines_and_one_of_each_line_counts() {
        assert_eq!(starts("a\nb\na\nc\n", r"a\n[bc]"), [(0, 0, 3), (2, 4, 3)]);
        assert_eq!(starts("x a a\n", "a"), [(0, 2, 1)]);
        assert_eq!(starts("ab\n", "$"), [(0, 2, 0)]);
        assert!(starts("", "x*").is_empty());
    }

    #[test]
    fn windows_of_a_long_text_hide_nothing() {
        let line = "x".repeat(99);
        let mut text = String::new();
        let mut expected = Vec::new();
        for n in 0..400_000u64 {
            if n % 37_000 == 0 {
                expected.push((n, text.len() as u64 + 90, 20));
                text.push_str(&line[..90]);
                text.push_str("needle é");
                text.push_str("\nneedle é\n\n");
                continue;
            }
            text.push_str(&line);
            text.push('\n');
        }
        // two lines more for each needle
        let expected = (0..).zip(expected);
        let expected = expected.map(|(k, (n, at, len))| (n + 2 * k, at, len));
        let found = starts(&text, r"needle é\nneedle é\n");
        assert_eq!(found, expected.collect::<Vec<_>>());
        assert!(text.len() > WINDOW);
    }
}
