//! A phrase whose words stand on both sides of a line end.

use super::needed::Needed;
use super::query::SyntaxError;
use super::token::is_word;

/// Blanks of one phrase: a bit each in what is known of a line.
const CUTS_MAX: usize = 64;

/// A phrase in lower case and the blanks in it, each of which may be a line
/// end with the blanks around that.
#[derive(Debug)]
pub(super) struct Crossing {
    text: String,
    /// Where each run of blanks begins and ends.
    cuts: Vec<(usize, usize)>,
}

impl Crossing {
    /// `None` where nothing in the phrase can be a line end.
    pub(super) fn new(folded: &str) -> Result<Option<Self>, SyntaxError> {
        let mut cuts: Vec<(usize, usize)> = Vec::new();
        for (at, c) in folded.char_indices().filter(|(_, c)| c.is_whitespace()) {
            let end = at + c.len_utf8();
            match cuts.last_mut() {
                Some(last) if last.1 == at => last.1 = end,
                _ => cuts.push((at, end)),
            }
        }
        cuts.retain(|(start, end)| *start > 0 && *end < folded.len());
        if cuts.len() > CUTS_MAX {
            let message = format!("a phrase has at most {CUTS_MAX} blanks");
            return Err(SyntaxError::new(0, message));
        }
        Ok((!cuts.is_empty()).then(|| Self {
            text: folded.to_string(),
            cuts,
        }))
    }

    /// What a line needs to end with the phrase's beginning.
    pub(super) fn needed_at_end(&self) -> Needed {
        Needed::of_literal(&self.text[..self.cuts[0].0]).undecided()
    }

    /// What a line needs to begin with the phrase's end.
    pub(super) fn needed_at_start(&self) -> Needed {
        let last = self.cuts[self.cuts.len() - 1].1;
        Needed::of_literal(&self.text[last..]).undecided()
    }

    /// The cuts up to which the phrase stands at the end of a line, a bit each.
    pub(super) fn heads(&self, line: &str) -> u64 {
        self.bits(|cut| self.head_start(line, cut).is_some())
    }

    /// The cuts from which on the phrase stands at the beginning of a line.
    pub(super) fn tails(&self, line: &str) -> u64 {
        let line = line.trim_start_matches(BLANKS);
        self.bits(|cut| {
            let tail = &self.text[self.cuts[cut].1..];
            line.strip_prefix(tail)
                .is_some_and(|rest| !is_joined(tail, rest))
        })
    }

    /// The cut up to which a whole line goes on with the phrase from `cut`.
    pub(super) fn middle(&self, line: &str, cut: usize) -> Option<usize> {
        let line = trim(line);
        let from = self.cuts.get(cut)?.1;
        let to = from + line.len();
        let next = self.cuts.iter().position(|(start, _)| *start == to)?;
        (self.text.get(from..to) == Some(line)).then_some(next)
    }

    /// Where the phrase up to `cut` begins at the end of a line.
    pub(super) fn head_start(&self, line: &str, cut: usize) -> Option<usize> {
        let head = &self.text[..self.cuts.get(cut)?.0];
        let line = line.trim_end_matches(END);
        let start = line.len().checked_sub(head.len())?;
        (line.get(start..)? == head && !is_joined(&line[..start], head)).then_some(start)
    }

    fn bits(&self, is: impl Fn(usize) -> bool) -> u64 {
        let cuts = 0..self.cuts.len();
        cuts.filter(|cut| is(*cut))
            .fold(0, |bits, cut| bits | 1 << cut)
    }

    /// The first line from `from` on that ends with the phrase's beginning.
    pub(super) fn find_end(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        self.find_line(text, from, |line| {
            let starts = (0..self.cuts.len()).filter_map(|cut| self.head_start(line, cut));
            starts.min().map(|start| (start, line.len()))
        })
    }

    /// The first line from `from` on that begins with the phrase's end.
    pub(super) fn find_start(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        self.find_line(text, from, |line| {
            (self.tails(line) != 0).then_some((0, line.len()))
        })
    }

    fn find_line(
        &self,
        text: &str,
        from: usize,
        find: impl Fn(&str) -> Option<(usize, usize)>,
    ) -> Option<(usize, usize)> {
        let mut at = from;
        loop {
            let rest = text.get(at..)?;
            let feed = memchr::memchr(b'\n', rest.as_bytes());
            let line = &rest[..feed.unwrap_or(rest.len())];
            if let Some((start, end)) = find(line) {
                return Some((at + start, at + end));
            }
            at += feed? + 1;
        }
    }
}

/// What may stand before a line's words, and behind them.
const BLANKS: [char; 2] = [' ', '\t'];
const END: [char; 4] = [' ', '\t', '\r', '\n'];

fn trim(line: &str) -> &str {
    line.trim_end_matches(END).trim_start_matches(BLANKS)
}

/// Whether two texts that touch make one word of what was two.
fn is_joined(before: &str, after: &str) -> bool {
    before.chars().next_back().is_some_and(is_word) && after.chars().next().is_some_and(is_word)
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
        assert_eq!(crossing.heads("one two \t\n"), 0b10);
        assert_eq!(crossing.heads("none") | crossing.heads("one two three"), 0);
        assert_eq!(crossing.tails("  two  three.\n"), 0b01);
        assert_eq!(crossing.tails("three\n"), 0b10);
        assert_eq!(crossing.tails("threes") | crossing.tails("x three"), 0);
        assert_eq!(crossing.middle("\ttwo \r\n", 0), Some(1));
        assert_eq!(crossing.middle("two x", 0), None);
        assert_eq!(crossing.middle("\n", 0), None);
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
        assert_eq!(crossing.find_start("a\n service x\nb", 0), Some((2, 12)));
    }
}
