use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::ApiCall;
use evidence::{GapReason, ResultKey};

/// Hears of everything while it happens. Called from many threads, often:
/// must return at once.
pub type Events = Arc<dyn Fn(CollectProgress) + Send + Sync>;

/// What happens while collecting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectProgress {
    /// A list was read to its end.
    Listed {
        actions: u64,
    },
    /// Results to fetch, added to those planned before.
    Planned {
        results: u64,
        already_there: u64,
    },
    /// Bytes that arrived of a result.
    Bytes {
        key: ResultKey,
        bytes: u64,
    },
    Sealed {
        key: ResultKey,
        bytes: u64,
        already_there: bool,
    },
    Gap {
        key: ResultKey,
        reason: GapReason,
    },
    /// A budget or the service's word holds this kind of call back.
    Waiting {
        call: ApiCall,
        until: Timestamp,
    },
    /// The vault has no room; collecting goes on when it has.
    DiskFull {
        needed: u64,
    },
    DiskSpaceAvailable,
    /// Watching: when the list is read again.
    NextPoll {
        at: Timestamp,
    },
    /// Where the devices of a fleet run stand.
    Fleet(crate::fleet::FleetCounts),
    /// For a person.
    Notice(String),
}

/// What a run brought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Actions that were meant.
    pub actions: u64,
    /// Results sealed by this run.
    pub sealed: u64,
    /// Results sealed before, or downloaded again with the same bytes.
    pub already_there: u64,
    /// Results that are not there, by reason: noted now or before.
    pub gaps: BTreeMap<GapReason, u64>,
    /// Commands the service has not finished yet.
    pub pending: u64,
    /// Planned, but not reached before the run was stopped or failed.
    pub left: u64,
    /// Devices and actions asked for by name, of which nothing is listed that
    /// the filter takes.
    pub unmatched: Vec<String>,
    /// Entries of the list that describe no action.
    pub unreadable: u64,
    /// Bytes sealed by this run.
    pub bytes: u64,
    pub duration_ms: u64,
    pub list_calls: u64,
    pub link_calls: u64,
    /// Answers 429.
    pub throttled: u64,
    /// Stretches in which a budget or the service held calls back.
    pub waits: u64,
    /// Their length together, real time.
    pub waited_ms: u64,
    /// Ended by a stop signal.
    pub stopped: bool,
    /// What a person should know, as told while it happened; bounded.
    pub notices: Vec<String>,
}

impl Report {
    /// Nothing is missing and nothing is to come.
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
            && self.pending == 0
            && self.left == 0
            && self.unmatched.is_empty()
            && self.unreadable == 0
    }
}
