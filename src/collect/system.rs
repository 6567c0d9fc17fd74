//! What the call log asks of the operating system: a lock between processes,
//! bytes that survive power loss, a file replaced whole.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Holds the lock of the file at `path`, which it makes, until dropped.
/// Waits for other holders, of this process and of others.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)?;
    file.lock()?;
    Ok(file)
}

/// Adds to a file that exists.
pub(super) fn append(path: &Path, text: &str, sync: bool) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(text.as_bytes())?;
    if sync { file.sync_data() } else { Ok(()) }
}

/// Makes `text` the whole of the file at `path`: a crash leaves the old one or
/// the new one.
pub(super) fn replace(path: &Path, text: &str, sync: bool) -> io::Result<()> {
    let fresh = path.with_extension("fresh");
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    if sync {
        file.sync_data()?;
    }
    drop(file);
    std::fs::rename(&fresh, path)?;
    if sync { sync_folder(path) } else { Ok(()) }
}

#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Windows keeps names by itself and opens no folder to be synced.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
