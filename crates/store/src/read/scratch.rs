//! A file for what needs seeking and has no place of its own: masked, bounded,
//! without a name, and gone with its handle.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::disk::fs::FsDisk;
use crate::disk::{DiskFile, system};
use crate::format::layout;
use crate::format::mask::Mask;

/// A scratch file inside the archive's folder: a system's temp may be memory.
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
    /// Creates one of at most `limit` bytes. Writing beyond is an error of
    /// kind `QuotaExceeded`.
    pub fn create(archive: &Path, limit: u64) -> io::Result<Self> {
        let folder = archive.join(layout::SCRATCH);
        system::create_private_folder(&folder)?;
        let name: [u8; 8] = system::random_bytes();
        let name = format!("{:016x}.tmp", u64::from_le_bytes(name));
        Ok(Self {
            file: system::open_vanishing(&folder.join(name))?,
            mask: Mask {
                key: system::random_bytes(),
                nonce: system::random_bytes(),
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

    /// Removes what a system that crashed may have left behind.
    pub(crate) fn sweep(archive: &Path) {
        let disk = FsDisk::new(archive);
        let names = crate::disk::Disk::list(&disk, layout::SCRATCH).unwrap_or_default();
        for name in names.iter().filter(|name| name.ends_with(".tmp")) {
            // In use by a reader, it cannot be removed on Windows: so be it.
            let _ = std::fs::remove_file(archive.join(layout::SCRATCH).join(name));
        }
    }
}

impl Read for Scratch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = DiskFile::read_at(&self.file, buffer, self.position)?;
        if let Some(read) = buffer.get_mut(..count) {
            self.mask.apply(self.position, read);
        }
        self.position += count as u64;
        Ok(count)
    }
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.limit.saturating_sub(self.position);
        if room == 0 && !bytes.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::QuotaExceeded,
                format!("scratch file has reached its limit of {} bytes", self.limit),
            ));
        }
        let count = bytes
            .len()
            .min(BLOCK)
            .min(usize::try_from(room).unwrap_or(usize::MAX));
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
    /// Not beyond the end: what lies between would not be masked.
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek_to(to, self.position, self.len)?.min(self.len);
        Ok(self.position)
    }
}

/// The place meant by `to`.
pub(crate) fn seek_to(to: SeekFrom, position: u64, len: u64) -> io::Result<u64> {
    match to {
        SeekFrom::Start(offset) => Some(offset),
        SeekFrom::Current(by) => position.checked_add_signed(by),
        SeekFrom::End(by) => len.checked_add_signed(by),
    }
    .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a place before the beginning"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scratch_file_reads_back_has_no_name_and_knows_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        let mut scratch = Scratch::create(dir.path(), 200_000).unwrap();
        let bytes: Vec<u8> = (0..200_000u32).map(|i| (i / 7) as u8).collect();
        scratch.write_all(&bytes).unwrap();
        let full = scratch.write_all(b"x").unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::QuotaExceeded);
        let mut back = Vec::new();
        scratch.seek(SeekFrom::Start(70_001)).unwrap();
        scratch.read_to_end(&mut back).unwrap();
        assert_eq!(back, bytes[70_001..]);
        scratch.seek(SeekFrom::End(-3)).unwrap();
        scratch.write_all(b"abc").unwrap();
        scratch.seek(SeekFrom::Current(-3)).unwrap();
        back.clear();
        scratch.read_to_end(&mut back).unwrap();
        assert_eq!(back, b"abc");
        #[cfg(unix)]
        assert_eq!(
            std::fs::read_dir(dir.path().join(layout::SCRATCH))
                .unwrap()
                .count(),
            0
        );
    }
}
