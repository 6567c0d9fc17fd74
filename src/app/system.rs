//! The one system call of this room: making a renamed or created name last.

use std::io;
use std::path::Path;

/// Makes the names in `folder` survive a power loss.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Windows journals names by itself and opens no folder for syncing.
#[cfg(not(unix))]
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}
