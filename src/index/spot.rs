//! From a place in a document back to what a hit says of it: line, offset and
//! text.

use std::ops::ControlFlow;

use super::IndexError;
use super::held::own_text;
use super::selection::Selection;
use super::shown::Cutter;
use crate::evidence::Layer;

/// A line at its place in a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    pub segment: u32,
    pub document: u32,
    /// Which of the document's stored lines, from 0.
    pub index: u64,
}

/// What stands at a spot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// `output` or `errors` of a transcript.
    pub part: Option<Layer>,
    /// From 1, in the decoded text.
    pub line: u64,
    /// **Units**: bytes of the decoded text (UTF-8), from 0.
    pub offset: u64,
    /// Without its end.
    pub text: String,
}

/// Where a chunk of a document begins.
#[derive(Clone, Copy)]
struct Begin {
    chunk: u32,
    index: u64,
    line: u64,
    offset: u64,
}

/// Looks spots up. Those of one document after each other are cheap.
pub struct Spots<'s> {
    selection: &'s Selection<'s>,
    cutter: Cutter<'s>,
    known: Option<((u32, u32), Option<Layer>, Vec<Begin>)>,
}

impl<'s> Spots<'s> {
    pub(super) fn new(selection: &'s Selection<'s>) -> Self {
        Self {
            selection,
            cutter: Cutter::new(selection.searcher, &selection.plan),
            known: None,
        }
    }

    /// **Cost**: a frame and the chunk; the chunks of the document once.
    pub fn at(&mut self, spot: Spot) -> Result<Located, IndexError> {
        let segment = self.selection.searcher.segment(spot.segment);
        let damaged = || segment.file().damaged("a line is not where it was counted");
        let part = self.open(spot)?;
        let begin = self.begin_of(spot.index).ok_or_else(damaged)?;
        let mut at = begin;
        let mut found = None;
        let _ = segment.chunk_extents(begin.chunk, &mut |extent| {
            if at.index == spot.index {
                found = Some(extent.line);
                return ControlFlow::Break(());
            }
            at.index += 1;
            at.line += extent.ended;
            at.offset += extent.bytes;
            ControlFlow::Continue(())
        })?;
        let id = found.ok_or_else(damaged)?;
        let stored = self.cutter.stored(spot.segment, id)?;
        Ok(Located {
            part,
            line: at.line + 1,
            offset: at.offset,
            text: own_text(segment, id, &stored).to_string(),
        })
    }

    /// The lines around a spot: up to `lines` before it and behind it.
    pub fn around(
        &mut self,
        spot: Spot,
        lines: u64,
    ) -> Result<(Vec<String>, Vec<String>), IndexError> {
        let segment = self.selection.searcher.segment(spot.segment);
        self.open(spot)?;
        let from = spot.index.saturating_sub(lines);
        let to = spot.index.saturating_add(lines);
        let begins = self.known.as_ref().map_or(&[][..], |known| &known.2);
        let first = begins.partition_point(|begin| begin.index <= from);
        let last = begins.partition_point(|begin| begin.index <= to);
        let near = begins.get(first.saturating_sub(1)..last).unwrap_or(&[]);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for begin in near.to_vec() {
            for (index, id) in (begin.index..).zip(segment.chunk_lines(begin.chunk)?) {
                if index == spot.index || !(from..=to).contains(&index) {
                    continue;
                }
                let stored = self.cutter.stored(spot.segment, id)?;
                let text = own_text(segment, id, &stored).to_string();
                match index < spot.index {
                    true => before.push(text),
                    false => after.push(text),
                }
            }
        }
        Ok((before, after))
    }

    fn open(&mut self, spot: Spot) -> Result<Option<Layer>, IndexError> {
        let place = (spot.segment, spot.document);
        if let Some((known, part, _)) = &self.known
            && *known == place
        {
            return Ok(part.clone());
        }
        let segment = self.selection.searcher.segment(spot.segment);
        let view = segment.document(spot.document)?;
        let (mut index, mut line, mut offset) = (0, view.line, view.offset);
        let mut begins = Vec::new();
        for chunk in segment.document_chunks(&view)? {
            begins.push(Begin {
                chunk,
                index,
                line,
                offset,
            });
            let here = segment.chunk(chunk)?;
            index += here.count;
            line += here.lines;
            offset += here.bytes;
        }
        self.known = Some((place, view.part.clone(), begins));
        Ok(view.part)
    }

    fn begin_of(&self, index: u64) -> Option<Begin> {
        let (_, _, begins) = self.known.as_ref()?;
        let behind = begins.partition_point(|begin| begin.index <= index);
        begins.get(behind.checked_sub(1)?).copied()
    }
}
