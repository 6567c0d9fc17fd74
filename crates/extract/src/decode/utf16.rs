//! UTF-16, up to the next run of single-byte text, or up to units shifted by
//! one byte after an odd number of single bytes.

use encoding_rs::DecoderResult;

use crate::decode::encoding::ByteOrder;
use crate::decode::stats::DecodeStats;

/// Four consecutive characters below U+0100 start a run of UTF-16. Fewer occur
/// by chance between NULs.
pub(crate) const UTF16_RUN_BYTES: usize = 8;

/// Consecutive ASCII bytes that end UTF-16, unless they can be UTF-16
/// characters.
const ASCII_RUN_BYTES: usize = 12;

/// Bytes of an ASCII run inspected to decide this.
const ASCII_LOOKAHEAD_BYTES: usize = 64;

pub(crate) struct Utf16Decoder {
    order: ByteOrder,
    /// Decodes a run inside single-byte text, which ends at the first unit of
    /// two ASCII bytes.
    is_run: bool,
}

impl Utf16Decoder {
    /// Decodes text that is mainly UTF-16.
    pub fn new(order: ByteOrder) -> Self {
        Self {
            order,
            is_run: false,
        }
    }

    /// Decodes the runs of UTF-16 inside single-byte text.
    pub fn for_runs(order: ByteOrder) -> Self {
        Self {
            order,
            is_run: true,
        }
    }

    /// Decodes up to the end of the UTF-16. Returns how many bytes were
    /// decoded, and whether other text follows.
    pub fn decode(
        &self,
        bytes: &[u8],
        last: bool,
        out: &mut String,
        stats: &mut DecodeStats,
    ) -> (usize, bool) {
        let (end, is_followed) = self.find_end(bytes, last);
        let mut units = bytes.get(..end).unwrap_or_default();
        if !is_followed && !last && self.ends_with_high_surrogate(units) {
            units = &units[..units.len() - 2];
        }
        decode_units(units, self.order, out, stats);
        let used = units.len();
        if last && !is_followed && used < bytes.len() {
            // The last byte is half a unit.
            out.push(char::REPLACEMENT_CHARACTER);
            stats.replacements += 1;
            return (bytes.len(), is_followed);
        }
        (used, is_followed)
    }

    /// The end of the units whose decoding does not depend on later bytes, and
    /// whether other text starts there.
    fn find_end(&self, bytes: &[u8], last: bool) -> (usize, bool) {
        let needed = if last { 2 } else { ASCII_LOOKAHEAD_BYTES };
        let mut at = 0;
        while at + needed <= bytes.len() {
            let rest = &bytes[at..];
            if self.starts_with_plain_units(rest) {
                at += 8;
                continue;
            }
            let (low, high) = self.halves(rest[0], rest[1]);
            // Two ASCII bytes, or a NUL in the wrong half.
            if is_text(high) && (low == 0 || is_text(low)) && self.ends_before(rest) {
                return (at, true);
            }
            at += 2;
        }
        let is_run_cut = last && self.is_run && at < bytes.len();
        (at, is_run_cut)
    }

    /// Whether `rest` starts with four units below U+0100, as in most files.
    fn starts_with_plain_units(&self, rest: &[u8]) -> bool {
        let Some(four) = rest.first_chunk::<8>() else {
            return false;
        };
        let high_halves = match self.order {
            ByteOrder::Little => 0xff00_ff00_ff00_ff00,
            ByteOrder::Big => 0x00ff_00ff_00ff_00ff,
        };
        u64::from_le_bytes(*four) & high_halves == 0
    }

    /// Low and high half of a unit.
    fn halves(&self, first: u8, second: u8) -> (u8, u8) {
        match self.order {
            ByteOrder::Little => (first, second),
            ByteOrder::Big => (second, first),
        }
    }

    fn ends_before(&self, rest: &[u8]) -> bool {
        let is_ascii = rest[0] != 0 && rest[1] != 0;
        if !is_ascii {
            self.is_shifted(rest)
        } else {
            self.is_run || self.is_ascii_run(rest)
        }
    }

    /// Whether `rest` starts with ASCII that cannot be UTF-16. A unit of two
    /// ASCII bytes is an ideograph if its high half is 4E or more, kana if it
    /// is 30, an Indic script if it is 9, A or D. The remaining high halves
    /// are symbols, which rarely have different high halves, while the words
    /// of a log do, and contain spaces.
    fn is_ascii_run(&self, rest: &[u8]) -> bool {
        let ahead = rest.get(..ASCII_LOOKAHEAD_BYTES).unwrap_or(rest);
        let len = ahead.iter().take_while(|&&b| is_text(b)).count();
        if self.is_followed_by_new_run(rest, len) {
            return true;
        }
        if len < ASCII_RUN_BYTES {
            return false;
        }
        let (mut symbol_half, mut spaces) = (None, 0);
        for unit in ahead.get(..len).unwrap_or_default().chunks_exact(2) {
            let (low, high) = self.halves(unit[0], unit[1]);
            if matches!((high, low), (0x20, 0x26 | 0x3b)) {
                // An ellipsis or a reference mark is usual among ideographs.
                continue;
            }
            spaces += usize::from(low == b' ' || high == b' ');
            let is_symbol = (b' '..0x4e).contains(&high) && high != 0x30;
            if spaces > 2 || is_symbol && *symbol_half.get_or_insert(high) != high {
                return true;
            }
        }
        false
    }

    /// Whether a run of UTF-16 follows after `len` bytes that does not continue
    /// the units before: it is shifted by one byte, or has a byte order mark.
    fn is_followed_by_new_run(&self, rest: &[u8], len: usize) -> bool {
        let (at, order) = match rest.get(len..len + 2) {
            Some([0xff, 0xfe]) => (len + 2, ByteOrder::Little),
            Some([0xfe, 0xff]) => (len + 2, ByteOrder::Big),
            // The odd offset nearest to the end of the ASCII bytes: the last
            // of them can be the first byte of the run.
            _ => (len.saturating_sub(1) | 1, self.order),
        };
        starts_utf16_run(rest.get(at..).unwrap_or_default(), order)
    }

    /// Whether `rest` starts with four units that have their NUL in the wrong
    /// half.
    fn is_shifted(&self, rest: &[u8]) -> bool {
        rest.get(..UTF16_RUN_BYTES).is_some_and(|run| {
            run.chunks_exact(2).all(|unit| {
                let (low, high) = self.halves(unit[0], unit[1]);
                low == 0 && is_text(high)
            })
        })
    }

    fn ends_with_high_surrogate(&self, units: &[u8]) -> bool {
        units.last_chunk::<2>().is_some_and(|unit| {
            let unit = match self.order {
                ByteOrder::Little => u16::from_le_bytes(*unit),
                ByteOrder::Big => u16::from_be_bytes(*unit),
            };
            (0xd800..0xdc00).contains(&unit)
        })
    }
}

/// Whether `bytes` start with a run of UTF-16.
pub(crate) fn starts_utf16_run(bytes: &[u8], order: ByteOrder) -> bool {
    bytes.get(..UTF16_RUN_BYTES).is_some_and(|run| {
        run.chunks_exact(2).all(|unit| {
            let (low, high) = match order {
                ByteOrder::Little => (unit[0], unit[1]),
                ByteOrder::Big => (unit[1], unit[0]),
            };
            high == 0 && (is_text(low) || low >= 0xa0)
        })
    })
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')
}

fn decode_units(units: &[u8], order: ByteOrder, out: &mut String, stats: &mut DecodeStats) {
    let encoding = match order {
        ByteOrder::Little => encoding_rs::UTF_16LE,
        ByteOrder::Big => encoding_rs::UTF_16BE,
    };
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut at = 0;
    loop {
        let rest = units.get(at..).unwrap_or_default();
        out.reserve(
            decoder
                .max_utf8_buffer_length(rest.len())
                .unwrap_or(rest.len()),
        );
        let (result, read) = decoder.decode_to_string_without_replacement(rest, out, true);
        at += read;
        match result {
            DecoderResult::Malformed(..) => {
                out.push(char::REPLACEMENT_CHARACTER);
                stats.replacements += 1;
            }
            DecoderResult::OutputFull => {}
            DecoderResult::InputEmpty => return,
        }
    }
}
