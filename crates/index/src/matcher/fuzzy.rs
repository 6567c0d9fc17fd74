//! Words that differ from one by a character or two.
//!
//! One automaton decides: over whole words of the text, and over the terms of
//! the index, which hold a long word's beginning only and are candidates while
//! they may still become such a word.

use std::sync::Arc;

use levenshtein_automata::{DFA, Distance, LevenshteinAutomatonBuilder, SINK_STATE};
use tantivy_fst::Automaton;

use crate::codec::tokenizer::{GOES_ON, fold_text, is_word};

/// Words alike: one or two characters changed, missing, added, or neighbours
/// exchanged.
#[derive(Clone)]
pub(crate) struct Alike {
    automaton: Arc<DFA>,
}

impl Alike {
    pub(crate) fn new(word: &str, distance: u8) -> Self {
        let builder = LevenshteinAutomatonBuilder::new(distance, true);
        Self {
            automaton: Arc::new(builder.build_dfa(&fold_text(word))),
        }
    }

    fn is(&self, word: &str) -> bool {
        matches!(self.automaton.eval(word), Distance::Exact(_))
    }

    /// Whether a line with this term may hold such a word.
    pub(crate) fn may_be(&self, term: &str) -> bool {
        self.is(term) || term.ends_with(GOES_ON)
    }

    /// The first such word of a folded text that begins from `from` on.
    pub(crate) fn find(&self, text: &str, from: usize) -> Option<(usize, usize)> {
        let mut at = from;
        if text.get(..at)?.chars().next_back().is_some_and(is_word) {
            at += text.get(at..)?.find(|c| !is_word(c))?;
        }
        loop {
            let start = at + text.get(at..)?.find(is_word)?;
            let rest = &text[start..];
            let end = start + rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if self.is(&text[start..end]) {
                return Some((start, end));
            }
            at = end;
        }
    }
}

/// Accepts every term that is, or may begin, such a word.
impl Automaton for Alike {
    type State = u32;

    fn start(&self) -> u32 {
        self.automaton.initial_state()
    }

    fn is_match(&self, state: &u32) -> bool {
        *state != SINK_STATE
    }

    fn can_match(&self, state: &u32) -> bool {
        *state != SINK_STATE
    }

    fn accept(&self, state: &u32, byte: u8) -> u32 {
        if byte == GOES_ON as u8 {
            return *state;
        }
        self.automaton.transition(*state, byte)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_differ_by_as_much_as_asked() {
        let finds = |word, distance, text: &str| Alike::new(word, distance).find(text, 0).is_some();
        for text in [
            "mimikatz",
            "mimikats",
            "mimkatz",
            "mimikattz",
            "mmiikatz",
            "x-mimikatz.exe",
        ] {
            assert!(finds("MimiKatz", 1, text), "{text}");
        }
        assert!(!finds("mimikatz", 1, "mimikats2") && finds("mimikatz", 2, "mimikats2"));
        assert!(!finds("mimikatz", 1, "mimi katz") && !finds("mimikatz", 2, ""));
        assert!(finds("größe", 1, "grösse größ"));
    }

    #[test]
    fn the_terms_of_long_words_are_candidates() {
        let alike = Alike::new("averyverylongwordindeed", 1);
        assert!(alike.may_be("averyverylongwor+") && !alike.may_be("avery"));
        let hash = Alike::new("9f86d081884c7d65", 1);
        assert!(hash.may_be("9f86+") && !hash.may_be("9f86"));
        let number = Alike::new("46240", 1);
        assert!(number.may_be("4624") && number.may_be("4624+") && !number.may_be("462"));
    }
}
