//! Preconditions of every write: no sync has failed, and there is enough free
//! disk space.

use std::sync::{Arc, OnceLock};

use crate::StoreError;
use crate::disk::Disk;
use crate::error::IoContext;

/// **Units**: bytes that stay free. Pack index and catalogue can then always be
/// written after the packs.
pub(crate) const RESERVE: u64 = 16 << 20;

/// Set by the first failed sync, or failed write to a pack index or the
/// catalogue. The content of the disk is unknown afterwards.
///
/// Contains the failed operation. Shared by the commit thread and all downloads
/// of a store.
#[derive(Clone, Default)]
pub(crate) struct Poison(Arc<OnceLock<String>>);

impl Poison {
    /// Rejects all writes from now on. Returns the error to report.
    pub(crate) fn set(&self, cause: StoreError) -> StoreError {
        let attempt = match cause {
            StoreError::Io { attempt, source } => format!("{attempt}: {source}"),
            StoreError::DiskFull { attempt } | StoreError::Poisoned { attempt } => attempt,
            StoreError::Catalogue { detail } => format!("use the catalogue database: {detail}"),
            other => format!("write: {other}"),
        };
        tracing::info!(target: "store", "an operation failed, rejecting further writes");
        StoreError::Poisoned {
            attempt: self.0.get_or_init(|| attempt).clone(),
        }
    }

    /// **Errors**: `Poisoned` after such a failure.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.0.get() {
            None => Ok(()),
            Some(attempt) => Err(StoreError::Poisoned {
                attempt: attempt.clone(),
            }),
        }
    }
}

/// **Errors**: `DiskFull` if writing `bytes` would leave less than [`RESERVE`].
pub(crate) fn check_free_space(disk: &dyn Disk, bytes: u64) -> Result<(), StoreError> {
    let free = disk
        .free()
        .attempt(|| "determine the free disk space".into())?;
    if free >= bytes.saturating_add(RESERVE) {
        return Ok(());
    }
    Err(StoreError::DiskFull {
        attempt: format!(
            "write {bytes} bytes ({free} bytes are free, {RESERVE} are reserved for the catalogue)"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poison_reports_the_first_failed_operation() {
        let poison = Poison::default();
        assert!(poison.check().is_ok());
        let sync = std::io::Error::other("bad sector");
        let expected = "archive rejects writes after a failed operation: \
                        could not sync packs/00000003.pack: bad sector";
        let first = poison.set(StoreError::io("sync packs/00000003.pack", sync));
        assert_eq!(first.to_string(), expected);
        let detail = "it is gone".into();
        let second = poison.set(StoreError::Catalogue { detail });
        assert_eq!(second.to_string(), expected);
        assert_eq!(poison.check().unwrap_err().to_string(), expected);
    }
}
