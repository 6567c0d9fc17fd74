//! The readers' side: the side files read into memory. Opens no sled, takes
//! no lock, writes nothing but custody notes, and works on read-only media
//! and while a writer writes.
//!
//! **Invariant**: what it shows is a prefix of the journal: where a Seq is
//! there, every lower one that was ever committed is there too.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::archive::Archive;
use super::card::{CustodyEvent, Entry, EntryKind, Kind, read_entry, read_record};
use super::commit::read_json;
use super::disk::{Disk, DiskFile};
use super::error::Attempt;
use super::folder::Folder;
use super::header::{HEADER_LEN, Header};
use super::list::{List, Slot};
use super::mask::Mask;
use super::reader::RecordReader;
use super::recover::{end_of, single_entry};
use super::{StoreError, layout, notes, scan};
use crate::evidence::{Action, ActionId, Gap, Record, ResultId, ResultKey, Seq, Version};

/// Packs held open: an archive may have thousands.
const OPEN_FILES_MAX: usize = 64;

/// Everything an archive holds, as of the last [`refresh`](Self::refresh).
///
/// **Cost**: some 200 bytes of memory an entry; facts stay on disk until they
/// are asked for.
pub struct Catalogue {
    dir: PathBuf,
    pub(super) disk: Arc<dyn Disk>,
    archive: RwLock<Archive>,
    contents: RwLock<Contents>,
    files: Mutex<HashMap<u32, (Arc<dyn DiskFile>, Mask)>>,
}

#[derive(Default)]
struct Contents {
    lists: BTreeMap<u32, List>,
    /// In order of Seqs.
    slots: Vec<Slot>,
    /// Read, but a lower Seq may still come.
    ahead: Vec<Slot>,
    results: BTreeMap<ResultId, usize>,
    /// The latest of each.
    gaps: BTreeMap<ResultKey, usize>,
    actions: BTreeMap<ActionId, usize>,
    settings: BTreeMap<ResultKey, usize>,
}

/// In place of a list's number: the JSON stands in the trailer only.
const NO_LIST: u32 = u32::MAX;

impl Catalogue {
    /// Opens the archive in `dir` for reading.
    ///
    /// **Cost**: reads the side files, some 700 bytes an entry.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(Folder::new(dir)), dir)
    }

    pub(super) fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        let archive = Archive::read(&*disk, dir)?;
        let catalogue = Self {
            dir: dir.to_path_buf(),
            disk,
            archive: RwLock::new(archive),
            contents: RwLock::default(),
            files: Mutex::default(),
        };
        catalogue.refresh()?;
        Ok(catalogue)
    }

    /// Takes in what was committed since.
    ///
    /// **Cost**: reads what is new; some file operations for each shared pack
    /// where nothing is.
    pub fn refresh(&self) -> Result<(), StoreError> {
        let archive = Archive::read(&*self.disk, &self.dir)?;
        let mut contents = self.write();
        contents.refresh(&*self.disk)?;
        *self.archive.write().unwrap_or_else(PoisonError::into_inner) = archive;
        Ok(())
    }

    pub fn archive_id(&self) -> [u8; 16] {
        self.archive().id
    }

    /// Differs once entries were lost, so that what was derived from them is
    /// built anew.
    pub fn generation(&self) -> u64 {
        self.archive().generation
    }

    /// The last place in the journal; zero of an empty one.
    pub fn last_seq(&self) -> Seq {
        self.read()
            .slots
            .last()
            .map_or(Seq::ZERO, |slot| slot.card.seq)
    }

    /// Everything committed behind `seq`, in order. Holds no lock between
    /// entries.
    ///
    /// **Cost**: one small read an entry.
    pub fn entries_since(&self, seq: Seq) -> impl Iterator<Item = Result<Entry, StoreError>> + '_ {
        let mut after = seq;
        std::iter::from_fn(move || {
            let contents = self.read();
            let at = contents
                .slots
                .partition_point(|slot| slot.card.seq <= after);
            let slot = *contents.slots.get(at)?;
            after = slot.card.seq;
            Some(
                self.json(&contents, &slot)
                    .and_then(|json| read_entry(&slot.card, &json)),
            )
        })
    }

    /// All results, every version, in reading order.
    ///
    /// **Cost**: one small read a result.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, StoreError>> + '_ {
        let slots: Vec<usize> = self.read().results.values().copied().collect();
        slots.into_iter().filter_map(|at| self.record_at(at))
    }

    /// How many results there are, every version counted.
    pub fn record_count(&self) -> usize {
        self.read().results.len()
    }

    /// Whether any version of a result is sealed.
    pub fn has_result(&self, key: ResultKey) -> bool {
        self.read().has_result(key)
    }

    /// Identity and bytes of the results sealed behind `seq`, in order.
    ///
    /// **Cost**: memory only.
    pub fn results_since(&self, seq: Seq) -> Vec<(ResultId, u64)> {
        let contents = self.read();
        let from = contents.slots.partition_point(|slot| slot.card.seq <= seq);
        contents.slots[from..]
            .iter()
            .filter(|slot| slot.card.kind == Kind::Result)
            .map(|slot| (slot.card.id(), slot.card.bytes))
            .collect()
    }

    /// All versions of a result, oldest first.
    pub fn versions(&self, key: ResultKey) -> Result<Vec<Record>, StoreError> {
        let range = ResultId::new(key, Version(0))..=ResultId::new(key, Version(u32::MAX));
        let slots: Vec<usize> = self
            .read()
            .results
            .range(range)
            .map(|(_, at)| *at)
            .collect();
        slots
            .into_iter()
            .filter_map(|at| self.record_at(at))
            .collect()
    }

    pub fn latest(&self, key: ResultKey) -> Result<Option<Record>, StoreError> {
        let range = ResultId::new(key, Version(0))..=ResultId::new(key, Version(u32::MAX));
        let latest = self
            .read()
            .results
            .range(range)
            .next_back()
            .map(|(_, at)| *at);
        latest.and_then(|at| self.record_at(at)).transpose()
    }

    pub fn record(&self, id: ResultId) -> Result<Option<Record>, StoreError> {
        let at = self.read().results.get(&id).copied();
        at.and_then(|at| self.record_at(at)).transpose()
    }

    fn record_at(&self, at: usize) -> Option<Result<Record, StoreError>> {
        let contents = self.read();
        let slot = contents.slots.get(at)?;
        Some(
            self.json(&contents, slot)
                .and_then(|json| read_record(&slot.card, &json)),
        )
    }

    /// The gaps that stand: of keys without any result.
    pub fn gaps(&self) -> Result<Vec<Gap>, StoreError> {
        let contents = self.read();
        let mut gaps = Vec::new();
        for (key, at) in &contents.gaps {
            if contents.has_result(*key) {
                continue;
            }
            if let Some(EntryKind::Gap(gap)) = self.kind_at(&contents, *at)? {
                gaps.push(gap);
            }
        }
        Ok(gaps)
    }

    /// Every action, as last noted.
    pub fn actions(&self) -> Result<Vec<Action>, StoreError> {
        let contents = self.read();
        let mut actions = Vec::new();
        for at in contents.actions.values() {
            if let Some(EntryKind::Action(action)) = self.kind_at(&contents, *at)? {
                actions.push(action);
            }
        }
        Ok(actions)
    }

    pub fn action(&self, id: ActionId) -> Result<Option<Action>, StoreError> {
        let contents = self.read();
        let Some(at) = contents.actions.get(&id) else {
            return Ok(None);
        };
        Ok(match self.kind_at(&contents, *at)? {
            Some(EntryKind::Action(action)) => Some(action),
            _ => None,
        })
    }

    /// An action's JSON as received.
    pub fn action_json(&self, id: ActionId) -> Result<Option<Vec<u8>>, StoreError> {
        let slot = {
            let contents = self.read();
            contents
                .actions
                .get(&id)
                .and_then(|at| contents.slots.get(*at).copied())
        };
        let Some(slot) = slot else {
            return Ok(None);
        };
        let mut json = Vec::new();
        let mut reader = self.open_body(&slot)?;
        std::io::Read::read_to_end(&mut reader, &mut json)
            .attempt(|| format!("read action {id}"))?;
        Ok(Some(json))
    }

    /// Settings as last noted, by name.
    pub fn settings(&self) -> Result<BTreeMap<String, serde_json::Value>, StoreError> {
        let contents = self.read();
        let mut settings = BTreeMap::new();
        for at in contents.settings.values() {
            if let Some(EntryKind::Setting(setting)) = self.kind_at(&contents, *at)? {
                settings.insert(setting.name, setting.value);
            }
        }
        Ok(settings)
    }

    fn kind_at(&self, contents: &Contents, at: usize) -> Result<Option<EntryKind>, StoreError> {
        let Some(slot) = contents.slots.get(at) else {
            return Ok(None);
        };
        let json = self.json(contents, slot)?;
        Ok(Some(read_entry(&slot.card, &json)?.kind))
    }

    /// Opens a result's bytes, as downloaded.
    ///
    /// **Cost**: one read of its trailer; then one read for each frame touched.
    pub fn reader(&self, id: ResultId) -> Result<RecordReader, StoreError> {
        let slot = {
            let contents = self.read();
            contents
                .results
                .get(&id)
                .and_then(|at| contents.slots.get(*at).copied())
        };
        self.open_body(&slot.ok_or(StoreError::Unknown { id })?)
    }

    fn open_body(&self, slot: &Slot) -> Result<RecordReader, StoreError> {
        let name = || layout::pack(slot.place.pack);
        let (file, mask) = self.pack(slot.place.pack)?;
        RecordReader::open(file, mask, slot)
            .attempt(|| format!("read {}", name()))?
            .map_err(|damage| StoreError::damaged(name(), damage.to_string()))
    }

    /// An open pack. Where its header is damaged the archive's key is known,
    /// but not the pack's keystream.
    pub(super) fn pack(&self, number: u32) -> Result<(Arc<dyn DiskFile>, Mask), StoreError> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((file, mask)) = files.get(&number) {
            return Ok((file.clone(), mask.clone()));
        }
        if files.len() >= OPEN_FILES_MAX {
            files.clear();
        }
        let name = layout::pack(number);
        let file = self.disk.read(&name).attempt(|| format!("open {name}"))?;
        let mask = Header::read(&*file, &name)?.mask;
        files.insert(number, (file.clone(), mask.clone()));
        Ok((file, mask))
    }

    /// Notes who did what, for the next writer to fold in.
    ///
    /// **Errors**: on read-only media; nothing depends on it.
    pub fn note(&self, event: &CustodyEvent) -> Result<(), StoreError> {
        notes::append(&self.dir, &self.archive(), event)
            .attempt(|| format!("write {}", layout::NOTES))
    }

    /// The journal's places, in order.
    pub(super) fn slots(&self) -> Vec<Slot> {
        self.read().slots.clone()
    }

    /// Records of side files that were damaged: list and range.
    pub(super) fn list_holes(&self) -> Vec<(String, u64, u64)> {
        self.read()
            .lists
            .values()
            .flat_map(|list| {
                list.holes
                    .iter()
                    .map(|(from, to)| (list.name.clone(), *from, *to))
            })
            .collect()
    }

    fn json(&self, contents: &Contents, slot: &Slot) -> Result<Vec<u8>, StoreError> {
        match contents.lists.get(&slot.list) {
            Some(list) => list.json(slot),
            None => read_json(&*self.disk, &slot.card, &slot.place),
        }
    }

    fn archive(&self) -> Archive {
        self.archive
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Contents {
    /// Reads all lists twice. Whatever was committed before the last entry
    /// the first pass has seen, the second one sees; what is behind it waits
    /// for the next refresh, since a lower Seq may stand in a list that was
    /// read too early.
    fn refresh(&mut self, disk: &dyn Disk) -> Result<(), StoreError> {
        if self.lists_were_replaced(disk)? {
            *self = Self::default();
        }
        let mut fresh = std::mem::take(&mut self.ahead);
        self.read_lists(disk, &mut fresh)?;
        let settled = fresh.iter().map(|slot| slot.card.seq).max();
        self.read_lists(disk, &mut fresh)?;
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
        Ok(false)
    }

    fn read_lists(&mut self, disk: &dyn Disk, fresh: &mut Vec<Slot>) -> Result<(), StoreError> {
        let names = disk
            .list(layout::PACKS)
            .attempt(|| "read the archive's folder".into())?;
        let numbers = names.iter().filter_map(|name| layout::number(name, "list"));
        for number in numbers.chain([0]) {
            if !self.lists.contains_key(&number)
                && let Some(list) = open_list(disk, number)?
            {
                self.lists.insert(number, list);
            }
        }
        for list in self.lists.values_mut() {
            let (from, known) = (fresh.len(), list.holes.len());
            list.read_new(fresh)?;
            if list.holes.len() > known {
                fill_holes(disk, list.number, fresh, from)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, slot: Slot) {
        let at = self.slots.len();
        let card = &slot.card;
        match card.kind {
            Kind::Result => {
                self.results.insert(card.id(), at);
            }
            Kind::Gap => {
                self.gaps.insert(card.key, at);
            }
            Kind::Action => {
                self.actions.insert(card.key.action, at);
            }
            Kind::Setting => {
                self.settings.insert(card.key, at);
            }
            Kind::Custody => {}
        }
        self.slots.push(slot);
    }

    fn has_result(&self, key: ResultKey) -> bool {
        let range = ResultId::new(key, Version(0))..=ResultId::new(key, Version(u32::MAX));
        self.results.range(range).next().is_some()
    }
}

/// Opens a list; `None` where it is not there yet.
fn open_list(disk: &dyn Disk, number: u32) -> Result<Option<List>, StoreError> {
    let name = match number {
        0 => layout::ADOPTED.to_string(),
        number => layout::list(number),
    };
    let file = match disk.read(&name) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StoreError::io(format!("open {name}"), e)),
    };
    if file.len().attempt(|| format!("read {name}"))? < HEADER_LEN {
        // Being created at this moment.
        return Ok(None);
    }
    List::open(number, name, file).map(Some)
}

/// Finds in the packs what stood in damaged records of a list.
fn fill_holes(
    disk: &dyn Disk,
    number: u32,
    fresh: &mut Vec<Slot>,
    from: usize,
) -> Result<(), StoreError> {
    let listed: Vec<Slot> = fresh.get(from..).unwrap_or_default().to_vec();
    if number == 0 {
        return fill_adopted(disk, &listed, fresh);
    }
    let name = layout::pack(number);
    let attempt = || format!("read {name}");
    let file = disk.read(&name).attempt(attempt)?;
    let mask = Header::read(&*file, &name)?.mask;
    let mut at = HEADER_LEN;
    for slot in &listed {
        while at < slot.place.start {
            let Ok(found) = scan::entry_at(&*file, &mask, number, at).attempt(attempt)? else {
                break;
            };
            at = found.end;
            fresh.push(unlisted(found.card, found.place));
        }
        at = end_of(slot);
    }
    Ok(())
}

fn fill_adopted(disk: &dyn Disk, listed: &[Slot], fresh: &mut Vec<Slot>) -> Result<(), StoreError> {
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
        if let Ok((card, place, _)) = single_entry(disk, &layout::pack(number), number)? {
            fresh.push(unlisted(card, place));
        }
    }
    Ok(())
}

fn unlisted(card: super::card::Card, place: super::card::Place) -> Slot {
    Slot {
        card,
        place,
        list: NO_LIST,
        json_at: 0,
        json_len: 0,
    }
}
