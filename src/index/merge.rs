//! Building small segments anew together, so that many small publishings do
//! not leave many small segments.

use super::IndexError;
use super::dictionary::Mark;
use super::facts::Facts;
use super::manifest::{Forgotten, SegmentMeta};
use super::segment::Segment;
use super::writer::{Settings, forgotten_in};
use crate::evidence::{Layer, Sha256};

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
pub(super) fn first_to_merge(segments: &[SegmentMeta], settings: &Settings) -> Option<usize> {
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
pub(super) fn read_facts(
    segment: &Segment,
    forgotten: &[Forgotten],
    facts: &mut Facts,
) -> Result<(), IndexError> {
    let gone = forgotten_in(forgotten, segment.meta.number);
    let counts = |id: crate::evidence::ResultId| !gone.contains(&(id.key, id.version.0));
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
pub(super) enum Step<'a> {
    Begin,
    Line(&'a [u8], Option<Mark>),
    /// Content, part, offset and line of the piece in its whole.
    End((Sha256, Option<Layer>, u64, u64)),
}

/// Goes through a segment's documents line by line.
///
/// **Memory**: the distinct text of a small segment.
pub(super) fn read_documents(
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
