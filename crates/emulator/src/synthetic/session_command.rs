//! The commands of a live response session.

use serde_json::{Value, json};

/// One command of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SessionCommand {
    PutFile { name: String },
    RunScript { name: String, args: String },
    GetFile { path: String },
}

impl SessionCommand {
    /// Rank of the command in the order that the service requires.
    pub(crate) fn rank(&self) -> u8 {
        match self {
            Self::PutFile { .. } => 0,
            Self::RunScript { .. } => 1,
            Self::GetFile { .. } => 2,
        }
    }

    /// The library file that the command needs.
    pub(crate) fn library_file(&self) -> Option<&str> {
        match self {
            Self::PutFile { name } | Self::RunScript { name, .. } => Some(name),
            Self::GetFile { .. } => None,
        }
    }

    /// The command in the JSON of a machine action.
    pub(crate) fn json(&self) -> Value {
        let param = |key: &str, value: &str| json!({"key": key, "value": value});
        let (kind, params) = match self {
            Self::PutFile { name } => ("PutFile", vec![param("FileName", name)]),
            Self::RunScript { name, args } if args.is_empty() => {
                ("RunScript", vec![param("ScriptName", name)])
            }
            Self::RunScript { name, args } => (
                "RunScript",
                vec![param("ScriptName", name), param("Args", args)],
            ),
            Self::GetFile { path } => ("GetFile", vec![param("Path", path)]),
        };
        json!({"type": kind, "params": params})
    }
}
