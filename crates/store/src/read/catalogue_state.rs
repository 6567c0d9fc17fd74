//! What the side files say, read into memory; where one is damaged or lost,
//! what the packs say in its place.

use std::collections::{BTreeMap, BTreeSet};

use crate::StoreError;
use crate::disk::{Disk, DiskFile};
use crate::error::Attempt;
use crate::format::entry::{EntryHeader, EntryLocation, EntryType};
use crate::format::header::{FILE_HEADER_LEN, FileHeader, FileKind};
use crate::format::mask::Mask;
use crate::format::pack::single_entry;
use crate::format::pack_index::{PackIndex, PackIndexEntry};
use crate::format::{layout, pack_scan};
use crate::read::checkpoint::JournalCheckpoint;
use evidence::{ActionId, ResultId, ResultKey, Seq, Version};

#[derive(Default)]
pub(crate) struct CatalogueState {
    pub(crate) lists: BTreeMap<u32, PackIndex>,
    /// Side files that are missing or have no header, and packs that were read
    /// in their place.
    pub(crate) lost_lists: BTreeSet<String>,
    scanned: BTreeSet<u32>,
    adopted: BTreeSet<u32>,
    /// Packs up to this number are known to be listed.
    passed: u32,
    /// In order of Seqs.
    pub(crate) slots: Vec<PackIndexEntry>,
    /// Read, but a lower Seq may still come.
    ahead: Vec<PackIndexEntry>,
    pub(crate) results: BTreeMap<ResultId, usize>,
    /// The latest of each.
    pub(crate) gaps: BTreeMap<ResultKey, usize>,
    pub(crate) actions: BTreeMap<ActionId, usize>,
    pub(crate) settings: BTreeMap<ResultKey, usize>,
    /// The latest of each place of each fleet run.
    pub(crate) fleet: BTreeMap<ResultKey, usize>,
}

/// In place of a list's number: the JSON stands in the trailer only.
const NO_LIST: u32 = u32::MAX;

impl CatalogueState {
    /// What stands behind a bookmark is still to be read; `None` where the
    /// bookmark does not fit the lists.
    pub(crate) fn behind(
        disk: &dyn Disk,
        bookmark: &JournalCheckpoint,
    ) -> Result<Option<Self>, StoreError> {
        let mut contents = Self {
            passed: bookmark.pack,
            ..Self::default()
        };
        for mark in &bookmark.lists {
            let list = open_list(disk, mark.number, &list_name(mark.number))?;
            let Some(list) = list.map(|list| list.behind(mark)).transpose()?.flatten() else {
                return Ok(None);
            };
            contents.lists.insert(mark.number, list);
        }
        Ok(Some(contents))
    }

    /// Where the lists go on behind `seq`; `None` where any is damaged.
    pub(crate) fn checkpoint(&self, archive: [u8; 16], seq: Seq) -> Option<JournalCheckpoint> {
        if self.is_damaged() {
            return None;
        }
        let from = self.slots.partition_point(|slot| slot.card.seq <= seq);
        let later = self.slots.get(from..).unwrap_or_default();
        let mut behind: BTreeMap<u32, u64> = BTreeMap::new();
        for slot in later.iter().chain(&self.ahead) {
            let at = behind.entry(slot.list).or_insert(u64::MAX);
            *at = slot.record_at().min(*at);
        }
        let marks = self.lists.values();
        Some(JournalCheckpoint {
            archive,
            seq,
            lists: marks
                .map(|list| list.mark(behind.get(&list.number).copied()))
                .collect(),
            pack: self.lists.keys().chain(&self.adopted).max().copied()?,
        })
    }

    /// Something in the lists is lost or cannot be read.
    pub(crate) fn is_damaged(&self) -> bool {
        !self.lost_lists.is_empty() || self.lists.values().any(|list| !list.holes.is_empty())
    }

    /// Reads all lists twice. Whatever was committed before the last entry
    /// the first pass has seen, the second one sees; what is behind it waits
    /// for the next refresh, since a lower Seq may stand in a list that was
    /// read too early.
    pub(crate) fn refresh(&mut self, disk: &dyn Disk, key: [u8; 32]) -> Result<(), StoreError> {
        if self.lists_were_replaced(disk)? {
            *self = Self::default();
        }
        let mut fresh = std::mem::take(&mut self.ahead);
        self.read_lists(disk, key, &mut fresh)?;
        let settled = fresh.iter().map(|slot| slot.card.seq).max();
        self.read_lists(disk, key, &mut fresh)?;
        let Some(settled) = settled else {
            self.ahead = fresh;
            return Ok(());
        };
        fresh.sort_by_key(|slot| slot.card.seq);
        self.ahead = fresh.split_off(fresh.partition_point(|slot| slot.card.seq <= settled));
        fresh.into_iter().for_each(|slot| self.add(slot));
        Ok(())
    }

    /// A writer that finds a list damaged writes it anew.
    fn lists_were_replaced(&self, disk: &dyn Disk) -> Result<bool, StoreError> {
        for list in self.lists.values() {
            if list.was_replaced(disk)? {
                return Ok(true);
            }
        }
        for name in &self.lost_lists {
            if open_list(disk, 0, name)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read_lists(
        &mut self,
        disk: &dyn Disk,
        key: [u8; 32],
        fresh: &mut Vec<PackIndexEntry>,
    ) -> Result<(), StoreError> {
        let names = disk
            .list(layout::PACKS)
            .attempt(|| "read the archive's folder".into())?;
        let numbers = names.iter().filter_map(|name| layout::number(name, "list"));
        for number in numbers.chain([0]) {
            if !self.lists.contains_key(&number)
                && let Some(list) = open_list(disk, number, &list_name(number))?
            {
                self.lists.insert(number, list);
            }
        }
        let from = fresh.len();
        for list in self.lists.values_mut() {
            let (from, known) = (fresh.len(), list.holes.len());
            list.read_new(fresh)?;
            if list.holes.len() > known {
                fill_holes(disk, key, list.number, fresh, from)?;
            }
        }
        let adopted = fresh.iter().skip(from).map(|slot| slot.place.pack);
        self.adopted.extend(adopted);
        self.read_unlisted(disk, key, &names, fresh)
    }

    /// Reads the packs whose side file is lost.
    fn read_unlisted(
        &mut self,
        disk: &dyn Disk,
        key: [u8; 32],
        names: &[String],
        fresh: &mut Vec<PackIndexEntry>,
    ) -> Result<(), StoreError> {
        let packs = names.iter().filter_map(|name| layout::number(name, "pack"));
        for number in packs {
            if number <= self.passed
                || self.lists.contains_key(&number)
                || self.adopted.contains(&number)
                || self.scanned.contains(&number)
            {
                continue;
            }
            let name = layout::pack(number);
            let file = disk.read(&name).attempt(|| format!("open {name}"))?;
            let Ok(header) = FileHeader::read(&*file, &name) else {
                continue;
            };
            let found = match header.kind {
                // A writer may have created it just now.
                FileKind::Shared if open_list(disk, number, &list_name(number))?.is_some() => {
                    continue;
                }
                FileKind::Shared => scan_whole(&*file, &header.mask, number)?,
                FileKind::Single if self.lists.contains_key(&0) => continue,
                FileKind::Single => single_entry(disk, key, &name, number)?
                    .map(|(card, place, _)| unlisted(card, place))
                    .into_iter()
                    .collect(),
                FileKind::PackIndex => continue,
            };
            if !found.is_empty() {
                let list = if header.kind == FileKind::Shared {
                    number
                } else {
                    0
                };
                self.lost_lists.insert(list_name(list));
                self.scanned.insert(number);
                fresh.extend(found);
            }
        }
        Ok(())
    }

    fn add(&mut self, slot: PackIndexEntry) {
        let at = self.slots.len();
        let card = &slot.card;
        match card.kind {
            EntryType::Result => {
                self.results.insert(card.id(), at);
            }
            EntryType::Gap => {
                self.gaps.insert(card.key, at);
            }
            EntryType::Action => {
                self.actions.insert(card.key.action, at);
            }
            EntryType::Setting => {
                self.settings.insert(card.key, at);
            }
            EntryType::Fleet => {
                self.fleet.insert(card.key, at);
            }
            EntryType::Custody => {}
        }
        self.slots.push(slot);
    }

    pub(crate) fn has_result(&self, key: ResultKey) -> bool {
        let range = ResultId::new(key, Version(0))..=ResultId::new(key, Version(u32::MAX));
        self.results.range(range).next().is_some()
    }
}

fn list_name(number: u32) -> String {
    match number {
        0 => layout::ADOPTED.to_string(),
        number => layout::list(number),
    }
}

/// Opens a list; `None` where it is not there, or without a header.
fn open_list(disk: &dyn Disk, number: u32, name: &str) -> Result<Option<PackIndex>, StoreError> {
    let file = match disk.read(name) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::io(format!("open {name}"), e)),
    };
    match PackIndex::open(number, name.to_string(), file) {
        Ok(list) => Ok(Some(list)),
        Err(StoreError::Damaged { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

/// All whole entries of a shared pack.
///
/// **Cost**: reads the pack.
fn scan_whole(
    file: &dyn DiskFile,
    mask: &Mask,
    number: u32,
) -> Result<Vec<PackIndexEntry>, StoreError> {
    let attempt = || format!("read {}", layout::pack(number));
    let mut found = Vec::new();
    let mut at = FILE_HEADER_LEN;
    loop {
        let entry = match pack_scan::entry_at(file, mask, number, at).attempt(attempt)? {
            Ok(entry) => Some(entry),
            Err(_) => pack_scan::next_entry(file, mask, number, at).attempt(attempt)?,
        };
        let Some(entry) = entry else {
            return Ok(found);
        };
        at = entry.end;
        found.push(unlisted(entry.card, entry.place));
    }
}

/// Finds in the packs what stood in damaged records of a list.
fn fill_holes(
    disk: &dyn Disk,
    key: [u8; 32],
    number: u32,
    fresh: &mut Vec<PackIndexEntry>,
    from: usize,
) -> Result<(), StoreError> {
    let listed: Vec<PackIndexEntry> = fresh.get(from..).unwrap_or_default().to_vec();
    if number == 0 {
        return fill_adopted(disk, key, &listed, fresh);
    }
    let name = layout::pack(number);
    let attempt = || format!("read {name}");
    // A pack that is lost or has no header fills nothing; what is listed of it
    // is still shown, and the check says what is wrong with it.
    let Ok(file) = disk.read(&name) else {
        return Ok(());
    };
    let Ok(FileHeader { mask, .. }) = FileHeader::read(&*file, &name) else {
        return Ok(());
    };
    let mut at = FILE_HEADER_LEN;
    for slot in &listed {
        while at < slot.place.start {
            let Ok(found) = pack_scan::entry_at(&*file, &mask, number, at).attempt(attempt)? else {
                break;
            };
            at = found.end;
            fresh.push(unlisted(found.card, found.place));
        }
        at = slot.end();
    }
    Ok(())
}

fn fill_adopted(
    disk: &dyn Disk,
    key: [u8; 32],
    listed: &[PackIndexEntry],
    fresh: &mut Vec<PackIndexEntry>,
) -> Result<(), StoreError> {
    let names = disk
        .list(layout::PACKS)
        .attempt(|| "read the archive's folder".into())?;
    let last = listed.iter().map(|slot| slot.place.pack).max().unwrap_or(0);
    let unlisted_packs = names
        .iter()
        .filter_map(|name| layout::number(name, "pack"))
        .filter(|number| *number < last)
        .filter(|number| !names.contains(&format!("{number:08}.list")))
        .filter(|number| listed.iter().all(|slot| slot.place.pack != *number));
    for number in unlisted_packs {
        if let Ok((card, place, _)) = single_entry(disk, key, &layout::pack(number), number)? {
            fresh.push(unlisted(card, place));
        }
    }
    Ok(())
}

fn unlisted(card: EntryHeader, place: EntryLocation) -> PackIndexEntry {
    PackIndexEntry {
        card,
        place,
        list: NO_LIST,
        json_at: 0,
        json_len: 0,
    }
}
