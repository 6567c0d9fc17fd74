//! Devices of a fleet.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::synthetic::ids::machine_id;

/// A device as `/api/machines` shows it.
#[derive(Clone, Debug)]
pub struct EmulatedDevice {
    pub(crate) json: Map<String, Value>,
    /// `None`: the JSON is constant and the device is always online.
    pub(crate) presence: Option<Presence>,
}

/// Absences of a device, relative to the start of the emulator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Presence {
    /// Begin and end of each absence. **Units**: seconds after the start;
    /// negative: before it.
    pub absences: Vec<(i64, i64)>,
    /// `healthStatus` of the device while it is away.
    pub away_health: &'static str,
}

impl EmulatedDevice {
    pub fn new(name: &str) -> Self {
        let json = json!({
            "id": machine_id(name),
            "computerDnsName": name,
            "osPlatform": "Windows11",
            "version": "24H2",
            "osProcessor": "x64",
            "healthStatus": "Active",
            "deviceValue": "Normal",
            "rbacGroupId": 1,
            "rbacGroupName": "Workstations",
            "riskScore": "None",
            "exposureLevel": "Low",
            "isAadJoined": true,
            "machineTags": [],
            "lastIpAddress": "192.0.2.10",
            "lastExternalIpAddress": "198.51.100.10",
        });
        Self::from_json(json.as_object().cloned().unwrap_or_default())
    }

    pub(crate) fn from_json(json: Map<String, Value>) -> Self {
        let presence = None;
        Self { json, presence }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.json.get(name).and_then(Value::as_str)
    }

    /// Sets a property of its JSON.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.json.insert(name.to_string(), value.into());
        self
    }

    /// The device reports every hour, which updates `lastSeen`.
    pub fn reporting(mut self) -> Self {
        self.presence.get_or_insert_default();
        self
    }

    /// The device reports, and is away from `since` before the emulator's
    /// start to `until` after it. Its `healthStatus` is `health` meanwhile.
    pub fn away(self, since: Duration, until: Duration, health: &'static str) -> Self {
        self.absent(0i64.saturating_sub_unsigned(since.as_secs()), until, health)
    }

    /// Like [`away`](Self::away), but the absence begins `after` the start.
    pub fn leaving(self, after: Duration, until: Duration, health: &'static str) -> Self {
        self.absent(0i64.saturating_add_unsigned(after.as_secs()), until, health)
    }

    fn absent(mut self, from: i64, until: Duration, health: &'static str) -> Self {
        let until = 0i64.saturating_add_unsigned(until.as_secs());
        let presence = self.presence.get_or_insert_default();
        presence.absences.push((from, until));
        presence.away_health = health;
        self
    }
}
