//! A file of named sections with a table at its end. Written once, front to
//! back; mapped for reading.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use crate::IndexError;
use crate::codec::directory::{Folder, NewFile};
use crate::codec::system::release;

const MAGIC: [u8; 8] = *b"AAsegmt1";
/// Entry of the table: tag, offset, length, checksum.
const ENTRY: usize = 8 + 8 + 8 + 4;
/// Table length, its checksum, magic.
const TRAILER: usize = 4 + 4 + 8;

pub(crate) type Tag = [u8; 8];

pub(crate) struct SectionWriter {
    file: NewFile,
    position: u64,
    table: Vec<u8>,
    current: Option<(Tag, u64, crc32fast::Hasher)>,
}

impl SectionWriter {
    pub(crate) fn create(folder: &Folder, name: &str) -> Result<Self, IndexError> {
        Ok(Self {
            file: folder.create(name)?,
            position: 0,
            table: Vec::new(),
            current: None,
        })
    }

    /// Where the next byte goes in the file.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    pub(crate) fn begin(&mut self, tag: &Tag) {
        self.end();
        self.current = Some((*tag, self.position, crc32fast::Hasher::new()));
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        if let Some((_, _, checksum)) = &mut self.current {
            checksum.update(bytes);
        }
        self.position += bytes.len() as u64;
        self.file.write(bytes)
    }

    pub(crate) fn section(&mut self, tag: &Tag, bytes: &[u8]) -> Result<(), IndexError> {
        self.begin(tag);
        self.write(bytes)
    }

    fn end(&mut self) {
        if let Some((tag, start, checksum)) = self.current.take() {
            self.table.extend(tag);
            self.table.extend(start.to_le_bytes());
            self.table.extend((self.position - start).to_le_bytes());
            self.table.extend(checksum.finalize().to_le_bytes());
        }
    }

    /// Writes the table, syncs, and says how long the file is.
    pub(crate) fn finish(mut self) -> Result<u64, IndexError> {
        self.end();
        let mut end = std::mem::take(&mut self.table);
        let checksum = crc32fast::hash(&end);
        end.extend((end.len() as u32).to_le_bytes());
        end.extend(checksum.to_le_bytes());
        end.extend(MAGIC);
        self.write(&end)?;
        self.file.finish()?;
        Ok(self.position)
    }
}

/// The mapped file. Segment files are written once and never changed, so the
/// map stays what it was for as long as it lives.
#[derive(Clone)]
pub(crate) struct Map(Arc<Mmap>);

impl std::ops::Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

// SAFETY: the mapped bytes stay where they are however often the handle is
// moved or cloned; they go with the last handle.
unsafe impl stable_deref_trait::StableDeref for Map {}

pub(crate) struct SectionFile {
    path: PathBuf,
    map: Map,
    table: Vec<(Tag, usize, usize, u32)>,
    slots: Slots,
}

/// Where in the table a tag stands: sections are asked for by the million.
struct Slots([u8; Slots::COUNT]);

impl Slots {
    const COUNT: usize = 128;
    const NONE: u8 = u8::MAX;

    /// `None` for more sections than a segment has ever had.
    fn of(table: &[(Tag, usize, usize, u32)]) -> Option<Self> {
        let mut slots = [Self::NONE; Self::COUNT];
        if table.len() > Self::COUNT / 2 {
            return None;
        }
        for (n, (tag, ..)) in (0..).zip(table) {
            let free = Self::probe(tag).find(|slot| slots[*slot] == Self::NONE)?;
            slots[free] = n;
        }
        Some(Self(slots))
    }

    /// Where a tag may stand, one slot after the other.
    fn probe(tag: &Tag) -> impl Iterator<Item = usize> {
        let hash = u64::from_le_bytes(*tag).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let first = (hash >> 57) as usize;
        (first..first + Self::COUNT).map(|slot| slot % Self::COUNT)
    }
}

impl SectionFile {
    /// **Cost**: maps the file and reads its table.
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        let failed = |action| {
            let path = path.to_path_buf();
            move |source| IndexError::Io {
                action,
                path,
                source,
            }
        };
        let file = File::open(path).map_err(failed("open"))?;
        // SAFETY: nothing writes to a segment file that the manifest names;
        // it is removed, never cut.
        let map = unsafe { Mmap::map(&file) }.map_err(failed("map"))?;
        let map = Map(Arc::new(map));
        let table = read_table(&map);
        let read = table.and_then(|table| Some((Slots::of(&table)?, table)));
        let (slots, table) = read.ok_or_else(|| IndexError::Damaged {
            path: path.to_path_buf(),
            what: "its table of sections cannot be read".into(),
        })?;
        Ok(Self {
            path: path.to_path_buf(),
            map,
            table,
            slots,
        })
    }

    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// A section's bytes; empty where the file has none of that name.
    pub(crate) fn get(&self, tag: &Tag) -> &[u8] {
        &self.map[self.range(tag)]
    }

    pub(crate) fn range(&self, tag: &Tag) -> std::ops::Range<usize> {
        let here = Slots::probe(tag).map(|slot| self.table.get(usize::from(self.slots.0[slot])));
        here.map_while(|section| section)
            .find(|(other, ..)| other == tag)
            .map_or(0..0, |(_, start, len, _)| *start..start + len)
    }

    /// Sizes by section.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (&Tag, usize)> {
        self.table.iter().map(|(tag, _, len, _)| (tag, *len))
    }

    /// Gives back the memory of what was read; all can be read again.
    pub(crate) fn release(&self) {
        release(&self.map.0);
    }

    /// Of every section, as its writer took them.
    pub(crate) fn checksums(&self) -> impl Iterator<Item = u32> + '_ {
        self.table.iter().map(|(.., checksum)| *checksum)
    }

    /// Reads every section and compares its checksum.
    pub(crate) fn verify(&self) -> Result<(), IndexError> {
        for (tag, start, len, checksum) in &self.table {
            if crc32fast::hash(&self.map[*start..start + len]) != *checksum {
                return Err(self.damaged(&format!(
                    "section {} does not match its checksum",
                    String::from_utf8_lossy(tag).trim_end_matches('\0')
                )));
            }
        }
        Ok(())
    }

    pub(crate) fn damaged(&self, what: &str) -> IndexError {
        IndexError::Damaged {
            path: self.path.clone(),
            what: what.to_string(),
        }
    }
}

fn read_table(map: &[u8]) -> Option<Vec<(Tag, usize, usize, u32)>> {
    let (rest, trailer) = map.split_at_checked(map.len().checked_sub(TRAILER)?)?;
    let len = u32::from_le_bytes(*trailer.first_chunk()?) as usize;
    let checksum = u32::from_le_bytes(*trailer[4..].first_chunk()?);
    let table = rest.get(rest.len().checked_sub(len)?..)?;
    if trailer[8..] != MAGIC || crc32fast::hash(table) != checksum {
        return None;
    }
    table
        .chunks_exact(ENTRY)
        .map(|entry| {
            let tag = *entry.first_chunk()?;
            let start = u64::from_le_bytes(*entry[8..].first_chunk()?) as usize;
            let len = u64::from_le_bytes(*entry[16..].first_chunk()?) as usize;
            let checksum = u32::from_le_bytes(*entry[24..].first_chunk()?);
            (start.checked_add(len)? <= rest.len()).then_some((tag, start, len, checksum))
        })
        .collect()
}
