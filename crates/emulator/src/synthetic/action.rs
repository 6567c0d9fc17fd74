//! An action as a fleet is given it, with the bodies behind its commands.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::synthetic::body::ResultBody;
use crate::synthetic::device::machine_id;
use evidence::ActionId;

/// A live response action and the bodies of its commands.
#[derive(Clone, Debug)]
pub struct ScriptedAction {
    pub(crate) json: Map<String, Value>,
    pub(crate) id: Option<ActionId>,
    pub(crate) device: String,
    pub(crate) bodies: BTreeMap<u32, ResultBody>,
    pub(crate) created: Created,
    pub(crate) progress: Option<ActionProgress>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Created {
    /// As its JSON says.
    Given,
    At(Timestamp),
    BeforeStart(Duration),
    AfterStart(Duration),
}

/// How an action proceeds after its creation, in emulated time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionProgress {
    /// Invisible to get and list: DEFENDER.md saw up to two minutes.
    pub hidden: Duration,
    /// `Pending` until the device takes it up.
    pub queued: Duration,
    /// Each command runs so long and completes, one after the other.
    pub each_command: Duration,
    /// From the last command until the action says so.
    pub settling: Duration,
}

impl Default for ActionProgress {
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
pub struct ScriptedCommand {
    kind: &'static str,
    params: Vec<(&'static str, String)>,
    status: String,
    errors: Vec<String>,
    body: Option<ResultBody>,
}

impl ScriptedCommand {
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
    pub fn body(mut self, body: impl Into<ResultBody>) -> Self {
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

/// A machine action with everything but its id, its times and its commands;
/// it says that it succeeded.
pub(crate) fn json_of(
    kind: &str,
    (machine, device): (&str, &str),
    requestor: &str,
    comment: &str,
) -> Map<String, Value> {
    let json = json!({
        "type": kind,
        "title": null,
        "requestor": requestor,
        "requestorComment": comment,
        "status": "Succeeded",
        "machineId": machine,
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
    json.as_object().cloned().unwrap_or_default()
}

impl ScriptedAction {
    /// A finished action on a device, an hour before the emulator's start.
    pub fn on(device: &str) -> Self {
        let machine = machine_id(device);
        let json = json_of(
            "LiveResponse",
            (&machine, device),
            "analyst@contoso.example",
            "",
        );
        Self {
            json,
            id: None,
            device: device.to_string(),
            bodies: BTreeMap::new(),
            created: Created::BeforeStart(Duration::from_secs(3600)),
            progress: None,
        }
    }

    /// An action served as its JSON stands; `None` where it has no GUID.
    pub(crate) fn given(json: Map<String, Value>) -> Option<Self> {
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

    pub fn command(self, command: ScriptedCommand) -> Self {
        let index = self.json.get("commands").and_then(Value::as_array);
        let index = index.map_or(0, Vec::len) as u32;
        self.command_at(index, command)
    }

    /// A command with an index of its own, which need not be its place.
    pub fn command_at(mut self, index: u32, command: ScriptedCommand) -> Self {
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

    pub fn run_script(self, name: &str, args: &str, body: impl Into<ResultBody>) -> Self {
        self.command(ScriptedCommand::run_script(name, args).body(body))
    }

    pub fn get_file(self, path: &str, body: impl Into<ResultBody>) -> Self {
        self.command(ScriptedCommand::get_file(path).body(body))
    }

    pub fn put_file(self, name: &str) -> Self {
        self.command(ScriptedCommand::put_file(name))
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
    pub fn progress(mut self, progress: ActionProgress) -> Self {
        self.progress = Some(progress);
        self
    }

    /// Puts a body behind a command.
    pub(crate) fn attach(&mut self, index: u32, body: ResultBody) {
        self.bodies.insert(index, body);
    }

    pub(crate) fn known_id(&self) -> Option<ActionId> {
        self.id
    }
}
