//! The readers' side: the side files read into memory. Opens no sled, takes
//! no lock, writes nothing but custody notes, and works on read-only media
//! and while a writer writes.
//!
//! **Invariant**: what it shows is a prefix of the journal: where a Seq is
//! there, every lower one that was ever committed is there too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::StoreError;
use crate::disk::Disk;
use crate::disk::fs::FsDisk;
use crate::error::Attempt;
use crate::format::archive_file::Archive;
use crate::format::entry::{
    CustodyEvent, Entry, EntryKind, EntryType, FleetNote, SealedResult, fleet_key, read_entry,
    read_record,
};
use crate::format::layout;
use crate::format::pack;
use crate::format::pack::read_json;
use crate::format::pack_index::PackIndexEntry;
use crate::read::catalogue_state::CatalogueState;
use crate::read::checkpoint::JournalCheckpoint;
use crate::read::pending_custody;
use crate::read::reader::{Damage, RecordReader};
use evidence::{Action, ActionId, Gap, Record, ResultId, ResultKey, Seq, Version};

/// Packs held open: an archive may have thousands.
const OPEN_FILES_MAX: usize = 64;

/// Everything an archive holds, as of the last [`refresh`](Self::refresh).
///
/// **Cost**: some 200 bytes of memory an entry; facts stay on disk until they
/// are asked for.
pub struct Catalogue {
    dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    archive: RwLock<Archive>,
    contents: RwLock<CatalogueState>,
    files: Mutex<HashMap<u32, pack::PackFile>>,
}

impl Catalogue {
    /// Opens the archive in `dir` for reading.
    ///
    /// **Cost**: reads the side files, some 700 bytes an entry.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(FsDisk::new(dir)), dir)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        Self::over(disk, dir, CatalogueState::default())
    }

    /// Goes on from what is read already.
    pub(crate) fn over(
        disk: Arc<dyn Disk>,
        dir: &Path,
        contents: CatalogueState,
    ) -> Result<Self, StoreError> {
        let archive = Archive::read(&*disk, dir)?;
        let catalogue = Self {
            dir: dir.to_path_buf(),
            disk,
            archive: RwLock::new(archive),
            contents: RwLock::new(contents),
            files: Mutex::default(),
        };
        catalogue.refresh()?;
        Ok(catalogue)
    }

    pub(crate) fn checkpoint(&self, seq: Seq) -> Option<JournalCheckpoint> {
        self.read().checkpoint(self.archive_id(), seq)
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.read().is_damaged()
    }

    /// Takes in what was committed since.
    ///
    /// **Cost**: reads what is new; some file operations for each shared pack
    /// where nothing is.
    pub fn refresh(&self) -> Result<(), StoreError> {
        let archive = Archive::read(&*self.disk, &self.dir)?;
        let mut contents = self.write();
        contents.refresh(&*self.disk, archive.key())?;
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

    /// The results sealed behind `seq`, in order.
    ///
    /// **Cost**: memory only.
    pub fn results_since(&self, seq: Seq) -> Vec<SealedResult> {
        let contents = self.read();
        let from = contents.slots.partition_point(|slot| slot.card.seq <= seq);
        contents.slots[from..]
            .iter()
            .filter(|slot| slot.card.kind == EntryType::Result)
            .map(|slot| SealedResult {
                seq: slot.card.seq,
                id: slot.card.id(),
                bytes: slot.card.bytes,
            })
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

    /// The fleet runs, in the order of their ids.
    pub fn fleet_runs(&self) -> Result<Vec<FleetNote>, StoreError> {
        let contents = self.read();
        let heads = contents.fleet.iter().filter(|(key, _)| key.index.0 == 0);
        let places: Vec<usize> = heads.map(|(_, at)| *at).collect();
        self.fleet_at(&contents, places)
    }

    /// Where each place of a fleet run has come to, in the order of places.
    ///
    /// **Cost**: one small read a place.
    pub fn fleet(&self, run: [u8; 8]) -> Result<Vec<FleetNote>, StoreError> {
        let contents = self.read();
        let range = fleet_key(run, 0)..=fleet_key(run, u32::MAX);
        let places: Vec<usize> = contents.fleet.range(range).map(|(_, at)| *at).collect();
        self.fleet_at(&contents, places)
    }

    fn fleet_at(
        &self,
        contents: &CatalogueState,
        places: Vec<usize>,
    ) -> Result<Vec<FleetNote>, StoreError> {
        let mut notes = Vec::with_capacity(places.len());
        for at in places {
            if let Some(EntryKind::Fleet(note)) = self.kind_at(contents, at)? {
                notes.push(note);
            }
        }
        Ok(notes)
    }

    fn kind_at(
        &self,
        contents: &CatalogueState,
        at: usize,
    ) -> Result<Option<EntryKind>, StoreError> {
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

    fn open_body(&self, slot: &PackIndexEntry) -> Result<RecordReader, StoreError> {
        let name = || layout::pack(slot.place.pack);
        let (file, mask) = self.pack(slot)?;
        RecordReader::open(file, mask, &slot.card, &slot.place)
            .attempt(|| format!("read {}", name()))?
            .map_err(|damage| StoreError::damaged(name(), damage.to_string()))
    }

    /// The pack an entry stands in, open.
    pub(crate) fn pack(&self, slot: &PackIndexEntry) -> Result<pack::PackFile, StoreError> {
        let number = slot.place.pack;
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((file, mask)) = files.get(&number) {
            return Ok((file.clone(), mask.clone()));
        }
        if files.len() >= OPEN_FILES_MAX {
            files.clear();
        }
        let opened = pack::open(&*self.disk, self.archive().key(), &slot.card, &slot.place)?;
        files.insert(number, opened.clone());
        Ok(opened)
    }

    /// Notes who did what, for the next writer to fold in.
    ///
    /// **Errors**: on read-only media; nothing depends on it.
    pub fn note(&self, event: &CustodyEvent) -> Result<(), StoreError> {
        pending_custody::append(&self.dir, &self.archive(), event)
            .attempt(|| format!("write {}", layout::NOTES))
    }

    /// Lines of the custody notes that are none.
    pub(crate) fn damaged_notes(&self) -> Result<Vec<Damage>, StoreError> {
        pending_custody::check(&self.dir, &self.archive())
            .attempt(|| format!("read {}", layout::NOTES))
    }

    /// The journal's places, in order.
    pub(crate) fn slots(&self) -> Vec<PackIndexEntry> {
        self.read().slots.clone()
    }

    /// Records of side files that are damaged: list and range.
    pub(crate) fn list_holes(&self) -> Result<Vec<(String, u64, u64)>, StoreError> {
        let contents = self.read();
        let mut holes = Vec::new();
        for list in contents.lists.values() {
            let tail = list.damaged_tail()?;
            holes.extend(
                list.holes
                    .iter()
                    .copied()
                    .chain(tail)
                    .map(|(from, to)| (list.name.clone(), from, to)),
            );
        }
        Ok(holes)
    }

    /// Side files that are missing or of which nothing can be read.
    pub(crate) fn lost_lists(&self) -> BTreeSet<String> {
        self.read().lost_lists.clone()
    }

    fn json(
        &self,
        contents: &CatalogueState,
        slot: &PackIndexEntry,
    ) -> Result<Vec<u8>, StoreError> {
        match contents.lists.get(&slot.list) {
            Some(list) => list.json(slot),
            None => {
                let key = self.archive().key();
                read_json(&*self.disk, key, &slot.card, &slot.place)
            }
        }
    }

    fn archive(&self) -> Archive {
        self.archive
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn read(&self) -> RwLockReadGuard<'_, CatalogueState> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, CatalogueState> {
        self.contents
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
