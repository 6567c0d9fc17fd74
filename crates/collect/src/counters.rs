//! Counts what happens and tells whoever listens.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::clock::WallTime;
use crate::{ApiCall, CollectProgress, Events, Report, SealOutcome};
use evidence::{GapReason, ResultKey};

/// A report is for a person; the rest was told while it happened.
const NOTICES_MAX: usize = 100;

pub(crate) struct CollectCounters {
    report: Mutex<Report>,
    /// Results that are not there. A watch may still fill them.
    gaps: Mutex<BTreeMap<ResultKey, GapReason>>,
    /// The end of the last wait told, so that slots in line count it once.
    waiting: Mutex<WallTime>,
    events: Events,
}

impl CollectCounters {
    pub fn new(events: Events) -> Self {
        Self {
            report: Mutex::default(),
            gaps: Mutex::default(),
            waiting: Mutex::default(),
            events,
        }
    }

    pub fn emit(&self, progress: CollectProgress) {
        (self.events)(progress);
    }

    pub fn notify(&self, text: impl Into<String>) {
        let text = text.into();
        self.update(|report| {
            if report.notices.len() < NOTICES_MAX {
                report.notices.push(text.clone());
            }
        });
        self.emit(CollectProgress::Notice(text));
    }

    pub fn update(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.lock());
    }

    pub fn record_sealed(&self, key: ResultKey, sealed: &SealOutcome) {
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

    pub fn record_gap(&self, key: ResultKey, reason: GapReason) {
        self.record_known_gap(key, reason);
        self.emit(CollectProgress::Gap { key, reason });
    }

    /// A gap noted before this run, of which there is no news.
    pub fn record_known_gap(&self, key: ResultKey, reason: GapReason) {
        self.lock_gaps().insert(key, reason);
    }

    /// Gaps that asking again may fill.
    pub fn retryable_gaps(&self) -> Vec<ResultKey> {
        let gaps = self.lock_gaps();
        let worth = gaps.iter().filter(|(_, reason)| reason.worth_retrying());
        worth.map(|(key, _)| *key).collect()
    }

    /// A budget holds `call` back. Every slot in line says so; a stretch of
    /// time counts once.
    pub fn record_wait(&self, call: ApiCall, now: WallTime, until: WallTime) {
        let mut told = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let new = until.since((*told).max(now));
        if new.is_zero() {
            return;
        }
        *told = until;
        drop(told);
        self.update(|report| {
            report.waits += 1;
            report.waited_ms += u64::try_from(new.as_millis()).unwrap_or(u64::MAX);
        });
        self.emit(CollectProgress::Waiting {
            call,
            until: until.timestamp(),
        });
    }

    pub fn report(&self) -> Report {
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
