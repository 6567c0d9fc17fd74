//! A raw scan of whole texts: slow, simple, and written without the room.

mod addresses;
mod texts;
mod words;

use std::cell::RefCell;
use std::net::IpAddr;

use rustc_hash::FxHashMap;

pub(super) use self::words::Folded;
use super::{Answer, Member, plan};
use crate::evidence::Time;

/// What is to be found.
pub(super) enum Wanted {
    Term(String),
    Fixed(String),
    /// A substring in any case.
    AnyCase(String),
    /// In a line without its end: no option about lines is needed.
    Regex(regex::Regex),
    Wildcard(String),
    /// A word, and how many characters it may differ by.
    Alike(String, usize),
    /// Words, and how many others may stand between them.
    Near(Vec<String>, usize),
    /// A network's address and its bits.
    Network(IpAddr, usize),
    /// Words with blanks or a line end between them.
    Phrase(String),
    /// In a text as a whole.
    Multiline(regex::Regex),
}

impl Wanted {
    pub(super) fn regex(pattern: &str) -> Self {
        Self::Regex(regex::Regex::new(pattern).unwrap())
    }

    /// `$` stands before carriage returns too.
    pub(super) fn multiline(pattern: &str, ignore_case: bool) -> Self {
        let pattern = pattern.replace('$', r"(?:$|(?R:$))");
        let mut regex = regex::RegexBuilder::new(&pattern);
        let regex = regex.multi_line(true).case_insensitive(ignore_case);
        Self::Multiline(regex.build().unwrap())
    }

    pub(super) fn any_case(text: &str) -> Self {
        Self::AnyCase(text.to_string())
    }
}

/// The first of all characters that are one in any case, by the tables of
/// `regex-syntax`.
pub(super) fn one_case(c: char) -> char {
    use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};
    thread_local! {
        static KNOWN: RefCell<FxHashMap<char, char>> = RefCell::default();
    }
    if c.is_ascii() {
        return c.to_ascii_uppercase();
    }
    KNOWN.with_borrow_mut(|known| {
        *known.entry(c).or_insert_with(|| {
            let mut orbit = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
            orbit.case_fold_simple();
            orbit.ranges()[0].start()
        })
    })
}

fn wordly(c: Option<&char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || *c == '_')
}

/// Without the line feed and a carriage return before it.
fn body(line: &str) -> &str {
    let without_feed = line.strip_suffix('\n');
    without_feed.map_or(line, |line| line.strip_suffix('\r').unwrap_or(line))
}

/// Where a text first matches in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1.
    pub(super) line: u64,
    /// **Units**: bytes of the text before the match.
    pub(super) offset: u64,
    /// **Units**: bytes of the match.
    pub(super) len: u64,
}

impl Wanted {
    /// Byte place and length of the first match in a line with its end.
    fn find(&self, line: &str) -> Option<(usize, usize)> {
        match self {
            Self::Fixed(text) => line.find(text.as_str()).map(|at| (at, text.len())),
            Self::AnyCase(text) => words::any_case(&Folded::new(line), text),
            Self::Regex(regex) => {
                let found = regex.find(body(line))?;
                Some((found.start(), found.len()))
            }
            Self::Term(text) => words::term(&Folded::new(line), text),
            Self::Wildcard(text) => words::wildcard(&Folded::new(line), text),
            Self::Alike(word, distance) => words::alike(&Folded::new(line), word, *distance),
            Self::Near(all, within) => words::near(&Folded::new(line), all, *within),
            Self::Network(address, bits) => addresses::find(line, *address, *bits),
            Self::Phrase(_) | Self::Multiline(_) => None,
        }
    }

    /// The first match of every line of a text.
    pub(super) fn places(&self, text: &str) -> Vec<Place> {
        match self {
            Self::Phrase(phrase) => texts::phrase(text, phrase),
            Self::Multiline(regex) => texts::multiline(text, regex),
            _ => {
                let (mut offset, mut places) = (0, Vec::new());
                for (n, line) in text.split_inclusive('\n').enumerate() {
                    places.extend(self.find(line).map(|(at, len)| Place {
                        line: n as u64 + 1,
                        offset: (offset + at) as u64,
                        len: len as u64,
                    }));
                    offset += line.len();
                }
                places
            }
        }
    }

    pub(super) fn is_in(&self, member: &Member) -> bool {
        let mut texts = member.texts.iter();
        texts.any(|(_, text)| !self.places(text).is_empty())
    }
}

/// Every hit, in order, of members that `judge` lets pass.
pub(super) fn scan(
    members: &[Member],
    wanted: &Wanted,
    judge: impl Fn(&Member) -> bool,
) -> Vec<Answer> {
    let mut members: Vec<&Member> = members.iter().filter(|member| judge(member)).collect();
    members.sort_by_key(|member| {
        let time = member.time.as_ref().and_then(Time::instant);
        (time.is_none(), time, member.id)
    });
    let mut answers = Vec::new();
    for member in members {
        for (part, text) in &member.texts {
            let mut layers = member.layers.clone();
            layers.extend(part.clone());
            let path = plan::joined(&layers);
            for Place { line, offset, len } in wanted.places(text) {
                answers.push((member.id.to_string(), path.clone(), line, offset, len));
            }
        }
    }
    answers
}
