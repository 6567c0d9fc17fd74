//! Steps of a session, and the request that starts a session with them.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// One command of a live response session.
///
/// In a [`Playbook`](crate::fleet::Playbook) its texts may contain
/// `{{variables}}`; in a plan they are substituted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SessionStep {
    /// Copies a library file to the device.
    Put { file: String },
    /// Runs a script of the library.
    Run {
        script: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        args: Option<String>,
    },
    /// Fetches a file from the device.
    Get { path: String },
}

/// The path of the call that starts a session, below `/api`.
pub(crate) fn start_path(machine_id: &str) -> String {
    format!("machines/{machine_id}/runliveresponse")
}

impl SessionStep {
    /// Sort key of the order in which the service runs the steps of a session:
    /// put, run, get.
    pub fn rank(&self) -> u8 {
        match self {
            Self::Put { .. } => 0,
            Self::Run { .. } => 1,
            Self::Get { .. } => 2,
        }
    }

    /// The command type in the API: `PutFile`, `RunScript` or `GetFile`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Put { .. } => "PutFile",
            Self::Run { .. } => "RunScript",
            Self::Get { .. } => "GetFile",
        }
    }

    /// The library file that the step needs.
    pub fn library_file(&self) -> Option<&str> {
        match self {
            Self::Put { file } => Some(file),
            Self::Run { script, .. } => Some(script),
            Self::Get { .. } => None,
        }
    }

    /// Whether the step produces a result that can be downloaded.
    pub fn has_result(&self) -> bool {
        !matches!(self, Self::Put { .. })
    }

    /// The parameters, with their names in the API.
    pub(crate) fn params(&self) -> Vec<(&'static str, &str)> {
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

    /// The same for changing them.
    pub(crate) fn params_mut(&mut self) -> Vec<(&'static str, &mut String)> {
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

    /// The command in the body of a request. The service compares parameter
    /// names case-sensitively.
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

/// The body of the request that starts a session with these steps.
pub(crate) fn start_body(steps: &[SessionStep], comment: &str) -> Value {
    let commands: Vec<_> = steps.iter().map(SessionStep::to_json).collect();
    json!({"Commands": commands, "Comment": comment})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_body_has_the_exact_parameter_names_of_the_api() {
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
            start_body(&steps, "CASE-42").to_string(),
            r#"{"Commands":[{"params":[{"key":"FileName","value":"kape.zip"}],"type":"PutFile"},{"params":[{"key":"ScriptName","value":"run.ps1"},{"key":"Args","value":"-Out C:\\Temp"}],"type":"RunScript"},{"params":[{"key":"Path","value":"C:\\Temp\\out.zip"}],"type":"GetFile"}],"Comment":"CASE-42"}"#
        );
    }
}
