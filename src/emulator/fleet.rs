//! The devices, actions and results the emulator has to show. Built in memory
//! for tests, or read from a folder (`folder`).

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::body::{Body, Kind};
use super::presence::Presence;
use crate::evidence::{ActionId, CommandIndex, ResultKey};

/// Everything one emulator serves.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    pub(super) devices: Vec<Device>,
    pub(super) actions: Vec<Action>,
    /// Files of the library by their names.
    pub(super) library: Vec<(String, Bytes)>,
    /// Groups of machines on which nothing may be done.
    pub(super) disallowed: Vec<String>,
}

/// A machine as `/api/machines` shows it.
#[derive(Clone, Debug)]
pub struct Device {
    pub(super) json: Map<String, Value>,
    /// Nothing where its JSON never changes and it is always there.
    pub(super) presence: Option<Presence>,
}

/// A live response action and the bodies of its commands.
#[derive(Clone, Debug)]
pub struct Action {
    pub(super) json: Map<String, Value>,
    pub(super) id: Option<ActionId>,
    device: String,
    pub(super) bodies: BTreeMap<u32, Body>,
    pub(super) created: Created,
    pub(super) progress: Option<Progress>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Created {
    /// As its JSON says.
    Given,
    At(Timestamp),
    BeforeStart(Duration),
    AfterStart(Duration),
}

/// How an action proceeds after its creation, in emulated time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Invisible to get and list: DEFENDER.md saw up to two minutes.
    pub hidden: Duration,
    /// `Pending` until the device takes it up.
    pub queued: Duration,
    /// Each command runs so long and completes, one after the other.
    pub each_command: Duration,
    /// From the last command until the action says so.
    pub settling: Duration,
}

impl Default for Progress {
    /// What was seen once: two minutes queued, 2.8 s running, 37 s settling.
    fn default() -> Self {
        Self {
            hidden: Duration::ZERO,
            queued: Duration::from_secs(120),
            each_command: Duration::from_millis(2800),
            settling: Duration::from_secs(37),
        }
    }
}

/// One command of an action.
#[derive(Clone, Debug)]
pub struct Command {
    kind: &'static str,
    params: Vec<(&'static str, String)>,
    status: String,
    errors: Vec<String>,
    body: Option<Body>,
}

impl Command {
    fn of(kind: &'static str, params: Vec<(&'static str, String)>) -> Self {
        Self {
            kind,
            params,
            status: "Completed".into(),
            errors: Vec::new(),
            body: None,
        }
    }

    pub fn run_script(name: &str, args: &str) -> Self {
        let mut params = vec![("ScriptName", name.to_string())];
        if !args.is_empty() {
            params.push(("Args", args.to_string()));
        }
        Self::of("RunScript", params)
    }

    pub fn get_file(path: &str) -> Self {
        Self::of("GetFile", vec![("Path", path.to_string())])
    }

    pub fn put_file(name: &str) -> Self {
        Self::of("PutFile", vec![("FileName", name.to_string())])
    }

    /// What its link leads to. Without one a `Completed` command's upload was
    /// lost on the device: 404 BlobNotFound.
    pub fn body(mut self, body: impl Into<Body>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// `Failed`, for a reason; a body, where there is one, is served all the
    /// same.
    pub fn failed(mut self, error: &str) -> Self {
        self.errors.push(error.to_string());
        self.status("Failed")
    }

    pub fn status(mut self, status: &str) -> Self {
        self.status = status.to_string();
        self
    }
}

impl Action {
    /// A finished action on a device, an hour before the emulator's start.
    pub fn on(device: &str) -> Self {
        let json = json!({
            "type": "LiveResponse",
            "title": null,
            "requestor": "analyst@contoso.example",
            "requestorComment": "",
            "status": "Succeeded",
            "machineId": machine_id(device),
            "computerDnsName": device,
            "cancellationRequestor": null,
            "cancellationComment": null,
            "cancellationDateTimeUtc": null,
            "errorHResult": 0,
            "scope": null,
            "externalId": null,
            "requestSource": "PublicApi",
            "relatedFileInfo": null,
            "commands": [],
            "troubleshootInfo": null,
        });
        Self {
            json: json.as_object().cloned().unwrap_or_default(),
            id: None,
            device: device.to_string(),
            bodies: BTreeMap::new(),
            created: Created::BeforeStart(Duration::from_secs(3600)),
            progress: None,
        }
    }

    /// An action served as its JSON stands; `None` where it has no GUID.
    pub(super) fn given(json: Map<String, Value>) -> Option<Self> {
        let id = json.get("id")?.as_str()?.parse().ok()?;
        let device = json.get("computerDnsName").and_then(Value::as_str);
        Some(Self {
            id: Some(id),
            device: device.unwrap_or_default().to_string(),
            json,
            bodies: BTreeMap::new(),
            created: Created::Given,
            progress: None,
        })
    }

    pub fn id(mut self, id: ActionId) -> Self {
        self.id = Some(id);
        self
    }

    pub fn command(self, command: Command) -> Self {
        let index = self.json.get("commands").and_then(Value::as_array);
        let index = index.map_or(0, Vec::len) as u32;
        self.command_at(index, command)
    }

    /// A command with an index of its own, which need not be its place.
    pub fn command_at(mut self, index: u32, command: Command) -> Self {
        let commands = self.json.entry("commands").or_insert_with(|| json!([]));
        if let Value::Array(commands) = commands {
            let params = command.params.iter();
            let params: Vec<_> = params
                .map(|(key, value)| json!({"key": key, "value": value}))
                .collect();
            commands.push(json!({
                "index": index,
                "startTime": null,
                "endTime": null,
                "commandStatus": command.status,
                "errors": command.errors,
                "command": {"type": command.kind, "params": params},
            }));
            if let Some(body) = command.body {
                self.bodies.insert(index, body);
            }
        }
        self
    }

    pub fn run_script(self, name: &str, args: &str, body: impl Into<Body>) -> Self {
        self.command(Command::run_script(name, args).body(body))
    }

    pub fn get_file(self, path: &str, body: impl Into<Body>) -> Self {
        self.command(Command::get_file(path).body(body))
    }

    pub fn put_file(self, name: &str) -> Self {
        self.command(Command::put_file(name))
    }

    pub fn requestor(self, who: &str) -> Self {
        self.with("requestor", who)
    }

    pub fn comment(self, text: &str) -> Self {
        self.with("requestorComment", text)
    }

    pub fn status(self, status: &str) -> Self {
        self.with("status", status)
    }

    /// Sets any property of its JSON.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.json.insert(name.to_string(), value.into());
        self
    }

    /// Created at a fixed emulated time.
    pub fn created(mut self, at: Timestamp) -> Self {
        self.created = Created::At(at);
        self
    }

    /// Created so long before the emulator's clock began.
    pub fn created_before_start(mut self, by: Duration) -> Self {
        self.created = Created::BeforeStart(by);
        self
    }

    /// Created so long after the emulator's clock began: nobody sees it before.
    pub fn created_after_start(mut self, by: Duration) -> Self {
        self.created = Created::AfterStart(by);
        self
    }

    /// Proceeds step by step instead of being finished from the start. Command
    /// statuses given are those they end with.
    pub fn progress(mut self, progress: Progress) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Puts a body behind a command.
    pub(super) fn attach(&mut self, index: u32, body: Body) {
        self.bodies.insert(index, body);
    }

    pub(super) fn known_id(&self) -> Option<ActionId> {
        self.id
    }
}

impl Device {
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

    pub(super) fn given(json: Map<String, Value>) -> Self {
        let presence = None;
        Self { json, presence }
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.json.get(name).and_then(Value::as_str)
    }

    /// Sets any property of its JSON.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.json.insert(name.to_string(), value.into());
        self
    }
}

/// Forty hex digits, as the service names machines; the same for a name always.
pub fn machine_id(device: &str) -> String {
    let hash = blake3::hash(format!("machine {}", device.to_ascii_lowercase()).as_bytes());
    hash.to_hex().chars().take(40).collect()
}

/// A GUID that depends on `name` alone.
pub(super) fn guid_of(name: &str) -> ActionId {
    let mut bytes = [0u8; 16];
    blake3::Hasher::new()
        .update(name.as_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40; // version 4, so that strict readers agree
    bytes[8] = bytes[8] & 0x3f | 0x80;
    ActionId::from_bytes(bytes)
}

impl Device {
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

impl Fleet {
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

    pub fn device(mut self, device: Device) -> Self {
        self.devices.push(device);
        self
    }

    /// Adds an action; one without an id gets one from its device and place.
    pub fn action(mut self, mut action: Action) -> Self {
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
            let body = Body::seeded(Kind::Transcript, seed ^ n as u64, len);
            let name = format!("ws-{n:05}.contoso.example");
            let before = Duration::from_secs(3600 + (results - n) as u64);
            fleet.action(
                Action::on(&name)
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
    pub fn results(&self) -> Vec<(ResultKey, Body)> {
        let of_action = |action: &Action| {
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
    pub(super) fn complete_devices(&mut self) {
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
                self.devices.push(Device::new(name).with("id", id));
            }
        }
    }
}

pub(super) fn key(action: ActionId, index: u32) -> ResultKey {
    ResultKey::new(action, CommandIndex(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_gets_its_own_id_and_its_device_a_machine() {
        let mut fleet = Fleet::transcripts(50, 200, 1);
        let ids: HashSet<_> = fleet.action_ids().into_iter().collect();
        assert_eq!(ids.len(), 50);
        fleet.complete_devices();
        assert_eq!(fleet.devices.len(), 50);
        assert_eq!(fleet.results().len(), 50);
    }
}
