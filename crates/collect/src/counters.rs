//! Counts progress for the report and passes events to the caller.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::api_call::ApiCall;
use crate::clock::WallTime;
use crate::progress::{CollectProgress, Events, Report};
use crate::sink::SealOutcome;
use evidence::{GapReason, ResultKey};

/// Messages kept for the report. All of them are also sent as events.
const NOTICES_MAX: usize = 100;

/// Counters of a collection.
pub(crate) struct CollectCounters {
    report: Mutex<Report>,
    /// Missing results. A watch may still fill them.
    gaps: Mutex<BTreeMap<ResultKey, GapReason>>,
    /// End of the last wait that was counted. Many tasks wait for the same
    /// rate limit; their wait counts once.
    counted_until: Mutex<WallTime>,
    events: Events,
}

impl CollectCounters {
    pub(crate) fn new(events: Events) -> Self {
        Self {
            report: Mutex::default(),
            gaps: Mutex::default(),
            counted_until: Mutex::default(),
            events,
        }
    }

    pub(crate) fn emit(&self, progress: CollectProgress) {
        (self.events)(progress);
    }

    /// Sends a message to the user and keeps it for the report.
    pub(crate) fn notify(&self, text: impl Into<String>) {
        let text = text.into();
        self.update(|report| {
            if report.notices.len() < NOTICES_MAX {
                report.notices.push(text.clone());
            }
        });
        self.emit(CollectProgress::Notice(text));
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.lock());
    }

    pub(crate) fn record_sealed(&self, key: ResultKey, sealed: &SealOutcome) {
        self.lock_gaps().remove(&key);
        self.update(|report| {
            if sealed.already_there {
                report.already_there += 1;
            } else {
                report.sealed += 1;
                report.bytes += sealed.bytes;
            }
        });
        self.emit(CollectProgress::Sealed {
            key,
            bytes: sealed.bytes,
            already_there: sealed.already_there,
        });
    }

    pub(crate) fn record_gap(&self, key: ResultKey, reason: GapReason) {
        self.record_known_gap(key, reason);
        self.emit(CollectProgress::Gap { key, reason });
    }

    /// Counts a gap that was recorded before this collection.
    pub(crate) fn record_known_gap(&self, key: ResultKey, reason: GapReason) {
        self.lock_gaps().insert(key, reason);
    }

    /// Gaps that another attempt may fill.
    pub(crate) fn retryable_gaps(&self) -> Vec<ResultKey> {
        self.lock_gaps()
            .iter()
            .filter(|(_, reason)| reason.worth_retrying())
            .map(|(key, _)| *key)
            .collect()
    }

    /// A rate limit delays `call`. Each waiting task reports this; a period of
    /// time is counted once.
    pub(crate) fn record_wait(&self, call: ApiCall, now: WallTime, until: WallTime) {
        let mut counted_until = self
            .counted_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let added = until.since((*counted_until).max(now));
        if added.is_zero() {
            return;
        }
        *counted_until = until;
        drop(counted_until);
        let added_ms = u64::try_from(added.as_millis()).unwrap_or(u64::MAX);
        tracing::debug!(call = call.as_str(), wait_ms = added_ms, "rate limited");
        self.update(|report| {
            report.waits += 1;
            report.waited_ms += added_ms;
        });
        self.emit(CollectProgress::Waiting {
            call,
            until: until.timestamp(),
        });
    }

    /// The report so far.
    pub(crate) fn report(&self) -> Report {
        let mut report = self.lock().clone();
        for reason in self.lock_gaps().values() {
            *report.gaps.entry(*reason).or_default() += 1;
        }
        report
    }

    fn lock_gaps(&self) -> MutexGuard<'_, BTreeMap<ResultKey, GapReason>> {
        self.gaps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
