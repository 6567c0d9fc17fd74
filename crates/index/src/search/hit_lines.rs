//! From a content to its lines that are hits, over its documents and their
//! chunks. A chunk's hits are worked out once, whatever holds it: on a fleet
//! the same passage stands in hundreds of documents.

use std::ops::{ControlFlow, RangeInclusive};
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::IndexError;
use crate::search::compiled_query::Plan;
use crate::search::cross_line_phrases::Crossed;
use crate::search::match_set::{Listed, Matches};
use crate::search::multiline::{Start, Starts};
use crate::search::searcher::Searcher;
use crate::segment::{Extent, Segment};
use evidence::{Layer, Sha256};

/// Hits of chunks kept for the next document that holds them: 16 MB; or their
/// counts, as much.
const CHUNK_HITS_MAX: usize = 1 << 19;

/// Chunks of which it is kept how far they lead on: 24 MB.
const EXTENTS_MAX: usize = 1 << 20;

/// A line that is a hit, wherever its document occurs.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) segment: u32,
    pub(crate) document: u32,
    pub(crate) line_id: u32,
    /// Which of the document's stored lines it is, from 0.
    pub(crate) index: u64,
    /// From 0.
    pub(crate) line: u64,
    /// Of the line's own first byte.
    pub(crate) offset: u64,
    /// A phrase begins in it that goes on behind its end.
    pub(crate) crossed: Option<Crossed>,
    /// A match begins in it that it does not hold: one over line ends, or over
    /// the parts of a long line.
    pub(crate) start: Option<Start>,
}

/// A hit within a chunk, counted from the chunk's beginning.
#[derive(Clone, Copy)]
struct ChunkHit {
    line_id: u32,
    index: u32,
    line: u64,
    offset: u64,
}

/// What a chunk adds to its document.
#[derive(Clone, Copy, Default)]
struct ChunkExtent {
    bytes: u64,
    lines: u64,
    count: u64,
}

/// Walks contents.
pub(crate) struct Finder<'a> {
    searcher: &'a Searcher,
    plan: &'a Plan,
    matches: &'a Matches,
    chunks: FxHashMap<(u32, u32), Rc<[ChunkHit]>>,
    held: usize,
    /// How many hits chunks have, where that is all that is asked for.
    counts: FxHashMap<(u32, u32), Option<u64>>,
    /// By segment, as far as there is room: of chunks that were walked over.
    extents: FxHashMap<u32, Vec<ChunkExtent>>,
    extents_held: usize,
}

/// What begins in a chunk and goes on behind a line's end.
#[derive(Clone, Copy)]
struct Over<'b> {
    crossed: &'b [Crossed],
    starts: Option<&'b Starts>,
}

/// Where a walk stands in a document.
#[derive(Clone, Copy)]
struct At {
    segment: u32,
    document: u32,
    index: u64,
    line: u64,
    offset: u64,
}

impl At {
    fn found(&self, hit: ChunkHit) -> Found {
        Found {
            segment: self.segment,
            document: self.document,
            line_id: hit.line_id,
            index: self.index + u64::from(hit.index),
            line: self.line + hit.line,
            offset: self.offset + hit.offset,
            crossed: None,
            start: None,
        }
    }
}

impl<'a> Finder<'a> {
    pub(crate) fn new(searcher: &'a Searcher, plan: &'a Plan, matches: &'a Matches) -> Self {
        Self {
            searcher,
            plan,
            matches,
            chunks: FxHashMap::default(),
            held: 0,
            counts: FxHashMap::default(),
            extents: FxHashMap::default(),
            extents_held: 0,
        }
    }

    /// Hands out a content's hits in the order of its text, each line once
    /// though it may be stored in parts.
    pub(crate) fn each(
        &mut self,
        content: &Sha256,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, IndexError> {
        let Some(matched) = self.matches.contents.get(content) else {
            return Ok(ControlFlow::Continue(()));
        };
        let (mut part, mut last) = (None, None);
        for (segment, document) in &matched.documents {
            let of = self.searcher.segment(*segment).document(*document)?.part;
            if part.as_ref() != Some(&of) {
                (part, last) = (Some(of), None);
            }
            let mut once = |found: Found| match last.replace(found.line) == Some(found.line) {
                true => ControlFlow::Continue(()),
                false => each(found),
            };
            if self
                .walk(content, *segment, *document, &mut once)?
                .is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// How many hits a content has.
    pub(crate) fn count(&mut self, content: &Sha256) -> Result<u64, IndexError> {
        if let Some(hits) = self.count_by_chunks(content)? {
            return Ok(hits);
        }
        let mut hits = 0;
        let _ = self.each(content, &mut |_| {
            hits += 1;
            ControlFlow::Continue(())
        })?;
        Ok(hits)
    }

    /// The hits of a content's chunks together; `None` where some of them may be
    /// hits of the same line, or hits depend on more than a chunk. Where they
    /// stand in the text takes longer to find out.
    fn count_by_chunks(&mut self, content: &Sha256) -> Result<Option<u64>, IndexError> {
        let (searcher, matches) = (self.searcher, self.matches);
        let Some(matched) = matches.contents.get(content) else {
            return Ok(Some(0));
        };
        let mut count = 0;
        for (number, document) in &matched.documents {
            let segment = searcher.segment(*number);
            let listed = &matches.listed[*number as usize];
            let view = segment.document(*document)?;
            if listed.has_crossings() || matches.starts(content, view.part.as_ref()).is_some() {
                return Ok(None);
            }
            for chunk in segment.document_chunks(&view)? {
                if listed.has_chunk(chunk) {
                    match self.chunk_count(segment, *number, listed, chunk)? {
                        Some(hits) => count += hits,
                        None => return Ok(None),
                    }
                }
            }
        }
        Ok(Some(count))
    }

    /// How many lines of a chunk are hits; `None` where one of them goes on in
    /// another part, which may be a hit too.
    fn chunk_count(
        &mut self,
        segment: &Segment,
        number: u32,
        listed: &Listed,
        chunk: u32,
    ) -> Result<Option<u64>, IndexError> {
        if let Some(known) = self.counts.get(&(number, chunk)) {
            return Ok(*known);
        }
        let mut hits = segment.chunk_lines(chunk)?;
        hits.retain(|line| listed.has_line(*line));
        let goes_on = |line: &u32| segment.mark(*line).is_some_and(|mark| !mark.last);
        let count = (!hits.iter().any(goes_on)).then_some(hits.len() as u64);
        if self.counts.len() > CHUNK_HITS_MAX {
            self.counts.clear();
        }
        self.counts.insert((number, chunk), count);
        Ok(count)
    }

    /// A document's hits. Only chunks that hold one are opened.
    fn walk(
        &mut self,
        content: &Sha256,
        number: u32,
        document: u32,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, IndexError> {
        let (segment, matches) = (self.searcher.segment(number), self.matches);
        let listed = &matches.listed[number as usize];
        let view = segment.document(document)?;
        let starts = matches.starts(content, view.part.as_ref());
        let mut at = At {
            segment: number,
            document,
            index: 0,
            line: view.line,
            offset: view.offset,
        };
        let mut chunks = segment.document_chunks(&view)?;
        if starts.is_none() && !listed.has_crossings() {
            // Behind the last chunk with hits nothing is to be found.
            let last = chunks.iter().rposition(|chunk| listed.has_chunk(*chunk));
            chunks.truncate(last.map_or(0, |last| last + 1));
        }
        for (nth, chunk) in chunks.into_iter().enumerate() {
            let here = self.passed(segment, number, chunk)?;
            let crossed = listed.crossed(document, nth as u32, chunk);
            let flow = if !crossed.is_empty() || begins_in(starts, at.line..=at.line + here.lines) {
                let over = Over {
                    crossed: &crossed,
                    starts,
                };
                self.walk_over(segment, listed, chunk, at, over, each)?
            } else if listed.has_chunk(chunk) {
                let hits = self.chunk_hits(segment, number, listed, chunk)?;
                hits.iter().try_for_each(|hit| each(at.found(*hit)))
            } else {
                ControlFlow::Continue(())
            };
            if flow.is_break() {
                return Ok(flow);
            }
            at.offset += here.bytes;
            at.line += here.lines;
            at.index += here.count;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// How far a chunk leads on.
    fn passed(
        &mut self,
        segment: &Segment,
        number: u32,
        chunk: u32,
    ) -> Result<ChunkExtent, IndexError> {
        let known = self.extents.entry(number).or_default();
        let chunks = segment.chunk_count() as usize;
        if known.is_empty() && self.extents_held + chunks <= EXTENTS_MAX {
            self.extents_held += chunks;
            known.resize(chunks, ChunkExtent::default());
        }
        if let Some(extent) = known.get(chunk as usize).filter(|known| known.count > 0) {
            return Ok(*extent);
        }
        let view = segment.chunk(chunk)?;
        let extent = ChunkExtent {
            bytes: view.bytes,
            lines: view.lines,
            count: view.count,
        };
        if let Some(known) = known.get_mut(chunk as usize) {
            *known = extent;
        }
        Ok(extent)
    }

    fn chunk_hits(
        &mut self,
        segment: &Segment,
        number: u32,
        listed: &Listed,
        chunk: u32,
    ) -> Result<Rc<[ChunkHit]>, IndexError> {
        if let Some(known) = self.chunks.get(&(number, chunk)) {
            return Ok(Rc::clone(known));
        }
        let mut hits = Vec::new();
        let _ = each_line(segment, chunk, &mut |hit, _| {
            if listed.has_line(hit.line_id) {
                hits.push(hit);
            }
            ControlFlow::Continue(())
        })?;
        if self.held > CHUNK_HITS_MAX {
            self.chunks.clear();
            self.held = 0;
        }
        self.held += hits.len() + 1;
        let hits: Rc<[ChunkHit]> = hits.into();
        self.chunks.insert((number, chunk), Rc::clone(&hits));
        Ok(hits)
    }

    /// A chunk in which something begins that goes on behind a line's end.
    fn walk_over(
        &self,
        segment: &Segment,
        listed: &Listed,
        chunk: u32,
        at: At,
        over: Over<'_>,
        each: &mut dyn FnMut(Found) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, IndexError> {
        each_line(segment, chunk, &mut |hit, bytes| {
            let mut found = at.found(hit);
            // Of several the one whose beginning is longest: all end the line.
            let here = over.crossed.iter().filter(|c| c.place == hit.index);
            let phrase = |c: &Crossed| &self.plan.phrases[c.phrase];
            let shown = here.filter(|c| self.plan.leaves[phrase(c).leaf].lists);
            let length = |c: &&Crossed| (c.cut, phrase(c).crossing.first_len());
            found.crossed = shown.max_by_key(length).copied();
            let start = over.starts.and_then(|starts| starts.get(&found.line));
            let own = found.offset..found.offset + bytes;
            // Behind the last line of a text that has no line feed a match may
            // stand, an empty one.
            let at_end = |s: &Start| s.offset == own.end && ends_open(segment, hit.line_id);
            found.start = start
                .filter(|s| own.contains(&s.offset) || at_end(s))
                .copied();
            let is_listed =
                found.crossed.is_some() || found.start.is_some() || listed.has_line(hit.line_id);
            match is_listed {
                true => each(found),
                false => ControlFlow::Continue(()),
            }
        })
    }
}

/// Whether a stored line ends a line that no line feed follows.
fn ends_open(segment: &Segment, line: u32) -> bool {
    let mark = segment.mark(line);
    mark.is_some_and(|mark| mark.last && !mark.terminated)
}

fn begins_in(starts: Option<&Starts>, lines: RangeInclusive<u64>) -> bool {
    starts.is_some_and(|starts| starts.range(lines).next().is_some())
}

/// Every line of a chunk and the bytes it adds.
fn each_line(
    segment: &Segment,
    chunk: u32,
    each: &mut dyn FnMut(ChunkHit, u64) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, IndexError> {
    let (mut index, mut line, mut offset) = (0, 0, 0);
    segment.chunk_extents(chunk, &mut |extent: Extent| {
        let hit = ChunkHit {
            line_id: extent.line,
            index,
            line,
            offset,
        };
        index += 1;
        line += extent.ended;
        offset += extent.bytes;
        each(hit, extent.bytes)
    })
}

/// The part of a text a document holds; for the hits of one member.
pub(crate) fn part_of(searcher: &Searcher, found: &Found) -> Result<Option<Layer>, IndexError> {
    let segment = searcher.segment(found.segment);
    Ok(segment.document(found.document)?.part)
}
