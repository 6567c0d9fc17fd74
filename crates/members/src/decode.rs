//! One zip member's bytes: unlocked, then inflated.
//!
//! The zip crate does the cryptography and the rarer methods. It is shown one
//! made-up member at a time, header first, so that its own reading of the
//! archive's (lying) directory never matters. Decrypting and inflating are two
//! steps: to the crate an encrypted member is a stored one.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Cursor, Read};

use ::zip::ZipReadOptions;
use ::zip::read::read_zipfile_from_stream_with_options;
use ::zip::result::ZipError;
use lzma_rust2::{LzmaReader, XzReader};

use crate::inflate::InflateReader;
use crate::limits::{READ_BYTES, WINDOW_BYTES_MAX};
use crate::source::TraverseContext;
use crate::zip::{AesParameters, LOCAL, ZipEntry};

const STORED: u16 = 0;
const DEFLATE: u16 = 8;
const DEFLATE64: u16 = 9;
const BZIP2: u16 = 12;
const LZMA: u16 = 14;
const ZSTD: u16 = 93;
const ZSTD_OLD: u16 = 20;
const XZ: u16 = 95;
const WINZIP_AES: u16 = 99;

const DESCRIPTOR_FOLLOWS: u16 = 1 << 3;

/// Whether this build inflates a method.
pub(crate) fn is_supported(method: u16) -> bool {
    matches!(
        method,
        STORED | DEFLATE | DEFLATE64 | BZIP2 | LZMA | ZSTD | ZSTD_OLD | XZ
    )
}

/// Whether the packed bytes are the plain ones.
pub(crate) fn is_stored(entry: &ZipEntry) -> bool {
    entry.method == STORED && !entry.is_encrypted()
}

/// Whether a method ends by itself, whatever stands behind it.
pub(crate) fn ends_by_itself(method: u16) -> bool {
    matches!(method, DEFLATE | DEFLATE64 | LZMA)
}

/// A method's name, for a person.
pub(crate) fn method_name(method: u16) -> String {
    let name = match method {
        1 => "shrink",
        2..=5 => "reduce",
        6 => "implode",
        10 => "PKWARE implode",
        16 => "IBM z/OS CMPSC",
        18 => "IBM TERSE",
        19 => "IBM LZ77",
        94 => "MP3",
        96 => "JPEG",
        97 => "WavPack",
        98 => "PPMd",
        WINZIP_AES => "WinZip AES without its description",
        _ => return format!("method {method}"),
    };
    format!("method {method} ({name})")
}

/// Hands the inflated bytes of `input` to `take`.
///
/// **Errors**: where not even the first byte can be made.
pub(crate) fn inflate<T>(
    shared: &TraverseContext,
    entry: &ZipEntry,
    input: &mut dyn BufRead,
    take: impl FnOnce(&mut dyn Read) -> T,
) -> io::Result<T> {
    match entry.inner_method() {
        STORED => Ok(take(&mut DynRead(input))),
        DEFLATE => {
            let mut inflate = InflateReader::with(input, shared.engine.take());
            let taken = take(&mut inflate);
            shared.engine.set(Some(inflate.into_engine()));
            Ok(taken)
        }
        LZMA => Ok(take(&mut open_lzma(entry, input)?)),
        ZSTD | ZSTD_OLD => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(WINDOW_BYTES_MAX.ilog2())?;
            Ok(take(&mut decoder))
        }
        XZ => {
            let input = DynRead(input);
            Ok(take(&mut XzReader::new_mem_limit(
                input,
                true,
                // the dictionary and the decoder's own needs
                WINDOW_BYTES_MAX / 1024 + 1024,
            )))
        }
        method => {
            let header = header(method, DESCRIPTOR_FOLLOWS, 0, 0, 0, &[]);
            let options = ZipReadOptions::new()
                .ignore_crc32(true)
                .override_compressed_size(u64::MAX);
            through_zip(header, options, &mut DynRead(input), take).map_err(io::Error::other)
        }
    }
}

/// `dyn BufRead` where a plain `Read` is wanted.
struct DynRead<'a>(&'a mut dyn BufRead);

impl Read for DynRead<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

/// LZMA in zip: version, length of properties, properties, stream.
fn open_lzma<'a>(
    entry: &ZipEntry,
    input: &'a mut dyn BufRead,
) -> io::Result<LzmaReader<DynRead<'a>>> {
    let mut head = [0; 9];
    input.read_exact(&mut head)?;
    let [_, _, len0, len1, props, d0, d1, d2, d3] = head;
    let dictionary = u32::from_le_bytes([d0, d1, d2, d3]);
    if u16::from_le_bytes([len0, len1]) != 5 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "LZMA properties of unknown length",
        ));
    }
    let size = if entry.has_end_mark() {
        u64::MAX
    } else {
        entry.inflated
    };
    let needed = u64::from(dictionary).min(size);
    if needed > u64::from(WINDOW_BYTES_MAX) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("LZMA dictionary of {dictionary} bytes (limit {WINDOW_BYTES_MAX})"),
        ));
    }
    LzmaReader::new_with_props(DynRead(input), size, props, dictionary, None)
}

/// A password did not fit, or something else went wrong.
pub(crate) enum UnlockError {
    WrongPassword,
    Damaged(String),
}

/// How a password is checked before anything is decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordCheck {
    /// Two bytes, and a code over everything at the end.
    Aes(AesParameters),
    /// One byte, held against the checksum's highest.
    Crc,
    /// One byte, held against the time's highest.
    Time,
    /// No password: the flag lies.
    None,
}

/// The checks to try, the likelier one first: packers that write descriptors
/// do not know the checksum beforehand and are meant to use the time, but not
/// all do.
pub(crate) fn checks(entry: &ZipEntry) -> Vec<PasswordCheck> {
    match entry.aes() {
        Some(aes) => vec![PasswordCheck::Aes(aes)],
        None if entry.has_descriptor() => vec![PasswordCheck::Time, PasswordCheck::Crc],
        None => vec![PasswordCheck::Crc],
    }
}

/// Hands the decrypted, still packed bytes of `input` to `take`.
pub(crate) fn unlock<T>(
    entry: &ZipEntry,
    check: PasswordCheck,
    password: &str,
    input: &mut dyn Read,
    take: impl FnOnce(&mut dyn BufRead) -> T,
) -> Result<T, UnlockError> {
    const ENCRYPTED: u16 = 1;
    let header = match check {
        PasswordCheck::Aes(aes) => {
            let [v0, v1] = 2u16.to_le_bytes();
            let extra = [1, 0x99, 7, 0, v0, v1, b'A', b'E', aes.strength, 0, 0];
            header(WINZIP_AES, ENCRYPTED | DESCRIPTOR_FOLLOWS, 0, 0, 0, &extra)
        }
        PasswordCheck::Time => header(
            STORED,
            ENCRYPTED | DESCRIPTOR_FOLLOWS,
            entry.time,
            entry.date,
            0,
            &[],
        ),
        PasswordCheck::Crc | PasswordCheck::None => {
            let mut extra = vec![1, 0, 16, 0];
            extra.extend_from_slice(&entry.compressed.to_le_bytes());
            extra.extend_from_slice(&entry.compressed.to_le_bytes());
            header(STORED, ENCRYPTED, 0, 0, entry.crc, &extra)
        }
    };
    let options = ZipReadOptions::new()
        .password(Some(password.as_bytes()))
        .ignore_crc32(true)
        .override_compressed_size(entry.compressed);
    let result = through_zip(header, options, input, |plain| {
        take(&mut BufReader::with_capacity(READ_BYTES, plain))
    });
    result.map_err(|e| match e {
        ZipError::InvalidPassword => UnlockError::WrongPassword,
        other => UnlockError::Damaged(other.to_string()),
    })
}

/// Plain bytes looked at before a password is believed. A wrong key makes
/// noise, and noise is no deflate for that long.
const PROOF_BYTES: u64 = 1 << 20;

/// Whether the decrypted, still packed bytes make sense. The one byte that
/// ZipCrypto checks lets one wrong password in 256 pass; AES lets one in
/// 65,536 pass and proves itself at the end, so damage there is told as such.
///
/// **Cost**: stored members are read whole, others up to [`PROOF_BYTES`].
pub(crate) fn proves(
    shared: &TraverseContext,
    entry: &ZipEntry,
    check: PasswordCheck,
    plain: &mut dyn BufRead,
) -> bool {
    if matches!(check, PasswordCheck::Aes(_)) {
        return true;
    }
    makes_sense(shared, entry, plain)
}

/// Whether `packed` is what the entry says it is, as far as a look at its
/// beginning tells.
pub(crate) fn makes_sense(
    shared: &TraverseContext,
    entry: &ZipEntry,
    packed: &mut dyn BufRead,
) -> bool {
    let stored = entry.inner_method() == STORED;
    let len = if stored { u64::MAX } else { PROOF_BYTES };
    inflate(shared, entry, packed, |bytes| is_whole(entry, bytes, len)).unwrap_or(false)
}

fn is_whole(entry: &ZipEntry, bytes: &mut dyn Read, len: u64) -> bool {
    let mut crc = crc32fast::Hasher::new();
    let mut made = 0;
    let mut buf = vec![0; READ_BYTES];
    while made < len {
        match bytes.read(&mut buf) {
            Ok(0) => return entry.crc().is_none_or(|said| said == crc.finalize()),
            Ok(n) => {
                crc.update(&buf[..n]);
                made += n as u64;
            }
            Err(_) => return false,
        }
    }
    true
}

/// A local header. Sizes stand in Zip64 extra fields or nowhere.
fn header(method: u16, flags: u16, time: u16, date: u16, crc: u32, extra: &[u8]) -> Vec<u8> {
    let mut header = LOCAL.to_vec();
    for word in [45, flags, method, time, date] {
        header.extend_from_slice(&u16::to_le_bytes(word));
    }
    header.extend_from_slice(&crc.to_le_bytes());
    let in_extra = flags & DESCRIPTOR_FOLLOWS == 0;
    let size = if in_extra { u32::MAX } else { 0 };
    header.extend_from_slice(&size.to_le_bytes());
    header.extend_from_slice(&size.to_le_bytes());
    header.extend_from_slice(&0u16.to_le_bytes());
    header.extend_from_slice(&(extra.len() as u16).to_le_bytes());
    header.extend_from_slice(extra);
    header
}

fn through_zip<T>(
    header: Vec<u8>,
    options: ZipReadOptions<'_>,
    data: &mut dyn Read,
    take: impl FnOnce(&mut dyn Read) -> T,
) -> Result<T, ZipError> {
    let closed = Cell::new(false);
    let mut stream = Cursor::new(header).chain(ClosableReader {
        data,
        closed: &closed,
    });
    let opened = read_zipfile_from_stream_with_options(&mut stream, options);
    // a member that is dropped reads its stream to the end: there is none
    closed.set(opened.is_err());
    let mut file = opened?.ok_or(ZipError::FileNotFound)?;
    let taken = take(&mut file);
    closed.set(true);
    Ok(taken)
}

/// Bytes that can be declared over.
struct ClosableReader<'a> {
    data: &'a mut dyn Read,
    closed: &'a Cell<bool>,
}

impl Read for ClosableReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.closed.get() {
            Ok(0)
        } else {
            self.data.read(buf)
        }
    }
}
