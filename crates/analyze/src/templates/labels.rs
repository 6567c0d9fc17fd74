//! What stands behind a label that is known.

use crate::templates::rules::{Extent, Kind, is_everywhere, labelled};
use crate::templates::scan::Scan;
use crate::templates::shapes;

/// Words a label is made of, at most.
const WORDS: usize = 3;
/// **Units**: bytes. Labels and names of users are short.
pub(crate) const SHORT: usize = 48;
/// **Units**: bytes of a domain and a user; what is as long is none.
const USER_MAX: usize = 2 * SHORT + 1;

impl Scan<'_> {
    /// What stands behind a label that is known.
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
            // The domain stays.
            Extent::User => self
                .text(value, to)
                .rfind('\\')
                .map_or(value, |at| value + at + 1),
            _ => value,
        };
        let is_kept = extent == Extent::User && is_everywhere(self.text(from, to));
        if !is_kept && from < to {
            self.replace(kind, from, to);
        }
    }

    /// The label that ends at a place: its last words, or all of the line
    /// before it for what only a whole label tells.
    fn known(&self, end: usize) -> Option<(Kind, Extent)> {
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

    fn value_end(&self, at: usize, extent: Extent) -> Option<usize> {
        let bytes = self.bytes;
        match extent {
            Extent::Number => shapes::plain(bytes, at),
            Extent::Port => shapes::dynamic_port(bytes, at),
            Extent::Private => shapes::private(bytes, at),
            Extent::User => {
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
                let end = match is_everywhere(name) {
                    true => whole.len(),
                    // The next label follows in the same line.
                    false if whole.contains(':') => first,
                    // `Domain Admins` is a group, which says something.
                    false if goes_on_as_a_name(whole, first) => return None,
                    false => first,
                };
                (1..USER_MAX).contains(&end).then_some(at + end)
            }
            Extent::Rest => {
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

/// Whether the word behind the first begins as a name does.
fn goes_on_as_a_name(value: &str, first: usize) -> bool {
    let rest = value.get(first..).unwrap_or("").trim_start();
    rest.starts_with(|c: char| c.is_uppercase())
}

fn needs_whole_label(kind: Kind) -> bool {
    matches!(kind, Kind::Own | Kind::Memory)
}
