//! What is known of one device of a run: the record's unit. Everything a
//! resumed run needs stands here.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::clock::WallTime;
use crate::fleet::PlannedDevice;
use evidence::{ActionId, Time};

/// A device's entry in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRecord {
    #[serde(flatten)]
    pub planned: PlannedDevice,
    pub state: DeviceState,
    /// Every start that may have reached the service, the last one current.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<StartAttempt>,
}

/// One start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartAttempt {
    /// From 1 on; part of the mark in the comment.
    pub number: u32,
    /// Just before it was sent.
    pub sent: WallTime,
    /// The service's clock at the last list before it: it was created later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_before: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<ActionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    /// Why it was to be cancelled: stands here before that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelling: Option<CancelReason>,
    /// It is in doubt, and a person wants the device started again, should no
    /// list show it.
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

fn is_false(told: &bool) -> bool {
    !told
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CancelReason {
    /// Its device is away; it is queued again.
    Parked,
    /// A person said so.
    #[serde(rename = "asked")]
    Requested,
}

/// Where a device stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum DeviceState {
    /// For its turn, or for that time.
    #[serde(rename = "waiting")]
    Queued {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<WallTime>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// Parked until the service sees it again.
    #[serde(rename = "away")]
    Parked {
        since: WallTime,
        /// As the service said when it was first looked at while parked.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last_seen: Option<Time>,
    },
    /// The intention to start a session is in the record; the answer is not.
    #[serde(rename = "sending")]
    Starting,
    /// The answer was lost: looked for.
    #[serde(rename = "lost")]
    InDoubt { since: WallTime },
    /// A session the service knows.
    Open { since: WallTime },
    /// Nothing will follow.
    Settled {
        outcome: Outcome,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
        at: WallTime,
    },
}

/// What became of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every command completed.
    Done,
    /// A command failed; those behind it were not run.
    Failed,
    TimedOut,
    Cancelled,
    /// The service did not want it.
    Refused,
    /// Away for too long.
    Away,
    /// The answer to its start was lost and no list has shown the session: it
    /// may have run. A person decides whether it is started again.
    #[serde(rename = "unresolved")]
    InDoubt,
}

impl Outcome {
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

    /// The answer to its last start was lost, and looking has not found it.
    pub fn is_in_doubt(&self) -> bool {
        let unresolved = Outcome::InDoubt;
        matches!(&self.state, DeviceState::Settled { outcome, .. } if *outcome == unresolved)
    }

    /// Holds a session, or may.
    pub fn is_open(&self) -> bool {
        matches!(
            self.state,
            DeviceState::Starting | DeviceState::InDoubt { .. } | DeviceState::Open { .. }
        )
    }

    /// The actions it has led to, oldest first.
    pub fn actions(&self) -> impl Iterator<Item = ActionId> + '_ {
        self.attempts.iter().filter_map(|attempt| attempt.action)
    }
}
