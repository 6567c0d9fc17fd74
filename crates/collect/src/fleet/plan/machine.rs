//! A machine as the service describes it, read tolerantly.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use evidence::Time;

/// A device that could be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineInfo {
    pub id: String,
    /// Full name, where the service knows one.
    pub name: Option<String>,
    pub last_seen: Option<Time>,
    /// `Active`, `Inactive`, `ImpairedCommunication`, `NoSensorData` or
    /// another word.
    pub health: String,
    pub platform: String,
    pub group: String,
    pub tags: Vec<String>,
}

/// The service lists at most so many days without a sign as active; a device
/// reports fully once a day.
const SILENT_SECONDS: i64 = 26 * 3_600;

impl MachineInfo {
    /// `None` where there is no id: nothing could be run on it.
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

    /// The name a person knows it by.
    pub fn label(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }

    /// The first part of its name.
    pub fn short(&self) -> &str {
        let label = self.label();
        label.split('.').next().unwrap_or(label)
    }

    /// Whether it does not look as if it answered now: by its health, or by
    /// a day without a sign at the service's time `now`.
    pub fn is_likely_away(&self, now: Option<jiff::Timestamp>) -> bool {
        let unwell = !self.health.is_empty() && !self.health.eq_ignore_ascii_case("Active");
        let seen = self.last_seen.as_ref().and_then(Time::instant);
        let silent = match (seen, now) {
            (Some(seen), Some(now)) => now.as_second() - seen.as_second() > SILENT_SECONDS,
            _ => false,
        };
        unwell || silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_reads_and_says_whether_it_looks_away() {
        let machine = |health: &str, seen: &str| {
            let json = serde_json::json!({"id": "f1", "computerDnsName": "ws-1.contoso.example",
                "healthStatus": health, "lastSeen": seen, "machineTags": ["a", 7]});
            MachineInfo::from_value(&json).unwrap()
        };
        let now = "2026-02-04T12:00:00Z".parse().ok();
        let well = machine("Active", "2026-02-04T11:00:00.1234567Z");
        assert_eq!((well.short(), well.tags.len()), ("ws-1", 1));
        assert!(!well.is_likely_away(now));
        assert!(machine("Inactive", "2026-02-04T11:00:00Z").is_likely_away(now));
        assert!(machine("Active", "2026-02-01T11:00:00Z").is_likely_away(now));
        assert!(!machine("", "").is_likely_away(now));
        assert_eq!(
            MachineInfo::from_value(&serde_json::json!({"id": null})),
            None
        );
    }
}
