//! Text of one main width (single-byte or UTF-16) with runs of the other one,
//! as programs produce that append to a log in another encoding.

use crate::decode::code_page::CodePage;
use crate::decode::encoding::ByteOrder;
use crate::decode::single_byte::SingleByteDecoder;
use crate::decode::stats::DecodeStats;
use crate::decode::utf16::Utf16Decoder;

pub(crate) struct MixedDecoder {
    single_byte: SingleByteDecoder,
    utf16: Utf16Decoder,
    /// The main width is UTF-16.
    is_mainly_wide: bool,
    /// The current run is UTF-16.
    is_wide: bool,
}

impl MixedDecoder {
    /// Single-byte text with runs of UTF-16.
    pub fn mainly_single_byte(single_byte: SingleByteDecoder) -> Self {
        Self {
            single_byte,
            utf16: Utf16Decoder::for_runs(ByteOrder::Little),
            is_mainly_wide: false,
            is_wide: false,
        }
    }

    /// UTF-16 with runs of single-byte text.
    pub fn mainly_utf16(order: ByteOrder, page: CodePage) -> Self {
        Self {
            single_byte: SingleByteDecoder::for_runs(order, page),
            utf16: Utf16Decoder::new(order),
            is_mainly_wide: true,
            is_wide: true,
        }
    }

    /// The decoder of the main width if that is single-byte.
    pub fn as_single_byte(&self) -> Option<&SingleByteDecoder> {
        (!self.is_mainly_wide).then_some(&self.single_byte)
    }

    pub fn decode(
        &mut self,
        bytes: &[u8],
        last: bool,
        out: &mut String,
        stats: &mut DecodeStats,
    ) -> usize {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let (used, width_changes) = if self.is_wide {
                self.utf16.decode(rest, last, out, stats)
            } else {
                self.single_byte.decode(rest, last, out, stats)
            };
            stats.add_decoded(&rest[..used], self.is_wide, out);
            at += used;
            if !width_changes {
                return at;
            }
            stats.width_changes += u64::from(self.is_wide == self.is_mainly_wide);
            self.is_wide = !self.is_wide;
        }
    }
}
