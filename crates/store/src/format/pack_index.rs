//! A side file: lists the entries of a shared pack, or of all packs with one
//! body, so that opening an archive reads no pack.
//!
//! **Invariant**: an entry is listed only once its bytes and trailer are
//! synced. Whoever reads lists sees nothing that a power loss could take back.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::disk::{Disk, DiskFile, read_exact_at, read_full_at};
use crate::error::Attempt;
use crate::format::entry::{ENTRY_HEADER_LEN, ENTRY_LOCATION_LEN, EntryHeader, EntryLocation};
use crate::format::header::{FILE_HEADER_LEN, FileHeader, FileKind};
use crate::format::mask::Mask;

/// ```text
/// mark     4
/// payload  4  length
/// crc32    4  of the length and the payload as it stands
/// payload     masked: place, card, JSON
/// ```
const MARK: [u8; 4] = *b"\xf7\xa3LE";
const HEAD: usize = 12;
const FIXED: usize = ENTRY_LOCATION_LEN + ENTRY_HEADER_LEN;
/// **Units**: bytes read at once. More than the largest record.
const WINDOW: usize = 4 << 20;

/// One listed entry; its JSON stays in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackIndexEntry {
    pub(crate) card: EntryHeader,
    pub(crate) place: EntryLocation,
    /// Number of the list: that of its pack, 0 for adopted packs.
    pub(crate) list: u32,
    /// Where in the list the JSON stands.
    pub(crate) json_at: u64,
    pub(crate) json_len: u32,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PackIndexPosition {
    pub(crate) number: u32,
    /// Drawn by lot for every list that is written.
    pub(crate) nonce: [u8; 12],
    pub(crate) at: u64,
}

impl PackIndexEntry {
    /// Behind the entry's trailer.
    pub(crate) fn end(&self) -> u64 {
        self.place.start + self.card.stored + u64::from(self.place.trailer)
    }

    /// Where in the list the record begins.
    pub(crate) fn record_at(&self) -> u64 {
        self.json_at.saturating_sub((HEAD + FIXED) as u64)
    }
}

/// An entry to be listed: its card, its place, its JSON.
pub(crate) type Listed = (EntryHeader, EntryLocation, Vec<u8>);

/// A list, open for reading; the writer appends too.
pub(crate) struct PackIndex {
    pub(crate) number: u32,
    pub(crate) name: String,
    file: Arc<dyn DiskFile>,
    mask: Mask,
    /// Behind the last whole record.
    pub(crate) end: u64,
    /// Where records are damaged: ranges that were skipped.
    pub(crate) holes: Vec<(u64, u64)>,
}

impl PackIndex {
    pub(crate) fn open(
        number: u32,
        name: String,
        file: Arc<dyn DiskFile>,
    ) -> Result<Self, StoreError> {
        let header = FileHeader::read(&*file, &name)?;
        if header.kind != FileKind::PackIndex {
            return Err(StoreError::damaged(name, "is no list"));
        }
        Ok(Self {
            number,
            name,
            file,
            mask: header.mask,
            end: FILE_HEADER_LEN,
            holes: Vec::new(),
        })
    }

    /// Creates an empty list; its name is durable once the caller has synced
    /// the folder.
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
            holes: Vec::new(),
            name,
        })
    }

    /// Appends records and syncs them. What fails leaves them unlisted or not
    /// known to be listed.
    pub(crate) fn append(&mut self, entries: &[Listed]) -> Result<Vec<PackIndexEntry>, StoreError> {
        let mut bytes = Vec::new();
        let slots = entries
            .iter()
            .map(|(card, place, json)| {
                let json_at = self.end + (bytes.len() + HEAD + FIXED) as u64;
                self.encode(card, place, json, &mut bytes);
                PackIndexEntry {
                    card: *card,
                    place: *place,
                    list: self.number,
                    json_at,
                    json_len: json.len() as u32,
                }
            })
            .collect();
        let attempt = || format!("list entries in {}", self.name);
        self.file.write_at(&bytes, self.end).attempt(attempt)?;
        self.file.sync().attempt(attempt)?;
        self.end += bytes.len() as u64;
        Ok(slots)
    }

    fn encode(&self, card: &EntryHeader, place: &EntryLocation, json: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        let len = (FIXED + json.len()) as u32;
        out.extend_from_slice(&MARK);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&place.to_bytes());
        out.extend_from_slice(&card.to_bytes());
        out.extend_from_slice(json);
        if let Some(payload) = out.get_mut(start + HEAD..) {
            self.mask.apply(self.end + (start + HEAD) as u64, payload);
        }
        let crc = checksum(len, out.get(start + HEAD..).unwrap_or_default());
        if let Some(field) = out.get_mut(start + 8..start + HEAD) {
            field.copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// Cuts off what follows the last whole record: a write that was cut short.
    pub(crate) fn cut(&self) -> Result<(), StoreError> {
        let attempt = || format!("cut {}", self.name);
        if self.file.len().attempt(attempt)? > self.end {
            self.file.set_len(self.end).attempt(attempt)?;
            self.file.sync().attempt(attempt)?;
        }
        Ok(())
    }

    /// Where entries behind a Seq begin, given those among what was read.
    pub(crate) fn mark(&self, behind: Option<u64>) -> PackIndexPosition {
        PackIndexPosition {
            number: self.number,
            nonce: self.mask.nonce,
            at: behind.unwrap_or(self.end),
        }
    }

    /// The list from a mark on; `None` where the mark is of another list.
    pub(crate) fn behind(mut self, mark: &PackIndexPosition) -> Result<Option<Self>, StoreError> {
        let attempt = || format!("read {}", self.name);
        let len = self.file.len().attempt(attempt)?;
        if mark.nonce != self.mask.nonce || mark.at < FILE_HEADER_LEN || mark.at > len {
            return Ok(None);
        }
        if len - mark.at >= HEAD as u64 {
            let mut head = [0; HEAD];
            read_exact_at(&*self.file, &mut head, mark.at).attempt(attempt)?;
            if !head.starts_with(&MARK) {
                return Ok(None);
            }
        }
        self.end = mark.at;
        Ok(Some(self))
    }

    /// Whether another file stands under this list's name by now.
    pub(crate) fn was_replaced(&self, disk: &dyn Disk) -> Result<bool, StoreError> {
        let name = &self.name;
        let header = match disk.read(name) {
            Ok(file) => FileHeader::read(&*file, name),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(true),
            Err(e) => return Err(StoreError::io(format!("open {name}"), e)),
        };
        Ok(header.is_ok_and(|header| header.mask != self.mask))
    }

    /// A last record that has its whole length and a wrong checksum: damaged.
    /// One that was cut short by a kill is shorter.
    pub(crate) fn damaged_tail(&self) -> Result<Option<(u64, u64)>, StoreError> {
        let attempt = || format!("read {}", self.name);
        let len = self.file.len().attempt(attempt)?;
        let rest = len.saturating_sub(self.end);
        if rest < HEAD as u64 {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        read_exact_at(&*self.file, &mut head, self.end).attempt(attempt)?;
        let claimed = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let torn = head.starts_with(&MARK)
            && (claimed as usize) < WINDOW
            && rest < HEAD as u64 + u64::from(claimed);
        Ok((!torn).then_some((self.end, len)))
    }

    /// Reads the records that came since the last call.
    ///
    /// **Cost**: reads the new part of the list once, 4 MiB at a time.
    pub(crate) fn read_new(&mut self, slots: &mut Vec<PackIndexEntry>) -> Result<(), StoreError> {
        let len = self.file.len();
        let len = len.attempt(|| format!("read {}", self.name))?;
        let mut window = Vec::new();
        let mut at = self.end;
        loop {
            // Room for what is there and no more: most lists are small, and
            // each is looked at twice.
            let room = usize::try_from(len.saturating_sub(at)).unwrap_or(WINDOW);
            if room == 0 {
                return Ok(());
            }
            window.resize(room.min(WINDOW), 0);
            let filled = read_full_at(&*self.file, &mut window, at)
                .attempt(|| format!("read {}", self.name))?;
            window.truncate(filled);
            let used = self.read_window(&window, at, slots);
            at += used as u64;
            if used == 0 {
                return Ok(());
            }
        }
    }

    /// Reads what is whole in the window; returns how much of it is settled.
    fn read_window(&mut self, window: &[u8], base: u64, slots: &mut Vec<PackIndexEntry>) -> usize {
        let mut at = 0;
        while let Some(rest) = window.get(at..).filter(|rest| !rest.is_empty()) {
            let offset = base + at as u64;
            match self.parse(rest, offset) {
                Some((slot, len)) => {
                    if offset > self.end {
                        self.holes.push((self.end, offset));
                    }
                    slots.push(slot);
                    at += len;
                    self.end = base + at as u64;
                }
                // Torn, cut by the window, or damaged: only a whole record
                // further on tells which.
                None => match next_mark(rest) {
                    Some(skip) => at += skip,
                    None => break,
                },
            }
        }
        // What may be the beginning of a record is read again with the next
        // window, unless nothing but it is there.
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
        let slot = PackIndexEntry {
            place: EntryLocation::from_bytes(&fixed)?,
            card: EntryHeader::from_bytes(fixed.get(ENTRY_LOCATION_LEN..)?)?,
            list: self.number,
            json_at: offset + (HEAD + FIXED) as u64,
            json_len: len - FIXED as u32,
        };
        Some((slot, HEAD + len as usize))
    }

    /// The JSON of an entry this list holds.
    pub(crate) fn json(&self, slot: &PackIndexEntry) -> Result<Vec<u8>, StoreError> {
        let mut json = vec![0; slot.json_len as usize];
        read_exact_at(&*self.file, &mut json, slot.json_at)
            .attempt(|| format!("read {}", self.name))?;
        self.mask.apply(slot.json_at, &mut json);
        Ok(json)
    }
}

fn checksum(len: u32, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&len.to_le_bytes());
    crc.update(payload);
    crc.finalize()
}

/// Where the next record may begin, behind the first byte.
fn next_mark(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes.get(1..)?, &MARK).map(|at| at + 1)
}
