//! Which results this process has decided on. A plan is made beside slots that
//! leave results to a later one: both speak here, one action at a time.

use std::collections::HashSet;

use evidence::ResultKey;

#[derive(Default)]
pub(crate) struct ClaimedResults {
    /// Planned or settled.
    keys: HashSet<ResultKey>,
    /// Given back by a slot and not planned again since.
    released: HashSet<ResultKey>,
}

impl ClaimedResults {
    pub fn contains(&self, key: ResultKey) -> bool {
        self.keys.contains(&key)
    }

    pub fn claim(&mut self, key: ResultKey) {
        self.released.remove(&key);
        self.keys.insert(key);
    }

    /// The service is still at it: the next plan takes it again.
    pub fn release(&mut self, key: ResultKey) {
        self.keys.remove(&key);
        self.released.insert(key);
    }

    /// To be decided on once more.
    pub fn unclaim(&mut self, key: ResultKey) {
        self.keys.remove(&key);
    }

    /// Results that no plan has taken again.
    pub fn released(&self) -> u64 {
        self.released.len() as u64
    }
}
