//! The error type of this crate.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use evidence::{ResultId, ResultKey};

/// A failed operation on the archive.
///
/// Cloneable, because a failed group commit is reported to many callers.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    #[error("could not open archive {}: no archive there", dir.display())]
    NoArchive { dir: PathBuf },
    #[error("could not lock the archive: process {pid} ({command}) is writing to it")]
    Locked { pid: u32, command: String },
    #[error("could not open archive {}: it has format {found}, this build reads format {expected}", dir.display())]
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
    /// Nothing of the operation is on disk. The store accepts writes again when
    /// there is enough free disk space.
    #[error("could not {attempt}: disk full")]
    DiskFull { attempt: String },
    /// A sync failed, or a write to a pack index or the catalogue. The store
    /// writes nothing more, because the content of the disk is unknown until the
    /// archive is reopened.
    #[error("archive rejects writes after a failed operation: could not {attempt}")]
    Poisoned { attempt: String },
    #[error("{object} is damaged: {detail}")]
    Damaged { object: String, detail: String },
    #[error("could not use the catalogue database: {detail}")]
    Catalogue { detail: String },
    #[error("could not read result {id}: it is not in the archive")]
    Unknown { id: ResultId },
    #[error("could not start a download of {key}: another one is active")]
    Busy { key: ResultKey },
    #[error("could not seal {key} as a small body: it has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        key: ResultKey,
        bytes: u64,
        limit: u64,
    },
    #[error("could not store {object}: it has {bytes} bytes, the limit is {limit}")]
    EntryTooLarge {
        object: String,
        bytes: u64,
        limit: u64,
    },
    #[error("could not use the archive: it is closed")]
    Closed,
}

impl StoreError {
    /// The next step for the user, if there is one.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoArchive { .. } => Some(
                "pass another directory with --archive, or create an archive with collect, import or run",
            ),
            Self::Locked { .. } => {
                Some("wait for that process or stop it; reading works meanwhile")
            }
            Self::DiskFull { .. } => Some("free disk space; sealed results are kept"),
            Self::Poisoned { .. } => Some("check the disk, then run the command again"),
            Self::Damaged { .. } => Some("list all damage with verify"),
            _ => None,
        }
    }

    /// Whether the error concerns one entry or file, while the rest of the
    /// archive may be readable.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Io { .. })
    }

    /// Whether the operation can be repeated once there is free disk space.
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

    pub(crate) fn damaged(object: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Damaged {
            object: object.into(),
            detail: detail.into(),
        }
    }
}

/// Adds the attempted operation, such as "read packs/00000001.pack", to an I/O
/// error.
pub(crate) trait IoContext<T> {
    fn attempt(self, operation: impl FnOnce() -> String) -> Result<T, StoreError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn attempt(self, operation: impl FnOnce() -> String) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::io(operation(), source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_the_operation_the_object_and_the_cause() {
        let key = "5382f7ea-cd43-4a2e-9e0b-0123456789ab/2".parse().unwrap();
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let messages = [
            StoreError::Locked {
                pid: 7,
                command: "collect".into(),
            },
            StoreError::io("write packs/00000001.pack", full),
            StoreError::damaged("archive.json", "`id` is not a valid id"),
            StoreError::Busy { key },
            StoreError::TooLarge {
                key,
                bytes: 9,
                limit: 8,
            },
        ]
        .map(|error| error.to_string());
        assert_eq!(
            messages,
            [
                "could not lock the archive: process 7 (collect) is writing to it",
                "could not write packs/00000001.pack: disk full",
                "archive.json is damaged: `id` is not a valid id",
                "could not start a download of 5382f7ea-cd43-4a2e-9e0b-0123456789ab/2: \
                 another one is active",
                "could not seal 5382f7ea-cd43-4a2e-9e0b-0123456789ab/2 as a small body: \
                 it has 9 bytes, the limit is 8",
            ]
        );
    }
}
