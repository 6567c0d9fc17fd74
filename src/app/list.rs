//! Lists the results of an archive: those that are sealed, and those that are
//! missing.

use std::collections::{BTreeMap, HashMap};

use evidence::{ActionId, Locator, Record, ResultId, ResultKey};

use crate::app::error::Failure;
use crate::app::gaps::{MissingResult, missing_results};
use crate::app::rows::{ListRow, ResultPlace, ResultState};
use crate::app::session::ArchiveSession;

/// Selects the results to list.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Machine id, full or short name, in any case.
    pub device: Option<String>,
    pub action: Option<ActionId>,
    /// `sealed`, `gap` or `pending`.
    pub state: Option<String>,
}

impl ListFilter {
    fn matches(&self, row: &ListRow) -> bool {
        let is_device = |wanted: &String| {
            let names = [&row.place.device, &row.place.machine_id];
            names.into_iter().flatten().any(|name| {
                let short = name.split('.').next().unwrap_or(name);
                wanted.eq_ignore_ascii_case(name) || wanted.eq_ignore_ascii_case(short)
            })
        };
        self.device.as_ref().is_none_or(is_device)
            && self
                .action
                .is_none_or(|action| action == row.place.action_id)
            && self
                .state
                .as_deref()
                .is_none_or(|state| state == row.state.as_str())
    }
}

/// Calls `each` for every result in the order of result keys: first each sealed
/// version, then the missing results of the same action.
pub fn list(
    session: &ArchiveSession,
    filter: &ListFilter,
    each: &mut dyn FnMut(ListRow) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let catalogue = session.catalogue()?;
    let exit_codes = exit_codes(session)?;
    let mut missing = missing_results(&catalogue)?;
    for record in catalogue.records() {
        let record = record?;
        let later = missing.split_off(&record.id.key);
        list_missing(std::mem::replace(&mut missing, later), filter, each)?;
        let row = sealed_row(&record, exit_codes.get(&record.id).copied());
        if filter.matches(&row) {
            each(row)?;
        }
    }
    list_missing(missing, filter, each)
}

fn list_missing(
    missing: BTreeMap<ResultKey, MissingResult>,
    filter: &ListFilter,
    each: &mut dyn FnMut(ListRow) -> Result<(), Failure>,
) -> Result<(), Failure> {
    missing
        .into_iter()
        .map(|(key, result)| missing_row(key, result))
        .filter(|row| filter.matches(row))
        .try_for_each(each)
}

fn missing_row(key: ResultKey, missing: MissingResult) -> ListRow {
    let MissingResult { facts, reason, .. } = missing;
    ListRow {
        time: facts.time().cloned(),
        place: ResultPlace::missing(key, facts.device, facts.machine_id),
        kind: facts.kind,
        script: facts.script,
        path: facts.path,
        exit_code: None,
        requestor: facts.requestor,
        comment: facts.comment,
        collected_at: None,
        state: if reason.is_some() {
            ResultState::Gap
        } else {
            ResultState::Pending
        },
        reason,
        bytes: None,
        sha256: None,
        seq: None,
    }
}

fn sealed_row(record: &Record, exit_code: Option<i64>) -> ListRow {
    let facts = &record.facts;
    ListRow {
        place: ResultPlace::of(
            &Locator::of_result(record.id),
            facts.device.clone(),
            facts.machine_id.clone(),
        ),
        kind: facts.kind,
        script: facts.script.clone(),
        path: facts.path.clone(),
        exit_code,
        time: facts.time().cloned(),
        requestor: facts.requestor.clone(),
        comment: facts.comment.clone(),
        collected_at: Some(record.collected_at.clone()),
        state: ResultState::Sealed,
        reason: None,
        bytes: Some(record.bytes),
        sha256: Some(record.sha256),
        seq: Some(record.seq),
    }
}

/// Exit codes by result. They are read from the index, because they are inside
/// the transcripts.
fn exit_codes(session: &ArchiveSession) -> Result<HashMap<ResultId, i64>, Failure> {
    let Some(searcher) = session.index()? else {
        return Ok(HashMap::new());
    };
    let codes = searcher
        .results()
        .filter_map(|result| Some((result.id, result.exit_code?)));
    Ok(codes.collect())
}
