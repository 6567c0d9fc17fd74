//! The record entry of one device: its steps, its state, every start attempt.
//! It contains all that a resumed run needs.
//!
//! Serialized names are part of the archive format. They differ from the names
//! in code where version 0.1 used other words.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::WallTime;
use crate::fleet::plan::fleet_plan::PlannedDevice;
pub use crate::progress::FleetCounts;
use evidence::{ActionId, Time};

/// A device's entry in the record of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    #[serde(flatten)]
    pub planned: PlannedDevice,
    pub state: DeviceState,
    /// Every start that may have reached the service; the last one is current.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<StartAttempt>,
}

/// One attempt to start a session on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartAttempt {
    /// From 1; part of the mark in the session's comment.
    pub number: u32,
    /// Just before the request was sent.
    pub sent: WallTime,
    /// The service's time of the last list before this attempt; the session
    /// was created after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_before: Option<Time>,
    /// The session, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionId>,
    /// The service's time of its creation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// Why the session is cancelled; recorded before the request is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelling: Option<CancelReason>,
    /// The attempt is in doubt, and a person ordered a new start if the session
    /// is not found.
    #[serde(default, skip_serializing_if = "is_false")]
    pub repost: bool,
}

impl StartAttempt {
    pub(crate) fn new(number: u32, sent: WallTime) -> Self {
        Self {
            number,
            sent,
            listed_before: None,
            action: None,
            created: None,
            cancelling: None,
            repost: false,
        }
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// Why a session is cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CancelReason {
    /// The device is away; it is parked and queued again later.
    Parked,
    /// A person ordered it.
    #[serde(rename = "asked")]
    Requested,
}

/// State of a device in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum DeviceState {
    /// Queued for a start.
    #[serde(rename = "waiting")]
    Queued {
        /// Earliest time of the next attempt.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<WallTime>,
        /// Why the last attempt is repeated.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Away; queued again when the service reports that it was seen.
    #[serde(rename = "away")]
    Parked {
        since: WallTime,
        /// When the service had last seen it, at the first check after parking.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_seen: Option<Time>,
    },
    /// The start intent is recorded; there is no response yet.
    #[serde(rename = "sending")]
    Starting,
    /// The start response was lost; the run searches for the session.
    #[serde(rename = "lost")]
    InDoubt { since: WallTime },
    /// The service has a session for it, Pending or in progress.
    Open { since: WallTime },
    /// Final, unless a session in doubt is found later.
    Settled {
        outcome: Outcome,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
        at: WallTime,
    },
}

/// Final result of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every command completed.
    Done,
    /// A command failed; the later ones were not run.
    Failed,
    TimedOut,
    Cancelled,
    /// The service rejected the start.
    Refused,
    /// Away for longer than [`FleetRules::away_max`](crate::fleet::FleetRules).
    Away,
    /// In doubt: the start response was lost and the session was not found. It
    /// may have run, so only a person can order a new start.
    #[serde(rename = "unresolved")]
    InDoubt,
}

impl Outcome {
    /// The word shown to a person.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::Refused => "refused",
            Self::Away => "away",
            Self::InDoubt => "unresolved",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl DeviceRecord {
    /// The entry of a device whose run has not begun.
    pub fn new(planned: PlannedDevice) -> Self {
        Self {
            planned,
            state: DeviceState::Queued {
                not_before: None,
                why: None,
            },
            attempts: Vec::new(),
        }
    }

    pub fn is_settled(&self) -> bool {
        matches!(self.state, DeviceState::Settled { .. })
    }

    /// Whether it is settled as in doubt.
    pub fn is_settled_in_doubt(&self) -> bool {
        matches!(
            self.state,
            DeviceState::Settled {
                outcome: Outcome::InDoubt,
                ..
            }
        )
    }

    /// Whether it has a session, or may have one.
    pub fn is_open(&self) -> bool {
        matches!(
            self.state,
            DeviceState::Starting | DeviceState::InDoubt { .. } | DeviceState::Open { .. }
        )
    }

    /// The sessions of all attempts, oldest first.
    pub fn actions(&self) -> impl Iterator<Item = ActionId> + '_ {
        self.attempts.iter().filter_map(|attempt| attempt.action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serialized_states_keep_the_names_of_version_0_1() {
        let at = WallTime(0);
        let state = |state: DeviceState| serde_json::to_value(state).unwrap()["state"].clone();
        let queued = DeviceState::Queued {
            not_before: None,
            why: None,
        };
        let parked = DeviceState::Parked {
            since: at,
            last_seen: None,
        };
        assert_eq!(state(queued), "waiting");
        assert_eq!(state(parked), "away");
        assert_eq!(state(DeviceState::Starting), "sending");
        assert_eq!(state(DeviceState::InDoubt { since: at }), "lost");
        assert_eq!(state(DeviceState::Open { since: at }), "open");
        let outcomes = serde_json::json!([Outcome::Done, Outcome::TimedOut, Outcome::InDoubt]);
        assert_eq!(
            outcomes,
            serde_json::json!(["done", "timed-out", "unresolved"])
        );
        let reasons = serde_json::json!([CancelReason::Parked, CancelReason::Requested]);
        assert_eq!(reasons, serde_json::json!(["parked", "asked"]));
    }
}
