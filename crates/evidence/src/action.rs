//! A live response action as the service describes it.
//!
//! Parsing is tolerant: unknown values are kept and shown, and only an action
//! without an id is rejected.
//!
//! **Source**: the machine action resource of the Defender API, and captures
//! of older and exported forms (`lastUpdateTimeUtc`, `externalID`,
//! `Machine Action Id`).

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{ActionId, CommandIndex, Facts, Origin, ResultKey, ResultKind, Time};

/// A live response action: one session on one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub id: ActionId,
    /// `LiveResponse`, `CollectInvestigationPackage` or another value.
    pub kind: String,
    /// `Pending`, `InProgress`, `Succeeded`, `Failed`, `TimeOut`, `Cancelled`
    /// or another value.
    pub status: String,
    pub machine_id: Option<String>,
    pub device: Option<String>,
    pub requestor: Option<String>,
    pub comment: Option<String>,
    pub created: Option<Time>,
    pub updated: Option<Time>,
    pub commands: Vec<Command>,
}

/// One step of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub index: CommandIndex,
    pub kind: CommandKind,
    /// `Created`, `Completed`, `Failed` or another value.
    pub status: String,
    pub started: Option<Time>,
    pub ended: Option<Time>,
    pub errors: Vec<String>,
    /// As received, in order: `ScriptName`, `Args`, `Path`, `FileName`, …
    pub params: Vec<(String, String)>,
}

/// The operation of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandKind {
    RunScript,
    GetFile,
    PutFile,
    Other(String),
}

impl fmt::Display for CommandKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RunScript => "RunScript",
            Self::GetFile => "GetFile",
            Self::PutFile => "PutFile",
            Self::Other(word) => word,
        })
    }
}

/// The JSON does not describe an action.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedAction {
    #[error("not JSON: {0}")]
    NotJson(String),
    #[error("not a JSON object")]
    NotAnObject,
    #[error("the field `id` is missing or not a GUID")]
    NoId,
}

impl Action {
    /// Parses an action as received.
    ///
    /// **Errors**: if the input is not a JSON object with an id.
    pub fn from_json(json: &[u8]) -> Result<Self, MalformedAction> {
        let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
        let value: Value =
            serde_json::from_slice(json).map_err(|e| MalformedAction::NotJson(e.to_string()))?;
        Self::from_value(&value)
    }

    /// Converts a parsed JSON value, like [`Action::from_json`].
    pub fn from_value(value: &Value) -> Result<Self, MalformedAction> {
        let object = value.as_object().ok_or(MalformedAction::NotAnObject)?;
        let text = |names: &[&str]| text_of(object, names);
        let id = text(&["id", "machineactionid", "actionid"])
            .and_then(|id| id.parse().ok())
            .ok_or(MalformedAction::NoId)?;
        let commands = match field(object, &["commands"]) {
            Some(Value::Array(commands)) => commands.as_slice(),
            _ => &[],
        };
        Ok(Self {
            id,
            kind: text(&["type"]).unwrap_or_else(|| "LiveResponse".into()),
            status: text(&["status"]).unwrap_or_default(),
            machine_id: text(&["machineid"]),
            device: text(&["computerdnsname", "hostname"]),
            requestor: text(&["requestor"]),
            comment: text(&["requestorcomment"]),
            created: text(&["creationdatetimeutc", "creationtime"]).map(Time::from_text),
            updated: text(&["lastupdatedatetimeutc", "lastupdatetimeutc"]).map(Time::from_text),
            commands: commands
                .iter()
                .enumerate()
                .map(|(position, command)| Command::from_value(position, command))
                .collect(),
        })
    }

    /// Whether the status is final: `Succeeded`, `Failed`, `TimeOut` or
    /// `Cancelled`.
    pub fn is_final(&self) -> bool {
        ["Succeeded", "Failed", "TimeOut", "Cancelled"]
            .iter()
            .any(|word| self.status.eq_ignore_ascii_case(word))
    }

    pub fn key(&self, command: &Command) -> ResultKey {
        ResultKey::new(self.id, command.index)
    }

    /// Facts about the result of `command`, before it is downloaded.
    pub fn facts(&self, command: &Command, origin: Origin) -> Facts {
        Facts {
            device: self.device.clone(),
            machine_id: self.machine_id.clone(),
            script: command.param("ScriptName"),
            args: command.param("Args"),
            path: command.param("Path"),
            started: command.started.clone(),
            ended: command.ended.clone(),
            command_status: Some(command.status.clone()),
            action_status: Some(self.status.clone()),
            requestor: self.requestor.clone(),
            comment: self.comment.clone(),
            ..Facts::new(command.result_kind(), origin)
        }
    }
}

impl Command {
    fn from_value(position: usize, value: &Value) -> Self {
        let empty = Map::new();
        let object = value.as_object().unwrap_or(&empty);
        let inner = field(object, &["command"])
            .and_then(Value::as_object)
            .unwrap_or(object);
        let index = field(object, &["index"])
            .and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok()))
            .unwrap_or(position as u64);
        Self {
            index: CommandIndex(u32::try_from(index).unwrap_or(u32::MAX)),
            kind: CommandKind::from_name(&text_of(inner, &["type"]).unwrap_or_default()),
            status: text_of(object, &["commandstatus", "status"]).unwrap_or_default(),
            started: text_of(object, &["starttime"]).map(Time::from_text),
            ended: text_of(object, &["endtime"]).map(Time::from_text),
            errors: field(object, &["errors"])
                .and_then(Value::as_array)
                .map(|errors| errors.iter().map(value_text).collect())
                .unwrap_or_default(),
            params: field(inner, &["params"])
                .and_then(Value::as_array)
                .map(|params| params.iter().filter_map(param_of).collect())
                .unwrap_or_default(),
        }
    }

    /// The value of a parameter. Names match in any case.
    pub fn param(&self, name: &str) -> Option<String> {
        self.params
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.clone())
    }

    /// Whether the command completed, independent of the rest of the action.
    pub fn is_completed(&self) -> bool {
        self.status.eq_ignore_ascii_case("Completed")
    }

    pub fn is_failed(&self) -> bool {
        self.status.eq_ignore_ascii_case("Failed")
    }

    /// Whether the command can produce a result. PutFile never does.
    pub fn has_result(&self) -> bool {
        self.kind != CommandKind::PutFile
    }

    pub fn result_kind(&self) -> ResultKind {
        match self.kind {
            CommandKind::GetFile => ResultKind::File,
            _ => ResultKind::Transcript,
        }
    }
}

impl CommandKind {
    fn from_name(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "runscript" => Self::RunScript,
            "getfile" => Self::GetFile,
            "putfile" => Self::PutFile,
            _ => Self::Other(word.to_string()),
        }
    }
}

/// Finds a key in any case, ignoring blanks (`Machine Action Id`).
fn field<'a>(object: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().find_map(|name| {
        object
            .iter()
            .find(|(key, _)| {
                let spelled = key
                    .bytes()
                    .filter(|b| *b != b' ')
                    .map(|b| b.to_ascii_lowercase());
                spelled.eq(name.bytes())
            })
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    })
}

fn text_of(object: &Map<String, Value>, names: &[&str]) -> Option<String> {
    field(object, names).map(value_text)
}

fn value_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn param_of(value: &Value) -> Option<(String, String)> {
    let object = value.as_object()?;
    Some((
        text_of(object, &["key"])?,
        text_of(object, &["value"]).unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTION: &str = r#"{
        "id": "5382f7ea-7557-4ab7-9782-d50480024a4e", "type": "LiveResponse",
        "requestor": "analyst@contoso.example", "requestorComment": "CASE-42",
        "status": "Succeeded", "machineId": "9d80", "computerDnsName": null,
        "creationDateTimeUtc": "2026-02-04T15:36:52.7788848Z",
        "lastUpdateTimeUtc": "2026-02-04T15:40:52Z",
        "commands": [
            {"index": 0, "startTime": null, "endTime": "2026-02-04T15:37:00Z",
             "commandStatus": "Completed", "errors": [],
             "command": {"type": "PutFile", "params": [{"key": "FileName", "value": "x.ps1"}]}},
            {"commandStatus": "Completed", "errors": ["a", 7],
             "command": {"type": "RunScript", "params": [
                {"key": "scriptName", "value": "x.ps1"}, {"key": "Args", "value": "-All"}]}},
            {"index": 5, "commandStatus": "Odd", "command": {"type": "GetFile",
             "params": [{"key": "Path", "value": "C:\\a"}]}}
        ], "somethingNew": {"a": 1}
    }"#;

    #[test]
    fn action_with_nulls_old_names_and_missing_indexes_is_parsed() {
        let action = Action::from_json(ACTION.as_bytes()).unwrap();
        assert!(action.is_final());
        assert_eq!(action.device, None);
        assert_eq!(
            action.updated.as_ref().unwrap().text(),
            "2026-02-04T15:40:52Z"
        );
        let indexes: Vec<_> = action.commands.iter().map(|c| c.index.0).collect();
        assert_eq!(indexes, [0, 1, 5]);
        assert!(!action.commands[0].has_result());
        assert_eq!(action.commands[1].errors, ["a", "7"]);
        let facts = action.facts(&action.commands[1], Origin::Api { host: "h".into() });
        assert_eq!(facts.script.as_deref(), Some("x.ps1"));
        assert_eq!(facts.args.as_deref(), Some("-All"));
        assert_eq!(facts.comment.as_deref(), Some("CASE-42"));
    }

    #[test]
    fn unknown_values_are_kept() {
        let action = Action::from_json(
            br#"{"id":"5382f7ea-7557-4ab7-9782-d50480024a4e","status":"Paused",
                "commands":[{"command":{"type":"Isolate"}}, 7]}"#,
        )
        .unwrap();
        assert_eq!(action.status, "Paused");
        assert_eq!(
            action.commands[0].kind,
            CommandKind::Other("Isolate".into())
        );
        assert_eq!(action.commands.len(), 2);
    }

    #[test]
    fn exported_action_with_spelled_out_keys_is_parsed() {
        let action = Action::from_json(
            br#"{"Machine Action Id":"5b38733b-ed80-47be-b892-f2ffb52593fd","MachineId":"f7",
                "Hostname":"desktop","Status":"Succeeded","Creation time":"2022-02-17T08:20:02.6180466Z"}"#,
        )
        .unwrap();
        assert_eq!(action.device.as_deref(), Some("desktop"));
        assert!(action.created.is_some());
    }

    #[test]
    fn input_without_an_action_is_rejected() {
        assert!(matches!(
            Action::from_json(b"{"),
            Err(MalformedAction::NotJson(_))
        ));
        assert_eq!(Action::from_json(b"[]"), Err(MalformedAction::NotAnObject));
        assert_eq!(
            Action::from_json(b"{\"id\":\"x\"}"),
            Err(MalformedAction::NoId)
        );
    }
}
