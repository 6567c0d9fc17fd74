//! The seam under the store: what it asks of a disk, and nothing more.
//!
//! Two implementations: a folder of the file system, and (in tests) memory
//! that forgets what was not synced. Names are relative to the archive and
//! `/`-joined.

pub(crate) mod fs;
pub(crate) mod lock;
#[cfg(test)]
pub(crate) mod memory;
pub(crate) mod system;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the store asks of the place it writes to.
pub(crate) trait Disk: Send + Sync {
    /// Opens a file that exists, for reading only.
    fn read(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file that exists, for reading and writing.
    fn write(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates an empty file, replacing what stood there.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Creates a folder; one that exists is fine.
    fn create_folder(&self, name: &str) -> io::Result<()>;
    /// Names in a folder, unordered; empty where there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes creations, renames and removals in the folder durable.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;
    /// **Units**: bytes that can still be written.
    fn free(&self) -> io::Result<u64>;
    /// Path of a folder in the file system, for sled, which does its own I/O.
    fn real_path(&self, folder: &str) -> PathBuf;
    /// Makes durable what sled wrote into the folder at `path`.
    fn sync_sled(&self, path: &Path) -> io::Result<()>;
}

/// An open file of the archive: positioned, shared between threads.
pub(crate) trait DiskFile: Send + Sync {
    /// Reads some bytes; 0 only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    fn len(&self) -> io::Result<u64>;
    /// Makes bytes and length durable.
    fn sync(&self) -> io::Result<()>;
}

/// Fills `buffer`; what ends before is an error.
pub(crate) fn read_exact_at(file: &dyn DiskFile, buffer: &mut [u8], offset: u64) -> io::Result<()> {
    if read_full_at(file, buffer, offset)? == buffer.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Fills as much of `buffer` as the file has.
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

/// Replaces a small file as a whole: either the old or the new one is there.
pub(crate) fn replace(disk: &dyn Disk, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let target = if folder.is_empty() {
        name.to_string()
    } else {
        format!("{folder}/{name}")
    };
    let fresh = format!("{target}.new");
    let file = disk.create(&fresh)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    drop(file);
    disk.rename(&fresh, &target)?;
    disk.sync_folder(folder)
}

/// Reads a small file whole.
///
/// **Errors**: also when it is larger than `limit` bytes.
pub(crate) fn read_small(disk: &dyn Disk, name: &str, limit: usize) -> io::Result<Vec<u8>> {
    let file = disk.read(name)?;
    let len = usize::try_from(file.len()?)
        .ok()
        .filter(|len| *len <= limit)
        .ok_or(io::ErrorKind::InvalidData)?;
    let mut bytes = vec![0; len];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}
