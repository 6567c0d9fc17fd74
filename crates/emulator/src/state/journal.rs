//! What the judge saw: every call with its emulated time and outcome, kept so
//! that a test can ask afterwards whether the client behaved.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::call_kind::CallKind;
use crate::timeline::clock::later;
use evidence::ResultKey;

/// Calls kept one by one; a server left running for weeks forgets the oldest
/// (~100 B each), the counts go on.
const CALLS_MAX: usize = 1_000_000;

/// Links whose uses are counted (~150 B each); later ones are served, not
/// judged.
const LINKS_MAX: usize = 1_000_000;

/// One call as the service saw it.
#[derive(Clone, Debug)]
pub struct RecordedCall {
    /// Emulated time of its arrival.
    pub at: Timestamp,
    pub kind: CallKind,
    /// The result meant, for links and blobs.
    pub key: Option<ResultKey>,
    /// HTTP status answered.
    pub status: u16,
    /// First byte asked for, where the call asked for a range.
    pub range_from: Option<u64>,
    /// The fault or rule that decided the answer, by its name.
    pub why: Option<&'static str>,
}

/// A thing no good client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// A call beyond its budget, answered 429.
    OverBudget,
    /// A run posted when every session was the client's own already.
    OverSessions,
    /// A run posted again for a machine on which the same commands under the
    /// same comment are under way or succeeded.
    RunRepeated,
    /// The Bearer token was sent to the blob host.
    BearerToBlob,
    /// The link of a PutFile command was asked for.
    PutFileLink,
    /// A link came back with other bytes than it was issued with.
    LinkAltered,
    /// A range without `If-Match`: a changed blob would be spliced unseen.
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
    links: HashMap<String, LinkUse>,
    downloads: HashMap<ResultKey, DeliveryProgress>,
    active: usize,
    active_max: usize,
    bytes_sent: u64,
}

#[derive(Debug)]
struct LinkUse {
    uses: u32,
}

#[derive(Debug, Default)]
struct DeliveryProgress {
    reached: u64,
    whole: u32,
}

/// The shared record of a run. Cheap to clone; every clone sees the same.
#[derive(Clone, Debug, Default)]
pub struct CallJournal(Arc<Mutex<JournalData>>);

impl CallJournal {
    /// The calls still kept, oldest first.
    pub fn calls(&self) -> Vec<RecordedCall> {
        self.seen().calls.iter().cloned().collect()
    }

    /// How many calls of one kind came, whatever was answered.
    pub fn count(&self, kind: CallKind) -> u64 {
        let seen = self.seen();
        let of_kind = seen.statuses.iter().filter(|((k, _), _)| *k == kind);
        of_kind.map(|(_, count)| count).sum()
    }

    /// How many calls of one kind were answered with one status.
    pub fn answered(&self, kind: CallKind, status: u16) -> u64 {
        let seen = self.seen();
        seen.statuses.get(&(kind, status)).copied().unwrap_or(0)
    }

    /// The most calls of one kind that came within any sliding window of
    /// emulated time, refused ones included.
    pub fn busiest(&self, kind: CallKind, window: Duration) -> usize {
        let seen = self.seen();
        let times = seen.calls.iter().filter(|c| c.kind == kind).map(|c| c.at);
        busiest(times, window)
    }

    pub fn violations(&self, kind: Violation) -> u64 {
        self.seen().violations.get(&kind).copied().unwrap_or(0)
    }

    /// Every violation seen, with its count; empty for a good client.
    pub fn all_violations(&self) -> Vec<(Violation, u64)> {
        let mut all: Vec<_> = self.seen().violations.clone().into_iter().collect();
        all.sort();
        all
    }

    pub fn over_budget(&self) -> u64 {
        self.violations(Violation::OverBudget)
    }

    /// Links issued that nobody used: they were asked for before a download
    /// slot was free, or died unused.
    pub fn links_unused(&self) -> usize {
        let seen = self.seen();
        seen.links.values().filter(|link| link.uses == 0).count()
    }

    /// The most requests any one link served.
    pub fn link_uses_max(&self) -> u32 {
        let seen = self.seen();
        seen.links.values().map(|link| link.uses).max().unwrap_or(0)
    }

    /// How often the result was handed out to its last byte, over any number
    /// of ranged requests.
    pub fn downloaded_whole(&self, key: ResultKey) -> u32 {
        self.seen().downloads.get(&key).map_or(0, |d| d.whole)
    }

    /// Results handed out whole at least once.
    pub fn results_whole(&self) -> usize {
        let seen = self.seen();
        seen.downloads.values().filter(|d| d.whole > 0).count()
    }

    /// The most bodies that were under way at the same time.
    pub fn parallel_downloads_max(&self) -> usize {
        self.seen().active_max
    }

    /// Bytes of results handed to the network.
    pub fn bytes_sent(&self) -> u64 {
        self.seen().bytes_sent
    }

    /// Forgets what was seen so far.
    pub fn clear(&self) {
        let mut seen = self.seen();
        let active = seen.active;
        *seen = JournalData {
            active,
            ..JournalData::default()
        };
    }

    pub(crate) fn note(&self, call: RecordedCall) {
        let mut seen = self.seen();
        let answered = seen.statuses.entry((call.kind, call.status)).or_default();
        *answered += 1;
        if seen.calls.len() == CALLS_MAX {
            seen.calls.pop_front();
        }
        seen.calls.push_back(call);
    }

    pub(crate) fn violate(&self, kind: Violation) {
        *self.seen().violations.entry(kind).or_default() += 1;
    }

    pub(crate) fn issue(&self, signature: &str) {
        let mut seen = self.seen();
        if seen.links.len() < LINKS_MAX {
            let link = LinkUse { uses: 0 };
            seen.links.insert(signature.to_string(), link);
        }
    }

    pub(crate) fn use_link(&self, signature: &str) {
        if let Some(link) = self.seen().links.get_mut(signature) {
            link.uses += 1;
        }
    }

    pub(crate) fn begin(&self) -> ActiveDownload {
        let mut seen = self.seen();
        seen.active += 1;
        seen.active_max = seen.active_max.max(seen.active);
        ActiveDownload(self.clone())
    }

    /// Bytes `from..to` of a result of `total` bytes went out.
    pub(crate) fn sent(&self, key: ResultKey, from: u64, to: u64, total: u64) {
        let mut seen = self.seen();
        seen.bytes_sent += to.saturating_sub(from);
        let download = seen.downloads.entry(key).or_default();
        if from == 0 {
            download.reached = 0;
        }
        if from <= download.reached {
            download.reached = download.reached.max(to);
        }
        if to == total && download.reached == total {
            download.whole += 1;
        }
    }

    fn seen(&self) -> MutexGuard<'_, JournalData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body under way; dropped with it, however it ended.
#[derive(Debug)]
pub(crate) struct ActiveDownload(CallJournal);

impl Drop for ActiveDownload {
    fn drop(&mut self) {
        let mut seen = self.0.seen();
        seen.active = seen.active.saturating_sub(1);
    }
}

/// The fullest window `(at - window, at]`.
fn busiest(times: impl Iterator<Item = Timestamp>, window: Duration) -> usize {
    // Calls are noted when they are answered: a slow one comes late.
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let mut inside = VecDeque::new();
    let mut most = 0;
    for at in times {
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
    fn the_busiest_window_slides_and_is_open_at_its_far_end() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let times = [0u64, 30, 59, 60, 61].map(|s| later(start, Duration::from_secs(s)));
        let late = times.into_iter().rev();
        assert_eq!(busiest(late, Duration::from_secs(60)), 4);
        assert_eq!(busiest(times.into_iter(), Duration::from_secs(1)), 1);
    }

    #[test]
    fn a_result_is_whole_when_ranges_meet_and_not_before() {
        let journal = CallJournal::default();
        journal.sent(key(0), 0, 10, 30);
        journal.sent(key(0), 20, 30, 30);
        assert_eq!(journal.downloaded_whole(key(0)), 0);
        journal.sent(key(0), 10, 30, 30);
        assert_eq!(journal.downloaded_whole(key(0)), 1);
        journal.sent(key(0), 0, 30, 30);
        assert_eq!(journal.downloaded_whole(key(0)), 2);
        assert_eq!(journal.results_whole(), 1);
    }

    #[test]
    fn bodies_under_way_are_counted_until_they_are_dropped() {
        let journal = CallJournal::default();
        let first = journal.begin();
        drop(journal.begin());
        drop(first);
        drop(journal.begin());
        assert_eq!(journal.parallel_downloads_max(), 2);
    }
}
