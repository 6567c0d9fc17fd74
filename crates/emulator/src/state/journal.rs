//! Record of all calls: emulated time, kind and outcome. Tests use it to check
//! the behaviour of a client.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::call_kind::CallKind;
use crate::timeline::clock::later;
use evidence::ResultKey;

/// Maximum number of recorded calls (about 100 B each). After that, each call
/// replaces the oldest one; the counts continue.
const CALLS_MAX: usize = 1_000_000;

/// Maximum number of links whose uses are counted (about 150 B each). Later
/// links are served but not counted.
const LINKS_MAX: usize = 1_000_000;

/// A call, as received and answered.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    /// Emulated time of its arrival.
    pub at: Timestamp,
    pub kind: CallKind,
    /// The result, for links and blobs.
    pub key: Option<ResultKey>,
    /// HTTP status of the response.
    pub status: u16,
    /// First byte of the requested range.
    pub range_from: Option<u64>,
    /// Name of the fault or rule that determined the response.
    pub reason: Option<&'static str>,
}

/// Behaviour that a correct client never shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// A call above its rate limit; answered 429.
    OverBudget,
    /// A run posted while the clients already used every session.
    OverSessions,
    /// A run posted although a run with the same machine, commands and comment
    /// is active or succeeded.
    RunRepeated,
    /// An access token was sent to the blob host.
    BearerToBlob,
    /// A link was requested for a PutFile command.
    PutFileLink,
    /// A link was used with other bytes than it was issued with.
    LinkAltered,
    /// A range without `If-Match`: if the blob changed, the client would join
    /// parts of different versions.
    RangeWithoutIfMatch,
}

impl Violation {
    pub fn name(self) -> &'static str {
        match self {
            Self::OverBudget => "over-budget",
            Self::OverSessions => "over-sessions",
            Self::RunRepeated => "run-repeated",
            Self::BearerToBlob => "bearer-to-blob",
            Self::PutFileLink => "put-file-link",
            Self::LinkAltered => "link-altered",
            Self::RangeWithoutIfMatch => "range-without-if-match",
        }
    }
}

#[derive(Debug, Default)]
struct JournalData {
    calls: VecDeque<RecordedCall>,
    violations: HashMap<Violation, u64>,
    statuses: HashMap<(CallKind, u16), u64>,
    /// Links by their signature.
    links: HashMap<String, LinkUse>,
    deliveries: HashMap<ResultKey, DeliveryProgress>,
    active_downloads: usize,
    active_downloads_max: usize,
    bytes_sent: u64,
}

#[derive(Debug)]
struct LinkUse {
    uses: u32,
}

#[derive(Debug, Default)]
struct DeliveryProgress {
    /// Bytes sent without a gap, from the start of the body.
    contiguous: u64,
    /// How often the body was sent completely.
    complete: u32,
}

/// Record of all calls. Clones share it and are cheap.
#[derive(Clone, Debug, Default)]
pub struct CallJournal(Arc<Mutex<JournalData>>);

impl CallJournal {
    /// The recorded calls, oldest first.
    pub fn calls(&self) -> Vec<RecordedCall> {
        self.data().calls.iter().cloned().collect()
    }

    /// Number of calls of a kind, with any response.
    pub fn count(&self, kind: CallKind) -> u64 {
        let data = self.data();
        data.statuses
            .iter()
            .filter(|((own, _), _)| *own == kind)
            .map(|(_, count)| count)
            .sum()
    }

    /// Number of calls of a kind that were answered with a status.
    pub fn answered(&self, kind: CallKind, status: u16) -> u64 {
        let data = self.data();
        data.statuses.get(&(kind, status)).copied().unwrap_or(0)
    }

    /// Largest number of calls of a kind, including rejected ones, within any
    /// window of emulated time.
    pub fn busiest(&self, kind: CallKind, window: Duration) -> usize {
        let data = self.data();
        let times = data
            .calls
            .iter()
            .filter(|call| call.kind == kind)
            .map(|call| call.at);
        busiest(times, window)
    }

    /// Number of violations of a kind.
    pub fn violations(&self, kind: Violation) -> u64 {
        self.data().violations.get(&kind).copied().unwrap_or(0)
    }

    /// Every kind of violation that occurred, with its count; empty for a correct
    /// client.
    pub fn all_violations(&self) -> Vec<(Violation, u64)> {
        let mut all: Vec<_> = self.data().violations.clone().into_iter().collect();
        all.sort();
        all
    }

    /// Number of calls above their rate limit.
    pub fn over_budget(&self) -> u64 {
        self.violations(Violation::OverBudget)
    }

    /// Number of links that were issued but never used: the client requested
    /// them before it could download, or they expired.
    pub fn links_unused(&self) -> usize {
        let data = self.data();
        data.links.values().filter(|link| link.uses == 0).count()
    }

    /// Largest number of requests with the same link.
    pub fn link_uses_max(&self) -> u32 {
        let data = self.data();
        data.links.values().map(|link| link.uses).max().unwrap_or(0)
    }

    /// How often a result was sent completely, in any number of range requests.
    pub fn downloaded_whole(&self, key: ResultKey) -> u32 {
        self.data().deliveries.get(&key).map_or(0, |d| d.complete)
    }

    /// Number of results that were sent completely at least once.
    pub fn results_whole(&self) -> usize {
        let data = self.data();
        data.deliveries
            .values()
            .filter(|delivery| delivery.complete > 0)
            .count()
    }

    /// Largest number of concurrent downloads.
    pub fn parallel_downloads_max(&self) -> usize {
        self.data().active_downloads_max
    }

    /// Bytes of results that were sent.
    pub fn bytes_sent(&self) -> u64 {
        self.data().bytes_sent
    }

    /// Discards the record; downloads in progress stay counted.
    pub fn clear(&self) {
        let mut data = self.data();
        let active_downloads = data.active_downloads;
        *data = JournalData {
            active_downloads,
            ..JournalData::default()
        };
    }

    pub(crate) fn record_call(&self, call: RecordedCall) {
        let mut data = self.data();
        *data.statuses.entry((call.kind, call.status)).or_default() += 1;
        if data.calls.len() == CALLS_MAX {
            data.calls.pop_front();
        }
        data.calls.push_back(call);
    }

    pub(crate) fn record_violation(&self, kind: Violation) {
        *self.data().violations.entry(kind).or_default() += 1;
    }

    pub(crate) fn record_link(&self, signature: &str) {
        let mut data = self.data();
        if data.links.len() < LINKS_MAX {
            data.links
                .insert(signature.to_string(), LinkUse { uses: 0 });
        }
    }

    pub(crate) fn record_link_use(&self, signature: &str) {
        if let Some(link) = self.data().links.get_mut(signature) {
            link.uses += 1;
        }
    }

    pub(crate) fn begin_download(&self) -> ActiveDownload {
        let mut data = self.data();
        data.active_downloads += 1;
        data.active_downloads_max = data.active_downloads_max.max(data.active_downloads);
        ActiveDownload(self.clone())
    }

    /// Records that bytes `from..to` of a result of `total` bytes were sent.
    pub(crate) fn record_sent(&self, key: ResultKey, from: u64, to: u64, total: u64) {
        let mut data = self.data();
        data.bytes_sent += to.saturating_sub(from);
        let delivery = data.deliveries.entry(key).or_default();
        if from == 0 {
            delivery.contiguous = 0;
        }
        if from <= delivery.contiguous {
            delivery.contiguous = delivery.contiguous.max(to);
        }
        if to == total && delivery.contiguous == total {
            delivery.complete += 1;
        }
    }

    fn data(&self) -> MutexGuard<'_, JournalData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a download as active until it is dropped with the body.
#[derive(Debug)]
pub(crate) struct ActiveDownload(CallJournal);

impl Drop for ActiveDownload {
    fn drop(&mut self) {
        let mut data = self.0.data();
        data.active_downloads = data.active_downloads.saturating_sub(1);
    }
}

/// Largest number of calls in a window `(at - window, at]`.
fn busiest(times: impl Iterator<Item = Timestamp>, window: Duration) -> usize {
    // Calls are recorded when they are answered, not in order of arrival.
    let mut sorted: Vec<_> = times.collect();
    sorted.sort_unstable();
    let mut inside = VecDeque::new();
    let mut most = 0;
    for at in sorted {
        inside.push_back(at);
        while inside.front().is_some_and(|old| later(*old, window) <= at) {
            inside.pop_front();
        }
        most = most.max(inside.len());
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u32) -> ResultKey {
        format!("5382f7ea-7557-4ab7-9782-d50480024a4e/{n}")
            .parse()
            .unwrap()
    }

    #[test]
    fn busiest_window_slides_and_excludes_its_start() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let times = [0u64, 30, 59, 60, 61].map(|s| later(start, Duration::from_secs(s)));
        let reversed = times.into_iter().rev();
        assert_eq!(busiest(reversed, Duration::from_secs(60)), 4);
        assert_eq!(busiest(times.into_iter(), Duration::from_secs(1)), 1);
    }

    #[test]
    fn result_is_complete_when_its_ranges_are_contiguous() {
        let journal = CallJournal::default();
        journal.record_sent(key(0), 0, 10, 30);
        journal.record_sent(key(0), 20, 30, 30);
        assert_eq!(journal.downloaded_whole(key(0)), 0);
        journal.record_sent(key(0), 10, 30, 30);
        assert_eq!(journal.downloaded_whole(key(0)), 1);
        journal.record_sent(key(0), 0, 30, 30);
        assert_eq!(journal.downloaded_whole(key(0)), 2);
        assert_eq!(journal.results_whole(), 1);
    }

    #[test]
    fn downloads_are_active_until_they_are_dropped() {
        let journal = CallJournal::default();
        let first = journal.begin_download();
        drop(journal.begin_download());
        drop(first);
        drop(journal.begin_download());
        assert_eq!(journal.parallel_downloads_max(), 2);
    }
}
