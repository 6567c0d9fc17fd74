//! Progress events and the final report of a collection.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::api_call::ApiCall;
use evidence::{GapReason, ResultKey};

/// Receives progress events. Called often and from many threads; it must
/// return at once.
pub type Events = Arc<dyn Fn(CollectProgress) + Send + Sync>;

/// A progress event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectProgress {
    /// A list was read to its end.
    Listed {
        actions: u64,
    },
    /// Results were planned, in addition to those planned before.
    Planned {
        results: u64,
        already_there: u64,
    },
    /// Bytes of a result were received.
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
    /// A rate limit or a response 429 delays calls of this kind.
    Waiting {
        call: ApiCall,
        until: Timestamp,
    },
    /// The disk is full; collecting continues when there is space.
    DiskFull {
        /// **Units**: bytes.
        needed: u64,
    },
    DiskSpaceAvailable,
    /// Time of the next poll of a watch.
    NextPoll {
        at: Timestamp,
    },
    /// The devices of a fleet run, by state.
    Fleet(FleetCounts),
    /// A message for the user.
    Notice(String),
}

/// Number of devices of a fleet run, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FleetCounts {
    /// Queued devices.
    pub waiting: usize,
    /// Devices that have a session, or may have one.
    pub open: usize,
    /// Parked devices.
    pub away: usize,
    pub settled: usize,
    /// Open sessions that the run did not start.
    pub others: usize,
}

/// Report of a collection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Selected actions.
    pub actions: u64,
    /// Results sealed by this collection.
    pub sealed: u64,
    /// Results sealed before, or downloaded again with the same bytes.
    pub already_there: u64,
    /// Missing results, by reason; recorded now or before.
    pub gaps: BTreeMap<GapReason, u64>,
    /// Commands that the service has not completed yet.
    pub pending: u64,
    /// Results planned but not reached before the collection was stopped or
    /// failed.
    pub left: u64,
    /// Devices and actions of the filter without a listed action that matches.
    pub unmatched: Vec<String>,
    /// Entries of the list that describe no action.
    pub unreadable: u64,
    /// Bytes sealed by this collection.
    pub bytes: u64,
    pub duration_ms: u64,
    pub list_calls: u64,
    pub link_calls: u64,
    /// Responses with status 429.
    pub throttled: u64,
    /// Periods in which a rate limit or the service delayed calls.
    pub waits: u64,
    /// Total length of these periods, real time.
    pub waited_ms: u64,
    /// Whether a stop request ended the collection.
    pub stopped: bool,
    /// Messages for the user; bounded.
    pub notices: Vec<String>,
}

impl Report {
    /// Whether nothing is missing and nothing is expected.
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
            && self.pending == 0
            && self.left == 0
            && self.unmatched.is_empty()
            && self.unreadable == 0
    }
}
