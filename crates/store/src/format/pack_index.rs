//! Pack index: the entries of a shared pack, or of all single-body packs. With
//! it, opening an archive reads no pack.
//!
//! **Invariant**: an entry is appended only after its frames and its trailer
//! are synced. A power loss cannot remove an entry that a reader has seen.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::disk::{Disk, DiskFile, read_exact_at, read_full_at};
use crate::error::IoContext;
use crate::format::entry::{
    ENTRY_HEADER_LEN, ENTRY_LOCATION_LEN, EntryHeader, EntryLocation, PackEntry,
};
use crate::format::header::{FILE_HEADER_LEN, FileHeader, FileKind};
use crate::format::mask::Mask;

/// ```text
/// mark     4
/// payload  4  length
/// crc32    4  of the length and the masked payload
/// payload     masked: location, entry header, JSON
/// ```
const MARK: [u8; 4] = *b"\xf7\xa3LE";
const HEAD: usize = 12;
const FIXED: usize = ENTRY_LOCATION_LEN + ENTRY_HEADER_LEN;
/// **Units**: bytes read at once. Greater than the longest encoded entry.
const WINDOW: usize = 4 << 20;

/// An entry of a pack index. Its JSON stays on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackIndexEntry {
    pub(crate) header: EntryHeader,
    pub(crate) location: EntryLocation,
    /// Number of the pack index: that of its shared pack, or 0.
    pub(crate) index: u32,
    /// Offset of the JSON in the pack index.
    pub(crate) json_at: u64,
    pub(crate) json_len: u32,
}

/// An offset in a pack index.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackIndexPosition {
    pub(crate) number: u32,
    /// Nonce of the file. Differs if the pack index was replaced.
    pub(crate) nonce: [u8; 12],
    pub(crate) at: u64,
}

impl PackIndexEntry {
    /// Offset of the first byte after the entry in its pack.
    pub(crate) fn end(&self) -> u64 {
        self.location.end(&self.header)
    }

    /// Offset of the entry in the pack index.
    pub(crate) fn offset(&self) -> u64 {
        self.json_at.saturating_sub((HEAD + FIXED) as u64)
    }
}

/// An open pack index. The writer appends entries; readers read new ones.
pub(crate) struct PackIndex {
    pub(crate) number: u32,
    pub(crate) name: String,
    file: Arc<dyn DiskFile>,
    mask: Mask,
    /// Offset after the last intact entry.
    pub(crate) end: u64,
    /// Ranges that were skipped because they are damaged.
    pub(crate) damaged_ranges: Vec<(u64, u64)>,
}

impl PackIndex {
    pub(crate) fn open(
        number: u32,
        name: String,
        file: Arc<dyn DiskFile>,
    ) -> Result<Self, StoreError> {
        let header = FileHeader::read(&*file, &name)?;
        if header.kind != FileKind::PackIndex {
            return Err(StoreError::damaged(name, "it is not a pack index"));
        }
        Ok(Self {
            number,
            name,
            file,
            mask: header.mask,
            end: FILE_HEADER_LEN,
            damaged_ranges: Vec::new(),
        })
    }

    /// Creates and syncs an empty pack index. Its name is durable after the
    /// caller has synced the directory.
    pub(crate) fn create(
        disk: &dyn Disk,
        number: u32,
        name: String,
        header: &FileHeader,
    ) -> Result<Self, StoreError> {
        let attempt = || format!("create {name}");
        let file = disk.create(&name).attempt(attempt)?;
        file.write_at(&header.to_bytes(), 0).attempt(attempt)?;
        file.sync().attempt(attempt)?;
        Ok(Self {
            number,
            file,
            mask: header.mask.clone(),
            end: FILE_HEADER_LEN,
            damaged_ranges: Vec::new(),
            name,
        })
    }

    /// Appends entries and syncs them.
    ///
    /// **Errors**: I/O. Any part of the entries may be on disk.
    pub(crate) fn append(
        &mut self,
        entries: &[PackEntry],
    ) -> Result<Vec<PackIndexEntry>, StoreError> {
        let mut bytes = Vec::new();
        let appended = entries
            .iter()
            .map(|entry| {
                let json_at = self.end + (bytes.len() + HEAD + FIXED) as u64;
                self.encode(entry, &mut bytes);
                PackIndexEntry {
                    header: entry.header,
                    location: entry.location,
                    index: self.number,
                    json_at,
                    json_len: entry.json.len() as u32,
                }
            })
            .collect();
        let attempt = || format!("append to {}", self.name);
        self.file.write_at(&bytes, self.end).attempt(attempt)?;
        self.file.sync().attempt(attempt)?;
        self.end += bytes.len() as u64;
        Ok(appended)
    }

    fn encode(&self, entry: &PackEntry, out: &mut Vec<u8>) {
        let start = out.len();
        let len = (FIXED + entry.json.len()) as u32;
        out.extend_from_slice(&MARK);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&entry.location.to_bytes());
        out.extend_from_slice(&entry.header.to_bytes());
        out.extend_from_slice(&entry.json);
        if let Some(payload) = out.get_mut(start + HEAD..) {
            self.mask.apply(self.end + (start + HEAD) as u64, payload);
        }
        let crc = checksum(len, out.get(start + HEAD..).unwrap_or_default());
        if let Some(field) = out.get_mut(start + 8..start + HEAD) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// Removes bytes after the last intact entry: an interrupted append.
    pub(crate) fn truncate_tail(&self) -> Result<(), StoreError> {
        let attempt = || format!("truncate {}", self.name);
        if self.file.len().attempt(attempt)? > self.end {
            self.file.set_len(self.end).attempt(attempt)?;
            self.file.sync().attempt(attempt)?;
        }
        Ok(())
    }

    /// A position in this pack index; its end if `offset` is `None`.
    pub(crate) fn position(&self, offset: Option<u64>) -> PackIndexPosition {
        PackIndexPosition {
            number: self.number,
            nonce: self.mask.nonce,
            at: offset.unwrap_or(self.end),
        }
    }

    /// Continues at a position; `None` if it does not belong to this file.
    pub(crate) fn seek(mut self, position: &PackIndexPosition) -> Result<Option<Self>, StoreError> {
        let attempt = || format!("read {}", self.name);
        let len = self.file.len().attempt(attempt)?;
        let at = position.at;
        if position.nonce != self.mask.nonce || at < FILE_HEADER_LEN || at > len {
            return Ok(None);
        }
        if len - at >= HEAD as u64 {
            let mut head = [0; HEAD];
            read_exact_at(&*self.file, &mut head, at).attempt(attempt)?;
            if !head.starts_with(&MARK) {
                return Ok(None);
            }
        }
        self.end = at;
        Ok(Some(self))
    }

    /// Whether the file of this name was replaced or removed after opening.
    pub(crate) fn was_replaced(&self, disk: &dyn Disk) -> Result<bool, StoreError> {
        let name = &self.name;
        let header = match disk.open(name) {
            Ok(file) => FileHeader::read(&*file, name),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            Err(e) => return Err(StoreError::io(format!("open {name}"), e)),
        };
        Ok(header.is_ok_and(|header| header.mask != self.mask))
    }

    /// Range of a last entry that is damaged: it is complete, but its checksum
    /// is wrong. An entry cut short by a kill is not damage.
    pub(crate) fn damaged_tail(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let attempt = || format!("read {}", self.name);
        let len = self.file.len().attempt(attempt)?;
        let rest = len.saturating_sub(self.end);
        if rest < HEAD as u64 {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        read_exact_at(&*self.file, &mut head, self.end).attempt(attempt)?;
        let payload_len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let is_torn = head.starts_with(&MARK)
            && (payload_len as usize) < WINDOW
            && rest < HEAD as u64 + u64::from(payload_len);
        Ok((!is_torn).then_some((self.end, len)))
    }

    /// Reads the entries appended since the last call.
    ///
    /// **Cost**: reads the new part of the file once, 4 MiB at a time.
    pub(crate) fn read_new(&mut self, entries: &mut Vec<PackIndexEntry>) -> Result<(), StoreError> {
        let name = self.name.clone();
        let attempt = || format!("read {name}");
        let len = self.file.len().attempt(attempt)?;
        let mut window = Vec::new();
        let mut at = self.end;
        loop {
            // Allocate no more than the rest of the file: most pack indexes are
            // small, and each one is read twice.
            let rest = usize::try_from(len.saturating_sub(at)).unwrap_or(WINDOW);
            if rest == 0 {
                return Ok(());
            }
            window.resize(rest.min(WINDOW), 0);
            let filled = read_full_at(&*self.file, &mut window, at).attempt(attempt)?;
            window.truncate(filled);
            let used = self.read_window(&window, at, entries);
            at += used as u64;
            if used == 0 {
                return Ok(());
            }
        }
    }

    /// Reads the intact entries of a window. Returns the number of bytes up to
    /// the end of the last one.
    fn read_window(
        &mut self,
        window: &[u8],
        base: u64,
        entries: &mut Vec<PackIndexEntry>,
    ) -> usize {
        let mut at = 0;
        while let Some(rest) = window.get(at..).filter(|rest| !rest.is_empty()) {
            let offset = base + at as u64;
            match self.parse(rest, offset) {
                Some((entry, len)) => {
                    if offset > self.end {
                        self.damaged_ranges.push((self.end, offset));
                    }
                    entries.push(entry);
                    at += len;
                    self.end = base + at as u64;
                }
                // Incomplete or damaged. It is damaged if an intact entry
                // follows.
                None => match next_mark(rest) {
                    Some(skip) => at += skip,
                    None => break,
                },
            }
        }
        // The next window starts with the entry that this one cuts.
        usize::try_from(self.end.saturating_sub(base)).unwrap_or(0)
    }

    fn parse(&self, bytes: &[u8], offset: u64) -> Option<(PackIndexEntry, usize)> {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        if head[..4] != MARK {
            return None;
        }
        let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let crc = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
        let payload = rest.get(..len as usize)?;
        if payload.len() < FIXED || checksum(len, payload) != crc {
            return None;
        }
        let mut fixed = *payload.first_chunk::<FIXED>()?;
        self.mask.apply(offset + HEAD as u64, &mut fixed);
        let entry = PackIndexEntry {
            location: EntryLocation::from_bytes(&fixed)?,
            header: EntryHeader::from_bytes(fixed.get(ENTRY_LOCATION_LEN..)?)?,
            index: self.number,
            json_at: offset + (HEAD + FIXED) as u64,
            json_len: len - FIXED as u32,
        };
        Some((entry, HEAD + len as usize))
    }

    /// Reads the JSON of an entry of this pack index.
    pub(crate) fn read_json(&self, entry: &PackIndexEntry) -> Result<Vec<u8>, StoreError> {
        let mut json = vec![0; entry.json_len as usize];
        read_exact_at(&*self.file, &mut json, entry.json_at)
            .attempt(|| format!("read {}", self.name))?;
        self.mask.apply(entry.json_at, &mut json);
        Ok(json)
    }
}

fn checksum(len: u32, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&len.to_le_bytes());
    crc.update(payload);
    crc.finalize()
}

/// Offset of the next mark after the first byte.
fn next_mark(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes.get(1..)?, &MARK).map(|at| at + 1)
}
