//! Results that are not in the archive, and why.

use std::collections::BTreeMap;

use evidence::{Facts, Gap, GapReason, Origin, ResultKey};
use store::Catalogue;

use crate::app::error::Failure;
use crate::app::rows::{GapRow, ResultPlace};
use crate::app::session::ArchiveSession;

/// Calls `each` for every gap, in the order of result keys.
pub fn gaps(
    session: &ArchiveSession,
    each: &mut dyn FnMut(GapRow) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let gaps = session.catalogue()?.gaps()?;
    gaps.into_iter().map(gap_row).try_for_each(each)
}

fn gap_row(gap: Gap) -> GapRow {
    GapRow {
        time: gap.facts.time().cloned(),
        place: ResultPlace::missing(gap.key, gap.facts.device, gap.facts.machine_id),
        kind: gap.facts.kind,
        script: gap.facts.script,
        path: gap.facts.path,
        reason: gap.reason,
        detail: gap.detail,
        noted_at: gap.noted_at,
        worth_retrying: gap.reason.worth_retrying(),
    }
}

/// A result that is not in the archive: a gap, or pending.
pub(super) struct MissingResult {
    pub(super) facts: Facts,
    /// `None` if the result is pending.
    pub(super) reason: Option<GapReason>,
    /// The attempt, and how it failed.
    pub(super) detail: Option<String>,
}

/// Every missing result: the gaps, and the results of known commands that are
/// neither sealed nor a gap.
pub(super) fn missing_results(
    catalogue: &Catalogue,
) -> Result<BTreeMap<ResultKey, MissingResult>, Failure> {
    let mut missing: BTreeMap<_, _> = catalogue
        .gaps()?
        .into_iter()
        .map(|gap| {
            let result = MissingResult {
                facts: gap.facts,
                reason: Some(gap.reason),
                detail: Some(gap.detail),
            };
            (gap.key, result)
        })
        .collect();
    for action in catalogue.actions()? {
        for command in action.commands.iter().filter(|c| c.has_result()) {
            let key = action.key(command);
            if missing.contains_key(&key) || catalogue.has_result(key) {
                continue;
            }
            let host = String::new();
            let pending = MissingResult {
                facts: action.facts(command, Origin::Api { host }),
                reason: None,
                detail: None,
            };
            missing.insert(key, pending);
        }
    }
    Ok(missing)
}
