//! Sealing a result: its outcome, and which bodies are compressed.

use crate::StoreError;
use crate::format::entry::parse_record;
use crate::write::queue::{CommitReceipt, PendingReply};
use evidence::{Facts, Record, ResultKind};

/// **Units**: bytes. A larger body gets its own file.
pub const SMALL_MAX: usize = 1 << 20;

/// Outcome of sealing a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealReceipt {
    Sealed(Record),
    /// The same bytes were sealed under this key before.
    AlreadySealed(Record),
}

impl SealReceipt {
    pub fn record(&self) -> &Record {
        match self {
            Self::Sealed(record) | Self::AlreadySealed(record) => record,
        }
    }

    pub fn into_record(self) -> Record {
        match self {
            Self::Sealed(record) | Self::AlreadySealed(record) => record,
        }
    }
}

/// A submitted body that is not durable yet.
#[must_use = "the body is durable only after `wait` has returned"]
pub struct PendingCommit {
    pub(crate) reply: PendingReply,
}

impl PendingCommit {
    /// Returns when the body is durable.
    pub fn wait(self) -> Result<SealReceipt, StoreError> {
        let CommitReceipt {
            header,
            json,
            is_new,
        } = self.reply.wait()?;
        tracing::debug!(
            target: "store",
            id = %header.id(),
            seq = header.seq.0,
            bytes = header.bytes,
            is_new,
            "result sealed"
        );
        let record = parse_record(&header, &json)?;
        Ok(if is_new {
            SealReceipt::Sealed(record)
        } else {
            SealReceipt::AlreadySealed(record)
        })
    }
}

/// Only transcripts shrink much. Compressed files do not.
pub(crate) fn is_compressible(facts: &Facts, body: &[u8]) -> bool {
    let is_compressed = body.starts_with(b"\x1f\x8b") || body.starts_with(b"PK");
    facts.kind == ResultKind::Transcript && !is_compressed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uncompressed_transcripts_are_compressible() {
        let origin = evidence::Origin::Import { path: "a".into() };
        let transcript = Facts::new(ResultKind::Transcript, origin.clone());
        let file = Facts::new(ResultKind::File, origin);
        assert!(is_compressible(&transcript, b"{}"));
        assert!(!is_compressible(&transcript, b"\x1f\x8b\x08"));
        assert!(!is_compressible(&transcript, b"PK\x03\x04"));
        assert!(!is_compressible(&file, b"{}"));
    }
}
