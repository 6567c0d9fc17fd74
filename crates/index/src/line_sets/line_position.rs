//! From a place in a document back to what a hit says of it: line, offset and
//! text.

use std::ops::ControlFlow;
use std::rc::Rc;

use rustc_hash::FxHashMap;

use crate::IndexError;
use crate::codec::char_boundary::floor;
use crate::line_sets::line_holders::own_text;
use crate::line_sets::member_set::MemberSet;
use crate::search::snippet::{Cutter, TEXT_MAX};
use evidence::Layer;

/// A line at its place in a document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinePosition {
    pub segment: u32,
    pub document: u32,
    /// Which of the document's stored lines, from 0.
    pub index: u64,
}

/// What stands at a spot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedLine {
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

/// Chunks whose beginnings are kept: 8 MB.
const BEGINS_MAX: usize = 1 << 18;

/// A document as it was opened to look into.
struct Opened {
    part: Option<Layer>,
    begins: Vec<Begin>,
}

/// Looks spots up.
///
/// **Memory**: 40 MiB of frames, 8 MB of where chunks begin.
pub struct LinePositions<'s> {
    selection: &'s MemberSet<'s>,
    cutter: Cutter<'s>,
    opened: FxHashMap<(u32, u32), Rc<Opened>>,
    held: usize,
}

impl<'s> LinePositions<'s> {
    pub(crate) fn new(selection: &'s MemberSet<'s>) -> Self {
        Self {
            selection,
            cutter: Cutter::new(selection.searcher, &selection.plan, true),
            opened: FxHashMap::default(),
            held: 0,
        }
    }

    /// **Cost**: a frame and the chunk; the chunks of the document once.
    pub fn at(&mut self, spot: LinePosition) -> Result<LocatedLine, IndexError> {
        let segment = self.selection.searcher.segment(spot.segment);
        let damaged = || segment.file().damaged("a line is not where it was counted");
        let opened = self.open(spot)?;
        let behind = opened
            .begins
            .partition_point(|begin| begin.index <= spot.index);
        let begin = behind.checked_sub(1).and_then(|at| opened.begins.get(at));
        let begin = *begin.ok_or_else(damaged)?;
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
        Ok(LocatedLine {
            part: opened.part.clone(),
            line: at.line + 1,
            offset: at.offset,
            text: own_text(segment, id, &stored).to_string(),
        })
    }

    /// The lines around a spot: up to `lines` before it and behind it, as much
    /// of each as a hit shows.
    pub fn around(
        &mut self,
        spot: LinePosition,
        lines: u64,
    ) -> Result<(Vec<String>, Vec<String>), IndexError> {
        let segment = self.selection.searcher.segment(spot.segment);
        let opened = self.open(spot)?;
        let from = spot.index.saturating_sub(lines);
        let to = spot.index.saturating_add(lines);
        let begins = &opened.begins;
        let first = begins.partition_point(|begin| begin.index <= from);
        let last = begins.partition_point(|begin| begin.index <= to);
        let near = begins.get(first.saturating_sub(1)..last).unwrap_or(&[]);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for begin in near {
            for (index, id) in (begin.index..).zip(segment.chunk_lines(begin.chunk)?) {
                if index == spot.index || !(from..=to).contains(&index) {
                    continue;
                }
                let stored = self.cutter.stored(spot.segment, id)?;
                let text = own_text(segment, id, &stored);
                let text = &text[..floor(text, TEXT_MAX)];
                match index < spot.index {
                    true => before.push(text.to_string()),
                    false => after.push(text.to_string()),
                }
            }
        }
        Ok((before, after))
    }

    fn open(&mut self, spot: LinePosition) -> Result<Rc<Opened>, IndexError> {
        let place = (spot.segment, spot.document);
        if let Some(known) = self.opened.get(&place) {
            return Ok(Rc::clone(known));
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
        if self.held > BEGINS_MAX {
            self.opened.clear();
            self.held = 0;
        }
        self.held += begins.len() + 1;
        let part = view.part;
        let opened = Rc::new(Opened { part, begins });
        self.opened.insert(place, Rc::clone(&opened));
        Ok(opened)
    }
}
