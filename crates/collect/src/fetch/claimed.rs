//! Results claimed by this process.
//!
//! The planner claims results; a worker releases a result that is not ready,
//! and a later plan claims it again. Both run concurrently, so the planner
//! locks the set for one action at a time.

use std::collections::HashSet;

use evidence::ResultKey;

#[derive(Default)]
pub(crate) struct ClaimedResults {
    /// Planned or completed.
    claimed: HashSet<ResultKey>,
    /// Released by a worker and not claimed again since.
    released: HashSet<ResultKey>,
}

impl ClaimedResults {
    pub(crate) fn contains(&self, key: ResultKey) -> bool {
        self.claimed.contains(&key)
    }

    pub(crate) fn claim(&mut self, key: ResultKey) {
        self.released.remove(&key);
        self.claimed.insert(key);
    }

    /// The service may still produce the result: the next plan claims it again.
    pub(crate) fn release(&mut self, key: ResultKey) {
        self.claimed.remove(&key);
        self.released.insert(key);
    }

    /// Lets the next plan decide again on a completed result.
    pub(crate) fn unclaim(&mut self, key: ResultKey) {
        self.claimed.remove(&key);
    }

    /// Number of released results that no plan has claimed again.
    pub(crate) fn released(&self) -> u64 {
        self.released.len() as u64
    }
}
