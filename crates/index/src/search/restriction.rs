//! The members a query can match in at all: those that hold the rarest text
//! every match must hold, or that its fields select. All it asks for is looked
//! for only there, the rarest text a second time: where it stands in them was
//! not kept. What the first look read, and what it could not see, is.

use std::collections::{HashMap, HashSet};

use crate::IndexError;
use crate::search::candidates::{Candidates, cost, keep_in_groups};
use crate::search::compiled_query::{Fields, Leaf, Plan};
use crate::search::match_set::Matches;
use crate::search::searcher::Searcher;
use crate::search::verify::{Read, Way};
use crate::segment::Segment;
use evidence::Sha256;

/// With fewer candidate lines than this, looking for all of them everywhere
/// costs no more than looking where they may be.
#[cfg(not(test))]
const LINES_FEW: u64 = 10_000;
#[cfg(test)]
const LINES_FEW: u64 = 1;
/// A text is rare beside the others where it has this part of their
/// candidates.
#[cfg(not(test))]
const RARE_PART: u64 = 8;
#[cfg(test)]
const RARE_PART: u64 = 1;
/// Contents beyond which nothing is gained: each is looked up in every segment.
const CONTENTS_MAX: usize = 10_000;
/// Of the lines of a segment, the part beyond which nothing is gained.
const LINES_PART: usize = 2;

/// Where to look: contents, and their documents.
pub(crate) struct Within {
    pub(crate) contents: HashSet<Sha256>,
    /// By segment.
    documents: Vec<Vec<u32>>,
}

/// What looking for the rarest text everywhere took, and what it did not see:
/// a member that was too long for that is not among those to look into.
pub(crate) struct FirstLook {
    pub(crate) leaf: usize,
    /// By segment.
    pub(crate) ways: Vec<Way>,
    pub(crate) read: Read,
    pub(crate) cut_lines: u64,
    pub(crate) cut_texts: u64,
}

/// What some contents hold of a segment.
pub(crate) struct Inside {
    /// Ascending; `None` where that is most of the segment's lines.
    lines: Option<Vec<u32>>,
    /// By number: whether it is theirs.
    chunks: Vec<bool>,
    documents: Vec<bool>,
}

impl Within {
    /// What is to be looked at in a segment.
    ///
    /// **Memory**: 4 bytes for each of up to half of its distinct lines.
    pub(crate) fn inside(&self, segment: &Segment, number: usize) -> Result<Inside, IndexError> {
        let documents = self.documents.get(number);
        Inside::of(segment, documents.map_or(&[], Vec::as_slice))
    }
}

impl FirstLook {
    fn new(leaf: usize, matches: Matches) -> Self {
        let ways = matches.ways.iter();
        Self {
            leaf,
            ways: ways.filter_map(|ways| ways.first().copied()).collect(),
            read: matches.read,
            cut_lines: matches.cut_lines,
            cut_texts: matches.cut_texts,
        }
    }
}

impl Inside {
    /// The lines outside of which nothing is to be looked for.
    pub(crate) fn lines(&self) -> Option<&[u32]> {
        self.lines.as_deref()
    }

    pub(crate) fn has_chunk(&self, chunk: u32) -> bool {
        self.chunks.get(chunk as usize).copied().unwrap_or(false)
    }

    pub(crate) fn has_document(&self, document: u32) -> bool {
        let documents = self.documents.get(document as usize);
        documents.copied().unwrap_or(false)
    }
}

impl Searcher {
    /// Where to look, `None` where everything is to be looked through; and what
    /// finding that out took where a text was looked for.
    pub(crate) fn within(
        &self,
        plan: &Plan,
    ) -> Result<(Option<Within>, Option<FirstLook>), IndexError> {
        let required = plan.required();
        let fields = plan.required_fields();
        let by_texts = !required.is_empty() && plan.leaves.len() > 1;
        if plan.leaves.is_empty() || (fields.is_none() && !by_texts) {
            return Ok((None, None));
        }
        let costs = plan.leaves.iter().map(|leaf| self.cost(leaf));
        let costs = costs.collect::<Result<Vec<u64>, _>>()?;
        let total = costs
            .iter()
            .fold(0, |sum: u64, cost| sum.saturating_add(*cost));
        if total < LINES_FEW {
            return Ok((None, None));
        }
        let rarest = required.into_iter().min_by_key(|leaf| costs[*leaf]);
        let (contents, first) = match (rarest, fields) {
            (Some(leaf), _) if costs[leaf].saturating_mul(RARE_PART) < total - costs[leaf] => {
                let mut matches = self.matches(&plan.only(leaf), false)?;
                let contents = std::mem::take(&mut matches.contents).into_keys().collect();
                (Some(contents), Some(FirstLook::new(leaf, matches)))
            }
            (_, Some(fields)) => (self.selected(&fields)?, None),
            (_, None) => (None, None),
        };
        let few = contents.filter(|contents: &HashSet<_>| contents.len() <= CONTENTS_MAX);
        let within = few.map(|contents| Within {
            documents: self.documents_by_segment(&contents),
            contents,
        });
        Ok((within, first))
    }

    /// **Units**: candidate lines over all segments, about.
    fn cost(&self, leaf: &Leaf) -> Result<u64, IndexError> {
        let costs = self.segments().iter().map(|segment| cost(segment, leaf));
        costs.sum()
    }

    /// The contents of the members that fields select, where these are few.
    fn selected(&self, fields: &Fields<'_>) -> Result<Option<HashSet<Sha256>>, IndexError> {
        let mut contents = HashSet::new();
        for segment in self.segments() {
            let facts = segment.facts();
            let damaged = || segment.file().damaged("a row of facts cannot be read");
            let mut results = HashMap::new();
            for row in 0..facts.occurrences.len() {
                let place = facts.occurrence_row(row).ok_or_else(damaged)?;
                let result = results
                    .entry(place.result)
                    .or_insert_with(|| facts.result(place.result));
                let result = result.as_ref().ok_or_else(damaged)?;
                if !fields.are_of(result, &|| facts.occurrence(row)) {
                    continue;
                }
                contents.insert(facts.content_at(row).ok_or_else(damaged)?);
                if contents.len() > CONTENTS_MAX {
                    return Ok(None);
                }
            }
        }
        Ok(Some(contents))
    }

    fn documents_by_segment(&self, contents: &HashSet<Sha256>) -> Vec<Vec<u32>> {
        let mut documents = vec![Vec::new(); self.segments().len()];
        for content in contents {
            for (segment, document) in self.documents_of(content) {
                documents[segment as usize].push(document);
            }
        }
        documents
    }
}

impl Inside {
    fn of(segment: &Segment, documents: &[u32]) -> Result<Self, IndexError> {
        let mut inside = Self {
            lines: None,
            chunks: vec![false; segment.chunk_count() as usize],
            documents: vec![false; segment.document_count() as usize],
        };
        let mut chunks = Vec::new();
        for document in documents {
            is_new(&mut inside.documents, *document);
            for chunk in segment.document_chunks(&segment.document(*document)?)? {
                if is_new(&mut inside.chunks, chunk) {
                    chunks.push(chunk);
                }
            }
        }
        inside.lines = lines_of(segment, &chunks)?;
        Ok(inside)
    }
}

/// `None` where it is most of all.
fn lines_of(segment: &Segment, chunks: &[u32]) -> Result<Option<Vec<u32>>, IndexError> {
    let most = segment.meta.distinct_lines as usize / LINES_PART;
    let mut met = vec![false; segment.meta.distinct_lines as usize];
    let mut lines = Vec::new();
    for chunk in chunks {
        let here = segment.chunk_lines(*chunk)?.into_iter();
        lines.extend(here.filter(|line| is_new(&mut met, *line)));
        if lines.len() > most {
            return Ok(None);
        }
    }
    lines.sort_unstable();
    Ok(Some(lines))
}

/// Marks an item; whether it was not marked before. One that is not there
/// belongs to a damaged segment, and whoever reads it finds that out.
fn is_new(met: &mut [bool], item: u32) -> bool {
    let met = met.get_mut(item as usize);
    met.is_some_and(|met| !std::mem::replace(met, true))
}

/// Keeps the candidates that stand where to look.
pub(crate) fn keep_within(
    segment: &Segment,
    way: Way,
    candidates: Candidates,
    sure: &mut Vec<u32>,
    within: &[u32],
) -> (Way, Candidates) {
    if way == Way::Whole {
        return (way, candidates);
    }
    sure.retain(|line| within.binary_search(line).is_ok());
    let lines = match candidates {
        Candidates::All => within.to_vec(),
        Candidates::Groups(groups) => {
            let mut lines = within.to_vec();
            keep_in_groups(segment, &mut lines, &groups);
            lines
        }
        Candidates::Lines(mut lines) => {
            lines.retain(|line| within.binary_search(line).is_ok());
            lines
        }
    };
    let way = Way::Within {
        lines: lines.len() + sure.len(),
    };
    (way, Candidates::Lines(lines))
}
