//! Building small segments anew together, so that many small publishings do
//! not leave many small segments.
//!
//! **Budget**: what is published is searchable before it is merged. Text is
//! built anew until its segment is a quarter of a full one, and never after
//! that: 9 times in 5,000 publishings of 20 KB, 5 times in as many of 300 KB,
//! 4 of 1 MB, 1.5 of 5 MB. On disk what is merged stands beside what becomes of
//! it until the manifest names that.

use crate::IndexError;
use crate::segment::Segment;
use crate::segment::metadata::Facts;
use crate::writer::line_dictionary::Mark;
use crate::writer::manifest::{Forgotten, SegmentMeta};
use crate::writer::{IndexSettings, forgotten_in};
use evidence::{Layer, Sha256};

/// Small segments that may stand at the end before some are merged.
const SMALL_MAX: usize = 8;
/// A segment is small below this part of a full one.
const SMALL_PART: u64 = 4;
/// Rows are all in memory while segments are merged (about 300 bytes each).
const SMALL_ROWS: u64 = 100_000;
/// An older segment is merged while it is not larger than this many times all
/// younger ones together: each text is rewritten a few times, not each time.
const REACH: u64 = 4;

/// The first of the segments at the end to be merged into one.
pub(crate) fn first_to_merge(segments: &[SegmentMeta], settings: &IndexSettings) -> Option<usize> {
    let is_small = |segment: &SegmentMeta| {
        segment.text_bytes < settings.text_max / SMALL_PART
            && segment.distinct_bytes < settings.distinct_max / SMALL_PART
            && segment.distinct_lines < settings.lines_max / SMALL_PART
            && segment.rows < SMALL_ROWS
    };
    let small = segments.iter().rev().take_while(|s| is_small(s)).count();
    if small <= SMALL_MAX {
        return None;
    }
    let oldest = segments.len() - small;
    let size = |segment: &SegmentMeta| segment.text_bytes + segment.rows * 300;
    let mut first = segments.len() - 1;
    let mut total = size(&segments[first]);
    while first > oldest && size(&segments[first - 1]) <= total.saturating_mul(REACH) {
        first -= 1;
        total += size(&segments[first]);
    }
    Some(if first + 1 < segments.len() {
        first
    } else {
        oldest
    })
}

/// Adds the facts of a segment that still count.
pub(crate) fn read_facts(
    segment: &Segment,
    forgotten: &[Forgotten],
    facts: &mut Facts,
) -> Result<(), IndexError> {
    let gone = forgotten_in(forgotten, segment.meta.number);
    let counts = |id: evidence::ResultId| !gone.contains(&(id.key, id.version.0));
    let view = segment.facts();
    let damaged = || segment.file().damaged("a row of facts cannot be read");
    for row in 0..view.results.len() {
        let result = view.result(row).ok_or_else(damaged)?;
        if counts(result.id) {
            facts.results.push(result);
        }
    }
    for row in 0..view.occurrences.len() {
        let occurrence = view.occurrence(row).ok_or_else(damaged)?;
        if counts(occurrence.id) {
            facts.occurrences.push(occurrence);
        }
    }
    for row in 0..view.problems.len() {
        let problem = view.problem(row).ok_or_else(damaged)?;
        if counts(problem.id) {
            facts.problems.push(problem);
        }
    }
    Ok(())
}

/// What rebuilding a document consists of.
pub(crate) enum Step<'a> {
    Begin,
    Line(&'a [u8], Option<Mark>),
    /// Content, part, offset and line of the piece in its whole.
    End((Sha256, Option<Layer>, u64, u64)),
}

/// Goes through a segment's documents line by line.
///
/// **Memory**: the distinct text of a small segment.
pub(crate) fn read_documents(
    segment: &Segment,
    mut each: impl FnMut(Step<'_>) -> Result<(), IndexError>,
) -> Result<(), IndexError> {
    let frames: Vec<String> = (0..segment.frame_count())
        .map(|frame| segment.frame(frame))
        .collect::<Result<_, _>>()?;
    let mut lines: Vec<&[u8]> = Vec::with_capacity(segment.line_count() as usize);
    for frame in &frames {
        let text = frame.strip_suffix('\n').unwrap_or(frame);
        lines.extend(text.as_bytes().split(|byte| *byte == b'\n'));
    }
    for number in 0..segment.document_count() {
        let document = segment.document(number)?;
        each(Step::Begin)?;
        for chunk in segment.document_chunks(&document)? {
            for line in segment.chunk_lines(chunk)? {
                let bytes = lines
                    .get(line as usize)
                    .ok_or_else(|| segment.file().damaged("a chunk names no line"))?;
                each(Step::Line(bytes, segment.mark(line)))?;
            }
        }
        each(Step::End((
            segment.content(document.content)?,
            document.part.clone(),
            document.offset,
            document.line,
        )))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(number: u64, text_bytes: u64) -> SegmentMeta {
        SegmentMeta {
            number,
            file_bytes: text_bytes / 4,
            text_bytes,
            distinct_bytes: text_bytes / 8,
            distinct_lines: text_bytes / 500,
            lines: text_bytes / 70,
            documents: 10,
            rows: 10,
        }
    }

    /// Publishes and merges; returns how much was built anew for each byte,
    /// and how many segments there were at most.
    fn play(sizes: impl Iterator<Item = u64>) -> (f64, usize) {
        let settings = IndexSettings::default();
        let (mut segments, mut most) = (Vec::new(), 0);
        let (mut taken, mut rebuilt) = (0, 0);
        for (number, size) in (0..).zip(sizes) {
            taken += size;
            segments.push(segment(number, size));
            if let Some(first) = first_to_merge(&segments, &settings) {
                let merged = segments.split_off(first);
                let size = merged.iter().map(|segment| segment.text_bytes).sum();
                rebuilt += size;
                segments.push(segment(number, size));
            }
            most = most.max(segments.len());
        }
        (rebuilt as f64 / taken as f64, most)
    }

    #[test]
    fn what_is_merged_is_built_anew_a_few_times_whatever_the_publishings() {
        for (size, at_most) in [
            (20 << 10, 9.5),
            (300 << 10, 5.5),
            (1 << 20, 4.0),
            (5 << 20, 2.0),
        ] {
            let (times, most) = play((0..5_000u64).map(|_| size));
            let large = 5_000 * size / (IndexSettings::default().text_max / SMALL_PART);
            assert!(times < at_most, "{size}: {times}");
            assert!(most as u64 <= large + SMALL_MAX as u64, "{size}: {most}");
        }
        let drawn = |n: u64| 1 << (10 + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 15);
        let (times, _) = play((0..20_000).map(drawn));
        assert!(times < 3.0, "{times}");
    }
}
