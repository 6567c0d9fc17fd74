//! Decoders of one zip member: decryption, then decompression.
//!
//! The `zip` crate does the cryptography and the rarer methods. It gets a
//! synthetic archive of one member, made of a new local header and the
//! member's data, so that it never reads the archive's own headers, which may
//! be wrong. Decryption and decompression are separate steps: to the `zip`
//! crate, an encrypted member is a stored one.

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

const ENCRYPTED: u16 = 1;
const DESCRIPTOR_FOLLOWS: u16 = 1 << 3;

/// Whether a compression method is supported.
pub(crate) fn is_supported(method: u16) -> bool {
    matches!(
        method,
        STORED | DEFLATE | DEFLATE64 | BZIP2 | LZMA | ZSTD | ZSTD_OLD | XZ
    )
}

/// Whether the member's data is its content: neither compressed nor encrypted.
pub(crate) fn is_stored(entry: &ZipEntry) -> bool {
    entry.method == STORED && !entry.is_encrypted()
}

/// Whether a stream of this method has an end mark, so that bytes after it are
/// ignored.
pub(crate) fn has_stream_end(method: u16) -> bool {
    matches!(method, DEFLATE | DEFLATE64 | LZMA)
}

/// Number and name of an unsupported method, for messages.
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
        WINZIP_AES => "WinZip AES without its extra field",
        _ => return format!("method {method}"),
    };
    format!("method {method} ({name})")
}

/// Calls `consume` with the decompressed bytes of `input`.
///
/// **Errors**: if the decoder could not be created. Errors inside the data are
/// returned by the reader that `consume` gets.
pub(crate) fn inflate<T>(
    context: &TraverseContext,
    entry: &ZipEntry,
    input: &mut dyn BufRead,
    consume: impl FnOnce(&mut dyn Read) -> T,
) -> io::Result<T> {
    match entry.inner_method() {
        STORED => Ok(consume(&mut DynRead(input))),
        DEFLATE => {
            let mut inflate = InflateReader::with_engine(input, context.engine.take());
            let consumed = consume(&mut inflate);
            context.engine.set(Some(inflate.into_engine()));
            Ok(consumed)
        }
        LZMA => Ok(consume(&mut open_lzma(entry, input)?)),
        ZSTD | ZSTD_OLD => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(WINDOW_BYTES_MAX.ilog2())?;
            Ok(consume(&mut decoder))
        }
        XZ => {
            // 1 MiB more than the dictionary, for the decoder itself.
            let memory_kib_max = WINDOW_BYTES_MAX / 1024 + 1024;
            let mut decoder = XzReader::new_mem_limit(DynRead(input), true, memory_kib_max);
            Ok(consume(&mut decoder))
        }
        method => {
            let header = local_header(method, DESCRIPTOR_FOLLOWS, 0, 0, 0, &[]);
            let options = ZipReadOptions::new()
                .ignore_crc32(true)
                .override_compressed_size(u64::MAX);
            read_with_zip_crate(header, options, &mut DynRead(input), consume)
                .map_err(io::Error::other)
        }
    }
}

/// `dyn BufRead` as a sized `Read`.
struct DynRead<'a>(&'a mut dyn BufRead);

impl Read for DynRead<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(buf)
    }
}

/// LZMA in zip: version, length of the properties, properties, stream.
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

pub(crate) enum UnlockError {
    WrongPassword,
    Damaged(String),
}

/// How a password is checked before the data is decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordCheck {
    /// Two bytes before the data; an authentication code after it.
    Aes(AesParameters),
    /// One byte: the highest byte of the CRC.
    Crc,
    /// One byte: the highest byte of the time.
    Time,
    /// No password: the encryption flag is wrong.
    None,
}

/// The checks to try, the more likely one first. Writers of data descriptors
/// do not know the CRC in advance and should use the time, but some use the
/// CRC.
pub(crate) fn password_checks(entry: &ZipEntry) -> Vec<PasswordCheck> {
    match entry.aes() {
        Some(aes) => vec![PasswordCheck::Aes(aes)],
        None if entry.has_descriptor() => vec![PasswordCheck::Time, PasswordCheck::Crc],
        None => vec![PasswordCheck::Crc],
    }
}

/// Calls `consume` with the decrypted bytes of `input`, still compressed.
pub(crate) fn unlock<T>(
    entry: &ZipEntry,
    check: PasswordCheck,
    password: &str,
    input: &mut dyn Read,
    consume: impl FnOnce(&mut dyn BufRead) -> T,
) -> Result<T, UnlockError> {
    let options = ZipReadOptions::new()
        .password(Some(password.as_bytes()))
        .ignore_crc32(true)
        .override_compressed_size(entry.compressed);
    read_with_zip_crate(encrypted_header(entry, check), options, input, |plain| {
        consume(&mut BufReader::with_capacity(READ_BYTES, plain))
    })
    .map_err(|e| match e {
        ZipError::InvalidPassword => UnlockError::WrongPassword,
        other => UnlockError::Damaged(other.to_string()),
    })
}

fn encrypted_header(entry: &ZipEntry, check: PasswordCheck) -> Vec<u8> {
    match check {
        PasswordCheck::Aes(aes) => {
            let [v0, v1] = 2u16.to_le_bytes();
            let extra = [1, 0x99, 7, 0, v0, v1, b'A', b'E', aes.strength, 0, 0];
            let flags = ENCRYPTED | DESCRIPTOR_FOLLOWS;
            local_header(WINZIP_AES, flags, 0, 0, 0, &extra)
        }
        PasswordCheck::Time => {
            let flags = ENCRYPTED | DESCRIPTOR_FOLLOWS;
            local_header(STORED, flags, entry.time, entry.date, 0, &[])
        }
        PasswordCheck::Crc | PasswordCheck::None => {
            let mut extra = vec![1, 0, 16, 0];
            extra.extend_from_slice(&entry.compressed.to_le_bytes());
            extra.extend_from_slice(&entry.compressed.to_le_bytes());
            local_header(STORED, ENCRYPTED, 0, 0, entry.crc, &extra)
        }
    }
}

/// Decrypted bytes to decompress for the verification of a password. A wrong key
/// yields random bytes, which are not valid deflate data for that long.
const PROOF_BYTES: u64 = 1 << 20;

/// Whether the decrypted, still compressed bytes are valid. One wrong password
/// in 256 passes the one-byte check of ZipCrypto. With AES one in 65,536 passes
/// the check, and the code after the data decides: damage there is reported as
/// damage.
///
/// **Cost**: stored members are read completely, others up to [`PROOF_BYTES`].
pub(crate) fn is_decrypted(
    context: &TraverseContext,
    entry: &ZipEntry,
    check: PasswordCheck,
    plain: &mut dyn BufRead,
) -> bool {
    matches!(check, PasswordCheck::Aes(_)) || is_valid(context, entry, plain)
}

/// Whether the beginning of `packed` decompresses as the entry describes it.
pub(crate) fn is_valid(
    context: &TraverseContext,
    entry: &ZipEntry,
    packed: &mut dyn BufRead,
) -> bool {
    let len = if entry.inner_method() == STORED {
        u64::MAX
    } else {
        PROOF_BYTES
    };
    inflate(context, entry, packed, |bytes| {
        is_readable(entry, bytes, len)
    })
    .unwrap_or(false)
}

/// Whether `len` bytes can be read, or fewer whose CRC is that of the entry.
fn is_readable(entry: &ZipEntry, bytes: &mut dyn Read, len: u64) -> bool {
    let mut crc = crc32fast::Hasher::new();
    let mut read = 0;
    let mut buf = vec![0; READ_BYTES];
    while read < len {
        match bytes.read(&mut buf) {
            Ok(0) => return entry.crc().is_none_or(|stated| stated == crc.finalize()),
            Ok(n) => {
                crc.update(&buf[..n]);
                read += n as u64;
            }
            Err(_) => return false,
        }
    }
    true
}

/// A local header. Its sizes are in a Zip64 extra field or unknown.
fn local_header(method: u16, flags: u16, time: u16, date: u16, crc: u32, extra: &[u8]) -> Vec<u8> {
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

fn read_with_zip_crate<T>(
    header: Vec<u8>,
    options: ZipReadOptions<'_>,
    data: &mut dyn Read,
    consume: impl FnOnce(&mut dyn Read) -> T,
) -> Result<T, ZipError> {
    let closed = Cell::new(false);
    let mut stream = Cursor::new(header).chain(ClosableReader {
        data,
        closed: &closed,
    });
    let opened = read_zipfile_from_stream_with_options(&mut stream, options);
    // The zip crate reads a member that is dropped to its end; closing the
    // reader prevents that.
    closed.set(opened.is_err());
    let mut file = opened?.ok_or(ZipError::FileNotFound)?;
    let consumed = consume(&mut file);
    closed.set(true);
    Ok(consumed)
}

/// A reader that ends as soon as `closed` is set.
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
