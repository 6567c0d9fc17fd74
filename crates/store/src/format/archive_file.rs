//! The archive's own file: who it is, and how its bytes are masked.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::disk::system;
use crate::disk::{Disk, read_small, replace};
use crate::error::Attempt;
use crate::format::header::{FileHeader, FileKind};
use crate::format::layout;

/// Of everything in the folder; what reads another says so and stops.
pub(crate) const FORMAT: u32 = 1;
/// **Units**: bytes. The file has some two hundred.
const ARCHIVE_JSON_MAX: usize = 64 << 10;

/// Who an archive is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Archive {
    pub(crate) id: [u8; 16],
    /// Changes when entries were lost, so that what was derived from them is
    /// built anew.
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
    pub(crate) fn header(&self, kind: FileKind) -> FileHeader {
        FileHeader::new(kind, self.id, self.key)
    }

    pub(crate) fn key(&self) -> [u8; 32] {
        self.key
    }

    /// Reads who the archive in `dir` is: from its own file or, where that is
    /// lost, from the header of any pack; its generation is 0 then.
    ///
    /// **Errors**: `NoArchive` where there is none, `Format` where it is not
    /// this build's, `Damaged` where its file cannot be read and there is no
    /// pack.
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, StoreError> {
        match Self::read_own(disk, dir) {
            Err(lost @ (StoreError::NoArchive { .. } | StoreError::Damaged { .. })) => {
                Self::from_packs(disk).ok_or(lost)
            }
            archive => archive,
        }
    }

    fn from_packs(disk: &dyn Disk) -> Option<Self> {
        let names = disk.list(layout::PACKS).ok()?;
        let header = names
            .iter()
            .filter_map(|name| layout::number(name, "pack"))
            .find_map(|number| {
                let name = layout::pack(number);
                FileHeader::read(&*disk.read(&name).ok()?, &name).ok()
            })?;
        Some(Self {
            id: header.archive,
            generation: 0,
            key: header.mask.key,
        })
    }

    fn read_own(disk: &dyn Disk, dir: &Path) -> Result<Self, StoreError> {
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
            id: from_hex(&json.id).ok_or_else(|| damaged("`id` is no id".into()))?,
            generation: json.generation,
            key: from_hex(&json.key).ok_or_else(|| damaged("`key` is no key".into()))?,
        })
    }

    /// Why its own file cannot be read, though its packs say who it is.
    pub(crate) fn lost(disk: &dyn Disk) -> Option<StoreError> {
        Self::read_own(disk, Path::new("")).err()
    }

    /// Creates an empty archive.
    pub(crate) fn create(disk: &dyn Disk) -> Result<Self, StoreError> {
        let archive = Self {
            id: system::random_bytes(),
            generation: 1,
            key: system::random_bytes(),
        };
        let attempt = || "create the archive".to_string();
        for folder in ["", layout::PACKS, layout::INCOMING, layout::CATALOGUE] {
            disk.create_folder(folder).attempt(attempt)?;
        }
        archive.write(disk)?;
        Ok(archive)
    }

    /// Gives it another generation, for good.
    pub(crate) fn bump_generation(&mut self, disk: &dyn Disk) -> Result<(), StoreError> {
        self.generation = u64::from_le_bytes(system::random_bytes());
        self.write(disk)
    }

    fn write(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        let json = ArchiveJson {
            format: FORMAT,
            id: to_hex(&self.id),
            generation: self.generation,
            key: to_hex(&self.key),
        };
        let text = serde_json::to_string_pretty(&json).unwrap_or_default();
        replace(disk, "", layout::ARCHIVE, text.as_bytes())
            .attempt(|| format!("write {}", layout::ARCHIVE))
    }
}

/// Whether a folder is an archive: its files are no evidence, however much is
/// in them.
pub fn is_archive(folder: &Path) -> bool {
    folder.join(layout::ARCHIVE).is_file() && folder.join(layout::PACKS).is_dir()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}
