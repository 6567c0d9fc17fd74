//! Progress of a collection or fleet run while it runs, and the signal that
//! stops it.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tokio::sync::watch;

use collect::{CollectProgress, Events};
use evidence::{GapReason, ResultKey};

/// Becomes `true` when the caller wants a run to stop. The run ends soon, and
/// what it sealed is kept.
pub type StopSignal = watch::Receiver<bool>;

/// How a caller follows a run, and stops it.
#[derive(Clone)]
pub struct RunControl {
    pub events: CollectEvents,
    pub stop: StopSignal,
}

/// Called for each event, from many threads. Must return at once.
pub type CollectEvents = Arc<dyn Fn(CollectEvent) + Send + Sync>;

/// An event of a collection or fleet run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum CollectEvent {
    /// A list of actions was read to its end.
    Listed {
        actions: u64,
    },
    /// Results to download, added to those planned before.
    Planned {
        results: u64,
        already_there: u64,
    },
    /// Bytes of a result arrived.
    Received {
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
    /// A rate limit delays calls.
    RateLimited {
        /// The delayed calls, as a verb phrase: "ask for a result's link".
        call: &'static str,
        #[serde(serialize_with = "as_text")]
        until: Timestamp,
    },
    /// The disk is full. The run continues when `needed` bytes are free.
    DiskFull {
        needed: u64,
    },
    DiskSpaceAvailable,
    /// The list is read again at this time.
    NextPoll {
        #[serde(serialize_with = "as_text")]
        at: Timestamp,
    },
    /// The devices of a fleet run, by state.
    Fleet(FleetCounts),
    /// Text for a person.
    Notice {
        text: String,
    },
}

/// Devices of a fleet run, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FleetCounts {
    /// Not started yet.
    pub waiting: usize,
    /// With an open session.
    pub open: usize,
    /// Waiting for the device to come online.
    pub away: usize,
    /// Done, failed or given up.
    pub settled: usize,
}

impl From<CollectProgress> for CollectEvent {
    fn from(progress: CollectProgress) -> Self {
        match progress {
            CollectProgress::Listed { actions } => Self::Listed { actions },
            CollectProgress::Planned {
                results,
                already_there,
            } => Self::Planned {
                results,
                already_there,
            },
            CollectProgress::Bytes { key, bytes } => Self::Received { key, bytes },
            CollectProgress::Sealed {
                key,
                bytes,
                already_there,
            } => Self::Sealed {
                key,
                bytes,
                already_there,
            },
            CollectProgress::Gap { key, reason } => Self::Gap { key, reason },
            CollectProgress::Waiting { call, until } => Self::RateLimited {
                call: call.description(),
                until,
            },
            CollectProgress::DiskFull { needed } => Self::DiskFull { needed },
            CollectProgress::DiskSpaceAvailable => Self::DiskSpaceAvailable,
            CollectProgress::NextPoll { at } => Self::NextPoll { at },
            CollectProgress::Fleet(counts) => Self::Fleet(FleetCounts {
                waiting: counts.waiting,
                open: counts.open,
                away: counts.away,
                settled: counts.settled,
            }),
            CollectProgress::Notice(text) => Self::Notice { text },
        }
    }
}

fn as_text<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}

/// Converts the events of the collector.
pub(super) fn to_collector(events: CollectEvents) -> Events {
    Arc::new(move |progress| events(progress.into()))
}
