use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use evidence::{ResultId, ResultKey};

/// What can go wrong between the archive and its disk.
///
/// Cloneable, because one failed group commit answers many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("no archive in {}", dir.display())]
    NoArchive { dir: PathBuf },
    #[error("archive is being written by process {pid} ({command})")]
    Locked { pid: u32, command: String },
    #[error("archive in {} is format {found}, this build reads {expected}", dir.display())]
    Format {
        dir: PathBuf,
        found: u32,
        expected: u32,
    },
    #[error("could not {attempt}")]
    Io {
        attempt: String,
        #[source]
        source: Arc<io::Error>,
    },
    /// Nothing of what was asked is on disk; the store goes on once there is
    /// room again.
    #[error("disk is full: could not {attempt}")]
    DiskFull { attempt: String },
    /// A sync failed: what the disk holds is unknown until the archive is
    /// opened anew, so nothing more is written.
    #[error("archive takes no more writes since it could not {attempt}")]
    Poisoned { attempt: String },
    #[error("{what} is damaged: {detail}")]
    Damaged { what: String, detail: String },
    #[error("catalogue cannot be used: {detail}")]
    Catalogue { detail: String },
    #[error("archive holds no result {id}")]
    Unknown { id: ResultId },
    #[error("result {key} is being downloaded already")]
    Busy { key: ResultKey },
    #[error("body of {key} has {bytes} bytes, more than the {limit} of a small one")]
    TooLarge {
        key: ResultKey,
        bytes: u64,
        limit: u64,
    },
    #[error("{what} has {bytes} bytes, more than the {limit} the archive takes")]
    FactTooLarge {
        what: String,
        bytes: u64,
        limit: u64,
    },
    #[error("archive was closed")]
    Closed,
}

impl StoreError {
    /// What a person can do about it, where there is something.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoArchive { .. } => {
                Some("name another folder with --archive, or let collect, import or run create one")
            }
            Self::Locked { .. } => Some("wait for it or stop it; reading works meanwhile"),
            Self::DiskFull { .. } => Some("make room; sealed results are kept"),
            Self::Poisoned { .. } => Some("look at the disk, then run the command again"),
            Self::Damaged { .. } => Some("run verify to see everything that is damaged"),
            _ => None,
        }
    }

    /// Whether one thing in the archive cannot be read, of which the rest can.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Io { .. })
    }

    /// Whether room on the disk is all it takes to go on.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    pub(crate) fn io(attempt: impl Into<String>, source: io::Error) -> Self {
        let attempt = attempt.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { attempt },
            _ => Self::Io {
                attempt,
                source: Arc::new(source),
            },
        }
    }

    pub(crate) fn damaged(what: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Damaged {
            what: what.into(),
            detail: detail.into(),
        }
    }
}

/// Says what was attempted where an I/O error comes up.
pub(crate) trait Attempt<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, StoreError>;
}

impl<T> Attempt<T> for io::Result<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::io(what(), source))
    }
}
