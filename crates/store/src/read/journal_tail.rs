//! Reads the entries committed after a checkpoint, so that a search on a large
//! archive does not read every pack index first.

use std::path::Path;
use std::sync::Arc;

use crate::StoreError;
use crate::disk::Disk;
use crate::disk::fs::FsDisk;
use crate::format::entry::{CustodyEvent, SealedResult};
use crate::read::catalogue::Catalogue;
use crate::read::catalogue_state::CatalogueState;
use crate::read::checkpoint::JournalCheckpoint;
use evidence::Seq;

/// The end of the journal, from a checkpoint on.
pub struct JournalTail {
    catalogue: Catalogue,
    from: Seq,
}

impl JournalTail {
    /// Opens the entries after the checkpoint of the archive in `dir`. Without
    /// a valid checkpoint, opens all entries.
    ///
    /// **Cost**: some file operations for each pack index, and a read of the
    /// new entries.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(FsDisk::new(dir)), dir)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        if let Some(checkpoint) = JournalCheckpoint::read(&*disk)
            && let Some(state) = CatalogueState::after(&*disk, &checkpoint)?
        {
            let catalogue = Catalogue::resume(disk.clone(), dir, state)?;
            if catalogue.archive_id() == checkpoint.archive && !catalogue.is_damaged() {
                return Ok(Self {
                    catalogue,
                    from: checkpoint.seq,
                });
            }
        }
        Ok(Self {
            catalogue: Catalogue::open_on(disk, dir)?,
            from: Seq::ZERO,
        })
    }

    pub fn archive_id(&self) -> [u8; 16] {
        self.catalogue.archive_id()
    }

    pub fn generation(&self) -> u64 {
        self.catalogue.generation()
    }

    pub fn last_seq(&self) -> Seq {
        self.catalogue.last_seq().max(self.from)
    }

    /// The results sealed after `seq`, in order; `None` if `seq` is before the
    /// checkpoint.
    pub fn results_since(&self, seq: Seq) -> Option<Vec<SealedResult>> {
        (seq >= self.from).then(|| self.catalogue.results_since(seq))
    }

    /// Notes a custody event, to be merged into the journal by the next writer.
    pub fn note(&self, event: &CustodyEvent) -> Result<(), StoreError> {
        self.catalogue.note(event)
    }
}

impl Catalogue {
    /// Writes a checkpoint at `seq`, for callers that have processed all
    /// entries up to there. It only saves time and may be deleted.
    pub fn write_checkpoint(&self, seq: Seq) -> Result<(), StoreError> {
        match self.checkpoint(seq) {
            Some(checkpoint) => checkpoint.write(&*self.disk),
            None => Ok(()),
        }
    }
}
