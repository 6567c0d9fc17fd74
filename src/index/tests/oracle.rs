//! A raw scan of whole texts: slow, simple, and written without the room.

use std::cell::RefCell;
use std::collections::HashMap;

use super::{Answer, Member, plan};
use crate::evidence::Time;

/// What is to be found in a line.
pub(super) enum Wanted {
    Term(String),
    Fixed(String),
    /// A substring in any case.
    AnyCase(regex::Regex),
    /// In a line without its end: no option about lines is needed.
    Regex(regex::Regex),
}

impl Wanted {
    pub(super) fn regex(pattern: &str) -> Self {
        Self::Regex(regex::Regex::new(pattern).unwrap())
    }

    pub(super) fn any_case(text: &str) -> Self {
        let pattern = format!("(?i){}", regex::escape(text));
        Self::AnyCase(regex::Regex::new(&pattern).unwrap())
    }
}

/// The first of all characters that are one in any case, by the tables of
/// `regex-syntax`.
pub(super) fn one_case(c: char) -> char {
    use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};
    thread_local! {
        static KNOWN: RefCell<HashMap<char, char>> = RefCell::default();
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

impl Wanted {
    /// Byte place and length of the first match in a line with its end.
    fn find(&self, line: &str) -> Option<(usize, usize)> {
        let matched = |regex: &regex::Regex, text| {
            let found = regex.find(text)?;
            Some((found.start(), found.len()))
        };
        match self {
            Self::Fixed(text) => line.find(text.as_str()).map(|at| (at, text.len())),
            Self::AnyCase(regex) => matched(regex, line),
            Self::Regex(regex) => matched(regex, body(line)),
            Self::Term(term) => {
                let line: Vec<char> = line.chars().collect();
                let folded: Vec<char> = line.iter().map(|c| one_case(*c)).collect();
                let term: Vec<char> = term.chars().map(one_case).collect();
                let at = (0..folded.len()).find(|at| {
                    let before = at.checked_sub(1).and_then(|at| folded.get(at));
                    let end = at + term.len();
                    folded[*at..].starts_with(&term)
                        && !(wordly(before) && wordly(term.first()))
                        && !(wordly(term.last()) && wordly(folded.get(end)))
                })?;
                let bytes = |chars: &[char]| chars.iter().map(|c| c.len_utf8()).sum::<usize>();
                Some((bytes(&line[..at]), bytes(&line[at..at + term.len()])))
            }
        }
    }

    pub(super) fn is_in(&self, member: &Member) -> bool {
        let mut lines = member
            .texts
            .iter()
            .flat_map(|(_, text)| text.split_inclusive('\n'));
        lines.any(|line| self.find(line).is_some())
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
            let mut offset = 0;
            for (n, line) in text.split_inclusive('\n').enumerate() {
                if let Some((at, len)) = wanted.find(line) {
                    answers.push((
                        member.id.to_string(),
                        plan::joined(&layers),
                        n as u64 + 1,
                        (offset + at) as u64,
                        len as u64,
                    ));
                }
                offset += line.len();
            }
        }
    }
    answers
}
