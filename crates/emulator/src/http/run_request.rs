//! What a run asks for, read as strictly as the service reads it: names in
//! their exact case, the commands in their order, nothing it does not know.

use serde_json::{Map, Value, json};

/// In `Args` the service refuses these.
const FORBIDDEN: [char; 5] = [';', '&', '|', '!', '$'];

/// The body of a run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RunRequestBody {
    pub comment: String,
    pub steps: Vec<SessionCommand>,
}

/// One command asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionCommand {
    Put { file: String },
    Script { name: String, args: String },
    Get { path: String },
}

/// Why a body is refused: 400 with a code and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidRequest {
    pub code: &'static str,
    pub message: String,
}

fn refused<T>(code: &'static str, message: impl Into<String>) -> Result<T, InvalidRequest> {
    let message = message.into();
    Err(InvalidRequest { code, message })
}

fn invalid<T>(message: impl Into<String>) -> Result<T, InvalidRequest> {
    refused("InvalidRequestBody", message)
}

fn missing<T>(name: &str) -> Result<T, InvalidRequest> {
    let message = format!("Required parameter '{name}' is missing.");
    refused("MissingRequiredParameter", message)
}

impl RunRequestBody {
    pub(crate) fn read(body: &[u8]) -> Result<Self, InvalidRequest> {
        let object = object_of(body)?;
        known(&object, &["Commands", "Comment"])?;
        let comment = comment_of(&object)?;
        let Some(commands) = object.get("Commands") else {
            return missing("Commands");
        };
        let Some(commands) = commands.as_array().filter(|list| !list.is_empty()) else {
            return invalid("Commands must be a list of at least one command.");
        };
        let steps = commands
            .iter()
            .map(SessionCommand::read)
            .collect::<Result<_, _>>()?;
        let order = Self { comment, steps };
        order.is_sorted()?;
        Ok(order)
    }

    fn is_sorted(&self) -> Result<(), InvalidRequest> {
        match self.steps.is_sorted_by_key(SessionCommand::rank) {
            true => Ok(()),
            false => refused(
                "InvalidInput",
                "Commands must be in the order PutFile, RunScript, GetFile.",
            ),
        }
    }

    /// The same for the same commands and comment, and for no others.
    pub(crate) fn digest(&self, machine: &str) -> [u8; 32] {
        self.digest_with(machine, &self.comment)
    }

    /// The same for the same commands, whatever the comment.
    pub(crate) fn work(&self, machine: &str) -> [u8; 32] {
        self.digest_with(machine, "")
    }

    fn digest_with(&self, machine: &str, comment: &str) -> [u8; 32] {
        let steps: Vec<_> = self.steps.iter().map(SessionCommand::json).collect();
        let text = json!([machine, comment, steps]).to_string();
        *blake3::hash(text.as_bytes()).as_bytes()
    }
}

/// The comment of a body that holds nothing else.
pub(crate) fn comment_alone(body: &[u8]) -> Result<String, InvalidRequest> {
    let object = object_of(body)?;
    known(&object, &["Comment"])?;
    comment_of(&object)
}

fn object_of(body: &[u8]) -> Result<Map<String, Value>, InvalidRequest> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => invalid("The request body is no object."),
        Err(error) => invalid(format!("The request body is not valid JSON: {error}.")),
    }
}

fn known(object: &Map<String, Value>, names: &[&str]) -> Result<(), InvalidRequest> {
    match object.keys().find(|key| !names.contains(&key.as_str())) {
        Some(key) => invalid(format!("Unknown property '{key}' in the request body.")),
        None => Ok(()),
    }
}

fn comment_of(object: &Map<String, Value>) -> Result<String, InvalidRequest> {
    match object.get("Comment") {
        None | Some(Value::Null) => missing("Comment"),
        Some(Value::String(text)) if text.trim().is_empty() => missing("Comment"),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => invalid("Comment must be a string."),
    }
}

impl SessionCommand {
    fn read(value: &Value) -> Result<Self, InvalidRequest> {
        let Some(object) = value.as_object() else {
            return invalid("A command must be an object.");
        };
        known(object, &["type", "params"])?;
        let Some(kind) = object.get("type") else {
            return missing("type");
        };
        let mut params = params_of(object)?;
        let step = match kind.as_str() {
            Some("PutFile") => Self::Put {
                file: required(&mut params, "FileName")?,
            },
            Some("RunScript") => Self::Script {
                name: required(&mut params, "ScriptName")?,
                args: take(&mut params, "Args").unwrap_or_default(),
            },
            Some("GetFile") => Self::Get {
                path: required(&mut params, "Path")?,
            },
            _ => return invalid(format!("Unknown command type {kind}.")),
        };
        if let Some((key, _)) = params.first() {
            return invalid(format!("Unexpected or repeated parameter '{key}'."));
        }
        if let Self::Script { args, .. } = &step
            && let Some(sign) = args.chars().find(|c| FORBIDDEN.contains(c))
        {
            return refused("InvalidInput", format!("Args must not contain '{sign}'."));
        }
        Ok(step)
    }

    /// Its place in the order the service asks for.
    fn rank(&self) -> u8 {
        match self {
            Self::Put { .. } => 0,
            Self::Script { .. } => 1,
            Self::Get { .. } => 2,
        }
    }

    /// What it needs from the library.
    pub(crate) fn file(&self) -> Option<&str> {
        match self {
            Self::Put { file } => Some(file),
            Self::Script { name, .. } => Some(name),
            Self::Get { .. } => None,
        }
    }

    /// As a machine action shows it.
    pub(crate) fn json(&self) -> Value {
        let param = |key: &str, value: &str| json!({"key": key, "value": value});
        let (kind, params) = match self {
            Self::Put { file } => ("PutFile", vec![param("FileName", file)]),
            Self::Script { name, args } if args.is_empty() => {
                ("RunScript", vec![param("ScriptName", name)])
            }
            Self::Script { name, args } => (
                "RunScript",
                vec![param("ScriptName", name), param("Args", args)],
            ),
            Self::Get { path } => ("GetFile", vec![param("Path", path)]),
        };
        json!({"type": kind, "params": params})
    }
}

type Params = Vec<(String, String)>;

fn params_of(object: &Map<String, Value>) -> Result<Params, InvalidRequest> {
    let Some(params) = object.get("params") else {
        return missing("params");
    };
    let Some(params) = params.as_array() else {
        return invalid("params must be a list.");
    };
    let pair = |param: &Value| {
        let Some(param) = param.as_object() else {
            return invalid("A parameter must be an object.");
        };
        known(param, &["key", "value"])?;
        let text = |name| param.get(name).and_then(Value::as_str).map(str::to_string);
        match (text("key"), text("value")) {
            (Some(key), Some(value)) => Ok((key, value)),
            _ => invalid("A parameter needs a key and a value, both strings."),
        }
    };
    params.iter().map(pair).collect()
}

fn take(params: &mut Params, name: &str) -> Option<String> {
    let place = params.iter().position(|(key, _)| key == name)?;
    Some(params.remove(place).1)
}

fn required(params: &mut Params, name: &str) -> Result<String, InvalidRequest> {
    match take(params, name) {
        Some(value) if !value.trim().is_empty() => Ok(value),
        _ => missing(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(commands: &str) -> String {
        format!(r#"{{"Commands":[{commands}],"Comment":"CASE-42"}}"#)
    }

    fn command(kind: &str, key: &str, value: &str) -> String {
        format!(r#"{{"type":"{kind}","params":[{{"key":"{key}","value":"{value}"}}]}}"#)
    }

    fn read(body: &str) -> Result<RunRequestBody, String> {
        let order = RunRequestBody::read(body.as_bytes());
        order.map_err(|refused| format!("{}: {}", refused.code, refused.message))
    }

    #[test]
    fn a_good_order_reads_and_repeats_its_commands() {
        let commands = [
            command("PutFile", "FileName", "a.exe"),
            command("RunScript", "ScriptName", "b.ps1"),
            command("RunScript", "ScriptName", "c.ps1"),
            command("GetFile", "Path", "C:\\\\x"),
        ];
        let order = read(&body(&commands.join(","))).unwrap();
        assert_eq!(order.steps.len(), 4);
        assert_eq!(
            order.steps[3],
            SessionCommand::Get {
                path: "C:\\x".into()
            }
        );
        assert_eq!(order.comment, "CASE-42");
    }

    #[test]
    fn every_misspelt_or_misplaced_part_is_refused() {
        let script = command("RunScript", "ScriptName", "b.ps1");
        let get = command("GetFile", "Path", "x");
        for (body, why) in [
            ("nonsense".into(), "not valid JSON"),
            ("[]".into(), "no object"),
            (body(""), "at least one"),
            (body(&script).replace("Commands", "commands"), "'commands'"),
            (body(&script).replace("Comment\"", "comment\""), "'comment'"),
            (
                body(&script).replace("CASE-42", " "),
                "'Comment' is missing",
            ),
            (body(&script).replace("\"type\"", "\"Type\""), "'Type'"),
            (body(&script).replace("params", "Params"), "'Params'"),
            (body(&script).replace("\"key\"", "\"Key\""), "'Key'"),
            (
                body(&script).replace("RunScript", "runscript"),
                "Unknown command",
            ),
            (
                body(&script).replace("ScriptName", "scriptName"),
                "'ScriptName'",
            ),
            (body(&script).replace("b.ps1", ""), "'ScriptName'"),
            (body(&script).replace("\"b.ps1\"", "7"), "both strings"),
            (body(&format!("{get},{script}")), "in the order"),
        ] {
            let refused = read(&body).unwrap_err();
            assert!(refused.contains(why), "{body}: {refused}");
        }
    }

    #[test]
    fn args_hold_none_of_the_forbidden_signs() {
        for sign in FORBIDDEN {
            let params = format!(
                r#"{{"key":"ScriptName","value":"b.ps1"}},{{"key":"Args","value":"-a {sign}"}}"#
            );
            let script = format!(r#"{{"type":"RunScript","params":[{params}]}}"#);
            let refused = read(&body(&script)).unwrap_err();
            assert!(refused.starts_with("InvalidInput"), "{refused}");
        }
    }

    #[test]
    fn a_digest_tells_machines_comments_and_commands_apart() {
        let order = |name: &str| read(&body(&command("GetFile", "Path", name))).unwrap();
        assert_eq!(order("a").digest("m"), order("a").digest("m"));
        assert_ne!(order("a").digest("m"), order("b").digest("m"));
        assert_ne!(order("a").digest("m"), order("a").digest("n"));
        let other = body(&command("GetFile", "Path", "a")).replace("CASE-42", "CASE-43");
        let other = read(&other).unwrap();
        assert_ne!(order("a").digest("m"), other.digest("m"));
        assert_eq!(order("a").work("m"), other.work("m"));
        assert_ne!(order("a").work("m"), order("b").work("m"));
        assert_ne!(order("a").work("m"), order("a").work("n"));
    }
}
