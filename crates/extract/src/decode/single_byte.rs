//! Text of one byte a unit: UTF-8 where it fits, a code page where it does
//! not, and stretches of UTF-16 that something appended to it.

use std::cell::OnceCell;

use encoding_rs::Encoding;

use crate::decode::code_page::CodePage;
use crate::decode::utf16::{Order, WIDE_RUN_BYTES, begins_wide};
use crate::plain_text::Counts;

pub(crate) struct Narrow {
    page: CodePage,
    /// The page's upper half, once a byte of it is met: few texts have one.
    upper: OnceCell<Box<[char; 128]>>,
    utf8: bool,
    /// Byte order of stretches of UTF-16.
    order: Order,
}

impl Narrow {
    pub fn utf8(page: CodePage) -> Self {
        Self {
            page,
            upper: OnceCell::new(),
            utf8: true,
            order: Order::Little,
        }
    }

    /// What stands between stretches of UTF-16 in `order`.
    pub fn between(order: Order, page: CodePage) -> Self {
        Self {
            order,
            ..Self::utf8(page)
        }
    }

    pub fn page(page: CodePage) -> Self {
        Self {
            utf8: false,
            ..Self::utf8(page)
        }
    }

    pub fn is_utf8(&self) -> bool {
        self.utf8
    }

    /// The page that bytes are read by which are no UTF-8.
    pub fn page_name(&self) -> &'static str {
        if self.page.multi_byte().is_some() {
            CodePage::default().name()
        } else {
            self.page.name()
        }
    }

    /// Decodes up to the next stretch of UTF-16; whether there is one.
    pub fn decode(
        &self,
        bytes: &[u8],
        last: bool,
        out: &mut String,
        counts: &mut Counts,
    ) -> (usize, bool) {
        let mut from = 0;
        while let Some(nul) = find_nul(bytes, from) {
            // the other byte of a stretch's first unit may stand before its NUL
            let begin = match self.order {
                Order::Little => nul.saturating_sub(1),
                Order::Big => nul,
            };
            let ahead = bytes.get(begin..).unwrap_or_default();
            if ahead.len() < WIDE_RUN_BYTES && !last {
                let upto = before_mark(bytes, begin);
                return (self.decode_run(&bytes[..upto], false, out, counts), false);
            }
            if begins_wide(ahead, self.order) {
                let upto = before_mark(bytes, begin);
                self.decode_run(&bytes[..upto], true, out, counts);
                return (begin, true);
            }
            // of many NULs only the last can begin a stretch
            let nuls = bytes[nul..].iter().take_while(|&&b| b == 0).count();
            from = (nul + 1).max(nul + nuls - 1);
        }
        // the last bytes may be a stretch's mark and the byte before its NUL
        let keep = if last { 0 } else { 3 };
        let upto = bytes.len().saturating_sub(keep);
        (self.decode_run(&bytes[..upto], last, out, counts), false)
    }

    /// Decodes bytes that hold no stretch; those of a cut character are left
    /// unless the run `ends`.
    fn decode_run(&self, bytes: &[u8], ends: bool, out: &mut String, counts: &mut Counts) -> usize {
        if !self.utf8 {
            self.decode_page(bytes, out, counts);
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
            let (valid, bad) = rest.split_at(error.valid_up_to());
            out.push_str(std::str::from_utf8(valid).unwrap_or_default());
            at += valid.len();
            let bad = match error.error_len() {
                Some(len) => bad.get(..len).unwrap_or(bad),
                None if ends => bad,
                None => return at,
            };
            self.decode_page(bad, out, counts);
            at += bad.len();
        }
    }

    fn decode_page(&self, mut bytes: &[u8], out: &mut String, counts: &mut Counts) {
        while !bytes.is_empty() {
            let (ascii, rest) = bytes.split_at(Encoding::ascii_valid_up_to(bytes));
            out.push_str(std::str::from_utf8(ascii).unwrap_or_default());
            let upper = rest.iter().take_while(|&&b| b >= 0x80).count();
            let (upper, rest) = rest.split_at(upper);
            if !upper.is_empty() {
                let page = self.upper.get_or_init(|| Box::new(self.page.upper_half()));
                out.extend(upper.iter().map(|&byte| page[usize::from(byte & 0x7f)]));
            }
            counts.by_page += upper.len() as u64;
            bytes = rest;
        }
    }
}

fn find_nul(bytes: &[u8], from: usize) -> Option<usize> {
    memchr::memchr(0, bytes.get(from..)?).map(|at| from + at)
}

/// Leaves out the byte order mark that stands before a stretch.
fn before_mark(bytes: &[u8], begin: usize) -> usize {
    match bytes.get(..begin) {
        Some(before) if before.ends_with(&[0xff, 0xfe]) || before.ends_with(&[0xfe, 0xff]) => {
            begin - 2
        }
        _ => begin,
    }
}
