//! Detects whether bytes are text, and in which encoding, from the first
//! window.

use std::borrow::Cow;

use crate::decode::encoding::{ByteOrder, TextEncoding};
use crate::decode::utf16::starts_utf16_run;

/// The encoding of a text, and the length of its byte order mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DetectedText {
    pub encoding: TextEncoding,
    pub mark_len: usize,
}

/// Signatures of binary files whose first bytes can look like text.
const BINARY_SIGNATURES: [&[u8]; 7] = [
    b"%PDF-",
    b"MZ",
    b"\x7fELF",
    b"SQLite format 3\0",
    b"regf",
    b"ElfFile\0",
    b"\x89PNG",
];

/// This many consecutive NULs are padding.
const PADDING_BYTES: usize = 16;

/// Detects text from the first window, which is the whole input if
/// `is_complete`. `None` means binary data.
pub(crate) fn detect_text(window: &[u8], is_complete: bool) -> Option<DetectedText> {
    if let Some(detected) = detect_mark(window) {
        return Some(detected);
    }
    let unmarked = |encoding| DetectedText {
        encoding,
        mark_len: 0,
    };
    let has_signature = BINARY_SIGNATURES
        .iter()
        .any(|signature| window.starts_with(signature));
    if has_signature && has_binary_bytes(window) {
        return None;
    }
    // Single-byte text rarely has NULs; UTF-16 without any is not detected.
    if memchr::memchr(0, window).is_some() {
        for order in [ByteOrder::Little, ByteOrder::Big] {
            if is_utf16(window, order) && !has_other_utf16(window, order) {
                return Some(unmarked(TextEncoding::Utf16(order)));
            }
        }
    }
    let single_bytes = single_byte_part(window);
    if is_binary(&single_bytes) || single_bytes.is_empty() && !window.is_empty() {
        return None;
    }
    let (multi_byte_chars, invalid_bytes) = count_utf8(&single_bytes, is_complete);
    Some(unmarked(if invalid_bytes > multi_byte_chars {
        TextEncoding::CodePage
    } else {
        TextEncoding::Utf8
    }))
}

/// Detects the byte order mark.
fn detect_mark(window: &[u8]) -> Option<DetectedText> {
    let (encoding, mark_len) = match window {
        [0xef, 0xbb, 0xbf, ..] => (TextEncoding::Utf8, 3),
        [0xff, 0xfe, 0, 0, ..] if is_utf32(window, u32::from_le_bytes) => {
            (TextEncoding::Utf32(ByteOrder::Little), 4)
        }
        [0, 0, 0xfe, 0xff, ..] if is_utf32(window, u32::from_be_bytes) => {
            (TextEncoding::Utf32(ByteOrder::Big), 4)
        }
        [0xff, 0xfe, ..] => (TextEncoding::Utf16(ByteOrder::Little), 2),
        [0xfe, 0xff, ..] => (TextEncoding::Utf16(ByteOrder::Big), 2),
        _ => return None,
    };
    Some(DetectedText { encoding, mark_len })
}

fn is_utf32(window: &[u8], read: fn([u8; 4]) -> u32) -> bool {
    window
        .chunks_exact(4)
        .filter_map(|unit| unit.try_into().ok())
        .all(|unit| char::from_u32(read(unit)).is_some())
}

fn has_binary_bytes(window: &[u8]) -> bool {
    window.iter().any(|&b| is_control(b) || b >= 0x80)
}

/// Whether a byte is a control character that text does not use: all but BEL
/// to CR, and ESC. Without branches, so that many bytes are tested at once.
fn is_control(byte: u8) -> bool {
    (byte < 0x20) & (byte.wrapping_sub(7) > 6) & (byte != 0x1b) | (byte == 0x7f)
}

/// Whether the window is UTF-16 without a mark: at least 1 unit in 20 has a
/// NUL in its high half, few have one in the low half, and 19 of 20 are
/// characters of written text.
fn is_utf16(window: &[u8], order: ByteOrder) -> bool {
    let (mut low_nuls, mut high_nuls) = (0usize, 0usize);
    let (mut written, mut units) = (0usize, 0usize);
    for unit in window.chunks_exact(2) {
        let (low, high) = match order {
            ByteOrder::Little => (unit[0], unit[1]),
            ByteOrder::Big => (unit[1], unit[0]),
        };
        units += 1;
        low_nuls += usize::from(low == 0);
        high_nuls += usize::from(high == 0);
        written += usize::from(is_written(u16::from_be_bytes([high, low])));
    }
    high_nuls > 0
        && units >= 2
        && high_nuls * 20 >= units
        && low_nuls * 8 <= high_nuls
        && written * 20 >= units * 19
}

/// Whether the window contains a byte order mark followed by UTF-16 that
/// `order` does not decode: then the text before it is single-byte.
fn has_other_utf16(window: &[u8], order: ByteOrder) -> bool {
    memchr::memmem::find_iter(window, b"\xff\xfe").any(|at| {
        let is_aligned = order == ByteOrder::Little && at % 2 == 0;
        !is_aligned && starts_utf16_run(&window[at + 2..], ByteOrder::Little)
    })
}

/// Whether a UTF-16 unit is a character of written text.
fn is_written(unit: u16) -> bool {
    matches!(
        unit,
        9 | 10 | 13 | 0x20..=0x7e | 0xa0..=0x06ff | 0x0900..=0x0eff | 0x10a0..=0x11ff
            | 0x1e00..=0x27ff | 0x3000..=0x9fff | 0xac00..=0xd7a3 | 0xd800..=0xdfff
            | 0xfe30..=0xffef
    )
}

/// The window without NUL padding, and with a space for each run of UTF-16:
/// the part that decides whether single-byte text is text.
fn single_byte_part(window: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(0, window).is_none() {
        return Cow::Borrowed(window);
    }
    let mut part = Vec::with_capacity(window.len());
    let mut rest = window;
    while let Some(&first) = rest.first() {
        let nuls = rest.iter().take_while(|&&b| b == 0).count();
        let used = if nuls >= PADDING_BYTES || nuls == rest.len() {
            nuls
        } else if starts_utf16_run(rest, ByteOrder::Little) {
            if part.ends_with(&[0xff, 0xfe]) {
                part.truncate(part.len() - 2);
            }
            part.push(b' ');
            let units = rest
                .chunks_exact(2)
                .take_while(|unit| unit[0] != 0 && unit[1] == 0);
            2 * units.count()
        } else {
            part.push(first);
            1
        };
        rest = rest.get(used..).unwrap_or_default();
    }
    Cow::Owned(part)
}

/// Whether there are more control characters than in text: 2, and 1 in 20.
fn is_binary(bytes: &[u8]) -> bool {
    // The count of 255 bytes fits in a byte, which makes it fast.
    let controls: usize = bytes
        .chunks(255)
        .map(|run| usize::from(run.iter().map(|&b| u8::from(is_control(b))).sum::<u8>()))
        .sum();
    controls > 2 + bytes.len() / 20
}

/// Counts the characters with more than one byte, and the invalid bytes.
fn count_utf8(window: &[u8], is_complete: bool) -> (usize, usize) {
    if window.is_ascii() {
        return (0, 0);
    }
    let (mut multi_byte_chars, mut invalid_bytes) = (0, 0);
    let mut rest = window;
    loop {
        let (valid, error) = match std::str::from_utf8(rest) {
            Ok(text) => (text, None),
            Err(error) => {
                let valid = rest.get(..error.valid_up_to()).unwrap_or_default();
                (std::str::from_utf8(valid).unwrap_or_default(), Some(error))
            }
        };
        multi_byte_chars += valid.bytes().filter(|b| *b >= 0xc0).count();
        let Some(error) = error else {
            return (multi_byte_chars, invalid_bytes);
        };
        let invalid_len = match error.error_len() {
            Some(len) => len,
            None if is_complete => rest.len() - error.valid_up_to(),
            None => return (multi_byte_chars, invalid_bytes),
        };
        invalid_bytes += invalid_len;
        rest = rest
            .get(error.valid_up_to() + invalid_len..)
            .unwrap_or_default();
    }
}
