//! A disk in memory for tests. It simulates a power loss, which loses unsynced
//! data, at any operation, and a full disk.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::disk::{Disk, DiskFile};

/// Fate of unsynced bytes at a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnsyncedBytes {
    Lost,
    /// A part of them remains, some of it as zeros. The number is the random
    /// seed.
    Torn(u64),
}

/// Content of sled's directory after a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SledAfterCrash {
    LastSync,
    Empty,
}

#[derive(Clone)]
pub(crate) struct MemoryDisk {
    state: Arc<Mutex<MemoryState>>,
    /// Directory in the file system for the files of sled and for a copy of
    /// them as of the last sync.
    home: PathBuf,
}

#[derive(Default)]
struct MemoryState {
    bytes: HashMap<u64, FileBytes>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    next_id: u64,
    operations: u64,
    fail_at: Option<u64>,
    fail_sync_of: Option<String>,
    failed: bool,
    /// Free space as reported by [`Disk::free`].
    free: Option<u64>,
    /// Bytes that can be written before writes fail.
    writable: Option<u64>,
}

#[derive(Clone, Default)]
struct FileBytes {
    now: Vec<u8>,
    durable: Vec<u8>,
}

struct MemoryFile {
    state: Arc<Mutex<MemoryState>>,
    id: u64,
    name: String,
}

fn folder_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

fn no_such_file() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl MemoryState {
    /// Counts an operation that changes the disk. It fails from `fail_at` on.
    fn operate(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.failed || self.fail_at.is_some_and(|at| self.operations >= at) {
            self.failed = true;
            return Err(io::Error::other("power lost"));
        }
        Ok(())
    }
}

impl MemoryDisk {
    pub(crate) fn new(home: &Path) -> Self {
        Self {
            state: Arc::default(),
            home: home.to_path_buf(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, MemoryState> {
        self.state.lock().unwrap()
    }

    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Makes the operation with this number, counted from 1, and all later ones
    /// fail.
    pub(crate) fn fail_at(&self, operation: u64) {
        self.lock().fail_at = Some(operation);
    }

    /// Makes the next sync of a file with this name ending fail, once.
    pub(crate) fn fail_sync_of(&self, ending: &str) {
        self.lock().fail_sync_of = Some(ending.into());
    }

    /// Sets the free space that is reported.
    pub(crate) fn set_free(&self, bytes: Option<u64>) {
        self.lock().free = bytes;
    }

    /// Sets the bytes that can be written before writes fail, regardless of the
    /// reported free space.
    pub(crate) fn set_writable(&self, bytes: Option<u64>) {
        self.lock().writable = bytes;
    }

    pub(crate) fn len_of(&self, name: &str) -> Option<usize> {
        let state = self.lock();
        Some(state.bytes[state.names.get(name)?].now.len())
    }

    pub(crate) fn flip(&self, name: &str, at: usize) {
        let mut state = self.lock();
        let id = state.names[name];
        state.bytes.get_mut(&id).unwrap().now[at] ^= 0x20;
    }

    /// Removes a file without counting an operation.
    pub(crate) fn forget(&self, name: &str) {
        self.lock().names.remove(name);
    }

    pub(crate) fn truncate(&self, name: &str, len: usize) {
        let mut state = self.lock();
        let id = state.names[name];
        state.bytes.get_mut(&id).unwrap().now.truncate(len);
    }

    /// A copy of the disk, including sled's directory.
    pub(crate) fn copy(&self, home: &Path) -> Self {
        let copy = Self::new(home);
        copy_folder(&self.sled_root(), &copy.sled_root());
        let (old, mut state) = (self.lock(), copy.lock());
        state.bytes = old.bytes.clone();
        state.names = old.names.clone();
        state.durable_names = old.durable_names.clone();
        state.next_id = old.next_id;
        drop(state);
        copy
    }

    fn sled_root(&self) -> PathBuf {
        self.home.join("catalogue")
    }

    fn snapshot(&self) -> PathBuf {
        self.home.join("synced")
    }

    /// The disk after a power loss.
    pub(crate) fn after_power_loss(
        &self,
        home: &Path,
        unsynced: UnsyncedBytes,
        sled: SledAfterCrash,
    ) -> Self {
        let disk = Self::new(home);
        if sled == SledAfterCrash::LastSync {
            copy_folder(&self.snapshot(), &disk.sled_root());
            copy_folder(&self.snapshot(), &disk.snapshot());
        }
        let old = self.lock();
        let mut state = disk.lock();
        state.names = old.durable_names.clone();
        state.durable_names = old.durable_names.clone();
        state.next_id = old.next_id;
        for (id, bytes) in &old.bytes {
            let left = bytes.after_power_loss(unsynced, *id);
            state.bytes.insert(
                *id,
                FileBytes {
                    now: left.clone(),
                    durable: left,
                },
            );
        }
        drop(state);
        disk
    }
}

impl FileBytes {
    fn after_power_loss(&self, unsynced: UnsyncedBytes, id: u64) -> Vec<u8> {
        let mut left = self.durable.clone();
        let UnsyncedBytes::Torn(seed) = unsynced else {
            return left;
        };
        let hash = blake3::hash(&(seed ^ id << 32).to_le_bytes());
        let random = |at: usize| usize::from(hash.as_bytes()[at]);
        if let Some(bytes) = self.now.get(left.len()..) {
            let kept = bytes.len() * random(0) / 255;
            let zeros = kept * random(1) / 255..(kept * random(1) / 255 + random(2) * 16).min(kept);
            let start = left.len();
            left.extend_from_slice(&bytes[..kept]);
            if random(3) > 128 {
                left[start..][zeros].fill(0);
            }
        }
        left
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).into_iter().flatten().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

impl Disk for MemoryDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let id = *self.lock().names.get(name).ok_or_else(no_such_file)?;
        Ok(Arc::new(MemoryFile {
            state: self.state.clone(),
            id,
            name: name.into(),
        }))
    }

    fn open_writable(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.open(name)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        {
            let mut state = self.lock();
            state.operate()?;
            match state.names.get(name).copied() {
                Some(id) => state.bytes.get_mut(&id).unwrap().now.clear(),
                None => {
                    let id = state.next_id;
                    state.next_id += 1;
                    state.bytes.insert(id, FileBytes::default());
                    state.names.insert(name.into(), id);
                }
            }
        }
        self.open(name)
    }

    fn create_folder(&self, _name: &str) -> io::Result<()> {
        self.lock().operate()
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        Ok(self
            .lock()
            .names
            .keys()
            .filter(|name| folder_of(name) == folder)
            .filter_map(|name| name.rsplit('/').next())
            .map(String::from)
            .collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        let id = state.names.remove(from).ok_or_else(no_such_file)?;
        state.names.insert(to.into(), id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        state.names.remove(name).ok_or_else(no_such_file)?;
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        let now = state.names.clone();
        state
            .durable_names
            .retain(|name, _| folder_of(name) != folder);
        state.durable_names.extend(
            now.into_iter()
                .filter(|(name, _)| folder_of(name) == folder),
        );
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(self.lock().free.unwrap_or(u64::MAX))
    }

    fn real_path(&self, folder: &str) -> PathBuf {
        self.home.join(folder)
    }

    fn sync_sled(&self, _path: &Path) -> io::Result<()> {
        self.lock().operate()?;
        copy_folder(&self.sled_root(), &self.snapshot());
        Ok(())
    }
}

impl MemoryFile {
    fn with<T>(&self, work: impl FnOnce(&mut FileBytes) -> T) -> T {
        work(self.state.lock().unwrap().bytes.get_mut(&self.id).unwrap())
    }
}

impl DiskFile for MemoryFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.with(|bytes| {
            let from = bytes.now.get(offset as usize..).unwrap_or_default();
            let count = from.len().min(buffer.len());
            buffer[..count].copy_from_slice(&from[..count]);
            count
        }))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let fits = {
            let mut state = self.state.lock().unwrap();
            state.operate()?;
            let writable = state.writable.unwrap_or(u64::MAX) as usize;
            let fits = bytes.len().min(writable);
            state.writable = state.writable.map(|writable| writable - fits as u64);
            fits
        };
        self.with(|file| {
            let end = offset as usize + fits;
            if file.now.len() < end {
                file.now.resize(end, 0);
            }
            file.now[offset as usize..end].copy_from_slice(&bytes[..fits]);
        });
        if fits < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.state.lock().unwrap().operate()?;
        self.with(|bytes| bytes.now.resize(len as usize, 0));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.with(|bytes| bytes.now.len() as u64))
    }

    fn sync(&self) -> io::Result<()> {
        {
            let mut state = self.state.lock().unwrap();
            state.operate()?;
            let fails = state
                .fail_sync_of
                .take_if(|ending| self.name.ends_with(ending.as_str()));
            if fails.is_some() {
                return Err(io::Error::other("sync failed"));
            }
        }
        self.with(|bytes| bytes.durable = bytes.now.clone());
        Ok(())
    }
}
