use std::fmt;

use serde::{Deserialize, Serialize};

/// Something wrong *in the evidence*: kept, counted, shown; never a crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// What is wrong and what was kept in spite of it, for a person: lower
    /// case, no full stop, numbers included.
    pub message: String,
}

impl Problem {
    pub fn new(kind: ProblemKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What can be wrong in evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The bytes end or break before their format says so.
    Damaged,
    /// A checksum or size inside the evidence does not fit what was read.
    ChecksumMismatch,
    /// No password on the list opens the member.
    Encrypted,
    /// A compression method or variant this build cannot read.
    Unsupported,
    /// A named limit cut the reading: what was read until then is kept.
    LimitReached,
    /// The document was not what it claims to be and was repaired to be read.
    Repaired,
    /// The text's encoding was guessed or had bytes that fit none.
    Encoding,
    /// A header says one thing and the bytes another.
    Lying,
}

impl ProblemKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Damaged => "damaged",
            Self::ChecksumMismatch => "checksum-mismatch",
            Self::Encrypted => "encrypted",
            Self::Unsupported => "unsupported",
            Self::LimitReached => "limit-reached",
            Self::Repaired => "repaired",
            Self::Encoding => "encoding",
            Self::Lying => "lying",
        }
    }

    /// Whether some of the evidence could not be read, so that a search that
    /// finds nothing has not searched everything.
    pub fn hides_text(self) -> bool {
        matches!(
            self,
            Self::Damaged | Self::Encrypted | Self::Unsupported | Self::LimitReached
        )
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
