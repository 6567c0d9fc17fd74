//! Lines that are stored in parts, put together again: for texts whose matches
//! may be longer than what neighbouring parts share.
//!
//! Parts of such a line lie in chunks of their own, and may lie in several
//! segments. The same parts in a row are searched once, whoever holds them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

use crate::IndexError;
use crate::matcher::Matcher;
use crate::search::compiled_query::Leaf;
use crate::search::multiline::{Found, Start, unreadable};
use crate::search::restriction::Within;
use crate::search::searcher::Searcher;
use crate::search::text_window::{Size, Window};
use crate::search::verify::matches_in;
use crate::segment::Segment;
use crate::segment::ngrams::GramQuery;
use evidence::{Layer, Sha256};

/// Of a line that is searched for a pattern.
const PATTERN: Size = Size {
    window: 32 << 20,
    overlap: 4 << 20,
};
/// Of one that is searched for words: several copies and a list of places take
/// some times as much.
const WORDS: Size = Size {
    window: 4 << 20,
    overlap: 1 << 20,
};

/// Stored lines, by segment, that make one line.
type Pieces = Vec<(u32, u32)>;

/// Where a long line stands.
struct Place {
    content: Sha256,
    part: Option<Layer>,
    /// From 0, and bytes of the text before it.
    line: u64,
    offset: u64,
}

/// Every line of an index that is stored in parts.
#[derive(Default)]
pub(crate) struct LongLines {
    lines: BTreeMap<Pieces, Vec<Place>>,
}

/// A line of which not all parts have been met.
struct Open {
    pieces: Pieces,
    line: u64,
    offset: u64,
}

impl LongLines {
    /// Of all contents, or of those in `within`.
    ///
    /// **Cost**: nothing where there are none; else the tables of the documents
    /// that hold one.
    pub(crate) fn read(searcher: &Searcher, within: Option<&Within>) -> Result<Self, IndexError> {
        let mut chunks: Vec<HashSet<u32>> = Vec::new();
        let mut contents = Vec::new();
        for segment in searcher.segments() {
            let here = chunks_with_parts(segment)?;
            contents.extend(contents_of(searcher, segment, &here)?);
            chunks.push(here);
        }
        contents.sort_unstable();
        contents.dedup();
        if let Some(within) = within {
            contents.retain(|content| within.contents.contains(content));
        }
        let mut all = Self::default();
        for content in contents {
            all.read_content(searcher, content, &chunks)?;
        }
        Ok(all)
    }

    fn read_content(
        &mut self,
        searcher: &Searcher,
        content: Sha256,
        chunks: &[HashSet<u32>],
    ) -> Result<(), IndexError> {
        let mut open: HashMap<Option<Layer>, Open> = HashMap::new();
        for (number, document) in searcher.documents_of(&content) {
            let segment = searcher.segment(number);
            let view = segment.document(document)?;
            let (mut line, mut offset) = (view.line, view.offset);
            for chunk in segment.document_chunks(&view)? {
                let here = segment.chunk(chunk)?;
                if !chunks[number as usize].contains(&chunk) {
                    line += here.lines;
                    offset += here.bytes;
                    continue;
                }
                let _ = segment.chunk_extents(chunk, &mut |extent| {
                    if let Some(mark) = segment.mark(extent.line).filter(|mark| mark.is_part()) {
                        if mark.first {
                            let pieces = Vec::new();
                            open.insert(
                                view.part.clone(),
                                Open {
                                    pieces,
                                    line,
                                    offset,
                                },
                            );
                        }
                        if let Some(open) = open.get_mut(&view.part) {
                            open.pieces.push((number, extent.line));
                        }
                        if mark.last
                            && let Some((part, open)) = open.remove_entry(&view.part)
                        {
                            self.lines.entry(open.pieces).or_default().push(Place {
                                content,
                                part,
                                line: open.line,
                                offset: open.offset,
                            });
                        }
                    }
                    line += extent.ended;
                    offset += extent.bytes;
                    ControlFlow::Continue(())
                })?;
            }
        }
        Ok(())
    }

    /// Where a text is first found in each line, and in how many lines it may
    /// be where it was not seen: its matches may be longer than a window shows,
    /// which a line was too long for.
    ///
    /// **Memory**: one window of 32 MiB for patterns; of 4 MiB for words, and as
    /// much again in lower case, and 40 bytes for each place of words near each
    /// other.
    pub(crate) fn find(
        &self,
        searcher: &Searcher,
        leaf: &Leaf,
        scan: bool,
    ) -> Result<(Found, u64), IndexError> {
        let may_hold = match scan {
            true => vec![true; self.lines.len()],
            false => self.holding(searcher, &leaf.needed.grams)?,
        };
        let (mut found, mut cut) = (Found::new(), 0);
        for ((pieces, places), _) in self.lines.iter().zip(may_hold).filter(|(_, may)| *may) {
            let (first, is_cut) = first_match(searcher, &leaf.matcher, pieces)?;
            cut += if is_cut { places.len() as u64 } else { 0 };
            let Some((start, len)) = first else {
                continue;
            };
            for place in places {
                let starts = found.entry((place.content, place.part.clone()));
                let start = Start {
                    offset: place.offset + start,
                    len,
                };
                starts.or_default().insert(place.line, start);
            }
        }
        Ok((found, cut))
    }

    /// For each line whether it may hold what is needed. A literal lies whole
    /// in one part of a line, several may lie in several.
    fn holding(&self, searcher: &Searcher, needed: &GramQuery) -> Result<Vec<bool>, IndexError> {
        match needed {
            GramQuery::Anything => Ok(vec![true; self.lines.len()]),
            GramQuery::Literal(_) => {
                let mut groups: HashMap<u32, Vec<u32>> = HashMap::new();
                for (number, _) in self.lines.keys().flatten() {
                    if !groups.contains_key(number) {
                        groups.insert(*number, searcher.segment(*number).groups(needed)?);
                    }
                }
                let holds = |(number, line): &(u32, u32)| {
                    let group = group_of(searcher.segment(*number), *line);
                    groups[number].binary_search(&group).is_ok()
                };
                Ok(self
                    .lines
                    .keys()
                    .map(|pieces| pieces.iter().any(holds))
                    .collect())
            }
            GramQuery::Every(parts) => {
                let mut all = vec![true; self.lines.len()];
                for part in parts {
                    let here = self.holding(searcher, part)?;
                    all.iter_mut()
                        .zip(here)
                        .for_each(|(all, here)| *all &= here);
                }
                Ok(all)
            }
            GramQuery::Either(parts) => {
                let mut any = vec![false; self.lines.len()];
                for part in parts {
                    let here = self.holding(searcher, part)?;
                    any.iter_mut()
                        .zip(here)
                        .for_each(|(any, here)| *any |= here);
                }
                Ok(any)
            }
        }
    }
}

fn chunks_with_parts(segment: &Segment) -> Result<HashSet<u32>, IndexError> {
    let mut chunks = HashSet::new();
    for line in segment.part_lines() {
        segment.chunks_of_line(line, |chunk| {
            chunks.insert(chunk);
        })?;
    }
    Ok(chunks)
}

fn contents_of(
    searcher: &Searcher,
    segment: &Segment,
    chunks: &HashSet<u32>,
) -> Result<Vec<Sha256>, IndexError> {
    let mut documents = HashSet::new();
    for chunk in chunks {
        segment.documents_of_chunk(*chunk, |document| {
            documents.insert(document);
        })?;
    }
    let mut contents = Vec::new();
    for document in documents {
        let content = segment.content(segment.document(document)?.content)?;
        contents.extend(searcher.resolve(content));
    }
    Ok(contents)
}

/// The group a line stands in.
fn group_of(segment: &Segment, line: u32) -> u32 {
    let (mut low, mut high) = (0, segment.group_count());
    while high.saturating_sub(low) > 1 {
        let middle = low + (high - low) / 2;
        if segment.group_start(middle) <= line {
            low = middle;
        } else {
            high = middle;
        }
    }
    low
}

/// Where a text is first found in a line, in bytes from the line's beginning,
/// with its length; and whether one may be where the line was not seen whole.
fn first_match(
    searcher: &Searcher,
    matcher: &Matcher,
    pieces: &[(u32, u32)],
) -> Result<(Option<(u64, u64)>, bool), IndexError> {
    let size = match matcher {
        Matcher::Line(_) => PATTERN,
        _ => WORDS,
    };
    let (mut first, mut is_cut) = (None, false);
    let passed = Window::pass(searcher.text_of_lines(pieces), size, |window, at, end| {
        let text = &window.text;
        let found = matches_in(matcher, text, at, end, 1).into_iter().next();
        // What stands at the end of a window may be other behind it.
        let is_seen = |end: usize| window.ended || end < text.len() || !matcher.looks();
        match found {
            Some((start, end)) if is_seen(end) => {
                first = Some((window.offset + start as u64, (end - start) as u64));
                ControlFlow::Break(())
            }
            Some(_) => {
                is_cut = true;
                ControlFlow::Continue(end)
            }
            None => {
                let shared = text.get(window.shared()..).unwrap_or("");
                is_cut = is_cut || !window.ended && matcher.may_cover(shared);
                ControlFlow::Continue(end)
            }
        }
    });
    passed.map_err(unreadable)?;
    Ok((first, is_cut && first.is_none()))
}
