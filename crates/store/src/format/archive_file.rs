//! `archive.json`: id, generation and keystream key of the archive.

use std::io;
use std::path::Path;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::disk::system;
use crate::disk::{Disk, read_small, replace};
use crate::error::IoContext;
use crate::format::header::{FileHeader, FileKind};
use crate::format::layout;

/// Format of all files in the directory. A build rejects other formats.
pub(crate) const FORMAT: u32 = 1;
/// **Units**: bytes. The file has about two hundred.
const ARCHIVE_JSON_MAX: usize = 64 << 10;

/// The identity of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Archive {
    pub(crate) id: [u8; 16],
    /// Changes when entries are lost, so that structures derived from them are
    /// rebuilt.
    pub(crate) generation: u64,
    key: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct ArchiveJson {
    format: u32,
    id: String,
    generation: u64,
    key: String,
}

impl Archive {
    /// A header for a new file of this archive.
    pub(crate) fn new_header(&self, kind: FileKind) -> Result<FileHeader, StoreError> {
        FileHeader::new(kind, self.id, self.key)
    }

    pub(crate) fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Reads the identity of the archive in `dir` from `archive.json`. If that
    /// file is missing or damaged, reads it from the header of any pack; the
    /// generation is then 0.
    ///
    /// **Errors**: `NoArchive`; `Format` if the archive has another format;
    /// `Damaged` if `archive.json` is damaged and no pack exists.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, StoreError> {
        match Self::read_file(disk, dir) {
            Err(e @ (StoreError::NoArchive { .. } | StoreError::Damaged { .. })) => {
                Self::read_packs(disk).ok_or(e)
            }
            archive => archive,
        }
    }

    fn read_packs(disk: &dyn Disk) -> Option<Self> {
        let names = disk.list(layout::PACKS).ok()?;
        let header = names
            .iter()
            .filter_map(|name| layout::number(name, "pack"))
            .find_map(|number| {
                let name = layout::pack(number);
                FileHeader::read(&*disk.open(&name).ok()?, &name).ok()
            })?;
        Some(Self {
            id: header.archive,
            generation: 0,
            key: header.mask.key,
        })
    }

    fn read_file(disk: &dyn Disk, dir: &Path) -> Result<Self, StoreError> {
        let bytes = match read_small(disk, layout::ARCHIVE, ARCHIVE_JSON_MAX) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::NoArchive { dir: dir.into() });
            }
            Err(e) => return Err(StoreError::io(format!("read {}", layout::ARCHIVE), e)),
        };
        let damaged = |detail: String| StoreError::damaged(layout::ARCHIVE, detail);
        let json: ArchiveJson =
            serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
        if json.format != FORMAT {
            return Err(StoreError::Format {
                dir: dir.into(),
                found: json.format,
                expected: FORMAT,
            });
        }
        Ok(Self {
            id: decode_hex(&json.id).ok_or_else(|| damaged("`id` is not a valid id".into()))?,
            generation: json.generation,
            key: decode_hex(&json.key).ok_or_else(|| damaged("`key` is not a valid key".into()))?,
        })
    }

    /// Why `archive.json` cannot be read; `None` if it is intact.
    pub(crate) fn file_error(disk: &dyn Disk) -> Option<StoreError> {
        Self::read_file(disk, Path::new("")).err()
    }

    /// Creates an empty archive with a random id and key.
    pub(crate) fn create(disk: &dyn Disk) -> Result<Self, StoreError> {
        let attempt = || "create the archive".to_string();
        let archive = Self {
            id: system::random_bytes().attempt(attempt)?,
            generation: 1,
            key: system::random_bytes().attempt(attempt)?,
        };
        for folder in ["", layout::PACKS, layout::INCOMING, layout::CATALOGUE] {
            disk.create_folder(folder).attempt(attempt)?;
        }
        archive.write(disk)?;
        Ok(archive)
    }

    /// Replaces the generation by a random one and makes it durable.
    pub(crate) fn bump_generation(&mut self, disk: &dyn Disk) -> Result<(), StoreError> {
        let bytes = system::random_bytes().attempt(|| "generate a generation number".into())?;
        self.generation = u64::from_le_bytes(bytes);
        self.write(disk)
    }

    fn write(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        let json = ArchiveJson {
            format: FORMAT,
            id: HEXLOWER.encode(&self.id),
            generation: self.generation,
            key: HEXLOWER.encode(&self.key),
        };
        let text = serde_json::to_string_pretty(&json).unwrap_or_default();
        replace(disk, "", layout::ARCHIVE, text.as_bytes())
            .attempt(|| format!("write {}", layout::ARCHIVE))
    }
}

/// Whether a directory is an archive. An import skips the files in it.
pub fn is_archive(folder: &Path) -> bool {
    folder.join(layout::ARCHIVE).is_file() && folder.join(layout::PACKS).is_dir()
}

fn decode_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Upper case is valid too, as in earlier builds.
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok()
}
