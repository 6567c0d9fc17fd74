//! The lowest layer: the operations that the store needs of a disk.
//!
//! [`Disk`] has two implementations: the file system, and, in tests, memory
//! that loses unsynced data. File names are relative to the archive's directory
//! and use `/`. This layer must not use the other layers of the store.

pub(crate) mod fs;
pub(crate) mod lock;
#[cfg(test)]
pub(crate) mod memory;
pub(crate) mod system;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Directory operations.
pub(crate) trait Disk: Send + Sync {
    /// Opens an existing file for reading.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for reading and writing.
    fn open_writable(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates an empty file or truncates an existing one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a directory unless it exists.
    fn create_folder(&self, name: &str) -> io::Result<()>;
    /// File names in a directory, unordered. Empty if the directory does not
    /// exist.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals in the directory durable.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// Free space for this user.
    ///
    /// **Units**: bytes.
    fn free(&self) -> io::Result<u64>;
    /// Path of a directory in the file system, for sled, which does its own
    /// I/O.
    fn real_path(&self, folder: &str) -> PathBuf;
    /// Makes the sled database at `path` durable.
    fn sync_sled(&self, path: &Path) -> io::Result<()>;
}

/// An open file with positioned I/O, shared between threads.
pub(crate) trait DiskFile: Send + Sync {
    /// Reads at least one byte, unless `offset` is at or after the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    /// Makes content and length durable.
    fn sync(&self) -> io::Result<()>;
}

/// Fills `buffer`.
///
/// **Errors**: `UnexpectedEof` if the file ends first.
pub(crate) fn read_exact_at(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    if read_full_at(file, buffer, offset)? == buffer.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Fills `buffer` up to the end of the file. Returns the number of bytes read.
pub(crate) fn read_full_at(
    file: &dyn DiskFile,
    buffer: &mut [u8],
    offset: u64,
) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// Replaces a small file atomically and durably.
pub(crate) fn replace(disk: &dyn Disk, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let target = if folder.is_empty() {
        name.to_string()
    } else {
        format!("{folder}/{name}")
    };
    let temporary = format!("{target}.new");
    let file = disk.create(&temporary)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    drop(file);
    disk.rename(&temporary, &target)?;
    disk.sync_folder(folder)
}

/// Reads a small file completely.
///
/// **Errors**: `InvalidData` if it is longer than `limit` bytes.
pub(crate) fn read_small(disk: &dyn Disk, name: &str, limit: usize) -> io::Result<Vec<u8>> {
    let file = disk.open(name)?;
    let len = usize::try_from(file.len()?)
        .ok()
        .filter(|len| *len <= limit)
        .ok_or(io::ErrorKind::InvalidData)?;
    let mut bytes = vec![0; len];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}
