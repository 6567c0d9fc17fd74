//! Summary of an archive: results, gaps, problems, and the state of the index.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use evidence::{GapReason, Record, Seq, Time};
use index::{IndexStats, Searcher};

use crate::app::error::Failure;
use crate::app::gaps::missing_results;
use crate::app::session::ArchiveSession;

/// Summary of an archive.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ArchiveStatus {
    pub actions: u64,
    pub devices: u64,
    pub sealed: u64,
    pub gaps: u64,
    pub pending: u64,
    /// **Units**: bytes of sealed results, as downloaded.
    pub bytes: u64,
    pub gaps_by_reason: BTreeMap<GapReason, u64>,
    /// Last entry of the journal.
    pub journal: u64,
    /// Last entry of the journal that the index has read.
    pub indexed: u64,
    /// Sealed results that are not indexed.
    pub unindexed: u64,
    pub lag: IndexLag,
    pub problems: u64,
    pub index: Option<IndexStatus>,
}

/// The sealed results that are not indexed.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IndexLag {
    pub results: u64,
    /// **Units**: bytes as downloaded.
    pub bytes: u64,
    /// Time at which the first of them was collected.
    pub since: Option<Time>,
}

impl IndexLag {
    fn add(&mut self, record: &Record) {
        let at = &record.collected_at;
        self.results += 1;
        self.bytes += record.bytes;
        let is_earlier = |since: &Time| at.instant() < since.instant();
        if self.since.as_ref().is_none_or(is_earlier) {
            self.since = Some(at.clone());
        }
    }
}

/// Size of the index, and how much of the text is repeated.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IndexStatus {
    /// Results up to this entry of the journal are indexed.
    pub watermark: u64,
    pub segments: u64,
    pub results: u64,
    /// Members of the results, the results themselves included.
    pub members: u64,
    /// Distinct contents of the members.
    pub contents: u64,
    /// Extracted texts.
    pub documents: u64,
    pub lines: u64,
    pub distinct_lines: u64,
    /// **Units**: bytes of decoded text.
    pub text_bytes: u64,
    /// **Units**: bytes of the distinct lines.
    pub distinct_bytes: u64,
    /// Share of the text that is distinct; the cost of most searches is
    /// proportional to it.
    pub distinct_share: f64,
    /// **Units**: bytes on disk, text included.
    pub disk_bytes: u64,
    /// Disk space by purpose: text, terms, 4-grams, documents, lines, facts.
    pub parts: Vec<IndexPartSize>,
}

/// Disk space of one part of the index.
#[derive(Clone, Debug, Serialize)]
pub struct IndexPartSize {
    pub part: &'static str,
    pub bytes: u64,
}

/// Summarizes an archive.
///
/// **Cost**: one small read for each record, and the tables of the index.
pub fn status(session: &ArchiveSession) -> Result<ArchiveStatus, Failure> {
    let catalogue = session.catalogue()?;
    let mut status = ArchiveStatus {
        journal: catalogue.last_seq().0,
        ..ArchiveStatus::default()
    };
    let searcher = session.index()?;
    let watermark = searcher.as_deref().map_or(Seq::ZERO, Searcher::watermark);
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
    for missing in missing_results(&catalogue)?.values() {
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
        status.problems = stats.problems;
        status.indexed = searcher.watermark().0;
        status.index = Some(index_status(searcher.watermark(), stats));
    }
    Ok(status)
}

fn index_status(watermark: Seq, stats: IndexStats) -> IndexStatus {
    IndexStatus {
        watermark: watermark.0,
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
            .map(|(part, bytes)| IndexPartSize { part, bytes })
            .collect(),
    }
}
