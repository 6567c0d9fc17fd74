//! What the store asks of the operating system: positioned I/O, syncing
//! folders, free space, files that vanish on closing. Each has a twin for
//! Windows.

use std::collections::hash_map::RandomState;
use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::path::Path;

pub(crate) use imp::{
    create_private_folder, free_bytes, open_vanishing, private, read_at, sync_folder, write_at,
};

/// Bytes nobody can foresee, from the seeds the standard library asks the
/// system for. Good for names and keystreams that keep no secret.
pub(crate) fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    for chunk in bytes.chunks_mut(8) {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(chunk.len() as u64);
        hasher.write_u32(std::process::id());
        let word = hasher.finish().to_le_bytes();
        chunk
            .iter_mut()
            .zip(word)
            .for_each(|(byte, random)| *byte = random);
    }
    bytes
}

#[cfg(unix)]
mod imp {
    use super::{File, OpenOptions, Path, io};
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};

    pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(file, buffer, offset)
    }

    pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(file, bytes, offset)
    }

    pub fn sync_folder(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// Evidence is its owner's business only.
    pub fn private(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    pub fn create_private_folder(path: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
    }

    pub fn free_bytes(path: &Path) -> io::Result<u64> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `path` ends with a zero byte, `stat` is as large as asked for.
        let answer = unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: filled in by the call that has just succeeded.
        let stat = unsafe { stat.assume_init() };
        if stat.f_blocks == 0 {
            // A file system that does not say how large it is.
            return Ok(u64::MAX);
        }
        // The fields are narrower on some systems.
        #[allow(clippy::unnecessary_cast)]
        Ok((stat.f_bavail as u64).saturating_mul(stat.f_frsize as u64))
    }

    /// Creates a file that has no name any more.
    pub fn open_vanishing(path: &Path) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        private(&mut options);
        let file = options.open(path)?;
        match std::fs::remove_file(path) {
            // A writer that opens the archive at this moment sweeps it away.
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
            _ => Ok(file),
        }
    }
}

#[cfg(windows)]
mod imp {
    use super::{File, OpenOptions, Path, io};
    use std::os::windows::ffi::OsStrExt;
    use std::os::windows::fs::{FileExt, OpenOptionsExt};
    use windows_sys::Win32::Storage::FileSystem::{
        FILE_ATTRIBUTE_TEMPORARY, FILE_FLAG_DELETE_ON_CLOSE, GetDiskFreeSpaceExW,
    };

    pub fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file.seek_read(buffer, offset)
    }

    pub fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.seek_write(bytes, offset)
    }

    /// Windows keeps its folders by itself.
    pub fn sync_folder(_path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// The folder's own access list says who may read.
    pub fn private(_options: &mut OpenOptions) {}

    pub fn create_private_folder(path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    pub fn free_bytes(path: &Path) -> io::Result<u64> {
        let wide: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
        let mut free = 0u64;
        // SAFETY: `wide` ends with a zero, `free` outlives the call, and the
        // other two may be null.
        let answer = unsafe {
            GetDiskFreeSpaceExW(
                wide.as_ptr(),
                &mut free,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
        if answer == 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(free)
    }

    /// Creates a file the system removes with its last handle.
    pub fn open_vanishing(path: &Path) -> io::Result<File> {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .attributes(FILE_ATTRIBUTE_TEMPORARY)
            .custom_flags(FILE_FLAG_DELETE_ON_CLOSE)
            .open(path)
    }
}
