//! A phrase: words with blanks between them, in a line or over line ends.

use memchr::memmem::Finder;

use crate::matcher::cuts_a_word;
use crate::matcher::prefilter::Needed;
use crate::query::ast::SyntaxError;

/// Blanks of one phrase: a bit each in what is known of a line.
const CUTS_MAX: usize = 64;

/// A phrase in lower case. Each run of blanks in it stands for any run of
/// blanks, or for a line end with the blanks around that. Blanks at its own
/// ends are text.
#[derive(Debug)]
pub(crate) struct Crossing {
    /// What stands between the blanks, two and more.
    pieces: Vec<String>,
    first: Finder<'static>,
}

impl Crossing {
    /// `None` where there is no blank in the phrase.
    pub(crate) fn new(folded: &str) -> Result<Option<Self>, SyntaxError> {
        let inner = folded.trim();
        let mut pieces: Vec<String> = inner.split_whitespace().map(str::to_string).collect();
        if pieces.len() > CUTS_MAX + 1 {
            let message = format!("a phrase has at most {CUTS_MAX} blanks");
            return Err(SyntaxError::new(0, message));
        }
        let begin = folded.len() - folded.trim_start().len();
        let end = folded.trim_end().len();
        let ([first, .., last], Some(before), Some(behind)) =
            (&mut pieces[..], folded.get(..begin), folded.get(end..))
        else {
            return Ok(None);
        };
        first.insert_str(0, before);
        last.push_str(behind);
        Ok(Some(Self {
            first: Finder::new(&pieces[0]).into_owned(),
            pieces,
        }))
    }

    /// **Units**: bytes of what stands before its first blank.
    pub(crate) fn first_len(&self) -> usize {
        self.first.needle().len()
    }

    /// What a line needs to hold all of it.
    pub(crate) fn needed(&self) -> Needed {
        Needed::every(self.pieces.iter().map(|piece| Needed::of_literal(piece)))
    }

    /// What a line needs to end with the phrase's beginning.
    pub(crate) fn needed_at_end(&self) -> Needed {
        Needed::every([Needed::of_literal(&self.pieces[0])])
    }

    /// Whether a match within a line may be as long as a piece of it.
    pub(crate) fn may_cover(&self, text: &str) -> bool {
        let characters: usize = self.pieces.iter().map(|piece| piece.chars().count()).sum();
        text.chars().filter(|c| !c.is_whitespace()).count() <= characters
    }

    /// The first place within a line that begins at `from` or later.
    pub(crate) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let mut from = from;
        loop {
            let start = from + self.first.find(text.as_bytes().get(from..)?)?;
            let behind = start + self.pieces[0].len();
            if !cuts_a_word(text, start)
                && let Some(end) = self.goes_on(text, behind)
                && !cuts_a_word(text, end)
            {
                return Some((start, end));
            }
            from = start + text.get(start..)?.chars().next().map_or(1, char::len_utf8);
        }
    }

    /// Where the rest of the phrase ends, behind the first of its pieces.
    fn goes_on(&self, text: &str, at: usize) -> Option<usize> {
        let pieces = self.pieces[1..].iter();
        let rest = pieces.clone().try_fold(text.get(at..)?, |rest, piece| {
            skip_blanks(rest)?.strip_prefix(piece.as_str())
        });
        Some(text.len() - rest?.len())
    }

    /// The cuts up to which the phrase stands at the end of a line, a bit each.
    pub(crate) fn heads(&self, line: &str) -> u64 {
        self.bits(|cut| self.head_start(line, cut).is_some())
    }

    /// The cuts from which on the phrase stands at the beginning of a line.
    pub(crate) fn tails(&self, line: &str) -> u64 {
        let line = line.trim_start_matches(is_blank);
        self.bits(|cut| {
            let [piece, more @ ..] = &self.pieces[cut + 1..] else {
                return false;
            };
            let rest = more
                .iter()
                .try_fold(line.strip_prefix(piece.as_str()), |rest, piece| {
                    Some(skip_blanks(rest?)?.strip_prefix(piece.as_str()))
                });
            let rest = rest.flatten();
            rest.is_some_and(|rest| !cuts_a_word(line, line.len() - rest.len()))
        })
    }

    /// The cut up to which a whole line goes on with the phrase from `cut`.
    pub(crate) fn middle(&self, line: &str, cut: usize) -> Option<usize> {
        let mut rest = line.trim();
        for (n, piece) in self.pieces.iter().enumerate().skip(cut + 1) {
            rest = rest.strip_prefix(piece.as_str())?;
            if rest.is_empty() {
                return (n + 1 < self.pieces.len()).then_some(n);
            }
            rest = skip_blanks(rest)?;
        }
        None
    }

    /// Where the phrase up to `cut` begins at the end of a line.
    pub(crate) fn head_start(&self, line: &str, cut: usize) -> Option<usize> {
        let [pieces @ .., last] = self.pieces.get(..=cut)? else {
            return None;
        };
        let before = pieces.iter().rev().try_fold(
            line.trim_end().strip_suffix(last.as_str()),
            |rest, piece| {
                let rest = rest?;
                let words = rest.trim_end_matches(is_blank);
                (words.len() < rest.len()).then(|| words.strip_suffix(piece.as_str()))
            },
        );
        let start = before.flatten()?.len();
        (!cuts_a_word(line, start)).then_some(start)
    }

    fn bits(&self, is: impl Fn(usize) -> bool) -> u64 {
        let cuts = 0..self.pieces.len() - 1;
        cuts.filter(|cut| is(*cut))
            .fold(0, |bits, cut| bits | 1 << cut)
    }

    /// The first line that ends with the phrase's beginning, which begins from
    /// `from` on.
    pub(crate) fn find_end(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let before = text.as_bytes().get(..from)?;
        let mut at = memchr::memrchr(b'\n', before).map_or(0, |feed| feed + 1);
        loop {
            let rest = text.get(at..)?;
            let feed = memchr::memchr(b'\n', rest.as_bytes());
            let line = &rest[..feed.unwrap_or(rest.len())];
            let starts = (0..self.pieces.len() - 1).filter_map(|cut| self.head_start(line, cut));
            if let Some(start) = starts.filter(|start| at + start >= from).min() {
                return Some((at + start, at + line.len()));
            }
            at += feed? + 1;
        }
    }
}

/// What parts the words of a phrase within a line.
fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

/// What follows the blanks a text begins with; `None` where there is none.
fn skip_blanks(text: &str) -> Option<&str> {
    let words = text.trim_start_matches(is_blank);
    (words.len() < text.len()).then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crossing(text: &str) -> Crossing {
        Crossing::new(text).unwrap().unwrap()
    }

    #[test]
    fn a_phrase_is_cut_at_its_blanks() {
        let crossing = crossing("one two  three");
        assert_eq!(crossing.heads("x one\r\n"), 0b01);
        assert_eq!(crossing.heads("one   two \t\n"), 0b10);
        assert_eq!(crossing.heads("none") | crossing.heads("one two three"), 0);
        assert_eq!(crossing.tails("  two three.\n"), 0b01);
        assert_eq!(crossing.tails("three\n"), 0b10);
        assert_eq!(crossing.tails("threes") | crossing.tails("x three"), 0);
        assert_eq!(crossing.middle("\ttwo \r\n", 0), Some(1));
        assert_eq!(crossing.middle("two x", 0), None);
        assert_eq!(crossing.middle("two three", 0), None);
        assert_eq!(crossing.middle("\n", 0), None);
        let long = super::tests::crossing("a b c d");
        assert_eq!(long.middle(" b\t c\n", 0), Some(2));
    }

    #[test]
    fn any_blanks_part_words_within_a_line() {
        let crossing = crossing("tcp 10.0.0.5");
        for (line, found) in [
            ("  tcp    10.0.0.5:443\r\n", Some((2, 17))),
            ("tcp\t10.0.0.5", Some((0, 12))),
            ("tcp\u{a0}10.0.0.5", Some((0, 13))),
            ("tcp10.0.0.5", None),
            ("tcp x 10.0.0.5", None),
            ("xtcp 10.0.0.5", None),
            ("tcp 10.0.0.55", None),
            ("tcp\n10.0.0.5", None),
            ("tcp tcp  10.0.0.5", Some((4, 17))),
        ] {
            assert_eq!(crossing.find(line, 0), found, "{line:?}");
        }
        let edges = super::tests::crossing(" a b ");
        assert_eq!(edges.find("x  a \t b  y", 0), Some((2, 9)));
        assert_eq!(edges.find("a b", 0), None);
    }

    #[test]
    fn one_word_crosses_nothing() {
        assert!(Crossing::new("one").unwrap().is_none());
        assert!(Crossing::new(" one ").unwrap().is_none());
        assert!(Crossing::new(&"a ".repeat(100)).is_err());
    }

    #[test]
    fn edges_are_found_among_lines() {
        let crossing = crossing("new service");
        assert_eq!(crossing.find_end("a\nthe new\nb", 0), Some((6, 9)));
        assert_eq!(crossing.find_end("xnew\nnew\n", 1), Some((5, 8)));
    }
}
