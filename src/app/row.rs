//! What the use cases answer with: one struct a row, the same names in JSON,
//! CSV, the page and the terminal. These names stay.

use serde::Serialize;

use crate::evidence::{
    ActionId, CommandIndex, GapReason, Locator, ProblemKind, ResultKey, ResultKind, Seq, Sha256,
    Time,
};

/// Which result or member a row is about, in the same words in every answer.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    /// The printed form, which `show` takes.
    #[serde(rename = "ref")]
    pub reference: String,
    pub action_id: ActionId,
    pub command_index: CommandIndex,
    /// From 1; null where there are no bytes.
    pub version: Option<u32>,
    pub device: Option<String>,
    pub machine_id: Option<String>,
}

impl Place {
    pub fn of(at: &Locator, device: Option<String>, machine_id: Option<String>) -> Self {
        Self {
            reference: at.to_string(),
            version: Some(at.id.version.0),
            ..Self::missing(at.id.key, device, machine_id)
        }
    }

    /// Of a result that is not there.
    pub fn missing(key: ResultKey, device: Option<String>, machine_id: Option<String>) -> Self {
        Self {
            reference: key.to_string(),
            action_id: key.action,
            command_index: key.index,
            version: None,
            device,
            machine_id,
        }
    }
}

/// Where a result stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In the archive, whole.
    Sealed,
    /// Not there, and it is known why.
    Gap,
    /// Not there yet.
    Pending,
}

impl State {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Gap => "gap",
            Self::Pending => "pending",
        }
    }
}

/// A result: one version of it, or its absence.
#[derive(Clone, Debug, Serialize)]
pub struct ListRow {
    #[serde(flatten)]
    pub place: Place,
    pub kind: ResultKind,
    pub script: Option<String>,
    pub path: Option<String>,
    /// Of the script; null until the result is indexed.
    pub exit_code: Option<i64>,
    /// The command's end, else its start.
    pub time: Option<Time>,
    pub requestor: Option<String>,
    pub comment: Option<String>,
    pub collected_at: Option<Time>,
    pub state: State,
    /// Why it is not there.
    pub reason: Option<GapReason>,
    /// **Units**: bytes as downloaded.
    pub bytes: Option<u64>,
    /// Of the bytes as downloaded.
    pub sha256: Option<Sha256>,
    /// Place in the journal.
    pub seq: Option<Seq>,
}

/// A result that is not there.
#[derive(Clone, Debug, Serialize)]
pub struct GapRow {
    #[serde(flatten)]
    pub place: Place,
    pub kind: ResultKind,
    pub script: Option<String>,
    pub path: Option<String>,
    pub time: Option<Time>,
    pub reason: GapReason,
    /// What was attempted and what came back.
    pub detail: String,
    pub noted_at: Time,
    /// Whether collecting again may still bring it.
    pub worth_retrying: bool,
}

/// Something wrong inside the evidence.
#[derive(Clone, Debug, Serialize)]
pub struct ProblemRow {
    #[serde(flatten)]
    pub place: Place,
    pub kind: ProblemKind,
    pub message: String,
    /// Whether a search may have missed something because of it.
    pub hides_text: bool,
}

/// A place where a search matched.
#[derive(Clone, Debug, Serialize)]
pub struct HitRow {
    #[serde(flatten)]
    pub place: Place,
    pub script: Option<String>,
    pub time: Option<Time>,
    pub member: String,
    /// From 1, in the decoded text.
    pub line: u64,
    /// Of the match: bytes in the decoded text (UTF-8), from 0.
    pub offset: u64,
    /// The line, up to 64 KiB around the match.
    pub text: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub text_truncated: bool,
    /// **Units**: bytes of the whole line, where `text` is not all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_bytes: Option<u64>,
    pub member_sha256: Sha256,
    /// Byte ranges of `text` that matched.
    #[serde(skip)]
    pub spans: Vec<std::ops::Range<usize>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

/// How many hits, for one value of a field or for all.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CountRow {
    /// Empty where a member has none, or where nothing was counted by.
    pub value: String,
    #[serde(skip)]
    pub by_field: bool,
    pub hits: u64,
    pub members: u64,
    /// Members that match but for the time asked for, and have none.
    pub undated: u64,
}
