//! gzip (RFC 1952): headers, members one after the other, checks, and what
//! stands behind them.

use std::io::{self, BufRead, Read};

use crc32fast::Hasher;

use crate::inflate::InflateReader;
use evidence::{Problem, ProblemKind};

/// Longest name kept of a header; a zip's is bounded by its format alike.
const NAME_BYTES_MAX: usize = 64 << 10;

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// The part of a header that is always there.
const HEADER_BYTES: u64 = 10;
/// Bits of the flags that no version of the format uses.
const FLAGS_RESERVED: u8 = 0xe0;

/// Whether `head` starts a gzip stream.
pub(crate) fn is_gzip(head: &[u8]) -> bool {
    head.starts_with(&MAGIC) && head.get(3).is_none_or(|flags| flags & FLAGS_RESERVED == 0)
}

/// Whether what `head` starts can be unpacked at all: three bytes may be
/// chance, and bytes that are no gzip are to be read as they are.
pub(crate) fn is_plausible(head: &[u8]) -> bool {
    let mut rest = head;
    match GzipHeader::read(&mut rest) {
        Ok(_) => {}
        Err(e) => return e.kind() == io::ErrorKind::UnexpectedEof,
    }
    let first = InflateReader::new(rest).read_exact(&mut [0]);
    first.map_or_else(|e| e.kind() == io::ErrorKind::UnexpectedEof, |()| true)
}

/// What a gzip header says of its content.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct GzipHeader {
    /// ISO-8859-1, as it stands there.
    pub name: Option<Vec<u8>>,
    /// Seconds since 1970; 0 says nothing.
    pub mtime: u32,
}

impl GzipHeader {
    /// **Errors**: of the input, or its end inside the header.
    pub fn read(input: &mut impl BufRead) -> io::Result<Self> {
        let mut fixed = [0; 10];
        input.read_exact(&mut fixed)?;
        let [a, b, c, flags, m0, m1, m2, m3, ..] = fixed;
        if [a, b, c] != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no gzip header"));
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

/// Text up to its NUL, kept as far as the bound goes and skipped beyond.
fn read_text(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let end = memchr::memchr(0, available);
        let part = &available[..end.unwrap_or(available.len())];
        let room = NAME_BYTES_MAX - text.len();
        text.extend_from_slice(&part[..part.len().min(room)]);
        let eaten = part.len() + usize::from(end.is_some());
        input.consume(eaten);
        if end.is_some() {
            return Ok(text);
        }
    }
}

/// ISO-8859-1: every byte is the character of that number.
pub(crate) fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|&b| char::from(b)).collect()
}

/// The content of a gzip stream whose first header has been read.
pub(crate) struct GzipReader<R> {
    inflate: InflateReader<R>,
    crc: Hasher,
    made: u64,
    members: u64,
    ended: bool,
    problems: Vec<Problem>,
}

impl<R: BufRead> GzipReader<R> {
    pub fn new(input: R) -> Self {
        Self {
            inflate: InflateReader::new(input),
            crc: Hasher::new(),
            made: 0,
            members: 1,
            ended: false,
            problems: Vec::new(),
        }
    }

    /// What the checks and the tail had to say, once the content was read.
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    fn complain(&mut self, kind: ProblemKind, message: String) {
        // one of a kind is enough: a stream of a million bad members is one
        // fact, not a million
        if !self.problems.iter().any(|p| p.kind == kind) {
            self.problems.push(Problem::new(kind, message));
        }
    }

    fn check_trailer(&mut self) -> io::Result<()> {
        let mut trailer = [0; 8];
        self.inflate.input().read_exact(&mut trailer).map_err(|e| {
            if e.kind() == io::ErrorKind::UnexpectedEof {
                io::Error::new(e.kind(), "gzip ends before its checksum")
            } else {
                e
            }
        })?;
        let [c0, c1, c2, c3, s0, s1, s2, s3] = trailer;
        let (crc, size) = (
            u32::from_le_bytes([c0, c1, c2, c3]),
            u32::from_le_bytes([s0, s1, s2, s3]),
        );
        let found = std::mem::take(&mut self.crc).finalize();
        if found != crc {
            let message = format!(
                "gzip member {} has CRC {found:08x}, its trailer says {crc:08x}",
                self.members
            );
            self.complain(ProblemKind::ChecksumMismatch, message);
        } else if self.made as u32 != size {
            let message = format!(
                "gzip member {} holds {} bytes, its trailer says {size} (mod 2^32)",
                self.members, self.made
            );
            self.complain(ProblemKind::Lying, message);
        }
        self.made = 0;
        Ok(())
    }

    /// After a trailer: another member, padding, or something else.
    fn go_on(&mut self) -> io::Result<()> {
        let input = self.inflate.input();
        let mut tail = 0;
        if input.fill_buf()?.first() == Some(&MAGIC[0]) {
            match GzipHeader::read(input) {
                Ok(_) => {
                    self.inflate.restart();
                    self.members += 1;
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::InvalidData => tail = HEADER_BYTES,
                Err(e) => return Err(e),
            }
        }
        self.ended = true;
        tail += count_garbage(self.inflate.input(), tail > 0)?;
        if tail > 0 {
            let message = format!("{tail} bytes behind the end of the gzip stream are not read");
            self.complain(ProblemKind::Damaged, message);
        }
        Ok(())
    }
}

/// Bytes from the first one that is not padding.
fn count_garbage(input: &mut impl BufRead, mut begun: bool) -> io::Result<u64> {
    let mut garbage = 0;
    loop {
        let available = input.fill_buf()?;
        if available.is_empty() {
            return Ok(garbage);
        }
        let len = available.len();
        let padding = if begun {
            0
        } else {
            available.iter().take_while(|&&b| b == 0).count()
        };
        begun |= padding < len;
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
                self.made += n as u64;
                return Ok(n);
            }
            self.check_trailer()?;
            self.go_on()?;
        }
        Ok(0)
    }
}
