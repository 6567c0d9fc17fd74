//! The writer's keyed catalogue in sled: what is sealed under which key, and
//! the journal. Only points into the packs; can be deleted at any time.
//!
//! **Invariant**: holds a prefix of what the packs hold, or is rebuilt.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::StoreError;
use crate::disk::Disk;
use crate::error::Attempt;
use crate::format::entry::{ENTRY_HEADER_LEN, EntryHeader, EntryLocation, EntryType, FieldReader};
use crate::format::layout;
use crate::format::pack_index::PackIndexEntry;
use evidence::{ResultKey, Seq};

/// **Units**: bytes sled may keep of its pages in memory.
const CACHE: u64 = 64 << 20;
/// Entries put into sled at once while rebuilding.
const REBUILD_BATCH: usize = 10_000;
/// sled lets go of its lock on a thread of its own, some time after closing.
const LOCK_WAIT: Duration = Duration::from_secs(3);
const META: &[u8] = b"m";

/// How far the catalogue goes, and a digest of the places it points to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CatalogueCheckpoint {
    pub(crate) last: Seq,
    pub(crate) count: u64,
    chain: u64,
}

impl CatalogueCheckpoint {
    /// Takes in the next entry, in the order of Seqs.
    pub(crate) fn add(&mut self, card: &EntryHeader, place: &EntryLocation) {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.chain.to_le_bytes());
        hash.update(&card.to_bytes());
        hash.update(&place.to_bytes());
        let mut word = [0; 8];
        word.iter_mut()
            .zip(hash.finalize().as_bytes())
            .for_each(|(to, from)| *to = *from);
        *self = Self {
            last: card.seq,
            count: self.count + 1,
            chain: u64::from_le_bytes(word),
        };
    }

    fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.last.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..].copy_from_slice(&self.chain.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(bytes);
        Some(Self {
            last: Seq(u64::from_le_bytes(fields.take()?)),
            count: u64::from_le_bytes(fields.take()?),
            chain: u64::from_le_bytes(fields.take()?),
        })
    }
}

/// An open catalogue.
pub(crate) struct CatalogueDb {
    db: sled::Db,
    folder: std::path::PathBuf,
    disk: Arc<dyn Disk>,
}

/// A catalogue brought up to the packs.
pub(crate) struct OpenedCatalogue {
    pub(crate) keyed: CatalogueDb,
    pub(crate) extent: CatalogueCheckpoint,
    /// Why it was built anew.
    pub(crate) rebuilt: Option<String>,
    /// How far one went that knew entries the packs no longer hold, or others.
    pub(crate) beyond: Option<Seq>,
}

/// Why a catalogue is not used.
struct UnusableCatalogue {
    why: String,
    held: Option<CatalogueCheckpoint>,
}

impl UnusableCatalogue {
    fn because(why: String) -> Self {
        Self { why, held: None }
    }
}

/// What a card is found by.
pub(crate) fn ident(card: &EntryHeader) -> Vec<u8> {
    let mut ident = vec![card.kind as u8];
    match card.kind {
        EntryType::Custody => ident.extend_from_slice(&card.sha256.0),
        _ => ident.extend_from_slice(&card.key.to_bytes()),
    }
    if card.kind == EntryType::Result {
        ident.extend_from_slice(&card.version.to_be_bytes());
    }
    ident
}

impl CatalogueDb {
    /// Opens the newest catalogue and brings it up to `slots`, the journal in
    /// order; a fresh one where there is none or it cannot be trusted. Where it
    /// knew entries that are gone, `bump_generation` is called before anything forgets
    /// that it did.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        slots: &[PackIndexEntry],
        bump_generation: &mut dyn FnMut() -> Result<(), StoreError>,
    ) -> Result<OpenedCatalogue, StoreError> {
        let root = disk.real_path(layout::CATALOGUE);
        std::fs::create_dir_all(&root).attempt(|| "create the catalogue's folder".into())?;
        let newest = numbers(&root).into_iter().max();
        let mut rebuilt = newest
            .is_none()
            .then(|| "there was none".to_string())
            .filter(|_| !slots.is_empty());
        let mut beyond = None;
        if let Some(number) = newest {
            match Self::open_numbered(disk.clone(), number)?.and_then(|keyed| keyed.fit(slots)) {
                Ok((keyed, extent)) => {
                    let emptied = extent.count == 0 && !slots.is_empty();
                    rebuilt = emptied.then(|| "it was empty".to_string());
                    return keyed.replay(extent, slots, rebuilt, beyond);
                }
                Err(UnusableCatalogue { why, held }) => (rebuilt, beyond) = (Some(why), held),
            }
        }
        if beyond.is_some() {
            bump_generation()?;
        }
        let fresh = newest.unwrap_or(0) + 1;
        let keyed = Self::open_numbered(disk, fresh)?
            .map_err(|UnusableCatalogue { why, .. }| StoreError::Catalogue { detail: why })?;
        let opened = keyed.replay(CatalogueCheckpoint::default(), slots, rebuilt, beyond)?;
        for number in numbers(&root).into_iter().filter(|number| *number < fresh) {
            // Derived and no longer looked at: one that stays does no harm.
            let _ = std::fs::remove_dir_all(root.join(format!("{number:04}")));
        }
        Ok(opened)
    }

    fn open_numbered(
        disk: Arc<dyn Disk>,
        number: u32,
    ) -> Result<Result<Self, UnusableCatalogue>, StoreError> {
        let folder = disk
            .real_path(layout::CATALOGUE)
            .join(format!("{number:04}"));
        let db = match open_sled(&folder) {
            Ok(db) => db,
            Err(StoreError::Catalogue { detail }) => {
                return Ok(Err(UnusableCatalogue::because(detail)));
            }
            Err(e) => return Err(e),
        };
        let name = format!("{}/{number:04}", layout::CATALOGUE);
        for folder in [name.as_str(), layout::CATALOGUE, ""] {
            disk.sync_folder(folder)
                .attempt(|| "sync the catalogue's folder".into())?;
        }
        Ok(Ok(Self { db, folder, disk }))
    }

    /// Whether it holds what the packs hold, as far as it goes.
    fn fit(
        self,
        slots: &[PackIndexEntry],
    ) -> Result<(Self, CatalogueCheckpoint), UnusableCatalogue> {
        let held = self
            .extent()
            .map_err(|e| UnusableCatalogue::because(e.to_string()))?;
        let mut extent = CatalogueCheckpoint::default();
        slots
            .iter()
            .take_while(|slot| slot.card.seq <= held.last)
            .for_each(|slot| extent.add(&slot.card, &slot.place));
        if extent == held {
            return Ok((self, held));
        }
        Err(UnusableCatalogue {
            why: format!(
                "it held {} entries up to {}, the packs hold {} up to there, or others",
                held.count, held.last, extent.count
            ),
            held: Some(held),
        })
    }

    /// Takes in what stands in the packs behind `extent`.
    fn replay(
        self,
        mut extent: CatalogueCheckpoint,
        slots: &[PackIndexEntry],
        rebuilt: Option<String>,
        beyond: Option<CatalogueCheckpoint>,
    ) -> Result<OpenedCatalogue, StoreError> {
        let from = slots.partition_point(|slot| slot.card.seq <= extent.last);
        let (_, news) = slots.split_at(from);
        for batch in news.chunks(REBUILD_BATCH) {
            let entries: Vec<_> = batch.iter().map(|slot| (slot.card, slot.place)).collect();
            extent = self.insert(extent, &entries)?;
        }
        Ok(OpenedCatalogue {
            keyed: self,
            extent,
            rebuilt,
            beyond: beyond.map(|held| held.last),
        })
    }

    fn extent(&self) -> Result<CatalogueCheckpoint, StoreError> {
        match self.get(META)? {
            None => Ok(CatalogueCheckpoint::default()),
            Some(bytes) => {
                CatalogueCheckpoint::from_bytes(&bytes).ok_or_else(|| StoreError::Catalogue {
                    detail: "it does not say how far it goes".into(),
                })
            }
        }
    }

    /// Puts records and journal entries in, in one batch, and makes it durable.
    pub(crate) fn insert(
        &self,
        mut extent: CatalogueCheckpoint,
        entries: &[(EntryHeader, EntryLocation)],
    ) -> Result<CatalogueCheckpoint, StoreError> {
        let mut batch = sled::Batch::default();
        for (card, place) in entries {
            let ident = ident(card);
            let mut value = card.to_bytes().to_vec();
            value.extend_from_slice(&place.to_bytes());
            batch.insert(journal_key(card.seq), ident.as_slice());
            batch.insert(ident, value);
            extent.add(card, place);
        }
        batch.insert(META, &extent.to_bytes());
        guard(|| {
            self.db.apply_batch(batch)?;
            self.db.flush()
        })?;
        self.disk
            .sync_sled(&self.folder)
            .attempt(|| "sync the catalogue".into())?;
        Ok(extent)
    }

    fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        guard(|| self.db.get(key))
    }

    /// The card found by `ident`.
    pub(crate) fn find(
        &self,
        ident: &[u8],
    ) -> Result<Option<(EntryHeader, EntryLocation)>, StoreError> {
        self.get(ident)?.map(|value| read_value(&value)).transpose()
    }

    /// All versions of a result, oldest first.
    pub(crate) fn versions(
        &self,
        key: ResultKey,
    ) -> Result<Vec<(EntryHeader, EntryLocation)>, StoreError> {
        let prefix = result_prefix(key);
        guard(|| {
            self.db
                .scan_prefix(&prefix)
                .values()
                .collect::<Result<Vec<_>, _>>()
        })?
        .iter()
        .map(|value| read_value(value))
        .collect()
    }

    /// The latest version of a result.
    pub(crate) fn latest(
        &self,
        key: ResultKey,
    ) -> Result<Option<(EntryHeader, EntryLocation)>, StoreError> {
        let prefix = result_prefix(key);
        guard(|| {
            self.db
                .scan_prefix(&prefix)
                .values()
                .next_back()
                .transpose()
        })?
        .map(|value| read_value(&value))
        .transpose()
    }
}

fn result_prefix(key: ResultKey) -> Vec<u8> {
    let mut prefix = vec![EntryType::Result as u8];
    prefix.extend_from_slice(&key.to_bytes());
    prefix
}

fn journal_key(seq: Seq) -> Vec<u8> {
    let mut key = b"j".to_vec();
    key.extend_from_slice(&seq.0.to_be_bytes());
    key
}

fn read_value(value: &[u8]) -> Result<(EntryHeader, EntryLocation), StoreError> {
    EntryHeader::from_bytes(value)
        .zip(
            value
                .get(ENTRY_HEADER_LEN..)
                .and_then(EntryLocation::from_bytes),
        )
        .ok_or_else(|| StoreError::Catalogue {
            detail: "it holds a value that is no card".into(),
        })
}

fn numbers(root: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(root) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

fn open_sled(folder: &Path) -> Result<sled::Db, StoreError> {
    let start = Instant::now();
    loop {
        let opened = guard(|| {
            sled::Config::new()
                .path(folder)
                .cache_capacity(CACHE)
                .flush_every_ms(None)
                .open()
        });
        match opened {
            Err(StoreError::Catalogue { detail })
                if detail.contains("could not acquire lock") && start.elapsed() < LOCK_WAIT =>
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => return opened,
        }
    }
}

/// sled panics where others return errors.
fn guard<T>(work: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let detail = match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(e)) => e.to_string(),
        Err(panic) => panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string()))
            .unwrap_or_else(|| "sled panicked".into()),
    };
    Err(StoreError::Catalogue { detail })
}
