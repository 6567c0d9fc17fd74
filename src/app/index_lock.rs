//! One writer of the index at a time, whoever it is: a watch, an import, a
//! search that waits. The archive's own lock does not do, since catching up
//! goes on when the archive is closed.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::app::error::{Failure, FailureKind};

/// Beside the index and not in it: its writer removes what it does not know.
const NAME: &str = "index.lock";

/// Held while the index is written; the system lets go of it when the writer
/// dies.
pub(super) struct IndexLock {
    _file: File,
}

impl IndexLock {
    /// Waits for whoever holds it.
    pub(super) fn acquire(archive: &Path) -> Result<Self, Failure> {
        let file = open(archive)?;
        file.lock().map_err(|e| failed(archive, e))?;
        Ok(Self { _file: file })
    }

    /// `None` where another writer holds it.
    pub(super) fn try_acquire(archive: &Path) -> Result<Option<Self>, Failure> {
        let file = open(archive)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(failed(archive, e)),
        }
    }
}

fn open(archive: &Path) -> Result<File, Failure> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(archive.join(NAME))
        .map_err(|e| failed(archive, e))
}

fn failed(archive: &Path, error: std::io::Error) -> Failure {
    let path = archive.join(NAME);
    let what = format!("could not lock the index by {}", path.display());
    Failure::caused(FailureKind::Environment, what, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_writer_is_told_until_the_first_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let first = IndexLock::acquire(dir.path()).unwrap();
        assert!(IndexLock::try_acquire(dir.path()).unwrap().is_none());
        drop(first);
        assert!(IndexLock::try_acquire(dir.path()).unwrap().is_some());
    }
}
