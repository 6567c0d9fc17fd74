//! The readers' side for whoever knows the rest: what was committed behind a
//! bookmark, so that a search over a large archive does not begin by reading
//! the list of it.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::disk::fs::FsDisk;
use crate::disk::{Disk, read_small, replace};
use crate::error::Attempt;
use crate::format::entry::{CustodyEvent, SealedResult};
use crate::format::layout;
use crate::read::catalogue::Catalogue;
use crate::read::catalogue_state::CatalogueState;
use evidence::Seq;

/// **Units**: bytes. Some sixty a list, and a list a 4 GiB pack.
const BOOKMARK_MAX: usize = 4 << 20;

/// Where in each list the entries behind a Seq begin. Derived: one that is
/// lost, damaged or of lists that were replaced costs a reading of all.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalCheckpoint {
    pub(crate) archive: [u8; 16],
    pub(crate) seq: Seq,
    pub(crate) lists: Vec<PackIndexPosition>,
    /// Packs up to this number are listed.
    pub(crate) pack: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackIndexPosition {
    pub(crate) number: u32,
    /// Drawn by lot for every list that is written.
    pub(crate) nonce: [u8; 12],
    pub(crate) at: u64,
}

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
        if let Some(bookmark) = read(&*disk)
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

fn read(disk: &dyn Disk) -> Option<JournalCheckpoint> {
    let bytes = read_small(disk, layout::BOOKMARK, BOOKMARK_MAX).ok()?;
    serde_json::from_slice(&bytes).ok()
}

impl Catalogue {
    /// UnsyncedBytes a bookmark behind `seq`, for whoever knows everything up to
    /// there. Nothing but time depends on it.
    pub fn write_checkpoint(&self, seq: Seq) -> Result<(), StoreError> {
        let Some(bookmark) = self.bookmark(seq) else {
            return Ok(());
        };
        // A watch looks in every few seconds, and mostly nothing is new.
        if read(&*self.disk).as_ref() == Some(&bookmark) {
            return Ok(());
        }
        let attempt = || format!("write {}", layout::BOOKMARK);
        let bytes = serde_json::to_vec(&bookmark).map_err(std::io::Error::from);
        let bytes = bytes.attempt(attempt)?;
        replace(&*self.disk, "", layout::BOOKMARK, &bytes).attempt(attempt)
    }
}
