//! The devices, actions and results the emulator has to show. Built in memory
//! for tests, or read from a folder (`folder`).

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::synthetic::action::ScriptedAction;
use crate::synthetic::body::{BodyKind, ResultBody};
use crate::synthetic::device::EmulatedDevice;
use evidence::{ActionId, CommandIndex, ResultKey};

/// Everything one emulator serves.
#[derive(Clone, Debug, Default)]
pub struct EmulatedFleet {
    pub(crate) devices: Vec<EmulatedDevice>,
    pub(crate) actions: Vec<ScriptedAction>,
    /// Files of the library by their names.
    pub(crate) library: Vec<(String, Bytes)>,
    /// Groups of machines on which nothing may be done.
    pub(crate) disallowed: Vec<String>,
}

/// A GUID that depends on `name` alone.
pub(crate) fn guid_of(name: &str) -> ActionId {
    let mut bytes = [0u8; 16];
    blake3::Hasher::new()
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40; // version 4, so that strict readers agree
    bytes[8] = bytes[8] & 0x3f | 0x80;
    ActionId::from_bytes(bytes)
}

impl EmulatedFleet {
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a file into the library.
    pub fn library(mut self, name: &str, content: impl Into<Bytes>) -> Self {
        self.library.push((name.to_string(), content.into()));
        self
    }

    /// On the machines of this group nothing may be done: 403
    /// `DisallowedOperation`.
    pub fn disallow(mut self, group: &str) -> Self {
        self.disallowed.push(group.to_string());
        self
    }

    /// Names of the machines that are away at the start.
    pub fn away(&self) -> HashSet<&str> {
        let away = |device: &&EmulatedDevice| {
            let presence = device.presence.as_ref();
            presence.is_some_and(|p| {
                p.absences
                    .iter()
                    .any(|(from, until)| *from <= 0 && *until > 0)
            })
        };
        let devices = self.devices.iter().filter(away);
        devices
            .filter_map(|device| device.text("computerDnsName"))
            .collect()
    }

    pub fn device(mut self, device: EmulatedDevice) -> Self {
        self.devices.push(device);
        self
    }

    /// Adds an action; one without an id gets one from its device and place.
    pub fn action(mut self, mut action: ScriptedAction) -> Self {
        let place = self.actions.len();
        let id = *action
            .id
            .get_or_insert_with(|| guid_of(&format!("action {place} {}", action.device)));
        action.json.insert("id".into(), id.to_string().into());
        self.actions.push(action);
        self
    }

    /// `results` small transcripts of about `len` bytes, one action with one
    /// command on each of as many devices. Nothing is held but their names.
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

    /// Both fleets in one.
    pub fn and(mut self, other: Self) -> Self {
        self.devices.extend(other.devices);
        self.library.extend(other.library);
        self.disallowed.extend(other.disallowed);
        other.actions.into_iter().fold(self, Self::action)
    }

    pub fn is_empty(&self) -> bool {
        self.actions.is_empty() && self.devices.is_empty()
    }

    /// The ids of its actions, in the order they were added.
    pub fn action_ids(&self) -> Vec<ActionId> {
        self.actions.iter().filter_map(|a| a.id).collect()
    }

    /// The results that have bytes, and these.
    pub fn results(&self) -> Vec<(ResultKey, ResultBody)> {
        let of_action = |action: &ScriptedAction| {
            let id = action.id?;
            let bodies = action.bodies.iter();
            let keyed = bodies.map(move |(i, body)| (key(id, *i), body.clone()));
            Some(keyed.collect::<Vec<_>>())
        };
        self.actions
            .iter()
            .filter_map(of_action)
            .flatten()
            .collect()
    }

    /// Names a machine for every action that has none in the list.
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

pub(crate) fn key(action: ActionId, index: u32) -> ResultKey {
    ResultKey::new(action, CommandIndex(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_gets_its_own_id_and_its_device_a_machine() {
        let mut fleet = EmulatedFleet::transcripts(50, 200, 1);
        let ids: HashSet<_> = fleet.action_ids().into_iter().collect();
        assert_eq!(ids.len(), 50);
        fleet.complete_devices();
        assert_eq!(fleet.devices.len(), 50);
        assert_eq!(fleet.results().len(), 50);
    }
}
