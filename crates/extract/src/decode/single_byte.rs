//! Single-byte text: UTF-8, with a code page for invalid UTF-8, up to the next
//! run of UTF-16.

use std::cell::OnceCell;

use encoding_rs::Encoding;

use crate::decode::code_page::CodePage;
use crate::decode::encoding::ByteOrder;
use crate::decode::stats::DecodeStats;
use crate::decode::utf16::{UTF16_RUN_BYTES, starts_utf16_run};

pub(crate) struct SingleByteDecoder {
    page: CodePage,
    /// Characters of bytes 128 to 255. Computed on first use, because few
    /// texts need them.
    upper_half: OnceCell<Box<[char; 128]>>,
    is_utf8: bool,
    /// Byte order of the runs of UTF-16.
    order: ByteOrder,
}

impl SingleByteDecoder {
    pub fn utf8(page: CodePage) -> Self {
        Self {
            page,
            upper_half: OnceCell::new(),
            is_utf8: true,
            order: ByteOrder::Little,
        }
    }

    /// Decodes the runs of single-byte text inside UTF-16 of `order`.
    pub fn for_runs(order: ByteOrder, page: CodePage) -> Self {
        Self {
            order,
            ..Self::utf8(page)
        }
    }

    pub fn code_page(page: CodePage) -> Self {
        Self {
            is_utf8: false,
            ..Self::utf8(page)
        }
    }

    pub fn is_utf8(&self) -> bool {
        self.is_utf8
    }

    /// Name of the code page for invalid UTF-8.
    pub fn page_name(&self) -> &'static str {
        if self.page.multi_byte().is_some() {
            CodePage::default().name()
        } else {
            self.page.name()
        }
    }

    /// Decodes up to the next run of UTF-16. Returns how many bytes were
    /// decoded, and whether a run follows.
    pub fn decode(
        &self,
        bytes: &[u8],
        last: bool,
        out: &mut String,
        stats: &mut DecodeStats,
    ) -> (usize, bool) {
        let mut from = 0;
        while let Some(nul) = find_nul(bytes, from) {
            // In little-endian text, the first NUL of a run is the second byte
            // of its unit.
            let run_at = match self.order {
                ByteOrder::Little => nul.saturating_sub(1),
                ByteOrder::Big => nul,
            };
            let ahead = bytes.get(run_at..).unwrap_or_default();
            if ahead.len() < UTF16_RUN_BYTES && !last {
                let end = without_mark(bytes, run_at);
                return (self.decode_run(&bytes[..end], false, out, stats), false);
            }
            if starts_utf16_run(ahead, self.order) {
                let end = without_mark(bytes, run_at);
                self.decode_run(&bytes[..end], true, out, stats);
                return (run_at, true);
            }
            // Of consecutive NULs only the last one can belong to a run.
            let nuls = bytes[nul..].iter().take_while(|&&b| b == 0).count();
            from = (nul + 1).max(nul + nuls - 1);
        }
        // The last three bytes can be a byte order mark and the first byte of
        // a run.
        let kept = if last { 0 } else { 3 };
        let end = bytes.len().saturating_sub(kept);
        (self.decode_run(&bytes[..end], last, out, stats), false)
    }

    /// Decodes bytes without UTF-16. An incomplete character at the end is not
    /// decoded unless the run `ends`. Returns how many bytes were decoded.
    fn decode_run(
        &self,
        bytes: &[u8],
        ends: bool,
        out: &mut String,
        stats: &mut DecodeStats,
    ) -> usize {
        if !self.is_utf8 {
            self.decode_code_page(bytes, out, stats);
            return bytes.len();
        }
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let error = match std::str::from_utf8(rest) {
                Ok(text) => {
                    out.push_str(text);
                    return bytes.len();
                }
                Err(error) => error,
            };
            let (valid, after_valid) = rest.split_at(error.valid_up_to());
            out.push_str(std::str::from_utf8(valid).unwrap_or_default());
            at += valid.len();
            let invalid = match error.error_len() {
                Some(len) => after_valid.get(..len).unwrap_or(after_valid),
                None if ends => after_valid,
                None => return at,
            };
            self.decode_code_page(invalid, out, stats);
            at += invalid.len();
        }
    }

    fn decode_code_page(&self, mut bytes: &[u8], out: &mut String, stats: &mut DecodeStats) {
        while !bytes.is_empty() {
            let (ascii, after_ascii) = bytes.split_at(Encoding::ascii_valid_up_to(bytes));
            out.push_str(std::str::from_utf8(ascii).unwrap_or_default());
            let upper_len = after_ascii.iter().take_while(|&&b| b >= 0x80).count();
            let (upper, rest) = after_ascii.split_at(upper_len);
            if !upper.is_empty() {
                let table = self
                    .upper_half
                    .get_or_init(|| Box::new(self.page.upper_half()));
                out.extend(upper.iter().map(|&byte| table[usize::from(byte & 0x7f)]));
            }
            stats.code_page_bytes += upper.len() as u64;
            bytes = rest;
        }
    }
}

fn find_nul(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr(0, bytes.get(from..)?).map(|at| from + at)
}

/// The end of the single-byte text before a run at `run_at`: without a byte
/// order mark of the run.
fn without_mark(bytes: &[u8], run_at: usize) -> usize {
    match bytes.get(..run_at) {
        Some(before) if before.ends_with(&[0xff, 0xfe]) || before.ends_with(&[0xfe, 0xff]) => {
            run_at - 2
        }
        _ => run_at,
    }
}
