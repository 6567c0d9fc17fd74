//! Values after known labels.

use crate::templates::rules::{RuleKind, SHORT, ValueExtent, is_everywhere, labelled};
use crate::templates::scan::TemplateScan;
use crate::templates::shapes;

/// Limit of words in a label.
const WORDS: usize = 3;
/// Limit of domain and user together.
///
/// **Units**: bytes.
const USER_MAX: usize = 2 * SHORT + 1;

impl TemplateScan<'_> {
    /// Replaces the value after a known label.
    pub(crate) fn label(&mut self) {
        let mark = self.at;
        self.at += 1;
        let mut value = self.skip_blanks(mark + 1);
        if matches!(self.byte(value), b'\'' | b'"') {
            value += 1;
        }
        let quoted = matches!(self.before(mark), b'\'' | b'"');
        if self.byte(mark) == b'>' && !quoted || value >= self.bytes.len() {
            return;
        }
        let end = if quoted { mark - 1 } else { mark };
        let Some((kind, extent)) = self.known(end) else {
            return;
        };
        let Some(to) = self.value_end(value, extent).filter(|_| self.on(kind)) else {
            return;
        };
        self.walk_to(value);
        let from = match extent {
            // The domain is kept.
            ValueExtent::User => self
                .text(value, to)
                .rfind('\\')
                .map_or(value, |at| value + at + 1),
            _ => value,
        };
        let is_kept = extent == ValueExtent::User && is_everywhere(self.text(from, to));
        if !is_kept && from < to {
            self.replace(kind, from, to);
        }
    }

    /// The known label that ends at a position: its last words, or the whole
    /// line before it for labels that count only as a whole.
    fn known(&self, end: usize) -> Option<(RuleKind, ValueExtent)> {
        let head = self.bytes.get(end.saturating_sub(SHORT)..end)?;
        let mut label = [0u8; SHORT];
        let (mut from, mut words, mut in_word, mut gap) = (SHORT, 0, false, false);
        for byte in head.iter().rev() {
            let is_letter = byte.is_ascii_alphanumeric();
            if !is_letter && in_word {
                words += 1;
                let found = labelled(&label[from..]);
                if let Some(found) = found.filter(|(kind, _)| !needs_whole_label(*kind)) {
                    return Some(found);
                }
                gap = words >= WORDS;
            }
            in_word = is_letter;
            if is_letter {
                from -= 1;
                label[from] = byte.to_ascii_lowercase();
            } else if !matches!(byte, b' ' | b'\t' | b'.' | b'-' | b'_' | b'(' | b')' | b':') {
                return None;
            }
        }
        let found = labelled(&label[from..])?;
        let is_whole = end <= SHORT;
        let fits = if needs_whole_label(found.0) {
            is_whole
        } else {
            !gap
        };
        fits.then_some(found)
    }

    fn value_end(&self, at: usize, extent: ValueExtent) -> Option<usize> {
        let bytes = self.bytes;
        match extent {
            ValueExtent::Number => shapes::plain(bytes, at),
            ValueExtent::Port => shapes::dynamic_port(bytes, at),
            ValueExtent::Private => shapes::private(bytes, at),
            ValueExtent::User => {
                let rest = bytes.get(at..)?;
                let stop = |b: &u8| {
                    matches!(
                        b,
                        b'"' | b'\'' | b',' | b';' | b'<' | b'>' | b'\t' | b'(' | b'|'
                    )
                };
                let mut len = rest.iter().take(USER_MAX).take_while(|b| !stop(b)).count();
                while !self.line.is_char_boundary(at + len) {
                    len += 1;
                }
                let text = self.text(at, at + len);
                let wide = text.find("  ").unwrap_or(text.len());
                let whole = text[..wide].trim_end();
                let name = whole.rsplit('\\').next().unwrap_or(whole);
                let first = whole.find(' ').unwrap_or(whole.len());
                let has_next_label = whole.contains(':');
                let end = if is_everywhere(name) {
                    whole.len()
                } else if has_next_label || !continues_as_name(whole, first) {
                    first
                } else {
                    // `Domain Admins` is a group and not volatile.
                    return None;
                };
                (1..USER_MAX).contains(&end).then_some(at + end)
            }
            ValueExtent::Rest => {
                let rest = bytes.get(at..)?;
                let len = rest
                    .iter()
                    .take_while(|b| !matches!(b, b'(' | b'<' | b'\t'))
                    .count();
                let text = self.text(at, at + len);
                let end = text.find("  ").unwrap_or(text.len());
                let end = text[..end].trim_end().len();
                (end > 0).then_some(at + end)
            }
        }
    }
}

/// Whether the second word starts like part of a name.
fn continues_as_name(value: &str, first: usize) -> bool {
    let rest = value.get(first..).unwrap_or("").trim_start();
    rest.starts_with(|c: char| c.is_uppercase())
}

fn needs_whole_label(kind: RuleKind) -> bool {
    matches!(kind, RuleKind::Own | RuleKind::Memory)
}
