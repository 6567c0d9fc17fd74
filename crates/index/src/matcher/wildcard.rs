//! A word or phrase with `*` and `?` in it, in folded text.

use memchr::memmem::Finder;

use crate::codec::tokenizer::{fold, is_word};
use crate::matcher::{Borders, char_at, char_before, cuts_a_word};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    Character(char),
    /// One word character.
    One,
    /// Any number of word characters.
    Any,
}

impl Element {
    pub(crate) fn is_wordly(self) -> bool {
        match self {
            Self::Character(c) => is_word(c),
            Self::One | Self::Any => true,
        }
    }
}

pub(crate) fn read_elements(text: &str) -> Vec<Element> {
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

/// What is left without a `*` at either end, which says no more than that the
/// word may go on there.
pub(crate) fn without_ends(elements: &[Element]) -> (&[Element], Borders) {
    let mut borders = Borders::BOTH;
    let mut inner = elements;
    if elements == [Element::Any] {
        return (inner, borders);
    }
    if let [Element::Any, rest @ ..] = inner {
        (inner, borders.begin) = (rest, false);
    }
    if let [rest @ .., Element::Any] = inner {
        (inner, borders.end) = (rest, false);
    }
    (inner, borders)
}

/// The text, where nothing in it stands for anything else.
pub(crate) fn as_literal(elements: &[Element]) -> Option<String> {
    let characters = elements.iter().map(|element| match element {
        Element::Character(c) => Some(*c),
        Element::One | Element::Any => None,
    });
    characters.collect()
}

/// Finds elements that no `*` begins or ends.
#[derive(Clone)]
pub(crate) struct Glob {
    /// Up to the first `*`.
    head: Vec<Element>,
    /// From there on; none where there is no `*`.
    tail: Vec<Element>,
    pub(crate) borders: Borders,
    /// How many `?` the head begins with, and the characters behind them: a
    /// match is looked for by these.
    ones: usize,
    run: Option<Finder<'static>>,
}

impl Glob {
    pub(crate) fn new(elements: &[Element], borders: Borders) -> Self {
        let any = elements.iter().position(|e| *e == Element::Any);
        let (head, tail) = elements.split_at(any.unwrap_or(elements.len()));
        let ones = head.iter().take_while(|e| **e == Element::One).count();
        let run = head[ones..].iter().map_while(|element| match element {
            Element::Character(c) => Some(*c),
            _ => None,
        });
        let run: String = run.collect();
        Self {
            head: head.to_vec(),
            tail: tail.to_vec(),
            borders,
            ones,
            run: (!run.is_empty()).then(|| Finder::new(&run).into_owned()),
        }
    }

    /// Whether a match has no bound.
    pub(crate) fn is_unbounded(&self) -> bool {
        !self.tail.is_empty()
    }

    /// Whether some match may be as long as a text.
    pub(crate) fn may_cover(&self, text: &str) -> bool {
        let elements = self.head.iter().chain(&self.tail);
        let apart = elements.filter(|element| !element.is_wordly());
        text.chars().filter(|c| !is_word(*c)).count() <= apart.count()
    }

    /// The first match that begins from `from` on.
    ///
    /// **Cost**: in proportion to the text: what follows a `*` is sought once in
    /// a word, however many beginnings stand before it.
    pub(crate) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let mut at = from;
        let mut hopeless = None;
        while let Some(start) = self.next_start(text, at) {
            at = start + char_at(text, start).map_or(1, char::len_utf8);
            let behind = match_elements(&self.head, text, start);
            let Some(behind) = behind.filter(|behind| hopeless < Some(*behind)) else {
                continue;
            };
            match self.end_of_tail(text, behind) {
                Some(end) => return Some((start, end)),
                None if self.is_unbounded() => hopeless = Some(end_of_word(text, behind)),
                None => {}
            }
        }
        None
    }

    /// Where a match may begin next.
    fn next_start(&self, text: &str, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            let start = match &self.run {
                Some(run) => {
                    let found = at + run.find(text.as_bytes().get(at..)?)?;
                    at = found + char_at(text, found).map_or(1, char::len_utf8);
                    self.before_run(text, from, found)
                }
                None => {
                    let start = at;
                    at += char_at(text, at)?.len_utf8();
                    Some(start)
                }
            };
            if let Some(start) = start.filter(|start| self.may_begin(text, *start)) {
                return Some(start);
            }
        }
    }

    /// Goes back over what the `?` before the run stand for.
    fn before_run(&self, text: &str, from: usize, run: usize) -> Option<usize> {
        let before = text.get(from..run)?.chars().rev().take(self.ones);
        let (count, bytes) = before
            .take_while(|c| is_word(*c))
            .fold((0, 0), |(count, bytes), c| {
                (count + 1, bytes + c.len_utf8())
            });
        (count == self.ones).then(|| run - bytes)
    }

    fn may_begin(&self, text: &str, start: usize) -> bool {
        let is_wordly = self.head.first().is_some_and(|first| first.is_wordly());
        !(self.borders.begin && is_wordly && char_before(text, start).is_some_and(is_word))
    }

    fn ends_at(&self, text: &str, end: usize) -> bool {
        let last = self.tail.last().or(self.head.last());
        let is_wordly = last.is_some_and(|last| last.is_wordly());
        !(self.borders.end && is_wordly && cuts_a_word(text, end))
    }

    /// Where the match ends whose head ends at `at`. Going back to the last `*`
    /// is enough: an earlier one could only have taken more of the same word.
    fn end_of_tail(&self, text: &str, at: usize) -> Option<usize> {
        let mut pieces = self.tail.split(|element| *element == Element::Any).skip(1);
        let Some(mut piece) = pieces.next() else {
            return Some(at).filter(|at| self.ends_at(text, *at));
        };
        let mut from = at;
        loop {
            let next = pieces.next();
            let mut ends = starts_in_word(text, from).filter_map(|start| {
                let end = match_elements(piece, text, start)?;
                (next.is_some() || self.ends_at(text, end)).then_some(end)
            });
            let end = ends.next()?;
            match next {
                Some(next) => (piece, from) = (next, end),
                None => return Some(end),
            }
        }
    }
}

/// Where elements without a `*` end that begin at a place.
fn match_elements(elements: &[Element], text: &str, start: usize) -> Option<usize> {
    let mut at = start;
    for element in elements {
        let c = char_at(text, at)?;
        let is_it = match element {
            Element::Character(wanted) => c == *wanted,
            Element::One | Element::Any => is_word(c),
        };
        at += is_it.then_some(c.len_utf8())?;
    }
    Some(at)
}

/// A place and all behind it up to the end of the word it lies in.
fn starts_in_word(text: &str, from: usize) -> impl Iterator<Item = usize> {
    let rest = text.get(from..).unwrap_or("");
    let characters = rest.chars().take_while(|c| is_word(*c));
    let ends = characters.scan(from, |at, c| {
        *at += c.len_utf8();
        Some(*at)
    });
    std::iter::once(from).chain(ends)
}

/// The end of the word a place lies in.
fn end_of_word(text: &str, from: usize) -> usize {
    starts_in_word(text, from).last().unwrap_or(from)
}
