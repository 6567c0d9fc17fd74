//! Catalogue database of the writer, in sled: key → latest entry, and Seq → key.
//! It contains headers and locations only.
//!
//! Derived: it can be deleted at any time and is rebuilt from the packs.
//!
//! **Invariant**: it contains a prefix of the entries of the packs. A database
//! that does not is replaced by a new one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::StoreError;
use crate::disk::Disk;
use crate::error::IoContext;
use crate::format::entry::{ENTRY_HEADER_LEN, EntryHeader, EntryLocation, EntryType, FieldReader};
use crate::format::layout;
use crate::format::pack_index::PackIndexEntry;
use evidence::{ResultKey, Seq};

/// **Units**: bytes of pages that sled keeps in memory.
const CACHE: u64 = 64 << 20;
/// Entries inserted in one batch while rebuilding.
const REBUILD_BATCH: usize = 10_000;
/// Time to wait for the lock of sled, which a background thread releases some
/// time after the database was closed.
const LOCK_WAIT: Duration = Duration::from_secs(3);
const CHECKPOINT_KEY: &[u8] = b"m";

/// How far the catalogue has read the journal, and a digest of all entries up
/// to there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CatalogueCheckpoint {
    pub(crate) last: Seq,
    pub(crate) count: u64,
    digest: u64,
}

impl CatalogueCheckpoint {
    /// Adds the next entry, in the order of Seqs.
    fn add(&mut self, header: &EntryHeader, location: &EntryLocation) {
        let mut hash = blake3::Hasher::new();
        hash.update(&self.digest.to_le_bytes());
        hash.update(&header.to_bytes());
        hash.update(&location.to_bytes());
        let mut digest = [0; 8];
        digest
            .iter_mut()
            .zip(hash.finalize().as_bytes())
            .for_each(|(to, from)| *to = *from);
        *self = Self {
            last: header.seq,
            count: self.count + 1,
            digest: u64::from_le_bytes(digest),
        };
    }

    fn to_bytes(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..8].copy_from_slice(&self.last.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.count.to_le_bytes());
        bytes[16..].copy_from_slice(&self.digest.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(bytes);
        Some(Self {
            last: Seq(u64::from_le_bytes(fields.take()?)),
            count: u64::from_le_bytes(fields.take()?),
            digest: u64::from_le_bytes(fields.take()?),
        })
    }
}

/// An open catalogue database.
pub(crate) struct CatalogueDb {
    db: sled::Db,
    folder: PathBuf,
    disk: Arc<dyn Disk>,
}

/// A catalogue database that contains all entries of the packs.
pub(crate) struct OpenedCatalogue {
    pub(crate) db: CatalogueDb,
    pub(crate) checkpoint: CatalogueCheckpoint,
    /// Why the database was rebuilt.
    pub(crate) rebuild_reason: Option<String>,
    /// The last Seq of a replaced database that contained entries which the
    /// packs no longer have.
    pub(crate) lost_up_to: Option<Seq>,
}

/// Why a database cannot be used, and its checkpoint if it is readable.
struct UnusableCatalogue {
    reason: String,
    checkpoint: Option<CatalogueCheckpoint>,
}

impl UnusableCatalogue {
    fn unreadable(reason: String) -> Self {
        Self {
            reason,
            checkpoint: None,
        }
    }
}

/// Key of an entry. Entries with the same key replace each other.
pub(crate) fn entry_key(header: &EntryHeader) -> Vec<u8> {
    match header.kind {
        EntryType::Result => {
            let mut key = lookup_key(header.kind, header.key);
            key.extend_from_slice(&header.version.to_be_bytes());
            key
        }
        EntryType::Custody => {
            let mut key = vec![header.kind as u8];
            key.extend_from_slice(&header.sha256.0);
            key
        }
        _ => lookup_key(header.kind, header.key),
    }
}

/// Key of a gap, action, setting or fleet note; for a result, the prefix of the
/// keys of its versions.
pub(crate) fn lookup_key(kind: EntryType, key: ResultKey) -> Vec<u8> {
    let mut bytes = vec![kind as u8];
    bytes.extend_from_slice(&key.to_bytes());
    bytes
}

impl CatalogueDb {
    /// Opens the newest database and inserts the entries it lacks. `entries` is
    /// the whole journal, in order. If there is no usable database, creates a
    /// new one.
    ///
    /// If a database contains entries that the packs no longer have, calls
    /// `bump_generation` before it is replaced. A crash in between does not
    /// hide the loss.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        entries: &[PackIndexEntry],
        bump_generation: &mut dyn FnMut() -> Result<(), StoreError>,
    ) -> Result<OpenedCatalogue, StoreError> {
        let root = disk.real_path(layout::CATALOGUE);
        std::fs::create_dir_all(&root).attempt(|| "create the catalogue directory".into())?;
        let newest = numbers(&root).into_iter().max();
        let unusable = match newest {
            None => (!entries.is_empty())
                .then(|| UnusableCatalogue::unreadable("it was missing".into())),
            Some(number) => {
                match Self::open_numbered(disk.clone(), number)?.and_then(|db| db.check(entries)) {
                    Err(unusable) => Some(unusable),
                    Ok((db, checkpoint)) => {
                        let was_empty = checkpoint.count == 0 && !entries.is_empty();
                        return Ok(OpenedCatalogue {
                            checkpoint: db.replay(checkpoint, entries)?,
                            db,
                            rebuild_reason: was_empty.then(|| "it was empty".into()),
                            lost_up_to: None,
                        });
                    }
                }
            }
        };
        let lost_up_to = unusable
            .as_ref()
            .and_then(|unusable| unusable.checkpoint)
            .map(|checkpoint| checkpoint.last);
        if lost_up_to.is_some() {
            bump_generation()?;
        }
        let number = newest.unwrap_or(0) + 1;
        let db = Self::open_numbered(disk, number)?.map_err(|unusable| StoreError::Catalogue {
            detail: unusable.reason,
        })?;
        let checkpoint = db.replay(CatalogueCheckpoint::default(), entries)?;
        for old in numbers(&root).into_iter().filter(|old| *old < number) {
            // Best effort: older databases are never opened again.
            let _ = std::fs::remove_dir_all(root.join(format!("{old:04}")));
        }
        Ok(OpenedCatalogue {
            db,
            checkpoint,
            rebuild_reason: unusable.map(|unusable| unusable.reason),
            lost_up_to,
        })
    }

    fn open_numbered(
        disk: Arc<dyn Disk>,
        number: u32,
    ) -> Result<Result<Self, UnusableCatalogue>, StoreError> {
        let name = format!("{}/{number:04}", layout::CATALOGUE);
        let folder = disk.real_path(&name);
        let db = match open_sled(&folder) {
            Ok(db) => db,
            Err(StoreError::Catalogue { detail }) => {
                return Ok(Err(UnusableCatalogue::unreadable(detail)));
            }
            Err(e) => return Err(e),
        };
        for folder in [name.as_str(), layout::CATALOGUE, ""] {
            disk.sync_folder(folder)
                .attempt(|| "sync the catalogue directory".into())?;
        }
        Ok(Ok(Self { db, folder, disk }))
    }

    /// Whether the database contains a prefix of `entries` and nothing else.
    fn check(
        self,
        entries: &[PackIndexEntry],
    ) -> Result<(Self, CatalogueCheckpoint), UnusableCatalogue> {
        let stored = self
            .checkpoint()
            .map_err(|e| UnusableCatalogue::unreadable(e.to_string()))?;
        let mut expected = CatalogueCheckpoint::default();
        entries
            .iter()
            .take_while(|entry| entry.header.seq <= stored.last)
            .for_each(|entry| expected.add(&entry.header, &entry.location));
        if expected == stored {
            return Ok((self, stored));
        }
        Err(UnusableCatalogue {
            reason: format!(
                "it had {} entries up to {}, the packs have {} or other ones up to there",
                stored.count, stored.last, expected.count
            ),
            checkpoint: Some(stored),
        })
    }

    /// Inserts the entries after the checkpoint.
    fn replay(
        &self,
        mut checkpoint: CatalogueCheckpoint,
        entries: &[PackIndexEntry],
    ) -> Result<CatalogueCheckpoint, StoreError> {
        let from = entries.partition_point(|entry| entry.header.seq <= checkpoint.last);
        let (_, missing) = entries.split_at(from);
        for batch in missing.chunks(REBUILD_BATCH) {
            let batch: Vec<_> = batch
                .iter()
                .map(|entry| (entry.header, entry.location))
                .collect();
            checkpoint = self.insert(checkpoint, &batch)?;
        }
        tracing::debug!(
            target: "store",
            entries = entries.len(),
            inserted = missing.len(),
            "catalogue opened"
        );
        Ok(checkpoint)
    }

    fn checkpoint(&self) -> Result<CatalogueCheckpoint, StoreError> {
        match self.get(CHECKPOINT_KEY)? {
            None => Ok(CatalogueCheckpoint::default()),
            Some(bytes) => {
                CatalogueCheckpoint::from_bytes(&bytes).ok_or_else(|| StoreError::Catalogue {
                    detail: "its checkpoint is damaged".into(),
                })
            }
        }
    }

    /// Inserts entries in one batch and syncs it. Returns the new checkpoint.
    pub(crate) fn insert(
        &self,
        mut checkpoint: CatalogueCheckpoint,
        entries: &[(EntryHeader, EntryLocation)],
    ) -> Result<CatalogueCheckpoint, StoreError> {
        let mut batch = sled::Batch::default();
        for (header, location) in entries {
            let key = entry_key(header);
            let mut value = header.to_bytes().to_vec();
            value.extend_from_slice(&location.to_bytes());
            batch.insert(journal_key(header.seq), key.as_slice());
            batch.insert(key, value);
            checkpoint.add(header, location);
        }
        batch.insert(CHECKPOINT_KEY, &checkpoint.to_bytes());
        guard(|| {
            self.db.apply_batch(batch)?;
            self.db.flush()
        })?;
        self.disk
            .sync_sled(&self.folder)
            .attempt(|| "sync the catalogue database".into())?;
        Ok(checkpoint)
    }

    fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        guard(|| self.db.get(key))
    }

    /// The latest entry with a key; see [`entry_key`].
    pub(crate) fn find(
        &self,
        key: &[u8],
    ) -> Result<Option<(EntryHeader, EntryLocation)>, StoreError> {
        self.get(key)?.map(|value| parse_value(&value)).transpose()
    }

    /// All versions of a result, oldest first.
    pub(crate) fn versions(
        &self,
        key: ResultKey,
    ) -> Result<Vec<(EntryHeader, EntryLocation)>, StoreError> {
        let prefix = lookup_key(EntryType::Result, key);
        guard(|| {
            self.db
                .scan_prefix(&prefix)
                .values()
                .collect::<Result<Vec<_>, _>>()
        })?
        .iter()
        .map(|value| parse_value(value))
        .collect()
    }

    /// The latest version of a result.
    pub(crate) fn latest(
        &self,
        key: ResultKey,
    ) -> Result<Option<(EntryHeader, EntryLocation)>, StoreError> {
        let prefix = lookup_key(EntryType::Result, key);
        guard(|| {
            self.db
                .scan_prefix(&prefix)
                .values()
                .next_back()
                .transpose()
        })?
        .map(|value| parse_value(&value))
        .transpose()
    }
}

fn journal_key(seq: Seq) -> Vec<u8> {
    let mut key = b"j".to_vec();
    key.extend_from_slice(&seq.0.to_be_bytes());
    key
}

fn parse_value(value: &[u8]) -> Result<(EntryHeader, EntryLocation), StoreError> {
    EntryHeader::from_bytes(value)
        .zip(
            value
                .get(ENTRY_HEADER_LEN..)
                .and_then(EntryLocation::from_bytes),
        )
        .ok_or_else(|| StoreError::Catalogue {
            detail: "a value is not a valid entry header".into(),
        })
}

/// Numbers of the databases in the catalogue directory.
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

/// Runs an operation of sled. sled panics on some damage instead of returning
/// an error.
fn guard<T>(operation: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    let detail = match catch_unwind(AssertUnwindSafe(operation)) {
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
