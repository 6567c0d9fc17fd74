//! Phrases over line ends, against a look at the whole text.

use crate::tests::oracle::Wanted;
use crate::tests::*;

fn expected(members: &[Member], phrase: &str) -> Vec<(String, String, u64)> {
    let mut all = Vec::new();
    for member in members {
        for (part, text) in &member.texts {
            let mut layers = member.layers.clone();
            layers.extend(part.clone());
            let place = (
                member.id.to_string(),
                crate::search::compiled_query::joined(&layers),
            );
            let found = Wanted::Phrase(phrase.to_string()).places(text).into_iter();
            all.extend(found.map(|found| (place.0.clone(), place.1.clone(), found.line)));
        }
    }
    all.sort();
    all
}

fn found(searcher: &Searcher, phrase: &str) -> Vec<(String, String, u64)> {
    let query = Query::Text(Text::Phrase(phrase.to_string()));
    let found = hits(searcher, &query, &SearchOptions::default());
    for hit in &found {
        let begin = crate::codec::tokenizer::fold_text(&hit.shown.text);
        let first = crate::codec::tokenizer::fold_text(phrase);
        let first = first.split_whitespace().next().unwrap();
        assert!(begin.contains(first), "{phrase:?} in {:?}", hit.shown.text);
    }
    let mut found: Vec<_> = found
        .iter()
        .map(answer)
        .map(|answer| (answer.0, answer.1, answer.2))
        .collect();
    found.sort();
    found
}

#[test]
fn phrases_over_line_ends_are_found_where_the_whole_text_has_them() {
    let (mut asked, mut crossing) = (0, 0);
    for seed in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let members = members(seed + 70, 60);
        build(folder.path(), &members, tiny(), 17);
        let searcher = open(folder.path(), &tiny());
        let mut random = Random(seed ^ 5);
        for _ in 0..70 {
            let member = &members[random.below(members.len())];
            let (_, text) = &member.texts[random.below(member.texts.len())];
            let words: Vec<&str> = text.split_whitespace().collect();
            if words.len() < 6 {
                continue;
            }
            let from = random.below(words.len() - 5);
            let phrase = words[from..from + 2 + random.below(4)].join(" ");
            let expected = expected(&members, &phrase);
            asked += 1;
            let pieces: Vec<&str> = phrase.split(' ').collect();
            let within = |line: &str| line.to_lowercase().contains(&phrase.to_lowercase());
            crossing += usize::from(pieces.len() > 1 && !text.lines().any(within));
            assert_eq!(found(&searcher, &phrase), expected, "{phrase:?}");
        }
    }
    assert!(asked > 120 && crossing > 15, "{asked} {crossing}");
}

#[test]
fn phrases_cross_the_borders_of_segments_and_long_lines() {
    let mut random = Random(8);
    let mut text = String::new();
    for n in 0..120 {
        text.push_str(&format!("start{n} {} end{n}\r\n", random.next()));
    }
    let long = "word ".repeat(300_000);
    text.push_str(&format!("longer {long}last\n  behind it\n"));
    let member = Member {
        id: id(1),
        layers: Vec::new(),
        content: Sha256([7; 32]),
        device: "pc".into(),
        time: None,
        texts: vec![(Some(Layer::output()), text)],
    };
    let settings = IndexSettings {
        lines_max: 20,
        ..tiny()
    };
    let folder = tempfile::tempdir().unwrap();
    build(
        folder.path(),
        std::slice::from_ref(&member),
        settings.clone(),
        1,
    );
    let searcher = open(folder.path(), &settings);
    assert!(searcher.stats().segments > 5);
    let lines = |phrase: &str| -> Vec<u64> {
        let found = found(&searcher, phrase);
        found.into_iter().map(|(_, _, line)| line).collect()
    };
    for n in 0..119 {
        assert_eq!(lines(&format!("end{n} start{}", n + 1)), [n + 1], "{n}");
    }
    assert_eq!(lines("end119 longer word"), [120]);
    assert_eq!(lines("word last behind it"), [121]);
    assert!(lines("end3 start5").is_empty() && lines("last word").is_empty());
}

#[test]
fn any_blanks_part_the_words_of_a_phrase_by_every_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut members = members(75, 40);
    let line = "  TCP    10.9.8.7:445 \t 10.0.0.5:50123    ESTABLISHED\r\n";
    members[7].texts = vec![(None, format!("Active Connections\r\n{line}"))];
    members[7].content = content(&members[7].texts);
    members[9].texts = vec![(None, "tcp\n\t\t10.9.8.7:445\n".into())];
    members[9].content = content(&members[9].texts);
    build(folder.path(), &members, tiny(), 17);
    let searcher = open(folder.path(), &tiny());
    for (phrase, count) in [
        ("tcp 10.9.8.7:445", 2),
        ("tcp  10.9.8.7", 2),
        ("10.9.8.7:445 10.0.0.5:50123 established", 1),
        ("tcp established", 0),
    ] {
        let expected = expected(&members, phrase);
        assert_eq!(expected.len(), count, "{phrase}");
        assert_eq!(found(&searcher, phrase), expected, "{phrase}");
        let scan = SearchOptions {
            scan: true,
            ..SearchOptions::default()
        };
        let query = Query::Text(Text::Phrase(phrase.to_string()));
        assert_eq!(hits(&searcher, &query, &scan).len(), count, "{phrase}");
    }
    let hit = &hits(
        &searcher,
        &parse("\"tcp 10.9.8.7\""),
        &SearchOptions::default(),
    )[0];
    assert_eq!(hit.len as usize, if hit.line == 2 { 15 } else { 3 });
}

#[test]
fn a_phrase_that_crosses_joins_with_the_rest_of_the_query() {
    let folder = tempfile::tempdir().unwrap();
    let texts = [
        "a new\nservice was\ninstalled\n",
        "a new service\n",
        "new\n\nservice\n",
    ];
    let members: Vec<Member> = (0..texts.len())
        .map(|n| Member {
            id: id(n as u64 * 3),
            layers: Vec::new(),
            content: Sha256([n as u8; 32]),
            device: format!("PC{n}"),
            time: None,
            texts: vec![(None, texts[n].to_string())],
        })
        .collect();
    build(folder.path(), &members, IndexSettings::default(), 3);
    let searcher = open(folder.path(), &IndexSettings::default());
    let devices = |query: &str| -> Vec<String> {
        let found = hits(&searcher, &parse(query), &SearchOptions::default());
        let mut devices: Vec<String> = found
            .into_iter()
            .filter_map(|hit| hit.member.device.clone())
            .collect();
        devices.sort();
        devices
    };
    assert_eq!(devices("\"new service\""), ["PC0", "PC1"]);
    assert_eq!(devices("\"new service was installed\""), ["PC0"]);
    assert_eq!(devices("\"new service\" AND NOT installed"), ["PC1"]);
    assert_eq!(devices("new AND NOT \"new service\""), ["PC2"]);
    assert_eq!(devices("\"new   service\""), ["PC0", "PC1"]);
    let hit = &hits(
        &searcher,
        &parse("\"New Service was\""),
        &SearchOptions::default(),
    )[0];
    assert_eq!((hit.line, hit.offset, hit.len), (1, 2, 3));
    assert_eq!(hit.shown.spans, std::slice::from_ref(&(2..5)));
    let (counts, summary) = searcher
        .count(&parse("\"new service\""), Some(Field::Device), false, None)
        .unwrap();
    assert_eq!((counts.len(), summary.hits), (2, 2));
}

#[test]
fn a_phrase_goes_on_behind_more_blanks_than_a_part_holds() {
    let blanks = |n: usize| " ".repeat(n);
    // Words end within the first KiB of a last part, blanks follow.
    let (part, shared) = (1 << 20, 64 << 10);
    let head = format!("{}two", "x ".repeat((part - shared) / 2 + 200));
    let texts = [
        format!("p one\n{}two y\n", blanks(1_200_000)),
        format!("p one\n{}two", blanks(3_000_000)),
        format!("p one\n{}twos y\n", blanks(part - 3)),
        format!("p one\n{}z two y\n", blanks(1_200_000)),
        format!("{head}{}\nthree\n", blanks(65_400)),
    ];
    let members = (0..).zip(texts).map(|(n, text)| Member {
        id: id(n),
        ..member_of(text)
    });
    let members: Vec<Member> = members.collect();
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &members, IndexSettings::default(), 9);
    let searcher = open(folder.path(), &IndexSettings::default());
    let found = |text: &str| {
        let mut found: Vec<_> = answers(&searcher, &Query::Text(Text::Phrase(text.into())));
        found.sort_by_key(|hit| hit.3);
        found
            .into_iter()
            .map(|hit| (hit.2, hit.3))
            .collect::<Vec<_>>()
    };
    assert_eq!(found("one two"), [(1, 2), (1, 2)]);
    assert_eq!(found("two three"), [(1, head.len() as u64 - 3)]);
}

#[test]
fn of_phrases_that_cross_the_same_line_end_the_first_is_the_match() {
    let member = member_of("x evil.exe  the\r\nnext line\n");
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &[member], IndexSettings::default(), 1);
    let searcher = open(folder.path(), &IndexSettings::default());
    let phrases = ["the next", "exe the next", "evil.exe the next line"];
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let asked = order.map(|n| Query::Text(Text::Phrase(phrases[n].into())));
        let found = answers(&searcher, &Query::Or(asked.to_vec()));
        let found: Vec<_> = found.iter().map(|hit| (hit.2, hit.3, hit.4)).collect();
        assert_eq!(found, [(1, 2, 13)], "{order:?}");
    }
}
