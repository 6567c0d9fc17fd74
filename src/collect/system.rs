//! What the collector asks of the operating system. For the call log: a lock
//! between processes, bytes that survive power loss, a file replaced whole. For
//! secrets: whether others may read a file.

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

/// **Errors**: `PermissionDenied` where others than its owner may read it.
#[cfg(unix)]
pub(super) fn refuse_if_shared(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode() & 0o777;
    // A pipe of the shell, such as <(pass show app), is read once and gone.
    if metadata.is_file() && mode & 0o077 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("others may read it (mode {mode:o})"),
        ));
    }
    Ok(())
}

/// Windows lets a file inherit its folder's rights, those of a profile are its
/// user's own.
#[cfg(not(unix))]
pub(super) fn refuse_if_shared(_: &File) -> io::Result<()> {
    Ok(())
}
