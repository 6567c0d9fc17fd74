use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ResultId, ResultKey, Seq, Sha256, Time};

/// What kind of thing a result is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultKind {
    /// The result document of a RunScript.
    Transcript,
    /// A file grabbed by GetFile.
    File,
    /// An investigation package.
    Package,
}

impl ResultKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Transcript => "transcript",
            Self::File => "file",
            Self::Package => "package",
        }
    }
}

impl fmt::Display for ResultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which road a result came by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Downloaded from the API at this host.
    Api { host: String },
    /// Imported from this `/`-joined path below the folder that was named.
    Import { path: String },
}

/// What is known about a result besides its bytes: who ran what where and
/// when, and what the server said of the body. Stands in the store beside the
/// bytes, so that a result explains itself with no other file at hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub kind: ResultKind,
    pub origin: Origin,
    /// Name of the device as the service wrote it, often fully qualified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Script of a RunScript, with its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<String>,
    /// Path on the device of a GetFile, or of the imported file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command_status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requestor: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Response headers worth keeping, names in lower case, as received.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

impl Facts {
    pub fn new(kind: ResultKind, origin: Origin) -> Self {
        Self {
            kind,
            origin,
            device: None,
            machine_id: None,
            script: None,
            args: None,
            path: None,
            started: None,
            ended: None,
            command_status: None,
            action_status: None,
            requestor: None,
            comment: None,
            headers: Vec::new(),
        }
    }

    /// The command's end, else its start.
    pub fn time(&self) -> Option<&Time> {
        self.ended.as_ref().or(self.started.as_ref())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// A sealed result: exists exactly when its bytes are whole and match the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: ResultId,
    pub seq: Seq,
    /// **Units**: bytes as downloaded.
    pub bytes: u64,
    /// Of the bytes as downloaded.
    pub sha256: Sha256,
    pub collected_at: Time,
    pub facts: Facts,
}

/// Why a result is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The command never completed: cancelled, timed out, failed before it
    /// wrote anything, or stood behind one that failed.
    NeverProduced,
    /// The service has no bytes for a command it calls completed.
    BlobMissing,
    /// The service no longer knows the action or the result.
    Expired,
    /// The service refused: permission, policy.
    Refused,
    /// Every attempt broke off or came damaged; asking again may help.
    Unreachable,
    /// What came differs from the hash or length the server gave for it.
    Damaged,
    /// Produced, but not among the files that were imported.
    NotImported,
}

impl GapReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NeverProduced => "never-produced",
            Self::BlobMissing => "blob-missing",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Damaged => "damaged",
            Self::NotImported => "not-imported",
        }
    }

    /// Whether collecting again may still bring the result.
    pub fn worth_retrying(self) -> bool {
        !matches!(self, Self::NeverProduced)
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A result that is not there, and why. Journaled like evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub key: ResultKey,
    pub reason: GapReason,
    /// What was attempted and what came back, for a person. Holds no link.
    pub detail: String,
    pub noted_at: Time,
    pub facts: Facts,
}
