//! Records of results: sealed ones and gaps, with their facts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{ResultId, ResultKey, Seq, Sha256, Time};

/// Kind of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultKind {
    /// JSON document that a RunScript produced.
    Transcript,
    /// File that a GetFile fetched.
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

/// Source of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Downloaded from the API at this host.
    Api { host: String },
    /// Imported from this path below the imported folder, joined with `/`.
    Import { path: String },
}

/// Metadata of a result: device, command, requestor, times, and response
/// headers. Stored together with the bytes, so that a pack can be understood
/// without any other file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    pub kind: ResultKind,
    pub origin: Origin,
    /// Name of the device as the service wrote it, often fully qualified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<String>,
    /// Script of a RunScript.
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
    /// Selected response headers as received; names in lower case.
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

    /// End of the command, else its start.
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

/// A sealed result. Exists exactly if its bytes are complete and match the hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub id: ResultId,
    pub seq: Seq,
    /// **Units**: bytes as downloaded.
    pub bytes: u64,
    /// Hash of the bytes as downloaded.
    pub sha256: Sha256,
    pub collected_at: Time,
    pub facts: Facts,
}

/// Reason of a gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GapReason {
    /// The command did not complete: it was cancelled, timed out, failed before
    /// it wrote output, or followed a command that failed.
    NeverProduced,
    /// The service has no bytes for a completed command.
    BlobMissing,
    /// The service no longer knows the action or the result.
    Expired,
    /// The service refused access: permission or policy.
    Refused,
    /// Every attempt was interrupted or delivered damaged data. A later attempt
    /// may succeed.
    Unreachable,
    /// The data differs from the hash or length given by the server.
    Damaged,
    /// Produced, but not among the imported files.
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

    /// Whether collecting again can still close the gap.
    pub fn worth_retrying(self) -> bool {
        !matches!(self, Self::NeverProduced)
    }
}

impl fmt::Display for GapReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A missing result with the reason. Journaled like evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    pub key: ResultKey,
    pub reason: GapReason,
    /// Text for a person: what was attempted and how it failed. Contains no link.
    pub detail: String,
    pub noted_at: Time,
    pub facts: Facts,
}
