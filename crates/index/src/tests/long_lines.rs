//! Lines over the longest that is stored in one: whatever is found in a short
//! line is found in them, at its place, wherever they are cut.

use crate::tests::*;

/// One member with one line of several parts between two short ones.
fn long_member(line: &str) -> Member {
    member_of(format!("first\r\n{line}\r\nend"))
}

/// As many segments as there are parts, or one.
fn small() -> IndexSettings {
    IndexSettings {
        text_max: 1 << 20,
        distinct_max: 1 << 20,
        lines_max: 100,
        key: None,
    }
}

/// The hits of a query: line, offset, length; the same by the index and by
/// reading, in one segment and over several.
fn places(line: &str, queries: &[Query]) -> Vec<Vec<(u64, u64, u64)>> {
    let member = long_member(line);
    let mut first: Option<Vec<Vec<(u64, u64, u64)>>> = None;
    for settings in [IndexSettings::default(), small()] {
        let folder = tempfile::tempdir().unwrap();
        build(
            folder.path(),
            std::slice::from_ref(&member),
            settings.clone(),
            1,
        );
        let searcher = open(folder.path(), &settings);
        assert_eq!(searcher.stats().segments > 1, settings.lines_max == 100);
        for scan in [false, true] {
            let options = SearchOptions {
                scan,
                ..SearchOptions::default()
            };
            let found = queries.iter().map(|query| {
                let found = hits(&searcher, query, &options);
                let found = found.iter().filter(|hit| hit.len > 0 || hit.offset > 0);
                found.map(|hit| (hit.line, hit.offset, hit.len)).collect()
            });
            let found: Vec<Vec<_>> = found.collect();
            assert_eq!(first.get_or_insert(found.clone()), &found, "scan {scan}");
        }
    }
    first.unwrap()
}

fn phrase(text: &str) -> Query {
    Query::Text(Text::Phrase(text.into()))
}

#[test]
fn addresses_in_a_run_over_several_parts_are_read_from_its_beginning() {
    let others = ["1111"; 8].join(":");
    let wanted = format!("fe80:{}", ["1111"; 7].join(":"));
    let line = format!("x {}:{wanted}", vec![others.as_str(); 27_000].join(":"));
    let at = 7 + 2 + 27_000 * (others.len() as u64 + 1);
    let found = places(&line, &[parse("fe80::/10"), parse("1111:fe80::/32")]);
    assert_eq!(found[0], [(2, at, wanted.len() as u64)]);
    assert_eq!(found[1], []);
}

#[test]
fn one_word_of_several_parts_is_one_word() {
    // One run of hex digits of 2.5 MiB, what is sought in its last part.
    let mut random = Random(5);
    let mut line = String::new();
    while line.len() < 2_600_000 {
        line.push_str(&format!("{:016x}", random.next()));
    }
    line.insert_str(2_400_000, "deadbeefwasg");
    let whole = line.len() as u64;
    let found = places(
        &line,
        &[
            parse("*beefwasg*"),
            parse("beefwasg*"),
            Query::regex(r"\w*beefwas", false),
            Query::regex("^[0-9a-f]+deadbeefw", false),
            Query::regex("beefwas.*$", false),
            Query::fixed("BEEFWASG", true),
        ],
    );
    // With 256 characters of its word at either end.
    assert_eq!(found[0], [(2, 7 + 2_400_004 - 256, 256 + 8 + 256)]);
    assert_eq!(found[1], []);
    assert_eq!(found[2], [(2, 7, 2_400_000 + 11)]);
    assert_eq!(found[3], [(2, 7, 2_400_000 + 9)]);
    assert_eq!(found[4], [(2, 7 + 2_400_004, whole - 2_400_004)]);
    assert_eq!(found[5], [(2, 7 + 2_400_004, 8)]);
}

#[test]
fn a_part_ends_no_line_and_begins_none() {
    let line = "ab ".repeat(500_000) + "xb";
    let found = places(
        &line,
        &[
            Query::regex("a[^b]*$", false),
            Query::regex("^b|^ ", false),
            Query::regex(r"ab (?:ab )*xb$", false),
            Query::regex(r"^(?:ab )*xb\r?$", false),
            Query::regex(r"\r", false),
        ],
    );
    let whole = line.len() as u64;
    assert_eq!(found[0], []);
    assert_eq!(found[1], []);
    assert_eq!(found[2], [(2, 7, whole)]);
    assert_eq!(found[3], [(2, 7, whole)]);
    assert_eq!(found[4], []);
}

#[test]
fn words_far_apart_are_found_together() {
    let argument = "QUJD/".repeat(30_000);
    let mut line = "- ".repeat(700_000);
    let at = line.len() as u64;
    line.push_str(&format!("cmd {argument} evil"));
    line.push_str(&"\t".repeat(300_000));
    line.push_str("twin tail");
    let end = at + 4 + argument.len() as u64 + 5;
    let found = places(
        &line,
        &[
            Query::regex("cmd.*evil", false),
            Query::regex("(?i)^.*EVIL", false),
            parse("\"evil cmd\"~999 OR cmd"),
            phrase("evil twin"),
            phrase("evil tail"),
            phrase("twin tail end"),
            parse("evil NOT /cmd.*evil/"),
            parse("\"twin evil\"~0"),
        ],
    );
    assert_eq!(found[0], [(2, 7 + at, end - at)]);
    assert_eq!(found[1], [(2, 7, end)]);
    assert_eq!(found[2], [(2, 7 + at, 3)]);
    assert_eq!(found[3], [(2, 7 + end - 4, 300_000 + 8)]);
    assert_eq!(found[4], []);
    assert_eq!(found[5].len(), 1);
    assert_eq!((found[5][0].0, found[5][0].2), (2, 9));
    assert_eq!(found[6], []);
    assert_eq!(found[7], found[3]);
}

#[test]
fn a_line_in_parts_is_listed_once_at_its_first_match() {
    let mut line = "word ".repeat(600_000);
    line.insert_str(2_000_000, "needle.exe ");
    line.insert_str(1_200_000, "other.exe ");
    let found = places(
        &line,
        &[
            parse("needle.exe OR *ther.exe"),
            parse("\"needle.exe word\"~1 OR word"),
            Query::regex("needle.*word $", false),
        ],
    );
    assert_eq!(found[0], [(2, 7 + 1_200_000, 9)]);
    assert_eq!(found[1], [(2, 7, 4)]);
    assert_eq!(found[2].len(), 1);
    assert_eq!(found[2][0].1, 7 + 2_000_010);
}

#[test]
fn a_line_too_long_for_a_pattern_is_said_to_be() {
    let mut line = "word ".repeat(7_400_000);
    line.replace_range(1_000_000..1_000_006, "absent");
    line.replace_range(36_000_000..36_000_006, "needle");
    let member = long_member(&line);
    let folder = tempfile::tempdir().unwrap();
    let settings = IndexSettings::default();
    build(
        folder.path(),
        std::slice::from_ref(&member),
        settings.clone(),
        1,
    );
    let searcher = open(folder.path(), &settings);
    let cut = |query: &Query| {
        let mut hits = 0;
        let options = SearchOptions::default();
        let summary = searcher.search(query, &options, &mut |_| {
            hits += 1;
            ControlFlow::Continue(())
        });
        (hits, summary.unwrap().cut_lines)
    };
    assert_eq!(cut(&Query::regex("needle.*absent", false)), (0, 1));
    assert_eq!(cut(&Query::regex("^word.*needle", false)), (0, 1));
    assert_eq!(cut(&Query::regex("needle.*$", false)), (1, 0));
    assert_eq!(
        cut(&Query::regex("needle[a-z ]{0,70000}absent", false)),
        (0, 0)
    );
    assert_eq!(cut(&parse("needle*")), (1, 0));
    assert_eq!(cut(&parse("*absent*")), (1, 0));
    assert_eq!(cut(&phrase("word absent")), (0, 0));
    assert_eq!(cut(&parse("\"word absent\"~9")), (0, 0));
    assert_eq!(cut(&parse("absent")), (0, 0));
}

/// A line too long to be held at once, written and searched in pieces.
#[test]
fn a_line_of_any_length_is_found_in_at_its_places() {
    let exhaustive = std::env::var_os("AFTERACTION_EXHAUSTIVE").is_some();
    let len: u64 = if exhaustive { 200 << 20 } else { 5 << 20 };
    let folder = tempfile::tempdir().unwrap();
    let settings = IndexSettings::default();
    let mut writer = IndexWriter::open(folder.path(), identity(), settings.clone()).unwrap();
    let mut random = Random(6);
    let (mut places, mut offset) = (Vec::new(), 0);
    writer.begin(None);
    let mut write = |text: &str| {
        writer.text(text).unwrap();
        offset += text.len() as u64;
        offset
    };
    write("first\n");
    let mut next = 0;
    let mut at = write("");
    while at < len || places.is_empty() {
        if at >= next && places.len() < 12 {
            at = write("\u{e9} ");
            places.push(at);
            at = write(&format!("needle{}.exe  found ", places.len()));
            next = at + len / 12;
        }
        let mut piece = String::new();
        while piece.len() < 60_000 {
            piece.push_str(&format!("word{} ", random.below(1 << 40)));
        }
        at = write(&piece);
    }
    write("tail");
    let content = Sha256([4; 32]);
    assert!(writer.finish(content).unwrap());
    writer.result(ResultMetadata::new(id(1), Seq(1), ResultKind::File));
    writer.occurrence(Occurrence::new(id(1), Vec::new(), content, at));
    writer.publish(Seq(1)).unwrap();
    let searcher = open(folder.path(), &settings);
    assert!(places.len() > 8);
    // Two of them: each is sought in the whole line several times.
    for (n, place) in places
        .iter()
        .enumerate()
        .filter(|(n, _)| [4, 8].contains(n))
    {
        let name = format!("needle{}.exe", n + 1);
        let upper = name.to_uppercase();
        for (query, start, len) in [
            (parse(&upper), 0, name.len()),
            (Query::fixed(&name[1..], false), 1, name.len() - 1),
            (Query::fixed(&upper, true), 0, name.len()),
            (
                Query::regex(format!(r"\b{name}\s+f"), false),
                0,
                name.len() + 3,
            ),
            (phrase(&format!("{upper} found")), 0, name.len() + 7),
            (parse(&format!("*dle{}.e?e", n + 1)), 0, name.len()),
            (parse(&format!("\"found {name}\"~0")), 0, name.len() + 7),
        ] {
            let found = answers(&searcher, &query);
            let found: Vec<_> = found.iter().map(|hit| (hit.2, hit.3, hit.4)).collect();
            assert_eq!(found, [(2, place + start, len as u64)], "{query:?}");
        }
    }
    assert!(answers(&searcher, &phrase("found needle1.exe")).is_empty());
}

#[test]
fn a_word_of_any_length_is_seen_into() {
    let mut line = "0123456789abcdef".repeat(600_000);
    line.insert_str(6_000_000, "evilz");
    let member = long_member(&line);
    let folder = tempfile::tempdir().unwrap();
    let settings = IndexSettings::default();
    build(folder.path(), &[member], settings.clone(), 1);
    let searcher = open(folder.path(), &settings);
    for query in ["*evilz*", "*EVILZ0*", "*?vilz*"] {
        let mut found = Vec::new();
        let query = parse(query);
        let options = SearchOptions::default();
        let summary = searcher.search(&query, &options, &mut |hit| {
            found.push((
                hit.offset,
                hit.shown.text[hit.shown.spans[0].clone()].to_string(),
            ));
            ControlFlow::Continue(())
        });
        assert_eq!(summary.unwrap().cut_lines, 0, "{query:?}");
        assert_eq!(found.len(), 1, "{query:?}");
        assert_eq!(found[0].0, 7 + 6_000_000 - 256, "{query:?}");
        assert!(found[0].1.contains("vilz"), "{found:?}");
    }
}

#[test]
fn the_neighbours_of_a_long_line_are_lines() {
    let line = format!("{} needle {}", "a ".repeat(600_000), "b ".repeat(600_000));
    let member = long_member(&format!("second\n{line}\nfourth"));
    for settings in [IndexSettings::default(), small()] {
        let folder = tempfile::tempdir().unwrap();
        let members = std::slice::from_ref(&member);
        build(folder.path(), members, settings.clone(), 1);
        let searcher = open(folder.path(), &settings);
        let options = SearchOptions {
            context: 2,
            ..SearchOptions::default()
        };
        let hits_of = |query: &str| hits(&searcher, &parse(query), &options);
        let hit = &hits_of("needle")[0];
        assert_eq!(
            (hit.line, &hit.before[..]),
            (3, &["first", "second"].map(String::from)[..])
        );
        assert_eq!(hit.after, ["fourth", "end"]);
        let hit = &hits_of("fourth")[0];
        assert_eq!((hit.before.len(), &hit.before[0][..]), (2, "second"));
        assert!(hit.before[1].starts_with("a a") && hit.after == ["end"]);
    }
}

/// Members that hold a common word each, one of them with a line that is too
/// long for what is sought in it.
fn beside_common_ones(line: &str) -> (tempfile::TempDir, IndexSettings) {
    let mut members = vec![long_member(&format!("common\n{line}"))];
    for n in 2..30 {
        let texts = vec![(None, format!("common line {n}\ncommon again {n}\n"))];
        members.push(Member {
            id: id(n),
            content: content(&texts),
            texts,
            ..long_member("")
        });
    }
    let (folder, settings) = (tempfile::tempdir().unwrap(), IndexSettings::default());
    build(folder.path(), &members, settings.clone(), 30);
    (folder, settings)
}

#[test]
fn what_a_window_cannot_show_is_said_where_a_rarer_text_says_where_to_look() {
    let line = format!("alphaq{}omegaq", "z".repeat(5_500_000));
    let (folder, settings) = beside_common_ones(&line);
    let searcher = open(folder.path(), &settings);
    for query in ["alphaq*omegaq", "common alphaq*omegaq"] {
        let query = parse(query);
        let summary = searcher.search(&query, &SearchOptions::default(), &mut |_| {
            ControlFlow::Continue(())
        });
        let summary = summary.unwrap();
        assert_eq!((summary.hits, summary.cut_lines), (0, 1), "{query:?}");
    }
}

#[test]
fn reading_every_line_for_the_rarest_text_is_said() {
    let (folder, settings) = beside_common_ones("other q7.");
    let searcher = open(folder.path(), &settings);
    let said = |query: &str| {
        let query = parse(query);
        let summary = searcher.search(&query, &SearchOptions::default(), &mut |_| {
            ControlFlow::Continue(())
        });
        summary.unwrap()
    };
    let alone = said(r"/q.\./");
    assert!(alone.scanned && alone.hits == 1);
    let all = said(r"/q.\./ /c..m.n/ /m.n a/");
    assert!(all.scanned && all.hits == 0, "{:?}", all.texts);
    assert!(all.texts[1].within_lines > 0, "{:?}", all.texts);
    assert!(all.frames > alone.frames, "{}", all.frames);
}
