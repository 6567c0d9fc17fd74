//! Live response actions in the format of the API.

use serde_json::{Value, json};

use crate::clock::UnixTime;
use crate::device::SyntheticDevice;
use evidence::{ActionId, CommandIndex, ResultKey};

/// An action, serialized as `ACTION_ID.json`.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub id: ActionId,
    pub status: &'static str,
    pub requestor: &'static str,
    pub comment: String,
    pub created: UnixTime,
    /// End of the last command so far.
    pub ended: UnixTime,
    pub commands: Vec<Value>,
}

impl Session {
    pub fn new(id: ActionId, requestor: &'static str, comment: String, created: UnixTime) -> Self {
        Self {
            id,
            status: "Succeeded",
            requestor,
            comment,
            created,
            ended: created.plus(95),
            commands: Vec::new(),
        }
    }

    /// Key of the result of the next command.
    pub fn next_key(&self) -> ResultKey {
        ResultKey::new(self.id, CommandIndex(self.commands.len() as u32))
    }

    /// Adds a command that took `seconds`.
    pub fn run(&mut self, kind: &str, params: &[(&str, &str)], seconds: i64) {
        let started = self.ended.plus(1);
        self.ended = started.plus(seconds);
        let times = (Some(started), Some(self.ended));
        self.add(kind, params, "Completed", times, &[]);
    }

    /// Adds a command with any status.
    pub fn add(
        &mut self,
        kind: &str,
        params: &[(&str, &str)],
        status: &str,
        (started, ended): (Option<UnixTime>, Option<UnixTime>),
        errors: &[&str],
    ) {
        let index = self.commands.len();
        let time = |moment: Option<UnixTime>| {
            moment.map(|m| format!("{}.{:03}Z", m.iso(), 37 * index % 1000))
        };
        let params: Vec<_> = params
            .iter()
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        self.commands.push(json!({
            "index": index,
            "startTime": time(started),
            "endTime": time(ended),
            "commandStatus": status,
            "errors": errors,
            "command": {"type": kind, "params": params},
        }));
    }

    pub fn run_script(&mut self, name: &str, args: &str, seconds: i64) {
        let mut params = vec![("ScriptName", name)];
        if !args.is_empty() {
            params.push(("Args", args));
        }
        self.run("RunScript", &params, seconds);
    }

    /// The machine action as JSON.
    pub fn to_json(&self, device: &SyntheticDevice) -> Vec<u8> {
        let cancelled = self.status == "Cancelled";
        let if_cancelled = |text: String| if cancelled { json!(text) } else { Value::Null };
        let action = json!({
            "id": self.id.to_string(),
            "type": "LiveResponse",
            "title": null,
            "requestor": self.requestor,
            "requestorComment": self.comment,
            "status": self.status,
            "machineId": device.machine_id,
            "computerDnsName": device.dns_name(),
            "creationDateTimeUtc": format!("{}.7788848Z", self.created.iso()),
            "lastUpdateDateTimeUtc": format!("{}.51Z", self.ended.plus(37).iso()),
            "cancellationRequestor": if_cancelled(self.requestor.to_string()),
            "cancellationComment": if_cancelled("not needed any more".to_string()),
            "cancellationDateTimeUtc": if_cancelled(format!("{}.0411Z", self.ended.plus(20).iso())),
            "errorHResult": 0,
            "scope": null,
            "externalId": null,
            "requestSource": "PublicApi",
            "relatedFileInfo": null,
            "commands": self.commands,
            "troubleshootInfo": null,
        });
        let mut text = serde_json::to_vec_pretty(&action).unwrap_or_default();
        text.push(b'\n');
        text
    }
}
