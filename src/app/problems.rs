//! Problems in the evidence: damaged, encrypted or unreadable content, found by
//! the index update.

use std::collections::HashSet;

use evidence::{ActionId, Locator};

use crate::app::error::Failure;
use crate::app::rows::{ProblemRow, ResultPlace};
use crate::app::session::ArchiveSession;

/// Calls `each` for every problem in indexed results. Returns the number of
/// results that are not indexed, whose problems are not known yet.
pub fn problems(
    session: &ArchiveSession,
    each: &mut dyn FnMut(ProblemRow) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let catalogue = session.catalogue()?;
    let Some(searcher) = session.index()? else {
        return Ok(catalogue.record_count() as u64);
    };
    for placed in searcher.problems() {
        let facts = catalogue.record(placed.id)?.map(|record| record.facts);
        let (device, machine_id) = facts
            .map(|facts| (facts.device, facts.machine_id))
            .unwrap_or_default();
        let locator = Locator {
            layers: placed.layers,
            ..Locator::of_result(placed.id)
        };
        each(ProblemRow {
            place: ResultPlace::of(&locator, device, machine_id),
            kind: placed.problem.kind,
            hides_text: placed.problem.kind.hides_text(),
            message: placed.problem.message,
        })?;
    }
    Ok(catalogue.results_since(searcher.watermark()).len() as u64)
}

/// Number of problems in the indexed results of some actions.
pub fn count_problems(
    session: &ArchiveSession,
    actions: &HashSet<ActionId>,
) -> Result<u64, Failure> {
    let Some(searcher) = session.index()? else {
        return Ok(0);
    };
    let count = searcher
        .problems()
        .filter(|placed| actions.contains(&placed.id.key.action))
        .count();
    Ok(count as u64)
}
