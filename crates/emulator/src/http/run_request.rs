//! Parses the body of a run as strictly as the service: property names in their
//! exact case, commands in their order, no unknown properties.

use serde_json::{Map, Value};

use crate::state::sessions::SessionRequest;
use crate::synthetic::session_command::SessionCommand;

/// Characters that the service rejects in `Args`.
const FORBIDDEN: [char; 5] = [';', '&', '|', '!', '$'];

/// An invalid body: code and message of the 400 response.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidRequest {
    pub code: &'static str,
    pub message: String,
}

fn reject<T>(code: &'static str, message: impl Into<String>) -> Result<T, InvalidRequest> {
    let message = message.into();
    Err(InvalidRequest { code, message })
}

fn invalid<T>(message: impl Into<String>) -> Result<T, InvalidRequest> {
    reject("InvalidRequestBody", message)
}

fn missing<T>(name: &str) -> Result<T, InvalidRequest> {
    let message = format!("Required parameter '{name}' is missing.");
    reject("MissingRequiredParameter", message)
}

/// Parses the body of a run.
pub(crate) fn parse(body: &[u8]) -> Result<SessionRequest, InvalidRequest> {
    let object = parse_object(body)?;
    reject_unknown(&object, &["Commands", "Comment"])?;
    let comment = comment_of(&object)?;
    let Some(commands) = object.get("Commands") else {
        return missing("Commands");
    };
    let Some(commands) = commands.as_array().filter(|list| !list.is_empty()) else {
        return invalid("Commands must be a list of at least one command.");
    };
    let commands = commands
        .iter()
        .map(parse_command)
        .collect::<Result<Vec<_>, _>>()?;
    if !commands.is_sorted_by_key(SessionCommand::rank) {
        let message = "Commands must be in the order PutFile, RunScript, GetFile.";
        return reject("InvalidInput", message);
    }
    Ok(SessionRequest { comment, commands })
}

/// Parses a body that contains only a comment.
pub(crate) fn parse_comment(body: &[u8]) -> Result<String, InvalidRequest> {
    let object = parse_object(body)?;
    reject_unknown(&object, &["Comment"])?;
    comment_of(&object)
}

fn parse_object(body: &[u8]) -> Result<Map<String, Value>, InvalidRequest> {
    match serde_json::from_slice(body) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => invalid("The request body is not an object."),
        Err(error) => invalid(format!("The request body is not valid JSON: {error}.")),
    }
}

fn reject_unknown(object: &Map<String, Value>, names: &[&str]) -> Result<(), InvalidRequest> {
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

fn parse_command(value: &Value) -> Result<SessionCommand, InvalidRequest> {
    let Some(object) = value.as_object() else {
        return invalid("A command must be an object.");
    };
    reject_unknown(object, &["type", "params"])?;
    let Some(kind) = object.get("type") else {
        return missing("type");
    };
    let mut params = parse_params(object)?;
    let command = match kind.as_str() {
        Some("PutFile") => SessionCommand::PutFile {
            name: take_required(&mut params, "FileName")?,
        },
        Some("RunScript") => SessionCommand::RunScript {
            name: take_required(&mut params, "ScriptName")?,
            args: take(&mut params, "Args").unwrap_or_default(),
        },
        Some("GetFile") => SessionCommand::GetFile {
            path: take_required(&mut params, "Path")?,
        },
        _ => return invalid(format!("Unknown command type {kind}.")),
    };
    if let Some((key, _)) = params.first() {
        return invalid(format!("Unexpected or repeated parameter '{key}'."));
    }
    if let SessionCommand::RunScript { args, .. } = &command
        && let Some(character) = args.chars().find(|c| FORBIDDEN.contains(c))
    {
        let message = format!("Args must not contain '{character}'.");
        return reject("InvalidInput", message);
    }
    Ok(command)
}

type Params = Vec<(String, String)>;

fn parse_params(object: &Map<String, Value>) -> Result<Params, InvalidRequest> {
    let Some(params) = object.get("params") else {
        return missing("params");
    };
    let Some(params) = params.as_array() else {
        return invalid("params must be a list.");
    };
    let parse_param = |param: &Value| {
        let Some(param) = param.as_object() else {
            return invalid("A parameter must be an object.");
        };
        reject_unknown(param, &["key", "value"])?;
        let text = |name| param.get(name).and_then(Value::as_str).map(str::to_string);
        match (text("key"), text("value")) {
            (Some(key), Some(value)) => Ok((key, value)),
            _ => invalid("A parameter needs a key and a value, both strings."),
        }
    };
    params.iter().map(parse_param).collect()
}

fn take(params: &mut Params, name: &str) -> Option<String> {
    let position = params.iter().position(|(key, _)| key == name)?;
    Some(params.remove(position).1)
}

fn take_required(params: &mut Params, name: &str) -> Result<String, InvalidRequest> {
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

    fn parse_text(body: &str) -> Result<SessionRequest, String> {
        parse(body.as_bytes()).map_err(|error| format!("{}: {}", error.code, error.message))
    }

    #[test]
    fn valid_body_is_parsed_with_all_commands() {
        let commands = [
            command("PutFile", "FileName", "a.exe"),
            command("RunScript", "ScriptName", "b.ps1"),
            command("RunScript", "ScriptName", "c.ps1"),
            command("GetFile", "Path", "C:\\\\x"),
        ];
        let session = parse_text(&body(&commands.join(","))).unwrap();
        assert_eq!(session.commands.len(), 4);
        assert_eq!(
            session.commands[3],
            SessionCommand::GetFile {
                path: "C:\\x".into()
            }
        );
        assert_eq!(session.comment, "CASE-42");
    }

    #[test]
    fn misspelt_or_misplaced_part_is_rejected() {
        let script = command("RunScript", "ScriptName", "b.ps1");
        let get = command("GetFile", "Path", "x");
        for (body, reason) in [
            ("nonsense".into(), "not valid JSON"),
            ("[]".into(), "not an object"),
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
            let error = parse_text(&body).unwrap_err();
            assert!(error.contains(reason), "{body}: {error}");
        }
    }

    #[test]
    fn forbidden_characters_in_args_are_rejected() {
        for character in FORBIDDEN {
            let params = format!(
                r#"{{"key":"ScriptName","value":"b.ps1"}},{{"key":"Args","value":"-a {character}"}}"#
            );
            let script = format!(r#"{{"type":"RunScript","params":[{params}]}}"#);
            let error = parse_text(&body(&script)).unwrap_err();
            assert!(error.starts_with("InvalidInput"), "{error}");
        }
    }

    #[test]
    fn digest_distinguishes_machine_comment_and_commands() {
        let get = |path: &str| parse_text(&body(&command("GetFile", "Path", path))).unwrap();
        assert_eq!(get("a").digest("m"), get("a").digest("m"));
        assert_ne!(get("a").digest("m"), get("b").digest("m"));
        assert_ne!(get("a").digest("m"), get("a").digest("n"));
        let other = body(&command("GetFile", "Path", "a")).replace("CASE-42", "CASE-43");
        let other = parse_text(&other).unwrap();
        assert_ne!(get("a").digest("m"), other.digest("m"));
        assert_eq!(get("a").command_digest("m"), other.command_digest("m"));
        assert_ne!(get("a").command_digest("m"), get("b").command_digest("m"));
        assert_ne!(get("a").command_digest("m"), get("a").command_digest("n"));
    }
}
