//! What every line that matches a text must have: words, by which the terms
//! are asked, and runs of characters, by which the 4-grams are.

use regex_syntax::hir::Hir;

use crate::codec::tokenizer::{decided_term, fold_text, is_word};
use crate::matcher::fuzzy::Alike;
use crate::matcher::wildcard::Element;
use crate::segment::ngrams::GramQuery;

/// What must be among the terms of a matching line.
#[derive(Clone)]
pub(crate) enum NeededTerm {
    Term(String),
    /// One of these.
    Any(Vec<String>),
    Prefix(String),
    Alike(Alike),
}

impl std::fmt::Debug for NeededTerm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Term(term) => f.write_str(term),
            Self::Any(terms) => f.write_str(&terms.join("|")),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Alike(_) => f.write_str("~"),
        }
    }
}

/// What must be in a matching line.
#[derive(Clone, Debug)]
pub(crate) struct Needed {
    /// All of these.
    pub(crate) terms: Vec<NeededTerm>,
    /// A line that has the terms matches: its text need not be read.
    pub(crate) is_decided: bool,
    pub(crate) grams: GramQuery,
}

impl Needed {
    /// By a literal with word borders, or a wildcard.
    pub(crate) fn of_elements(elements: &[Element]) -> Self {
        let words = elements.split(|element| !element.is_wordly());
        let terms = words.filter_map(|word| {
            let written = written(word);
            term_of(&written, written.chars().count() == word.len())
        });
        let literals = elements.split(|element| !matches!(element, Element::Character(_)));
        let is_word = elements
            .iter()
            .all(|element| matches!(element, Element::Character(c) if is_word(*c)));
        Self {
            terms: terms.collect(),
            is_decided: is_word && decided_term(&written(elements)).is_none(),
            grams: GramQuery::every(literals.map(|run| GramQuery::of_text(&written(run)))),
        }
    }

    /// By a literal with word borders, in lower case.
    pub(crate) fn of_literal(folded: &str) -> Self {
        let elements: Vec<Element> = folded.chars().map(Element::Character).collect();
        Self::of_elements(&elements)
    }

    /// By a substring: its 4-grams, or the words within it where it has none.
    pub(crate) fn of_substring(text: &str, ignore_case: bool) -> Self {
        let grams = GramQuery::of_text(text);
        let terms = match ignore_case || grams.narrows() {
            true => Vec::new(),
            false => terms_inside(&fold_text(text)),
        };
        Self {
            terms,
            is_decided: false,
            grams,
        }
    }

    /// By these terms alone.
    pub(crate) fn of_terms(terms: Vec<NeededTerm>) -> Self {
        Self {
            terms,
            is_decided: false,
            grams: GramQuery::Anything,
        }
    }

    /// By all of these.
    pub(crate) fn every(parts: impl IntoIterator<Item = Self>) -> Self {
        let (mut terms, mut grams) = (Vec::new(), Vec::new());
        for part in parts {
            terms.extend(part.terms);
            grams.push(part.grams);
        }
        Self {
            terms,
            is_decided: false,
            grams: GramQuery::every(grams),
        }
    }

    /// By a regular expression.
    pub(crate) fn of_pattern(hir: &Hir) -> Self {
        Self {
            terms: Vec::new(),
            is_decided: false,
            grams: GramQuery::of_pattern(hir),
        }
    }
}

/// The characters that are written out from the beginning.
fn written(elements: &[Element]) -> String {
    let characters = elements.iter().map_while(|element| match element {
        Element::Character(c) => Some(*c),
        _ => None,
    });
    characters.collect()
}

/// What a line needs to hold a word that begins so, or is so.
fn term_of(written: &str, is_whole: bool) -> Option<NeededTerm> {
    match decided_term(written) {
        _ if written.is_empty() => None,
        Some(term) => Some(NeededTerm::Term(term)),
        None if is_whole => Some(NeededTerm::Term(written.to_string())),
        None => Some(NeededTerm::Prefix(written.to_string())),
    }
}

/// Of a substring, whose first word may be the end of a longer one, its last
/// the beginning.
fn terms_inside(folded: &str) -> Vec<NeededTerm> {
    let Some(border) = folded.find(|c| !is_word(c)) else {
        return Vec::new();
    };
    let words: Vec<&str> = folded[border..].split(|c| !is_word(c)).collect();
    let last = words.len() - 1;
    let words = words.iter().enumerate();
    words
        .filter_map(|(n, word)| term_of(word, n < last))
        .collect()
}

#[cfg(test)]
impl Needed {
    /// Whether a line that matches has what is needed.
    pub(crate) fn assert_in(&self, line: &str) {
        let (mut at, mut term, mut terms) = (0, String::new(), Vec::new());
        while let Some(end) = crate::codec::tokenizer::next_term(line, at, &mut term) {
            at = end;
            terms.push(term.clone());
        }
        for needed in &self.terms {
            assert!(
                terms.iter().any(|term| match needed {
                    NeededTerm::Term(wanted) => term == wanted,
                    NeededTerm::Any(wanted) => wanted.contains(term),
                    NeededTerm::Prefix(prefix) => term.starts_with(prefix),
                    NeededTerm::Alike(alike) => alike.may_be(term),
                }),
                "{needed:?} is not among {terms:?}"
            );
        }
        let lists =
            crate::segment::ngrams::build(std::iter::once(std::iter::once(line.as_bytes())));
        let found = crate::segment::ngrams::Lists::open(&lists)
            .unwrap()
            .find(&self.grams);
        assert_eq!(found.unwrap(), [0], "{:?} is not in {line}", self.grams);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_substring_needs_only_the_words_it_holds_whole() {
        assert_eq!(
            format!("{:?}", terms_inside("ows temp fil")),
            "[temp, fil*]"
        );
        assert!(terms_inside("ows").is_empty());
    }

    #[test]
    fn a_word_shorter_than_its_term_may_be_is_decided() {
        let of = |text: &str| {
            let elements: Vec<Element> = text.chars().map(Element::Character).collect();
            Needed::of_elements(&elements).is_decided
        };
        assert!(of("mimikatz") && of("pid_number1") && of("4624") && of("a"));
        assert!(!of("evil.exe") && !of("46240") && !of("averylongwordindeed") && !of(":"));
    }
}
