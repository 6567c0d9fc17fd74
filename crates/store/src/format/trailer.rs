//! The trailer behind an entry's frames: says everything about the entry, so
//! that the catalogue and the side files can be rebuilt from the packs alone.

use crate::disk::{DiskFile, read_exact_at, read_full_at};
use crate::format::entry::{ENTRY_HEADER_LEN, EntryHeader};
use crate::format::frame::{Digest32, FRAME};
use crate::format::mask::Mask;

/// ```text
/// magic    8
/// nonce   12  of the file's keystream, in case its header is lost
/// payload  4  length
/// crc32    4  of all before and the payload as it stands
/// payload     masked: card, frames' digests, JSON
/// payload  4  length again, so that it can be read from the end
/// end      4
/// ```
pub(crate) const MAGIC: &[u8; 8] = b"\xf7\xa2TRAILR";
const END: &[u8; 4] = b"\xa2RT\xf7";
const HEAD: usize = 28;
const TAIL: usize = 8;
/// **Units**: bytes. Digests of 512 GiB in frames are 64 MiB; JSON is bounded
/// by [`super::FACT_BYTES_MAX`]. What claims more is no trailer.
const PAYLOAD_MAX: usize = 96 << 20;

/// A trailer as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) card: EntryHeader,
    pub(crate) digests: Vec<Digest32>,
    pub(crate) json: Vec<u8>,
    /// **Units**: bytes on disk.
    pub(crate) len: u32,
}

/// Appends the trailer that will stand at `offset` of its file to `out`.
/// Returns its length.
pub(crate) fn write(
    card: &EntryHeader,
    digests: &[Digest32],
    json: &[u8],
    mask: &Mask,
    offset: u64,
    out: &mut Vec<u8>,
) -> u32 {
    let start = out.len();
    let payload_len = (ENTRY_HEADER_LEN + digests.len() * 32 + json.len()) as u32;
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&mask.nonce);
    out.extend_from_slice(&payload_len.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&card.to_bytes());
    digests
        .iter()
        .for_each(|digest| out.extend_from_slice(digest));
    out.extend_from_slice(json);
    if let Some(payload) = out.get_mut(start + HEAD..) {
        mask.apply(offset + HEAD as u64, payload);
    }
    let crc = checksum(
        out.get(start..start + HEAD - 4).unwrap_or_default(),
        out.get(start + HEAD..).unwrap_or_default(),
    );
    if let Some(field) = out.get_mut(start + HEAD - 4..start + HEAD) {
        field.copy_from_slice(&crc.to_le_bytes());
    }
    out.extend_from_slice(&payload_len.to_le_bytes());
    out.extend_from_slice(END);
    (out.len() - start) as u32
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(head);
    crc.update(payload);
    crc.finalize()
}

/// Reads the trailer at `offset`.
///
/// **Errors**: outer, of the disk; inner, what is wrong where a trailer was
/// expected.
pub(crate) fn read(
    file: &dyn DiskFile,
    mask: &Mask,
    offset: u64,
) -> std::io::Result<Result<Trailer, String>> {
    let mut head = [0; HEAD];
    if read_full_at(file, &mut head, offset)? < HEAD {
        return Ok(Err("the file ends before its trailer".into()));
    }
    if !head.starts_with(MAGIC) {
        return Ok(Err("no trailer where one is expected".into()));
    }
    let payload_len = u32::from_le_bytes([head[20], head[21], head[22], head[23]]);
    let crc = u32::from_le_bytes([head[24], head[25], head[26], head[27]]);
    if !(ENTRY_HEADER_LEN..=PAYLOAD_MAX).contains(&(payload_len as usize)) {
        return Ok(Err(format!("trailer claims {payload_len} bytes")));
    }
    if file.len()?.saturating_sub(offset) < HEAD as u64 + u64::from(payload_len) + TAIL as u64 {
        return Ok(Err("the file ends inside its trailer".into()));
    }
    let mut payload = vec![0; payload_len as usize + TAIL];
    read_exact_at(file, &mut payload, offset + HEAD as u64)?;
    let tail = payload.split_off(payload_len as usize);
    let found = checksum(&head[..HEAD - 4], &payload);
    if found != crc {
        return Ok(Err(format!(
            "trailer has crc32 {found:08x}, says {crc:08x}"
        )));
    }
    if tail.get(..4) != Some(&payload_len.to_le_bytes()) || tail.get(4..) != Some(END) {
        return Ok(Err("trailer has no valid end".into()));
    }
    mask.apply(offset + HEAD as u64, &mut payload);
    Ok(parse(payload).ok_or_else(|| "trailer holds no card".into()))
}

fn parse(mut payload: Vec<u8>) -> Option<Trailer> {
    let len = (payload.len() + HEAD + TAIL) as u32;
    let card = EntryHeader::from_bytes(&payload)?;
    let frames = usize::try_from(card.bytes.div_ceil(FRAME as u64)).ok()?;
    let digests_end = ENTRY_HEADER_LEN.checked_add(frames.checked_mul(32)?)?;
    let digests = payload
        .get(ENTRY_HEADER_LEN..digests_end)?
        .chunks_exact(32)
        .map(|digest| digest.try_into().unwrap_or_default())
        .collect();
    let json = payload.split_off(digests_end);
    Some(Trailer {
        card,
        digests,
        json,
        len,
    })
}

/// The keystream of a file whose header is lost, from the trailer at `offset`
/// and the archive's key.
pub(crate) fn mask_at(
    file: &dyn DiskFile,
    key: [u8; 32],
    offset: u64,
) -> std::io::Result<Option<Mask>> {
    let mut head = [0; HEAD];
    let whole = read_full_at(file, &mut head, offset)? == HEAD && head.starts_with(MAGIC);
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&head[8..20]);
    Ok(whole.then_some(Mask { key, nonce }))
}

/// Finds where the trailer that ends at `end` begins, without judging it.
pub(crate) fn find_from_end(file: &dyn DiskFile, end: u64) -> std::io::Result<Option<u64>> {
    let mut tail = [0; TAIL];
    let Some(at) = end.checked_sub(TAIL as u64) else {
        return Ok(None);
    };
    if read_full_at(file, &mut tail, at)? < TAIL || &tail[4..] != END {
        return Ok(None);
    }
    let payload_len = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    Ok(at
        .checked_sub(u64::from(payload_len))
        .and_then(|at| at.checked_sub(HEAD as u64)))
}
