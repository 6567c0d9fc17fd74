//! What a pattern's matches must hold, in grams: read off its parsed form.
//!
//! Small sets of strings are carried through the pattern, so that
//! `(foo|bar)baz` needs `foobaz` or `barbaz`; where a set grows too large, or
//! something may be anything, what is known so far becomes a condition and the
//! ends of the strings are kept to join with what follows. What may be one of
//! several characters stays one string: `[aeiou]{4}` is four sets in a row.

use std::collections::{BTreeSet, HashSet};

use regex_syntax::hir::{Class, Hir, HirKind};

use crate::segment::ngrams::gram::{Choice, Gram};
use crate::segment::ngrams::{LEN, class};

/// Strings carried at once.
const STRINGS_MAX: usize = 64;
/// **Units**: characters of a string that is carried.
const STRING_MAX: usize = 256;
/// Characters of a class that are looked at: more fall into every class of
/// characters there is.
const CLASS_MAX: usize = 1024;
/// How often a counted repetition is written out.
const TIMES_MAX: u32 = 8;
/// **Units**: characters of a literal whose grams are asked for: little enough
/// to lie whole in one part of a line of any length.
const LITERAL_MAX: usize = 1024;
/// Alternatives of one condition.
const EITHER_MAX: usize = 1024;
/// A gram that is one of so few is asked for beside others of its string.
const CHOICES_FEW: u32 = 16;
/// One of more than so many stands in every group, or nearly.
const CHOICES_MAX: u32 = 1024;
/// Pairs of characters a gram may begin with: of each all lists are looked
/// through, so many are about a hundredth of all.
const PAIRS_MAX: u32 = 64;

/// A condition that every match fulfils.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum GramQuery {
    /// Any text may match.
    Anything,
    /// All of these grams, which lie in one string.
    Literal(Vec<Gram>),
    Every(Vec<GramQuery>),
    Either(Vec<GramQuery>),
}

impl GramQuery {
    /// What holds `text`, in any case.
    pub(crate) fn of_text(text: &str) -> Self {
        of_string(&spelled(text))
    }

    /// Whether it tells some texts from others.
    pub(crate) fn narrows(&self) -> bool {
        *self != Self::Anything
    }

    /// What matches a pattern.
    pub(crate) fn of_pattern(hir: &Hir) -> Self {
        read(hir).condition()
    }

    /// All of these.
    pub(crate) fn every(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<Self> = Vec::new();
        for part in parts {
            match part {
                Self::Anything => {}
                Self::Every(parts) => all.extend(parts),
                part if all.contains(&part) => {}
                part => all.push(part),
            }
        }
        match all.len() {
            0 => Self::Anything,
            1 => all.remove(0),
            _ => Self::Every(all),
        }
    }

    /// One of these.
    fn either(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all: Vec<Self> = Vec::new();
        for part in parts {
            match part {
                Self::Anything => return Self::Anything,
                Self::Either(parts) => all.extend(parts),
                part => all.push(part),
            }
        }
        let mut seen = HashSet::new();
        all.retain(|part| seen.insert(part.clone()));
        match all.len() {
            1 => all.remove(0),
            2..=EITHER_MAX => Self::Either(all),
            _ => Self::Anything,
        }
    }
}

fn of_string(string: &[Choice]) -> GramQuery {
    let string = &string[..string.len().min(LITERAL_MAX)];
    let grams = || string.windows(LEN).filter_map(Gram::of);
    let few: Vec<Gram> = grams()
        .filter(|gram| gram.choices() <= CHOICES_FEW)
        .collect();
    if !few.is_empty() {
        return GramQuery::Literal(few);
    }
    let is_usable = |gram: &Gram| {
        gram.choices() <= CHOICES_MAX && gram.pairs() <= PAIRS_MAX && !gram.is_shorter()
    };
    match grams().filter(is_usable).min_by_key(Gram::choices) {
        Some(best) => GramQuery::Literal(vec![best]),
        None => GramQuery::Anything,
    }
}

fn spelled(text: &str) -> Vec<Choice> {
    text.chars().map(|c| Choice::of(class(c))).collect()
}

/// Strings of what each of their characters may be.
type Strings = BTreeSet<Vec<Choice>>;

fn of_any(strings: &Strings) -> GramQuery {
    GramQuery::either(strings.iter().map(|string| of_string(string)))
}

/// What is known of the texts a part of a pattern matches.
struct Known {
    /// All of them, where they are few.
    exact: Option<Strings>,
    /// How they begin and end; only where `exact` is not known.
    heads: Strings,
    tails: Strings,
    needed: GramQuery,
}

impl Known {
    fn exact(strings: Strings) -> Self {
        Self {
            exact: Some(strings),
            heads: Strings::new(),
            tails: Strings::new(),
            needed: GramQuery::Anything,
        }
    }

    fn empty() -> Self {
        Self::exact(Strings::from([Vec::new()]))
    }

    fn anything() -> Self {
        Self {
            exact: None,
            heads: Strings::from([Vec::new()]),
            tails: Strings::from([Vec::new()]),
            needed: GramQuery::Anything,
        }
    }

    fn condition(self) -> GramQuery {
        let strings = self.exact.as_ref().map_or(GramQuery::Anything, of_any);
        GramQuery::every([self.needed, strings])
    }

    /// Forgets the whole strings and keeps their ends.
    fn loose(self) -> Self {
        let Some(strings) = &self.exact else {
            return self;
        };
        Self {
            heads: begins(strings),
            tails: ends(strings),
            exact: None,
            needed: self.condition(),
        }
    }

    /// Where all strings are too many, too long or not wanted any more.
    fn bounded(self) -> Self {
        let is_large = self.exact.as_ref().is_some_and(|strings| {
            strings.len() > STRINGS_MAX || strings.iter().any(|s| s.len() > STRING_MAX)
        });
        if is_large { self.loose() } else { self }
    }

    fn then(self, next: Self) -> Self {
        if let (Some(a), Some(b)) = (&self.exact, &next.exact)
            && a.len() * b.len() <= STRINGS_MAX
        {
            return Self {
                exact: Some(joined(a, b)),
                heads: Strings::new(),
                tails: Strings::new(),
                needed: GramQuery::every([self.needed, next.needed]),
            }
            .bounded();
        }
        let heads = match &self.exact {
            Some(strings) => begins(&some_joined(strings, next.heads(), strings)),
            None => self.heads.clone(),
        };
        let tails = match &next.exact {
            Some(strings) => ends(&some_joined(self.tails(), strings, strings)),
            None => next.tails.clone(),
        };
        let unknown = Strings::from([Vec::new()]);
        let between = some_joined(&ends(self.tails()), &begins(next.heads()), &unknown);
        Self {
            exact: None,
            heads,
            tails,
            needed: GramQuery::every([self.condition(), of_any(&between), next.condition()]),
        }
    }

    fn heads(&self) -> &Strings {
        self.exact.as_ref().unwrap_or(&self.heads)
    }

    fn tails(&self) -> &Strings {
        self.exact.as_ref().unwrap_or(&self.tails)
    }

    fn or(self, other: Self) -> Self {
        if let (Some(a), Some(b)) = (&self.exact, &other.exact)
            && self.needed == other.needed
        {
            return Self {
                exact: Some(a.union(b).cloned().collect()),
                heads: Strings::new(),
                tails: Strings::new(),
                needed: self.needed,
            }
            .bounded();
        }
        let (a, b) = (self.loose(), other.loose());
        Self {
            exact: None,
            heads: few(a.heads, b.heads),
            tails: few(a.tails, b.tails),
            needed: GramQuery::either([a.needed, b.needed]),
        }
    }
}

/// What of each string a gram with something before it can hold.
fn begins(strings: &Strings) -> Strings {
    let strings = strings.iter();
    strings
        .map(|s| s[..s.len().min(LEN - 1)].to_vec())
        .collect()
}

fn ends(strings: &Strings) -> Strings {
    let end = |s: &Vec<Choice>| s[s.len().saturating_sub(LEN - 1)..].to_vec();
    strings.iter().map(end).collect()
}

/// Every string followed by every other, or `instead` where that is too much.
fn some_joined(a: &Strings, b: &Strings, instead: &Strings) -> Strings {
    if a.len() * b.len() > STRINGS_MAX {
        return instead.clone();
    }
    joined(a, b)
}

fn joined(a: &Strings, b: &Strings) -> Strings {
    let pairs = a.iter().flat_map(|a| b.iter().map(move |b| (a, b)));
    pairs.map(|(a, b)| [a.as_slice(), b].concat()).collect()
}

/// Both together; nothing known where they are too many.
fn few(mut a: Strings, b: Strings) -> Strings {
    a.extend(b);
    if a.len() > STRINGS_MAX {
        return Strings::from([Vec::new()]);
    }
    a
}

fn read(hir: &Hir) -> Known {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Known::empty(),
        HirKind::Literal(literal) => match std::str::from_utf8(&literal.0) {
            Ok(text) => Known::exact(Strings::from([spelled(text)])).bounded(),
            Err(_) => Known::anything(),
        },
        HirKind::Class(class) => read_class(class),
        HirKind::Capture(capture) => read(&capture.sub),
        HirKind::Concat(parts) => parts
            .iter()
            .map(read)
            .reduce(Known::then)
            .unwrap_or_else(Known::empty),
        HirKind::Alternation(parts) => parts
            .iter()
            .map(read)
            .reduce(Known::or)
            .unwrap_or_else(Known::empty),
        HirKind::Repetition(repetition) => {
            let once = || read(&repetition.sub);
            let (min, max) = (repetition.min, repetition.max);
            if (min, max) == (0, Some(1)) {
                return once().or(Known::empty());
            }
            let times = min.min(TIMES_MAX);
            let written = (0..times).map(|_| once()).reduce(Known::then);
            let Some(written) = written else {
                return Known::anything();
            };
            if max == Some(times) {
                return written;
            }
            // what is repeated ends as it ends once
            let ends = once().loose();
            let known = written.then(Known::anything());
            Known {
                tails: ends.tails,
                ..known
            }
        }
    }
}

fn read_class(of: &Class) -> Known {
    let choice = match of {
        Class::Unicode(of) => choice_of(of.iter().flat_map(|range| range.start()..=range.end())),
        Class::Bytes(of) if of.is_ascii() => {
            let bytes = of.iter().flat_map(|range| range.start()..=range.end());
            choice_of(bytes.map(char::from))
        }
        Class::Bytes(_) => return Known::anything(),
    };
    Known::exact(Strings::from([vec![choice]]))
}

fn choice_of(characters: impl Iterator<Item = char>) -> Choice {
    let mut choice = Choice::NONE;
    for (n, c) in characters.enumerate() {
        if n == CLASS_MAX {
            return Choice::ANY;
        }
        choice = choice.or(Choice::of(class(c)));
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> GramQuery {
        GramQuery::of_pattern(&regex_syntax::parse(text).unwrap())
    }

    fn text(text: &str) -> GramQuery {
        GramQuery::of_text(text)
    }

    #[test]
    fn literals_are_needed_in_any_case() {
        assert_eq!(pattern("mimikatz"), text("mimikatz"));
        assert_eq!(pattern("(?i)mimikatz"), text("mimikatz"));
        assert_eq!(pattern("(?i)sekurlsa"), text("SEKURLSA"));
        assert_eq!(pattern("^(?i)größe$"), text("GRÖẞE"));
        assert_eq!(pattern("abc"), GramQuery::Anything);
        assert_eq!(text("abc"), GramQuery::Anything);
    }

    #[test]
    fn what_may_be_anything_parts_literals() {
        assert_eq!(
            pattern(r"HKLM.*Run.*\.exe"),
            GramQuery::every([text("HKLM"), text(".exe")])
        );
        let before = pattern(r"\d:44");
        assert!(before.narrows());
        assert_eq!(
            pattern(r"\d+\.\d+:4444"),
            GramQuery::every([before, text(":4444")])
        );
        assert_eq!(pattern(r"x*\w+"), GramQuery::Anything);
        assert_eq!(pattern(r"(abcd)?"), GramQuery::Anything);
        assert_eq!(pattern(r"(abcd)+"), text("abcd"));
        assert_eq!(pattern(r"(ab){2}"), text("abab"));
    }

    #[test]
    fn alternatives_join_with_what_stands_beside_them() {
        let either = |a, b| GramQuery::Either(vec![text(a), text(b)]);
        assert_eq!(pattern("(foo|bar)baz"), either("barbaz", "foobaz"));
        assert_eq!(pattern("whoami|hostname"), either("hostname", "whoami"));
        assert_eq!(pattern("whoami|abc"), GramQuery::Anything);
    }

    #[test]
    fn one_of_several_characters_is_one_string() {
        let grams = |query: GramQuery| match query {
            GramQuery::Literal(grams) => grams,
            other => panic!("{other:?}"),
        };
        let choices = |text: &str| -> Vec<u32> {
            let grams = grams(pattern(text));
            grams.iter().map(|gram| gram.choices()).collect()
        };
        assert_eq!(choices("a[bc]de"), [2]);
        assert_eq!(choices("(?i)A[bC]dE"), [2]);
        assert_eq!(choices("[aeiou]{4}"), [625]);
        assert_eq!(choices("[aeiou]{9}x?"), [625]);
        assert_eq!(choices("abcd.efg"), [1], "what follows may be anything");
        assert_eq!(choices("a.bc"), [64]);
        assert_eq!(choices(r"[0-9]\.[0-9]\."), [100]);
        assert_eq!(choices(r"\d:\d\d"), [1000]);
        assert_eq!(choices(r":4\d\d"), [100]);
        assert_eq!(choices(r"net\s"), [2]);
        for text in ["[0-9a-f]{32}", r"\d{8}", "a..b", "[a-z]{4}", r"[^x]\w\S."] {
            assert_eq!(pattern(text), GramQuery::Anything, "{text}");
        }
    }

    #[test]
    fn no_pattern_takes_long_or_much() {
        for text in [
            "(a|b){8}(c|d){8}(e|f){8}",
            "[0-9a-f]{32}",
            "((((a|bb)|cc)+|dd){3,}ee)*",
            r"(?i)\b[a-z]{3,9}://[^\s]+",
            &"(abcdefgh|ijklmnop)".repeat(200),
            &"a".repeat(5_000),
        ] {
            let needed = pattern(text);
            assert!(format!("{needed:?}").len() < 200_000, "{text}");
        }
    }
}
