//! Texts of every kind in lines that are stored in parts.

use crate::tests::trees::*;

/// **Units**: bytes of what a line is filled up with: more than a part of it.
const FILLED: usize = 1_100_000;

fn filled(random: &mut Random, len: usize) -> String {
    let mut text = String::new();
    while text.len() < len {
        let word = match random.below(40) {
            0 => "aB;É\t",
            _ => random.pick(&["ab be ", "x10 ", "xy -- "]),
        };
        text.push_str(word);
    }
    text
}

/// A few lines of several parts among short ones, with the same words at the
/// beginning, around where parts end, and at the end.
fn long_members(random: &mut Random) -> Vec<Member> {
    let mut members = members_of(90, 24, &fleet::line);
    let begins = ["headq 東京都 10.1.2.3 ", "x \u{0} mimikats\r "];
    let ends = ["\r\n", ""];
    for (nth, (begin, end)) in begins.into_iter().zip(ends).enumerate() {
        let mut line = format!("{begin}{}", filled(random, FILLED));
        // Around the end of the first part, and where the second begins.
        for (at, word) in [
            (1_048_570, " foo_bar_at_an_end "),
            (983_035, " mimikatz64 Σervice  new "),
        ] {
            let at = crate::codec::char_boundary::ceil(&line, at + random.below(12));
            line.insert_str(at, word);
        }
        let tail = format!("xx fe80::{nth} tailq{nth}{end}");
        let text = match end {
            "" => format!("first new\n{line}{tail}"),
            _ => format!("first new\r\n{line}{tail}\tlast evil.exe\nnew"),
        };
        let n = [4, 9][nth];
        members[n].texts = vec![(None, text)];
        members[n].content = content(&members[n].texts);
    }
    // The same long line a second time, elsewhere.
    members[15].texts = members[9].texts.clone();
    members[15].content = members[9].content;
    members
}

fn queries() -> Vec<(Query, Wanted)> {
    let text = |text| Query::Text(text);
    let fixed = |piece: &str| (Query::fixed(piece, false), Wanted::Fixed(piece.into()));
    let regex = |pattern: &str| (Query::regex(pattern, false), Wanted::regex(pattern));
    let wildcard = |word: &str| {
        let query = text(Text::Wildcard(word.into()));
        (query, Wanted::Wildcard(word.into()))
    };
    let phrase = |words: &str| {
        let query = text(Text::Phrase(words.into()));
        (query, Wanted::Phrase(words.into()))
    };
    let near = |words: &[&str], within: usize| {
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        let query = text(Text::Near {
            words: words.clone(),
            within: within as u32,
        });
        (query, Wanted::Near(words, within))
    };
    let alike = |word: &str, distance: usize| {
        let query = text(Text::Fuzzy {
            word: word.into(),
            distance: distance as u8,
        });
        (query, Wanted::Alike(word.into(), distance))
    };
    let network = |written: &str, bits: usize| {
        let address = written.parse().unwrap();
        let query = IpNetwork::read(&format!("{written}/{bits}")).unwrap();
        (
            text(Text::IpNetwork(query)),
            Wanted::IpNetwork(address, bits),
        )
    };
    let multiline = |pattern: &str| {
        let query = Query::multiline(pattern, true);
        (query, Wanted::multiline(pattern, true))
    };
    vec![
        regex("headq.*tailq0"),
        regex("^x .*tail"),
        regex(r"^[hx].*xx fe80::\d tailq.$"),
        regex("tailq.*headq"),
        regex(r"foo_bar\w+ [^q]*tailq"),
        (Query::regex("σERVICE", true), Wanted::any_case("Σervice")),
        (Query::fixed("KATZ64 σ", true), Wanted::any_case("katz64 Σ")),
        fixed("xx fe80::1"),
        fixed("evil.exe"),
        wildcard("*at_an*"),
        wildcard("mimi????64"),
        wildcard("m*4"),
        wildcard("tail??"),
        phrase("service NEW"),
        phrase("first new headq"),
        phrase("tailq0 last evil.exe"),
        phrase("new x \u{0}"),
        phrase("evil.exe new"),
        near(&["new", "mimikatz64"], 0),
        near(&["mimikatz64", "new", "σERVICE"], 0),
        near(&["headq", "tailq1"], 1_000),
        near(&["tailq1", "fe80", "xx"], 1),
        alike("mimikats64", 1),
        alike("foo_bar_at_am_eng", 2),
        network("10.0.0.0", 8),
        network("fe80::", 10),
        multiline(r"tailq.\s+last"),
        multiline(r"new\s+headq"),
        multiline(r"new$\s+x \x00"),
        multiline(r"(?s)tailq0.*new\z"),
    ]
}

#[test]
fn a_line_in_parts_is_judged_as_any_other() {
    let mut looked_within = 0;
    for seed in seeds(1) {
        let mut random = Random(seed ^ 90);
        let members = long_members(&mut random);
        let folder = tempfile::tempdir().unwrap();
        let settings = match seed % 2 {
            0 => IndexSettings::default(),
            _ => IndexSettings {
                text_max: 1 << 20,
                distinct_max: 1 << 20,
                ..tiny()
            },
        };
        build(folder.path(), &members, settings.clone(), 9);
        let searcher = open(folder.path(), &settings);
        let asked = queries().into_iter();
        let asked: Vec<Arc<Asked>> = asked
            .map(|(query, wanted)| Arc::new(Asked::new(&members, query, &wanted)))
            .collect();
        for asked in &asked {
            let tree = Tree::Text(Arc::clone(asked));
            compare_by(&[false], &members, &searcher, &tree);
        }
        let text = |random: &mut Random| Tree::Text(Arc::clone(&asked[random.below(asked.len())]));
        for _ in 0..4 {
            let some = Tree::random(&mut random, 1, &text);
            let tree = Tree::And(vec![some, text(&mut random)]);
            looked_within += usize::from(compare(&members, &searcher, &tree));
        }
    }
    assert!(looked_within > 0, "only {looked_within} were narrowed");
}
