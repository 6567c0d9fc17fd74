//! Problems in the evidence: damaged, encrypted or unreadable content, found by
//! the index update.

use std::collections::HashSet;

use evidence::{ActionId, Locator};

use crate::app::error::Failure;
use crate::app::notes::{Note, NoteList};
use crate::app::rows::{ProblemRow, ResultPlace};
use crate::app::session::ArchiveSession;

/// Calls `each` for every problem in indexed results. Returns a note if there
/// are results that are not indexed, whose problems are not known yet.
pub fn problems(
    session: &ArchiveSession,
    each: &mut dyn FnMut(ProblemRow) -> Result<(), Failure>,
) -> Result<Vec<Note>, Failure> {
    let catalogue = session.catalogue()?;
    let Some(searcher) = session.index()? else {
        return Ok(not_indexed(catalogue.record_count()));
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
    let late = catalogue.results_since(searcher.watermark());
    Ok(not_indexed(late.len()))
}

fn not_indexed(results: usize) -> Vec<Note> {
    let mut notes = NoteList::default();
    notes.count(results as u64, |results| Note::NotIndexed { results });
    notes.into_notes()
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
