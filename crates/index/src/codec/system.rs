//! The system calls of this room: making a renamed or created name last, and
//! giving mapped pages back.

use std::io;
use std::path::Path;

use memmap2::Mmap;

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

/// Gives the pages of a map back, which stay in the system's own cache.
#[cfg(unix)]
pub(crate) fn release(map: &Mmap) {
    // SAFETY: the map is read-only, shared and of a file that nobody changes,
    // so that what is asked for again is read from that file again.
    let _ = unsafe { map.unchecked_advise(memmap2::UncheckedAdvice::DontNeed) };
}

/// Windows takes pages back by itself where it needs them.
#[cfg(not(unix))]
pub(crate) fn release(_map: &Mmap) {}
