//! Finding a text in lines, and what a line must hold to be worth a look.

pub(crate) mod fuzzy;
pub(crate) mod ip_network;
pub(crate) mod phrase;
pub(crate) mod prefilter;
pub(crate) mod proximity;
pub(crate) mod regex_pattern;
pub(crate) mod wildcard;

use std::ops::ControlFlow;
use std::sync::Arc;

use memchr::memmem::Finder;
use regex::Regex;

use crate::codec::tokenizer::{fold_text, is_word};
use crate::matcher::fuzzy::Alike;
use crate::matcher::ip_network::IpNetwork;
use crate::matcher::phrase::Crossing;
use crate::matcher::prefilter::{Needed, NeededTerm};
use crate::matcher::proximity::Near;
use crate::matcher::regex_pattern::{LinePattern, TextPattern};
use crate::matcher::wildcard::{Glob, as_literal, read_elements, without_ends};
use crate::query::ast::{SyntaxError, Text};
use crate::writer::line_splitter::REACH;

/// **Units**: bytes of a text to be found. In any case it may be three times
/// as long, and lies within one part of a very long line even then.
const TEXT_MAX: usize = REACH / 4;

/// Finds one text.
#[derive(Clone)]
pub(crate) enum Matcher {
    /// On folded text.
    Literal(Finder<'static>, Borders),
    /// On folded text: a phrase whose blanks are any blanks of the line.
    Phrase(Arc<Crossing>),
    /// On folded text.
    Glob(Glob),
    Fixed(Finder<'static>),
    /// A substring in any case.
    AnyCase(Regex),
    Line(LinePattern),
    /// On folded text.
    Alike(Alike),
    /// On folded text.
    Near(Near),
    IpNetwork(IpNetwork),
    /// On whole texts, whatever the line ends; no line matches it.
    Whole(TextPattern),
    /// On folded text: a line that ends with a phrase's beginning.
    LineEnd(Arc<Crossing>),
}

/// At which of its ends a text is no piece of a longer word, where a word
/// character stands there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Borders {
    pub(crate) begin: bool,
    pub(crate) end: bool,
}

/// Characters of a word that a match takes in where it is a piece of it: as
/// many as a part of a very long line keeps before its own text.
const WORD_MAX: usize = 256;

impl Borders {
    pub(crate) const BOTH: Self = Self {
        begin: true,
        end: true,
    };

    /// A match with the word it is a piece of, not before `from`.
    fn widen(self, text: &str, from: usize, (start, end): (usize, usize)) -> (usize, usize) {
        fn bytes(characters: impl Iterator<Item = char>) -> usize {
            let word = characters.take(WORD_MAX).take_while(|c| is_word(*c));
            word.map(char::len_utf8).sum()
        }
        let before = text.get(from..start).filter(|_| !self.begin);
        let after = text.get(end..).filter(|_| !self.end);
        let begin = start - before.map_or(0, |before| bytes(before.chars().rev()));
        (begin, end + after.map_or(0, |after| bytes(after.chars())))
    }
}

/// Is given matches in order, and says whether it wants more.
pub(crate) type Take<'a> = &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>;

impl Matcher {
    /// The matcher of a text, and what every matching line has. A pattern may
    /// take `size` bytes.
    pub(crate) fn compile(text: &Text, size: usize) -> Result<(Self, Needed), SyntaxError> {
        match text {
            Text::Term(text) => {
                check(text)?;
                Ok(Self::literal(&fold_text(text)))
            }
            Text::Phrase(text) => {
                check(text)?;
                let folded = fold_text(text);
                Ok(match Crossing::new(&folded)? {
                    Some(crossing) => {
                        let needed = crossing.needed();
                        (Self::Phrase(Arc::new(crossing)), needed)
                    }
                    None => Self::literal(&folded),
                })
            }
            Text::Wildcard(text) => {
                check(text)?;
                let elements = read_elements(text);
                let needed = Needed::of_elements(&elements);
                let (inner, borders) = without_ends(&elements);
                let matcher = match as_literal(inner) {
                    Some(text) => Self::Literal(Finder::new(&text).into_owned(), borders),
                    None => Self::Glob(Glob::new(inner, borders)),
                };
                Ok((matcher, needed))
            }
            Text::Fixed { text, ignore_case } => {
                check(text)?;
                let needed = Needed::of_substring(text, *ignore_case);
                let matcher = if *ignore_case {
                    Self::AnyCase(any_case(text, size)?)
                } else {
                    Self::Fixed(Finder::new(text).into_owned())
                };
                Ok((matcher, needed))
            }
            Text::Fuzzy { word, distance } => {
                check(word)?;
                let alike = Alike::new(word, *distance);
                let needed = Needed::of_terms(vec![NeededTerm::Alike(alike.clone())]);
                Ok((Self::Alike(alike), needed))
            }
            Text::Near { words, within } => {
                words.iter().try_for_each(|word| check(word))?;
                let folded: Vec<String> = words.iter().map(|word| fold_text(word)).collect();
                let needed = Needed::every(folded.iter().map(|word| Needed::of_literal(word)));
                Ok((Self::Near(Near::new(&folded, *within)?), needed))
            }
            Text::IpNetwork(network) => {
                let parts = network.fixed_parts().into_iter();
                let needed = Needed::of_terms(parts.map(NeededTerm::Any).collect());
                Ok((Self::IpNetwork(*network), needed))
            }
            Text::Multiline {
                pattern,
                ignore_case,
            } => {
                let pattern = TextPattern::compile(pattern, *ignore_case, size)?;
                Ok((Self::Whole(pattern), Needed::of_terms(Vec::new())))
            }
            Text::Regex {
                pattern,
                ignore_case,
            } => {
                let (pattern, hir) = LinePattern::compile(pattern, *ignore_case, size)?;
                Ok((Self::Line(pattern), Needed::of_pattern(&hir)))
            }
        }
    }

    fn literal(folded: &str) -> (Self, Needed) {
        let finder = Finder::new(folded).into_owned();
        (
            Self::Literal(finder, Borders::BOTH),
            Needed::of_literal(folded),
        )
    }

    /// Whether it is given the text in lower case.
    pub(crate) fn folds(&self) -> bool {
        !matches!(
            self,
            Self::Fixed(_) | Self::AnyCase(_) | Self::Line(_) | Self::IpNetwork(_) | Self::Whole(_)
        )
    }

    /// Whether a match is never longer than what neighbouring parts of a very
    /// long line share. All else is looked for in the line put together.
    pub(crate) fn fits_a_part(&self) -> bool {
        match self {
            Self::Line(pattern) => pattern.len_max.is_some_and(|len| len <= REACH),
            Self::Glob(glob) => !glob.is_unbounded(),
            Self::Phrase(_) | Self::Near(_) => false,
            Self::IpNetwork(network) => !network.depends_on_run(),
            Self::Literal(..) | Self::Fixed(_) | Self::AnyCase(_) => true,
            Self::Alike(_) | Self::LineEnd(_) | Self::Whole(_) => true,
        }
    }

    /// Whether some match may be as long as a piece of a line, all of it.
    pub(crate) fn may_cover(&self, text: &str) -> bool {
        match self {
            Self::Line(pattern) => pattern.len_max.is_none_or(|len| len >= text.len()),
            Self::Glob(glob) => glob.may_cover(text),
            Self::Phrase(crossing) => crossing.may_cover(text),
            Self::Near(near) => near.may_cover(text),
            Self::IpNetwork(network) => network.may_cover(text),
            _ => false,
        }
    }

    /// Whether what stands around a match makes a difference.
    pub(crate) fn looks(&self) -> bool {
        match self {
            Self::Line(pattern) => pattern.looks(),
            _ => true,
        }
    }

    /// Where the first of some lines may match that begins from `from` on,
    /// which is the beginning of one; and whether it surely does.
    pub(crate) fn skim(&self, lines: &str, from: usize) -> Option<(usize, bool)> {
        match self {
            Self::Line(pattern) => pattern.skim(lines, from),
            matcher => matcher.find(lines, from).map(|(start, _)| (start, true)),
        }
    }

    /// The first match in a line, given with its end, that begins at `from` or
    /// later. Never spans a line.
    pub(crate) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        match self {
            Self::Literal(finder, borders) => {
                let found = find_literal(finder, *borders, text, from)?;
                Some(borders.widen(text, from, found))
            }
            Self::Phrase(crossing) => crossing.find(text, from),
            Self::Glob(glob) => {
                let found = glob.find(text, from)?;
                Some(glob.borders.widen(text, from, found))
            }
            Self::Alike(alike) => alike.find(text, from),
            Self::Near(near) => near.find(text, from),
            Self::IpNetwork(network) => network.find(text, from),
            Self::Whole(_) => None,
            Self::LineEnd(crossing) => crossing.find_end(text, from),
            Self::Fixed(finder) => {
                let at = from + finder.find(text.as_bytes().get(from..)?)?;
                Some((at, at + finder.needle().len()))
            }
            Self::AnyCase(regex) => {
                (from <= text.len()).then_some(())?;
                let found = regex.find_at(text, from)?;
                Some((found.start(), found.end()))
            }
            Self::Line(pattern) => pattern.find(text, from),
        }
    }

    /// Every match in a line that begins at `from` or later, none overlapping
    /// another.
    ///
    /// **Cost**: in proportion to the line, however many there are.
    pub(crate) fn each(&self, text: &str, from: usize, take: Take<'_>) -> ControlFlow<()> {
        match self {
            Self::Near(near) => return near.each(text, from, take),
            Self::IpNetwork(network) => return network.each(text, from, take),
            _ => {}
        }
        let mut at = from;
        while let Some((start, end)) = self.find(text, at) {
            take(start, end)?;
            at = match end > start {
                true => end,
                false => end + char_at(text, end).map_or(1, char::len_utf8),
            };
        }
        ControlFlow::Continue(())
    }
}

/// The first of all matches that are handed out.
pub(crate) fn first_of(each: impl FnOnce(Take<'_>) -> ControlFlow<()>) -> Option<(usize, usize)> {
    let mut first = None;
    let _ = each(&mut |start, end| {
        first = Some((start, end));
        ControlFlow::Break(())
    });
    first
}

fn any_case(text: &str, size: usize) -> Result<Regex, SyntaxError> {
    let mut regex = regex::RegexBuilder::new(&regex::escape(text));
    let regex = regex.case_insensitive(true).size_limit(size).build();
    regex.map_err(|error| SyntaxError::new(0, format!("the text cannot be used: {error}")))
}

fn check(text: &str) -> Result<(), SyntaxError> {
    if text.contains('\n') {
        return Err(SyntaxError::new(
            0,
            "a text to be found lies within one line",
        ));
    }
    if text.is_empty() {
        return Err(SyntaxError::new(0, "there is nothing to be found"));
    }
    if text.len() > TEXT_MAX {
        return Err(SyntaxError::new(
            0,
            format!("a text to be found has at most {TEXT_MAX} bytes"),
        ));
    }
    Ok(())
}

pub(crate) fn char_before(text: &str, at: usize) -> Option<char> {
    text.get(..at)?.chars().next_back()
}

pub(crate) fn char_at(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// Whether a word is cut at this place.
pub(crate) fn cuts_a_word(text: &str, at: usize) -> bool {
    char_before(text, at).is_some_and(is_word) && char_at(text, at).is_some_and(is_word)
}

pub(crate) fn find_literal(
    finder: &Finder<'_>,
    borders: Borders,
    text: &str,
    from: usize,
) -> Option<(usize, usize)> {
    let mut from = from;
    loop {
        let start = from + finder.find(text.as_bytes().get(from..)?)?;
        let end = start + finder.needle().len();
        let is_cut =
            borders.begin && cuts_a_word(text, start) || borders.end && cuts_a_word(text, end);
        if !is_cut {
            return Some((start, end));
        }
        from = start + char_at(text, start).map_or(1, char::len_utf8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::regex_pattern::PATTERNS_MAX;

    fn finds(text: &Text, line: &str) -> bool {
        let (matcher, needed) = Matcher::compile(text, PATTERNS_MAX).unwrap();
        let folded = fold_text(line);
        let hay = if matcher.folds() { &folded } else { line };
        let found = matcher.find(hay, 0).is_some();
        if found {
            needed.assert_in(line);
        }
        found
    }

    #[test]
    fn a_term_has_word_borders_and_no_case() {
        let term = |t: &str| Text::Term(t.into());
        let line = r"C:\Windows\Temp\Evil.exe 10.0.0.5:4444 straße";
        for found in [
            "evil.exe",
            "EVIL",
            r"c:\windows",
            r"Temp\",
            "10.0.0.5",
            "10.0.0.5:4444",
            ":4444",
            "STRAßE",
        ] {
            assert!(finds(&term(found), line), "{found}");
        }
        for absent in ["vil.exe", "Evi", "0.0.0.5:444", "wind", "10.0.0"] {
            assert!(
                finds(&term(absent), line) == (absent == "10.0.0"),
                "{absent}"
            );
        }
    }

    #[test]
    fn wildcards_stay_within_a_word() {
        let glob = |t: &str| Text::Wildcard(t.into());
        let line = r"run C:\Tools\MimiKatz64.exe now";
        for found in [
            "mimi*",
            "*katz*",
            "mimi*64",
            "*.exe",
            "mimikatz??",
            "m*z*4.exe",
            "t*s\\m*",
        ] {
            assert!(finds(&glob(found), line), "{found}");
        }
        for absent in [
            "katz*",
            "mimi*exe",
            "mimikatz?",
            "*.ex",
            "run*tools",
            "*64x",
        ] {
            assert!(!finds(&glob(absent), line), "{absent}");
        }
        let long = "a".repeat(200_000);
        for slow in [
            "*a*a*a*a*b",
            "*a*b",
            "?*b",
            "a?*ab",
            "*?a*b",
            "*?*?b",
            "???*ab",
        ] {
            assert!(!finds(&glob(slow), &long), "{slow}");
        }
    }

    /// Whether a pattern is a text, by trying every length of every `*`.
    fn covers(pattern: &[char], text: &[char]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            (['*', rest @ ..], _) => {
                let more = text.split_first().filter(|(c, _)| is_word(**c));
                covers(rest, text) || more.is_some_and(|(_, more)| covers(pattern, more))
            }
            (['?', rest @ ..], [c, more @ ..]) => is_word(*c) && covers(rest, more),
            ([wanted, rest @ ..], [c, more @ ..]) => wanted == c && covers(rest, more),
            _ => false,
        }
    }

    fn slowly_finds(pattern: &[char], text: &[char]) -> bool {
        let wordly = |c: Option<&char>| c.is_some_and(|c| is_word(*c) || "*?".contains(*c));
        let cuts = |at: usize| {
            let is_wordly = |at: usize| text.get(at).is_some_and(|c| is_word(*c));
            at > 0 && is_wordly(at - 1) && is_wordly(at)
        };
        let ends = 0..=text.len();
        ends.clone().any(|start| {
            !(wordly(pattern.first()) && cuts(start))
                && (start..=text.len()).any(|end| {
                    !(wordly(pattern.last()) && cuts(end)) && covers(pattern, &text[start..end])
                })
        })
    }

    #[test]
    fn wildcards_find_what_trying_every_length_finds() {
        let mut random = crate::tests::Random(8);
        let mut found = 0;
        for _ in 0..20_000 {
            let mut some = |from: &[char], max: usize| -> Vec<char> {
                let len = random.below(max);
                (0..len).map(|_| from[random.below(from.len())]).collect()
            };
            let pattern = some(&['a', 'b', 'é', '-', '?', '*', '*'], 7);
            let text = some(&['a', 'a', 'b', 'é', '-'], 10);
            let written: String = pattern.iter().collect();
            let line: String = text.iter().collect();
            if written.trim_matches('*').is_empty() || !written.contains(['*', '?']) {
                continue;
            }
            let expected = slowly_finds(&pattern, &text);
            let query = Text::Wildcard(written);
            assert_eq!(finds(&query, &line), expected, "{query:?} in {line}");
            found += usize::from(expected);
        }
        assert!(found > 2_000, "only {found}");
    }

    #[test]
    fn whatever_is_one_in_any_case_is_found_by_any_of_its_forms() {
        let in_any_case = |t: &str| Text::Fixed {
            text: t.into(),
            ignore_case: true,
        };
        for forms in [
            ["ΟΔΟΣ", "οδος", "οδοσ"],
            ["μTorrent", "µTorrent", "ΜTORRENT"],
            ["kelvin", "KELVIN", "\u{212a}elvin"],
            ["sekurlsa", "ſekurlſa", "SEKURLSA"],
        ] {
            for typed in forms {
                for written in forms {
                    let line = format!("x {written} 5");
                    assert!(finds(&in_any_case(typed), &line), "{typed} in {written}");
                    assert!(
                        finds(&Text::Term(typed.into()), &line),
                        "{typed} in {written}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_substring_needs_only_the_words_it_holds_whole() {
        let fixed = |t: &str| Text::Fixed {
            text: t.into(),
            ignore_case: false,
        };
        assert!(finds(&fixed("ows\\Tem"), r"C:\Windows\Temp"));
        assert!(finds(&fixed(" Windows Te"), "x Windows Temp"));
        assert!(finds(&fixed("\\"), r"a\b"));
        assert!(!finds(&fixed("windows"), "Windows"));
    }
}
