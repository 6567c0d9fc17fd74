//! Recovery: repairs an archive after a crash, when it is opened for writing.
//!
//! Adds entries that are in no pack index, truncates incomplete entries at the
//! end of packs and pack indexes, and rebuilds damaged pack indexes. It never
//! truncates a pack before an intact entry.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::StoreError;
use crate::disk::{Disk, DiskFile};
use crate::error::IoContext;
use crate::format::archive_file::Archive;
use crate::format::entry::PackEntry;
use crate::format::header::{FILE_HEADER_LEN, FileHeader, FileKind};
use crate::format::layout;
use crate::format::pack::read_single_body;
use crate::format::pack_index::{PackIndex, PackIndexEntry};
use crate::format::pack_scan;
use crate::write::active_pack::ActivePack;

/// Entries appended to a pack index at once while a pack is scanned.
const INDEX_BATCH: usize = 1_000;

/// A recovered archive, ready for writing.
pub(crate) struct RecoveredArchive {
    /// The whole journal, in order.
    pub(crate) entries: Vec<PackIndexEntry>,
    pub(crate) active: Option<ActivePack>,
    pub(crate) single_body_index: PackIndex,
    pub(crate) next_pack: u32,
    /// Damage found, as text for a person.
    pub(crate) notices: Vec<String>,
}

pub(crate) fn recover(disk: &dyn Disk, archive: &Archive) -> Result<RecoveredArchive, StoreError> {
    let mut recovery = Recovery {
        disk,
        archive,
        entries: Vec::new(),
        notices: Vec::new(),
    };
    let names = disk
        .list(layout::PACKS)
        .attempt(|| format!("list the directory {}", layout::PACKS))?;
    let numbers = |extension| -> BTreeSet<u32> {
        names
            .iter()
            .filter_map(|name| layout::number(name, extension))
            .collect()
    };
    let (packs, indexes) = (numbers("pack"), numbers("list"));

    let single_body_index = recovery.open_single_body_index()?;
    let indexed_single_bodies: BTreeSet<u32> = recovery
        .entries
        .iter()
        .map(|entry| entry.location.pack)
        .collect();
    let mut active = None;
    let mut unindexed_single_bodies = Vec::new();
    for number in packs.difference(&indexed_single_bodies).copied() {
        match recovery.pack_kind(number, indexes.contains(&number))? {
            Some(FileKind::Shared) => active = recovery.recover_shared_pack(number)?,
            Some(FileKind::Single) => unindexed_single_bodies.push(number),
            _ => {}
        }
    }
    let single_body_index =
        recovery.index_single_bodies(single_body_index, &unindexed_single_bodies)?;
    recovery.remove_old_names()?;
    for missing in indexes
        .union(&indexed_single_bodies)
        .filter(|number| !packs.contains(number))
    {
        recovery
            .notices
            .push(format!("{} is missing", layout::pack(*missing)));
    }
    let Recovery {
        mut entries,
        notices,
        ..
    } = recovery;
    entries.sort_by_key(|entry| entry.header.seq);
    tracing::debug!(
        target: "store",
        packs = packs.len(),
        entries = entries.len(),
        notices = notices.len(),
        "archive recovered"
    );
    Ok(RecoveredArchive {
        entries,
        active,
        single_body_index,
        // Do not reuse the number of a missing pack.
        next_pack: [&packs, &indexes, &indexed_single_bodies]
            .iter()
            .filter_map(|numbers| numbers.last())
            .max()
            .map_or(1, |last| last + 1),
        notices,
    })
}

struct Recovery<'a> {
    disk: &'a dyn Disk,
    archive: &'a Archive,
    entries: Vec<PackIndexEntry>,
    notices: Vec<String>,
}

impl Recovery<'_> {
    /// Kind of a pack that is not in the index of single-body packs; `None` if
    /// it is empty or its header is damaged.
    fn pack_kind(&mut self, number: u32, has_index: bool) -> Result<Option<FileKind>, StoreError> {
        if has_index {
            return Ok(Some(FileKind::Shared));
        }
        let name = layout::pack(number);
        let file = self.open(&name)?;
        if file.len().attempt(|| format!("read {name}"))? <= FILE_HEADER_LEN {
            // Created, but interrupted before the first entry.
            self.disk
                .remove(&name)
                .attempt(|| format!("remove {name}"))?;
            return Ok(None);
        }
        let header = self.read_header(&*file, &name)?;
        Ok(header.map(|header| header.kind))
    }

    fn open(&self, name: &str) -> Result<Arc<dyn DiskFile>, StoreError> {
        self.disk
            .open_writable(name)
            .attempt(|| format!("open {name}"))
    }

    /// Reads a file header; `None` and a notice if it is damaged.
    fn read_header(
        &mut self,
        file: &dyn DiskFile,
        name: &str,
    ) -> Result<Option<FileHeader>, StoreError> {
        match FileHeader::read(file, name) {
            Ok(header) => Ok(Some(header)),
            Err(damaged @ StoreError::Damaged { .. }) => {
                self.notices.push(damaged.to_string());
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    /// Opens a pack index and reads its entries; `None` if it must be rebuilt.
    fn open_index(
        &self,
        number: u32,
        name: &str,
    ) -> Result<Option<(PackIndex, Vec<PackIndexEntry>)>, StoreError> {
        let file = match self.disk.open_writable(name) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io(format!("open {name}"), e)),
        };
        let mut index = match PackIndex::open(number, name.to_string(), file) {
            Ok(index) => index,
            Err(StoreError::Damaged { .. }) => return Ok(None),
            Err(e) => return Err(e),
        };
        let mut entries = Vec::new();
        index.read_new(&mut entries)?;
        if !index.damaged_ranges.is_empty() {
            return Ok(None);
        }
        index.truncate_tail()?;
        Ok(Some((index, entries)))
    }

    /// Creates an empty pack index under a temporary name. It is renamed by
    /// [`replace_index`](Self::replace_index) when it is complete.
    fn create_index(&self, number: u32, name: &str) -> Result<PackIndex, StoreError> {
        let header = self.archive.new_header(FileKind::PackIndex)?;
        PackIndex::create(self.disk, number, format!("{name}.new"), &header)
    }

    fn replace_index(&self, mut index: PackIndex, name: &str) -> Result<PackIndex, StoreError> {
        let attempt = || format!("replace {name}");
        self.disk.rename(&index.name, name).attempt(attempt)?;
        self.disk.sync_folder(layout::PACKS).attempt(attempt)?;
        index.name = name.to_string();
        tracing::debug!(target: "store", index = index.number, "pack index rebuilt");
        Ok(index)
    }

    /// Brings the pack index of a shared pack up to date and truncates an
    /// incomplete entry at the end of the pack. Returns the pack if it can get
    /// more entries.
    fn recover_shared_pack(&mut self, number: u32) -> Result<Option<ActivePack>, StoreError> {
        let (pack_name, index_name) = (layout::pack(number), layout::pack_index(number));
        let file = self.open(&pack_name)?;
        let header = self.read_header(&*file, &pack_name)?;
        let opened = self.open_index(number, &index_name)?;
        let Some(header) = header else {
            // Without the start of the keystream, further entries of the pack
            // cannot be read. Keep the indexed ones.
            self.entries
                .extend(opened.into_iter().flat_map(|(_, entries)| entries));
            return Ok(None);
        };
        let is_rebuilt = opened.is_none();
        let (index, entries) = match opened {
            Some(opened) => opened,
            None => (self.create_index(number, &index_name)?, Vec::new()),
        };
        let mut pack = ActivePack {
            number,
            mask: header.mask,
            end: entries.last().map_or(FILE_HEADER_LEN, PackIndexEntry::end),
            index,
            file,
        };
        self.entries.extend(entries);
        let is_complete = self.index_remaining_entries(&mut pack)?;
        if is_rebuilt {
            pack.index = self.replace_index(pack.index, &index_name)?;
        }
        Ok((is_complete && pack.is_open()).then_some(pack))
    }

    /// Adds the entries after the last indexed one to the pack index, and
    /// truncates the pack after its last intact entry. Returns `false` if the
    /// pack is shorter than its index covers.
    fn index_remaining_entries(&mut self, pack: &mut ActivePack) -> Result<bool, StoreError> {
        let name = layout::pack(pack.number);
        let attempt = || format!("read {name}");
        let len = pack.file.len().attempt(attempt)?;
        if len < pack.end {
            self.notices.push(format!(
                "{name} has {len} bytes, its pack index covers {}",
                pack.end
            ));
            return Ok(false);
        }
        let from = pack.end;
        let mut batch = Vec::new();
        while pack.end < len {
            let entry = match pack_scan::entry_at(&*pack.file, &pack.mask, pack.number, pack.end)
                .attempt(attempt)?
            {
                Ok(entry) => Some(entry),
                Err(_) => self.skip_damage(pack, &name)?,
            };
            let Some(entry) = entry else { break };
            pack.end = entry.location.end(&entry.header);
            batch.push(entry);
            if batch.len() == INDEX_BATCH {
                self.entries
                    .extend(pack.index.append(&std::mem::take(&mut batch))?);
            }
        }
        if !batch.is_empty() {
            self.entries.extend(pack.index.append(&batch)?);
        }
        if pack.end < len {
            let attempt = || format!("truncate {name}");
            pack.file.set_len(pack.end).attempt(attempt)?;
            pack.file.sync().attempt(attempt)?;
        }
        tracing::debug!(
            target: "store",
            pack = pack.number,
            indexed_bytes = pack.end - from,
            truncated_bytes = len - pack.end,
            "shared pack recovered"
        );
        Ok(true)
    }

    /// Finds the next intact entry after damage in a pack.
    fn skip_damage(
        &mut self,
        pack: &ActivePack,
        name: &str,
    ) -> Result<Option<PackEntry>, StoreError> {
        let entry = pack_scan::next_entry(&*pack.file, &pack.mask, pack.number, pack.end)
            .attempt(|| format!("read {name}"))?;
        if let Some(entry) = &entry {
            self.notices.push(format!(
                "{name} is damaged between bytes {} and {}",
                pack.end, entry.location.start
            ));
        }
        Ok(entry)
    }

    /// Opens the index of single-body packs; `None` if it must be rebuilt.
    fn open_single_body_index(&mut self) -> Result<Option<PackIndex>, StoreError> {
        let opened = self.open_index(0, layout::SINGLE_BODY_INDEX)?;
        Ok(opened.map(|(index, entries)| {
            self.entries.extend(entries);
            index
        }))
    }

    /// Removes names under `incoming/` of files that became packs. A power loss
    /// during the rename may leave both names, and resuming such a download
    /// would truncate the pack.
    fn remove_old_names(&self) -> Result<(), StoreError> {
        let names = self
            .disk
            .list(layout::INCOMING)
            .attempt(|| format!("list the directory {}", layout::INCOMING))?;
        let mut removed = false;
        for name in names.iter().filter(|name| name.ends_with(".part")) {
            let name = format!("{}/{name}", layout::INCOMING);
            let Ok(partial) = read_single_body(self.disk, self.archive.key(), &name, 0)? else {
                continue;
            };
            if self
                .entries
                .iter()
                .any(|entry| entry.header == partial.header)
            {
                self.disk
                    .remove(&name)
                    .attempt(|| format!("remove {name}"))?;
                removed = true;
            }
        }
        if removed {
            self.disk
                .sync_folder(layout::INCOMING)
                .attempt(|| format!("sync {}", layout::INCOMING))?;
        }
        Ok(())
    }

    /// Adds single-body packs to their index, which is created if it is `None`.
    fn index_single_bodies(
        &mut self,
        index: Option<PackIndex>,
        numbers: &[u32],
    ) -> Result<PackIndex, StoreError> {
        let is_rebuilt = index.is_none();
        let mut index = match index {
            Some(index) => index,
            None => self.create_index(0, layout::SINGLE_BODY_INDEX)?,
        };
        let key = self.archive.key();
        let mut unindexed = Vec::new();
        for number in numbers {
            match read_single_body(self.disk, key, &layout::pack(*number), *number)? {
                Ok(entry) => unindexed.push(entry),
                Err(reason) => self.notices.push(reason),
            }
        }
        unindexed.sort_by_key(|entry| entry.header.seq);
        if !unindexed.is_empty() {
            self.entries.extend(index.append(&unindexed)?);
        }
        if is_rebuilt {
            index = self.replace_index(index, layout::SINGLE_BODY_INDEX)?;
        }
        Ok(index)
    }
}
