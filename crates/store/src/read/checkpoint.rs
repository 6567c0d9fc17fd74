//! The checkpoint of the journal tail.

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::disk::{Disk, read_small, replace};
use crate::error::Attempt;
use crate::format::layout;
use crate::format::pack_index::PackIndexPosition;
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

impl JournalCheckpoint {
    pub(crate) fn read(disk: &dyn Disk) -> Option<Self> {
        let bytes = read_small(disk, layout::BOOKMARK, BOOKMARK_MAX).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub(crate) fn write(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        // A watch looks in every few seconds, and mostly nothing is new.
        if Self::read(disk).as_ref() == Some(self) {
            return Ok(());
        }
        let attempt = || format!("write {}", layout::BOOKMARK);
        let bytes = serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .attempt(attempt)?;
        replace(disk, "", layout::BOOKMARK, &bytes).attempt(attempt)
    }
}
