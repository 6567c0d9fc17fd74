//! The record of a run: what the archive keeps of it, and how it is kept.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::SinkError;
use crate::fleet::{DeviceRecord, FleetPlan, FleetRules, RunId};
use evidence::{Action, ActionId, Time};

/// The run itself: place 0 of its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    pub id: RunId,
    pub comment: String,
    pub created: Time,
    /// Host of the service it runs on.
    pub host: String,
    /// Tenant and application, where they are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub rules: FleetRules,
    /// Devices: places 1 and on.
    pub devices: u32,
    #[serde(default)]
    pub is_paused: bool,
    #[serde(default)]
    pub is_cancelled: bool,
    /// When its last device was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Time>,
}

/// A run as read back from its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunState {
    pub run: RunRecord,
    pub devices: Vec<DeviceRecord>,
}

/// What a person tells a run that is going on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FleetOrder {
    Pause,
    Resume,
    /// Everything that is not over.
    Cancel,
    /// One device, by its id.
    CancelDevice(String),
    /// Starts again what was started, answered by nothing and found by no
    /// list: after one more look.
    Repost,
}

/// Keeps the record of runs. Every verb blocks and is called from worker
/// threads.
pub trait FleetRecord: Send + Sync + 'static {
    /// Keeps these places of a run; durable when it returns.
    fn note(&self, run: RunId, notes: &[(u32, Value)]) -> Result<(), SinkError>;

    /// What a person has ordered, from this process or another, in order. It
    /// stands until it is dropped; obeying it twice is harmless.
    fn orders(&self, run: RunId) -> Result<Vec<FleetOrder>, SinkError>;

    /// Drops the first so many of them: what was done about them is in the
    /// record.
    fn drop_orders(&self, run: RunId, count: usize) -> Result<(), SinkError>;

    /// Whether orders are heard. To end the hearing brings `false` where some
    /// wait to be heard: nobody can leave one unheard between.
    fn hear(&self, run: RunId, hears: bool) -> Result<bool, SinkError>;

    /// An action as last kept.
    fn action(&self, id: ActionId) -> Result<Option<Action>, SinkError>;
}

impl RunState {
    /// A run that has not begun.
    pub fn new(plan: FleetPlan, rules: FleetRules, host: String, created: Time) -> Self {
        let devices: Vec<_> = plan.devices.into_iter().map(DeviceRecord::new).collect();
        Self {
            run: RunRecord {
                id: plan.id,
                comment: plan.comment,
                created,
                host,
                owner: None,
                rules,
                devices: u32::try_from(devices.len()).unwrap_or(u32::MAX),
                is_paused: false,
                is_cancelled: false,
                over: None,
            },
            devices,
        }
    }

    /// Every place of it, as it is noted: the head last, since without it
    /// there is no run, and a kill between must not leave half of one.
    pub fn notes(&self) -> Vec<(u32, Value)> {
        let devices = self.devices.iter().zip(1..);
        devices
            .map(|(device, place)| (place, to_value(device)))
            .chain(std::iter::once(self.head()))
            .collect()
    }

    /// The head alone, as it is noted.
    pub fn head(&self) -> (u32, Value) {
        (0, to_value(&self.run))
    }

    /// Reads a record back.
    ///
    /// **Errors**: where a place is missing or says something this build
    /// cannot read.
    pub fn read(mut notes: Vec<(u32, Value)>) -> Result<Self, String> {
        notes.sort_by_key(|(place, _)| *place);
        let mut notes = notes.into_iter();
        let (_, run) = notes
            .next()
            .filter(|(place, _)| *place == 0)
            .ok_or("its head is missing")?;
        let run: RunRecord = serde_json::from_value(run).map_err(|e| format!("its head: {e}"))?;
        let mut devices = Vec::new();
        for ((place, note), expected) in notes.zip(1..) {
            if place != expected {
                return Err(format!("device {expected} is missing"));
            }
            let device =
                serde_json::from_value(note).map_err(|e| format!("device {place}: {e}"))?;
            devices.push(device);
        }
        if devices.len() as u64 != u64::from(run.devices) {
            return Err(format!(
                "it holds {} of {} devices",
                devices.len(),
                run.devices
            ));
        }
        Ok(Self { run, devices })
    }
}

pub(crate) fn to_value<T: Serialize>(record: &T) -> Value {
    // Plain data with text keys: there is nothing in it that JSON cannot say.
    serde_json::to_value(record).unwrap_or_default()
}
