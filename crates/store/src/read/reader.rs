//! Reads the body of an entry and checks each frame that it reads.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use crate::disk::read_exact_at;
use crate::format::entry::{EntryHeader, EntryLocation, EntryType};
use crate::format::frame::{Digest32, FRAME, FrameHead, HEAD, digest, framed_len};
use crate::format::pack::PackFile;
use crate::format::{layout, pack_scan, trailer};
use crate::read::scratch::seek_to;
use evidence::{ResultId, Seq};

/// Damage in a file of the archive, and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The damaged result, if the damage concerns one.
    pub result: Option<ResultId>,
    pub seq: Option<Seq>,
    /// File name, relative to the archive's directory.
    pub file: String,
    /// **Units**: bytes from the start of the file.
    pub offset: u64,
    /// Frame of the body, from 0.
    pub frame: Option<u64>,
    pub expected: String,
    pub found: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.result, self.seq) {
            (Some(id), _) => write!(f, "evidence {id} is damaged: ")?,
            (None, Some(seq)) => write!(f, "entry {seq} is damaged: ")?,
            (None, None) => write!(f, "archive is damaged: ")?,
        }
        if let Some(frame) = self.frame {
            write!(f, "frame {frame} ")?;
        }
        write!(
            f,
            "at byte {} of {}: {}, expected {}",
            self.offset, self.file, self.found, self.expected
        )
    }
}

impl std::error::Error for Damage {}

/// Reader for a body, as downloaded.
///
/// **Errors** while reading: `InvalidData` with a [`Damage`] inside if a frame
/// differs from the sealed one. Other frames can still be read.
///
/// **Memory**: one frame, and 32 bytes for each frame of the body.
pub struct RecordReader {
    pack: PackFile,
    header: EntryHeader,
    location: EntryLocation,
    digests: Vec<Digest32>,
    /// Offset of each frame. Empty for an uncompressed body, whose offsets are
    /// computed.
    frame_offsets: Vec<u64>,
    position: u64,
    /// The frame read last: its number and its bytes.
    current: Option<(u64, Vec<u8>)>,
}

impl RecordReader {
    /// **Cost**: reads the trailer.
    pub(crate) fn open(
        pack: PackFile,
        header: &EntryHeader,
        location: &EntryLocation,
    ) -> io::Result<Result<Self, Damage>> {
        let mut reader = Self {
            pack,
            header: *header,
            location: *location,
            digests: Vec::new(),
            frame_offsets: Vec::new(),
            position: 0,
            current: None,
        };
        let offset = location.trailer_offset(header);
        let found = match trailer::read(&*reader.pack.file, &reader.pack.mask, offset)? {
            Ok(trailer) if trailer.header == *header => {
                reader.digests = trailer.digests;
                return reader.with_frame_offsets();
            }
            Ok(trailer) => format!("trailer of entry {}", trailer.header.seq),
            Err(reason) => reason,
        };
        Ok(Err(reader.damage(
            offset,
            None,
            "its trailer".into(),
            found,
        )))
    }

    /// Compressed frames differ in length. A compressed body has at most four.
    fn with_frame_offsets(mut self) -> io::Result<Result<Self, Damage>> {
        if self.header.stored == framed_len(self.header.bytes) {
            return Ok(Ok(self));
        }
        let mut at = self.location.start;
        for frame in 0..self.digests.len() as u64 {
            let Some(head) = pack_scan::head_at(&*self.pack.file, at)? else {
                let damage = self.damage(at, Some(frame), "a frame".into(), "other data".into());
                return Ok(Err(damage));
            };
            self.frame_offsets.push(at);
            at += HEAD as u64 + u64::from(head.stored);
        }
        Ok(Ok(self))
    }

    /// **Units**: bytes of the body.
    pub fn len(&self) -> u64 {
        self.header.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn frame_count(&self) -> u64 {
        self.digests.len() as u64
    }

    pub(crate) fn header(&self) -> &EntryHeader {
        &self.header
    }

    pub(crate) fn digests(&self) -> &[Digest32] {
        &self.digests
    }

    /// Damage of a body whose frames are all intact.
    pub(crate) fn body_damage(&self, expected: String, found: String) -> Damage {
        self.damage(self.location.start, None, expected, found)
    }

    fn damage(&self, offset: u64, frame: Option<u64>, expected: String, found: String) -> Damage {
        let header = &self.header;
        Damage {
            result: (header.kind == EntryType::Result).then(|| header.id()),
            seq: Some(header.seq),
            file: layout::pack(self.location.pack),
            offset,
            frame,
            expected,
            found,
        }
    }

    fn frame_offset(&self, frame: u64) -> u64 {
        usize::try_from(frame)
            .ok()
            .and_then(|frame| self.frame_offsets.get(frame).copied())
            .unwrap_or_else(|| self.location.start + frame * (FRAME + HEAD) as u64)
    }

    /// Reads and checks one frame.
    pub(crate) fn read_frame(&self, frame: u64) -> io::Result<Result<Vec<u8>, Damage>> {
        let at = self.frame_offset(frame);
        let damage = |expected: String, found: String| {
            Ok(Err(self.damage(at, Some(frame), expected, found)))
        };
        let len = (self.len() - frame * FRAME as u64).min(FRAME as u64);
        let head = match pack_scan::head_at(&*self.pack.file, at)? {
            Some(head) if u64::from(head.raw) == len && self.contains(&head, at) => head,
            Some(head) => {
                return damage(
                    format!("a frame of {len} bytes"),
                    format!("one of {} bytes", head.raw),
                );
            }
            None => return damage(format!("a frame of {len} bytes"), "no frame".into()),
        };
        let mut payload = vec![0; head.stored as usize];
        read_exact_at(&*self.pack.file, &mut payload, at + HEAD as u64)?;
        let bytes = match head.unpack(payload, &self.pack.mask, at + HEAD as u64) {
            Ok(bytes) => bytes,
            Err(mismatch) => return damage(mismatch.expected, mismatch.found),
        };
        let found = digest(&bytes, frame, self.digests.len() == 1);
        let expected = usize::try_from(frame)
            .ok()
            .and_then(|frame| self.digests.get(frame));
        if expected != Some(&found) {
            let hex = |digest: &Digest32| blake3::Hash::from_bytes(*digest).to_hex().to_string();
            return damage(
                format!("blake3 {}", expected.map(hex).unwrap_or_default()),
                hex(&found),
            );
        }
        Ok(Ok(bytes))
    }

    /// Whether the frame ends before the trailer starts.
    fn contains(&self, head: &FrameHead, offset: u64) -> bool {
        let end = offset + HEAD as u64 + u64::from(head.stored);
        end <= self.location.trailer_offset(&self.header)
    }
}

impl Read for RecordReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.len() || buffer.is_empty() {
            return Ok(0);
        }
        let number = self.position / FRAME as u64;
        if self
            .current
            .as_ref()
            .is_none_or(|(current, _)| *current != number)
        {
            self.current = None;
            let bytes = self
                .read_frame(number)?
                .map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage))?;
            self.current = Some((number, bytes));
        }
        let start = (self.position % FRAME as u64) as usize;
        let bytes = self
            .current
            .as_ref()
            .and_then(|(_, bytes)| bytes.get(start..))
            .unwrap_or_default();
        let count = bytes.len().min(buffer.len());
        let (Some(to), Some(from)) = (buffer.get_mut(..count), bytes.get(..count)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for RecordReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek_to(to, self.position, self.len())?;
        Ok(self.position)
    }
}
