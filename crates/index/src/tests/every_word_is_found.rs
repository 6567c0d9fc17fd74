//! Nothing vanishes: whatever stands in a text, cut anywhere, is found there by
//! every search that claims to find it.

use std::collections::HashMap;

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

use crate::tests::*;

/// Texts that cross every limit: words, lines, chunks, frames and segments.
fn texts(seed: u64) -> Vec<Member> {
    let mut random = Random(seed);
    let mut members = members(seed, 20);
    let mut long = String::new();
    for n in 0..14 {
        match random.below(5) {
            0 => long.push_str(&"0123456789abcdef".repeat(1 + random.below(4_000))),
            1 => long.push_str(&format!(
                "{}\u{301}",
                "é\u{1f600}x".repeat(1 + random.below(900))
            )),
            2 => long.push_str(&" \t".repeat(random.below(600))),
            3 => long.push_str("\0\0\r\r\n\n"),
            _ => (0..60).for_each(|_| long.push_str(&line(&mut random))),
        }
        long.push_str(random.pick(&["\n", "\r\n", "", " "]));
        if n == 7 {
            let words = (0..90_000).map(|_| format!("{} ", random.below(1 << 44)));
            long.extend(words);
        }
    }
    members[3].texts = vec![(None, long)];
    members[3].content = content(&members[3].texts);
    members
}

/// A piece of a text, and where it stands.
struct Piece<'a> {
    member: &'a Member,
    text: &'a str,
    from: usize,
    to: usize,
}

impl<'a> Piece<'a> {
    fn random(random: &mut Random, members: &'a [Member]) -> Self {
        loop {
            let of_long = random.below(2) == 0;
            let place = if of_long {
                3
            } else {
                random.below(members.len())
            };
            let member = &members[place];
            let (_, text) = &member.texts[random.below(member.texts.len())];
            let from = crate::codec::char_boundary::ceil(text, random.below(text.len() + 1));
            let len = [6, 30, 300, 9_000][random.below(4)];
            let to = crate::codec::char_boundary::ceil(text, from + 1 + random.below(len));
            if from < to {
                return Self {
                    member,
                    text,
                    from,
                    to,
                };
            }
        }
    }

    fn as_str(&self) -> &'a str {
        &self.text[self.from..self.to]
    }

    /// The part of it before the first line feed.
    fn in_line(self) -> Option<Self> {
        let to = self
            .as_str()
            .find('\n')
            .map_or(self.to, |at| self.from + at);
        (to > self.from).then_some(Self { to, ..self })
    }

    /// Without half a word at its ends.
    fn of_words(self) -> Option<Self> {
        let cuts = |at: usize| {
            let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            word(self.text[..at].chars().next_back()) && word(self.text[at..].chars().next())
        };
        let bounds = |at: &usize| self.text.is_char_boundary(*at) && !cuts(*at);
        let from = (self.from..self.to).find(bounds)?;
        let to = (from + 1..=self.to).rev().find(bounds)?;
        Some(Self { from, to, ..self })
    }

    /// In its line, no later than it stands there. A match over line ends may
    /// begin in an earlier line and go on over this one.
    fn assert_found(&self, searcher: &Searcher, query: &Query) {
        let crosses = matches!(query, Query::Text(Text::Multiline { .. }));
        let line = self.text[..self.from].matches('\n').count() as u64 + 1;
        let found = answers(searcher, query);
        let id = self.member.id.to_string();
        let in_line = |hit: &Answer| hit.2 == line || crosses && hit.2 < line;
        let here = |hit: &Answer| hit.0 == id && in_line(hit) && hit.3 <= self.from as u64;
        assert!(
            found.iter().any(here),
            "{query:.300?} at line {line}, {} of {id}: {found:?}",
            self.from
        );
    }
}

/// The same in other forms of its characters.
fn another_case(random: &mut Random, text: &str) -> String {
    let mut known: HashMap<char, Vec<char>> = HashMap::new();
    let one = |c: char| {
        let forms = known.entry(c).or_insert_with(|| {
            let mut orbit = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
            orbit.case_fold_simple();
            orbit
                .iter()
                .flat_map(|range| range.start()..=range.end())
                .collect()
        });
        forms[random.below(forms.len())]
    };
    text.chars().map(one).collect()
}

/// Characters of words as `?`, some more of them as `*`.
fn with_wildcards(random: &mut Random, text: &str) -> Option<String> {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    if text.contains(['*', '?']) || !text.contains(word) {
        return None;
    }
    let mut glob = String::new();
    for c in text.chars() {
        match random.below(9) {
            0 if word(c) => glob.push('?'),
            1 if word(c) => glob.push('*'),
            _ => glob.push(c),
        }
    }
    (glob.contains(['*', '?']) && glob.chars().any(|c| c != '*')).then_some(glob)
}

#[test]
fn whatever_stands_in_a_text_is_found_by_every_search() {
    for (seed, settings) in [(101, tiny()), (103, IndexSettings::default())] {
        let folder = tempfile::tempdir().unwrap();
        let members = texts(seed);
        build(folder.path(), &members, settings.clone(), 7);
        let searcher = open(folder.path(), &settings);
        let mut random = Random(seed ^ 7);
        let mut asked = [0; 6];
        for _ in 0..24 {
            let piece = Piece::random(&mut random, &members);
            let pattern = regex::escape(piece.as_str());
            if piece.as_str().len() < 2_000 {
                piece.assert_found(&searcher, &Query::multiline(&pattern, false));
                asked[0] += 1;
            }
            let Some(piece) = piece.in_line() else {
                continue;
            };
            let text = piece.as_str();
            piece.assert_found(&searcher, &Query::fixed(text, false));
            let other = another_case(&mut random, text);
            piece.assert_found(&searcher, &Query::fixed(&other, true));
            asked[1] += 1;
            // A carriage return before a line feed is no part of the line.
            let at_end = text.ends_with('\r') && piece.text[piece.to..].starts_with('\n');
            if !at_end {
                piece.assert_found(&searcher, &Query::regex(regex::escape(text), false));
                asked[2] += 1;
            }
            let Some(piece) = piece.of_words() else {
                continue;
            };
            let other = another_case(&mut random, piece.as_str());
            piece.assert_found(&searcher, &Query::Text(Text::Term(other)));
            asked[3] += 1;
            if let Some(glob) = with_wildcards(&mut random, piece.as_str()) {
                piece.assert_found(&searcher, &Query::Text(Text::Wildcard(glob)));
                asked[4] += 1;
            }
        }
        while asked[5] < 20 {
            let Some(piece) = Piece::random(&mut random, &members).of_words() else {
                continue;
            };
            let text = piece.as_str();
            let is_blank = |c: char| c.is_whitespace();
            let runs = text.split(|c| !is_blank(c));
            let crosses_one = runs.into_iter().all(|run| run.matches('\n').count() < 2);
            let begins_blank = text.starts_with(is_blank) || text.ends_with(is_blank);
            let blanks = text.split_whitespace().count().saturating_sub(1);
            if !crosses_one || begins_blank || blanks > 60 {
                continue;
            }
            let words: Vec<&str> = text.split_whitespace().collect();
            let phrase = another_case(&mut random, &words.join(" "));
            piece.assert_found(&searcher, &Query::Text(Text::Phrase(phrase)));
            asked[5] += 1;
        }
        assert!(asked.iter().all(|asked| *asked > 3), "{asked:?}");
    }
}
