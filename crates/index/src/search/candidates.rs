//! Where a text's lines may be: asked of the terms, or of the 4-grams.

use crate::IndexError;
use crate::matcher::Matcher;
use crate::matcher::prefilter::Needed;
use crate::search::compiled_query::Leaf;
use crate::search::verify::Way;
use crate::segment::Segment;

/// With more of all groups than one in this many, reading all of them in one
/// go costs no more.
const GROUPS_PART: usize = 2;

/// With terms too, so few groups are read sooner than a term index is opened:
/// what is rare needs none of a hundred segments' dictionaries.
const GROUPS_FEW: usize = 8;
/// So few lines are verified sooner than their 4-grams are looked up.
const LINES_FEW: usize = 16;
/// Lines of a group of 4 KiB, about.
const GROUP_LINES: u64 = 64;

/// Distinct lines that may hold a text.
pub(crate) enum Candidates {
    All,
    /// Groups of lines, ascending.
    Groups(Vec<u32>),
    /// Lines, ascending.
    Lines(Vec<u32>),
}

/// Finds the candidates of a text. Lines that need no look at their text are
/// put into `sure` instead.
pub(crate) fn candidates(
    segment: &Segment,
    leaf: &Leaf,
    scan: bool,
    sure: &mut Vec<u32>,
) -> Result<(Way, Candidates), IndexError> {
    if matches!(leaf.matcher, Matcher::Whole(_)) {
        return Ok((Way::Whole, Candidates::Lines(Vec::new())));
    }
    let needed = &leaf.needed;
    let groups = match scan {
        true => None,
        false => by_grams(segment, needed)?,
    };
    let groups = match groups {
        Some(ByGrams { groups, is_best }) if is_best => {
            let way = Way::Grams {
                groups: groups.len(),
            };
            return Ok((way, Candidates::Groups(groups)));
        }
        groups => groups.map(|by_grams| by_grams.groups),
    };
    if scan || needed.terms.is_empty() {
        return Ok((Way::Scan, Candidates::All));
    }
    let mut lines = Vec::new();
    for part in segment.terms()? {
        lines.extend(part.lines(&needed.terms)?);
    }
    if needed.is_decided {
        let is_sure = |line: &u32| segment.mark(*line).is_none();
        let way = Way::Terms { lines: lines.len() };
        sure.extend(lines.iter().copied().filter(is_sure));
        lines.retain(|line| !is_sure(line));
        return Ok((way, Candidates::Lines(lines)));
    }
    if let Some(groups) = groups.filter(|_| lines.len() > LINES_FEW) {
        keep_in_groups(segment, &mut lines, &groups);
    }
    Ok((Way::Terms { lines: lines.len() }, Candidates::Lines(lines)))
}

/// What the 4-grams leave of a segment.
struct ByGrams {
    /// Groups of lines, ascending.
    groups: Vec<u32>,
    /// So few that no other way is asked.
    is_best: bool,
}

/// `None` where a text has none.
fn by_grams(segment: &Segment, needed: &Needed) -> Result<Option<ByGrams>, IndexError> {
    if !needed.grams.narrows() {
        return Ok(None);
    }
    let groups = segment.groups(&needed.grams)?;
    let few = match needed.terms.is_empty() {
        true => segment.group_count() as usize / GROUPS_PART,
        false => GROUPS_FEW,
    };
    let is_best = groups.len() <= few;
    Ok(Some(ByGrams { groups, is_best }))
}

/// About how many lines a text has to be looked for in.
///
/// **Cost**: that of its 4-grams; of its terms a look into the dictionaries.
pub(crate) fn cost(segment: &Segment, leaf: &Leaf) -> Result<u64, IndexError> {
    if matches!(leaf.matcher, Matcher::Whole(_)) {
        return Ok(segment.meta.text_bytes);
    }
    let needed = &leaf.needed;
    let by_grams = by_grams(segment, needed)?;
    let lines = |by: &ByGrams| by.groups.len() as u64 * GROUP_LINES;
    let all = segment.meta.distinct_lines;
    let cost = by_grams.as_ref().map_or(all, |by| all.min(lines(by)));
    if needed.terms.is_empty() || by_grams.is_some_and(|by| by.is_best) {
        return Ok(cost);
    }
    let mut lines = 0;
    for part in segment.terms()? {
        lines += part.frequency(&needed.terms, cost - lines)?;
    }
    Ok(lines)
}

/// Keeps the lines that stand in one of the groups: a word's beginning is
/// common where the word is not.
pub(crate) fn keep_in_groups(segment: &Segment, lines: &mut Vec<u32>, groups: &[u32]) {
    let mut groups = groups.iter().copied().peekable();
    lines.retain(|line| {
        while groups
            .next_if(|group| segment.group_start(group + 1) <= *line)
            .is_some()
        {}
        groups
            .peek()
            .is_some_and(|group| segment.group_start(*group) <= *line)
    });
}
