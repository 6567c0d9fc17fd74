//! Which distinct lines of a segment hold which texts of a query: where terms
//! or 4-grams narrow it, by verifying the candidates, else by reading every
//! distinct line. Either way on all cores. The reading is the measure of the
//! rest, in the tests too.

use std::collections::BTreeSet;
use std::ops::{ControlFlow, Range};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::IndexError;
use crate::codec::char_boundary;
use crate::codec::tokenizer::{Unfolding, fold_text};
use crate::matcher::Matcher;
use crate::search::candidates::{Candidates, candidates};
use crate::search::compiled_query::Leaf;
use crate::search::restriction::keep_within;
use crate::segment::Segment;

/// Fewer frames than this are not worth another thread.
const FRAMES_A_THREAD: usize = 64;

/// Matching lines of a segment, ascending, for each text of the query.
pub(crate) struct LineSets {
    pub(crate) sets: Vec<Vec<u32>>,
    /// How each text was looked for.
    pub(crate) ways: Vec<Way>,
    pub(crate) read: Read,
}

/// How a text was looked for in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Lines that have its words.
    Terms { lines: usize },
    /// Groups of lines that have its 4-grams.
    Grams { groups: usize },
    /// All lines, one by one.
    Scan,
    /// Only in the members that can match at all: lines of those that may
    /// hold it.
    Within { lines: usize },
    /// Not by lines: whole texts are searched for it.
    Whole,
}

impl Way {
    /// A text that was looked for twice: the dearer way, or both together.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Terms { lines: a }, Self::Terms { lines: b }) => Self::Terms { lines: a + b },
            (Self::Grams { groups: a }, Self::Grams { groups: b }) => Self::Grams { groups: a + b },
            (Self::Within { lines: a }, Self::Within { lines: b }) => Self::Within { lines: a + b },
            (Self::Scan, _) | (_, Self::Scan) => Self::Scan,
            (terms @ Self::Terms { .. }, _) | (_, terms @ Self::Terms { .. }) => terms,
            (way, _) => way,
        }
    }
}

/// What had to be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) frames: u64,
    /// **Units**: bytes of inflated frames.
    pub(crate) bytes: u64,
}

/// Finds the lines of every text, of those in `within` where it is given.
///
/// **Cost**: a few inflated frames for texts with terms or 4-grams that are
/// rare; all of the segment's distinct text for those without.
pub(crate) fn find(
    segment: &Segment,
    leaves: &[Leaf],
    scan: bool,
    within: Option<&[u32]>,
) -> Result<LineSets, IndexError> {
    let mut found = LineSets {
        sets: vec![Vec::new(); leaves.len()],
        ways: Vec::with_capacity(leaves.len()),
        read: Read::default(),
    };
    let mut all = Vec::with_capacity(leaves.len());
    for (leaf, set) in leaves.iter().zip(&mut found.sets) {
        let (mut way, mut candidates) = candidates(segment, leaf, scan, set)?;
        if let Some(within) = within {
            (way, candidates) = keep_within(segment, way, candidates, set, within);
        }
        found.ways.push(way);
        all.push(candidates);
    }
    let frames = frames_of(segment, &all);
    read_frames(segment, leaves, &all, &frames, &mut found)?;
    found.sets.iter_mut().for_each(|set| set.sort_unstable());
    segment.rest();
    Ok(found)
}

/// The frames that hold a candidate of any text.
fn frames_of(segment: &Segment, all: &[Candidates]) -> Vec<usize> {
    if all
        .iter()
        .any(|candidates| matches!(candidates, Candidates::All))
    {
        return (0..segment.frame_count()).collect();
    }
    let mut frames = BTreeSet::new();
    for candidates in all {
        let mut rest = match candidates {
            Candidates::All => &[],
            Candidates::Groups(groups) => groups.as_slice(),
            Candidates::Lines(lines) => lines.as_slice(),
        };
        let line_of = |entry: u32| match candidates {
            Candidates::Groups(_) => segment.group_start(entry),
            _ => entry,
        };
        while let Some(&first) = rest.first() {
            let frame = segment.frame_of(line_of(first));
            let end = segment.frame_start(frame + 1);
            let here = rest.partition_point(|entry| line_of(*entry) < end);
            frames.insert(frame);
            rest = &rest[here.max(1)..];
        }
    }
    frames.into_iter().collect()
}

fn read_frames(
    segment: &Segment,
    leaves: &[Leaf],
    all: &[Candidates],
    frames: &[usize],
    into: &mut LineSets,
) -> Result<(), IndexError> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        let mut found = vec![Vec::new(); all.len()];
        let mut read = Read::default();
        while let Some(frame) = frames.get(next.fetch_add(1, Ordering::Relaxed)) {
            match segment.frame(*frame) {
                Ok(text) => {
                    read.frames += 1;
                    read.bytes += text.len() as u64;
                    let frame = Frame::new(segment, *frame, &text);
                    for ((leaf, candidates), found) in leaves.iter().zip(all).zip(&mut found) {
                        frame.search(leaf, candidates, found);
                    }
                }
                Err(error) => {
                    next.store(frames.len(), Ordering::Relaxed);
                    if let Ok(mut failure) = failure.lock() {
                        failure.get_or_insert(error);
                    }
                }
            }
        }
        (found, read)
    };
    let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
    let threads = cores.min(frames.len() / FRAMES_A_THREAD).max(1);
    let results: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let others = workers.into_iter().map(|worker| {
            let done = worker.join();
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        std::iter::once(own).chain(others).collect()
    });
    for (found, read) in results {
        into.read.frames += read.frames;
        into.read.bytes += read.bytes;
        for (set, lines) in into.sets.iter_mut().zip(found) {
            set.extend(lines);
        }
    }
    match failure.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(()),
    }
}

/// A frame's text and the lines in it.
struct Frame<'a> {
    segment: &'a Segment,
    text: &'a str,
    lines: Range<u32>,
}

impl<'a> Frame<'a> {
    fn new(segment: &'a Segment, frame: usize, text: &'a str) -> Self {
        Self {
            segment,
            text,
            lines: segment.frame_start(frame)..segment.frame_start(frame + 1),
        }
    }

    fn search(&self, leaf: &Leaf, candidates: &Candidates, found: &mut Vec<u32>) {
        match candidates {
            Candidates::All => scan(
                self.segment,
                &leaf.matcher,
                self.lines.start,
                self.text,
                found,
            ),
            Candidates::Groups(groups) => self.search_groups(leaf, groups, found),
            Candidates::Lines(lines) => self.verify(leaf, lines, found),
        }
    }

    fn search_groups(&self, leaf: &Leaf, groups: &[u32], found: &mut Vec<u32>) {
        let start = |group: u32| self.segment.group_start(group);
        let from = groups.partition_point(|group| start(*group) < self.lines.start);
        let mut walk = Walk::new(self.text, self.lines.start);
        for &group in &groups[from..] {
            let first = start(group);
            if first >= self.lines.end {
                return;
            }
            let from = walk.to(first);
            let to = walk.to(start(group + 1).min(self.lines.end));
            let text = self.text.get(from..to).unwrap_or("");
            scan(self.segment, &leaf.matcher, first, text, found);
        }
    }

    /// Keeps the candidates that match.
    fn verify(&self, leaf: &Leaf, lines: &[u32], found: &mut Vec<u32>) {
        let from = lines.partition_point(|line| *line < self.lines.start);
        let to = lines.partition_point(|line| *line < self.lines.end);
        let mut walk = Walk::new(self.text, self.lines.start);
        for &line in lines.get(from..to).unwrap_or(&[]) {
            if matches_line(self.segment, &leaf.matcher, line, walk.line(line)) {
                found.push(line);
            }
        }
    }
}

/// Walks along the lines of a text.
struct Walk<'a> {
    text: &'a str,
    line: u32,
    at: usize,
}

impl<'a> Walk<'a> {
    fn new(text: &'a str, first: u32) -> Self {
        Self {
            text,
            line: first,
            at: 0,
        }
    }

    /// Where a line begins; the end of the text for what lies behind it.
    /// Lines are asked for in ascending order.
    fn to(&mut self, line: u32) -> usize {
        let ahead = line.saturating_sub(self.line);
        if ahead > 0 {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or(&[]);
            let feed = memchr::memchr_iter(b'\n', rest).nth(ahead as usize - 1);
            self.at = feed.map_or(self.text.len(), |feed| self.at + feed + 1);
            self.line = line;
        }
        self.at
    }

    /// A line with its line feed.
    fn line(&mut self, line: u32) -> &'a str {
        let start = self.to(line);
        let end = self.to(line.saturating_add(1));
        self.text.get(start..end).unwrap_or("")
    }
}

/// Finds every matching line of some whole lines, the first of which is
/// `first`.
fn scan(segment: &Segment, matcher: &Matcher, first: u32, text: &str, found: &mut Vec<u32>) {
    let folded = matcher.folds().then(|| fold_text(text));
    let hay = folded.as_deref().unwrap_or(text);
    let mut walk = Walk::new(text, first);
    let (mut at, mut line, mut line_start) = (0, 0u32, 0);
    while at < hay.len()
        && let Some((start, is_sure)) = matcher.skim(hay, at)
    {
        if start >= hay.len() {
            return;
        }
        let feeds = memchr::memchr_iter(b'\n', &hay.as_bytes()[line_start..start]);
        let (passed, last) = feeds.fold((0u32, None), |(n, _), feed| (n + 1, Some(feed)));
        line += passed;
        line_start += last.map_or(0, |feed| feed + 1);
        let id = first + line;
        let is_usual = is_sure && segment.mark(id).is_none();
        if is_usual || matches_line(segment, matcher, id, walk.line(first + line)) {
            found.push(id);
        }
        let rest = &hay[line_start..];
        let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        line_start += end + 1;
        line += 1;
        at = line_start;
    }
}

fn matches_line(segment: &Segment, matcher: &Matcher, line: u32, text: &str) -> bool {
    first_match(segment, matcher, line, text).is_some()
}

/// The first match in a line's stored text that begins in the line's own.
/// `text` ends in the frame's line feed, which belongs to most lines. Matches
/// that may be longer than what parts of a line share are not looked for in
/// parts.
pub(crate) fn first_match(
    segment: &Segment,
    matcher: &Matcher,
    line: u32,
    text: &str,
) -> Option<(usize, usize)> {
    let mark = segment.mark(line);
    if mark.is_some_and(|mark| mark.is_part()) && !matcher.fits_a_part() {
        return None;
    }
    let text = match mark {
        Some(mark) if !mark.terminated => text.strip_suffix('\n').unwrap_or(text),
        _ => text,
    };
    let (from, to) = match mark {
        // What ends a line ends no part before its last.
        Some(mark) if mark.last && matches!(matcher, Matcher::LineEnd(_)) => (0, usize::MAX),
        Some(mark) if mark.is_part() => (
            char_boundary::ceil(text, mark.own_start as usize),
            if mark.last {
                usize::MAX
            } else {
                mark.own_end as usize
            },
        ),
        _ => (0, usize::MAX),
    };
    matches_in(matcher, text, from, to, 1).into_iter().next()
}

/// Up to `count` matches that begin from `from` on and before `to`, in order,
/// none overlapping another.
pub(crate) fn matches_in(
    matcher: &Matcher,
    text: &str,
    from: usize,
    to: usize,
    count: usize,
) -> Vec<(usize, usize)> {
    let folded = matcher.folds().then(|| fold_text(text));
    let hay = folded.as_deref().unwrap_or(text);
    let mut raw = Unfolding::new(text, hay);
    let mut found = Vec::new();
    let _ = matcher.each(
        hay,
        Unfolding::new(hay, text).to(from),
        &mut |start, end| {
            let (start, end) = (raw.to(start), raw.to(end));
            if start >= to {
                return ControlFlow::Break(());
            }
            found.push((start, end));
            match found.len() < count {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        },
    );
    found
}

/// The `n`-th line of a frame's text, with its line feed.
pub(crate) fn nth_line(text: &str, n: u32) -> &str {
    let mut feeds = memchr::memchr_iter(b'\n', text.as_bytes());
    let start = match n {
        0 => 0,
        n => feeds
            .nth(n as usize - 1)
            .map_or(text.len(), |feed| feed + 1),
    };
    let end = feeds.next().map_or(text.len(), |feed| feed + 1);
    text.get(start..end.max(start)).unwrap_or("")
}

/// A line as it is shown, without its end.
pub(crate) fn without_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::regex_pattern::PATTERNS_MAX;
    use crate::query::ast::{IpNetwork, Text};

    #[test]
    fn many_matches_of_a_line_take_no_longer_than_one_look_at_it() {
        let network = IpNetwork::read("10.0.0.0/8").unwrap();
        let near = Text::Near {
            words: vec!["a".into(), "b".into()],
            within: 3,
        };
        for (text, line) in [
            (Text::IpNetwork(network), "10.1.2.3:".repeat(7_000)),
            (near, "a b ".repeat(15_000)),
            (
                Text::Term("A".into()),
                "É".repeat(3 << 20) + &" a".repeat(1_000),
            ),
        ] {
            let (matcher, _) = Matcher::compile(&text, PATTERNS_MAX).unwrap();
            let began = std::time::Instant::now();
            let found = matches_in(&matcher, &line, 0, usize::MAX, 1_000);
            let took = began.elapsed();
            assert!(took.as_millis() < 1_000, "{text:?} took {took:?}");
            assert_eq!(found.len(), 1_000);
            let pieces = found.iter().map(|(start, end)| &line[*start..*end]);
            assert!(
                pieces
                    .clone()
                    .all(|piece| Some(piece) == pieces.clone().next())
            );
        }
    }
}
