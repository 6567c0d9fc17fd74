//! Reads packs, including packs with a damaged header.

use std::sync::Arc;

use crate::StoreError;
use crate::disk::{Disk, DiskFile};
use crate::error::IoContext;
use crate::format::entry::{EntryHeader, EntryLocation, PackEntry};
use crate::format::header::{FILE_HEADER_LEN, FileHeader};
use crate::format::mask::Mask;
use crate::format::{layout, trailer};

/// An open pack.
#[derive(Clone)]
pub(crate) struct PackFile {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) mask: Mask,
}

/// Opens the pack of an entry. If the header of the pack is damaged, the mask
/// is taken from the trailer of the entry.
pub(crate) fn open(
    disk: &dyn Disk,
    key: [u8; 32],
    header: &EntryHeader,
    location: &EntryLocation,
) -> Result<PackFile, StoreError> {
    let name = layout::pack(location.pack);
    let file = disk.open(&name).attempt(|| format!("open {name}"))?;
    let mask = read_mask(&*file, &name, key, location.trailer_offset(header))?;
    Ok(PackFile { file, mask })
}

fn read_mask(
    file: &dyn DiskFile,
    name: &str,
    key: [u8; 32],
    trailer_offset: u64,
) -> Result<Mask, StoreError> {
    let damaged = match FileHeader::read(file, name) {
        Ok(header) => return Ok(header.mask),
        Err(damaged @ StoreError::Damaged { .. }) => damaged,
        Err(e) => return Err(e),
    };
    trailer::mask_at(file, key, trailer_offset)
        .attempt(|| format!("read {name}"))?
        .ok_or(damaged)
}

/// Reads the JSON of an entry from its trailer.
pub(crate) fn read_json(
    disk: &dyn Disk,
    key: [u8; 32],
    header: &EntryHeader,
    location: &EntryLocation,
) -> Result<Vec<u8>, StoreError> {
    let name = layout::pack(location.pack);
    let pack = open(disk, key, header, location)?;
    let offset = location.trailer_offset(header);
    let object = || format!("{name} at byte {offset}");
    match trailer::read(&*pack.file, &pack.mask, offset).attempt(|| format!("read {name}"))? {
        Ok(trailer) if trailer.header == *header => Ok(trailer.json),
        Ok(_) => Err(StoreError::damaged(object(), "trailer of another entry")),
        Err(reason) => Err(StoreError::damaged(object(), reason)),
    }
}

/// Reads the entry of a single-body pack from its trailer. The frames are not
/// read: they were synced before the trailer was written.
///
/// **Errors**: inner, why the file has no such entry.
pub(crate) fn read_single_body(
    disk: &dyn Disk,
    key: [u8; 32],
    name: &str,
    number: u32,
) -> Result<Result<PackEntry, String>, StoreError> {
    let attempt = || format!("read {name}");
    let file = disk.open(name).attempt(attempt)?;
    let end = file.len().attempt(attempt)?;
    let Some(offset) = trailer::find_from_end(&*file, end).attempt(attempt)? else {
        return Ok(Err(format!("{name} has no trailer at its end")));
    };
    let mask = match read_mask(&*file, name, key, offset) {
        Ok(mask) => mask,
        Err(damaged @ StoreError::Damaged { .. }) => return Ok(Err(damaged.to_string())),
        Err(e) => return Err(e),
    };
    let trailer = match trailer::read(&*file, &mask, offset).attempt(attempt)? {
        Ok(trailer) => trailer,
        Err(reason) => return Ok(Err(format!("{name} at byte {offset}: {reason}"))),
    };
    if trailer.header.stored.checked_add(FILE_HEADER_LEN) != Some(offset) {
        return Ok(Err(format!(
            "{name} at byte {offset}: trailer of another body"
        )));
    }
    Ok(Ok(PackEntry {
        header: trailer.header,
        location: EntryLocation {
            pack: number,
            start: FILE_HEADER_LEN,
            trailer: trailer.len,
        },
        json: trailer.json,
    }))
}
