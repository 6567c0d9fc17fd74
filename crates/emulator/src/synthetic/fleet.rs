//! Fleets: the devices, actions, results and library files that an emulator
//! serves.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::synthetic::action::ScriptedAction;
use crate::synthetic::body::{BodyKind, ResultBody};
use crate::synthetic::device::EmulatedDevice;
use crate::synthetic::ids::{guid_from_name, result_key};
use evidence::{ActionId, ResultKey};

/// The data that one emulator serves.
#[derive(Clone, Debug, Default)]
pub struct EmulatedFleet {
    pub(crate) devices: Vec<EmulatedDevice>,
    pub(crate) actions: Vec<ScriptedAction>,
    /// Library files: name and content.
    pub(crate) library: Vec<(String, Bytes)>,
    /// Device groups on which actions are not allowed.
    pub(crate) disallowed: Vec<String>,
}

impl EmulatedFleet {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file to the library.
    pub fn library(mut self, name: &str, content: impl Into<Bytes>) -> Self {
        self.library.push((name.to_string(), content.into()));
        self
    }

    /// Rejects actions on the devices of a group with 403
    /// `DisallowedOperation`.
    pub fn disallow(mut self, group: &str) -> Self {
        self.disallowed.push(group.to_string());
        self
    }

    /// Names of the devices that are away at the start.
    pub fn away(&self) -> HashSet<&str> {
        let is_away = |device: &&EmulatedDevice| {
            device.presence.as_ref().is_some_and(|presence| {
                let mut absences = presence.absences.iter();
                absences.any(|(from, until)| *from <= 0 && *until > 0)
            })
        };
        self.devices
            .iter()
            .filter(is_away)
            .filter_map(|device| device.text("computerDnsName"))
            .collect()
    }

    pub fn device(mut self, device: EmulatedDevice) -> Self {
        self.devices.push(device);
        self
    }

    /// Adds an action. An action without an id gets one that depends on its
    /// device and position.
    pub fn action(mut self, mut action: ScriptedAction) -> Self {
        let position = self.actions.len();
        let id = *action
            .id
            .get_or_insert_with(|| guid_from_name(&format!("action {position} {}", action.device)));
        action.json.insert("id".into(), id.to_string().into());
        self.actions.push(action);
        self
    }

    /// A fleet of `results` devices, each with one action of one command whose
    /// transcript has about `len` bytes.
    ///
    /// **Memory**: names and JSON; the transcripts are generated when read.
    pub fn transcripts(results: usize, len: u64, seed: u64) -> Self {
        (0..results).fold(Self::new(), |fleet, n| {
            let body = ResultBody::seeded(BodyKind::Transcript, seed ^ n as u64, len);
            let name = format!("ws-{n:05}.contoso.example");
            let before = Duration::from_secs(3600 + (results - n) as u64);
            fleet.action(
                ScriptedAction::on(&name)
                    .comment("inventory")
                    .created_before_start(before)
                    .run_script("inventory.ps1", "-All", body),
            )
        })
    }

    /// Merges two fleets.
    pub fn and(mut self, other: Self) -> Self {
        self.devices.extend(other.devices);
        self.library.extend(other.library);
        self.disallowed.extend(other.disallowed);
        other.actions.into_iter().fold(self, Self::action)
    }

    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.devices.is_empty()
    }

    /// The ids of the actions, in the order they were added.
    pub fn action_ids(&self) -> Vec<ActionId> {
        self.actions.iter().filter_map(|a| a.id).collect()
    }

    /// The results that have a body, with the body.
    pub fn results(&self) -> Vec<(ResultKey, ResultBody)> {
        self.actions
            .iter()
            .filter_map(|action| Some((action.id?, &action.bodies)))
            .flat_map(|(id, bodies)| {
                bodies
                    .iter()
                    .map(move |(index, body)| (result_key(id, *index), body.clone()))
            })
            .collect()
    }

    /// Adds a device for every action whose device is not listed.
    pub(crate) fn complete_devices(&mut self) {
        let mut known: HashSet<String> = self
            .devices
            .iter()
            .filter_map(|device| device.text("id").map(str::to_string))
            .collect();
        for action in &self.actions {
            let text = |name: &str| action.json.get(name).and_then(Value::as_str);
            let Some(id) = text("machineId").filter(|id| !id.is_empty()) else {
                continue;
            };
            if known.insert(id.to_string()) {
                let name = text("computerDnsName").unwrap_or_default();
                self.devices.push(EmulatedDevice::new(name).with("id", id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_gets_a_distinct_id_and_a_device() {
        let mut fleet = EmulatedFleet::transcripts(50, 200, 1);
        let ids: HashSet<_> = fleet.action_ids().into_iter().collect();
        assert_eq!(ids.len(), 50);
        fleet.complete_devices();
        assert_eq!(fleet.devices.len(), 50);
        assert_eq!(fleet.results().len(), 50);
    }
}
