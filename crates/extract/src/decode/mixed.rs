//! Text that is of one width for the most part, and of the other in stretches
//! that something appended.

use crate::decode::code_page::CodePage;
use crate::decode::single_byte::Narrow;
use crate::decode::utf16::{Order, Wide};
use crate::plain_text::Counts;

pub(crate) struct Mixed {
    narrow: Narrow,
    wide: Wide,
    /// What the text is for the most part.
    mostly_wide: bool,
    /// What it is here.
    is_wide: bool,
}

impl Mixed {
    /// Bytes, with stretches of UTF-16.
    pub fn narrow(narrow: Narrow) -> Self {
        Self {
            narrow,
            wide: Wide::stretch(Order::Little),
            mostly_wide: false,
            is_wide: false,
        }
    }

    /// UTF-16, with stretches of bytes.
    pub fn wide(order: Order, page: CodePage) -> Self {
        Self {
            narrow: Narrow::between(order, page),
            wide: Wide::new(order),
            mostly_wide: true,
            is_wide: true,
        }
    }

    /// How the text is read that is of one byte a unit for the most part.
    pub fn as_narrow(&self) -> Option<&Narrow> {
        (!self.mostly_wide).then_some(&self.narrow)
    }

    pub fn order(&self) -> Order {
        self.wide.order()
    }

    pub fn decode(
        &mut self,
        bytes: &[u8],
        last: bool,
        out: &mut String,
        counts: &mut Counts,
    ) -> usize {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let (used, changes) = if self.is_wide {
                self.wide.decode(rest, last, out, counts)
            } else {
                self.narrow.decode(rest, last, out, counts)
            };
            counts.see(&rest[..used], self.is_wide, out);
            at += used;
            if !changes {
                return at;
            }
            counts.switches += u64::from(self.is_wide == self.mostly_wide);
            self.is_wide = !self.is_wide;
        }
    }
}
