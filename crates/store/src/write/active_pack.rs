//! The shared pack that new entries are appended to, and its pack index.

use std::sync::Arc;

use crate::StoreError;
use crate::disk::{Disk, DiskFile};
use crate::error::IoContext;
use crate::format::archive_file::Archive;
use crate::format::entry::{EntryHeader, EntryLocation, PackEntry};
use crate::format::frame::{FramedBody, mask_frames};
use crate::format::header::{FILE_HEADER_LEN, FileKind};
use crate::format::mask::Mask;
use crate::format::pack_index::PackIndex;
use crate::format::{layout, trailer};
use crate::write::preconditions::Poison;

/// **Units**: bytes. A shared pack of this length gets no more entries.
const PACK_MAX: u64 = 4 << 30;

pub(crate) struct ActivePack {
    pub(crate) number: u32,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) mask: Mask,
    /// Offset after the last entry.
    pub(crate) end: u64,
    pub(crate) index: PackIndex,
}

impl ActivePack {
    /// Creates a pack and its pack index. Both are durable on return.
    pub(crate) fn create(
        disk: &dyn Disk,
        archive: &Archive,
        number: u32,
    ) -> Result<Self, StoreError> {
        let name = layout::pack(number);
        let attempt = || format!("create {name}");
        let header = archive.new_header(FileKind::Shared)?;
        let file = disk.create(&name).attempt(attempt)?;
        file.write_at(&header.to_bytes(), 0).attempt(attempt)?;
        file.sync().attempt(attempt)?;
        let index = PackIndex::create(
            disk,
            number,
            layout::pack_index(number),
            &archive.new_header(FileKind::PackIndex)?,
        )?;
        disk.sync_folder(layout::PACKS).attempt(attempt)?;
        Ok(Self {
            number,
            file,
            mask: header.mask,
            end: FILE_HEADER_LEN,
            index,
        })
    }

    /// Whether the pack gets more entries.
    pub(crate) fn is_open(&self) -> bool {
        self.end < PACK_MAX
    }

    /// Whether `bytes` more stay within the limit.
    pub(crate) fn fits(&self, bytes: u64) -> bool {
        self.end + bytes <= PACK_MAX
    }

    /// Encodes entries for the end of the pack: masked frames and trailers.
    pub(crate) fn encode<'a>(
        &self,
        entries: impl Iterator<Item = (EntryHeader, &'a [u8], &'a FramedBody)>,
    ) -> (Vec<u8>, Vec<PackEntry>) {
        let mut bytes = Vec::new();
        let encoded = entries
            .map(|(header, json, body)| {
                let at = bytes.len();
                let start = self.end + at as u64;
                bytes.extend_from_slice(&body.frames);
                if let Some(frames) = bytes.get_mut(at..) {
                    mask_frames(frames, &self.mask, start);
                }
                let trailer = trailer::write(
                    &header,
                    &body.digests,
                    json,
                    &self.mask,
                    start + header.stored,
                    &mut bytes,
                );
                PackEntry {
                    header,
                    location: EntryLocation {
                        pack: self.number,
                        start,
                        trailer,
                    },
                    json: json.to_vec(),
                }
            })
            .collect();
        (bytes, encoded)
    }

    /// Appends encoded entries to the pack and then to the pack index, each
    /// followed by a sync.
    ///
    /// **Errors**: after a failed write the pack has its former length. A failed
    /// sync poisons the store.
    pub(crate) fn append(
        &mut self,
        bytes: &[u8],
        entries: &[PackEntry],
        poison: &Poison,
    ) -> Result<(), StoreError> {
        let name = layout::pack(self.number);
        if let Err(e) = self.file.write_at(bytes, self.end) {
            return Err(match self.file.set_len(self.end) {
                Ok(()) => StoreError::io(format!("write {name}"), e),
                Err(e) => poison.set(StoreError::io(format!("truncate {name}"), e)),
            });
        }
        self.file
            .sync()
            .attempt(|| format!("sync {name}"))
            .map_err(|e| poison.set(e))?;
        tracing::trace!(target: "store", pack = self.number, bytes = bytes.len(), "pack synced");
        self.end += bytes.len() as u64;
        self.index.append(entries).map_err(|e| poison.set(e))?;
        tracing::trace!(target: "store", pack = self.number, entries = entries.len(), "pack index synced");
        Ok(())
    }
}
