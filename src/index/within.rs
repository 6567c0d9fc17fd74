//! The members a query can match in at all: those that hold the rarest text
//! every match must hold, or that its fields select. All else it asks for is
//! looked for only there.

use std::collections::{HashMap, HashSet};

use super::IndexError;
use super::candidates::{Candidates, candidates, keep_in_groups};
use super::lines::Way;
use super::plan::{Leaf, Plan};
use super::searcher::Searcher;
use super::segment::Segment;
use crate::evidence::Sha256;

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
/// Lines of a group of 4 KiB, about.
const GROUP_LINES: u64 = 64;

/// Where to look: contents, and their lines by segment.
pub(super) struct Within {
    pub(super) contents: HashSet<Sha256>,
    /// Ascending; `None` for a segment of which most lines are meant.
    lines: Vec<Option<Vec<u32>>>,
}

impl Within {
    /// The lines of a segment outside of which nothing is to be looked for.
    pub(super) fn lines_in(&self, segment: usize) -> Option<&[u32]> {
        self.lines.get(segment)?.as_deref()
    }
}

impl Searcher {
    /// `None` where everything is to be looked through.
    pub(super) fn within(&self, plan: &Plan) -> Result<Option<Within>, IndexError> {
        let required = plan.required();
        let by_fields = plan.requires_fields();
        if plan.leaves.is_empty() || (!by_fields && (required.is_empty() || plan.leaves.len() < 2))
        {
            return Ok(None);
        }
        let costs = plan.leaves.iter().map(|leaf| self.cost(leaf));
        let costs = costs.collect::<Result<Vec<u64>, _>>()?;
        let total = costs
            .iter()
            .fold(0, |sum: u64, cost| sum.saturating_add(*cost));
        if total < LINES_FEW {
            return Ok(None);
        }
        let rarest = required.into_iter().min_by_key(|leaf| costs[*leaf]);
        let contents = match rarest {
            Some(leaf) if costs[leaf].saturating_mul(RARE_PART) < total - costs[leaf] => {
                let matches = self.matches(&plan.only(leaf), false)?;
                Some(matches.contents.into_keys().collect())
            }
            _ if by_fields => self.selected(plan)?,
            _ => None,
        };
        match contents {
            Some(contents) if contents.len() <= CONTENTS_MAX => self.lines_of(contents).map(Some),
            _ => Ok(None),
        }
    }

    /// **Units**: candidate lines over all segments, about.
    fn cost(&self, leaf: &Leaf) -> Result<u64, IndexError> {
        let mut cost = 0u64;
        for segment in self.segments() {
            let mut sure = Vec::new();
            let (way, _) = candidates(segment, leaf, false, &mut sure)?;
            cost += match way {
                Way::Terms { lines } | Way::Within { lines } => lines as u64,
                Way::Grams { groups } => groups as u64 * GROUP_LINES,
                Way::Scan => segment.meta.distinct_lines,
                Way::Whole => segment.meta.text_bytes,
            };
        }
        Ok(cost)
    }

    /// The contents of the members that the query's fields select, where these
    /// are few.
    fn selected(&self, plan: &Plan) -> Result<Option<HashSet<Sha256>>, IndexError> {
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
                if !plan.selects(result, &|| facts.occurrence(row)) {
                    continue;
                }
                contents.insert(facts.occurrence(row).ok_or_else(damaged)?.content);
                if contents.len() > CONTENTS_MAX {
                    return Ok(None);
                }
            }
        }
        Ok(Some(contents))
    }

    fn lines_of(&self, contents: HashSet<Sha256>) -> Result<Within, IndexError> {
        let mut documents = vec![Vec::new(); self.segments().len()];
        for content in &contents {
            for (segment, document) in self.documents_of(content) {
                documents[segment as usize].push(document);
            }
        }
        let lines = self.segments().iter().zip(&documents);
        let lines = lines.map(|(segment, documents)| lines_of(segment, documents));
        Ok(Within {
            lines: lines.collect::<Result<_, _>>()?,
            contents,
        })
    }
}

fn lines_of(segment: &Segment, documents: &[u32]) -> Result<Option<Vec<u32>>, IndexError> {
    let mut chunks = Vec::new();
    for document in documents {
        chunks.extend(segment.document_chunks(&segment.document(*document)?)?);
    }
    chunks.sort_unstable();
    chunks.dedup();
    let most = segment.meta.distinct_lines as usize / LINES_PART;
    let mut met = vec![false; segment.meta.distinct_lines as usize];
    let mut lines = Vec::new();
    for chunk in chunks {
        for line in segment.chunk_lines(chunk)? {
            if let Some(met) = met.get_mut(line as usize)
                && !std::mem::replace(met, true)
            {
                lines.push(line);
            }
        }
        if lines.len() > most {
            return Ok(None);
        }
    }
    lines.sort_unstable();
    Ok(Some(lines))
}

/// Keeps the candidates that stand where to look.
pub(super) fn keep_within(
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
