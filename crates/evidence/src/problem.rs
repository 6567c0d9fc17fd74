//! Problems in the evidence.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A defect *in the evidence* or a part of it that was not read. Recorded,
/// counted and shown; never a crash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Problem {
    pub kind: ProblemKind,
    /// Text for a person: the defect, its position, and what was kept. Lower
    /// case, no full stop, with numbers.
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

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The data ends early or is corrupt.
    Damaged,
    /// A checksum or size in the evidence differs from the data read.
    ChecksumMismatch,
    /// No password of the list opens the member.
    Encrypted,
    /// This build does not support the compression method or variant.
    Unsupported,
    /// A named limit was reached. The data read so far is kept.
    LimitReached,
    /// The document was malformed and was repaired in order to read it.
    Repaired,
    /// The encoding was guessed, or some bytes are invalid in it.
    Encoding,
    /// A header contradicts the data.
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

    /// Whether part of the evidence was not read. A search without hits is then
    /// incomplete.
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
