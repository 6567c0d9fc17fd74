//! Which distinct lines of a segment hold which texts of a query: through the
//! terms where they narrow it, else by reading every distinct line on all
//! cores. The reading is the measure of the terms, in the tests too.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::matcher::Matcher;
use super::plan::{Leaf, Plan};
use super::segment::Segment;
use super::token::{fold_text, unfold};
use super::{IndexError, border};

/// Matching lines of a segment, ascending, for each text of the query.
pub(super) struct LineSets {
    pub(super) sets: Vec<Vec<u32>>,
    /// Distinct lines were read one by one.
    pub(super) scanned: bool,
}

/// Finds the lines of every text.
///
/// **Cost**: a few inflated frames for texts with terms; all of the segment's
/// distinct text, on all cores, for those without.
pub(super) fn find(segment: &Segment, plan: &Plan, scan: bool) -> Result<LineSets, IndexError> {
    let mut sets = vec![Vec::new(); plan.leaves.len()];
    if segment.line_count() == 0 {
        return Ok(LineSets {
            sets,
            scanned: false,
        });
    }
    let mut unaided = Vec::new();
    for (n, leaf) in plan.leaves.iter().enumerate() {
        if scan || leaf.needed.is_empty() {
            unaided.push(n);
        } else {
            sets[n] = find_by_terms(segment, leaf)?;
        }
    }
    let scanned = !unaided.is_empty();
    if scanned {
        scan_frames(segment, plan, &unaided, &mut sets)?;
    }
    Ok(LineSets { sets, scanned })
}

fn find_by_terms(segment: &Segment, leaf: &Leaf) -> Result<Vec<u32>, IndexError> {
    let mut found = Vec::new();
    for part in segment.terms()? {
        let candidates = part.lines(&leaf.needed)?;
        let mut rest = candidates.as_slice();
        while let Some(&line) = rest.first() {
            let frame = segment.frame_of(line);
            let end = segment.frame_start(frame + 1).max(line + 1);
            let here = rest.partition_point(|line| *line < end);
            let text = segment.frame(frame)?;
            verify(segment, leaf, frame, &text, &rest[..here], &mut found);
            rest = &rest[here..];
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Keeps the candidates of one frame that match.
fn verify(
    segment: &Segment,
    leaf: &Leaf,
    frame: usize,
    text: &str,
    candidates: &[u32],
    found: &mut Vec<u32>,
) {
    let mut line = segment.frame_start(frame);
    let mut start = 0;
    let mut candidates = candidates.iter().peekable();
    while let Some(&&candidate) = candidates.peek() {
        let rest = text.get(start..).unwrap_or("");
        let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        if line == candidate {
            let with_feed = &rest[..(end + 1).min(rest.len())];
            if matches_line(segment, &leaf.matcher, line, with_feed) {
                found.push(line);
            }
            candidates.next();
        }
        if start > text.len() {
            return;
        }
        start += end + 1;
        line += 1;
    }
}

fn matches_line(segment: &Segment, matcher: &Matcher, line: u32, text: &str) -> bool {
    first_match(segment, matcher, line, text).is_some()
}

/// The first match in a line's stored text that begins in the line's own.
/// `text` ends in the frame's line feed, which belongs to most lines: between
/// it and a CR before it is no line's end.
pub(super) fn first_match(
    segment: &Segment,
    matcher: &Matcher,
    line: u32,
    text: &str,
) -> Option<(usize, usize)> {
    let mark = segment.mark(line);
    let text = match mark {
        Some(mark) if !mark.terminated => text.strip_suffix('\n').unwrap_or(text),
        _ => text,
    };
    let (from, to) = match mark {
        Some(mark) if mark.is_part() => (
            border::ceil(text, mark.own_start as usize),
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
pub(super) fn matches_in(
    matcher: &Matcher,
    text: &str,
    from: usize,
    to: usize,
    count: usize,
) -> Vec<(usize, usize)> {
    let folded = matcher.folds().then(|| fold_text(text));
    let hay = folded.as_deref().unwrap_or(text);
    let raw = |at: usize| match &folded {
        Some(folded) => unfold(text, folded, at),
        None => at,
    };
    let mut at = match &folded {
        Some(folded) => unfold(folded, text, from),
        None => from,
    };
    let mut found = Vec::new();
    while found.len() < count
        && let Some((start, end)) = matcher.find_at(hay, at)
    {
        let (raw_start, raw_end) = (raw(start), raw(end));
        let is_behind_line = start == hay.len() && hay.ends_with('\n');
        if raw_start >= to || is_behind_line {
            break;
        }
        found.push((raw_start, raw_end));
        at = if end > start {
            end
        } else {
            end + hay[end..].chars().next().map_or(1, char::len_utf8)
        };
    }
    found
}

fn scan_frames(
    segment: &Segment,
    plan: &Plan,
    leaves: &[usize],
    sets: &mut [Vec<u32>],
) -> Result<(), IndexError> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let frames = segment.frame_count();
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
    let work = || {
        let mut found = vec![Vec::new(); leaves.len()];
        loop {
            let frame = next.fetch_add(1, Ordering::Relaxed);
            if frame >= frames {
                return found;
            }
            match segment.frame(frame) {
                Ok(text) => scan_frame(segment, plan, leaves, frame, &text, &mut found),
                Err(error) => {
                    next.store(frames, Ordering::Relaxed);
                    if let Ok(mut failure) = failure.lock() {
                        failure.get_or_insert(error);
                    }
                    return found;
                }
            }
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (1..threads.min(frames))
            .map(|_| scope.spawn(work))
            .collect();
        let mut all = vec![work()];
        all.extend(workers.into_iter().filter_map(|worker| worker.join().ok()));
        for found in all {
            for (n, lines) in leaves.iter().zip(found) {
                sets[*n].extend(lines);
            }
        }
    });
    leaves.iter().for_each(|n| sets[*n].sort_unstable());
    match failure.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(()),
    }
}

fn scan_frame(
    segment: &Segment,
    plan: &Plan,
    leaves: &[usize],
    frame: usize,
    text: &str,
    found: &mut [Vec<u32>],
) {
    let folds = leaves.iter().any(|n| plan.leaves[*n].matcher.folds());
    let folded = folds.then(|| fold_text(text));
    for (n, found) in leaves.iter().zip(found) {
        let matcher = &plan.leaves[*n].matcher;
        let hay = match &folded {
            Some(folded) if matcher.folds() => folded,
            _ => text,
        };
        scan_text(segment, matcher, frame, hay, text, found);
    }
}

/// Finds every matching line of a frame. `hay` is its text or that in lower
/// case: line by line the same.
fn scan_text(
    segment: &Segment,
    matcher: &Matcher,
    frame: usize,
    hay: &str,
    text: &str,
    found: &mut Vec<u32>,
) {
    let first = segment.frame_start(frame);
    let (mut at, mut line, mut line_start) = (0, 0u32, 0);
    while at < hay.len()
        && let Some((start, _)) = matcher.find_at(hay, at)
    {
        if start >= hay.len() {
            return;
        }
        let feeds = memchr::memchr_iter(b'\n', &hay.as_bytes()[line_start..start]);
        let (passed, last) = feeds.fold((0u32, None), |(n, _), feed| (n + 1, Some(feed)));
        line += passed;
        line_start += last.map_or(0, |feed| feed + 1);
        let id = first + line;
        let is_usual = segment.mark(id).is_none();
        if is_usual || matches_line(segment, matcher, id, nth_line(text, line)) {
            found.push(id);
        }
        let rest = &hay[line_start..];
        let end = memchr::memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        line_start += end + 1;
        line += 1;
        at = line_start;
    }
}

/// The `n`-th line of a frame's text, with its line feed.
pub(super) fn nth_line(text: &str, n: u32) -> &str {
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
pub(super) fn without_end(line: &str) -> &str {
    let line = line.strip_suffix('\n').unwrap_or(line);
    line.strip_suffix('\r').unwrap_or(line)
}
