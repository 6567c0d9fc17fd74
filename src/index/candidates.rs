//! Where a text's lines may be: asked of the terms, or of the 4-grams.

use super::IndexError;
use super::lines::Way;
use super::matcher::Matcher;
use super::plan::Leaf;
use super::segment::Segment;

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
pub(super) enum Candidates {
    All,
    /// Groups of lines, ascending.
    Groups(Vec<u32>),
    /// Lines, ascending.
    Lines(Vec<u32>),
}

/// Finds the candidates of a text. Lines that need no look at their text are
/// put into `sure` instead.
pub(super) fn candidates(
    segment: &Segment,
    leaf: &Leaf,
    scan: bool,
    sure: &mut Vec<u32>,
) -> Result<(Way, Candidates), IndexError> {
    if matches!(leaf.matcher, Matcher::Whole(_)) {
        return Ok((Way::Whole, Candidates::Lines(Vec::new())));
    }
    let needed = &leaf.needed;
    let groups = match !scan && needed.grams.narrows() {
        true => Some(segment.groups(&needed.grams)?),
        false => None,
    };
    let few = if needed.terms.is_empty() {
        segment.group_count() as usize / GROUPS_PART
    } else {
        GROUPS_FEW
    };
    if let Some(groups) = groups.as_ref().filter(|groups| groups.len() <= few) {
        let way = Way::Grams {
            groups: groups.len(),
        };
        return Ok((way, Candidates::Groups(groups.clone())));
    }
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

/// About how many lines a text has to be looked for in.
///
/// **Cost**: that of its 4-grams; of its terms a look into the dictionaries.
pub(super) fn cost(segment: &Segment, leaf: &Leaf) -> Result<u64, IndexError> {
    if matches!(leaf.matcher, Matcher::Whole(_)) {
        return Ok(segment.meta.text_bytes);
    }
    let needed = &leaf.needed;
    let mut cost = segment.meta.distinct_lines;
    if needed.grams.narrows() {
        let groups = segment.groups(&needed.grams)?.len();
        cost = cost.min(groups as u64 * GROUP_LINES);
        if groups <= GROUPS_FEW {
            return Ok(cost);
        }
    }
    if needed.terms.is_empty() {
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
pub(super) fn keep_in_groups(segment: &Segment, lines: &mut Vec<u32>, groups: &[u32]) {
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
