//! Scratch file: temporary, bounded storage for data that needs seeking.
//!
//! The file is masked, has no name, and is removed when it is closed.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::disk::fs::FsDisk;
use crate::disk::{Disk, DiskFile, system};
use crate::format::layout;
use crate::format::mask::Mask;

/// A scratch file inside the archive's directory, because the temporary
/// directory of the system may be in memory.
pub struct Scratch {
    file: File,
    mask: Mask,
    limit: u64,
    len: u64,
    position: u64,
    masked: Vec<u8>,
}

/// **Units**: bytes masked at once.
const BLOCK: usize = 64 << 10;

impl Scratch {
    /// Creates a scratch file of at most `limit` bytes.
    ///
    /// **Errors** while writing: `QuotaExceeded` at the limit.
    pub fn create(archive: &Path, limit: u64) -> io::Result<Self> {
        let folder = archive.join(layout::SCRATCH);
        system::create_private_folder(&folder)?;
        Ok(Self {
            file: tempfile::tempfile_in(&folder)?,
            mask: Mask {
                key: system::random_bytes()?,
                nonce: system::random_bytes()?,
            },
            limit,
            len: 0,
            position: 0,
            masked: Vec::new(),
        })
    }

    /// **Units**: bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Removes files left by a crash: `NAME.tmp` of earlier builds, `.tmpNAME`
    /// of this one on file systems without unnamed files.
    pub(crate) fn sweep(archive: &Path) {
        let names = FsDisk::new(archive)
            .list(layout::SCRATCH)
            .unwrap_or_default();
        for name in names.iter().filter(|name| is_leftover(name)) {
            // Fails on Windows if a reader uses the file; then it must stay.
            let _ = std::fs::remove_file(archive.join(layout::SCRATCH).join(name));
        }
    }
}

fn is_leftover(name: &str) -> bool {
    name.ends_with(".tmp") || name.starts_with(".tmp")
}

impl Read for Scratch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = DiskFile::read_at(&self.file, buffer, self.position)?;
        if let Some(bytes) = buffer.get_mut(..count) {
            self.mask.apply(self.position, bytes);
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let remaining = self.limit.saturating_sub(self.position);
        if remaining == 0 && !bytes.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!("scratch file has reached its limit of {} bytes", self.limit),
            ));
        }
        let count = bytes
            .len()
            .min(BLOCK)
            .min(usize::try_from(remaining).unwrap_or(usize::MAX));
        self.masked.clear();
        self.masked
            .extend_from_slice(bytes.get(..count).unwrap_or_default());
        self.mask.apply(self.position, &mut self.masked);
        DiskFile::write_at(&self.file, &self.masked, self.position)?;
        self.position += count as u64;
        self.len = self.len.max(self.position);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Scratch {
    /// Seeks to the end at most, so that the file has no unmasked gaps.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek_to(to, self.position, self.len)?.min(self.len);
        Ok(self.position)
    }
}

/// The absolute position of a seek.
pub(crate) fn seek_to(to: SeekFrom, position: u64, len: u64) -> io::Result<u64> {
    match to {
        SeekFrom::Start(offset) => Some(offset),
        SeekFrom::Current(by) => position.checked_add_signed(by),
        SeekFrom::End(by) => len.checked_add_signed(by),
    }
    .ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "could not seek to a position before the start",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_file_reads_back_has_no_name_and_enforces_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::create(dir.path(), 200_000).unwrap();
        let bytes: Vec<u8> = (0..200_000u32).map(|i| (i / 7) as u8).collect();
        scratch.write_all(&bytes).unwrap();
        let full = scratch.write_all(b"x").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::QuotaExceeded);
        let mut read_back = Vec::new();
        scratch.seek(SeekFrom::Start(70_001)).unwrap();
        scratch.read_to_end(&mut read_back).unwrap();
        assert_eq!(read_back, bytes[70_001..]);
        scratch.seek(SeekFrom::End(-3)).unwrap();
        scratch.write_all(b"abc").unwrap();
        scratch.seek(SeekFrom::Current(-3)).unwrap();
        read_back.clear();
        scratch.read_to_end(&mut read_back).unwrap();
        assert_eq!(read_back, b"abc");
        #[cfg(unix)]
        assert_eq!(
            std::fs::read_dir(dir.path().join(layout::SCRATCH))
                .unwrap()
                .count(),
            0
        );
    }

    #[test]
    fn sweep_removes_leftovers_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(layout::SCRATCH);
        std::fs::create_dir(&folder).unwrap();
        for name in ["0f1e.tmp", ".tmpAb3", "notes.txt"] {
            std::fs::write(folder.join(name), b"x").unwrap();
        }
        Scratch::sweep(dir.path());
        assert_eq!(
            FsDisk::new(dir.path()).list(layout::SCRATCH).unwrap(),
            ["notes.txt"]
        );
    }
}
