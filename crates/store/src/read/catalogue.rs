//! The reader's view of an archive: the entries of all pack indexes, in memory.
//!
//! Works on read-only media and while another process writes.
//!
//! **Invariant**: the visible entries are a prefix of the journal. If an entry
//! is visible, every committed entry with a lower Seq is visible too.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use lru::LruCache;

use crate::StoreError;
use crate::disk::Disk;
use crate::disk::fs::FsDisk;
use crate::error::IoContext;
use crate::format::archive_file::Archive;
use crate::format::entry::{
    CustodyEvent, Entry, EntryKind, EntryType, FleetNote, SealedResult, fleet_key, parse_entry,
    parse_record,
};
use crate::format::layout;
use crate::format::pack;
use crate::format::pack::{PackFile, read_json};
use crate::format::pack_index::PackIndexEntry;
use crate::read::catalogue_state::CatalogueState;
use crate::read::checkpoint::JournalCheckpoint;
use crate::read::pending_custody;
use crate::read::reader::{Damage, RecordReader};
use evidence::{Action, ActionId, Gap, Record, ResultId, ResultKey, Seq, Version};

/// Packs that stay open. An archive may have thousands, more than a process may
/// open.
const OPEN_PACKS_MAX: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// All entries of an archive, as of the last [`refresh`](Self::refresh).
///
/// **Memory**: about 200 bytes for each entry. Facts stay on disk until they
/// are read.
pub struct Catalogue {
    dir: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    archive: RwLock<Archive>,
    state: RwLock<CatalogueState>,
    open_packs: Mutex<LruCache<u32, PackFile>>,
}

impl Catalogue {
    /// Opens the archive in `dir` for reading.
    ///
    /// **Errors**: `NoArchive` if there is no archive.
    ///
    /// **Cost**: reads the pack indexes, about 700 bytes for each entry.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(FsDisk::new(dir)), dir)
    }

    pub(crate) fn open_on(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, StoreError> {
        Self::resume(disk, dir, CatalogueState::default())
    }

    /// Continues from a state that has positions in the pack indexes.
    pub(crate) fn resume(
        disk: Arc<dyn Disk>,
        dir: &Path,
        state: CatalogueState,
    ) -> Result<Self, StoreError> {
        let archive = Archive::read(&*disk, dir)?;
        let catalogue = Self {
            dir: dir.to_path_buf(),
            disk,
            archive: RwLock::new(archive),
            state: RwLock::new(state),
            open_packs: Mutex::new(LruCache::new(OPEN_PACKS_MAX)),
        };
        catalogue.refresh()?;
        Ok(catalogue)
    }

    pub(crate) fn checkpoint(&self, seq: Seq) -> Option<JournalCheckpoint> {
        self.state().checkpoint(self.archive_id(), seq)
    }

    pub(crate) fn is_damaged(&self) -> bool {
        self.state().is_damaged()
    }

    /// Reads the entries committed since the last refresh.
    ///
    /// **Cost**: some file operations for each shared pack, and a read of the
    /// new entries.
    pub fn refresh(&self) -> Result<(), StoreError> {
        let archive = Archive::read(&*self.disk, &self.dir)?;
        let mut state = self.state_mut();
        state.refresh(&*self.disk, archive.key())?;
        *self.archive.write().unwrap_or_else(PoisonError::into_inner) = archive;
        Ok(())
    }

    pub fn archive_id(&self) -> [u8; 16] {
        self.archive().id
    }

    /// Changes when entries were lost. Structures derived from the entries must
    /// then be rebuilt.
    pub fn generation(&self) -> u64 {
        self.archive().generation
    }

    /// The Seq of the last entry; zero for an empty archive.
    pub fn last_seq(&self) -> Seq {
        self.state()
            .entries
            .last()
            .map_or(Seq::ZERO, |entry| entry.header.seq)
    }

    /// The entries after `seq`, in order. Holds no lock between entries.
    ///
    /// **Cost**: one small read for each entry.
    pub fn entries_since(&self, seq: Seq) -> impl Iterator<Item = Result<Entry, StoreError>> + '_ {
        let mut after = seq;
        std::iter::from_fn(move || {
            let state = self.state();
            let at = state
                .entries
                .partition_point(|entry| entry.header.seq <= after);
            let entry = *state.entries.get(at)?;
            after = entry.header.seq;
            Some(
                self.json(&state, &entry)
                    .and_then(|json| parse_entry(&entry.header, &json)),
            )
        })
    }

    /// All results in all versions, in the order of their ids.
    ///
    /// **Cost**: one small read for each result.
    pub fn records(&self) -> impl Iterator<Item = Result<Record, StoreError>> + '_ {
        let positions: Vec<usize> = self.state().results.values().copied().collect();
        positions.into_iter().filter_map(|at| self.record_at(at))
    }

    /// Number of results in all versions.
    pub fn record_count(&self) -> usize {
        self.state().results.len()
    }

    /// Whether any version of a result is sealed.
    pub fn has_result(&self, key: ResultKey) -> bool {
        self.state().has_result(key)
    }

    /// The results sealed after `seq`, in order.
    ///
    /// **Cost**: memory only.
    pub fn results_since(&self, seq: Seq) -> Vec<SealedResult> {
        let state = self.state();
        let from = state
            .entries
            .partition_point(|entry| entry.header.seq <= seq);
        state.entries[from..]
            .iter()
            .map(|entry| entry.header)
            .filter(|header| header.kind == EntryType::Result)
            .map(|header| SealedResult {
                seq: header.seq,
                id: header.id(),
                bytes: header.bytes,
            })
            .collect()
    }

    /// All versions of a result, oldest first.
    pub fn versions(&self, key: ResultKey) -> Result<Vec<Record>, StoreError> {
        let range = ResultId::new(key, Version(0))..=ResultId::new(key, Version(u32::MAX));
        let positions: Vec<usize> = self
            .state()
            .results
            .range(range)
            .map(|(_, at)| *at)
            .collect();
        positions
            .into_iter()
            .filter_map(|at| self.record_at(at))
            .collect()
    }

    pub fn latest(&self, key: ResultKey) -> Result<Option<Record>, StoreError> {
        let range = ResultId::new(key, Version(0))..=ResultId::new(key, Version(u32::MAX));
        let latest = self
            .state()
            .results
            .range(range)
            .next_back()
            .map(|(_, at)| *at);
        latest.and_then(|at| self.record_at(at)).transpose()
    }

    pub fn record(&self, id: ResultId) -> Result<Option<Record>, StoreError> {
        let at = self.state().results.get(&id).copied();
        at.and_then(|at| self.record_at(at)).transpose()
    }

    fn record_at(&self, at: usize) -> Option<Result<Record, StoreError>> {
        let state = self.state();
        let entry = state.entries.get(at)?;
        Some(
            self.json(&state, entry)
                .and_then(|json| parse_record(&entry.header, &json)),
        )
    }

    /// The gaps whose key has no result.
    pub fn gaps(&self) -> Result<Vec<Gap>, StoreError> {
        let state = self.state();
        let mut gaps = Vec::new();
        for (key, at) in &state.gaps {
            if state.has_result(*key) {
                continue;
            }
            if let Some(EntryKind::Gap(gap)) = self.kind_at(&state, *at)? {
                gaps.push(gap);
            }
        }
        Ok(gaps)
    }

    /// The latest note of each action.
    pub fn actions(&self) -> Result<Vec<Action>, StoreError> {
        let state = self.state();
        let mut actions = Vec::new();
        for at in state.actions.values() {
            if let Some(EntryKind::Action(action)) = self.kind_at(&state, *at)? {
                actions.push(action);
            }
        }
        Ok(actions)
    }

    pub fn action(&self, id: ActionId) -> Result<Option<Action>, StoreError> {
        let state = self.state();
        let Some(at) = state.actions.get(&id) else {
            return Ok(None);
        };
        Ok(match self.kind_at(&state, *at)? {
            Some(EntryKind::Action(action)) => Some(action),
            _ => None,
        })
    }

    /// The JSON of an action, as received.
    pub fn action_json(&self, id: ActionId) -> Result<Option<Vec<u8>>, StoreError> {
        let entry = {
            let state = self.state();
            state
                .actions
                .get(&id)
                .and_then(|at| state.entries.get(*at).copied())
        };
        let Some(entry) = entry else {
            return Ok(None);
        };
        let mut json = Vec::new();
        let mut reader = self.open_body(&entry)?;
        std::io::Read::read_to_end(&mut reader, &mut json)
            .attempt(|| format!("read action {id}"))?;
        Ok(Some(json))
    }

    /// The latest value of each setting, by name.
    pub fn settings(&self) -> Result<BTreeMap<String, serde_json::Value>, StoreError> {
        let state = self.state();
        let mut settings = BTreeMap::new();
        for at in state.settings.values() {
            if let Some(EntryKind::Setting(setting)) = self.kind_at(&state, *at)? {
                settings.insert(setting.name, setting.value);
            }
        }
        Ok(settings)
    }

    /// The latest note of each fleet run itself, in the order of run ids.
    pub fn fleet_runs(&self) -> Result<Vec<FleetNote>, StoreError> {
        let state = self.state();
        let runs = state.fleet.iter().filter(|(key, _)| key.index.0 == 0);
        self.fleet_notes(&state, runs.map(|(_, at)| *at))
    }

    /// The latest note of each place of a fleet run, in the order of places.
    ///
    /// **Cost**: one small read for each place.
    pub fn fleet(&self, run: [u8; 8]) -> Result<Vec<FleetNote>, StoreError> {
        let state = self.state();
        let range = fleet_key(run, 0)..=fleet_key(run, u32::MAX);
        self.fleet_notes(&state, state.fleet.range(range).map(|(_, at)| *at))
    }

    fn fleet_notes(
        &self,
        state: &CatalogueState,
        positions: impl Iterator<Item = usize>,
    ) -> Result<Vec<FleetNote>, StoreError> {
        let mut notes = Vec::new();
        for at in positions {
            if let Some(EntryKind::Fleet(note)) = self.kind_at(state, at)? {
                notes.push(note);
            }
        }
        Ok(notes)
    }

    fn kind_at(&self, state: &CatalogueState, at: usize) -> Result<Option<EntryKind>, StoreError> {
        let Some(entry) = state.entries.get(at) else {
            return Ok(None);
        };
        let json = self.json(state, entry)?;
        Ok(Some(parse_entry(&entry.header, &json)?.kind))
    }

    /// Opens the body of a result, as downloaded.
    ///
    /// **Errors**: `Unknown` if there is no such result; `Damaged` if its
    /// trailer is damaged.
    ///
    /// **Cost**: one read of the trailer, later one read for each frame.
    pub fn reader(&self, id: ResultId) -> Result<RecordReader, StoreError> {
        let entry = {
            let state = self.state();
            state
                .results
                .get(&id)
                .and_then(|at| state.entries.get(*at).copied())
        };
        self.open_body(&entry.ok_or(StoreError::Unknown { id })?)
    }

    fn open_body(&self, entry: &PackIndexEntry) -> Result<RecordReader, StoreError> {
        let name = || layout::pack(entry.location.pack);
        RecordReader::open(self.open_pack(entry)?, &entry.header, &entry.location)
            .attempt(|| format!("read {}", name()))?
            .map_err(|damage| StoreError::damaged(name(), damage.to_string()))
    }

    /// Opens the pack of an entry, or returns an open one.
    pub(crate) fn open_pack(&self, entry: &PackIndexEntry) -> Result<PackFile, StoreError> {
        let mut open_packs = self
            .open_packs
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let number = entry.location.pack;
        if let Some(pack) = open_packs.get(&number) {
            return Ok(pack.clone());
        }
        let key = self.archive().key();
        let pack = pack::open(&*self.disk, key, &entry.header, &entry.location)?;
        open_packs.put(number, pack.clone());
        Ok(pack)
    }

    /// Notes a custody event, to be merged into the journal by the next writer.
    ///
    /// **Errors**: I/O, for example on read-only media. Callers may ignore it.
    pub fn note(&self, event: &CustodyEvent) -> Result<(), StoreError> {
        pending_custody::append(&self.dir, &self.archive(), event)
            .attempt(|| format!("write {}", layout::PENDING_CUSTODY))
    }

    /// The damaged lines of the pending custody events.
    pub(crate) fn damaged_custody_lines(&self) -> Result<Vec<Damage>, StoreError> {
        pending_custody::check(&self.dir, &self.archive())
            .attempt(|| format!("read {}", layout::PENDING_CUSTODY))
    }

    /// The whole journal, in order.
    pub(crate) fn entries(&self) -> Vec<PackIndexEntry> {
        self.state().entries.clone()
    }

    /// Damaged ranges of the pack indexes: name, start and end.
    pub(crate) fn damaged_index_ranges(&self) -> Result<Vec<(String, u64, u64)>, StoreError> {
        let state = self.state();
        let mut ranges = Vec::new();
        for index in state.indexes.values() {
            let tail = index.damaged_tail()?;
            ranges.extend(
                index
                    .damaged_ranges
                    .iter()
                    .copied()
                    .chain(tail)
                    .map(|(from, to)| (index.name.clone(), from, to)),
            );
        }
        Ok(ranges)
    }

    /// Names of missing pack indexes and of those with a damaged header.
    pub(crate) fn unreadable_indexes(&self) -> BTreeSet<String> {
        self.state().unreadable_indexes.clone()
    }

    fn json(&self, state: &CatalogueState, entry: &PackIndexEntry) -> Result<Vec<u8>, StoreError> {
        match state.indexes.get(&entry.index) {
            Some(index) => index.read_json(entry),
            None => {
                let key = self.archive().key();
                read_json(&*self.disk, key, &entry.header, &entry.location)
            }
        }
    }

    fn archive(&self) -> Archive {
        self.archive
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn state(&self) -> RwLockReadGuard<'_, CatalogueState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, CatalogueState> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}
