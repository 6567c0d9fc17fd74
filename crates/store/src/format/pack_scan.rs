//! Reads a pack without its side file: what is needed after a kill, a power
//! loss, or when a side file is gone.

use std::io;

use crate::disk::{DiskFile, read_exact_at, read_full_at};
use crate::format::entry::{EntryHeader, EntryLocation};
use crate::format::frame::{Digest32, FRAME, FrameHead, HEAD, digest};
use crate::format::mask::Mask;
use crate::format::trailer;
use crate::format::trailer::MAGIC;

/// An entry found in a pack, every frame of it checked.
pub(crate) struct Found {
    pub(crate) card: EntryHeader,
    pub(crate) place: EntryLocation,
    pub(crate) json: Vec<u8>,
    /// Behind its trailer.
    pub(crate) end: u64,
}

/// Reads the entry that begins at `start`, whole.
///
/// **Errors**: outer, of the disk; inner, why there is no whole entry.
pub(crate) fn entry_at(
    file: &dyn DiskFile,
    mask: &Mask,
    pack: u32,
    start: u64,
) -> io::Result<Result<Found, String>> {
    let (digests, bytes, at) = match frames_at(file, mask, start)? {
        Ok(frames) => frames,
        Err(why) => return Ok(Err(why)),
    };
    let trailer = match trailer::read(file, mask, at)? {
        Ok(trailer) => trailer,
        Err(why) => return Ok(Err(why)),
    };
    // One frame alone hashes otherwise than the first of several.
    if trailer.card.bytes != bytes
        || trailer.card.stored != at - start
        || trailer.digests != digests.finish()
    {
        return Ok(Err("the frames are not those of the trailer".into()));
    }
    Ok(Ok(Found {
        card: trailer.card,
        place: EntryLocation {
            pack,
            start,
            trailer: trailer.len,
        },
        json: trailer.json,
        end: at + u64::from(trailer.len),
    }))
}

/// FrameDigests of frames as they come by, their number not known before the end.
#[derive(Default)]
struct FrameDigests {
    seen: Vec<Digest32>,
    first: Option<Digest32>,
}

impl FrameDigests {
    fn push(&mut self, frame: &[u8]) {
        let index = self.seen.len() as u64;
        if index == 0 {
            self.first = Some(digest(frame, 0, true));
        }
        self.seen.push(digest(frame, index, false));
    }

    fn finish(mut self) -> Vec<Digest32> {
        if let ([only], Some(first)) = (self.seen.as_mut_slice(), self.first) {
            *only = first;
        }
        self.seen
    }
}

type ScannedFrames = (FrameDigests, u64, u64);

/// Reads frames from `start` on until something else comes.
fn frames_at(
    file: &dyn DiskFile,
    mask: &Mask,
    start: u64,
) -> io::Result<Result<ScannedFrames, String>> {
    let (mut digests, mut bytes, mut at) = (FrameDigests::default(), 0, start);
    while let Some(head) = head_at(file, at)? {
        let frame = match payload_at(file, mask, at, &head)? {
            Ok(frame) => frame,
            Err(why) => return Ok(Err(why)),
        };
        if bytes % FRAME as u64 != 0 {
            return Ok(Err(format!("a short frame before offset {at}")));
        }
        digests.push(&frame);
        bytes += frame.len() as u64;
        at += HEAD as u64 + u64::from(head.stored);
    }
    Ok(Ok((digests, bytes, at)))
}

/// The head of the frame at `at`, if one is there.
pub(crate) fn head_at(file: &dyn DiskFile, at: u64) -> io::Result<Option<FrameHead>> {
    let mut head = [0; HEAD];
    if read_full_at(file, &mut head, at)? < HEAD {
        return Ok(None);
    }
    Ok(FrameHead::from_bytes(&head))
}

/// The checked bytes of the frame at `at`.
pub(crate) fn payload_at(
    file: &dyn DiskFile,
    mask: &Mask,
    at: u64,
    head: &FrameHead,
) -> io::Result<Result<Vec<u8>, String>> {
    let mut payload = vec![0; head.stored as usize];
    let offset = at + HEAD as u64;
    match read_exact_at(file, &mut payload, offset) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(Err("the file ends inside a frame".into()));
        }
        Err(e) => return Err(e),
    }
    Ok(head.unpack(payload, mask, offset).map_err(|mismatch| {
        format!(
            "the frame at {at} has {}, says {}",
            mismatch.found, mismatch.expected
        )
    }))
}

/// **Units**: bytes searched at once for the next trailer.
const WINDOW: usize = 1 << 20;

/// Finds the first whole entry that begins at `from` or behind it.
///
/// **Cost**: reads the rest of the file once; only where it is damaged.
pub(crate) fn next_entry(
    file: &dyn DiskFile,
    mask: &Mask,
    pack: u32,
    from: u64,
) -> io::Result<Option<Found>> {
    let mut window = vec![0; WINDOW];
    let mut at = from;
    loop {
        let filled = read_full_at(file, &mut window, at)?;
        let seen = window.get(..filled).unwrap_or_default();
        for hit in memchr::memmem::find_iter(seen, MAGIC) {
            let offset = at + hit as u64;
            let Ok(trailer) = trailer::read(file, mask, offset)? else {
                continue;
            };
            let Some(start) = offset
                .checked_sub(trailer.card.stored)
                .filter(|start| *start >= from)
            else {
                continue;
            };
            if let Ok(found) = entry_at(file, mask, pack, start)? {
                return Ok(Some(found));
            }
        }
        if filled < WINDOW {
            return Ok(None);
        }
        // The magic may stand across two windows.
        at += (filled - MAGIC.len()) as u64;
    }
}
