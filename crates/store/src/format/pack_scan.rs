//! Reads a pack without its pack index: after a kill or a power loss, or if
//! the pack index is missing or damaged.

use std::io;

use crate::disk::{DiskFile, read_exact_at, read_full_at};
use crate::format::entry::{EntryLocation, PackEntry};
use crate::format::frame::{Digest32, FRAME, FrameHead, HEAD, digest};
use crate::format::mask::Mask;
use crate::format::trailer;
use crate::format::trailer::MAGIC;

/// Reads the entry that starts at `start` and checks each of its frames.
///
/// **Errors**: outer, I/O; inner, why there is no intact entry.
pub(crate) fn entry_at(
    file: &dyn DiskFile,
    mask: &Mask,
    pack: u32,
    start: u64,
) -> io::Result<Result<PackEntry, String>> {
    let frames = match scan_frames(file, mask, start)? {
        Ok(frames) => frames,
        Err(reason) => return Ok(Err(reason)),
    };
    let trailer = match trailer::read(file, mask, frames.end)? {
        Ok(trailer) => trailer,
        Err(reason) => return Ok(Err(reason)),
    };
    if trailer.header.bytes != frames.bytes
        || trailer.header.stored != frames.end - start
        || trailer.digests != frames.digests.finish()
    {
        return Ok(Err("frames and trailer do not match".into()));
    }
    Ok(Ok(PackEntry {
        header: trailer.header,
        location: EntryLocation {
            pack,
            start,
            trailer: trailer.len,
        },
        json: trailer.json,
    }))
}

/// Digests of the frames of a body, while the number of frames is unknown: the
/// digest of an only frame differs from that of the first of several.
#[derive(Default)]
struct FrameDigests {
    digests: Vec<Digest32>,
    as_only: Option<Digest32>,
}

impl FrameDigests {
    fn push(&mut self, frame: &[u8]) {
        let index = self.digests.len() as u64;
        if index == 0 {
            self.as_only = Some(digest(frame, 0, true));
        }
        self.digests.push(digest(frame, index, false));
    }

    fn finish(mut self) -> Vec<Digest32> {
        if let ([only], Some(as_only)) = (self.digests.as_mut_slice(), self.as_only) {
            *only = as_only;
        }
        self.digests
    }
}

/// The frames of one entry.
struct ScannedFrames {
    digests: FrameDigests,
    /// **Units**: bytes of the body.
    bytes: u64,
    /// Offset after the last frame.
    end: u64,
}

/// Reads frames from `start` up to the first byte that is not a frame.
fn scan_frames(
    file: &dyn DiskFile,
    mask: &Mask,
    start: u64,
) -> io::Result<Result<ScannedFrames, String>> {
    let (mut digests, mut bytes, mut at) = (FrameDigests::default(), 0, start);
    while let Some(head) = head_at(file, at)? {
        let frame = match payload_at(file, mask, at, &head)? {
            Ok(frame) => frame,
            Err(reason) => return Ok(Err(reason)),
        };
        if bytes % FRAME as u64 != 0 {
            return Ok(Err(format!("short frame before byte {at}")));
        }
        digests.push(&frame);
        bytes += frame.len() as u64;
        at += HEAD as u64 + u64::from(head.stored);
    }
    Ok(Ok(ScannedFrames {
        digests,
        bytes,
        end: at,
    }))
}

/// The head of the frame at `offset`; `None` if there is no frame.
pub(crate) fn head_at(file: &dyn DiskFile, offset: u64) -> io::Result<Option<FrameHead>> {
    let mut head = [0; HEAD];
    if read_full_at(file, &mut head, offset)? < HEAD {
        return Ok(None);
    }
    Ok(FrameHead::from_bytes(&head))
}

/// The decoded and checked bytes of the frame at `offset`.
pub(crate) fn payload_at(
    file: &dyn DiskFile,
    mask: &Mask,
    offset: u64,
    head: &FrameHead,
) -> io::Result<Result<Vec<u8>, String>> {
    let mut payload = vec![0; head.stored as usize];
    let payload_offset = offset + HEAD as u64;
    match read_exact_at(file, &mut payload, payload_offset) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            return Ok(Err("the file ends inside a frame".into()));
        }
        Err(e) => return Err(e),
    }
    Ok(head
        .unpack(payload, mask, payload_offset)
        .map_err(|mismatch| {
            format!(
                "frame at byte {offset} has {}, expected {}",
                mismatch.found, mismatch.expected
            )
        }))
}

/// **Units**: bytes read at once while searching for the next trailer.
const WINDOW: usize = 1 << 20;

/// Finds the first intact entry that starts at `from` or later.
///
/// **Cost**: reads the rest of the file once. Used for damaged packs only.
pub(crate) fn next_entry(
    file: &dyn DiskFile,
    mask: &Mask,
    pack: u32,
    from: u64,
) -> io::Result<Option<PackEntry>> {
    let mut window = vec![0; WINDOW];
    let mut at = from;
    loop {
        let len = read_full_at(file, &mut window, at)?;
        let bytes = window.get(..len).unwrap_or_default();
        for hit in memchr::memmem::find_iter(bytes, MAGIC) {
            let trailer_offset = at + hit as u64;
            let Ok(trailer) = trailer::read(file, mask, trailer_offset)? else {
                continue;
            };
            let Some(start) = trailer_offset
                .checked_sub(trailer.header.stored)
                .filter(|start| *start >= from)
            else {
                continue;
            };
            if let Ok(entry) = entry_at(file, mask, pack, start)? {
                return Ok(Some(entry));
            }
        }
        if len < WINDOW {
            return Ok(None);
        }
        // Overlap the windows: the magic may cross their border.
        at += (len - MAGIC.len()) as u64;
    }
}
