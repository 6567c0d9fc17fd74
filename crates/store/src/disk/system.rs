//! Calls to the operating system, for Unix and for Windows: positioned I/O,
//! directory syncs, access rights, free space, random bytes.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

pub(crate) use imp::{create_private_folder, free_bytes, private, read_at, sync_folder, write_at};

/// Bytes from the random number generator of the operating system.
pub(crate) fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(unix)]
mod imp {
    use super::{File, OpenOptions, Path, io};
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};

    pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(file, buffer, offset)
    }

    pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        FileExt::write_at(file, bytes, offset)
    }

    pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    /// New files are accessible to their owner only.
    pub(crate) fn private(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
    }

    pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `path` is NUL-terminated; `stat` has the size of the struct
        // that the call fills.
        let answer = unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) };
        if answer != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so it initialized `stat`.
        let stat = unsafe { stat.assume_init() };
        if stat.f_blocks == 0 {
            // The file system does not report its size.
            return Ok(u64::MAX);
        }
        // The fields are 32 bits wide on some systems.
        #[allow(clippy::unnecessary_cast)]
        Ok((stat.f_bavail as u64).saturating_mul(stat.f_frsize as u64))
    }
}

#[cfg(windows)]
mod imp {
    use super::{File, OpenOptions, Path, io};
    use std::os::windows::ffi::OsStrExt;
    use std::os::windows::fs::FileExt;
    use windows_sys::Win32::Storage::FileSystem::GetDiskFreeSpaceExW;

    pub(crate) fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file.seek_read(buffer, offset)
    }

    pub(crate) fn write_at(file: &File, bytes: &[u8], offset: u64) -> io::Result<usize> {
        file.seek_write(bytes, offset)
    }

    /// No operation: Windows writes directory changes through its own log.
    pub(crate) fn sync_folder(_path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// No operation: new files inherit the access list of the directory.
    pub(crate) fn private(_options: &mut OpenOptions) {}

    pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
        std::fs::create_dir_all(path)
    }

    pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
        let wide: Vec<u16> = path.as_os_str().encode_wide().chain([0]).collect();
        let mut free = 0u64;
        // SAFETY: `wide` is NUL-terminated, `free` outlives the call, and the
        // other two pointers may be null.
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
}
