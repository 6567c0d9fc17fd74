//! One step of a session: what is sent to the service as a command.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A command, with every variable filled in once it stands in a plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SessionStep {
    /// Puts a file of the library on the device.
    Put { file: String },
    /// Runs a script of the library.
    Run {
        script: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        args: Option<String>,
    },
    /// Takes a file from the device.
    Get { path: String },
}

/// Where a session on a machine is started, below `/api`.
pub(crate) fn start_path(machine_id: &str) -> String {
    format!("machines/{machine_id}/runliveresponse")
}

impl SessionStep {
    /// The service takes steps in this order only.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Put { .. } => 0,
            Self::Run { .. } => 1,
            Self::Get { .. } => 2,
        }
    }

    /// The word the service has for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Put { .. } => "PutFile",
            Self::Run { .. } => "RunScript",
            Self::Get { .. } => "GetFile",
        }
    }

    /// The file of the library it needs.
    pub fn library_file(&self) -> Option<&str> {
        match self {
            Self::Put { file } => Some(file),
            Self::Run { script, .. } => Some(script),
            Self::Get { .. } => None,
        }
    }

    /// Whether the service keeps something to be fetched.
    pub fn has_result(&self) -> bool {
        !matches!(self, Self::Put { .. })
    }

    /// Every text in it, with its parameter's name.
    pub(crate) fn texts_mut(&mut self) -> Vec<(&'static str, &mut String)> {
        match self {
            Self::Put { file } => vec![("FileName", file)],
            Self::Run { script, args } => {
                let args = args.as_mut().map(|args| ("Args", args));
                std::iter::once(("ScriptName", script))
                    .chain(args)
                    .collect()
            }
            Self::Get { path } => vec![("Path", path)],
        }
    }

    fn params(&self) -> Vec<(&'static str, &str)> {
        match self {
            Self::Put { file } => vec![("FileName", file)],
            Self::Run { script, args } => {
                let args = args.as_deref().map(|args| ("Args", args));
                std::iter::once(("ScriptName", script.as_str()))
                    .chain(args)
                    .collect()
            }
            Self::Get { path } => vec![("Path", path)],
        }
    }

    /// As the service wants it; names of parameters are case-sensitive.
    fn to_json(&self) -> Value {
        let params: Vec<_> = self
            .params()
            .into_iter()
            .map(|(key, value)| json!({"key": key, "value": value}))
            .collect();
        json!({"type": self.kind(), "params": params})
    }
}

impl fmt::Display for SessionStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { file } => write!(f, "put {file}"),
            Self::Run { script, args: None } => write!(f, "run {script}"),
            Self::Run {
                script,
                args: Some(args),
            } => write!(f, "run {script} {args}"),
            Self::Get { path } => write!(f, "get {path}"),
        }
    }
}

/// The body of the request that runs `steps`.
pub(crate) fn body(steps: &[SessionStep], comment: &str) -> Value {
    let commands: Vec<_> = steps.iter().map(SessionStep::to_json).collect();
    json!({"Commands": commands, "Comment": comment})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_names_the_service_is_strict_about() {
        let steps = [
            SessionStep::Put {
                file: "kape.zip".into(),
            },
            SessionStep::Run {
                script: "run.ps1".into(),
                args: Some("-Out C:\\Temp".into()),
            },
            SessionStep::Get {
                path: "C:\\Temp\\out.zip".into(),
            },
        ];
        assert_eq!(
            body(&steps, "CASE-42").to_string(),
            r#"{"Commands":[{"params":[{"key":"FileName","value":"kape.zip"}],"type":"PutFile"},{"params":[{"key":"ScriptName","value":"run.ps1"},{"key":"Args","value":"-Out C:\\Temp"}],"type":"RunScript"},{"params":[{"key":"Path","value":"C:\\Temp\\out.zip"}],"type":"GetFile"}],"Comment":"CASE-42"}"#
        );
    }
}
