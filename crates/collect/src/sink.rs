//! Interface to the archive: the collector writes bodies, actions and gaps to
//! a [`ResultSink`] and knows nothing else of it.

use std::sync::Arc;

use evidence::{Action, Facts, Gap, GapReason, ResultKey, Sha256, Time, Version};

/// The archive as the collector sees it. All methods block and are called from
/// worker threads, several at a time.
pub trait ResultSink: Send + Sync + 'static {
    /// The stored state of a result.
    fn stored_state(&self, key: ResultKey) -> Result<StoredState, SinkError>;

    /// Stores actions as received; an action that is already stored is not
    /// stored again. Called with a whole page, which can be one commit.
    fn record_actions(&self, actions: &[ReceivedAction]) -> Result<(), SinkError>;

    /// Records missing results with their reasons.
    fn record_gaps(&self, gaps: &[Gap]) -> Result<(), SinkError>;

    /// Opens the download of a result. If an earlier download left a partial
    /// body, it is continued.
    fn download(&self, key: ResultKey, facts: Facts) -> Result<Box<dyn BodySink>, SinkError>;

    /// Free space for results; `None` if it is unknown.
    ///
    /// **Units**: bytes.
    fn free_bytes(&self) -> Result<Option<u64>, SinkError> {
        Ok(None)
    }
}

/// A body that is being written. Dropping it keeps the synced bytes for the
/// next [`ResultSink::download`] of the same key and seals nothing.
pub trait BodySink: Send {
    /// Length of the stored part: the position of the next byte.
    fn offset(&self) -> u64;

    /// The ETag of the last [`BodySink::begin`], which may have been called by
    /// an earlier process.
    fn etag(&self) -> Option<String>;

    /// Called before the first byte and after every restart.
    fn begin(&mut self, etag: Option<&str>, total: Option<u64>) -> Result<(), SinkError>;

    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkError>;

    /// Discards all bytes; the next byte is the first of the body.
    fn restart(&mut self) -> Result<(), SinkError>;

    /// MD5 of all bytes, if the archive computes it.
    fn md5(&self) -> Option<[u8; 16]>;

    /// Seals the result; returns when it would survive a power loss.
    fn seal(self: Box<Self>, facts: Facts, collected_at: Time) -> Result<SealOutcome, SinkError>;
}

/// Stored state of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredState {
    Absent,
    Gap(GapReason),
    Sealed { version: Version, sha256: Sha256 },
}

/// A sealed result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealOutcome {
    pub version: Version,
    /// The archive already contained the same bytes; nothing was added.
    pub already_there: bool,
    pub sha256: Sha256,
    /// **Units**: bytes as downloaded.
    pub bytes: u64,
}

/// An action, with its JSON as received from the service.
#[derive(Clone, Debug)]
pub struct ReceivedAction {
    pub action: Arc<Action>,
    pub json: Box<[u8]>,
}

/// Failure of the archive. Its text contains no link, because the archive
/// never receives one.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The collector waits for space and continues.
    #[error("the disk is full")]
    DiskFull,
    /// Any other failure; it ends the collection.
    #[error(transparent)]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl SinkError {
    pub fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(source.into())
    }
}
