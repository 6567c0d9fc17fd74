//! The readers' side for whoever knows the rest: what was committed behind a
//! bookmark, so that a search over a large archive does not begin by reading
//! the list of it.

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

/// What an archive holds behind a Seq.
pub struct JournalTail {
    catalogue: Catalogue,
    from: Seq,
}

impl JournalTail {
    /// Opens what stands behind the bookmark in `dir`; all there is where none
    /// fits.
    ///
    /// **Cost**: some file operations for each list, and reads what is new.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(FsDisk::new(dir)), dir)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        if let Some(bookmark) = JournalCheckpoint::read(&*disk)
            && let Some(contents) = CatalogueState::behind(&*disk, &bookmark)?
        {
            let catalogue = Catalogue::over(disk.clone(), dir, contents)?;
            if catalogue.archive_id() == bookmark.archive && !catalogue.is_damaged() {
                let from = bookmark.seq;
                return Ok(Self { catalogue, from });
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

    /// The results sealed behind `seq`, in order; `None` where not all of them
    /// are known.
    pub fn results_since(&self, seq: Seq) -> Option<Vec<SealedResult>> {
        (seq >= self.from).then(|| self.catalogue.results_since(seq))
    }

    /// Notes who did what, for the next writer to fold in.
    pub fn note(&self, event: &CustodyEvent) -> Result<(), StoreError> {
        self.catalogue.note(event)
    }
}

impl Catalogue {
    /// UnsyncedBytes a bookmark behind `seq`, for whoever knows everything up to
    /// there. Nothing but time depends on it.
    pub fn write_checkpoint(&self, seq: Seq) -> Result<(), StoreError> {
        match self.checkpoint(seq) {
            Some(checkpoint) => checkpoint.write(&*self.disk),
            None => Ok(()),
        }
    }
}
