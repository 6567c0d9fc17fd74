use std::io::Read;

use crate::tests::oracle::{Wanted, scan};
use crate::tests::*;

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// A random substring of a line, cut at word borders or anywhere.
fn substring<'a>(random: &mut Random, line: &'a str, at_words: bool) -> Option<&'a str> {
    let mut cuts: Vec<usize> = line.char_indices().map(|(at, _)| at).collect();
    cuts.push(line.len());
    if at_words {
        cuts.retain(|at| {
            let before = line[..*at].chars().next_back().is_some_and(is_word);
            let after = line[*at..].chars().next().is_some_and(is_word);
            !(before && after)
        });
    }
    let (a, b) = (random.below(cuts.len()), random.below(cuts.len()));
    let found = &line[cuts[a.min(b)]..cuts[a.max(b)]];
    (!found.is_empty()).then_some(found)
}

fn every_line(members: &[Member]) -> Vec<&str> {
    let texts = members.iter().flat_map(|member| &member.texts);
    texts.flat_map(|(_, text)| text.split('\n')).collect()
}

#[test]
fn any_substring_of_any_line_is_found_where_a_raw_scan_finds_it() {
    for seed in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let members = members(seed, 60);
        build(folder.path(), &members, tiny(), 17);
        let searcher = open(folder.path(), &tiny());
        let lines = every_line(&members);
        let mut random = Random(seed ^ 77);
        let mut asked = 0;
        while asked < 40 {
            let line = lines[random.below(lines.len())];
            let at_words = random.below(2) == 0;
            let Some(part) = substring(&mut random, line, at_words) else {
                continue;
            };
            asked += 1;
            let (query, wanted) = if at_words {
                let upper = part.to_uppercase();
                let same = upper.chars().count() == part.chars().count()
                    && upper.chars().zip(part.chars()).all(|(a, b)| {
                        let low = |c: char| c.to_lowercase().collect::<String>();
                        low(a) == low(b)
                    });
                let typed = if same { upper } else { part.to_string() };
                (
                    Query::Text(Text::Term(typed)),
                    Wanted::Term(part.to_string()),
                )
            } else {
                (Query::fixed(part, false), Wanted::Fixed(part.to_string()))
            };
            let expected = scan(&members, &wanted, |member| wanted.is_in(member));
            assert!(!expected.is_empty(), "{part:?}");
            assert_eq!(answers(&searcher, &query), expected, "{part:?}");
            let scanned = SearchOptions {
                scan: true,
                ..SearchOptions::default()
            };
            let scanned: Vec<Answer> = hits(&searcher, &query, &scanned)
                .iter()
                .map(answer)
                .collect();
            assert_eq!(scanned, expected, "{part:?} by reading");
        }
    }
}

#[test]
fn patterns_give_the_hits_of_a_raw_scan() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(11, 80);
    build(folder.path(), &members, tiny(), 23);
    let searcher = open(folder.path(), &tiny());
    for pattern in [
        r"\d+\.\d+\.\d+\.\d+:4444",
        r"(?i)MIMI\w+",
        r"^the\b",
        r"evil\.exe\s*$",
        r"^$",
        r"",
        r"x*",
        r"HKLM.*Run.*\S",
        r"[^a]\s[^b]",
        r"東.{0,3}$",
        r"\x00",
        r"(?i)straße|kelvin",
        r"\bfoo_bar\b",
        r"the.*evil",
        r"\r",
        r"\r.*$",
        r"^[^t]*$",
        r"\W$",
        r"(?i)^ΟΔΌΣ|μtorrent",
        r"\z",
        r"\A\S+\z",
    ] {
        let wanted = Wanted::regex(pattern);
        let expected = scan(&members, &wanted, |member| wanted.is_in(member));
        let found = answers(&searcher, &Query::regex(pattern, false));
        assert_eq!(found, expected, "{pattern}");
    }
}

/// A pattern that matches a piece of some line: characters as they are, or
/// with something that matches them too in their place.
fn pattern_of(random: &mut Random, piece: &str) -> String {
    let mut pattern = String::from(if random.below(2) == 0 { "(?i)" } else { "" });
    for c in piece.chars() {
        let one = regex::escape(&c.to_string());
        match random.below(32) {
            0 => pattern.push('.'),
            1 => pattern.push_str(".*"),
            2 => pattern.push_str(&format!("(?:{one}|longer)")),
            3 => pattern.push_str(&format!("(?:{one}{one}|{one}|zz)")),
            4 => pattern.push_str(&format!("{one}?")),
            5 => pattern.push_str(&format!("{one}+")),
            6 => pattern.push_str(&format!("(?:{one}){{1,3}}")),
            7 if c.is_alphanumeric() => pattern.push_str(&format!("[{c}x-z]")),
            8 => pattern.push_str(&format!("{one}(?:qq)*")),
            9..=18 if c.is_ascii_digit() => pattern.push_str(r"\d"),
            9..=18 if c == ' ' => pattern.push_str(r"\s"),
            9..=12 if c.is_alphanumeric() => pattern.push_str(&format!("[0-9{c}aeiou]")),
            _ => pattern.push_str(&one),
        }
    }
    pattern
}

#[test]
fn any_pattern_gives_the_hits_of_a_raw_scan() {
    let mut narrowed = 0;
    for seed in 0..3 {
        let folder = tempfile::tempdir().unwrap();
        let members = members(seed + 40, 60);
        build(folder.path(), &members, tiny(), 17);
        let searcher = open(folder.path(), &tiny());
        let lines = every_line(&members);
        let mut random = Random(seed ^ 99);
        let mut asked = 0;
        while asked < 60 {
            let line = lines[random.below(lines.len())].trim_end_matches('\r');
            let piece: String = match substring(&mut random, line, false) {
                Some(piece) => piece.chars().take(16).collect(),
                None => continue,
            };
            asked += 1;
            let pattern = pattern_of(&mut random, &piece);
            let wanted = Wanted::regex(&pattern);
            let expected = scan(&members, &wanted, |member| wanted.is_in(member));
            let mut found = Vec::new();
            let query = Query::regex(&pattern, false);
            let summary = searcher
                .search(&query, &SearchOptions::default(), &mut |hit| {
                    found.push(answer(&hit));
                    ControlFlow::Continue(())
                })
                .unwrap();
            assert!(!expected.is_empty(), "{pattern}");
            assert_eq!(found, expected, "{pattern}");
            narrowed += usize::from(!summary.scanned);
            let folded = Query::fixed(&piece, true);
            let wanted = Wanted::any_case(&piece);
            let expected = scan(&members, &wanted, |member| wanted.is_in(member));
            assert_eq!(
                answers(&searcher, &folded),
                expected,
                "{piece:?} in any case"
            );
        }
    }
    assert!(
        narrowed > 20,
        "the 4-grams narrowed only {narrowed} patterns"
    );
}

#[test]
fn and_or_not_judge_one_member_and_list_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(5, 120);
    build(folder.path(), &members, tiny(), 40);
    let searcher = open(folder.path(), &tiny());
    let term = |t: &str| Wanted::Term(t.into());
    let (evil, tokyo, mimi) = (term("evil.exe"), term("東京都"), term("mimikatz"));
    let found = answers(&searcher, &parse("evil.exe AND NOT mimikatz"));
    let expected = scan(&members, &evil, |m| evil.is_in(m) && !mimi.is_in(m));
    assert_eq!(found, expected);
    let both = answers(&searcher, &parse("evil.exe 東京都"));
    let holds_both = |m: &Member| evil.is_in(m) && tokyo.is_in(m);
    let mut expected = scan(&members, &evil, holds_both);
    for answer in scan(&members, &tokyo, holds_both) {
        if !expected
            .iter()
            .any(|e| (&e.0, &e.1, e.2) == (&answer.0, &answer.1, answer.2))
        {
            expected.push(answer);
        }
    }
    assert_eq!(both.len(), expected.len());
    let device = answers(&searcher, &parse("evil.exe device:pc3"));
    let expected = scan(&members, &evil, |m| m.device.starts_with("PC3."));
    assert_eq!(device, expected);
    let timed = answers(&searcher, &parse("evil.exe since:2026-02-04T15:37:25Z"));
    let since = Time::from_text("2026-02-04T15:37:25Z");
    let expected = scan(&members, &evil, |m| {
        m.time.as_ref().is_some_and(|t| *t >= since)
    });
    assert_eq!(timed, expected);
}

#[test]
fn a_member_that_matches_by_its_fields_alone_is_listed_once() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(6, 50);
    build(folder.path(), &members, tiny(), 50);
    let searcher = open(folder.path(), &tiny());
    let found = hits(&searcher, &parse("device:PC2*"), &SearchOptions::default());
    let expected = members
        .iter()
        .filter(|m| m.device.starts_with("PC2."))
        .count();
    assert_eq!(found.len(), expected);
    assert!(found.iter().all(|hit| hit.line == 1 && hit.len == 0));
    let all = hits(&searcher, &Query::All, &SearchOptions::default());
    assert_eq!(all.len(), members.len());
}

#[test]
fn every_text_reads_back_and_every_hit_holds_what_it_claims() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(7, 60);
    build(folder.path(), &members, tiny(), 13);
    let searcher = open(folder.path(), &tiny());
    searcher.verify().unwrap();
    for member in &members {
        for (part, text) in &member.texts {
            let mut read = String::new();
            let mut reader = searcher.text(&member.content, part.as_ref()).unwrap();
            reader.read_to_string(&mut read).unwrap();
            assert_eq!(read, *text);
        }
    }
    let options = SearchOptions {
        context: 2,
        ..SearchOptions::default()
    };
    for hit in hits(&searcher, &parse("evil.exe OR σς"), &options) {
        let part = hit
            .member
            .layers
            .last()
            .filter(|l| ["output", "errors"].contains(&l.as_str()));
        let mut text = String::new();
        let mut reader = searcher.text(&hit.member.content, part).unwrap();
        reader.read_to_string(&mut text).unwrap();
        let lines: Vec<&str> = text
            .split('\n')
            .map(|line| line.strip_suffix('\r').unwrap_or(line))
            .collect();
        let at = hit.line as usize - 1;
        assert_eq!(hit.shown.text, lines[at]);
        assert_eq!(hit.before, lines[at.saturating_sub(2)..at]);
        let end = text.split_inclusive('\n').count();
        assert_eq!(hit.after, lines[at + 1..end.min(at + 3)]);
        let matched = &text[hit.offset as usize..(hit.offset + hit.len) as usize];
        assert!(["evil.exe", "σς"].contains(&matched.to_lowercase().as_str()));
        assert!(
            hit.shown
                .spans
                .iter()
                .any(|span| &hit.shown.text[span.clone()] == matched)
        );
    }
}

#[test]
fn the_same_documents_give_the_same_answers_however_they_were_published() {
    let members = members(8, 90);
    let queries = [
        "evil.exe",
        "mimi*",
        "NOT the",
        "device:pc1 foo_bar",
        "10.0.0.5",
    ];
    let mut first: Option<Vec<Vec<Answer>>> = None;
    for (every, settings) in [
        (1, IndexSettings::default()),
        (90, IndexSettings::default()),
        (7, tiny()),
        (1, tiny()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        build(folder.path(), &members, settings.clone(), every);
        let searcher = open(folder.path(), &settings);
        assert_eq!(searcher.watermark(), Seq(90));
        let found: Vec<_> = queries
            .iter()
            .map(|query| answers(&searcher, &parse(query)))
            .collect();
        assert!(found.iter().all(|answers| !answers.is_empty()));
        assert_eq!(first.get_or_insert(found.clone()), &found);
        if settings.key.is_none() {
            assert!(searcher.stats().segments <= 9, "small segments pile up");
        }
    }
}

#[test]
fn a_line_longer_than_any_limit_is_found_at_its_place() {
    let mut line = String::new();
    let mut random = Random(3);
    while line.len() < 3_500_000 {
        line.push_str(&format!("word{} ", random.below(1 << 30)));
    }
    let places = [
        0,
        1_000_000,
        1_048_570,
        1_048_576 - 65_536,
        2_031_616,
        3_400_000,
    ];
    for (n, place) in places.iter().enumerate() {
        line.insert_str(*place, &format!(" needle{n}.exe "));
    }
    let text = format!("first\n{line}\nlast needle9.exe");
    let folder = tempfile::tempdir().unwrap();
    let settings = IndexSettings::default();
    let member = member_of(text.clone());
    build(
        folder.path(),
        std::slice::from_ref(&member),
        settings.clone(),
        1,
    );
    let searcher = open(folder.path(), &settings);
    for query in [
        parse("needle4.exe"),
        Query::fixed("eedle4.ex", false),
        Query::regex(r"needle4\.e", false),
        parse("needle?.exe"),
    ] {
        let found = hits(&searcher, &query, &SearchOptions::default());
        let in_line: Vec<_> = found.iter().filter(|hit| hit.line == 2).collect();
        assert_eq!(in_line.len(), 1, "{query:?}");
        let hit = in_line[0];
        let matched = &text[hit.offset as usize..][..hit.len as usize];
        assert!(["needle4.exe", "eedle4.ex", "needle4.e", "needle0.exe"].contains(&matched));
        assert_eq!(hit.shown.line_bytes, Some(line.len() as u64));
        assert!(hit.shown.text_truncated && hit.shown.text.contains("eedle"));
    }
    for n in 0..places.len() {
        let found = answers(&searcher, &parse(&format!("needle{n}.exe")));
        let at = text.find(&format!("needle{n}.exe")).unwrap();
        assert_eq!((found[0].2, found[0].3), (2, at as u64));
        assert_eq!(found.len(), 1);
    }
    assert_eq!(answers(&searcher, &Query::regex("^word", false)).len(), 0);
    assert_eq!(answers(&searcher, &parse("needle9.exe"))[0].2, 3);
    let mut read = String::new();
    let mut reader = searcher.text(&member.content, None).unwrap();
    reader.read_to_string(&mut read).unwrap();
    assert!(read == text);
}

#[test]
fn a_text_taken_back_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(9, 20);
    let mut writer = IndexWriter::open(folder.path(), identity(), tiny()).unwrap();
    let mut random = Random(9);
    for (n, member) in members.iter().enumerate() {
        writer.begin(None);
        for _ in 0..random.below(3_000) {
            writer
                .text(&format!("phantom {} text\n", random.below(1 << 20)))
                .unwrap();
        }
        // Beginning the next text takes back what was not finished.
        if n % 3 == 0 {
            writer.abandon();
        }
        add(&mut writer, member, n as u64).unwrap();
        writer.begin(member.texts[0].0.clone());
        writer.text("phantom").unwrap();
        assert!(!writer.finish(member.content).unwrap());
    }
    writer.publish(Seq(20)).unwrap();
    let searcher = open(folder.path(), &tiny());
    assert!(answers(&searcher, &parse("phantom")).is_empty());
    assert!(answers(&searcher, &Query::fixed("phantom", false)).is_empty());
    let evil = Wanted::Term("evil.exe".into());
    let expected = scan(&members, &evil, |_| true);
    assert_eq!(answers(&searcher, &parse("evil.exe")), expected);
}

#[test]
fn a_text_larger_than_a_segment_is_one_text() {
    let mut random = Random(4);
    let text: String = (0..9_000)
        .map(|n| {
            format!(
                "{n} {} {}\n",
                random.next(),
                if n % 1000 == 7 { "needle" } else { "" }
            )
        })
        .collect();
    let member = Member {
        id: id(1),
        layers: Vec::new(),
        content: Sha256([5; 32]),
        device: "pc".into(),
        time: None,
        texts: vec![
            (Some(Layer::output()), text.clone()),
            (Some(Layer::errors()), "no\n".into()),
        ],
    };
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), std::slice::from_ref(&member), tiny(), 1);
    let searcher = open(folder.path(), &tiny());
    assert!(searcher.stats().segments > 3);
    assert_eq!(searcher.stats().contents, 1);
    let wanted = Wanted::Term("needle".into());
    let expected = scan(std::slice::from_ref(&member), &wanted, |_| true);
    let mut both = answers(&searcher, &parse("needle AND no"));
    assert_eq!(both.pop().unwrap().1, "errors");
    assert_eq!(both, expected);
    assert!(answers(&searcher, &parse("needle AND NOT no")).is_empty());
    let mut read = String::new();
    let mut reader = searcher
        .text(&member.content, Some(&Layer::output()))
        .unwrap();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(read, text);
    let writer = IndexWriter::open(folder.path(), identity(), tiny()).unwrap();
    assert!(writer.holds(&member.content));
}

#[test]
fn a_forgotten_result_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(10, 30);
    build(folder.path(), &members, tiny(), 10);
    let mut writer = IndexWriter::open(folder.path(), identity(), tiny()).unwrap();
    let again = &members[12];
    writer.forget(again.id);
    writer.result(ResultMetadata {
        device: Some("renamed".into()),
        ..ResultMetadata::new(again.id, Seq(13), ResultKind::File)
    });
    writer.occurrence(Occurrence::new(again.id, Vec::new(), again.content, 1));
    writer.publish(Seq(30)).unwrap();
    let searcher = open(folder.path(), &tiny());
    let rows: Vec<_> = searcher
        .results()
        .filter(|row| row.id == again.id)
        .collect();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].device.as_deref(), Some("renamed"));
    assert_eq!(searcher.results().count(), members.len());
    assert_eq!(searcher.stats().occurrences, members.len() as u64);
    assert_eq!(
        hits(
            &searcher,
            &parse("device:renamed"),
            &SearchOptions::default()
        )
        .len(),
        1
    );
}

#[test]
fn addresses_are_found_by_the_index_as_by_reading() {
    let folder = tempfile::tempdir().unwrap();
    let mut members = members(15, 40);
    let lines = [
        "TCP 10.1.2.3:https ESTABLISHED",
        "remote_ip:10.1.2.3",
        "::ffff:0a01:0203 is mapped",
        "0:0:0:0:0:FFFF:a01:203",
        "padded 010.001.002.003",
        "host...10.1.2.3",
        "none: 110.1.2.3 v10.1.2.3 ::ffff:0b01:0203",
    ];
    members[3].texts = vec![(None, lines.join("\r\n"))];
    members[3].content = content(&members[3].texts);
    build(folder.path(), &members, tiny(), 17);
    let searcher = open(folder.path(), &tiny());
    let scan = SearchOptions {
        scan: true,
        ..SearchOptions::default()
    };
    for (network, here) in [("10.0.0.0/8", 6), ("10.1.2.0/24", 6), ("10.1.2.3/32", 6)] {
        let found = hits(&searcher, &parse(network), &SearchOptions::default());
        let of_member = found.iter().filter(|hit| hit.member.id == members[3].id);
        assert_eq!(of_member.count(), here, "{network}");
        assert_eq!(found, hits(&searcher, &parse(network), &scan), "{network}");
    }
}

#[test]
fn an_empty_match_behind_the_last_line_has_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let member = member_of("x\nab");
    build(folder.path(), std::slice::from_ref(&member), tiny(), 1);
    let searcher = open(folder.path(), &tiny());
    let found = answers(&searcher, &Query::multiline(r"\z", false));
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].2, found[0].3, found[0].4), (2, 4, 0));
    let lines = |pattern| -> Vec<(u64, u64)> {
        let found = answers(&searcher, &Query::multiline(pattern, false));
        found.iter().map(|hit| (hit.2, hit.3)).collect()
    };
    assert_eq!(lines("$"), [(1, 1), (2, 4)]);
}

#[test]
fn an_index_whose_lines_all_hash_alike_gives_the_same_answers() {
    let members = members(16, 50);
    let found = |weaken: bool| {
        let folder = tempfile::tempdir().unwrap();
        let mut writer =
            IndexWriter::open(folder.path(), identity(), IndexSettings::default()).unwrap();
        if weaken {
            writer.open = crate::writer::segment_buffer::OpenText::new(
                crate::codec::line_hash::Hasher::weak(0),
            );
        }
        for (n, member) in members.iter().enumerate() {
            add(&mut writer, member, n as u64).unwrap();
        }
        writer.publish(Seq(50)).unwrap();
        let searcher = open(folder.path(), &IndexSettings::default());
        for member in &members {
            for (part, text) in &member.texts {
                let mut read = String::new();
                let mut reader = searcher.text(&member.content, part.as_ref()).unwrap();
                reader.read_to_string(&mut read).unwrap();
                assert_eq!(read, *text);
            }
        }
        let queries = [
            "evil.exe",
            "NOT the",
            "*a*",
            "/[0-9]+ /",
            "\"the evil.exe\"",
        ];
        queries.map(|query| answers(&searcher, &parse(query)))
    };
    let usual = found(false);
    assert!(usual[..4].iter().all(|answers| !answers.is_empty()));
    assert_eq!(found(true), usual);
}

#[test]
fn counts_agree_with_the_hits_they_count() {
    let folder = tempfile::tempdir().unwrap();
    let members = members(14, 70);
    build(folder.path(), &members, tiny(), 30);
    let searcher = open(folder.path(), &tiny());
    let query = parse("evil.exe");
    let found = hits(&searcher, &query, &SearchOptions::default());
    let (counts, summary) = searcher
        .count(&query, Some(Field::Device), false, None)
        .unwrap();
    assert_eq!(summary.hits, found.len() as u64);
    for count in counts {
        let here = found
            .iter()
            .filter(|hit| hit.member.device.as_deref() == Some(&count.value));
        assert_eq!(count.hits, here.count() as u64);
    }
    let options = SearchOptions {
        limit: Some(3),
        ..SearchOptions::default()
    };
    assert_eq!(hits(&searcher, &query, &options), found[..3]);
}

#[test]
fn any_time_is_before_or_behind_any_other() {
    let times = [
        "0001-01-01T00:00:00Z",
        "1677-01-01T00:00:00Z",
        "2026-02-04T15:37:25Z",
        "2262-05-01T00:00:00Z",
        "9999-12-30T00:00:00Z",
    ];
    let members = (0..).zip(times).map(|(n, time)| Member {
        id: id(n),
        time: Some(Time::from_text(time)),
        ..member_of(format!("line {n}"))
    });
    let members: Vec<Member> = members.collect();
    let folder = tempfile::tempdir().unwrap();
    build(folder.path(), &members, IndexSettings::default(), 5);
    let searcher = open(folder.path(), &IndexSettings::default());
    for (n, since) in times.iter().enumerate() {
        for (m, until) in times.iter().enumerate() {
            let query = Query::Time {
                since: since.parse().ok(),
                until: until.parse().ok(),
            };
            let expected = m.saturating_sub(n);
            assert_eq!(
                answers(&searcher, &query).len(),
                expected,
                "{since} {until}"
            );
        }
    }
}
