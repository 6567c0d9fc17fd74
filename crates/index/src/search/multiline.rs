//! Patterns that cross line ends: every text is built again from its lines
//! and searched as a whole.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::IndexError;
use crate::codec::char_boundary;
use crate::matcher::regex_pattern::{TextPattern, without_end};
use crate::search::restriction::Within;
use crate::search::searcher::Searcher;
use crate::search::text_window::{Size, Window};
use evidence::{Layer, Sha256};

/// Of a text that is searched in one go, or of the windows a longer one is
/// searched in.
const SIZE: Size = Size {
    window: 32 << 20,
    overlap: 4 << 20,
};
/// Texts searched at the same time, whatever the cores: each takes a window.
const THREADS_MAX: usize = 4;

/// Where matches begin: the first of each line, by line from 0.
pub(crate) type Starts = BTreeMap<u64, Start>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// **Units**: bytes of the decoded text before the match.
    pub(crate) offset: u64,
    /// **Units**: bytes of the match, up to the end of its first line.
    pub(crate) len: u64,
}

/// Matches by content and part.
pub(crate) type Found = HashMap<(Sha256, Option<Layer>), Starts>;

/// Searches every text, or those of the contents in `within`. Says in how many
/// of them the pattern may match where that was not seen: its matches may be
/// longer than what windows share.
///
/// **Cost**: inflates all text there is, on all cores.
///
/// **Memory**: a window for each thread.
pub(crate) fn find(
    searcher: &Searcher,
    pattern: &TextPattern,
    within: Option<&Within>,
) -> Result<(Found, u64), IndexError> {
    let texts = texts(searcher, within)?;
    let next = AtomicUsize::new(0);
    let work = || -> Result<(Found, u64), IndexError> {
        let (mut found, mut cut) = (Found::new(), 0);
        while let Some((content, part)) = texts.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut text = searcher.text(content, part.as_ref())?;
            let searched = search(&mut text, pattern);
            let (starts, is_cut) = searched.map_err(unreadable)?;
            cut += u64::from(is_cut);
            if !starts.is_empty() {
                found.insert((*content, part.clone()), starts);
            }
        }
        Ok((found, cut))
    };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let all = Mutex::new(Ok((Found::new(), 0)));
    std::thread::scope(|scope| {
        for _ in 0..cores.min(THREADS_MAX) {
            scope.spawn(|| {
                let found = work();
                let mut all = all.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                match (&mut *all, found) {
                    (Ok((all, all_cut)), Ok((found, cut))) => {
                        all.extend(found);
                        *all_cut += cut;
                    }
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
pub(crate) fn unreadable(error: std::io::Error) -> IndexError {
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

/// Where matches begin in a text, and whether some may not have been seen.
fn search(source: impl Read, pattern: &TextPattern) -> std::io::Result<(Starts, bool)> {
    let (mut starts, mut is_cut) = (Starts::new(), false);
    let may_be_long = pattern.len_max.is_none_or(|len| len > SIZE.overlap);
    Window::pass(source, SIZE, |window, at, end| {
        is_cut |= !window.ended && may_be_long;
        ControlFlow::Continue(search_window(window, pattern, at, end, &mut starts))
    })?;
    Ok((starts, is_cut))
}

/// Notes the matches that begin from `from` on and before `end`; says where the
/// next may begin.
fn search_window<R>(
    window: &Window<R>,
    pattern: &TextPattern,
    mut at: usize,
    end: usize,
    starts: &mut Starts,
) -> usize {
    let text = &window.text;
    let (mut line, mut counted) = (window.lines, 0);
    while at <= text.len()
        && let Some(found) = pattern.regex.find_at(text, at)
    {
        if found.start() >= end {
            return end;
        }
        // What stands at the end of a window may be other behind it.
        if !window.ended && found.end() == text.len() && pattern.looks {
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
            len: len_in_line(&text[found.start()..], found.len()),
        });
        at = match found.is_empty() {
            false => found.end(),
            true if found.end() == text.len() => break,
            true => char_boundary::ceil(text, found.end() + 1),
        };
    }
    at.max(end.min(text.len()))
}

/// How much of a match stands before the end of the line it begins in.
fn len_in_line(text: &str, len: usize) -> u64 {
    let feed = memchr::memchr(b'\n', &text.as_bytes()[..len]);
    let line = without_end(feed.map_or(&text[..len], |feed| &text[..=feed]));
    line.len() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::regex_pattern::PATTERNS_MAX;

    fn search_for(text: &str, pattern: &str) -> (Vec<(u64, u64, u64)>, bool) {
        let pattern = TextPattern::compile(pattern, false, PATTERNS_MAX).unwrap();
        let (found, is_cut) = search(text.as_bytes(), &pattern).unwrap();
        let each = found.iter();
        let each = each.map(|(line, start)| (*line, start.offset, start.len));
        (each.collect(), is_cut)
    }

    fn starts(text: &str, pattern: &str) -> Vec<(u64, u64, u64)> {
        search_for(text, pattern).0
    }

    #[test]
    fn matches_cross_lines_and_one_of_each_line_counts() {
        assert_eq!(starts("a\nb\na\nc\n", r"a\n[bc]"), [(0, 0, 1), (2, 4, 1)]);
        assert_eq!(starts("x a a\n", "a"), [(0, 2, 1)]);
        assert_eq!(starts("ab\n", "$"), [(0, 2, 0)]);
        assert_eq!(starts("a\nbé", "$"), [(0, 1, 0), (1, 5, 0)]);
        assert!(starts("", "x*").is_empty());
    }

    #[test]
    fn windows_of_a_long_text_hide_nothing() {
        let line = "x".repeat(99);
        let mut text = String::new();
        let mut expected = Vec::new();
        for n in 0..400_000u64 {
            if n % 37_000 == 0 {
                expected.push((n, text.len() as u64 + 90, 9));
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
        assert!(text.len() > SIZE.window);
    }

    #[test]
    fn windows_invent_no_match_and_say_what_they_do_not_show() {
        let mut text = "a foo\r\n".to_string();
        while text.len() < SIZE.window + SIZE.overlap {
            text.push_str("some other line\n");
        }
        text.push_str("foo\n\n");
        let last = text.matches('\n').count() as u64 - 2;
        let whole = text.len() as u64 - 5;
        assert_eq!(
            search_for(&text, r"foo\s*\z"),
            (vec![(last, whole, 3)], true)
        );
        assert_eq!(
            search_for(&text, r"foo[\s\S]*\z"),
            (vec![(last, whole, 3)], true)
        );
        let (found, is_cut) = search_for(&text, r"foo$");
        assert_eq!((found.len(), found[0], is_cut), (2, (0, 2, 3), false));
        assert!(!search_for("foo\nbar", r"foo[\s\S]*\z").1);
    }
}
