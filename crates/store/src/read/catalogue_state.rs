//! The entries of all pack indexes in memory. For a damaged or missing pack
//! index, the entries are read from the packs.

use std::collections::{BTreeMap, BTreeSet};

use crate::StoreError;
use crate::disk::{Disk, DiskFile};
use crate::error::IoContext;
use crate::format::entry::{EntryType, PackEntry};
use crate::format::header::{FILE_HEADER_LEN, FileHeader, FileKind};
use crate::format::mask::Mask;
use crate::format::pack::read_single_body;
use crate::format::pack_index::{PackIndex, PackIndexEntry};
use crate::format::{layout, pack_scan};
use crate::read::checkpoint::JournalCheckpoint;
use evidence::{ActionId, ResultId, ResultKey, Seq, Version};

#[derive(Default)]
pub(crate) struct CatalogueState {
    pub(crate) indexes: BTreeMap<u32, PackIndex>,
    /// Missing pack indexes and those with a damaged header. Their packs were
    /// read instead.
    pub(crate) unreadable_indexes: BTreeSet<String>,
    scanned_packs: BTreeSet<u32>,
    /// Packs with an entry in any pack index.
    indexed_packs: BTreeSet<u32>,
    /// All packs up to this number are in a pack index.
    indexed_up_to: u32,
    /// Ordered by Seq.
    pub(crate) entries: Vec<PackIndexEntry>,
    /// Entries that were read but are not visible yet, because an entry with a
    /// lower Seq may follow.
    invisible: Vec<PackIndexEntry>,
    /// Positions in `entries`.
    pub(crate) results: BTreeMap<ResultId, usize>,
    /// The latest of each key.
    pub(crate) gaps: BTreeMap<ResultKey, usize>,
    pub(crate) actions: BTreeMap<ActionId, usize>,
    pub(crate) settings: BTreeMap<ResultKey, usize>,
    /// The latest of each place of each fleet run.
    pub(crate) fleet: BTreeMap<ResultKey, usize>,
}

/// In place of the number of a pack index: the JSON is in the trailer only.
const NO_INDEX: u32 = u32::MAX;

impl CatalogueState {
    /// A state whose first refresh reads the entries after a checkpoint; `None`
    /// if the checkpoint does not fit the pack indexes.
    pub(crate) fn after(
        disk: &dyn Disk,
        checkpoint: &JournalCheckpoint,
    ) -> Result<Option<Self>, StoreError> {
        let mut state = Self {
            indexed_up_to: checkpoint.pack,
            ..Self::default()
        };
        for position in &checkpoint.lists {
            let number = position.number;
            let Some(index) = open_index(disk, number, &layout::pack_index(number))? else {
                return Ok(None);
            };
            let Some(index) = index.seek(position)? else {
                return Ok(None);
            };
            state.indexes.insert(number, index);
        }
        Ok(Some(state))
    }

    /// The checkpoint at `seq`; `None` if a pack index is damaged.
    pub(crate) fn checkpoint(&self, archive: [u8; 16], seq: Seq) -> Option<JournalCheckpoint> {
        if self.is_damaged() {
            return None;
        }
        let from = self
            .entries
            .partition_point(|entry| entry.header.seq <= seq);
        let later = self.entries.get(from..).unwrap_or_default();
        let mut first_later: BTreeMap<u32, u64> = BTreeMap::new();
        for entry in later.iter().chain(&self.invisible) {
            let offset = first_later.entry(entry.index).or_insert(u64::MAX);
            *offset = entry.offset().min(*offset);
        }
        Some(JournalCheckpoint {
            archive,
            seq,
            lists: self
                .indexes
                .values()
                .map(|index| index.position(first_later.get(&index.number).copied()))
                .collect(),
            pack: self
                .indexes
                .keys()
                .chain(&self.indexed_packs)
                .max()
                .copied()?,
        })
    }

    /// Whether any pack index is missing or damaged.
    pub(crate) fn is_damaged(&self) -> bool {
        !self.unreadable_indexes.is_empty()
            || self
                .indexes
                .values()
                .any(|index| !index.damaged_ranges.is_empty())
    }

    /// Reads the new entries of all pack indexes, in two passes.
    ///
    /// The second pass finds every entry that was committed before the last
    /// entry of the first pass. Later entries stay invisible until the next
    /// refresh: an entry with a lower Seq may be in a pack index that was read
    /// too early.
    pub(crate) fn refresh(&mut self, disk: &dyn Disk, key: [u8; 32]) -> Result<(), StoreError> {
        if self.indexes_were_replaced(disk)? {
            *self = Self::default();
        }
        let mut new = std::mem::take(&mut self.invisible);
        self.read_indexes(disk, key, &mut new)?;
        let visible_up_to = new.iter().map(|entry| entry.header.seq).max();
        self.read_indexes(disk, key, &mut new)?;
        let Some(visible_up_to) = visible_up_to else {
            self.invisible = new;
            return Ok(());
        };
        new.sort_by_key(|entry| entry.header.seq);
        self.invisible =
            new.split_off(new.partition_point(|entry| entry.header.seq <= visible_up_to));
        tracing::debug!(
            target: "store",
            new = new.len(),
            invisible = self.invisible.len(),
            pack_indexes = self.indexes.len(),
            "catalogue refreshed"
        );
        new.into_iter().for_each(|entry| self.add(entry));
        Ok(())
    }

    /// Whether a writer has rebuilt a pack index, which it does if it is
    /// damaged.
    fn indexes_were_replaced(&self, disk: &dyn Disk) -> Result<bool, StoreError> {
        for index in self.indexes.values() {
            if index.was_replaced(disk)? {
                return Ok(true);
            }
        }
        for name in &self.unreadable_indexes {
            if open_index(disk, 0, name)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_indexes(
        &mut self,
        disk: &dyn Disk,
        key: [u8; 32],
        new: &mut Vec<PackIndexEntry>,
    ) -> Result<(), StoreError> {
        let names = list_packs(disk)?;
        let numbers = names.iter().filter_map(|name| layout::number(name, "list"));
        for number in numbers.chain([0]) {
            if !self.indexes.contains_key(&number)
                && let Some(index) = open_index(disk, number, &layout::pack_index(number))?
            {
                self.indexes.insert(number, index);
            }
        }
        let from = new.len();
        for index in self.indexes.values_mut() {
            let (from, damaged_ranges) = (new.len(), index.damaged_ranges.len());
            index.read_new(new)?;
            if index.damaged_ranges.len() > damaged_ranges {
                read_missing_entries(disk, key, index.number, new, from)?;
            }
        }
        self.indexed_packs
            .extend(new.iter().skip(from).map(|entry| entry.location.pack));
        self.scan_unindexed_packs(disk, key, &names, new)
    }

    /// Reads the packs without a pack index.
    fn scan_unindexed_packs(
        &mut self,
        disk: &dyn Disk,
        key: [u8; 32],
        names: &[String],
        new: &mut Vec<PackIndexEntry>,
    ) -> Result<(), StoreError> {
        let packs = names.iter().filter_map(|name| layout::number(name, "pack"));
        for number in packs {
            if number <= self.indexed_up_to
                || self.indexes.contains_key(&number)
                || self.indexed_packs.contains(&number)
                || self.scanned_packs.contains(&number)
            {
                continue;
            }
            let name = layout::pack(number);
            let file = disk.open(&name).attempt(|| format!("open {name}"))?;
            let Ok(header) = FileHeader::read(&*file, &name) else {
                continue;
            };
            let (index, entries) = match header.kind {
                FileKind::Shared => {
                    // A writer may have created the pack index a moment ago.
                    if open_index(disk, number, &layout::pack_index(number))?.is_some() {
                        continue;
                    }
                    (number, scan_pack(&*file, &header.mask, number)?)
                }
                FileKind::Single if !self.indexes.contains_key(&0) => {
                    let entry = read_single_body(disk, key, &name, number)?;
                    (0, entry.map(unindexed).into_iter().collect())
                }
                FileKind::Single | FileKind::PackIndex => continue,
            };
            if !entries.is_empty() {
                self.unreadable_indexes.insert(layout::pack_index(index));
                self.scanned_packs.insert(number);
                new.extend(entries);
            }
        }
        Ok(())
    }

    fn add(&mut self, entry: PackIndexEntry) {
        let at = self.entries.len();
        let header = &entry.header;
        match header.kind {
            EntryType::Result => {
                self.results.insert(header.id(), at);
            }
            EntryType::Gap => {
                self.gaps.insert(header.key, at);
            }
            EntryType::Action => {
                self.actions.insert(header.key.action, at);
            }
            EntryType::Setting => {
                self.settings.insert(header.key, at);
            }
            EntryType::Fleet => {
                self.fleet.insert(header.key, at);
            }
            EntryType::Custody => {}
        }
        self.entries.push(entry);
    }

    pub(crate) fn has_result(&self, key: ResultKey) -> bool {
        let range = ResultId::new(key, Version(0))..=ResultId::new(key, Version(u32::MAX));
        self.results.range(range).next().is_some()
    }
}

fn list_packs(disk: &dyn Disk) -> Result<Vec<String>, StoreError> {
    disk.list(layout::PACKS)
        .attempt(|| format!("list the directory {}", layout::PACKS))
}

/// Opens a pack index; `None` if it is missing or its header is damaged.
fn open_index(disk: &dyn Disk, number: u32, name: &str) -> Result<Option<PackIndex>, StoreError> {
    let file = match disk.open(name) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::io(format!("open {name}"), e)),
    };
    match PackIndex::open(number, name.to_string(), file) {
        Ok(index) => Ok(Some(index)),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// All intact entries of a shared pack.
///
/// **Cost**: reads the pack.
fn scan_pack(
    file: &dyn DiskFile,
    mask: &Mask,
    number: u32,
) -> Result<Vec<PackIndexEntry>, StoreError> {
    let attempt = || format!("read {}", layout::pack(number));
    let mut entries = Vec::new();
    let mut at = FILE_HEADER_LEN;
    loop {
        let entry = match pack_scan::entry_at(file, mask, number, at).attempt(attempt)? {
            Ok(entry) => Some(entry),
            Err(_) => pack_scan::next_entry(file, mask, number, at).attempt(attempt)?,
        };
        let Some(entry) = entry.map(unindexed) else {
            return Ok(entries);
        };
        at = entry.end();
        entries.push(entry);
    }
}

/// Reads from the packs the damaged entries of a pack index. Its intact entries
/// are those of `new` from position `from` on.
fn read_missing_entries(
    disk: &dyn Disk,
    key: [u8; 32],
    number: u32,
    new: &mut Vec<PackIndexEntry>,
    from: usize,
) -> Result<(), StoreError> {
    let indexed: Vec<PackIndexEntry> = new.get(from..).unwrap_or_default().to_vec();
    if number == 0 {
        return read_missing_single_bodies(disk, key, &indexed, new);
    }
    let name = layout::pack(number);
    let attempt = || format!("read {name}");
    // From a pack that is missing or has a damaged header, nothing is read. Its
    // indexed entries stay visible, and `verify` reports the damage.
    let Ok(file) = disk.open(&name) else {
        return Ok(());
    };
    let Ok(FileHeader { mask, .. }) = FileHeader::read(&*file, &name) else {
        return Ok(());
    };
    let mut at = FILE_HEADER_LEN;
    for next in &indexed {
        while at < next.location.start {
            let Ok(entry) = pack_scan::entry_at(&*file, &mask, number, at).attempt(attempt)? else {
                break;
            };
            let entry = unindexed(entry);
            at = entry.end();
            new.push(entry);
        }
        at = next.end();
    }
    Ok(())
}

fn read_missing_single_bodies(
    disk: &dyn Disk,
    key: [u8; 32],
    indexed: &[PackIndexEntry],
    new: &mut Vec<PackIndexEntry>,
) -> Result<(), StoreError> {
    let names = list_packs(disk)?;
    let pack_of = |entry: &PackIndexEntry| entry.location.pack;
    let last = indexed.iter().map(pack_of).max().unwrap_or(0);
    let missing = names
        .iter()
        .filter_map(|name| layout::number(name, "pack"))
        .filter(|number| *number < last)
        .filter(|number| !names.contains(&format!("{number:08}.list")))
        .filter(|number| indexed.iter().all(|entry| pack_of(entry) != *number));
    for number in missing {
        if let Ok(entry) = read_single_body(disk, key, &layout::pack(number), number)? {
            new.push(unindexed(entry));
        }
    }
    Ok(())
}

/// An entry that was read from its pack. Its JSON stays in the trailer.
fn unindexed(entry: PackEntry) -> PackIndexEntry {
    PackIndexEntry {
        header: entry.header,
        location: entry.location,
        index: NO_INDEX,
        json_at: 0,
        json_len: 0,
    }
}
