//! Patterns over line ends, and hits by rarity, against whole texts.

use std::collections::{BTreeMap, BTreeSet};

use crate::tests::*;

#[test]
fn patterns_over_line_ends_are_found_in_whole_texts() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(90, 60);
    build(folder.path(), &members, tiny(), 17);
    let searcher = open(folder.path(), &tiny());
    // What ends a line is written out on the right: these patterns know nothing
    // of carriage returns.
    for (pattern, raw) in [
        (r"evil\.exe\s*\n\s*the", r"evil\.exe\s*\n\s*the"),
        (r"\r\n\S+ ", r"\r\n\S+ "),
        (r"(?s)foo_bar.{0,40}mimikatz", r"(?s)foo_bar.{0,40}mimikatz"),
        (r"\d\n", r"\d\n"),
        (r"^the$", r"^the(?:\r|$)"),
        (r"foo_bar$", r"foo_bar(?:\r|$)"),
        (r"^$", r"^(?:\r|$)"),
        (r"the.*evil", r"the[^\n]*evil"),
        (r"exe$\s+^the", r"exe(?:\r|$)\s*^the"),
        (r"mimikatz", r"mimikatz"),
        (r"no such\ntext", r"no such\ntext"),
    ] {
        let regex = regex::Regex::new(&format!("(?m){raw}")).unwrap();
        let mut expected = Vec::new();
        for member in &members {
            for (part, text) in &member.texts {
                let mut layers = member.layers.clone();
                layers.extend(part.clone());
                let mut lines = BTreeMap::new();
                for found in regex.find_iter(text) {
                    let before = &text[..found.start()];
                    if found.start() < text.len() || !text.ends_with('\n') {
                        let line = before.matches('\n').count() as u64 + 1;
                        lines.entry(line).or_insert(found.start() as u64);
                    }
                }
                let place = (
                    member.id.to_string(),
                    crate::search::compiled_query::joined(&layers),
                );
                let lines = lines.into_iter();
                expected.extend(lines.map(|(n, at)| (place.0.clone(), place.1.clone(), n, at)));
            }
        }
        expected.sort();
        let query = Query::multiline(pattern, false);
        let mut found: Vec<_> = answers(&searcher, &query)
            .into_iter()
            .map(|answer| (answer.0, answer.1, answer.2, answer.3))
            .collect();
        found.sort();
        assert_eq!(found, expected, "{pattern}");
    }
    let both = Query::multiline(r"evil\.exe\s*\n", false).and(parse("NOT mimikatz"));
    let found = hits(&searcher, &both, &SearchOptions::default());
    let holds = |id: ResultId, text: &str| {
        let member = members.iter().find(|member| member.id == id).unwrap();
        member
            .texts
            .iter()
            .any(|(_, t)| t.to_lowercase().contains(text))
    };
    assert!(!found.is_empty());
    assert!(found.iter().all(|hit| holds(hit.member.id, "evil.exe")));
    let words = regex::Regex::new(r"(?i)\bmimikatz\b").unwrap();
    assert!(found.iter().all(|hit| {
        let member = members
            .iter()
            .find(|member| member.id == hit.member.id)
            .unwrap();
        !member.texts.iter().any(|(_, text)| words.is_match(text))
    }));
}

#[test]
fn the_rarest_lines_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(91, 80);
    build(folder.path(), &members, tiny(), 30);
    let searcher = open(folder.path(), &tiny());
    let query = parse("evil.exe");
    let usual = hits(&searcher, &query, &SearchOptions::default());
    let options = SearchOptions {
        order: HitOrder::RarestFirst,
        ..SearchOptions::default()
    };
    let rarest = hits(&searcher, &query, &options);
    let mut devices: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for hit in &usual {
        let device = hit.member.device.as_deref().unwrap();
        devices.entry(&hit.shown.text).or_default().insert(device);
    }
    let counts: Vec<usize> = rarest
        .iter()
        .map(|hit| devices[hit.shown.text.as_str()].len())
        .collect();
    assert!(
        counts.is_sorted() && counts.first() < counts.last(),
        "{counts:?}"
    );
    let sorted = |hits: &[Hit]| {
        let mut answers: Vec<Answer> = hits.iter().map(answer).collect();
        answers.sort();
        answers
    };
    assert_eq!(sorted(&usual), sorted(&rarest));
    // What goes on behind a line's end, and members that match by their fields.
    for query in [
        parse("\"evil.exe the\""),
        parse("device:pc*"),
        Query::multiline(r"\d\n", false),
    ] {
        let usual = sorted(&hits(&searcher, &query, &SearchOptions::default()));
        assert_eq!(usual, sorted(&hits(&searcher, &query, &options)));
        assert!(usual.len() > 1, "{query:?}");
    }
    // The same lines stand together.
    let mut texts: Vec<&str> = rarest.iter().map(|hit| hit.shown.text.as_str()).collect();
    texts.dedup();
    let distinct: BTreeSet<&str> = texts.iter().copied().collect();
    assert!(
        texts.len() <= distinct.len() + 2,
        "lines with and without an end"
    );
}

#[test]
fn how_common_a_word_is_is_counted_as_far_as_asked() {
    use crate::matcher::prefilter::NeededTerm;
    let folder = tempfile::tempdir().unwrap();
    let lines: String = (0..50).map(|n| format!("evil{} x{n}y\n", n % 7)).collect();
    build(
        folder.path(),
        &[member_of(lines)],
        IndexSettings::default(),
        1,
    );
    let searcher = open(folder.path(), &IndexSettings::default());
    let part = &searcher.segment(0).terms().unwrap()[0];
    let begin = || NeededTerm::Prefix("evil".into());
    let word = |word: &str| NeededTerm::Term(word.into());
    let frequency = |needed: &[NeededTerm], most| part.frequency(needed, most).unwrap();
    assert_eq!(frequency(&[begin()], u64::MAX), 50);
    assert_eq!(frequency(&[begin()], 9), 9);
    assert_eq!(frequency(&[begin(), word("evil3")], u64::MAX), 7);
    assert_eq!(frequency(&[word("evil3"), begin()], 5), 5);
    assert_eq!(frequency(&[begin(), word("absent")], 9), 0);
}
