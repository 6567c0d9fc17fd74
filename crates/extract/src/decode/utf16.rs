//! UTF-16, and what is found inside of it: text of one byte a unit that
//! something appended, and units out of step after an odd number of bytes.

use crate::plain_text::Counts;

/// Byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

/// Four characters below U+0100 in a row begin a stretch of UTF-16: fewer
/// happen by chance between NULs.
pub(crate) const WIDE_RUN_BYTES: usize = 8;

/// ASCII bytes in a row that end UTF-16, unless they can be its characters.
const NARROW_RUN_BYTES: usize = 12;

/// How far such a run is looked into to tell.
const NARROW_LOOK_BYTES: usize = 64;

pub(crate) struct Wide {
    order: Order,
    /// Part of a narrow text: left at the first unit of two ASCII bytes.
    stretch: bool,
}

impl Wide {
    pub fn new(order: Order) -> Self {
        let stretch = false;
        Self { order, stretch }
    }

    pub fn stretch(order: Order) -> Self {
        let stretch = true;
        Self { order, stretch }
    }

    pub fn order(&self) -> Order {
        self.order
    }

    /// Decodes up to where UTF-16 ends; whether that is within `bytes`.
    pub fn decode(
        &self,
        bytes: &[u8],
        last: bool,
        out: &mut String,
        counts: &mut Counts,
    ) -> (usize, bool) {
        let (upto, left) = self.find_end(bytes, last);
        let mut units = bytes.get(..upto).unwrap_or_default();
        if !left && !last && units.len() >= 2 && is_high_surrogate(last_unit(units, self.order)) {
            units = &units[..units.len() - 2];
        }
        decode_units(units, self.order, out, counts);
        let mut used = units.len();
        if last && !left && used < bytes.len() {
            // half a unit at the very end
            out.push(char::REPLACEMENT_CHARACTER);
            counts.replaced += 1;
            used = bytes.len();
        }
        (used, left)
    }

    /// Where the units end that can be decoded for certain, and whether
    /// something else begins there.
    fn find_end(&self, bytes: &[u8], last: bool) -> (usize, bool) {
        let need = if last { 2 } else { NARROW_LOOK_BYTES };
        let mut at = 0;
        while at + need <= bytes.len() {
            let rest = &bytes[at..];
            if self.is_plain(rest) {
                at += 8;
                continue;
            }
            let (low, high) = self.halves(rest[0], rest[1]);
            // a unit of two ASCII bytes, or of a NUL in the wrong half
            if is_text(high) && (low == 0 || is_text(low)) && self.ends_before(rest) {
                return (at, true);
            }
            at += 2;
        }
        let odd_end = last && self.stretch && at < bytes.len();
        (at, odd_end)
    }

    /// Four units below U+0100 none of which is out of step: nearly all there
    /// are in most files.
    fn is_plain(&self, rest: &[u8]) -> bool {
        let Some(four) = rest.first_chunk::<8>() else {
            return false;
        };
        let high = match self.order {
            Order::Little => 0xff00_ff00_ff00_ff00,
            Order::Big => 0x00ff_00ff_00ff_00ff,
        };
        u64::from_le_bytes(*four) & high == 0
    }

    fn halves(&self, first: u8, second: u8) -> (u8, u8) {
        match self.order {
            Order::Little => (first, second),
            Order::Big => (second, first),
        }
    }

    fn ends_before(&self, rest: &[u8]) -> bool {
        let ascii = rest[0] != 0 && rest[1] != 0;
        match (self.stretch, ascii) {
            (true, true) => true,
            (false, true) => self.is_narrow_run(rest),
            (_, false) => self.is_out_of_step(rest),
        }
    }

    /// ASCII that cannot be characters of UTF-16. A unit of two ASCII bytes is
    /// an ideograph where its high half is 4E and more, kana at 30, an Indic
    /// script at 9, A and D. Symbols share one of the other halves, while the
    /// words of a log bring several, or blanks between them.
    fn is_narrow_run(&self, rest: &[u8]) -> bool {
        let look = rest.get(..NARROW_LOOK_BYTES).unwrap_or(rest);
        let len = look.iter().take_while(|&&b| is_text(b)).count();
        if self.begins_anew(rest, len) {
            return true;
        }
        if len < NARROW_RUN_BYTES {
            return false;
        }
        let (mut first, mut blanks) = (None, 0);
        for unit in look.get(..len).unwrap_or_default().chunks_exact(2) {
            let (low, high) = self.halves(unit[0], unit[1]);
            if matches!((high, low), (0x20, 0x26 | 0x3b)) {
                // an ellipsis, a reference mark: usual among ideographs
                continue;
            }
            blanks += usize::from(low == b' ' || high == b' ');
            let tells = (b' '..0x4e).contains(&high) && high != 0x30;
            if blanks > 2 || tells && *first.get_or_insert(high) != high {
                return true;
            }
        }
        false
    }

    /// Whether units begin behind so many bytes that cannot go on from those
    /// before: out of step with them, or with a mark of their own.
    fn begins_anew(&self, rest: &[u8], len: usize) -> bool {
        let (at, order) = match rest.get(len..len + 2) {
            Some([0xff, 0xfe]) => (len + 2, Order::Little),
            Some([0xfe, 0xff]) => (len + 2, Order::Big),
            // The odd one of the last and the one behind it.
            _ => (len.saturating_sub(1) | 1, self.order),
        };
        begins_wide(rest.get(at..).unwrap_or_default(), order)
    }

    /// Four units with their NULs in the wrong half.
    fn is_out_of_step(&self, rest: &[u8]) -> bool {
        rest.get(..WIDE_RUN_BYTES).is_some_and(|run| {
            run.chunks_exact(2).all(|unit| {
                let (low, high) = self.halves(unit[0], unit[1]);
                low == 0 && is_text(high)
            })
        })
    }
}

/// Whether a stretch of UTF-16 begins here.
pub(crate) fn begins_wide(bytes: &[u8], order: Order) -> bool {
    bytes.get(..WIDE_RUN_BYTES).is_some_and(|run| {
        run.chunks_exact(2).all(|unit| {
            let (low, high) = match order {
                Order::Little => (unit[0], unit[1]),
                Order::Big => (unit[1], unit[0]),
            };
            high == 0 && (is_text(low) || low >= 0xa0)
        })
    })
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n')
}

fn last_unit(units: &[u8], order: Order) -> u16 {
    let Some(unit) = units.last_chunk::<2>() else {
        return 0;
    };
    match order {
        Order::Little => u16::from_le_bytes(*unit),
        Order::Big => u16::from_be_bytes(*unit),
    }
}

fn is_high_surrogate(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn decode_units(units: &[u8], order: Order, out: &mut String, counts: &mut Counts) {
    use encoding_rs::DecoderResult;
    let encoding = match order {
        Order::Little => encoding_rs::UTF_16LE,
        Order::Big => encoding_rs::UTF_16BE,
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
                counts.replaced += 1;
            }
            DecoderResult::OutputFull => {}
            DecoderResult::InputEmpty => return,
        }
    }
}
