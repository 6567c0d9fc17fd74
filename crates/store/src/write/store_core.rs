//! State that a store shares with its commit thread and its downloads.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::StoreError;
use crate::disk::Disk;
use crate::disk::lock::WriterLock;
use crate::format::archive_file::Archive;
use crate::write::catalogue_db::CatalogueDb;
use crate::write::preconditions::Poison;
use crate::write::queue::{CommitQueue, CommitRequest, PendingReply};
use evidence::ResultKey;

/// **Units**: bytes of the JSON of one entry.
const ENTRY_JSON_MAX: usize = 1 << 20;

pub(crate) struct StoreCore {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) archive: Archive,
    pub(crate) poison: Poison,
    pub(crate) queue: Arc<CommitQueue>,
    catalogue: RwLock<Option<Arc<CatalogueDb>>>,
    downloads: Mutex<HashSet<ResultKey>>,
    lock: Mutex<Option<WriterLock>>,
}

impl StoreCore {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        archive: Archive,
        catalogue: Arc<CatalogueDb>,
        lock: Option<WriterLock>,
    ) -> Self {
        Self {
            disk,
            archive,
            poison: Poison::default(),
            queue: Arc::default(),
            catalogue: RwLock::new(Some(catalogue)),
            downloads: Mutex::default(),
            lock: Mutex::new(lock),
        }
    }

    /// Queues a request for the next commit. Waits while the queue is full.
    pub(crate) fn push(&self, request: CommitRequest) -> Result<PendingReply, StoreError> {
        let entry = request.entry();
        if entry.json.len() > ENTRY_JSON_MAX {
            return Err(StoreError::EntryTooLarge {
                object: format!("the facts of {}", entry.key),
                bytes: entry.json.len() as u64,
                limit: ENTRY_JSON_MAX as u64,
            });
        }
        self.poison.check()?;
        self.queue.push(request)
    }

    pub(crate) fn catalogue(&self) -> Result<Arc<CatalogueDb>, StoreError> {
        self.catalogue
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or(StoreError::Closed)
    }

    /// Registers a download.
    ///
    /// **Errors**: `Busy` if another download of the key is registered.
    pub(crate) fn register_download(&self, key: ResultKey) -> Result<(), StoreError> {
        let mut downloads = self
            .downloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if downloads.insert(key) {
            Ok(())
        } else {
            Err(StoreError::Busy { key })
        }
    }

    pub(crate) fn unregister_download(&self, key: ResultKey) {
        self.downloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&key);
    }

    /// Closes the catalogue database and releases the writer lock.
    pub(crate) fn close(&self) {
        *self
            .catalogue
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
