//! Several words close to each other in a line, in any order.

use memchr::memmem::Finder;

use super::matcher::find_literal;
use super::token::is_word;

/// Words within reach of each other.
#[derive(Clone)]
pub(super) struct Near {
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
}

/// One place of one word.
struct Place {
    start: usize,
    end: usize,
    /// Words before it in the line.
    first_run: usize,
    word: usize,
}

impl Near {
    /// `words` in lower case.
    pub(super) fn new(words: &[String], within: u32) -> Self {
        let mut known: Vec<(&String, usize)> = Vec::new();
        for word in words {
            match known.iter_mut().find(|(other, _)| *other == word) {
                Some((_, times)) => *times += 1,
                None => known.push((word, 1)),
            }
        }
        let words = known.into_iter().map(|(word, times)| Word {
            finder: Finder::new(word).into_owned(),
            times,
            runs: run_starts(word).len(),
        });
        Self {
            words: words.collect(),
            within: within as usize,
        }
    }

    /// The first such place in a line of folded text that begins from `from`.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let mut at = from;
        loop {
            let rest = text.get(at..)?;
            let end = memchr::memchr(b'\n', rest.as_bytes()).map(|feed| at + feed);
            let line = text.get(at..end.unwrap_or(text.len()))?;
            if let Some((start, end)) = self.find_in_line(line) {
                return Some((at + start, at + end));
            }
            at = end? + 1;
        }
    }

    fn find_in_line(&self, line: &str) -> Option<(usize, usize)> {
        let places = self.places(line)?;
        let runs: usize = self.words.iter().map(|word| word.runs * word.times).sum();
        for (n, first) in places.iter().enumerate() {
            let mut missing: Vec<usize> = self.words.iter().map(|word| word.times).collect();
            let mut end = 0;
            for place in &places[n..] {
                let behind = place.first_run + self.words[place.word].runs;
                if behind - first.first_run > runs + self.within {
                    break;
                }
                // one that overlaps what was taken is not another
                if place.start < end {
                    continue;
                }
                let missing_here = &mut missing[place.word];
                if *missing_here > 0 {
                    *missing_here -= 1;
                    end = place.end;
                }
                if missing.iter().all(|missing| *missing == 0) {
                    return Some((first.start, end));
                }
            }
        }
        None
    }

    /// Every place of every word in order; `None` where one is missing.
    fn places(&self, line: &str) -> Option<Vec<Place>> {
        let mut places = Vec::new();
        for (n, word) in self.words.iter().enumerate() {
            let (mut at, before) = (0, places.len());
            while let Some((start, end)) = find_literal(&word.finder, line, at) {
                places.push((start, end, n));
                at = end;
            }
            if places.len() - before < word.times {
                return None;
            }
        }
        places.sort_unstable();
        let runs = run_starts(line);
        let places = places.into_iter().map(|(start, end, word)| Place {
            start,
            end,
            first_run: runs.partition_point(|run| *run < start),
            word,
        });
        Some(places.collect())
    }
}

/// Where words begin.
fn run_starts(text: &str) -> Vec<usize> {
    let mut starts = Vec::new();
    let mut inside = false;
    for (at, c) in text.char_indices() {
        if is_word(c) && !inside {
            starts.push(at);
        }
        inside = is_word(c);
    }
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(words: &[&str], within: u32, line: &str) -> Option<(usize, usize)> {
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        Near::new(&words, within).find(line, 0)
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
    fn paths_count_as_the_words_they_hold() {
        let line = r"copy c:\temp\evil.exe to \\srv\share";
        assert_eq!(finds(&["copy", "evil.exe"], 2, line), Some((0, 21)));
        assert_eq!(finds(&["copy", "evil.exe"], 1, line), None);
    }
}
