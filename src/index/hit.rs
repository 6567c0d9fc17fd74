//! From a matching member to its hits: walking its documents over the chunks
//! that hold matching lines, and cutting out what is shown.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::rc::Rc;

use super::crossing::Crossed;
use super::facts::{Occurrence, ResultFacts};
use super::lines::{first_match, matches_in, nth_line, without_end};
use super::members::Matches;
use super::plan::Plan;
use super::search::Place;
use super::searcher::Searcher;
use super::segment::{DocumentView, Segment};
use super::token::{fold_text, unfold};
use super::whole::Start;
use super::{IndexError, border};
use crate::evidence::{Layer, ResultId, Sha256, Time};

/// **Units**: bytes of a line that a hit shows.
pub const TEXT_MAX: usize = 64 << 10;
/// Matches marked within a line: more than anyone looks at.
const SPANS_MAX: usize = 1_000;
/// **Units**: bytes of inflated frames kept for the next hits: the distinct
/// text of a whole segment of a fleet, since hits come in the order of time.
const FRAMES_MAX: usize = 64 << 20;

/// A line that answers a query, and the way back to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub id: ResultId,
    /// What is peeled off on the way in, `output` or `errors` last for those
    /// of a transcript.
    pub layers: Vec<Layer>,
    pub content: Sha256,
    pub device: Option<String>,
    pub machine_id: Option<String>,
    pub script: Option<String>,
    pub time: Option<Time>,
    /// The member's path as it is printed.
    pub member: String,
    /// From 1, in the decoded text.
    pub line: u64,
    /// Of the first match: bytes in the decoded text (UTF-8), from 0.
    pub offset: u64,
    /// **Units**: bytes of the first match, up to the line's end where a
    /// phrase goes on behind it; 0 where a member is listed by its
    /// fields alone.
    pub len: u64,
    /// The line without its end, or up to 64 KiB of it around the match.
    pub text: String,
    pub text_truncated: bool,
    /// **Units**: bytes of the whole line, where `text` is not all of it.
    pub line_bytes: Option<u64>,
    /// Matches in `text`, for highlighting.
    pub spans: Vec<Range<usize>>,
    pub before: Vec<String>,
    pub after: Vec<String>,
}

/// A matching line of a document, wherever the document occurs.
#[derive(Clone, Copy)]
struct Found {
    segment: u32,
    document: u32,
    line_id: u32,
    /// Which of the document's stored lines it is, from 0.
    index: u64,
    /// From 0.
    line: u64,
    /// Of the line's own first byte.
    offset: u64,
    /// A phrase begins in it that goes on behind its end.
    crossed: Option<Crossed>,
    /// A match of a pattern over line ends begins in it.
    start: Option<Start>,
}

/// Hands out the hits of members.
pub(super) struct Lister<'a> {
    searcher: &'a Searcher,
    plan: &'a Plan,
    matches: &'a Matches,
    context: usize,
    frames: HashMap<(u32, usize), Rc<String>>,
    frame_bytes: usize,
    /// The lines of the content listed last: the same text on many devices
    /// follows itself.
    last: Option<(Sha256, Rc<Vec<Found>>)>,
}

impl<'a> Lister<'a> {
    pub(super) fn new(
        searcher: &'a Searcher,
        plan: &'a Plan,
        matches: &'a Matches,
        context: usize,
    ) -> Self {
        Self {
            searcher,
            plan,
            matches,
            context,
            frames: HashMap::new(),
            frame_bytes: 0,
            last: None,
        }
    }

    /// Hands out the hits of one member, in the order of its text.
    pub(super) fn list(
        &mut self,
        place: Place,
        each: &mut dyn FnMut(Hit) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, IndexError> {
        let (result, occurrence) = self.searcher.facts_of(place)?;
        let found = self.lines_of(&occurrence.content)?;
        if found.is_empty() {
            let hit = self.bare_hit(&result, &occurrence)?;
            return Ok(each(hit));
        }
        for found in found.iter() {
            let hit = self.hit(&result, &occurrence, *found)?;
            if each(hit).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// One hit of a member.
    pub(super) fn nth(&mut self, place: Place, nth: usize) -> Result<Hit, IndexError> {
        let (result, occurrence) = self.searcher.facts_of(place)?;
        let found = self.lines_of(&occurrence.content)?;
        match found.get(nth) {
            Some(found) => self.hit(&result, &occurrence, *found),
            None => self.bare_hit(&result, &occurrence),
        }
    }

    /// The lines of a member's hits: segment and line.
    pub(super) fn lines_at(&mut self, place: Place) -> Result<Vec<(u32, u32)>, IndexError> {
        let (_, occurrence) = self.searcher.facts_of(place)?;
        let found = self.lines_of(&occurrence.content)?;
        let lines = found.iter().map(|found| (found.segment, found.line_id));
        Ok(lines.collect())
    }

    pub(super) fn text_of(&mut self, line: (u32, u32)) -> Result<String, IndexError> {
        self.line_text(line.0, line.1)
    }

    /// How many hits a content gives at each of its places.
    pub(super) fn count(&mut self, content: &Sha256) -> Result<u64, IndexError> {
        Ok((self.lines_of(content)?.len() as u64).max(1))
    }

    fn lines_of(&mut self, content: &Sha256) -> Result<Rc<Vec<Found>>, IndexError> {
        if let Some((last, found)) = &self.last
            && last == content
        {
            return Ok(Rc::clone(found));
        }
        let mut found = Vec::new();
        if let Some(matched) = self.matches.contents.get(content) {
            for (segment, document) in &matched.documents {
                self.walk(content, *segment, *document, &mut found)?;
            }
        }
        let found = Rc::new(found);
        self.last = Some((*content, Rc::clone(&found)));
        Ok(found)
    }

    /// Finds a document's matching lines. Only chunks that hold one are opened.
    fn walk(
        &self,
        content: &Sha256,
        number: u32,
        document_id: u32,
        found: &mut Vec<Found>,
    ) -> Result<(), IndexError> {
        let segment = self.searcher.segment(number);
        let listed = &self.matches.listed[number as usize];
        let document = segment.document(document_id)?;
        let (mut offset, mut line, mut index) = (document.offset, document.line, 0);
        let whole = self.matches.whole.get(&(*content, document.part.clone()));
        let starts = |lines: std::ops::RangeInclusive<u64>| {
            whole
                .into_iter()
                .flat_map(move |whole| whole.range(lines.clone()))
        };
        let chunks = segment.document_chunks(&document)?;
        for (nth, chunk) in chunks.into_iter().enumerate() {
            let view = segment.chunk(chunk)?;
            let crossed = listed.crossed(document_id, nth as u32, chunk);
            let is_listed = listed.chunks.binary_search(&chunk).is_ok()
                || !crossed.is_empty()
                || starts(line..=line + view.lines).next().is_some();
            if !is_listed {
                offset += view.bytes;
                line += view.lines;
                index += view.count;
                continue;
            }
            for (place, line_id) in segment.chunk_lines(chunk)?.into_iter().enumerate() {
                let is_new =
                    |last: &Found| last.line != line || self.part_of(last) != document.part;
                let crossed = crossed.iter().filter(|crossed| {
                    let leaf = &self.plan.leaves[self.plan.phrases[crossed.phrase].leaf];
                    crossed.place == place as u32 && leaf.lists
                });
                // Of several the one whose beginning is longest.
                let crossed = crossed.max_by_key(|crossed| crossed.cut).copied();
                let (bytes, ended) = segment.extent(line_id)?;
                let start = starts(line..=line).map(|(_, start)| *start);
                let start = start
                    .last()
                    .filter(|start| (offset..offset + bytes.max(1)).contains(&start.offset));
                let is_listed = crossed.is_some()
                    || start.is_some()
                    || listed.lines.binary_search(&line_id).is_ok();
                if is_listed && found.last().is_none_or(is_new) {
                    found.push(Found {
                        crossed,
                        start,
                        segment: number,
                        document: document_id,
                        line_id,
                        index,
                        line,
                        offset,
                    });
                }
                offset += bytes;
                line += ended;
                index += 1;
            }
        }
        Ok(())
    }

    fn part_of(&self, found: &Found) -> Option<Layer> {
        let segment = self.searcher.segment(found.segment);
        segment.document(found.document).ok()?.part
    }

    fn hit(
        &mut self,
        result: &ResultFacts,
        occurrence: &Occurrence,
        found: Found,
    ) -> Result<Hit, IndexError> {
        let segment = self.searcher.segment(found.segment);
        let document = segment.document(found.document)?;
        let stored = self.line_text(found.segment, found.line_id)?;
        let mark = segment.mark(found.line_id);
        let own_start = mark.map_or(0, |mark| mark.own_start as usize);
        let first = self.first_match(segment, found.line_id, &stored);
        let crossed = found.crossed.and_then(|c| self.crossed_at(c, &stored));
        let text = without_end(&stored);
        let over = found.start.map(|start| {
            let begin = own_start + (start.offset - found.offset) as usize;
            (
                begin,
                (begin + start.len as usize).min(text.len()).max(begin),
            )
        });
        let crossed = crossed.into_iter().chain(over).min();
        let first = first.into_iter().chain(crossed).min();
        let (start, end) = first.unwrap_or((own_start, own_start));
        let window = window(text, start);
        let is_part = mark.is_some_and(|mark| mark.is_part());
        let truncated = is_part || window.len() < text.len();
        let line_bytes = match (truncated, is_part) {
            (false, _) => None,
            (true, false) => Some(text.len() as u64),
            (true, true) => Some(self.line_bytes(&occurrence.content, &document, found.line)?),
        };
        let (before, after) = self.context(&document, found)?;
        Ok(Hit {
            line: found.line + 1,
            offset: (found.offset + start as u64).saturating_sub(own_start as u64),
            len: (end - start) as u64,
            spans: self.spans(&text[window.clone()], window.start, start, crossed),
            text: text[window].to_string(),
            text_truncated: truncated,
            line_bytes,
            before,
            after,
            ..blank_hit(result, occurrence, document.part)
        })
    }

    /// A member that matches by its fields: its first line stands for it.
    fn bare_hit(
        &mut self,
        result: &ResultFacts,
        occurrence: &Occurrence,
    ) -> Result<Hit, IndexError> {
        let documents = self.searcher.documents_of(&occurrence.content);
        for (number, document) in documents {
            let segment = self.searcher.segment(number);
            let document = segment.document(document)?;
            let chunks = segment.document_chunks(&document)?;
            let Some(chunk) = chunks.first() else {
                continue;
            };
            let Some(line_id) = segment.chunk_lines(*chunk)?.first().copied() else {
                continue;
            };
            let text = self.line_text(number, line_id)?;
            let text = without_end(&text);
            let window = window(text, 0);
            let truncated = window.len() < text.len();
            return Ok(Hit {
                text: text[window].to_string(),
                text_truncated: truncated,
                line_bytes: truncated.then_some(text.len() as u64),
                ..blank_hit(result, occurrence, document.part)
            });
        }
        Ok(blank_hit(result, occurrence, None))
    }

    fn first_match(&self, segment: &Segment, line: u32, text: &str) -> Option<(usize, usize)> {
        let leaves = self.plan.leaves.iter().filter(|leaf| leaf.lists);
        leaves
            .filter_map(|leaf| first_match(segment, &leaf.matcher, line, text))
            .min()
    }

    /// Where a phrase that goes on behind the line begins in it, and where
    /// the line's words end.
    fn crossed_at(&self, crossed: Crossed, text: &str) -> Option<(usize, usize)> {
        let folded = fold_text(text);
        let crossing = &self.plan.phrases[crossed.phrase].crossing;
        let start = crossing.head_start(&folded, crossed.cut)?;
        Some((unfold(text, &folded, start), text.trim_end().len()))
    }

    /// Matches of every listed text in what is shown, merged. `text` is the
    /// line from `begin` on, its first match stands at `first`.
    fn spans(
        &self,
        text: &str,
        begin: usize,
        first: usize,
        crossed: Option<(usize, usize)>,
    ) -> Vec<Range<usize>> {
        let from = first.saturating_sub(begin);
        let crossed = crossed.map(|(start, end)| {
            let at = |place: usize| place.saturating_sub(begin).min(text.len());
            (at(start), at(end))
        });
        let leaves = self.plan.leaves.iter().filter(|leaf| leaf.lists);
        let mut spans: Vec<(usize, usize)> = leaves
            .flat_map(|leaf| {
                let begin = if leaf.matcher.folds() { 0 } else { from };
                matches_in(&leaf.matcher, text, begin, usize::MAX, SPANS_MAX)
            })
            .chain(crossed)
            .filter(|(start, end)| end > start)
            .collect();
        spans.sort_unstable();
        let mut merged: Vec<Range<usize>> = Vec::new();
        for (start, end) in spans {
            match merged.last_mut() {
                Some(last) if start < last.end => last.end = last.end.max(end),
                _ => merged.push(start..end),
            }
        }
        merged
    }

    fn context(
        &mut self,
        document: &DocumentView<'_>,
        found: Found,
    ) -> Result<(Vec<String>, Vec<String>), IndexError> {
        if self.context == 0 {
            return Ok((Vec::new(), Vec::new()));
        }
        let segment = self.searcher.segment(found.segment);
        let from = found.index.saturating_sub(self.context as u64);
        let to = found.index.saturating_add(self.context as u64 + 1);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        let mut index = 0;
        for chunk in segment.document_chunks(document)? {
            let count = segment.chunk(chunk)?.count;
            if index + count <= from || index >= to {
                index += count;
                continue;
            }
            for line_id in segment.chunk_lines(chunk)? {
                if (from..to).contains(&index) && index != found.index {
                    let text = self.line_text(found.segment, line_id)?;
                    let text = without_end(&text);
                    let shown = text[window(text, 0)].to_string();
                    if index < found.index {
                        before.push(shown);
                    } else {
                        after.push(shown);
                    }
                }
                index += 1;
            }
        }
        Ok((before, after))
    }

    /// The length of a line stored in parts, over all of them.
    fn line_bytes(
        &self,
        content: &Sha256,
        document: &DocumentView<'_>,
        wanted: u64,
    ) -> Result<u64, IndexError> {
        let mut total = 0;
        for (number, other) in self.searcher.documents_of(content) {
            let segment = self.searcher.segment(number);
            let other = segment.document(other)?;
            if other.part != document.part {
                continue;
            }
            let mut line = other.line;
            for chunk in segment.document_chunks(&other)? {
                let view = segment.chunk(chunk)?;
                if line + view.lines < wanted || line > wanted {
                    line += view.lines;
                    continue;
                }
                for line_id in segment.chunk_lines(chunk)? {
                    let (bytes, ended) = segment.extent(line_id)?;
                    if line == wanted {
                        let mark = segment.mark(line_id);
                        total += bytes - u64::from(mark.is_some_and(|mark| mark.terminated));
                    }
                    line += ended;
                }
            }
        }
        Ok(total)
    }

    fn line_text(&mut self, number: u32, line: u32) -> Result<String, IndexError> {
        let segment = self.searcher.segment(number);
        let frame = segment.frame_of(line);
        let text = match self.frames.get(&(number, frame)) {
            Some(text) => Rc::clone(text),
            None => {
                let text = Rc::new(segment.frame(frame)?);
                if self.frame_bytes > FRAMES_MAX {
                    self.frames.clear();
                    self.frame_bytes = 0;
                }
                self.frame_bytes += text.len();
                self.frames.insert((number, frame), Rc::clone(&text));
                text
            }
        };
        Ok(nth_line(&text, line - segment.frame_start(frame)).to_string())
    }
}

fn blank_hit(result: &ResultFacts, occurrence: &Occurrence, part: Option<Layer>) -> Hit {
    let mut layers = occurrence.layers.clone();
    layers.extend(part);
    Hit {
        id: result.id,
        layers,
        content: occurrence.content,
        device: result.device.clone(),
        machine_id: result.machine_id.clone(),
        script: result.script.clone(),
        time: result.time.clone(),
        member: occurrence.member.clone(),
        line: 1,
        offset: 0,
        len: 0,
        text: String::new(),
        text_truncated: false,
        line_bytes: None,
        spans: Vec::new(),
        before: Vec::new(),
        after: Vec::new(),
    }
}

/// What of a line is shown around a match.
fn window(text: &str, start: usize) -> Range<usize> {
    if text.len() <= TEXT_MAX {
        return 0..text.len();
    }
    let from = border::floor(text, start.saturating_sub(TEXT_MAX / 4));
    let to = border::floor(text, (from + TEXT_MAX).min(text.len()));
    from..to
}
