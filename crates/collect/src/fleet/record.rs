//! The durable record of a run: numbered entries, 0 for the run itself and one
//! for each device, from 1.
//!
//! The archive stores them; see [`FleetRecord`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::SinkError;
use crate::fleet::device::DeviceRecord;
use crate::fleet::plan::fleet_plan::FleetPlan;
use crate::fleet::rules::FleetRules;
use crate::fleet::run_id::RunId;
use evidence::{Action, ActionId, Time};

/// The header of a run: entry 0 of its record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    pub id: RunId,
    pub comment: String,
    pub created: Time,
    /// Host of the service. Other hosts do not list its sessions.
    pub host: String,
    /// Tenant and application, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub rules: FleetRules,
    /// Number of devices; their entries are 1 to `devices`.
    pub devices: u32,
    #[serde(default)]
    pub is_paused: bool,
    #[serde(default)]
    pub is_cancelled: bool,
    /// When the last device was settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub over: Option<Time>,
}

/// A run: its header and its devices, as read from the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunState {
    pub run: RunRecord,
    pub devices: Vec<DeviceRecord>,
}

/// A person's order to a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FleetOrder {
    /// Start no more sessions; open ones continue.
    Pause,
    /// Start sessions again.
    Resume,
    /// Cancel every session, and every device that has none.
    Cancel,
    /// Cancel one device, by machine id.
    CancelDevice(String),
    /// Start sessions in doubt again, unless one more search finds them.
    Repost,
}

/// Stores the records of runs, and orders to runs.
///
/// All methods block; they are called on worker threads.
pub trait FleetRecord: Send + Sync + 'static {
    /// Writes entries of a run, replacing earlier ones. They are durable when
    /// it returns.
    fn write_entries(&self, run: RunId, entries: &[(u32, Value)]) -> Result<(), SinkError>;

    /// The orders not removed yet, oldest first. They may come from
    /// another process. Executing an order twice is harmless.
    fn pending_orders(&self, run: RunId) -> Result<Vec<FleetOrder>, SinkError>;

    /// Removes the first `count` orders, after their effects are in the record.
    fn remove_orders(&self, run: RunId, count: usize) -> Result<(), SinkError>;

    /// Opens the run for orders (`true`) or closes it. To close fails with
    /// `Ok(false)` while orders are pending, so that no order is accepted and
    /// then ignored.
    fn accept_orders(&self, run: RunId, accept: bool) -> Result<bool, SinkError>;

    /// The latest stored version of an action.
    fn find_action(&self, id: ActionId) -> Result<Option<Action>, SinkError>;
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

    /// All entries, in the order to write them. The header is last: without it
    /// there is no run, so a kill while writing leaves no incomplete run.
    pub fn entries(&self) -> Vec<(u32, Value)> {
        let devices = self.devices.iter().zip(1..);
        devices
            .map(|(device, index)| (index, to_value(device)))
            .chain(std::iter::once(self.header()))
            .collect()
    }

    /// The entry of the header.
    pub fn header(&self) -> (u32, Value) {
        (0, to_value(&self.run))
    }

    /// Reads a run from its entries.
    ///
    /// **Errors**: an entry is missing, or this version cannot read it.
    pub fn from_entries(mut entries: Vec<(u32, Value)>) -> Result<Self, String> {
        entries.sort_by_key(|(index, _)| *index);
        let mut entries = entries.into_iter();
        let (_, header) = entries
            .next()
            .filter(|(index, _)| *index == 0)
            .ok_or("the run header is missing")?;
        let run: RunRecord =
            serde_json::from_value(header).map_err(|e| format!("run header: {e}"))?;
        let mut devices = Vec::new();
        for ((index, entry), expected) in entries.zip(1..) {
            if index != expected {
                return Err(format!("device {expected} is missing"));
            }
            let device =
                serde_json::from_value(entry).map_err(|e| format!("device {index}: {e}"))?;
            devices.push(device);
        }
        if devices.len() as u64 != u64::from(run.devices) {
            return Err(format!(
                "{} devices are recorded, expected {}",
                devices.len(),
                run.devices
            ));
        }
        Ok(Self { run, devices })
    }
}

/// The JSON of an entry.
pub(crate) fn to_value<T: Serialize>(record: &T) -> Value {
    // Never fails: the records are plain data whose maps have text keys.
    serde_json::to_value(record).unwrap_or_default()
}
