//! Several words close to each other in a line, in any order.

use std::ops::ControlFlow;

use memchr::memmem::Finder;

use crate::codec::char_boundary;
use crate::codec::tokenizer::is_word;
use crate::matcher::{Borders, Take, find_literal, first_of};
use crate::query::ast::SyntaxError;

/// Words of one such text: what is found of them is 2 to the power of this
/// many states at most.
const WORDS_MAX: usize = 12;
/// Words between them, beyond which AND says the same.
const WITHIN_MAX: u32 = 1_000;

/// Words within reach of each other.
#[derive(Clone)]
pub(crate) struct Near {
    words: Vec<Word>,
    /// How many other words may stand between them in all.
    within: usize,
}

#[derive(Clone)]
struct Word {
    finder: Finder<'static>,
    /// How often it must be there: as often as it was asked for.
    times: usize,
    /// Words of letters and digits it consists of.
    runs: usize,
    /// What one of it adds to the number of a state.
    weight: usize,
}

/// One place of one word.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    end: usize,
    /// Words before it in the line.
    first_run: usize,
    word: usize,
}

impl Near {
    /// `words` in lower case.
    pub(crate) fn new(words: &[String], within: u32) -> Result<Self, SyntaxError> {
        if words.len() > WORDS_MAX {
            let message = format!("at most {WORDS_MAX} words are found near each other");
            return Err(SyntaxError::new(0, message).hint("join the rest with AND"));
        }
        if within > WITHIN_MAX {
            let message = format!("`~{within}` is too far: at most {WITHIN_MAX} words between");
            return Err(SyntaxError::new(0, message).hint("join the words with AND"));
        }
        let mut known: Vec<Word> = Vec::new();
        for word in words {
            let same = |other: &&mut Word| other.finder.needle() == word.as_bytes();
            match known.iter_mut().find(same) {
                Some(other) => other.times += 1,
                None => known.push(Word {
                    finder: Finder::new(word).into_owned(),
                    times: 1,
                    runs: count_runs(word),
                    weight: 0,
                }),
            }
        }
        let mut weight = 1;
        for word in &mut known {
            word.weight = weight;
            weight *= word.times + 1;
        }
        Ok(Self {
            words: known,
            within: within as usize,
        })
    }

    /// How many states there are: of each word none found, one, and so on. The
    /// last is all of them.
    fn states(&self) -> usize {
        self.words.iter().map(|word| word.times + 1).product()
    }

    /// **Units**: words of letters and digits from the first to the last.
    fn reach(&self) -> usize {
        let words = self.words.iter().map(|word| word.runs * word.times);
        words.sum::<usize>() + self.within
    }

    /// Whether a match may be as long as a text.
    pub(crate) fn may_cover(&self, text: &str) -> bool {
        count_runs(text) <= self.reach() + 1
    }

    /// The first such place in a line of folded text that begins from `from`.
    pub(crate) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        first_of(|take| self.each(text, from, take))
    }

    /// Every such place that begins from `from`, none overlapping another.
    ///
    /// **Memory**: 40 bytes for each place of a word in one line.
    pub(crate) fn each(&self, text: &str, from: usize, take: Take<'_>) -> ControlFlow<()> {
        let before = text.as_bytes().get(..from).unwrap_or(&[]);
        let mut at = memchr::memrchr(b'\n', before).map_or(0, |feed| feed + 1);
        while let Some(rest) = text.get(at..) {
            let feed = memchr::memchr(b'\n', rest.as_bytes());
            let line = &rest[..feed.unwrap_or(rest.len())];
            let mut give = |start, end| take(at + start, at + end);
            self.each_in_line(line, from.saturating_sub(at), &mut give)?;
            let Some(feed) = feed else {
                break;
            };
            at += feed + 1;
        }
        ControlFlow::Continue(())
    }

    fn each_in_line(&self, line: &str, mut from: usize, take: Take<'_>) -> ControlFlow<()> {
        let Some(places) = self.places(line) else {
            return ControlFlow::Continue(());
        };
        let mut walk = Walk::new(self, places);
        while let Some((start, end)) = walk.first_from(from) {
            take(start, end)?;
            from = end;
        }
        ControlFlow::Continue(())
    }

    fn is_in_reach(&self, first: &Place, last: &Place) -> bool {
        last.first_run + self.words[last.word].runs <= first.first_run + self.reach()
    }

    /// Every place of every word in order; `None` where one is missing.
    fn places(&self, line: &str) -> Option<Vec<Place>> {
        let mut places = Vec::new();
        for (word, sought) in self.words.iter().enumerate() {
            let (mut at, before) = (0, places.len());
            while let Some((start, end)) = find_literal(&sought.finder, Borders::BOTH, line, at) {
                places.push(Place {
                    start,
                    end,
                    first_run: 0,
                    word,
                });
                at = char_boundary::ceil(line, start + 1);
            }
            if places.len() - before < sought.times {
                return None;
            }
        }
        places.sort_unstable_by_key(|place| (place.start, place.end));
        let (mut at, mut runs, mut inside) = (0, 0, false);
        for place in &mut places {
            let passed = line.get(at..place.start)?;
            for c in passed.chars() {
                runs += usize::from(is_word(c) && !inside);
                inside = is_word(c);
            }
            (at, place.first_run) = (place.start, runs);
        }
        Some(places)
    }
}

/// Walks along the places of one line.
struct Walk<'a> {
    near: &'a Near,
    /// By where they begin.
    places: Vec<Place>,
    /// The same by where they end.
    by_end: Vec<u32>,
    /// Of each word how often it stands within reach of the place at hand:
    /// among the places from `low` on and, by their ends, before `high`.
    counts: Vec<usize>,
    low: usize,
    high: usize,
    /// For each state where its words end.
    ends: Vec<usize>,
}

impl<'a> Walk<'a> {
    fn new(near: &'a Near, places: Vec<Place>) -> Self {
        let mut by_end: Vec<u32> = (0..places.len() as u32).collect();
        by_end.sort_by_key(|place| places[*place as usize].end);
        Self {
            counts: vec![0; near.words.len()],
            ends: vec![usize::MAX; near.states()],
            near,
            places,
            by_end,
            low: 0,
            high: 0,
        }
    }

    /// The first match that begins from `from` on, which never goes back.
    fn first_from(&mut self, from: usize) -> Option<(usize, usize)> {
        let begin = self.places.partition_point(|place| place.start < from);
        let mut found: Option<(usize, usize)> = None;
        for first in begin..self.places.len() {
            let start = self.places[first].start;
            if found.is_some_and(|(known, _)| known < start) {
                break;
            }
            if self.may_begin(first)
                && let Some(end) = self.end_from(first)
            {
                let here = (start, end);
                found = Some(found.map_or(here, |known| known.min(here)));
            }
        }
        found
    }

    /// Whether all the words are there often enough, however they lie: spares
    /// nearly every place the closer look.
    fn may_begin(&mut self, first: usize) -> bool {
        let begin = self.places[first];
        while let Some(next) = self.by_end.get(self.high) {
            let place = &self.places[*next as usize];
            if !self.near.is_in_reach(&begin, place) {
                break;
            }
            self.counts[place.word] += 1;
            self.high += 1;
        }
        // What begins no later than the place at hand is within its reach, so
        // it was counted.
        for passed in &self.places[self.low..first.max(self.low)] {
            self.counts[passed.word] -= 1;
        }
        self.low = self.low.max(first);
        let words = self.near.words.iter().zip(&self.counts);
        words.into_iter().all(|(word, count)| *count >= word.times)
    }

    /// Where all the words end that begin with a place. Among the places that
    /// end behind it, in that order, the first end is kept for each state: what
    /// ends sooner leaves more to the rest, so nothing is overlooked where one
    /// word begins another.
    fn end_from(&mut self, first: usize) -> Option<usize> {
        let (near, places, ends) = (self.near, &self.places, &mut self.ends);
        let first = &places[first];
        let place = |n: &u32| &places[*n as usize];
        let later = self.by_end.partition_point(|n| place(n).end <= first.end);
        let later = self.by_end[later..].iter().map(place);
        let all = ends.len() - 1;
        ends.fill(usize::MAX);
        ends[near.words[first.word].weight] = first.end;
        for place in later.take_while(|place| near.is_in_reach(first, place)) {
            let word = &near.words[place.word];
            if ends[all] != usize::MAX {
                break;
            }
            for state in (0..all).rev() {
                let taken = state / word.weight % (word.times + 1);
                if taken < word.times && ends[state] <= place.start {
                    let next = &mut ends[state + word.weight];
                    *next = (*next).min(place.end);
                }
            }
        }
        Some(ends[all]).filter(|end| *end != usize::MAX)
    }
}

/// Words of letters and digits in a text.
fn count_runs(text: &str) -> usize {
    let mut inside = false;
    let runs = text.chars().filter(|c| {
        let begins = is_word(*c) && !inside;
        inside = is_word(*c);
        begins
    });
    runs.count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(words: &[&str], within: u32, line: &str) -> Option<(usize, usize)> {
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        Near::new(&words, within).unwrap().find(line, 0)
    }

    #[test]
    fn words_are_near_in_any_order_and_no_farther_than_asked() {
        let line = "a new and quite unknown service was installed";
        assert_eq!(finds(&["new", "service"], 3, line), Some((2, 31)));
        assert_eq!(finds(&["service", "new"], 3, line), Some((2, 31)));
        assert_eq!(finds(&["new", "service"], 2, line), None);
        assert_eq!(finds(&["new", "absent"], 9, line), None);
        assert_eq!(finds(&["new"], 0, line), Some((2, 5)));
        assert_eq!(finds(&["ew", "service"], 9, line), None);
    }

    #[test]
    fn a_word_asked_for_twice_is_there_twice() {
        assert_eq!(finds(&["a", "a"], 1, "a b c a d a"), Some((6, 11)));
        assert_eq!(finds(&["a", "a"], 9, "a b"), None);
    }

    #[test]
    fn lines_stay_apart() {
        assert_eq!(finds(&["a", "b"], 5, "a\nb\na b"), Some((4, 7)));
    }

    #[test]
    fn a_word_that_begins_another_hides_neither() {
        let words = ["x", "evil", "evil.exe"];
        assert_eq!(finds(&words, 5, "x evil.exe evil"), Some((0, 15)));
        assert_eq!(finds(&words, 5, "x evil evil.exe"), Some((0, 15)));
        assert_eq!(finds(&words, 5, "evil.exe evil x"), Some((0, 15)));
        assert_eq!(finds(&words, 5, "x evil.exe"), None);
        let words = ["powershell.exe", "powershell", "cmd"];
        assert_eq!(
            finds(&words, 9, "cmd powershell.exe powershell"),
            Some((0, 29))
        );
    }

    #[test]
    fn what_stands_before_belongs_to_a_word() {
        let words = ["new".to_string(), "service".to_string()];
        let near = Near::new(&words, 3).unwrap();
        let line = "xxnew service new one";
        assert_eq!(near.find(line, 2), Some((6, 17)));
        assert_eq!(near.find(line, 7), None);
    }

    #[test]
    fn many_matches_of_a_line_are_told_in_one_walk() {
        let near = Near::new(&["a".into(), "b".into()], 3).unwrap();
        let line = "a b ".repeat(100_000);
        let mut count = 0;
        let _ = near.each(&line, 0, &mut |start, end| {
            assert_eq!((start, end), (count * 4, count * 4 + 3));
            count += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(count, 100_000);
    }

    #[test]
    fn a_word_far_behind_many_others_takes_no_long_time() {
        let words = ["a", "b", "c"].map(String::from);
        let near = Near::new(&words, 1_000).unwrap();
        let line = "a b ".repeat(300_000);
        let began = std::time::Instant::now();
        let end = near.find(&format!("{line}c"), 0).unwrap().1;
        assert_eq!(end, line.len() + 1);
        let took = began.elapsed();
        assert!(took.as_millis() < 2_000, "{took:?}");
    }

    /// By trying every choice of places.
    fn slow(words: &[&str], within: usize, line: &str) -> Option<(usize, usize)> {
        let bounds: Vec<usize> = line
            .char_indices()
            .map(|(at, _)| at)
            .chain([line.len()])
            .collect();
        let wordly = |c: Option<char>| c.is_some_and(is_word);
        let places = |word: &str| -> Vec<(usize, usize)> {
            let starts = bounds.iter().filter(|at| line[**at..].starts_with(word));
            let starts = starts.filter(|at| {
                let end = **at + word.len();
                let before = line[..**at].chars().next_back();
                let after = line[end..].chars().next();
                let within = (wordly(before) && wordly(word.chars().next()))
                    || (wordly(after) && wordly(word.chars().next_back()));
                !within
            });
            starts.map(|at| (*at, at + word.len())).collect()
        };
        let mut choices: Vec<Vec<(usize, usize)>> = vec![Vec::new()];
        for word in words {
            let with = |choice: &Vec<(usize, usize)>| -> Vec<Vec<(usize, usize)>> {
                let apart =
                    |(a, b): &(usize, usize)| choice.iter().all(|(x, y)| *y <= *a || *b <= *x);
                let more = places(word).into_iter().filter(apart);
                more.map(|place| [choice.clone(), vec![place]].concat())
                    .collect()
            };
            choices = choices.iter().flat_map(with).collect();
        }
        let runs = words.iter().map(|word| count_runs(word)).sum::<usize>() + within;
        let found = choices.iter().filter_map(|choice| {
            let start = choice.iter().map(|(start, _)| *start).min()?;
            let end = choice.iter().map(|(_, end)| *end).max()?;
            (count_runs(&line[start..end]) <= runs).then_some((start, end))
        });
        found.min()
    }

    #[test]
    fn every_choice_of_places_is_thought_of() {
        let pool = ["a", "b", "a.b", "b.a", "a.a", "a.a.a", "a.b.c", "-"];
        let mut random = crate::tests::Random(4);
        let mut found = 0;
        for _ in 0..3_000 {
            let line: Vec<&str> = (0..random.below(9)).map(|_| random.pick(&pool)).collect();
            let line = line.join(" ");
            let words: Vec<&str> = (0..1 + random.below(3))
                .map(|_| random.pick(&pool))
                .collect();
            let within = random.below(4);
            let expected = slow(&words, within, &line);
            found += usize::from(expected.is_some());
            assert_eq!(
                finds(&words, within as u32, &line),
                expected,
                "{words:?}~{within} {line}"
            );
        }
        assert!(found > 500, "only {found}");
    }

    #[test]
    fn more_words_than_are_looked_for_are_refused() {
        let words = vec!["a".to_string(); WORDS_MAX + 1];
        assert!(Near::new(&words, 1).is_err());
        assert!(Near::new(&words[..2], WITHIN_MAX + 1).is_err());
    }

    #[test]
    fn paths_count_as_the_words_they_hold() {
        let line = r"copy c:\temp\evil.exe to \\srv\share";
        assert_eq!(finds(&["copy", "evil.exe"], 2, line), Some((0, 21)));
        assert_eq!(finds(&["copy", "evil.exe"], 1, line), None);
    }
}
