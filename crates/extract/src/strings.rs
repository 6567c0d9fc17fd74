//! Extractor of the printable strings of binary data: ASCII, and UTF-16 of the
//! scripts in which Windows programs are written. Each string is one line.

use std::ops::ControlFlow;

use crate::error::ExtractorResult;
use crate::extractor::Extractor;
use crate::input::Input;
use crate::sink::{DocumentHead, PIECE_BYTES, Sink, TextForm, TextPart};

/// Shorter strings are mostly chance.
const STRING_CHARS_MIN: usize = 4;

/// Reads any input: the last extractor of a list.
pub(crate) const STRINGS: Extractor = Extractor {
    name: "strings",
    recognizes: |_| true,
    run,
};

/// A string that continues after the window.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OpenString {
    None,
    Ascii,
    Utf16,
}

fn run(input: &mut Input<'_>, sink: &mut dyn Sink) -> ExtractorResult {
    let head = DocumentHead {
        part: TextPart::Whole,
        encoding: "strings",
        form: TextForm::Strings,
    };
    if sink.document(head).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let window = &mut input.window;
    let mut open = OpenString::None;
    let mut out = String::with_capacity(PIECE_BYTES + PIECE_BYTES / 2);
    loop {
        let last = window.is_last();
        let used = append_strings(window.unread(), last, &mut open, &mut out);
        window.consume(used);
        if out.len() >= PIECE_BYTES || last {
            if !out.is_empty() && sink.text(&out).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            out.clear();
        }
        if last {
            return Ok(ControlFlow::Continue(()));
        }
        window.fill()?;
    }
}

/// Appends the strings of `bytes` to `out`. Returns how many bytes need not be
/// read again.
fn append_strings(bytes: &[u8], last: bool, open: &mut OpenString, out: &mut String) -> usize {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match *open {
            OpenString::Ascii => {
                let len = ascii_len(rest);
                push_ascii(rest, len, out);
                at += len;
                if len == rest.len() && !last {
                    return at;
                }
            }
            OpenString::Utf16 => {
                let units = utf16_len(rest);
                push_utf16(rest, units, out);
                at += 2 * units;
                if rest.len() < 2 * units + 2 && !last {
                    return at;
                }
            }
            OpenString::None => match find_start(rest, last) {
                StringStart::None(len) => return at + len,
                StringStart::Ascii(offset) => {
                    at += offset;
                    *open = OpenString::Ascii;
                    continue;
                }
                StringStart::Utf16(offset) => {
                    at += offset;
                    *open = OpenString::Utf16;
                    continue;
                }
            },
        }
        out.push('\n');
        *open = OpenString::None;
    }
}

/// The start of the next string.
enum StringStart {
    /// No string starts in this many bytes.
    None(usize),
    /// An ASCII string starts at this offset.
    Ascii(usize),
    /// A UTF-16 string starts at this offset.
    Utf16(usize),
}

fn find_start(bytes: &[u8], last: bool) -> StringStart {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|r| !r.is_empty()) {
        // The shortest string decides.
        let ahead = rest.get(..2 * STRING_CHARS_MIN).unwrap_or(rest);
        if ahead.len() < 2 * STRING_CHARS_MIN && !last {
            return StringStart::None(at);
        }
        if let &[_, _, _, ascii, _, high, other_high, _] = ahead
            && !is_printable(ascii)
            && high > HIGH_BYTE_MAX
            && other_high > HIGH_BYTE_MAX
        {
            // Every string that starts in the next four bytes includes one of
            // these bytes.
            at += STRING_CHARS_MIN;
            continue;
        }
        let ascii = ascii_len(ahead);
        if ascii >= STRING_CHARS_MIN {
            return StringStart::Ascii(at);
        }
        if utf16_len(ahead) >= STRING_CHARS_MIN {
            return StringStart::Utf16(at);
        }
        // No ASCII string starts in these bytes; a UTF-16 string can start at
        // the last one.
        at += ascii.saturating_sub(1).max(1);
    }
    StringStart::None(bytes.len())
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

/// Number of printable ASCII bytes at the start.
fn ascii_len(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&b| is_printable(b)).count()
}

/// Whether a UTF-16 unit is a letter of an alphabet. Ideographs are excluded:
/// half of all random byte pairs are ideographs.
fn is_printable_unit(unit: u16) -> bool {
    matches!(unit, 0x20..=0x7e | 9 | 0xa0..=0x17f | 0x370..=0x5ff)
}

/// The largest high byte of a printable unit.
const HIGH_BYTE_MAX: u8 = 5;

/// Number of printable UTF-16 units at the start.
fn utf16_len(bytes: &[u8]) -> usize {
    bytes
        .chunks_exact(2)
        .take_while(|pair| is_printable_unit(u16::from_le_bytes([pair[0], pair[1]])))
        .count()
}

fn push_ascii(bytes: &[u8], len: usize, out: &mut String) {
    let text = bytes.get(..len).unwrap_or_default();
    out.push_str(std::str::from_utf8(text).unwrap_or_default());
}

fn push_utf16(bytes: &[u8], units: usize, out: &mut String) {
    for pair in bytes.chunks_exact(2).take(units) {
        let unit = u16::from_le_bytes([pair[0], pair[1]]);
        out.push(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
}
