//! Checkpoint of the journal tail, stored in `bookmark.json`.

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::disk::{Disk, read_small, replace};
use crate::error::IoContext;
use crate::format::layout;
use crate::format::pack_index::PackIndexPosition;
use evidence::Seq;

/// **Units**: bytes. A pack index takes about sixty, and there is one for each
/// 4 GiB of small bodies.
const CHECKPOINT_MAX: usize = 4 << 20;

/// For each pack index, the offset of the first entry after `seq`.
///
/// Derived. If it is missing or damaged, or refers to replaced pack indexes,
/// all entries are read.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalCheckpoint {
    pub(crate) archive: [u8; 16],
    pub(crate) seq: Seq,
    pub(crate) lists: Vec<PackIndexPosition>,
    /// All packs up to this number are in a pack index.
    pub(crate) pack: u32,
}

impl JournalCheckpoint {
    pub(crate) fn read(disk: &dyn Disk) -> Option<Self> {
        let bytes = read_small(disk, layout::CHECKPOINT, CHECKPOINT_MAX).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    pub(crate) fn write(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        // `--watch` calls this every few seconds, mostly without new entries.
        if Self::read(disk).as_ref() == Some(self) {
            return Ok(());
        }
        let attempt = || format!("write {}", layout::CHECKPOINT);
        let bytes = serde_json::to_vec(self)
            .map_err(std::io::Error::from)
            .attempt(attempt)?;
        replace(disk, "", layout::CHECKPOINT, &bytes).attempt(attempt)
    }
}
