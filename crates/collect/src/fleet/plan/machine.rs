//! Machines and the rest of a tenant's inventory, as the service describes
//! them. Missing fields are tolerated.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use evidence::Time;

/// The state of a tenant that a plan is made from; see
/// [`read_inventory`](crate::fleet::read_inventory).
#[derive(Clone, Debug, Default)]
pub struct FleetInventory {
    pub machines: Vec<MachineInfo>,
    /// File names of the library; `None` if the service refused to list it.
    pub library: Option<Vec<String>>,
    /// Permissions that the access token lacks, as far as it can be read.
    pub missing_permissions: Vec<String>,
    /// The service's time of the list of machines.
    pub now: Option<Timestamp>,
}

/// A machine of the tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineInfo {
    /// The machine id of Defender.
    pub id: String,
    /// Fully qualified name, if the service knows one.
    pub name: Option<String>,
    /// When the service last received data from it.
    pub last_seen: Option<Time>,
    /// `Active`, `Inactive`, `ImpairedCommunication`, `NoSensorData` or
    /// another word.
    pub health: String,
    pub platform: String,
    /// Device group (RBAC).
    pub group: String,
    pub tags: Vec<String>,
}

/// Silence after which a machine is taken to be away. A device sends a full
/// report once a day; two hours are added for late reports.
const SILENT_SECONDS: i64 = 26 * 3_600;

impl MachineInfo {
    /// `None` if there is no id: no session can be started without one.
    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_string();
        let id = text("id");
        let tags = value["machineTags"].as_array().into_iter().flatten();
        (!id.is_empty()).then(|| Self {
            name: Some(text("computerDnsName")).filter(|name| !name.is_empty()),
            last_seen: value["lastSeen"].as_str().map(Time::from_text),
            health: text("healthStatus"),
            platform: text("osPlatform"),
            group: text("rbacGroupName"),
            tags: tags.filter_map(Value::as_str).map(str::to_string).collect(),
            id,
        })
    }

    /// The name to show: the full name, or the id if there is none.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }

    /// The first part of the name.
    pub fn short(&self) -> &str {
        let label = self.label();
        label.split('.').next().unwrap_or(label)
    }

    /// Whether a session is unlikely to be taken up at the service's time
    /// `now`: the machine's health is not `Active`, or it has been silent for
    /// more than 26 hours.
    pub fn is_likely_away(&self, now: Option<Timestamp>) -> bool {
        let is_unhealthy = !self.health.is_empty() && !self.health.eq_ignore_ascii_case("Active");
        let last_seen = self.last_seen.as_ref().and_then(Time::instant);
        let is_silent = last_seen
            .zip(now)
            .is_some_and(|(seen, now)| now.as_second() - seen.as_second() > SILENT_SECONDS);
        is_unhealthy || is_silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unhealthy_or_silent_machine_is_likely_away() {
        let machine = |health: &str, seen: &str| {
            let json = serde_json::json!({"id": "f1", "computerDnsName": "ws-1.contoso.example",
                "healthStatus": health, "lastSeen": seen, "machineTags": ["a", 7]});
            MachineInfo::from_value(&json).unwrap()
        };
        let now = "2026-02-04T12:00:00Z".parse().ok();
        let healthy = machine("Active", "2026-02-04T11:00:00.1234567Z");
        assert_eq!((healthy.short(), healthy.tags.len()), ("ws-1", 1));
        assert!(!healthy.is_likely_away(now));
        assert!(machine("Inactive", "2026-02-04T11:00:00Z").is_likely_away(now));
        assert!(machine("Active", "2026-02-01T11:00:00Z").is_likely_away(now));
        assert!(!machine("", "").is_likely_away(now));
        assert_eq!(
            MachineInfo::from_value(&serde_json::json!({"id": null})),
            None
        );
    }
}
