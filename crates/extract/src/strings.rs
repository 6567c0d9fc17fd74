//! Printable strings of what is no text: ASCII, and UTF-16 of scripts that
//! Windows programs are written in, each on a line of its own.

use std::io;
use std::ops::ControlFlow;

use crate::window::Feed;
use crate::{DocumentHead, Sink, TextForm, TextPart};

/// Shorter ones are mostly chance.
const STRING_CHARS_MIN: usize = 4;

/// Strings are handed on in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;

/// A string that goes on beyond the window.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    No,
    Ascii,
    Wide,
}

pub(crate) fn run(feed: &mut Feed<'_>, sink: &mut dyn Sink) -> io::Result<ControlFlow<()>> {
    let head = DocumentHead {
        part: TextPart::Whole,
        encoding: "strings",
        form: TextForm::Strings,
    };
    if sink.document(head).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let mut open = Open::No;
    let mut out = String::with_capacity(PIECE_BYTES + PIECE_BYTES / 2);
    loop {
        let last = feed.is_last();
        let used = find(feed.window(), last, &mut open, &mut out);
        feed.consume(used);
        if out.len() >= PIECE_BYTES || last {
            if !out.is_empty() && sink.text(&out).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            out.clear();
        }
        if last {
            return Ok(ControlFlow::Continue(()));
        }
        feed.fill()?;
    }
}

/// Appends the strings of `bytes` to `out`; how many bytes are done with.
fn find(bytes: &[u8], last: bool, open: &mut Open, out: &mut String) -> usize {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        match *open {
            Open::Ascii => {
                let run = ascii_run(rest);
                push_ascii(rest, run, out);
                at += run;
                if run == rest.len() && !last {
                    return at;
                }
            }
            Open::Wide => {
                let run = wide_run(rest);
                push_wide(rest, run, out);
                at += 2 * run;
                if rest.len() < 2 * run + 2 && !last {
                    return at;
                }
            }
            Open::No => match next(rest, last) {
                Next::Nothing(used) => return at + used,
                Next::Ascii(skip) => {
                    at += skip;
                    *open = Open::Ascii;
                    continue;
                }
                Next::Wide(skip) => {
                    at += skip;
                    *open = Open::Wide;
                    continue;
                }
            },
        }
        out.push('\n');
        *open = Open::No;
    }
}

enum Next {
    /// No string begins in so many bytes.
    Nothing(usize),
    /// One begins behind so many bytes.
    Ascii(usize),
    Wide(usize),
}

fn next(bytes: &[u8], last: bool) -> Next {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|r| !r.is_empty()) {
        // as far as it takes to tell
        let ahead = rest.get(..2 * STRING_CHARS_MIN).unwrap_or(rest);
        if ahead.len() < 2 * STRING_CHARS_MIN && !last {
            return Next::Nothing(at);
        }
        if let &[_, _, _, ascii, _, high, other, _] = ahead
            && !is_printable(ascii)
            && high > HIGH_MAX
            && other > HIGH_MAX
        {
            // every string that begins in the next four bytes has one of these
            at += STRING_CHARS_MIN;
            continue;
        }
        let ascii = ascii_run(ahead);
        if ascii >= STRING_CHARS_MIN {
            return Next::Ascii(at);
        }
        if wide_run(ahead) >= STRING_CHARS_MIN {
            return Next::Wide(at);
        }
        // no string of bytes begins in a run too short; one of UTF-16 may
        // begin at its last byte
        at += ascii.saturating_sub(1).max(1);
    }
    Next::Nothing(bytes.len())
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

fn ascii_run(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|&&b| is_printable(b)).count()
}

/// Units of UTF-16 that are letters of alphabets: ideographs are every other
/// pair of random bytes.
fn is_printable_unit(unit: u16) -> bool {
    matches!(unit, 0x20..=0x7e | 9 | 0xa0..=0x17f | 0x370..=0x5ff)
}

/// The largest high half of a printable unit.
const HIGH_MAX: u8 = 5;

fn wide_run(bytes: &[u8]) -> usize {
    bytes
        .chunks_exact(2)
        .take_while(|unit| is_printable_unit(u16::from_le_bytes([unit[0], unit[1]])))
        .count()
}

fn push_ascii(bytes: &[u8], run: usize, out: &mut String) {
    let text = bytes.get(..run).unwrap_or_default();
    out.push_str(std::str::from_utf8(text).unwrap_or_default());
}

fn push_wide(bytes: &[u8], run: usize, out: &mut String) {
    for unit in bytes.chunks_exact(2).take(run) {
        let unit = u16::from_le_bytes([unit[0], unit[1]]);
        out.push(char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
}
