//! Gzip (RFC 1952): headers, concatenated members, checksums, and data after
//! the end of the stream.

use std::io::{self, BufRead, Read};

use crc32fast::Hasher;

use crate::inflate::InflateReader;
use evidence::{Problem, ProblemKind};

/// Longest name kept. Gzip has no limit; names in a zip have 64 KiB at most.
const NAME_BYTES_MAX: usize = 64 << 10;

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// Bytes of the fixed part of a header.
const HEADER_BYTES: u64 = 10;
/// Flag bits that no version of the format uses.
const FLAGS_RESERVED: u8 = 0xe0;

/// Whether `head` is the start of a gzip stream.
pub(crate) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&MAGIC) && head.get(3).is_none_or(|flags| flags & FLAGS_RESERVED == 0)
}

/// Whether the stream that starts with `head` can be decompressed. The magic
/// has only three bytes, which other data can have too.
pub(crate) fn is_plausible(head: &[u8]) -> bool {
    let mut rest = head;
    match GzipHeader::read(&mut rest) {
        Ok(_) => {}
        Err(e) => return e.kind() == io::ErrorKind::UnexpectedEof,
    }
    InflateReader::new(rest)
        .read_exact(&mut [0])
        .map_or_else(|e| e.kind() == io::ErrorKind::UnexpectedEof, |()| true)
}

/// Description of the content in a gzip header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GzipHeader {
    /// In ISO-8859-1.
    pub name: Option<Vec<u8>>,
    /// Seconds since 1970; 0 means unknown.
    pub mtime: u32,
}

impl GzipHeader {
    /// **Errors**: of the input, or `UnexpectedEof` inside the header.
    pub fn read(input: &mut impl BufRead) -> io::Result<Self> {
        let mut fixed = [0; 10];
        input.read_exact(&mut fixed)?;
        let [a, b, c, flags, m0, m1, m2, m3, ..] = fixed;
        if [a, b, c] != MAGIC {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a gzip header",
            ));
        }
        if flags & 4 != 0 {
            let mut len = [0; 2];
            input.read_exact(&mut len)?;
            skip(input, u64::from(u16::from_le_bytes(len)))?;
        }
        let name = if flags & 8 != 0 {
            Some(read_text(input)?)
        } else {
            None
        };
        if flags & 16 != 0 {
            read_text(input)?;
        }
        if flags & 2 != 0 {
            skip(input, 2)?;
        }
        Ok(Self {
            name,
            mtime: u32::from_le_bytes([m0, m1, m2, m3]),
        })
    }
}

fn skip(input: &mut impl BufRead, len: u64) -> io::Result<()> {
    let skipped = io::copy(&mut input.take(len), &mut io::sink())?;
    if skipped < len {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(())
    }
}

/// Reads text up to its NUL. Bytes after [`NAME_BYTES_MAX`] are dropped.
fn read_text(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = memchr::memchr(0, available);
        let part = &available[..end.unwrap_or(available.len())];
        let free = NAME_BYTES_MAX - text.len();
        text.extend_from_slice(&part[..part.len().min(free)]);
        let used = part.len() + usize::from(end.is_some());
        input.consume(used);
        if end.is_some() {
            return Ok(text);
        }
    }
}

/// Decodes ISO-8859-1: each byte is the character with its number.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

/// The content of a gzip stream after its first header.
pub(crate) struct GzipReader<R> {
    inflate: InflateReader<R>,
    crc: Hasher,
    /// Bytes of the current member.
    member_bytes: u64,
    members: u64,
    ended: bool,
    problems: Vec<Problem>,
}

impl<R: BufRead> GzipReader<R> {
    pub fn new(input: R) -> Self {
        Self {
            inflate: InflateReader::new(input),
            crc: Hasher::new(),
            member_bytes: 0,
            members: 1,
            ended: false,
            problems: Vec::new(),
        }
    }

    /// Problems in the trailers and after the end, once the content is read.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    /// Keeps one problem of each kind: a stream can have a million members.
    fn report(&mut self, kind: ProblemKind, message: String) {
        if !self.problems.iter().any(|p| p.kind == kind) {
            self.problems.push(Problem::new(kind, message));
        }
    }

    fn check_trailer(&mut self) -> io::Result<()> {
        let mut trailer = [0; 8];
        self.inflate.input().read_exact(&mut trailer).map_err(|e| {
            if e.kind() == io::ErrorKind::UnexpectedEof {
                io::Error::new(e.kind(), "gzip stream ends before its checksum")
            } else {
                e
            }
        })?;
        let [c0, c1, c2, c3, s0, s1, s2, s3] = trailer;
        let stated_crc = u32::from_le_bytes([c0, c1, c2, c3]);
        let stated_size = u32::from_le_bytes([s0, s1, s2, s3]);
        let crc = std::mem::take(&mut self.crc).finalize();
        if crc != stated_crc {
            let message = format!(
                "gzip member {} has CRC {crc:08x}, its trailer states {stated_crc:08x}",
                self.members
            );
            self.report(ProblemKind::ChecksumMismatch, message);
        } else if self.member_bytes as u32 != stated_size {
            let message = format!(
                "gzip member {} contains {} bytes, its trailer states {stated_size} (mod 2^32)",
                self.members, self.member_bytes
            );
            self.report(ProblemKind::Lying, message);
        }
        self.member_bytes = 0;
        Ok(())
    }

    /// After a trailer: starts the next member, or ends at padding or other
    /// data.
    fn start_next_member(&mut self) -> io::Result<()> {
        let input = self.inflate.input();
        let mut garbage = 0;
        if input.fill_buf()?.first() == Some(&MAGIC[0]) {
            match GzipHeader::read(input) {
                Ok(_) => {
                    self.inflate.restart();
                    self.members += 1;
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::InvalidData => garbage = HEADER_BYTES,
                Err(e) => return Err(e),
            }
        }
        self.ended = true;
        garbage += count_garbage(self.inflate.input(), garbage > 0)?;
        if garbage > 0 {
            let message = format!("{garbage} bytes after the end of the gzip stream are not read");
            self.report(ProblemKind::Damaged, message);
        }
        Ok(())
    }
}

/// Counts the bytes to the end of the input. NULs before the first other byte
/// are padding and do not count, unless garbage `has_begun`.
fn count_garbage(input: &mut impl BufRead, mut has_begun: bool) -> io::Result<u64> {
    let mut garbage = 0;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(garbage);
        }
        let len = available.len();
        let padding = if has_begun {
            0
        } else {
            available.iter().take_while(|&&b| b == 0).count()
        };
        has_begun |= padding < len;
        garbage += (len - padding) as u64;
        input.consume(len);
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buf.is_empty() {
            let n = self.inflate.read(buf)?;
            if n > 0 {
                self.crc.update(&buf[..n]);
                self.member_bytes += n as u64;
                return Ok(n);
            }
            self.check_trailer()?;
            self.start_next_member()?;
        }
        Ok(0)
    }
}
