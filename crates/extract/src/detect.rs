//! What a leaf is, from its first window: text in which encoding, or no text.

use std::borrow::Cow;

use crate::decode::code_page::CodePage;
use crate::decode::utf16::{Order, begins_wide};
use crate::plain_text::Decoder;

pub(crate) enum Seen {
    Text(Box<Decoder>),
    Binary,
}

/// Beginnings of files whose head may look like text and whose rest is none.
const BINARY_MAGIC: [&[u8]; 7] = [
    b"%PDF-",
    b"MZ",
    b"\x7fELF",
    b"SQLite format 3\0",
    b"regf",
    b"ElfFile\0",
    b"\x89PNG",
];

/// Decides from the first window (the whole, where it `is_all`).
pub(crate) fn detect(window: &[u8], is_all: bool, page: CodePage) -> Seen {
    if let Some(decoder) = by_mark(window, page) {
        return Seen::Text(Box::new(decoder));
    }
    if BINARY_MAGIC.iter().any(|magic| window.starts_with(magic)) && has_control(window) {
        return Seen::Binary;
    }
    // Hardly any text has a NUL, and without one it is no UTF-16.
    let has_nul = memchr::memchr(0, window).is_some();
    for order in [Order::Little, Order::Big] {
        if has_nul && is_utf16(window, order) && !is_marked_later(window, order) {
            return Seen::Text(Box::new(Decoder::utf16(order, page, 0)));
        }
    }
    let narrow = narrow_bytes(window);
    if is_binary(&narrow) || narrow.is_empty() && !window.is_empty() {
        return Seen::Binary;
    }
    let (characters, bad) = count_utf8(&narrow, is_all);
    Seen::Text(Box::new(if bad > characters {
        Decoder::page(page)
    } else {
        Decoder::utf8(page, 0)
    }))
}

fn by_mark(window: &[u8], page: CodePage) -> Option<Decoder> {
    match window {
        [0xef, 0xbb, 0xbf, ..] => Some(Decoder::utf8(page, 3)),
        [0xff, 0xfe, 0, 0, ..] if is_utf32(window, u32::from_le_bytes) => {
            Some(Decoder::utf32(Order::Little))
        }
        [0, 0, 0xfe, 0xff, ..] if is_utf32(window, u32::from_be_bytes) => {
            Some(Decoder::utf32(Order::Big))
        }
        [0xff, 0xfe, ..] => Some(Decoder::utf16(Order::Little, page, 2)),
        [0xfe, 0xff, ..] => Some(Decoder::utf16(Order::Big, page, 2)),
        _ => None,
    }
}

fn is_utf32(window: &[u8], read: fn([u8; 4]) -> u32) -> bool {
    window
        .chunks_exact(4)
        .filter_map(|unit| unit.try_into().ok())
        .all(|unit| char::from_u32(read(unit)).is_some())
}

fn has_control(window: &[u8]) -> bool {
    window.iter().any(|&b| is_control(b) || b >= 0x80)
}

/// Control characters that text does not use: all but those from BEL to CR,
/// and ESC. Written without a branch, so that a window is judged many bytes at
/// a time.
fn is_control(byte: u8) -> bool {
    (byte < 0x20) & (byte.wrapping_sub(7) > 6) & (byte != 0x1b) | (byte == 0x7f)
}

/// UTF-16 without its mark: NULs in one half, hardly any in the other, and
/// characters that people write.
fn is_utf16(window: &[u8], order: Order) -> bool {
    let mut nuls = [0usize; 2];
    let (mut plausible, mut units) = (0usize, 0usize);
    for unit in window.chunks_exact(2) {
        let (low, high) = match order {
            Order::Little => (unit[0], unit[1]),
            Order::Big => (unit[1], unit[0]),
        };
        units += 1;
        nuls[0] += usize::from(low == 0);
        nuls[1] += usize::from(high == 0);
        plausible += usize::from(is_written(u16::from_be_bytes([high, low])));
    }
    let [wrong, right] = nuls;
    right > 0
        && units >= 2
        && right * 20 >= units
        && wrong * 8 <= right
        && plausible * 20 >= units * 19
}

/// A mark in the midst, at which units begin that `order` does not read: what
/// stands before it is of one byte a unit.
fn is_marked_later(window: &[u8], order: Order) -> bool {
    memchr::memmem::find_iter(window, b"\xff\xfe").any(|at| {
        let is_read = order == Order::Little && at % 2 == 0;
        !is_read && begins_wide(&window[at + 2..], Order::Little)
    })
}

fn is_written(unit: u16) -> bool {
    matches!(
        unit,
        9 | 10 | 13 | 0x20..=0x7e | 0xa0..=0x06ff | 0x0900..=0x0eff | 0x10a0..=0x11ff
            | 0x1e00..=0x27ff | 0x3000..=0x9fff | 0xac00..=0xd7a3 | 0xd800..=0xdfff
            | 0xfe30..=0xffef
    )
}

/// The window without its padding by NULs, and with a space for each stretch
/// of UTF-16: neither says anything about the bytes between them.
fn narrow_bytes(window: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(0, window).is_none() {
        return Cow::Borrowed(window);
    }
    let mut kept = Vec::with_capacity(window.len());
    let mut rest = window;
    while let Some(&first) = rest.first() {
        let padding = rest.iter().take_while(|&&b| b == 0).count();
        let skipped = if padding >= PADDING_BYTES || padding == rest.len() {
            padding
        } else if begins_wide(rest, Order::Little) {
            if kept.ends_with(&[0xff, 0xfe]) {
                kept.truncate(kept.len() - 2);
            }
            kept.push(b' ');
            let units = rest.chunks_exact(2);
            2 * units
                .take_while(|unit| unit[0] != 0 && unit[1] == 0)
                .count()
        } else {
            kept.push(first);
            1
        };
        rest = rest.get(skipped..).unwrap_or_default();
    }
    Cow::Owned(kept)
}

/// Control characters beyond a few.
fn is_binary(bytes: &[u8]) -> bool {
    // Runs short enough for their count to fit a byte.
    let in_run = |run: &[u8]| -> u8 { run.iter().map(|&b| u8::from(is_control(b))).sum() };
    let controls: usize = bytes.chunks(255).map(|run| usize::from(in_run(run))).sum();
    controls > 2 + bytes.len() / 20
}

/// NULs in a row that are room kept, not content.
const PADDING_BYTES: usize = 16;

/// Characters of more than one byte, and bytes that are none.
fn count_utf8(window: &[u8], is_all: bool) -> (usize, usize) {
    if window.is_ascii() {
        return (0, 0);
    }
    let (mut characters, mut bad) = (0, 0);
    let mut rest = window;
    loop {
        let (valid, error) = match std::str::from_utf8(rest) {
            Ok(text) => (text, None),
            Err(e) => {
                let valid = rest.get(..e.valid_up_to()).unwrap_or_default();
                (std::str::from_utf8(valid).unwrap_or_default(), Some(e))
            }
        };
        characters += valid.bytes().filter(|b| *b >= 0xc0).count();
        let Some(error) = error else {
            return (characters, bad);
        };
        let len = match error.error_len() {
            Some(len) => len,
            None if is_all => rest.len() - error.valid_up_to(),
            None => return (characters, bad),
        };
        bad += len;
        rest = rest.get(error.valid_up_to() + len..).unwrap_or_default();
    }
}
