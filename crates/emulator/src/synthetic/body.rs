//! What a result's bytes come from: memory, a file or arithmetic. Whatever it
//! is, it is read by offset and never held whole unless it was given so.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::synthetic::seeded_body::{Piece, gzip, zip};
use crate::synthetic::synthetic_results::SyntheticResult;

/// Beyond this no Content-MD5 is given, as the service gives none for blobs
/// uploaded in blocks; working it out would hold up the first byte.
const MD5_MAX: u64 = 64 << 20;
/// Read at a time while a checksum is worked out.
const MD5_STEP: usize = 1 << 20;

/// The bytes behind a link.
#[derive(Clone, Debug)]
pub struct ResultBody(Arc<SharedBody>);

#[derive(Debug)]
struct SharedBody {
    origin: BodySource,
    md5: OnceLock<[u8; 16]>,
}

#[derive(Debug)]
enum BodySource {
    Bytes(Bytes),
    File {
        path: PathBuf,
        len: u64,
    },
    Seeded {
        kind: BodyKind,
        seed: u64,
        len: u64,
        made: OnceLock<Piece>,
    },
    SyntheticResult(SyntheticResult),
}

/// The shape of a seeded body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// As good as random bytes.
    Noise,
    /// Distinct lines of text.
    Lines,
    /// A RunScript result document whose output is distinct lines.
    Transcript,
    /// A gzip of random bytes.
    Gzip,
    /// A gzip around a zip around one stored member of random bytes.
    ZipInGzip,
    /// A gzip around a zip around one stored member of text.
    TextZipInGzip,
}

impl ResultBody {
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::of(BodySource::Bytes(bytes.into()))
    }

    /// A file, served as it stands.
    ///
    /// **Errors**: where its length cannot be read.
    pub fn file(path: &Path) -> io::Result<Self> {
        let len = std::fs::metadata(path)?.len();
        Ok(Self::of(BodySource::File {
            path: path.to_path_buf(),
            len,
        }))
    }

    /// `len` bytes of content made from a seed; gzip and zip add their own.
    /// Both are below 4 GiB, as the service's results are.
    ///
    /// **Cost**: nothing until it is read; the wrapped kinds then make every
    /// byte once for their checksums.
    pub fn seeded(kind: BodyKind, seed: u64, len: u64) -> Self {
        Self::of(BodySource::Seeded {
            kind,
            seed,
            len,
            made: OnceLock::new(),
        })
    }

    /// What a made-up machine answers.
    ///
    /// **Cost**: a few KB are made at every look.
    pub(crate) fn told(told: SyntheticResult) -> Self {
        Self::of(BodySource::SyntheticResult(told))
    }

    fn of(origin: BodySource) -> Self {
        Self(Arc::new(SharedBody {
            origin,
            md5: OnceLock::new(),
        }))
    }

    /// **Units**: bytes as served.
    pub fn len(&self) -> u64 {
        match &self.0.origin {
            BodySource::Bytes(bytes) => bytes.len() as u64,
            BodySource::File { len, .. } => *len,
            BodySource::Seeded {
                kind, seed, len, ..
            } => shape(*kind, *seed, *len, Checksums::Unknown).len(),
            BodySource::SyntheticResult(told) => told.piece().len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it: for small bodies and tests.
    pub fn whole(&self) -> io::Result<Vec<u8>> {
        self.open()?.take(0, self.len() as usize)
    }

    /// Opens it for reading. **Cost**: opens the file or works out checksums,
    /// so it blocks.
    pub(crate) fn open(&self) -> io::Result<BodyReader> {
        Ok(match &self.0.origin {
            BodySource::Bytes(bytes) => BodyReader::Bytes(bytes.clone()),
            BodySource::File { path, .. } => BodyReader::File(File::open(path)?),
            BodySource::Seeded {
                kind,
                seed,
                len,
                made,
            } => {
                let piece = made.get_or_init(|| shape(*kind, *seed, *len, Checksums::Right));
                BodyReader::Synthetic(piece.clone())
            }
            BodySource::SyntheticResult(told) => BodyReader::Synthetic(told.piece()),
        })
    }

    /// MD5 of all of it, where it is small enough. Blocks; worked out once.
    pub(crate) fn md5(&self) -> io::Result<Option<[u8; 16]>> {
        if self.len() > MD5_MAX {
            return Ok(None);
        }
        if let Some(known) = self.0.md5.get() {
            return Ok(Some(*known));
        }
        let mut opened = self.open()?;
        let mut hasher = Md5::new();
        let mut at = 0;
        while at < self.len() {
            let step = MD5_STEP.min((self.len() - at) as usize);
            hasher.update(opened.take(at, step)?);
            at += step as u64;
        }
        let digest: [u8; 16] = hasher.finalize().into();
        Ok(Some(*self.0.md5.get_or_init(|| digest)))
    }

    /// The body is in memory or made: reading it never blocks on a disk.
    pub(crate) fn is_quick(&self) -> bool {
        !matches!(self.0.origin, BodySource::File { .. })
    }
}

impl From<Vec<u8>> for ResultBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self::bytes(bytes)
    }
}

impl From<&'static [u8]> for ResultBody {
    fn from(bytes: &'static [u8]) -> Self {
        Self::bytes(bytes)
    }
}

impl From<&str> for ResultBody {
    fn from(text: &str) -> Self {
        Self::bytes(text.as_bytes().to_vec())
    }
}

impl From<String> for ResultBody {
    fn from(text: String) -> Self {
        Self::bytes(text)
    }
}

/// A body being read.
#[derive(Debug)]
pub(crate) enum BodyReader {
    Bytes(Bytes),
    File(File),
    Synthetic(Piece),
}

impl BodyReader {
    /// `len` bytes from `at` on. A file that became shorter is an error.
    pub(crate) fn take(&mut self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut out = vec![0; len];
        match self {
            Self::Bytes(bytes) => {
                let from = at as usize;
                let part = bytes.get(from..from + len);
                out.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
            }
            Self::File(file) => {
                file.seek(SeekFrom::Start(at))?;
                file.read_exact(&mut out)?;
            }
            Self::Synthetic(piece) => piece.fill(at, &mut out),
        }
        Ok(out)
    }
}

enum Checksums {
    Right,
    /// Zeros in their place: enough to know the length.
    Unknown,
}

fn shape(kind: BodyKind, seed: u64, len: u64, checksums: Checksums) -> Piece {
    let crc = |piece: &Piece| match checksums {
        Checksums::Right => piece.crc(),
        Checksums::Unknown => 0,
    };
    let noise = Piece::Noise { seed, len };
    let lines = |eol| Piece::Lines { seed, len, eol };
    let zip_in_gzip = |name: &str, member: Piece| {
        let of_member = crc(&member);
        let zip = zip(name, member, of_member);
        let of_zip = joined_crc(&zip, of_member, &crc);
        gzip("evidence.zip", zip, of_zip)
    };
    match kind {
        BodyKind::Noise => noise,
        BodyKind::Lines => lines(b"\r\n"),
        BodyKind::Transcript => Piece::Joined(vec![
            Piece::literal(
                &b"{\"script_name\":\"inventory.ps1\",\"exit_code\":0,\"script_output\":\""[..],
            ),
            lines(br"\r\n"),
            Piece::literal(&b"\",\"script_errors\":\"\"}"[..]),
        ]),
        BodyKind::Gzip => {
            let of_noise = crc(&noise);
            gzip("memory.dmp", noise, of_noise)
        }
        BodyKind::ZipInGzip => zip_in_gzip("memory.dmp", noise),
        BodyKind::TextZipInGzip => zip_in_gzip("processes.txt", lines(b"\r\n")),
    }
}

/// The checksum of a zip whose member's is known: makes the member only once.
fn joined_crc(zip: &Piece, of_member: u32, crc: &impl Fn(&Piece) -> u32) -> u32 {
    let Piece::Joined(pieces) = zip else {
        return crc(zip);
    };
    let mut all = crc32fast::Hasher::new();
    for piece in pieces {
        let of_piece = match piece {
            Piece::Literal(_) => crc(piece),
            _ => of_member,
        };
        all.combine(&crc32fast::Hasher::new_with_initial_len(
            of_piece,
            piece.len(),
        ));
    }
    all.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seeded_transcript_is_strict_json() {
        let body = ResultBody::seeded(BodyKind::Transcript, 5, 4000);
        let json: serde_json::Value = serde_json::from_slice(&body.whole().unwrap()).unwrap();
        let output = json["script_output"].as_str().unwrap();
        assert!(output.lines().count() > 30 && output.ends_with("\r\n"));
    }

    #[test]
    fn every_kind_has_the_length_it_says() {
        for kind in [
            BodyKind::Noise,
            BodyKind::Lines,
            BodyKind::Transcript,
            BodyKind::Gzip,
            BodyKind::ZipInGzip,
            BodyKind::TextZipInGzip,
        ] {
            let body = ResultBody::seeded(kind, 1, 100_000);
            assert_eq!(body.whole().unwrap().len() as u64, body.len());
        }
    }

    #[test]
    fn a_wrapped_text_is_read_by_real_readers() {
        let bytes = ResultBody::seeded(BodyKind::TextZipInGzip, 1, 200_000)
            .whole()
            .unwrap();
        let mut inner = Vec::new();
        flate2::read::GzDecoder::new(bytes.as_slice())
            .read_to_end(&mut inner)
            .unwrap();
        let mut archive = zip::ZipArchive::new(io::Cursor::new(inner)).unwrap();
        let mut text = String::new();
        archive
            .by_index(0)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert_eq!(text.len(), 200_000);
    }

    #[test]
    fn three_gigabytes_are_reached_at_any_byte_without_the_rest() {
        let body = ResultBody::seeded(BodyKind::Noise, 9, 3 << 30);
        let mut opened = body.open().unwrap();
        let last = opened.take((3 << 30) - 16, 16).unwrap();
        assert_eq!(opened.take((3 << 30) - 8, 8).unwrap(), last[8..]);
        assert_eq!(body.md5().unwrap(), None);
    }
}
