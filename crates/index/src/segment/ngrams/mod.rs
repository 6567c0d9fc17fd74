//! The 4-grams: which groups of distinct lines may hold a literal.
//!
//! Every character is one of 64 classes; four in a row are a gram. A group is
//! about 4 KiB of neighbouring distinct lines. For each gram the groups that
//! hold it are listed, and a pattern's literals say which grams its matches
//! must have. Candidates are verified on the text: classes that fall together
//! cost a look and never an answer.
//!
//! **Invariant**: a character has one class whatever its case, so that a text
//! holds the grams of everything that lies in it.

mod gram;
mod lists;
mod query;

pub(crate) use crate::segment::ngrams::lists::{GROUPS_AT_ONCE, Lists, build};
pub(crate) use crate::segment::ngrams::query::GramQuery;

use crate::codec::tokenizer::fold;

/// **Units**: bits of a class.
const CLASS_BITS: u32 = 6;
/// Characters of a gram.
pub(crate) const LEN: usize = 4;
/// All grams there can be.
const COUNT: usize = 1 << (CLASS_BITS as usize * LEN);
const MASK: u32 = COUNT as u32 - 1;

/// Characters that have a class of their own, besides letters and digits: the
/// punctuation of paths, addresses, registry and command lines.
const OWN: &[u8; 27] = b" .\\/:-_\"'(){}[]=,;@$%&*+<>|";
/// The class of all other ASCII.
const OTHER: u8 = 63;

const CLASSES: [u8; 128] = {
    let mut classes = [OTHER; 128];
    let mut n = 0u8;
    while n < 26 {
        classes[(b'a' + n) as usize] = n;
        classes[(b'A' + n) as usize] = n;
        n += 1;
    }
    let mut n = 0u8;
    while n < 10 {
        classes[(b'0' + n) as usize] = 26 + n;
        n += 1;
    }
    let mut n = 0;
    while n < OWN.len() {
        classes[OWN[n] as usize] = 36 + n as u8;
        n += 1;
    }
    classes
};

/// The class of a character. What is one in any case has one class, and so
/// that `\d` and `\s` are few, numbers and blanks beyond ASCII have one each;
/// the rest is spread over all.
fn class(c: char) -> u8 {
    let folded = fold(c);
    match CLASSES.get(folded as usize) {
        Some(class) => *class,
        None if folded.is_numeric() => CLASSES[usize::from(b'0')],
        None if folded.is_whitespace() => CLASSES[usize::from(b' ')],
        None => ((folded as u32).wrapping_mul(0x9e37_79b1) >> (32 - CLASS_BITS)) as u8,
    }
}

/// Calls `each` with every gram of a line, repeated ones too.
fn each_gram(line: &[u8], each: impl FnMut(u32)) {
    if line.is_ascii() {
        let classes = line.iter().map(|byte| CLASSES[usize::from(byte & 127)]);
        return roll(classes, each);
    }
    let text = std::str::from_utf8(line).unwrap_or_default();
    roll(text.chars().map(class), each);
}

fn roll(mut classes: impl Iterator<Item = u8>, mut each: impl FnMut(u32)) {
    let mut gram = 0;
    for class in classes.by_ref().take(LEN - 1) {
        gram = gram << CLASS_BITS | u32::from(class);
    }
    for class in classes {
        gram = (gram << CLASS_BITS | u32::from(class)) & MASK;
        each(gram);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grams(text: &str) -> Vec<u32> {
        let mut grams = Vec::new();
        each_gram(text.as_bytes(), |gram| grams.push(gram));
        grams
    }

    #[test]
    fn a_text_has_one_gram_for_each_four_characters() {
        assert!(grams("abc").is_empty());
        assert_eq!(grams("abcd"), [(1 << 12) | (2 << 6) | 3]);
        assert_eq!(grams("C:\\Windows").len(), 7);
        assert_eq!(grams("größe").len(), 2);
    }

    #[test]
    fn case_makes_no_difference() {
        for (a, b) in [
            ("MimiKatz", "mimikatz"),
            ("sekurlsa", "ſekurlſa"),
            ("disk", "DIS\u{212a}"),
            ("GRÖSSE ÄÉ", "grösse äé"),
            ("ΟΔΟΣ", "οδος"),
            ("µTorrent", "ΜTORRENT"),
        ] {
            assert_eq!(grams(a), grams(b), "{a} {b}");
        }
    }

    #[test]
    fn numbers_and_blanks_of_all_writing_are_in_few_classes() {
        assert_eq!(grams("port 40"), grams("port\u{a0}4٠"));
        let classes = |text: &str| -> usize {
            let characters = (0..=u32::from(char::MAX)).filter_map(char::from_u32);
            let regex = regex::Regex::new(text).unwrap();
            let matching = characters.filter(|c| regex.is_match(c.encode_utf8(&mut [0; 4])));
            matching
                .map(class)
                .collect::<std::collections::BTreeSet<_>>()
                .len()
        };
        assert_eq!((classes(r"\d"), classes(r"\s")), (10, 2));
    }

    #[test]
    fn ascii_has_the_same_classes_by_either_way() {
        for byte in 0..128u8 {
            assert_eq!(class(char::from(byte)), CLASSES[usize::from(byte)]);
        }
        let mut own: Vec<u8> = OWN.iter().map(|byte| CLASSES[usize::from(*byte)]).collect();
        own.dedup();
        assert_eq!((own.len(), own.last()), (OWN.len(), Some(&62)));
    }
}
