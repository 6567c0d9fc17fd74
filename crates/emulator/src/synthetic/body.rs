//! Bodies of results: from memory, from a file, or generated.
//!
//! **Memory**: a body is read by offset. Only a body that was given as bytes is
//! in memory as a whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use md5::{Digest, Md5};

use crate::synthetic::seeded_body::{Piece, gzip, zip};
use crate::synthetic::synthetic_results::SyntheticResult;

/// Largest body with a Content-MD5. The service sends none for blobs uploaded
/// in blocks, and computing it would delay the first byte.
const MD5_MAX: u64 = 64 << 20;
/// Bytes read at a time to compute the MD5.
const MD5_STEP: usize = 1 << 20;

/// The bytes of a result. Clones share them.
#[derive(Clone, Debug)]
pub struct ResultBody(Arc<SharedBody>);

#[derive(Debug)]
struct SharedBody {
    source: BodySource,
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
        generated: OnceLock<Piece>,
    },
    Synthetic(SyntheticResult),
}

/// Content of a seeded body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// Incompressible pseudo-random bytes.
    Noise,
    /// Distinct lines of text.
    Lines,
    /// A RunScript result document whose output is distinct lines.
    Transcript,
    /// A gzip of pseudo-random bytes.
    Gzip,
    /// A gzip of a zip with one stored member of pseudo-random bytes.
    ZipInGzip,
    /// A gzip of a zip with one stored member of text.
    TextZipInGzip,
}

impl ResultBody {
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::new(BodySource::Bytes(bytes.into()))
    }

    /// A file, served unchanged.
    ///
    /// **Errors**: its length cannot be read.
    pub fn file(path: &Path) -> io::Result<Self> {
        let len = std::fs::metadata(path)?.len();
        Ok(Self::new(BodySource::File {
            path: path.to_path_buf(),
            len,
        }))
    }

    /// `len` bytes of content generated from a seed, plus the headers of gzip
    /// and zip. The body must be smaller than 4 GiB, as in the service.
    ///
    /// **Cost**: generated when read. On the first read, the gzip kinds
    /// generate every byte once for their checksums.
    pub fn seeded(kind: BodyKind, seed: u64, len: u64) -> Self {
        Self::new(BodySource::Seeded {
            kind,
            seed,
            len,
            generated: OnceLock::new(),
        })
    }

    /// **Cost**: a few KB are generated on each access.
    pub(crate) fn synthetic(result: SyntheticResult) -> Self {
        Self::new(BodySource::Synthetic(result))
    }

    fn new(source: BodySource) -> Self {
        Self(Arc::new(SharedBody {
            source,
            md5: OnceLock::new(),
        }))
    }

    /// Length of the body. **Units**: bytes as served.
    pub fn len(&self) -> u64 {
        match &self.0.source {
            BodySource::Bytes(bytes) => bytes.len() as u64,
            BodySource::File { len, .. } => *len,
            BodySource::Seeded {
                kind, seed, len, ..
            } => generate(*kind, *seed, *len, Checksums::Zero).len(),
            BodySource::Synthetic(result) => result.generate().len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the whole body; for small bodies and tests.
    pub fn whole(&self) -> io::Result<Vec<u8>> {
        self.open()?.read_at(0, self.len() as usize)
    }

    /// Opens the body for reading. **Cost**: blocks; opens the file or computes
    /// checksums.
    pub(crate) fn open(&self) -> io::Result<BodyReader> {
        Ok(match &self.0.source {
            BodySource::Bytes(bytes) => BodyReader::Bytes(bytes.clone()),
            BodySource::File { path, .. } => BodyReader::File(File::open(path)?),
            BodySource::Seeded {
                kind,
                seed,
                len,
                generated,
            } => {
                let piece =
                    generated.get_or_init(|| generate(*kind, *seed, *len, Checksums::Computed));
                BodyReader::Generated(piece.clone())
            }
            BodySource::Synthetic(result) => BodyReader::Generated(result.generate()),
        })
    }

    /// MD5 of the body, unless it is larger than `MD5_MAX`. **Cost**: blocks on
    /// the first call, which reads the whole body.
    pub(crate) fn md5(&self) -> io::Result<Option<[u8; 16]>> {
        if self.len() > MD5_MAX {
            return Ok(None);
        }
        if let Some(md5) = self.0.md5.get() {
            return Ok(Some(*md5));
        }
        let mut reader = self.open()?;
        let mut hasher = Md5::new();
        let mut at = 0;
        while at < self.len() {
            let step = MD5_STEP.min((self.len() - at) as usize);
            hasher.update(reader.read_at(at, step)?);
            at += step as u64;
        }
        let digest: [u8; 16] = hasher.finalize().into();
        Ok(Some(*self.0.md5.get_or_init(|| digest)))
    }

    /// Whether reading the body never waits for a disk.
    pub(crate) fn is_non_blocking(&self) -> bool {
        !matches!(self.0.source, BodySource::File { .. })
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

/// An open body.
#[derive(Debug)]
pub(crate) enum BodyReader {
    Bytes(Bytes),
    File(File),
    Generated(Piece),
}

impl BodyReader {
    /// Reads `len` bytes at `at`.
    ///
    /// **Errors**: the file has become shorter.
    pub(crate) fn read_at(&mut self, at: u64, len: usize) -> io::Result<Vec<u8>> {
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
            Self::Generated(piece) => piece.fill(at, &mut out),
        }
        Ok(out)
    }
}

enum Checksums {
    Computed,
    /// Zeros, if only the length is needed.
    Zero,
}

fn generate(kind: BodyKind, seed: u64, len: u64, checksums: Checksums) -> Piece {
    let crc = |piece: &Piece| match checksums {
        Checksums::Computed => piece.crc(),
        Checksums::Zero => 0,
    };
    let noise = Piece::Noise { seed, len };
    let lines = |eol| Piece::Lines { seed, len, eol };
    let zip_in_gzip = |name: &str, member: Piece| {
        let member_crc = crc(&member);
        let zip = zip(name, member, member_crc);
        let zip_crc = zip_crc(&zip, member_crc, &crc);
        gzip("evidence.zip", zip, zip_crc)
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
            let noise_crc = crc(&noise);
            gzip("memory.dmp", noise, noise_crc)
        }
        BodyKind::ZipInGzip => zip_in_gzip("memory.dmp", noise),
        BodyKind::TextZipInGzip => zip_in_gzip("processes.txt", lines(b"\r\n")),
    }
}

/// Checksum of a zip, from the checksum of its member, which is therefore
/// generated only once.
fn zip_crc(zip: &Piece, member_crc: u32, crc: &impl Fn(&Piece) -> u32) -> u32 {
    let Piece::Joined(pieces) = zip else {
        return crc(zip);
    };
    let mut total = crc32fast::Hasher::new();
    for piece in pieces {
        let piece_crc = match piece {
            Piece::Literal(_) => crc(piece),
            _ => member_crc,
        };
        total.combine(&crc32fast::Hasher::new_with_initial_len(
            piece_crc,
            piece.len(),
        ));
    }
    total.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_transcript_is_strict_json() {
        let body = ResultBody::seeded(BodyKind::Transcript, 5, 4000);
        let json: serde_json::Value = serde_json::from_slice(&body.whole().unwrap()).unwrap();
        let output = json["script_output"].as_str().unwrap();
        assert!(output.lines().count() > 30 && output.ends_with("\r\n"));
    }

    #[test]
    fn len_is_the_length_of_the_bytes_for_every_kind() {
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
    fn text_zip_in_gzip_is_read_by_flate2_and_zip() {
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
    fn body_of_3_gb_can_be_read_at_any_offset() {
        let body = ResultBody::seeded(BodyKind::Noise, 9, 3 << 30);
        let mut reader = body.open().unwrap();
        let last = reader.read_at((3 << 30) - 16, 16).unwrap();
        assert_eq!(reader.read_at((3 << 30) - 8, 8).unwrap(), last[8..]);
        assert_eq!(body.md5().unwrap(), None);
    }
}
