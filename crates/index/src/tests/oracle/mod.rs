//! A raw scan of whole texts: slow, simple, and written without the room.

mod addresses;
mod texts;
mod words;

use std::cell::RefCell;
use std::net::IpAddr;

use rustc_hash::FxHashMap;

use crate::search::compiled_query as plan;
pub(crate) use crate::tests::oracle::words::Folded;
use crate::tests::{Answer, Member};
use evidence::Time;

/// What is to be found.
pub(crate) enum Wanted {
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
    IpNetwork(IpAddr, usize),
    /// Words with blanks or a line end between them.
    Phrase(String),
    /// In a text as a whole.
    Multiline(regex::Regex),
}

impl Wanted {
    pub(crate) fn regex(pattern: &str) -> Self {
        Self::Regex(regex::Regex::new(pattern).unwrap())
    }

    /// `$` stands before carriage returns too.
    pub(crate) fn multiline(pattern: &str, ignore_case: bool) -> Self {
        let pattern = pattern.replace('$', r"(?:$|(?R:$))");
        let mut regex = regex::RegexBuilder::new(&pattern);
        let regex = regex.multi_line(true).case_insensitive(ignore_case);
        Self::Multiline(regex.build().unwrap())
    }

    pub(crate) fn any_case(text: &str) -> Self {
        Self::AnyCase(text.to_string())
    }
}

/// The first of all characters that are one in any case, by the tables of
/// `regex-syntax`.
pub(crate) fn one_case(c: char) -> char {
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
pub(crate) struct Place {
    /// From 1.
    pub(crate) line: u64,
    /// **Units**: bytes of the text before the match.
    pub(crate) offset: u64,
    /// **Units**: bytes of the match.
    pub(crate) len: u64,
}

impl Wanted {
    /// Byte place and length of the first match in a line with its end.
    fn find(&self, line: &str) -> Option<(usize, usize)> {
        match self {
            Self::Fixed(text) => line.find(text.as_str()).map(|at| (at, text.len())),
            Self::AnyCase(text) => crate::tests::oracle::words::any_case(&Folded::new(line), text),
            Self::Regex(regex) => {
                let found = regex.find(body(line))?;
                Some((found.start(), found.len()))
            }
            Self::Term(text) => crate::tests::oracle::words::term(&Folded::new(line), text),
            Self::Wildcard(text) => crate::tests::oracle::words::wildcard(&Folded::new(line), text),
            Self::Alike(word, distance) => {
                crate::tests::oracle::words::alike(&Folded::new(line), word, *distance)
            }
            Self::Near(all, within) => {
                crate::tests::oracle::words::near(&Folded::new(line), all, *within)
            }
            Self::IpNetwork(address, bits) => {
                crate::tests::oracle::addresses::find(line, *address, *bits)
            }
            Self::Phrase(_) | Self::Multiline(_) => None,
        }
    }

    /// The first match of every line of a text.
    pub(crate) fn places(&self, text: &str) -> Vec<Place> {
        match self {
            Self::Phrase(phrase) => crate::tests::oracle::texts::phrase(text, phrase),
            Self::Multiline(regex) => crate::tests::oracle::texts::multiline(text, regex),
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

    pub(crate) fn is_in(&self, member: &Member) -> bool {
        let mut texts = member.texts.iter();
        texts.any(|(_, text)| !self.places(text).is_empty())
    }
}

/// Every hit, in order, of members that `judge` lets pass.
pub(crate) fn scan(
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
