//! Which results this process has decided on. A plan is made beside slots that
//! leave results to a later one: both speak here, one action at a time.

use std::collections::HashSet;

use evidence::ResultKey;

#[derive(Default)]
pub(crate) struct Taken {
    /// Planned or settled.
    keys: HashSet<ResultKey>,
    /// Given back by a slot and not planned again since.
    left: HashSet<ResultKey>,
}

impl Taken {
    pub fn holds(&self, key: ResultKey) -> bool {
        self.keys.contains(&key)
    }

    pub fn take(&mut self, key: ResultKey) {
        self.left.remove(&key);
        self.keys.insert(key);
    }

    /// The service is still at it: the next plan takes it again.
    pub fn leave(&mut self, key: ResultKey) {
        self.keys.remove(&key);
        self.left.insert(key);
    }

    /// To be decided on once more.
    pub fn forget(&mut self, key: ResultKey) {
        self.keys.remove(&key);
    }

    /// Results that no plan has taken again.
    pub fn left(&self) -> u64 {
        self.left.len() as u64
    }
}
