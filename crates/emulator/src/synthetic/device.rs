//! A machine as a fleet is given it.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::timeline::presence::Presence;

/// A machine as `/api/machines` shows it.
#[derive(Clone, Debug)]
pub struct EmulatedDevice {
    pub(crate) json: Map<String, Value>,
    /// Nothing where its JSON never changes and it is always there.
    pub(crate) presence: Option<Presence>,
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
        Self {
            json: json.as_object().cloned().unwrap_or_default(),
            presence: None,
        }
    }

    pub(crate) fn given(json: Map<String, Value>) -> Self {
        let presence = None;
        Self { json, presence }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.json.get(name).and_then(Value::as_str)
    }

    /// Sets any property of its JSON.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.json.insert(name.to_string(), value.into());
        self
    }

    /// It reports every hour: `lastSeen` moves.
    pub fn reporting(mut self) -> Self {
        self.presence.get_or_insert_default();
        self
    }

    /// Reporting, and away since so long before the emulator's start, until so
    /// long after it. While it is away its `healthStatus` is `health`.
    pub fn away(self, since: Duration, until: Duration, health: &'static str) -> Self {
        self.absent(0i64.saturating_sub_unsigned(since.as_secs()), until, health)
    }

    /// The same, but it leaves only so long after the start.
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

/// Forty hex digits, as the service names machines; the same for a name always.
pub fn machine_id(device: &str) -> String {
    let hash = blake3::hash(format!("machine {}", device.to_ascii_lowercase()).as_bytes());
    hash.to_hex().chars().take(40).collect()
}
