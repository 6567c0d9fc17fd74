//! The evidence tokenizer: words are maximal runs of letters, digits and `_`,
//! in simple lower case. Nothing alphanumeric is dropped, however long.
//!
//! A term of the index is a word, or the first characters of a longer one and
//! a sign that it goes on. Queries are always verified on the text, so a
//! shared beginning costs a look and never an answer; and hashes, GUIDs and
//! base64 stop costing their full length.

use tantivy::tokenizer::{Token, TokenStream, Tokenizer};

/// Characters of a word that are indexed.
const TERM_MAX: usize = 16;
/// The same for a word with a digit among these: half of all unique text is
/// hashes, GUIDs and counters. The 4-grams tell those apart.
const NUMBER_MAX: usize = 4;
/// Ends the term of a word that is longer. Belongs to no word.
pub(crate) const GOES_ON: char = '+';

/// How many characters of a word are its term, given those read so far.
fn term_len(has_digit: bool) -> usize {
    if has_digit { NUMBER_MAX } else { TERM_MAX }
}

/// The term of every word that begins with `written`, where that much decides
/// it; else a word that is no longer is its own term.
pub(crate) fn decided_term(written: &str) -> Option<String> {
    let mut term = String::new();
    let mut has_digit = false;
    for (count, c) in written.chars().enumerate() {
        if count >= term_len(has_digit) {
            term.push(GOES_ON);
            return Some(term);
        }
        has_digit |= count < NUMBER_MAX && c.is_ascii_digit();
        term.push(c);
    }
    None
}

pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Simple lower case: one character for one character. What would become
/// several stays as it is; what has several lower forms has one here, so that
/// whatever is taken for one another in any case folds to the same.
pub(crate) fn fold(c: char) -> char {
    if c.is_ascii() {
        return c.to_ascii_lowercase();
    }
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(one), None) => one_form(one),
        _ => c,
    }
}

/// The lower forms that share their upper case with another, as Unicode's
/// simple case folding lists them (`CaseFolding.txt`, C and S).
fn one_form(c: char) -> char {
    match c {
        'ſ' => 's',
        'ẛ' => 'ṡ',
        '\u{fb05}' => '\u{fb06}',
        'µ' => 'μ',
        '\u{345}' | '\u{1fbe}' => 'ι',
        '\u{1fd3}' => '\u{390}',
        '\u{1fe3}' => '\u{3b0}',
        'ϐ' => 'β',
        'ϵ' => 'ε',
        'ϑ' => 'θ',
        'ϰ' => 'κ',
        'ϖ' => 'π',
        'ϱ' => 'ρ',
        'ς' => 'σ',
        'ϕ' => 'φ',
        '\u{1c80}' => 'в',
        '\u{1c81}' => 'д',
        '\u{1c82}' => 'о',
        '\u{1c83}' => 'с',
        '\u{1c84}' | '\u{1c85}' => 'т',
        '\u{1c86}' => 'ъ',
        '\u{1c87}' => 'ѣ',
        '\u{1c88}' => '\u{a64b}',
        c => c,
    }
}

/// A text in simple lower case. Its length in bytes may differ where the text
/// is not ASCII; its characters correspond one to one.
pub(crate) fn fold_text(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let mut folded = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let ascii = rest.bytes().position(|byte| !byte.is_ascii());
        let (run, more) = rest.split_at(ascii.unwrap_or(rest.len()));
        let at = folded.len();
        folded.push_str(run);
        folded[at..].make_ascii_lowercase();
        let wide = more.find(|c: char| c.is_ascii()).unwrap_or(more.len());
        folded.extend(more[..wide].chars().map(fold));
        rest = &more[wide..];
    }
    folded
}

/// Leads from places of one text to those of another whose characters
/// correspond one to one, going forward over both.
pub(crate) struct Unfolding<'a> {
    to: &'a str,
    from: &'a str,
    /// A place of the one is the same of the other.
    is_same: bool,
    at_to: usize,
    at_from: usize,
}

impl<'a> Unfolding<'a> {
    /// To places of `to` from those of `from`.
    pub(crate) fn new(to: &'a str, from: &'a str) -> Self {
        Self {
            to,
            from,
            is_same: std::ptr::eq(to, from) || to.is_ascii() && from.is_ascii(),
            at_to: 0,
            at_from: 0,
        }
    }

    /// Where byte `at` of the one stands in the other; never before the place
    /// that was asked for last.
    pub(crate) fn to(&mut self, at: usize) -> usize {
        if self.is_same {
            return at;
        }
        let passed = self.from.get(self.at_from..at);
        let characters = passed.map_or(0, |passed| passed.chars().count());
        let rest = self.to.get(self.at_to..).unwrap_or("");
        let bytes = rest.char_indices().nth(characters);
        self.at_to += bytes.map_or(rest.len(), |(bytes, _)| bytes);
        self.at_from = at;
        self.at_to
    }
}

/// Where byte `at` of the folded text stands in the text itself.
pub(crate) fn unfold(text: &str, folded: &str, at: usize) -> usize {
    Unfolding::new(text, folded).to(at)
}

/// For each ASCII byte its lower case where it belongs to a word, else 0.
const WORD: [u8; 128] = {
    let mut table = [0u8; 128];
    let mut byte = 0u8;
    while byte < 128 {
        if byte.is_ascii_alphanumeric() || byte == b'_' {
            table[byte as usize] = byte.to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// Reads the next term at or after `at` into `term` and says where its word
/// ends; `None` at the end of the text.
pub(crate) fn next_term(text: &str, at: usize, term: &mut String) -> Option<usize> {
    term.clear();
    let bytes = text.as_bytes();
    let is_apart = |byte: &u8| *byte < 128 && WORD[usize::from(*byte)] == 0;
    let apart = bytes.get(at..)?.iter().take_while(|byte| is_apart(byte));
    let at = at + apart.count();
    let is_word = |byte: &u8| *byte < 128 && WORD[usize::from(*byte)] != 0;
    let word = bytes[at..].iter().take_while(|byte| is_word(byte)).count();
    if bytes.get(at + word).is_some_and(|byte| *byte >= 128) {
        return next_wide_term(text, at, term);
    }
    let written = &bytes[at..at + word];
    let has_digit = written.iter().take(NUMBER_MAX).any(u8::is_ascii_digit);
    let len = term_len(has_digit);
    term.push_str(text.get(at..at + word.min(len))?);
    term.make_ascii_lowercase();
    if word > len {
        term.push(GOES_ON);
    }
    (word > 0).then_some(at + word)
}

/// The same where characters beyond ASCII are near.
fn next_wide_term(text: &str, mut at: usize, term: &mut String) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut count, mut max) = (0, TERM_MAX);
    while let Some(&byte) = bytes.get(at) {
        let (lower, len) = if byte < 128 {
            let lower = WORD[byte as usize];
            ((lower != 0).then_some(char::from(lower)), 1)
        } else {
            let c = text.get(at..)?.chars().next()?;
            (is_word(c).then(|| fold(c)), c.len_utf8())
        };
        match lower {
            Some(lower) if count < max => {
                if count < NUMBER_MAX && lower.is_ascii_digit() {
                    max = NUMBER_MAX;
                }
                term.push(lower);
                count += 1;
            }
            Some(_) => count += 1,
            None if count > 0 => break,
            None => {}
        }
        at += len;
    }
    if count > max {
        term.push(GOES_ON);
    }
    (count > 0).then_some(at)
}

/// The tokenizer as tantivy takes it.
#[derive(Clone, Default)]
pub(crate) struct EvidenceTokenizer {
    token: Token,
}

pub(crate) struct EvidenceStream<'a> {
    text: &'a str,
    at: usize,
    token: &'a mut Token,
}

impl Tokenizer for EvidenceTokenizer {
    type TokenStream<'a> = EvidenceStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> EvidenceStream<'a> {
        self.token.reset();
        EvidenceStream {
            text,
            at: 0,
            token: &mut self.token,
        }
    }
}

impl TokenStream for EvidenceStream<'_> {
    fn advance(&mut self) -> bool {
        match next_term(self.text, self.at, &mut self.token.text) {
            Some(end) => {
                self.at = end;
                self.token.position = self.token.position.wrapping_add(1);
                true
            }
            None => false,
        }
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<String> {
        let (mut at, mut term, mut all) = (0, String::new(), Vec::new());
        while let Some(end) = next_term(text, at, &mut term) {
            at = end;
            all.push(term.clone());
        }
        all
    }

    #[test]
    fn evidence_falls_into_the_words_a_person_would_type() {
        assert_eq!(
            terms(r"C:\Windows\Temp\evil_Tool.EXE 10.0.0.5:4444"),
            [
                "c",
                "windows",
                "temp",
                "evil_tool",
                "exe",
                "10",
                "0",
                "0",
                "5",
                "4444"
            ]
        );
        assert_eq!(terms("Zürich 東京 naïve"), ["zürich", "東京", "naïve"]);
        assert_eq!(terms(":: -- \u{301}"), Vec::<String>::new());
    }

    #[test]
    fn a_long_word_is_known_by_its_beginning() {
        let long = "A".repeat(100_000);
        assert_eq!(
            terms(&format!("{long} b")),
            ["a".repeat(TERM_MAX) + "+", "b".into()]
        );
        assert_eq!(
            terms("9f86d081884c7d65 abcdefghij1 4624 46240 ünï4x"),
            ["9f86+", "abcdefghij1", "4624", "4624+", "ünï4+"]
        );
        for word in [
            "9f86d081884c7d65",
            "abcdefghij1",
            "Ünïcödeünïcödeünïcödeünïcö",
            "abc",
            "a2345678901",
            "4624",
            "abcdefghijklmnop",
            "abcdefghijklmnopq",
        ] {
            let folded = fold_text(word);
            for (cut, _) in folded.char_indices() {
                let whole = terms(word).remove(0);
                match decided_term(&folded[..cut]) {
                    Some(term) => assert_eq!(term, whole),
                    None => assert!(whole.starts_with(&folded[..cut])),
                }
            }
        }
    }

    #[test]
    fn characters_that_are_one_in_any_case_fold_to_one() {
        use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};
        let mut siblings = 0;
        for c in '\0'..=char::MAX {
            let folded = fold(c);
            assert_eq!(fold(folded), folded, "{c:?}");
            assert_eq!(is_word(folded), is_word(c), "{c:?}");
            if !c.is_alphabetic() {
                continue;
            }
            let mut orbit = ClassUnicode::new([ClassUnicodeRange::new(c, c)]);
            orbit.case_fold_simple();
            for other in orbit.iter().flat_map(|range| range.start()..=range.end()) {
                assert_eq!(fold(other), folded, "{other:?} and {c:?}");
                siblings += usize::from(other != c && other != folded);
            }
        }
        assert!(siblings > 20, "only {siblings}");
        for (one, other) in [
            ("ΟΔΟΣ", "οδος"),
            ("μTorrent", "µTorrent"),
            ("Ωmega", "ωmega"),
        ] {
            assert_eq!(fold_text(one), fold_text(other));
        }
    }

    #[test]
    fn a_text_is_folded_character_by_character() {
        for text in ["", "ABC", "É", "aÉB", "ÉÀ xY éZ ẞ", "K\u{212a}İẞé東x"] {
            let each: String = text.chars().map(fold).collect();
            assert_eq!(fold_text(text), each);
        }
    }

    #[test]
    fn a_folded_place_leads_back_to_its_text() {
        let text = "K\u{212a}İẞé東x";
        let folded = fold_text(text);
        for ((at, _), (place, _)) in folded.char_indices().zip(text.char_indices()) {
            assert_eq!(unfold(text, &folded, at), place);
        }
        let mut forward = Unfolding::new(text, &folded);
        for ((at, _), (place, _)) in folded.char_indices().zip(text.char_indices()) {
            assert_eq!(forward.to(at), place);
            assert_eq!(forward.to(at), place);
        }
        assert_eq!(forward.to(folded.len()), text.len());
    }
}
