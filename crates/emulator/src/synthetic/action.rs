//! Actions of a fleet, with the bodies of their results.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::synthetic::body::ResultBody;
use crate::synthetic::ids::machine_id;
use evidence::ActionId;

/// A live response action and the bodies of its results.
#[derive(Clone, Debug)]
pub struct ScriptedAction {
    pub(crate) json: Map<String, Value>,
    pub(crate) id: Option<ActionId>,
    pub(crate) device: String,
    pub(crate) bodies: BTreeMap<u32, ResultBody>,
    pub(crate) created: CreationTime,
    pub(crate) progress: Option<ActionProgress>,
}

/// Creation time of an action.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CreationTime {
    /// `creationDateTimeUtc` of its JSON.
    FromJson,
    At(Timestamp),
    BeforeStart(Duration),
    AfterStart(Duration),
}

/// Progress of an action after its creation, in emulated time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionProgress {
    /// Time until get and list show the action.
    ///
    /// **Source**: DEFENDER.md, up to two minutes.
    pub hidden: Duration,
    /// Time in `Pending` until the device begins.
    pub queued: Duration,
    /// Duration of each command; commands run one after another.
    pub each_command: Duration,
    /// Time from the end of the last command to the final status.
    pub settling: Duration,
}

impl Default for ActionProgress {
    /// As observed once: two minutes queued, 2.8 s running, 37 s settling.
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

    /// The body that the link leads to. Without a body, the blob of a
    /// `Completed` command is missing (404 BlobNotFound), as if the upload from
    /// the device was lost.
    pub fn body(mut self, body: impl Into<ResultBody>) -> Self {
        self.body = Some(body.into());
        self
    }

    /// Status `Failed` with an error message. A body, if any, is still served.
    pub fn failed(mut self, error: &str) -> Self {
        self.errors.push(error.to_string());
        self.status("Failed")
    }

    pub fn status(mut self, status: &str) -> Self {
        self.status = status.to_string();
        self
    }
}

/// JSON of a succeeded machine action, without id, times and commands.
pub(crate) fn action_template(
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
    /// A finished action on a device, created an hour before the emulator's
    /// start.
    pub fn on(device: &str) -> Self {
        let machine = machine_id(device);
        let json = action_template(
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
            created: CreationTime::BeforeStart(Duration::from_secs(3600)),
            progress: None,
        }
    }

    /// An action that is served as given; `None` if the JSON has no GUID.
    pub(crate) fn from_json(json: Map<String, Value>) -> Option<Self> {
        let id = json.get("id")?.as_str()?.parse().ok()?;
        let device = json.get("computerDnsName").and_then(Value::as_str);
        Some(Self {
            id: Some(id),
            device: device.unwrap_or_default().to_string(),
            json,
            bodies: BTreeMap::new(),
            created: CreationTime::FromJson,
            progress: None,
        })
    }

    pub fn id(mut self, id: ActionId) -> Self {
        self.id = Some(id);
        self
    }

    pub fn command(self, command: ScriptedCommand) -> Self {
        let commands = self.json.get("commands").and_then(Value::as_array);
        let index = commands.map_or(0, Vec::len) as u32;
        self.command_at(index, command)
    }

    /// Adds a command with an explicit index, which can differ from its
    /// position.
    pub fn command_at(mut self, index: u32, command: ScriptedCommand) -> Self {
        let commands = self.json.entry("commands").or_insert_with(|| json!([]));
        if let Value::Array(commands) = commands {
            let params: Vec<_> = command
                .params
                .iter()
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

    pub fn requestor(self, name: &str) -> Self {
        self.with("requestor", name)
    }

    pub fn comment(self, text: &str) -> Self {
        self.with("requestorComment", text)
    }

    pub fn status(self, status: &str) -> Self {
        self.with("status", status)
    }

    /// Sets a property of its JSON.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.json.insert(name.to_string(), value.into());
        self
    }

    /// Created at a fixed emulated time.
    pub fn created(mut self, at: Timestamp) -> Self {
        self.created = CreationTime::At(at);
        self
    }

    /// Created this long before the emulator's start.
    pub fn created_before_start(mut self, by: Duration) -> Self {
        self.created = CreationTime::BeforeStart(by);
        self
    }

    /// Created this long after the emulator's start; invisible before.
    pub fn created_after_start(mut self, by: Duration) -> Self {
        self.created = CreationTime::AfterStart(by);
        self
    }

    /// The action progresses over time instead of being finished at the start.
    /// The statuses given for its commands are their final statuses.
    pub fn progress(mut self, progress: ActionProgress) -> Self {
        self.progress = Some(progress);
        self
    }

    pub(crate) fn set_body(&mut self, index: u32, body: ResultBody) {
        self.bodies.insert(index, body);
    }
}
