//! Frames: 256 KiB pieces of a body, each with its own checksum. A ranged read
//! checks the frames it touches, not a whole body of 3 GB.

use blake3::hazmat::{HasherExt, Mode, left_subtree_len, merge_subtrees_non_root};

use crate::format::mask::Mask;
use evidence::Sha256;

/// **Units**: bytes of a body in one frame; the last frame may have fewer. A
/// power of two, so that each frame is a complete subtree of BLAKE3.
pub(crate) const FRAME: usize = 256 << 10;
/// **Units**: bytes before each frame's payload.
pub(crate) const HEAD: usize = 16;

const MARK: [u8; 2] = [0xf7, 0xa1];
const MASKED: u8 = 1;
const ZSTD: u8 = 2;
/// Level 4 would save a few percent of space at half the speed.
const ZSTD_LEVEL: i32 = 3;

pub(crate) type Digest32 = [u8; 32];

/// ```text
/// 0  mark      2
/// 2  encoding  1  bit 0 masked, bit 1 zstd, other bits zero
/// 3  zero      1
/// 4  raw       4  bytes of the body in it
/// 8  stored    4  bytes that follow
/// 12 crc32     4  of the 12 bytes before and the unmasked payload
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHead {
    encoding: u8,
    pub(crate) raw: u32,
    pub(crate) stored: u32,
    crc: u32,
}

impl FrameHead {
    fn new(encoding: u8, raw: usize, payload: &[u8]) -> Self {
        let mut head = Self {
            encoding,
            raw: raw as u32,
            stored: payload.len() as u32,
            crc: 0,
        };
        head.crc = head.checksum(payload);
        head
    }

    fn checksum(&self, payload: &[u8]) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.to_bytes()[..12]);
        crc.update(payload);
        crc.finalize()
    }

    pub(crate) fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[..2].copy_from_slice(&MARK);
        bytes[2] = self.encoding;
        bytes[4..8].copy_from_slice(&self.raw.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.stored.to_le_bytes());
        bytes[12..].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are not a valid frame head.
    pub(crate) fn from_bytes(bytes: &[u8; HEAD]) -> Option<Self> {
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(word)
        };
        let head = Self {
            encoding: bytes[2],
            raw: word(4),
            stored: word(8),
            crc: word(12),
        };
        let is_valid = bytes[..2] == MARK
            && bytes[3] == 0
            && head.encoding & !(MASKED | ZSTD) == 0
            && (1..=FRAME).contains(&(head.raw as usize))
            && (1..=head.raw).contains(&head.stored)
            && (head.encoding & ZSTD != 0 || head.stored == head.raw);
        is_valid.then_some(head)
    }

    pub(crate) fn is_compressed(&self) -> bool {
        self.encoding & ZSTD != 0
    }

    /// Decodes the payload, read at `offset` of the file, into bytes of the
    /// body.
    ///
    /// **Errors**: the checksum or the decompressed length is wrong.
    pub(crate) fn unpack(
        &self,
        mut payload: Vec<u8>,
        mask: &Mask,
        offset: u64,
    ) -> Result<Vec<u8>, FrameMismatch> {
        if self.encoding & MASKED != 0 {
            mask.apply(offset, &mut payload);
        }
        let found = self.checksum(&payload);
        if found != self.crc {
            return Err(FrameMismatch {
                expected: format!("crc32 {:08x}", self.crc),
                found: format!("{found:08x}"),
            });
        }
        if !self.is_compressed() {
            return Ok(payload);
        }
        zstd::bulk::decompress(&payload, self.raw as usize)
            .ok()
            .filter(|raw| raw.len() == self.raw as usize)
            .ok_or_else(|| FrameMismatch {
                expected: format!("{} bytes compressed with zstd", self.raw),
                found: "other data".into(),
            })
    }
}

/// A failed check of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FrameMismatch {
    pub(crate) expected: String,
    pub(crate) found: String,
}

/// BLAKE3 of frame `index`. The only frame of a body has the plain hash. One of
/// several frames has the chaining value of its subtree, so that the digests of
/// all frames merge to the BLAKE3 of the body.
pub(crate) fn digest(frame: &[u8], index: u64, is_only: bool) -> Digest32 {
    if is_only || frame.is_empty() {
        return *blake3::hash(frame).as_bytes();
    }
    blake3::Hasher::new()
        .set_input_offset(index * FRAME as u64)
        .update(frame)
        .finalize_non_root()
}

/// BLAKE3 of a body of `bytes` bytes, from the digests of its frames.
pub(crate) fn merge(digests: &[Digest32], bytes: u64) -> Digest32 {
    match digests {
        [] => *blake3::hash(b"").as_bytes(),
        [only] => *only,
        _ => {
            let (left, right) = subtrees(digests, bytes);
            *blake3::hazmat::merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
        }
    }
}

/// Digests of the left and the right subtree of BLAKE3.
fn subtrees(digests: &[Digest32], bytes: u64) -> (Digest32, Digest32) {
    let left_bytes = left_subtree_len(bytes);
    let cut = usize::try_from(left_bytes / FRAME as u64).unwrap_or(usize::MAX);
    let (left, right) = digests.split_at(cut.min(digests.len()));
    (
        subtree(left, left_bytes),
        subtree(right, bytes - left_bytes),
    )
}

fn subtree(digests: &[Digest32], bytes: u64) -> Digest32 {
    match digests {
        [] => [0; 32],
        [only] => *only,
        _ => {
            let (left, right) = subtrees(digests, bytes);
            merge_subtrees_non_root(&left, &right, Mode::Hash)
        }
    }
}

/// Length of the frames of an uncompressed body of `bytes` bytes.
///
/// **Units**: bytes on disk.
pub(crate) fn framed_len(bytes: u64) -> u64 {
    bytes + bytes.div_ceil(FRAME as u64) * HEAD as u64
}

/// Encodes a masked, uncompressed frame for `offset` of its file into `out`.
pub(crate) fn encode_masked(frame: &[u8], mask: &Mask, offset: u64, out: &mut Vec<u8>) {
    out.resize(HEAD + frame.len(), 0);
    let (head, payload) = out.split_at_mut(HEAD);
    head.copy_from_slice(&FrameHead::new(MASKED, frame.len(), frame).to_bytes());
    mask.copy(offset + HEAD as u64, frame, payload);
}

/// A small body prepared for a pack: hashed, framed and, if worthwhile,
/// compressed. Not masked, because its offset is not known yet.
#[derive(Clone, Debug)]
pub(crate) struct FramedBody {
    pub(crate) bytes: u64,
    pub(crate) sha256: Option<Sha256>,
    pub(crate) blake3: Digest32,
    pub(crate) digests: Vec<Digest32>,
    pub(crate) frames: Vec<u8>,
}

impl FramedBody {
    /// The body of an entry without a body.
    pub(crate) fn empty() -> Self {
        Self {
            bytes: 0,
            sha256: None,
            blake3: merge(&[], 0),
            digests: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// **Cost**: SHA-256, BLAKE3 and CRC-32 of the bytes; with `compress` also
    /// zstd.
    pub(crate) fn new(bytes: &[u8], compress: bool) -> Self {
        let is_only = bytes.len() <= FRAME;
        let mut body = Self {
            bytes: bytes.len() as u64,
            sha256: Some(Sha256::of(bytes)),
            ..Self::empty()
        };
        for (index, frame) in bytes.chunks(FRAME).enumerate() {
            body.digests.push(digest(frame, index as u64, is_only));
            let compressed = compress
                .then(|| zstd::bulk::compress(frame, ZSTD_LEVEL).ok())
                .flatten()
                .filter(|compressed| compressed.len() < frame.len());
            let (encoding, payload) = match &compressed {
                Some(compressed) => (MASKED | ZSTD, compressed.as_slice()),
                None => (MASKED, frame),
            };
            let head = FrameHead::new(encoding, frame.len(), payload);
            body.frames.extend_from_slice(&head.to_bytes());
            body.frames.extend_from_slice(payload);
        }
        body.blake3 = merge(&body.digests, body.bytes);
        body
    }
}

/// Masks the payloads of consecutive frames for `offset` of their file.
pub(crate) fn mask_frames(frames: &mut [u8], mask: &Mask, offset: u64) {
    let mut at = 0;
    while let Some(head) = frames
        .get(at..at + HEAD)
        .and_then(|bytes| FrameHead::from_bytes(bytes.try_into().ok()?))
    {
        let start = at + HEAD;
        let end = start + head.stored as usize;
        match frames.get_mut(start..end) {
            Some(payload) => mask.apply(offset + start as u64, payload),
            None => return,
        }
        at = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    #[test]
    fn frame_digests_merge_to_the_blake3_of_the_body() {
        for len in [0, 1, FRAME, FRAME + 1, 2 * FRAME, 3 * FRAME + 5, 7 * FRAME] {
            let bytes = body(len);
            let framed = FramedBody::new(&bytes, false);
            assert_eq!(framed.blake3, *blake3::hash(&bytes).as_bytes(), "{len}");
            assert_eq!(framed.frames.len() as u64, framed_len(len as u64), "{len}");
        }
    }

    #[test]
    fn frame_decodes_only_at_the_offset_it_was_masked_for() {
        let mask = Mask {
            key: [1; 32],
            nonce: [2; 12],
        };
        for compress in [false, true] {
            let bytes = body(5000);
            let mut frames = FramedBody::new(&bytes, compress).frames;
            mask_frames(&mut frames, &mask, 900);
            let head = FrameHead::from_bytes(frames[..HEAD].try_into().unwrap()).unwrap();
            assert_eq!(head.is_compressed(), compress);
            let payload = frames[HEAD..].to_vec();
            let offset = 900 + HEAD as u64;
            assert_eq!(head.unpack(payload.clone(), &mask, offset).unwrap(), bytes);
            assert!(head.unpack(payload, &mask, offset + 1).is_err());
        }
    }

    #[test]
    fn incompressible_frame_is_stored_uncompressed() {
        let noise: Vec<u8> = (0..64u32)
            .flat_map(|i| blake3::hash(&i.to_le_bytes()).as_bytes().to_vec())
            .collect();
        let frames = FramedBody::new(&noise, true).frames;
        assert!(
            !FrameHead::from_bytes(frames[..HEAD].try_into().unwrap())
                .unwrap()
                .is_compressed()
        );
    }
}
