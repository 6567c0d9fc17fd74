//! Generated bodies with random access: any byte of a 3 GB result can be
//! computed from its offset, without a file and without the bytes before it.
//!
//! Zip and gzip use stored blocks instead of compression, so that offsets can
//! be computed. Their checksums are correct, so that every reader accepts them.

use bytes::Bytes;

/// Maximum length of a stored deflate block; the length field has 16 bits.
const STORED_MAX: u64 = 65_535;
/// Length of the header of a stored block: final bit, length, complement of
/// the length.
const STORED_HEADER: u64 = 5;
/// Bytes generated at a time to compute a checksum.
const CHECKSUM_STEP: usize = 1 << 20;
/// Length of a line of text, including its line end. All lines are distinct.
const LINE: u64 = 96;

/// A sequence of bytes that can be read at any offset.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Literal(Bytes),
    /// Pseudo-random bytes, which no layer can compress or recognise.
    Noise {
        seed: u64,
        len: u64,
    },
    /// Lines of text, each ended by `eol`.
    Lines {
        seed: u64,
        len: u64,
        eol: &'static [u8],
    },
    Joined(Vec<Piece>),
    /// The inner bytes as a deflate stream of stored blocks.
    Stored(Box<Piece>),
}

impl Piece {
    pub(crate) fn literal(bytes: impl Into<Bytes>) -> Self {
        Self::Literal(bytes.into())
    }

    /// **Units**: bytes.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Literal(bytes) => bytes.len() as u64,
            Self::Noise { len, .. } | Self::Lines { len, .. } => *len,
            Self::Joined(pieces) => pieces.iter().map(Self::len).sum(),
            Self::Stored(inner) => {
                let blocks = inner.len().div_ceil(STORED_MAX).max(1);
                inner.len() + blocks * STORED_HEADER
            }
        }
    }

    /// Fills `out` with the bytes at `at`, which must be within the length.
    pub(crate) fn fill(&self, at: u64, out: &mut [u8]) {
        match self {
            Self::Literal(bytes) => {
                let from = at as usize;
                out.copy_from_slice(&bytes[from..from + out.len()]);
            }
            Self::Noise { seed, .. } => fill_noise(*seed, at, out),
            Self::Lines { seed, len, eol } => fill_lines(*seed, *len, eol, at, out),
            Self::Joined(pieces) => fill_joined(pieces, at, out),
            Self::Stored(inner) => fill_stored(inner, at, out),
        }
    }

    /// CRC-32 of all bytes. **Cost**: generates every byte once.
    pub(crate) fn crc(&self) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        if let Self::Joined(pieces) = self {
            for piece in pieces {
                let piece_hasher =
                    crc32fast::Hasher::new_with_initial_len(piece.crc(), piece.len());
                hasher.combine(&piece_hasher);
            }
            return hasher.finalize();
        }
        let mut step = vec![0; CHECKSUM_STEP.min(self.len() as usize)];
        let mut at = 0;
        while at < self.len() {
            let now = step.len().min((self.len() - at) as usize);
            self.fill(at, &mut step[..now]);
            hasher.update(&step[..now]);
            at += now as u64;
        }
        hasher.finalize()
    }
}

/// Splitmix64: eight bytes that depend only on the seed and the number `n`.
fn word(seed: u64, n: u64) -> u64 {
    let mut z = seed ^ n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn fill_noise(seed: u64, at: u64, out: &mut [u8]) {
    let skip = (at % 8) as usize;
    let mut n = at / 8;
    let head = ((8 - skip) % 8).min(out.len());
    let (first, rest) = out.split_at_mut(head);
    if head > 0 {
        first.copy_from_slice(&word(seed, n).to_le_bytes()[skip..skip + head]);
        n += 1;
    }
    let mut words = rest.chunks_exact_mut(8);
    for eight in &mut words {
        eight.copy_from_slice(&word(seed, n).to_le_bytes());
        n += 1;
    }
    let tail = words.into_remainder();
    tail.copy_from_slice(&word(seed, n).to_le_bytes()[..tail.len()]);
}

/// All lines have the same width, so the line at an offset is found by a
/// division. The last line can be shorter, but its `eol` is never cut.
fn fill_lines(seed: u64, len: u64, eol: &[u8], at: u64, out: &mut [u8]) {
    let end = at + out.len() as u64;
    let whole = len - len % LINE;
    let mut line = [b' '; LINE as usize];
    let mut here = at;
    while here < end {
        let number = here / LINE;
        let begin = number * LINE;
        let width = if begin < whole { LINE } else { len - whole } as usize;
        write_line(seed, number, &mut line);
        if width >= eol.len() {
            line[width - eol.len()..width].copy_from_slice(eol);
        } else {
            line[..width].fill(b'.');
        }
        let from = (here - begin) as usize;
        let to = width.min((end - begin) as usize);
        let target = (here - at) as usize;
        out[target..target + to - from].copy_from_slice(&line[from..to]);
        here = begin + to as u64;
    }
}

/// Writes `0000000042 pid  31337 lsass     C:/Windows/System32/conhost.exe 9f…`,
/// padded to the width of the line. Does not use `format!`, which would cost ten
/// times as much as the rest. Paths have forward slashes because the same text
/// is used inside JSON strings.
fn write_line(seed: u64, number: u64, line: &mut [u8; LINE as usize]) {
    const NAMES: [&[u8]; 8] = [
        b"svchost",
        b"explorer",
        b"lsass",
        b"spoolsv",
        b"winlogon",
        b"services",
        b"taskhostw",
        b"conhost",
    ];
    let random = word(seed, number);
    let name = |bits: u64| NAMES[(random >> bits) as usize % NAMES.len()];
    line.fill(b' ');
    put_digits(&mut line[..10], number, 10);
    put(line, 11, b"pid");
    put_digits(&mut line[15..20], random % 60_000, 10);
    put(line, 21, name(16));
    put(line, 31, b"C:/Windows/System32/");
    put(line, 51, name(24));
    put(line, 60, b".exe");
    put_digits(&mut line[65..81], random, 16);
}

fn put(line: &mut [u8], at: usize, bytes: &[u8]) {
    line[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put_digits(digits: &mut [u8], mut value: u64, base: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value % base) as usize];
        value /= base;
    }
}

fn fill_joined(pieces: &[Piece], at: u64, out: &mut [u8]) {
    let mut begin = 0;
    let end = at + out.len() as u64;
    for piece in pieces {
        let stop = begin + piece.len();
        let from = at.max(begin);
        let to = end.min(stop);
        if from < to {
            let part = &mut out[(from - at) as usize..(to - at) as usize];
            piece.fill(from - begin, part);
        }
        begin = stop;
    }
}

fn fill_stored(inner: &Piece, at: u64, out: &mut [u8]) {
    const PERIOD: u64 = STORED_MAX + STORED_HEADER;
    let total = inner.len();
    let end = at + out.len() as u64;
    let mut here = at;
    while here < end {
        let block = here / PERIOD;
        let within = here % PERIOD;
        let content = block * STORED_MAX;
        let size = STORED_MAX.min(total - content);
        let target = (here - at) as usize;
        let step = if within < STORED_HEADER {
            let last = content + size == total;
            let size = size as u16;
            let mut header = [u8::from(last), 0, 0, 0, 0];
            header[1..3].copy_from_slice(&size.to_le_bytes());
            header[3..].copy_from_slice(&(!size).to_le_bytes());
            let step = (STORED_HEADER - within).min(end - here) as usize;
            let from = within as usize;
            out[target..target + step].copy_from_slice(&header[from..from + step]);
            step
        } else {
            let from = within - STORED_HEADER;
            let step = (size - from).min(end - here) as usize;
            inner.fill(content + from, &mut out[target..target + step]);
            step
        };
        here += step as u64;
    }
}

/// A zip with one stored member with the checksum `crc`. The length of the zip
/// does not depend on `crc`.
///
/// Without ZIP64: results have at most 3 GB.
pub(crate) fn zip(name: &str, member: Piece, crc: u32) -> Piece {
    let size = u32::try_from(member.len()).unwrap_or(u32::MAX);
    let mut shared = Vec::new();
    shared.extend_from_slice(&20u16.to_le_bytes()); // version required_roles
    shared.extend_from_slice(&0u16.to_le_bytes()); // flags
    shared.extend_from_slice(&0u16.to_le_bytes()); // stored
    shared.extend_from_slice(&0u16.to_le_bytes()); // time
    shared.extend_from_slice(&0x5c44u16.to_le_bytes()); // 2026-02-04
    shared.extend_from_slice(&crc.to_le_bytes());
    shared.extend_from_slice(&size.to_le_bytes());
    shared.extend_from_slice(&size.to_le_bytes());
    shared.extend_from_slice(&(name.len() as u16).to_le_bytes());
    shared.extend_from_slice(&0u16.to_le_bytes()); // extra

    let mut local = b"PK\x03\x04".to_vec();
    local.extend_from_slice(&shared);
    local.extend_from_slice(name.as_bytes());

    let mut directory = b"PK\x01\x02".to_vec();
    directory.extend_from_slice(&20u16.to_le_bytes()); // version made by
    directory.extend_from_slice(&shared);
    directory.extend_from_slice(&[0; 14]); // comment, disk, attributes, offset
    directory.extend_from_slice(name.as_bytes());

    let directory_at = (local.len() as u64 + member.len()) as u32;
    let mut end = b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec();
    end.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    end.extend_from_slice(&directory_at.to_le_bytes());
    end.extend_from_slice(&0u16.to_le_bytes()); // comment
    directory.extend_from_slice(&end);

    Piece::Joined(vec![
        Piece::literal(local),
        member,
        Piece::literal(directory),
    ])
}

/// A gzip of `inner` with a file name. `crc` is the checksum of `inner`.
pub(crate) fn gzip(name: &str, inner: Piece, crc: u32) -> Piece {
    let mut header = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0xff];
    header.extend_from_slice(name.as_bytes());
    header.push(0);
    let mut trailer = crc.to_le_bytes().to_vec();
    trailer.extend_from_slice(&(inner.len() as u32).to_le_bytes());
    Piece::Joined(vec![
        Piece::literal(header),
        Piece::Stored(Box::new(inner)),
        Piece::literal(trailer),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn all(piece: &Piece) -> Vec<u8> {
        let mut bytes = vec![0; piece.len() as usize];
        piece.fill(0, &mut bytes);
        bytes
    }

    fn noise(len: u64) -> Piece {
        Piece::Noise { seed: 7, len }
    }

    fn zip_in_gzip(member: Piece) -> Piece {
        let crc = member.crc();
        let zip = zip("memory.dmp", member, crc);
        let crc = zip.crc();
        gzip("evidence.zip", zip, crc)
    }

    #[test]
    fn slice_equals_the_same_range_of_the_whole() {
        let lines = Piece::Lines {
            seed: 3,
            len: 70_101,
            eol: b"\r\n",
        };
        for piece in [noise(200_003), lines.clone(), zip_in_gzip(lines)] {
            let whole = all(&piece);
            for (at, len) in [(0, 1), (5, 70_000), (65_530, 20), (33, 96), (69_990, 11)] {
                let mut slice = vec![0; len];
                piece.fill(at as u64, &mut slice);
                assert_eq!(slice, &whole[at..at + len], "{at}+{len}");
            }
        }
    }

    #[test]
    fn zip_in_gzip_is_read_by_flate2_and_zip() {
        for len in [0, 1, 65_535, 65_536, 1_000_000] {
            let outer = all(&zip_in_gzip(noise(len)));
            let mut inner = Vec::new();
            flate2::read::GzDecoder::new(outer.as_slice())
                .read_to_end(&mut inner)
                .unwrap();
            let mut archive = zip::ZipArchive::new(std::io::Cursor::new(inner)).unwrap();
            let mut member = Vec::new();
            archive
                .by_name("memory.dmp")
                .unwrap()
                .read_to_end(&mut member)
                .unwrap();
            assert_eq!(member, all(&noise(len)));
        }
    }

    #[test]
    fn lines_are_distinct_and_the_last_one_is_complete() {
        let lines = Piece::Lines {
            seed: 3,
            len: 96 * 1000 + 50,
            eol: b"\r\n",
        };
        let text = String::from_utf8(all(&lines)).unwrap();
        let distinct: std::collections::HashSet<_> = text.lines().collect();
        assert_eq!(distinct.len(), 1001);
        assert!(text.ends_with("\r\n"));
    }
}
