//! A raw scan of whole texts: slow, simple, and written without the room.

use super::{Answer, Member, plan};
use crate::evidence::Time;

/// What is to be found in a line.
pub(super) enum Wanted {
    Term(String),
    Fixed(String),
    Regex(regex::Regex),
}

fn lower(c: char) -> char {
    let all: Vec<char> = c.to_lowercase().collect();
    if all.len() == 1 { all[0] } else { c }
}

fn wordly(c: Option<&char>) -> bool {
    c.is_some_and(|c| c.is_alphanumeric() || *c == '_')
}

impl Wanted {
    /// Byte place and length of the first match in a line.
    fn find(&self, line: &str) -> Option<(usize, usize)> {
        match self {
            Self::Fixed(text) => line.find(text.as_str()).map(|at| (at, text.len())),
            Self::Regex(regex) => regex.find(line).map(|m| (m.start(), m.len())),
            Self::Term(term) => {
                let line: Vec<char> = line.chars().collect();
                let folded: Vec<char> = line.iter().map(|c| lower(*c)).collect();
                let term: Vec<char> = term.chars().map(lower).collect();
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
        let mut lines = member.texts.iter().flat_map(|(_, text)| text.split('\n'));
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
                let found = wanted
                    .find(line)
                    .filter(|(at, _)| *at < line.len() || !line.ends_with('\n'));
                if let Some((at, len)) = found {
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
