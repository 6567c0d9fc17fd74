//! Finding a text in lines, and what a line must hold to be worth a look.

use std::sync::Arc;

use memchr::memmem::Finder;
use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};

use super::alike::Alike;
use super::document::OVERLAP;
use super::near::Near;
use super::needed::{Needed, NeededTerm};
use super::network::Network;
use super::phrase::Crossing;
use super::query::{SyntaxError, Text};
use super::token::{fold, fold_text, is_word};

/// **Units**: bytes a compiled pattern may take; `regex`'s own measure.
const PATTERN_MAX: usize = 64 << 20;
/// **Units**: bytes of a text to be found. Longer ones could lie across two
/// cuts of a very long line.
const TEXT_MAX: usize = OVERLAP / 2;

/// Finds one text.
#[derive(Clone)]
pub(super) enum Matcher {
    /// On folded text; with word borders where its ends are word characters.
    Literal(Finder<'static>),
    /// On folded text.
    Glob(Vec<Element>),
    Fixed(Finder<'static>),
    Regex(Regex),
    /// On folded text.
    Alike(Alike),
    /// On folded text.
    Near(Near),
    Network(Network),
    /// On whole texts, whatever the line ends; no line matches it.
    Whole(Regex),
    /// On folded text: a line that ends with a phrase's beginning.
    LineEnd(Arc<Crossing>),
    /// On folded text: a line that begins with a phrase's end.
    LineStart(Arc<Crossing>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Character(char),
    /// One word character.
    One,
    /// Any number of word characters.
    Any,
}

impl Element {
    pub(super) fn is_wordly(self) -> bool {
        match self {
            Self::Character(c) => is_word(c),
            Self::One | Self::Any => true,
        }
    }
}

impl Matcher {
    /// The matcher of a text, and what every matching line has.
    pub(super) fn compile(text: &Text) -> Result<(Self, Needed), SyntaxError> {
        match text {
            Text::Term(text) | Text::Phrase(text) => {
                check(text)?;
                let folded = fold_text(text);
                let needed = Needed::of_literal(&folded);
                Ok((Self::Literal(Finder::new(&folded).into_owned()), needed))
            }
            Text::Wildcard(text) => {
                check(text)?;
                let elements = read_glob(text);
                let needed = Needed::of_elements(&elements);
                Ok((Self::Glob(elements), needed))
            }
            Text::Fixed { text, ignore_case } => {
                check(text)?;
                let needed = Needed::of_substring(text, *ignore_case);
                let matcher = if *ignore_case {
                    Self::Regex(compile_regex(&regex::escape(text), true)?.0)
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
                Ok((Self::Near(Near::new(&folded, *within)), needed))
            }
            Text::Network(network) => {
                let parts = network.fixed_parts().into_iter();
                let needed = Needed::of_terms(parts.map(NeededTerm::Term).collect());
                Ok((Self::Network(*network), needed))
            }
            Text::Multiline {
                pattern,
                ignore_case,
            } => {
                let regex = RegexBuilder::new(pattern)
                    .multi_line(true)
                    .case_insensitive(*ignore_case)
                    .size_limit(PATTERN_MAX)
                    .build();
                let regex = regex.map_err(|error| unusable(&error))?;
                Ok((Self::Whole(regex), Needed::of_terms(Vec::new())))
            }
            Text::Regex {
                pattern,
                ignore_case,
            } => {
                let (regex, hir) = compile_regex(pattern, *ignore_case)?;
                Ok((Self::Regex(regex), Needed::of_pattern(&hir)))
            }
        }
    }

    /// Whether it is given the text in lower case.
    pub(super) fn folds(&self) -> bool {
        !matches!(
            self,
            Self::Fixed(_) | Self::Regex(_) | Self::Network(_) | Self::Whole(_)
        )
    }

    /// The first match that begins at `from` or later. Never spans a line.
    pub(super) fn find_at(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        match self {
            Self::Literal(finder) => find_literal(finder, text, from),
            Self::Glob(elements) => find_glob(elements, text, from),
            Self::Alike(alike) => alike.find(text, from),
            Self::Near(near) => near.find(text, from),
            Self::Network(network) => network.find(text, from),
            Self::Whole(_) => None,
            Self::LineEnd(crossing) => crossing.find_end(text, from),
            Self::LineStart(crossing) => crossing.find_start(text, from),
            Self::Fixed(finder) => {
                let at = from + finder.find(text.as_bytes().get(from..)?)?;
                Some((at, at + finder.needle().len()))
            }
            Self::Regex(regex) => {
                (from <= text.len()).then_some(())?;
                let found = regex.find_at(text, from)?;
                Some((found.start(), found.end()))
            }
        }
    }
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

fn char_before(text: &str, at: usize) -> Option<char> {
    text.get(..at)?.chars().next_back()
}

fn char_at(text: &str, at: usize) -> Option<char> {
    text.get(at..)?.chars().next()
}

/// Whether a word is cut at this place.
fn cuts_a_word(text: &str, at: usize) -> bool {
    char_before(text, at).is_some_and(is_word) && char_at(text, at).is_some_and(is_word)
}

pub(super) fn find_literal(finder: &Finder<'_>, text: &str, from: usize) -> Option<(usize, usize)> {
    let mut from = from;
    loop {
        let start = from + finder.find(text.as_bytes().get(from..)?)?;
        let end = start + finder.needle().len();
        if !cuts_a_word(text, start) && !cuts_a_word(text, end) {
            return Some((start, end));
        }
        from = start + char_at(text, start).map_or(1, char::len_utf8);
    }
}

fn read_glob(text: &str) -> Vec<Element> {
    let mut elements: Vec<Element> = text
        .chars()
        .map(|c| match c {
            '*' => Element::Any,
            '?' => Element::One,
            c => Element::Character(fold(c)),
        })
        .collect();
    elements.dedup_by(|a, b| *a == Element::Any && *b == Element::Any);
    elements
}

fn find_glob(elements: &[Element], text: &str, from: usize) -> Option<(usize, usize)> {
    let wordly = elements.first().is_some_and(|first| first.is_wordly());
    let mut before = char_before(text, from);
    for (place, c) in text.get(from..)?.char_indices() {
        let start = from + place;
        let begins = !wordly || !before.is_some_and(is_word);
        before = Some(c);
        if begins && let Some(end) = match_glob(elements, text, start) {
            return Some((start, end));
        }
    }
    None
}

/// Where a match that begins at `start` ends. Going back to the last `*` is
/// enough: an earlier one could only have taken more of the same word.
fn match_glob(elements: &[Element], text: &str, start: usize) -> Option<usize> {
    let ends_wordly = elements.last().is_some_and(|last| last.is_wordly());
    let (mut at, mut element) = (start, 0);
    let mut last_any: Option<(usize, usize)> = None;
    loop {
        let c = char_at(text, at);
        let step = match elements.get(element) {
            None if !(ends_wordly && cuts_a_word(text, at)) => return Some(at),
            None => None,
            Some(Element::Any) => {
                last_any = Some((element + 1, at));
                element += 1;
                continue;
            }
            Some(Element::One) => c.filter(|c| is_word(*c)),
            Some(Element::Character(wanted)) => c.filter(|c| c == wanted),
        };
        if let Some(c) = step {
            at += c.len_utf8();
            element += 1;
            continue;
        }
        let (after, taken) = last_any?;
        let more = char_at(text, taken).filter(|c| is_word(*c))?;
        at = taken + more.len_utf8();
        element = after;
        last_any = Some((after, at));
    }
}

/// Compiles a pattern whose matches lie within a line: line feeds are taken
/// out of every class, and `^ $` hold at line ends, before a CR too.
fn compile_regex(pattern: &str, ignore_case: bool) -> Result<(Regex, Hir), SyntaxError> {
    let hir = regex_syntax::ParserBuilder::new()
        .multi_line(true)
        .crlf(true)
        .case_insensitive(ignore_case)
        .build()
        .parse(pattern)
        .map_err(|error| pattern_error(pattern, &error))?;
    let hir = within_line(hir)?;
    let regex = RegexBuilder::new(&hir.to_string())
        .size_limit(PATTERN_MAX)
        .build()
        .map_err(|error| unusable(&error))?;
    Ok((regex, hir))
}

fn unusable(error: &regex::Error) -> SyntaxError {
    SyntaxError::new(0, format!("the pattern cannot be used: {error}"))
}

fn pattern_error(pattern: &str, error: &regex_syntax::Error) -> SyntaxError {
    let (message, offset) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.offset),
        regex_syntax::Error::Translate(error) => {
            (error.kind().to_string(), error.span().start.offset)
        }
        other => (other.to_string(), 0),
    };
    let at = pattern.get(..offset).map_or(0, |head| head.chars().count());
    SyntaxError::new(at, format!("the pattern cannot be read: {message}"))
        .hint("use --fixed to find it as it stands")
}

fn within_line(hir: Hir) -> Result<Hir, SyntaxError> {
    let all = |parts: Vec<Hir>| parts.into_iter().map(within_line).collect::<Result<_, _>>();
    Ok(match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => {
            if literal.0.contains(&b'\n') {
                return Err(SyntaxError::new(0, "a pattern never matches a line feed")
                    .hint("search for the two lines one by one"));
            }
            Hir::literal(literal.0)
        }
        HirKind::Class(Class::Unicode(mut class)) => {
            let feed = ClassUnicodeRange::new('\n', '\n');
            class.difference(&ClassUnicode::new([feed]));
            Hir::class(Class::Unicode(class))
        }
        HirKind::Class(Class::Bytes(mut class)) => {
            let feed = regex_syntax::hir::ClassBytesRange::new(b'\n', b'\n');
            class.difference(&regex_syntax::hir::ClassBytes::new([feed]));
            Hir::class(Class::Bytes(class))
        }
        HirKind::Look(Look::Start) => Hir::look(Look::StartCRLF),
        HirKind::Look(Look::End) => Hir::look(Look::EndCRLF),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(mut repetition) => {
            repetition.sub = Box::new(within_line(*repetition.sub)?);
            Hir::repetition(repetition)
        }
        HirKind::Capture(capture) => within_line(*capture.sub)?,
        HirKind::Concat(parts) => Hir::concat(all(parts)?),
        HirKind::Alternation(parts) => Hir::alternation(all(parts)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(text: &Text, line: &str) -> bool {
        let (matcher, needed) = Matcher::compile(text).unwrap();
        let folded = fold_text(line);
        let hay = if matcher.folds() { &folded } else { line };
        let found = matcher.find_at(hay, 0).is_some();
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
        assert!(!finds(&glob("*a*a*a*a*b"), &long));
    }

    #[test]
    fn a_pattern_never_leaves_its_line() {
        let regex = |p: &str| {
            Matcher::compile(&Text::Regex {
                pattern: p.into(),
                ignore_case: false,
            })
        };
        let (matcher, _) = regex(r"a\s*[^x]b$").unwrap();
        assert_eq!(matcher.find_at("a\n b\r\n", 0), None);
        assert_eq!(matcher.find_at("\na  b\r\n", 0), Some((1, 5)));
        assert!(regex(r"a\nb").is_err());
        assert!(regex(r"a[\n]b").is_err());
        let error = regex("ab(c").err().unwrap();
        assert_eq!(error.at, 2);
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
