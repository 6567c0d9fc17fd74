//! What there is, what is missing and why, what is wrong inside.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;

use serde::Serialize;

use evidence::{
    ActionId, Facts, Gap, GapReason, Locator, Origin, ProblemKind, Record, ResultId, ResultKey,
    Seq, Time,
};
use index::{PlacedProblem, Searcher};
use store::Catalogue;

use crate::app::custody;
use crate::app::error::Failure;
use crate::app::index_update::{open_searcher, results_since};
use crate::app::rows::{GapRow, ListRow, Place, ProblemRow, State};

/// Which results to list.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    /// Id, full or short name, in any case.
    pub device: Option<String>,
    pub action: Option<ActionId>,
    pub state: Option<String>,
}

impl ListFilter {
    fn takes(&self, row: &ListRow) -> bool {
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

/// Every result in reading order: sealed ones with each version, then what is
/// missing of the same action.
pub fn list(
    archive: &Path,
    filter: &ListFilter,
    take: &mut dyn FnMut(ListRow) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let exits = exit_codes(archive, &catalogue)?;
    let mut missing = missing(&catalogue)?;
    for record in catalogue.records() {
        let record = record?;
        let later = missing.split_off(&record.id.key);
        give(std::mem::replace(&mut missing, later), filter, take)?;
        let row = sealed_row(&record, exits.get(&record.id).copied());
        if filter.takes(&row) {
            take(row)?;
        }
    }
    give(missing, filter, take)
}

fn give(
    missing: BTreeMap<ResultKey, Missing>,
    filter: &ListFilter,
    take: &mut dyn FnMut(ListRow) -> Result<(), Failure>,
) -> Result<(), Failure> {
    missing
        .into_iter()
        .map(|(key, missing)| missing.row(key))
        .filter(|row| filter.takes(row))
        .try_for_each(take)
}

/// A result that is not there: why, or `None` where it may still come.
pub(super) struct Missing {
    pub(super) facts: Facts,
    pub(super) reason: Option<GapReason>,
    /// What was attempted and what came back.
    pub(super) detail: Option<String>,
}

pub(super) fn missing(catalogue: &Catalogue) -> Result<BTreeMap<ResultKey, Missing>, Failure> {
    let mut missing: BTreeMap<_, _> = catalogue
        .gaps()?
        .into_iter()
        .map(|gap| {
            let missing = Missing {
                facts: gap.facts,
                reason: Some(gap.reason),
                detail: Some(gap.detail),
            };
            (gap.key, missing)
        })
        .collect();
    for action in catalogue.actions()? {
        for command in action.commands.iter().filter(|c| c.has_result()) {
            let key = action.key(command);
            if !missing.contains_key(&key) && !catalogue.has_result(key) {
                let host = String::new();
                let facts = action.facts(command, Origin::Api { host });
                missing.insert(
                    key,
                    Missing {
                        facts,
                        reason: None,
                        detail: None,
                    },
                );
            }
        }
    }
    Ok(missing)
}

impl Missing {
    fn row(self, key: ResultKey) -> ListRow {
        let Self { facts, reason, .. } = self;
        ListRow {
            time: facts.time().cloned(),
            place: Place::missing(key, facts.device, facts.machine_id),
            kind: facts.kind,
            script: facts.script,
            path: facts.path,
            exit_code: None,
            requestor: facts.requestor,
            comment: facts.comment,
            collected_at: None,
            state: if reason.is_some() {
                State::Gap
            } else {
                State::Pending
            },
            reason,
            bytes: None,
            sha256: None,
            seq: None,
        }
    }
}

fn sealed_row(record: &Record, exit_code: Option<i64>) -> ListRow {
    let facts = &record.facts;
    ListRow {
        place: Place::of(
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
        state: State::Sealed,
        reason: None,
        bytes: Some(record.bytes),
        sha256: Some(record.sha256),
        seq: Some(record.seq),
    }
}

/// Exit codes stand inside the transcripts, so the index has them.
fn exit_codes(archive: &Path, catalogue: &Catalogue) -> Result<HashMap<ResultId, i64>, Failure> {
    let Some(searcher) = open_searcher(archive, catalogue)? else {
        return Ok(HashMap::new());
    };
    let mut exits = HashMap::new();
    for result in searcher.results() {
        if let Some(code) = result.exit_code {
            exits.insert(result.id, code);
        }
    }
    Ok(exits)
}

/// Results that are not there, and why, in reading order.
pub fn gaps(
    archive: &Path,
    take: &mut dyn FnMut(GapRow) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let catalogue = custody::open_to_read(archive)?;
    catalogue
        .gaps()?
        .into_iter()
        .map(gap_row)
        .try_for_each(take)
}

fn gap_row(gap: Gap) -> GapRow {
    GapRow {
        time: gap.facts.time().cloned(),
        place: Place::missing(gap.key, gap.facts.device, gap.facts.machine_id),
        kind: gap.facts.kind,
        script: gap.facts.script,
        path: gap.facts.path,
        reason: gap.reason,
        detail: gap.detail,
        noted_at: gap.noted_at,
        worth_retrying: gap.reason.worth_retrying(),
    }
}

/// What is wrong inside the evidence, as far as it is indexed. Returns how
/// many results are not.
pub fn problems(
    archive: &Path,
    take: &mut dyn FnMut(ProblemRow) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let Some(searcher) = open_searcher(archive, &catalogue)? else {
        return Ok(catalogue.record_count() as u64);
    };
    for placed in searcher.problems() {
        let facts = catalogue.record(placed.id)?.map(|record| record.facts);
        let (device, machine_id) = facts
            .map(|facts| (facts.device, facts.machine_id))
            .unwrap_or_default();
        let at = Locator {
            layers: placed.layers,
            ..Locator::of_result(placed.id)
        };
        take(ProblemRow {
            place: Place::of(&at, device, machine_id),
            kind: placed.problem.kind,
            hides_text: placed.problem.kind.hides_text(),
            message: placed.problem.message,
        })?;
    }
    Ok(unindexed(&catalogue, Some(&searcher)))
}

/// How many problems the results of some actions have, as far as they are
/// indexed.
pub fn standing_problems(archive: &Path, of: &HashSet<ActionId>) -> Result<u64, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let Some(searcher) = open_searcher(archive, &catalogue)? else {
        return Ok(0);
    };
    let theirs = |placed: &PlacedProblem| of.contains(&placed.id.key.action);
    Ok(searcher.problems().filter(theirs).count() as u64)
}

/// Results with members that no password opened.
pub(super) fn locked_results(searcher: &Searcher) -> BTreeSet<ResultId> {
    searcher
        .problems()
        .filter(|placed| placed.problem.kind == ProblemKind::Encrypted)
        .map(|placed| placed.id)
        .collect()
}

/// Results sealed that the index does not hold yet.
pub(super) fn unindexed(catalogue: &Catalogue, searcher: Option<&Searcher>) -> u64 {
    let from = searcher.map_or(Seq::ZERO, Searcher::watermark);
    results_since(catalogue, from).0
}

/// How things stand.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Status {
    pub actions: u64,
    pub devices: u64,
    pub sealed: u64,
    pub gaps: u64,
    pub pending: u64,
    /// **Units**: bytes of sealed results, as downloaded.
    pub bytes: u64,
    pub gaps_by_reason: BTreeMap<GapReason, u64>,
    /// Last place in the journal, and the one the index has reached.
    pub journal: u64,
    pub indexed: u64,
    /// Results sealed and not indexed yet.
    pub unindexed: u64,
    pub lag: Lag,
    pub problems: u64,
    pub index: Option<IndexStatus>,
}

/// How far the index is behind the archive.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Lag {
    /// Sealed and not indexed yet.
    pub results: u64,
    /// **Units**: bytes of those, as downloaded.
    pub bytes: u64,
    /// When the first of them was collected.
    pub since: Option<Time>,
}

impl Lag {
    fn add(&mut self, record: &Record) {
        let at = &record.collected_at;
        self.results += 1;
        self.bytes += record.bytes;
        let is_first = |since: &Time| at.instant() < since.instant();
        if self.since.as_ref().is_none_or(is_first) {
            self.since = Some(at.clone());
        }
    }
}

/// How large the index is and how much the text repeats.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IndexStatus {
    /// What is sealed up to here is indexed.
    pub watermark: u64,
    pub segments: u64,
    /// Results, and what was found inside them.
    pub results: u64,
    pub members: u64,
    /// Distinct contents of those members.
    pub contents: u64,
    /// Extracted texts.
    pub documents: u64,
    pub lines: u64,
    pub distinct_lines: u64,
    /// **Units**: bytes of decoded text.
    pub text_bytes: u64,
    /// **Units**: bytes of the distinct lines.
    pub distinct_bytes: u64,
    /// Of the text: the figure every speed depends on.
    pub distinct_share: f64,
    /// **Units**: bytes, text included.
    pub disk_bytes: u64,
    /// **Units**: bytes, by what they are for: text, terms, 4-grams,
    /// documents, lines, facts.
    pub parts: Vec<PartSize>,
}

#[derive(Clone, Debug, Serialize)]
pub struct PartSize {
    pub part: &'static str,
    pub bytes: u64,
}

pub fn status(archive: &Path) -> Result<Status, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let mut status = Status {
        journal: catalogue.last_seq().0,
        ..Status::default()
    };
    let searcher = open_searcher(archive, &catalogue)?;
    let watermark = searcher.as_ref().map_or(Seq::ZERO, Searcher::watermark);
    let mut devices = BTreeSet::new();
    for action in catalogue.actions()? {
        status.actions += 1;
        devices.extend(action.machine_id.or(action.device));
    }
    for record in catalogue.records() {
        let record = record?;
        status.sealed += 1;
        status.bytes += record.bytes;
        if record.seq > watermark {
            status.lag.add(&record);
        }
        devices.extend(record.facts.machine_id.or(record.facts.device));
    }
    status.devices = devices.len() as u64;
    for missing in missing(&catalogue)?.values() {
        match missing.reason {
            Some(reason) => {
                status.gaps += 1;
                *status.gaps_by_reason.entry(reason).or_default() += 1;
            }
            None => status.pending += 1,
        }
    }
    status.unindexed = status.lag.results;
    if let Some(searcher) = &searcher {
        let stats = searcher.stats();
        status.indexed = searcher.watermark().0;
        status.problems = stats.problems;
        status.index = Some(IndexStatus {
            watermark: status.indexed,
            segments: stats.segments,
            results: stats.results,
            members: stats.occurrences,
            contents: stats.contents,
            documents: stats.documents,
            lines: stats.lines,
            distinct_lines: stats.distinct_lines,
            text_bytes: stats.text_bytes,
            distinct_bytes: stats.distinct_bytes,
            distinct_share: stats.distinct_bytes as f64 / stats.text_bytes.max(1) as f64,
            disk_bytes: stats.file_bytes,
            parts: stats
                .parts
                .into_iter()
                .map(|(part, bytes)| PartSize { part, bytes })
                .collect(),
        });
    }
    Ok(status)
}
