//! Words of a line, character by character: every place is tried, at every
//! place everything.

use crate::tests::oracle::{one_case, wordly};

/// A text in one case, and where each of its characters stands.
pub(crate) struct Folded {
    pub(crate) chars: Vec<char>,
    /// Of each character, and of the end.
    bytes: Vec<usize>,
}

impl Folded {
    pub(crate) fn new(text: &str) -> Self {
        let ends = std::iter::once(text.len());
        Self {
            chars: text.chars().map(one_case).collect(),
            bytes: text.char_indices().map(|(at, _)| at).chain(ends).collect(),
        }
    }

    /// No word goes on over this place.
    pub(crate) fn is_border(&self, at: usize) -> bool {
        let before = at.checked_sub(1).and_then(|at| self.chars.get(at));
        !(wordly(before) && wordly(self.chars.get(at)))
    }

    pub(crate) fn byte(&self, at: usize) -> usize {
        self.bytes[at]
    }

    fn place(&self, start: usize, end: usize) -> (usize, usize) {
        let (start, end) = (self.byte(start), self.byte(end));
        (start, end - start)
    }

    pub(crate) fn holds_at(&self, at: usize, text: &[char]) -> bool {
        self.chars
            .get(at..)
            .is_some_and(|rest| rest.starts_with(text))
    }

    /// Every place of a text whose ends cut no word.
    fn whole(&self, text: &[char]) -> Vec<usize> {
        let is_here = |at: &usize| {
            self.holds_at(*at, text) && self.is_border(*at) && self.is_border(*at + text.len())
        };
        (0..self.chars.len()).filter(is_here).collect()
    }

    /// Runs of letters, digits and `_`: begin and end of each.
    fn runs(&self, from: usize, to: usize) -> Vec<(usize, usize)> {
        let mut runs: Vec<(usize, usize)> = Vec::new();
        for at in (from..to).filter(|at| wordly(self.chars.get(*at))) {
            match runs.last_mut() {
                Some((_, end)) if *end == at => *end += 1,
                _ => runs.push((at, at + 1)),
            }
        }
        runs
    }
}

pub(crate) fn folded(text: &str) -> Vec<char> {
    text.chars().map(one_case).collect()
}

pub(crate) fn any_case(line: &Folded, text: &str) -> Option<(usize, usize)> {
    let text = folded(text);
    let at = (0..line.chars.len()).find(|at| line.holds_at(*at, &text))?;
    Some(line.place(at, at + text.len()))
}

pub(crate) fn term(line: &Folded, text: &str) -> Option<(usize, usize)> {
    let text = folded(text);
    let at = *line.whole(&text).first()?;
    Some(line.place(at, at + text.len()))
}

/// `*` is any number of word characters, `?` one. A word goes on beyond a
/// match only where a `*` stands.
pub(crate) fn wildcard(line: &Folded, pattern: &str) -> Option<(usize, usize)> {
    let pattern = folded(pattern);
    let begins = |at: &usize| pattern.first() == Some(&'*') || line.is_border(*at);
    let ends = |at: &usize| pattern.last() == Some(&'*') || line.is_border(*at);
    let mut starts = (0..line.chars.len()).filter(begins);
    starts.find_map(|start| {
        let end = reached(line, &pattern, start).into_iter().rfind(ends)?;
        Some(line.place(start, end))
    })
}

/// Every place to which a pattern reaches from one, ascending.
fn reached(line: &Folded, pattern: &[char], start: usize) -> Vec<usize> {
    let mut places = vec![start];
    for c in pattern {
        let mut next: Vec<usize> = Vec::new();
        for at in places {
            let here = line.chars.get(at);
            match c {
                // What a later place of a word reaches was reached before.
                '*' if next.last().is_some_and(|last| at <= *last) => {}
                '*' => {
                    let rest = line.chars[at..].iter();
                    let run = rest.take_while(|c| wordly(Some(c))).count();
                    next.extend(at..=at + run);
                }
                '?' if wordly(here) => next.push(at + 1),
                c if here == Some(c) => next.push(at + 1),
                _ => {}
            }
        }
        places = next;
    }
    places
}

/// A whole word that differs by so many characters changed, missing, added, or
/// neighbours exchanged.
pub(crate) fn alike(line: &Folded, word: &str, distance: usize) -> Option<(usize, usize)> {
    let word = folded(word);
    let runs = line.runs(0, line.chars.len());
    let is_alike = |(start, end): &&(usize, usize)| {
        (end - start).abs_diff(word.len()) <= distance
            && edits(&line.chars[*start..*end], &word) <= distance
    };
    let (start, end) = runs.iter().find(is_alike)?;
    Some(line.place(*start, *end))
}

fn edits(a: &[char], b: &[char]) -> usize {
    let mut table = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            if i == 0 || j == 0 {
                table[i][j] = i + j;
                continue;
            }
            let changed = table[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = changed.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(table[i - 2][j - 2] + 1);
            }
            table[i][j] = least;
        }
    }
    table[a.len()][b.len()]
}

/// Every choice of a place for each word, none over another, with no more than
/// so many other words from the first to the last: the one that begins first,
/// and of those the one that ends first.
pub(crate) fn near(line: &Folded, words: &[String], within: usize) -> Option<(usize, usize)> {
    let words: Vec<Vec<char>> = words.iter().map(|word| folded(word)).collect();
    let places: Vec<Vec<(usize, usize)>> = words
        .iter()
        .map(|word| {
            let starts = line.whole(word).into_iter();
            starts.map(|at| (at, at + word.len())).collect()
        })
        .collect();
    let mut best = None;
    choose(line, &places, &mut Vec::new(), within, &mut best);
    best.map(|(start, end)| line.place(start, end))
}

fn choose(
    line: &Folded,
    places: &[Vec<(usize, usize)>],
    chosen: &mut Vec<(usize, usize)>,
    within: usize,
    best: &mut Option<(usize, usize)>,
) {
    let Some((here, rest)) = places.split_first() else {
        let start = chosen.iter().map(|(start, _)| *start).min().unwrap_or(0);
        let end = chosen.iter().map(|(_, end)| *end).max().unwrap_or(0);
        let is_other = |run: &(usize, usize)| {
            let covers = |(start, end): &(usize, usize)| *start <= run.0 && run.1 <= *end;
            !chosen.iter().any(covers)
        };
        let others = line.runs(start, end).into_iter().filter(is_other).count();
        if others <= within {
            *best = Some(best.map_or((start, end), |best| best.min((start, end))));
        }
        return;
    };
    for place in here {
        if chosen
            .iter()
            .all(|(start, end)| place.1 <= *start || *end <= place.0)
        {
            chosen.push(*place);
            choose(line, rest, chosen, within, best);
            chosen.pop();
        }
    }
}
