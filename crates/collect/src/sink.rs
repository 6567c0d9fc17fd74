use std::sync::Arc;

use evidence::{Action, Facts, Gap, GapReason, ResultKey, Sha256, Time, Version};

/// What the collector sees of the archive. Every verb blocks and is called
/// from worker threads, several at a time.
pub trait ResultSink: Send + Sync + 'static {
    /// What is known of a result.
    fn stored_state(&self, key: ResultKey) -> Result<StoredState, SinkError>;

    /// Keeps actions as received; what is already kept is not kept twice. A
    /// whole page comes at once, so that it can be one commit.
    fn record_actions(&self, actions: &[ReceivedAction]) -> Result<(), SinkError>;

    /// Notes results that are not there, and why.
    fn record_gaps(&self, gaps: &[Gap]) -> Result<(), SinkError>;

    /// Opens the download of a result, going on with a partial body where an
    /// earlier one left one.
    fn download(&self, key: ResultKey, facts: Facts) -> Result<Box<dyn BodySink>, SinkError>;

    /// Room for more evidence; `None` where it cannot be told.
    ///
    /// **Units**: bytes.
    fn free_bytes(&self) -> Result<Option<u64>, SinkError> {
        Ok(None)
    }
}

/// A body on its way into the vault. Dropped, it keeps what is synced for the
/// next [`ResultSink::download`] of the same key, and nothing is sealed.
pub trait BodySink: Send {
    /// Bytes held; the next one asked for stands here.
    fn offset(&self) -> u64;

    /// The ETag given to [`BodySink::begin`], also by an earlier process.
    fn etag(&self) -> Option<String>;

    /// Said before the first byte and after every restart.
    fn begin(&mut self, etag: Option<&str>, total: Option<u64>) -> Result<(), SinkError>;

    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkError>;

    /// Forgets every byte: what comes next is the body's first.
    fn restart(&mut self) -> Result<(), SinkError>;

    /// MD5 of all bytes held, where the vault keeps one.
    fn md5(&self) -> Option<[u8; 16]>;

    /// Makes the result evidence; returns when it would survive power loss.
    fn seal(self: Box<Self>, facts: Facts, collected_at: Time) -> Result<SealOutcome, SinkError>;
}

/// What the vault holds for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredState {
    Absent,
    Gap(GapReason),
    Sealed { version: Version, sha256: Sha256 },
}

/// What became of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealOutcome {
    pub version: Version,
    /// The same bytes were sealed before: nothing was added.
    pub already_there: bool,
    pub sha256: Sha256,
    /// **Units**: bytes as downloaded.
    pub bytes: u64,
}

/// An action with its JSON byte for byte as the service sent it.
#[derive(Clone, Debug)]
pub struct ReceivedAction {
    pub action: Arc<Action>,
    pub json: Box<[u8]>,
}

/// What kept the vault from doing as told. Its text holds no link: the vault
/// never sees one.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The collector waits for room and goes on.
    #[error("the disk is full")]
    DiskFull,
    /// Anything else ends the run.
    #[error(transparent)]
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl SinkError {
    pub fn failed(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(source.into())
    }
}
