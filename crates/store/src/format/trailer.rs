//! Trailer of an entry, after its frames. It describes the entry completely,
//! so that the catalogue database and the pack indexes can be rebuilt from the
//! packs alone.

use crate::disk::{DiskFile, read_exact_at, read_full_at};
use crate::format::entry::{ENTRY_HEADER_LEN, EntryHeader};
use crate::format::frame::{Digest32, FRAME};
use crate::format::mask::Mask;

/// ```text
/// magic    8
/// nonce   12  of the file's keystream, for a file with a damaged header
/// payload  4  length
/// crc32    4  of all fields before and the masked payload
/// payload     masked: entry header, digests of the frames, JSON
/// payload  4  length again, to find the trailer from its end
/// end      4
/// ```
pub(crate) const MAGIC: &[u8; 8] = b"\xf7\xa2TRAILR";
const END: &[u8; 4] = b"\xa2RT\xf7";
const HEAD: usize = 28;
const TAIL: usize = 8;
/// **Units**: bytes. The digests of a body of 512 GiB take 64 MiB; the JSON is
/// limited to 1 MiB. A greater length is damage.
const PAYLOAD_MAX: usize = 96 << 20;

/// A decoded trailer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) header: EntryHeader,
    pub(crate) digests: Vec<Digest32>,
    pub(crate) json: Vec<u8>,
    /// **Units**: bytes on disk.
    pub(crate) len: u32,
}

/// Appends the encoded trailer for `offset` of its file to `out`. Returns its
/// length.
pub(crate) fn write(
    header: &EntryHeader,
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
    out.extend_from_slice(&header.to_bytes());
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
/// **Errors**: outer, I/O; inner, why there is no valid trailer.
pub(crate) fn read(
    file: &dyn DiskFile,
    mask: &Mask,
    offset: u64,
) -> std::io::Result<Result<Trailer, String>> {
    let mut head = [0; HEAD];
    if read_full_at(file, &mut head, offset)? < HEAD {
        return Ok(Err("the file ends before the trailer".into()));
    }
    if !head.starts_with(MAGIC) {
        return Ok(Err("no trailer".into()));
    }
    let payload_len = u32::from_le_bytes([head[20], head[21], head[22], head[23]]);
    let crc = u32::from_le_bytes([head[24], head[25], head[26], head[27]]);
    if !(ENTRY_HEADER_LEN..=PAYLOAD_MAX).contains(&(payload_len as usize)) {
        return Ok(Err(format!("trailer with invalid length {payload_len}")));
    }
    if file.len()?.saturating_sub(offset) < HEAD as u64 + u64::from(payload_len) + TAIL as u64 {
        return Ok(Err("the file ends inside the trailer".into()));
    }
    let mut payload = vec![0; payload_len as usize + TAIL];
    read_exact_at(file, &mut payload, offset + HEAD as u64)?;
    let tail = payload.split_off(payload_len as usize);
    let actual_crc = checksum(&head[..HEAD - 4], &payload);
    if actual_crc != crc {
        return Ok(Err(format!(
            "trailer with crc32 {actual_crc:08x}, expected {crc:08x}"
        )));
    }
    if tail.get(..4) != Some(&payload_len.to_le_bytes()) || tail.get(4..) != Some(END) {
        return Ok(Err("trailer without a valid end".into()));
    }
    mask.apply(offset + HEAD as u64, &mut payload);
    Ok(parse(payload).ok_or_else(|| "trailer without a valid entry header".into()))
}

fn parse(mut payload: Vec<u8>) -> Option<Trailer> {
    let len = (payload.len() + HEAD + TAIL) as u32;
    let header = EntryHeader::from_bytes(&payload)?;
    let frames = usize::try_from(header.bytes.div_ceil(FRAME as u64)).ok()?;
    let digests_end = ENTRY_HEADER_LEN.checked_add(frames.checked_mul(32)?)?;
    let digests = payload
        .get(ENTRY_HEADER_LEN..digests_end)?
        .chunks_exact(32)
        .map(|digest| digest.try_into().unwrap_or_default())
        .collect();
    let json = payload.split_off(digests_end);
    Some(Trailer {
        header,
        digests,
        json,
        len,
    })
}

/// The mask of a file with a damaged header, from the trailer at `offset` and
/// the archive's key.
pub(crate) fn mask_at(
    file: &dyn DiskFile,
    key: [u8; 32],
    offset: u64,
) -> std::io::Result<Option<Mask>> {
    let mut head = [0; HEAD];
    let is_trailer = read_full_at(file, &mut head, offset)? == HEAD && head.starts_with(MAGIC);
    let mut nonce = [0; 12];
    nonce.copy_from_slice(&head[8..20]);
    Ok(is_trailer.then_some(Mask { key, nonce }))
}

/// Offset of the trailer that ends at `end`. Does not check the trailer.
pub(crate) fn find_from_end(file: &dyn DiskFile, end: u64) -> std::io::Result<Option<u64>> {
    let mut tail = [0; TAIL];
    let Some(tail_offset) = end.checked_sub(TAIL as u64) else {
        return Ok(None);
    };
    if read_full_at(file, &mut tail, tail_offset)? < TAIL || &tail[4..] != END {
        return Ok(None);
    }
    let payload_len = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
    Ok(tail_offset.checked_sub(u64::from(payload_len) + HEAD as u64))
}
