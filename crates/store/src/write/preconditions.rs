//! Preconditions of every write: no sync has failed, and there is enough free
//! disk space.

use std::sync::{Arc, OnceLock};

use crate::StoreError;
use crate::disk::Disk;
use crate::error::IoContext;

/// **Units**: bytes that stay free. Pack index and catalogue can then always be
/// written after the packs.
pub(crate) const RESERVE: u64 = 16 << 20;

/// Set by the first failed sync, after which the content of the disk is
/// unknown. Contains the failed operation. Shared by all writers of a store.
#[derive(Clone, Default)]
pub(crate) struct Poison(Arc<OnceLock<String>>);

impl Poison {
    /// Rejects all writes from now on. Returns the error to report.
    pub(crate) fn set(&self, cause: StoreError) -> StoreError {
        let attempt = match cause {
            StoreError::Io { attempt, source } => format!("{attempt}: {source}"),
            StoreError::DiskFull { attempt } => attempt,
            other => other.to_string(),
        };
        tracing::info!(target: "store", "a sync failed, rejecting further writes");
        StoreError::Poisoned {
            attempt: self.0.get_or_init(|| attempt).clone(),
        }
    }

    /// **Errors**: `Poisoned` after a failed sync.
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
