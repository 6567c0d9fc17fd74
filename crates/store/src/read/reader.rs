//! Reads a body back, checking every frame it touches and no other.

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::disk::{DiskFile, read_exact_at};
use crate::format::entry::{EntryHeader, EntryLocation, EntryType};
use crate::format::frame::{Digest32, FRAME, FrameHead, HEAD, area_len, digest};
use crate::format::mask::Mask;
use crate::format::{layout, pack_scan, trailer};
use crate::read::scratch::seek_to;
use evidence::{ResultId, Seq};

/// What is damaged, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The result it belongs to, where it is one's.
    pub result: Option<ResultId>,
    pub seq: Option<Seq>,
    /// File in the archive's folder.
    pub file: String,
    /// **Units**: bytes from the file's beginning.
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

/// A body, as downloaded. Owns all it needs; holds one frame in memory and 32
/// bytes for each frame of the body.
///
/// **Errors** while reading: of kind `InvalidData` with a [`Damage`] inside
/// where the bytes are not those that were sealed.
pub struct RecordReader {
    file: Arc<dyn DiskFile>,
    mask: Mask,
    card: EntryHeader,
    place: EntryLocation,
    digests: Vec<Digest32>,
    /// Where each frame stands; empty where that is arithmetic.
    places: Vec<u64>,
    position: u64,
    frame: Option<(u64, Vec<u8>)>,
}

impl RecordReader {
    /// **Cost**: reads the trailer.
    pub(crate) fn open(
        file: Arc<dyn DiskFile>,
        mask: Mask,
        card: &EntryHeader,
        place: &EntryLocation,
    ) -> io::Result<Result<Self, Damage>> {
        let mut reader = Self {
            file,
            mask,
            card: *card,
            place: *place,
            digests: Vec::new(),
            places: Vec::new(),
            position: 0,
            frame: None,
        };
        let at = place.start.saturating_add(card.stored);
        let found = match trailer::read(&*reader.file, &reader.mask, at)? {
            Ok(trailer) if trailer.card == *card => {
                reader.digests = trailer.digests;
                return reader.place_frames();
            }
            Ok(trailer) => format!("trailer of entry {}", trailer.card.seq),
            Err(why) => why,
        };
        Ok(Err(reader.damage(at, None, "its trailer".into(), found)))
    }

    /// Compressed frames have each its own length: at most four of them.
    fn place_frames(mut self) -> io::Result<Result<Self, Damage>> {
        if self.card.stored == area_len(self.card.bytes) {
            return Ok(Ok(self));
        }
        let mut at = self.place.start;
        for frame in 0..self.digests.len() as u64 {
            let Some(head) = pack_scan::head_at(&*self.file, at)? else {
                let damage =
                    self.damage(at, Some(frame), "a frame".into(), "something else".into());
                return Ok(Err(damage));
            };
            self.places.push(at);
            at += HEAD as u64 + u64::from(head.stored);
        }
        Ok(Ok(self))
    }

    /// **Units**: bytes of the body.
    pub fn len(&self) -> u64 {
        self.card.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn frames(&self) -> u64 {
        self.digests.len() as u64
    }

    pub(crate) fn card(&self) -> &EntryHeader {
        &self.card
    }

    pub(crate) fn digests(&self) -> &[Digest32] {
        &self.digests
    }

    /// Every frame is whole, and yet they are not the body.
    pub(crate) fn whole_damage(&self, expected: String, found: String) -> Damage {
        self.damage(self.place.start, None, expected, found)
    }

    fn damage(&self, offset: u64, frame: Option<u64>, expected: String, found: String) -> Damage {
        let card = &self.card;
        Damage {
            result: (card.kind == EntryType::Result).then(|| card.id()),
            seq: Some(card.seq),
            file: layout::pack(self.place.pack),
            offset,
            frame,
            expected,
            found,
        }
    }

    fn place_of(&self, frame: u64) -> u64 {
        match usize::try_from(frame).ok().and_then(|n| self.places.get(n)) {
            Some(place) => *place,
            None => self.place.start + frame * (FRAME + HEAD) as u64,
        }
    }

    /// Reads and checks one frame.
    pub(crate) fn check_frame(&self, frame: u64) -> io::Result<Result<Vec<u8>, Damage>> {
        let at = self.place_of(frame);
        let damage = |expected: String, found: String| {
            Ok(Err(self.damage(at, Some(frame), expected, found)))
        };
        let len = (self.len() - frame * FRAME as u64).min(FRAME as u64);
        let head = match pack_scan::head_at(&*self.file, at)? {
            Some(head) if u64::from(head.raw) == len && self.fits(&head, at) => head,
            Some(head) => {
                return damage(
                    format!("a frame of {len} bytes"),
                    format!("one of {}", head.raw),
                );
            }
            None => return damage(format!("a frame of {len} bytes"), "no frame".into()),
        };
        let mut payload = vec![0; head.stored as usize];
        read_exact_at(&*self.file, &mut payload, at + HEAD as u64)?;
        let bytes = match head.unpack(payload, &self.mask, at + HEAD as u64) {
            Ok(bytes) => bytes,
            Err(mismatch) => return damage(mismatch.expected, mismatch.found),
        };
        let found = digest(&bytes, frame, self.digests.len() == 1);
        let expected = usize::try_from(frame)
            .ok()
            .and_then(|n| self.digests.get(n));
        if expected != Some(&found) {
            let name = |digest: &Digest32| blake3::Hash::from_bytes(*digest).to_hex().to_string();
            return damage(
                format!("blake3 {}", expected.map(name).unwrap_or_default()),
                name(&found),
            );
        }
        Ok(Ok(bytes))
    }

    /// Whether the frame ends before the trailer begins.
    fn fits(&self, head: &FrameHead, at: u64) -> bool {
        at + HEAD as u64 + u64::from(head.stored) <= self.place.start + self.card.stored
    }
}

impl Read for RecordReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.len() || buffer.is_empty() {
            return Ok(0);
        }
        let number = self.position / FRAME as u64;
        if self.frame.as_ref().is_none_or(|(held, _)| *held != number) {
            self.frame = None;
            let bytes = self
                .check_frame(number)?
                .map_err(|damage| io::Error::new(io::ErrorKind::InvalidData, damage))?;
            self.frame = Some((number, bytes));
        }
        let from = (self.position % FRAME as u64) as usize;
        let bytes = self
            .frame
            .as_ref()
            .and_then(|(_, bytes)| bytes.get(from..))
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
