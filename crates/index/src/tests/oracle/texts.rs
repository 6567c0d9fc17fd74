//! What may cross line ends, on whole texts.

use crate::tests::oracle::Place;
use crate::tests::oracle::words::{Folded, folded};

/// A phrase's words with blanks between them, or a line end with the blanks
/// around it.
pub(crate) fn phrase(text: &str, phrase: &str) -> Vec<Place> {
    let words: Vec<Vec<char>> = phrase.split_whitespace().map(folded).collect();
    let text = Folded::new(text);
    let mut lines = Lines::default();
    for at in 0..text.chars.len() {
        lines.passed += u64::from(at > 0 && text.chars[at - 1] == '\n');
        if let Some(end) = phrase_end(&text, &words, at) {
            let feed = text.chars[at..end].iter().position(|c| *c == '\n');
            let words = text.chars[at..feed.map_or(end, |feed| at + feed)].iter();
            let blanks = words.rev().take_while(|c| c.is_whitespace()).count();
            let end = feed.map_or(end, |feed| at + feed - blanks);
            lines.add(text.byte(at), text.byte(end));
        }
    }
    lines.first
}

fn phrase_end(text: &Folded, words: &[Vec<char>], start: usize) -> Option<usize> {
    let mut at = start;
    for (n, word) in words.iter().enumerate() {
        if n > 0 {
            let rest = text.chars[at..].iter();
            let blanks: Vec<char> = rest.copied().take_while(|c| c.is_whitespace()).collect();
            let ends = blanks.iter().filter(|c| **c == '\n').count();
            if blanks.is_empty() || ends > 1 {
                return None;
            }
            at += blanks.len();
        }
        if !text.holds_at(at, word) {
            return None;
        }
        at += word.len();
    }
    (text.is_border(start) && text.is_border(at)).then_some(at)
}

/// The lines in which matches of a pattern begin.
pub(crate) fn multiline(text: &str, regex: &regex::Regex) -> Vec<Place> {
    let (mut lines, mut counted) = (Lines::default(), 0);
    for found in regex.find_iter(text) {
        // Behind the last line feed is no line.
        if found.start() == text.len() && (text.is_empty() || text.ends_with('\n')) {
            break;
        }
        lines.passed += text[counted..found.start()].matches('\n').count() as u64;
        counted = found.start();
        let first = found.as_str().split_inclusive('\n').next().unwrap_or("");
        lines.add(
            found.start(),
            found.start() + crate::tests::oracle::body(first).len(),
        );
    }
    lines.first
}

/// The first place of each line.
#[derive(Default)]
struct Lines {
    passed: u64,
    first: Vec<Place>,
}

impl Lines {
    fn add(&mut self, start: usize, end: usize) {
        let line = self.passed + 1;
        if self.first.last().is_none_or(|last| last.line < line) {
            self.first.push(Place {
                line,
                offset: start as u64,
                len: (end - start) as u64,
            });
        }
    }
}
