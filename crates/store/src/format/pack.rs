//! Opening a pack for reading, even where its header is lost.

use std::sync::Arc;

use crate::StoreError;
use crate::disk::{Disk, DiskFile};
use crate::error::Attempt;
use crate::format::entry::{EntryHeader, EntryLocation};
use crate::format::header::{FILE_HEADER_LEN, FileHeader};
use crate::format::mask::Mask;
use crate::format::pack_index::Listed;
use crate::format::{layout, trailer};

pub(crate) type PackFile = (Arc<dyn DiskFile>, Mask);

/// Opens the pack an entry stands in. The keystream's start is in the pack's
/// header, or else in the entry's trailer.
pub(crate) fn open(
    disk: &dyn Disk,
    key: [u8; 32],
    card: &EntryHeader,
    place: &EntryLocation,
) -> Result<PackFile, StoreError> {
    let name = layout::pack(place.pack);
    let file = disk.read(&name).attempt(|| format!("open {name}"))?;
    let at = place.start.saturating_add(card.stored);
    let mask = mask_of(&*file, &name, key, at)?;
    Ok((file, mask))
}

fn mask_of(
    file: &dyn DiskFile,
    name: &str,
    key: [u8; 32],
    trailer_at: u64,
) -> Result<Mask, StoreError> {
    let damaged = match FileHeader::read(file, name) {
        Ok(header) => return Ok(header.mask),
        Err(damaged @ StoreError::Damaged { .. }) => damaged,
        Err(e) => return Err(e),
    };
    trailer::mask_at(file, key, trailer_at)
        .attempt(|| format!("read {name}"))?
        .ok_or(damaged)
}

/// The JSON of an entry, from its trailer.
pub(crate) fn read_json(
    disk: &dyn Disk,
    key: [u8; 32],
    card: &EntryHeader,
    place: &EntryLocation,
) -> Result<Vec<u8>, StoreError> {
    let name = layout::pack(place.pack);
    let (file, mask) = open(disk, key, card, place)?;
    let at = place.start + card.stored;
    match trailer::read(&*file, &mask, at).attempt(|| format!("read {name}"))? {
        Ok(trailer) if trailer.card == *card => Ok(trailer.json),
        Ok(_) => Err(StoreError::damaged(
            format!("{name} at {at}"),
            "trailer of another entry",
        )),
        Err(why) => Err(StoreError::damaged(format!("{name} at {at}"), why)),
    }
}

/// Reads the one entry of a file with a body of its own from its trailer. Its
/// frames were synced before the trailer was written, so they need not be
/// read.
///
/// **Errors**: inner, why there is no such entry.
pub(crate) fn single_entry(
    disk: &dyn Disk,
    key: [u8; 32],
    name: &str,
    number: u32,
) -> Result<Result<Listed, String>, StoreError> {
    let attempt = || format!("read {name}");
    let file = disk.read(name).attempt(attempt)?;
    let end = file.len().attempt(attempt)?;
    let Some(at) = trailer::find_from_end(&*file, end).attempt(attempt)? else {
        return Ok(Err(format!("{name} ends without a trailer")));
    };
    let mask = match mask_of(&*file, name, key, at) {
        Ok(mask) => mask,
        Err(StoreError::Damaged { what, detail }) => return Ok(Err(format!("{what} {detail}"))),
        Err(e) => return Err(e),
    };
    let trailer = match trailer::read(&*file, &mask, at).attempt(attempt)? {
        Ok(trailer) => trailer,
        Err(why) => return Ok(Err(format!("{name} at {at}: {why}"))),
    };
    if trailer.card.stored.checked_add(FILE_HEADER_LEN) != Some(at) {
        return Ok(Err(format!("{name} at {at}: trailer of another body")));
    }
    let place = EntryLocation {
        pack: number,
        start: FILE_HEADER_LEN,
        trailer: trailer.len,
    };
    Ok(Ok((trailer.card, place, trailer.json)))
}
