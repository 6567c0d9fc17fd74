//! The query language as documented, and its error messages.

use std::fs;

use super::support::{Case, Ran, sample_data};

pub(super) fn incident() -> Case {
    let case = Case::new();
    case.run(&["import", &sample_data().display().to_string()]);
    case
}

fn words(text: &str) -> Case {
    let case = Case::new();
    case.write("in/a.txt", text);
    case.ok(&["import", &case.path("in").display().to_string()]);
    case
}

/// Indented lines of the examples, up to their explanation.
fn examples(page: &str) -> Vec<&str> {
    let section = page.split("\n## ").nth(1).unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split("  ").next())
        .collect()
}

#[test]
fn every_example_of_the_page_is_a_valid_query() {
    let case = incident();
    let page = case.ok(&["help", "query"]).stdout;
    let examples = examples(&page);
    assert!(examples.len() > 30, "{examples:?}");
    for example in examples {
        let ran = case.run(&["search", example, "--count"]);
        assert!(matches!(ran.code, 0 | 1 | 3), "{example}: {}", ran.stderr);
        assert!(
            !ran.stderr.contains("no field"),
            "{example}: {}",
            ran.stderr
        );
    }
}

#[test]
fn unknown_field_value_is_reported_when_nothing_is_found() {
    let case = incident();
    for (query, said) in [
        ("mimikatz device:fs01", "no member is of device:\"fs01\""),
        (
            "script:Get-Persistance.ps1 OR action:zzzz",
            "no member is of script:",
        ),
        ("sha256:e3b0c442", "no field sha256:"),
    ] {
        let ran = case.run(&["search", query]);
        assert_ne!(ran.code, 0, "{query}");
        assert!(ran.stderr.contains(said), "{query}: {}", ran.stderr);
    }
    for query in [
        "mimikatz device:fs-01",
        "nosuchword device:fs-01",
        "x NOT device:y",
    ] {
        let ran = case.run(&["search", query]);
        assert!(
            !ran.stderr.contains("no member is of"),
            "{query}: {}",
            ran.stderr
        );
    }
    let file = case.path("absent.json").display().to_string();
    case.run(&["search", "mimikatz device:fs01", "--certificate", &file]);
    let written = fs::read_to_string(file).unwrap();
    assert!(written.contains("no member is of device:"), "{written}");
}

#[test]
fn empty_archive_is_reported_only_if_empty() {
    let said = |case: &Case, args: &[&str]| case.run(&[&["search"], args].concat()).stderr;
    let case = words("undated words\n");
    let told = said(&case, &["words", "--since", "2h"]);
    assert!(told.contains("have no time"), "{told}");
    assert!(!told.contains("nothing is in this archive"), "{told}");
    let case = Case::new();
    case.write(
        "in/empty.zip",
        b"PK\x05\x06"
            .iter()
            .chain(&[0; 18])
            .copied()
            .collect::<Vec<u8>>(),
    );
    case.run(&["import", &case.path("in").display().to_string()]);
    let told = said(&case, &["words"]);
    assert!(told.contains("nothing is in this archive"), "{told}");
}

#[test]
fn query_page_is_reachable_by_every_command() {
    let case = Case::new();
    let page = case.ok(&["help", "query"]).stdout;
    assert!(page.starts_with("# The query language"), "{page}");
    for section in ["Examples", "Fields", "Patterns", "Exit codes", "Quoting"] {
        assert!(page.contains(&format!("\n## {section}\n")), "{section}");
    }
    for field in [
        "device",
        "script",
        "action",
        "exit",
        "path",
        "kind",
        "requestor",
        "comment",
        "day",
    ] {
        assert!(page.contains(&format!("\n    {field}:")), "{field}");
    }
    assert_eq!(case.ok(&["query"]).stdout.trim_end(), page.trim_end());
    let help = case.ok(&["search", "--help"]).stdout;
    assert!(help.contains("help query"), "{help}");
    assert!(
        help.contains("--certificate") && help.contains("--explain") && help.contains("--wait")
    );
    case.ok(&["man", &case.path("man").display().to_string()]);
    let man = fs::read_to_string(case.path("man/afteraction-query.7")).unwrap();
    for example in ["/evil\\ed+\\e.exe/i", "10.0.0.0/8"] {
        assert!(man.contains(example), "{man}");
    }
}

#[test]
fn rules_of_the_page_hold() {
    let case = words(
        "devil and evil.exe at 10.1.2.3\nservice new\nthe new old service\nmimikats\nfe80::1\n",
    );
    let lines = |query: &str| -> Vec<u64> {
        let hits = case.run(&["search", query, "--jsonl"]).jsonl();
        hits.iter().map(|h| h["line"].as_u64().unwrap()).collect()
    };
    for (query, found) in [
        ("evil", &[1][..]),
        ("EVIL.exe", &[1]),
        ("*evil", &[1]),
        ("vil", &[]),
        ("\"service new\"~0", &[2]),
        ("\"service new\"~1", &[2, 3]),
        ("mimikatz~", &[4]),
        ("mimikatz", &[]),
        ("10.0.0.0/8", &[1]),
        ("fe80::/10", &[5]),
        ("/EVIL/", &[]),
        ("/EVIL/i", &[1]),
        ("/^ser.*w$/", &[2]),
        ("(mimikatz OR evil) AND NOT absent", &[1]),
        ("evil -service", &[]),
        ("kind:file", &[1]),
    ] {
        assert_eq!(lines(query), found, "{query}");
    }
}

/// Text of the lines with the query and the caret.
fn caret(ran: &Ran) -> (String, usize) {
    let lines: Vec<&str> = ran.stderr.lines().collect();
    let at = lines.iter().position(|l| l.trim() == "^").expect("a caret");
    (lines[at - 1][2..].to_string(), lines[at].len() - 3)
}

#[test]
fn query_error_has_a_position_and_a_suggestion() {
    let case = words("words\n");
    for (args, at, hint) in [
        (&["x \"open"][..], 2, "twice"),
        (&["a devise:pc"], 2, "device:"),
        (&["a /b(c/ d"], 4, "--fixed"),
        (&["--regex", "ab[c"], 2, "--fixed"),
        (&["kind:transcrpt"], 0, "kind:transcript"),
        (&["a AND"], 5, "help query"),
    ] {
        let ran = case.run(&[&["search"][..], args].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""), "{args:?}");
        let (text, place) = caret(&ran);
        assert_eq!(
            (text.as_str(), place),
            (*args.last().unwrap(), at),
            "{}",
            ran.stderr
        );
        let said = ran.stderr.lines().last().unwrap();
        assert!(said.starts_with("hint: ") && said.contains(hint), "{said}");
    }
    let ran = case.run(&["search", "/a\\nb/"]);
    assert_eq!((ran.code, caret(&ran).1), (2, 1), "{}", ran.stderr);
}

#[test]
fn empty_query_is_rejected_and_a_star_matches_everything() {
    let case = words("words\n");
    for args in [&[""][..], &["  "], &["", "--regex", "x"], &["--fixed", ""]] {
        let ran = case.run(&[&["search"][..], args].concat());
        assert_eq!(ran.code, 2, "{args:?}");
        assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
    }
    assert!(
        case.run(&["search", ""])
            .stderr
            .contains("* for everything")
    );
    assert_eq!(case.ok(&["search", "*", "--jsonl"]).jsonl().len(), 1);
}

#[test]
fn unknown_field_is_searched_as_text_with_a_note() {
    let case = words("C:\\Temp bogus:2\n");
    let ran = case.run(&["search", "bogus:1 words"]);
    assert!(
        ran.stderr
            .contains("there is no field bogus:, searched as text"),
        "{}",
        ran.stderr
    );
    for quiet in ["bogus:2", "\"bogus:1\"", "C:\\absent", "http://absent"] {
        let ran = case.run(&["search", quiet]);
        assert!(!ran.stderr.contains("no field"), "{quiet}: {}", ran.stderr);
    }
}

#[test]
fn invalid_query_keeps_the_previous_output_file() {
    let case = words("words\n");
    let file = case.write("hits.jsonl", "of yesterday");
    let path = file.display().to_string();
    for args in [
        &["\"open"][..],
        &["--regex", "a("],
        &["/a\\nb/"],
        &["words", "--since", "soon"],
        &["words", "--count", "--by", "bogus"],
    ] {
        let ran = case.run(&[&["search"][..], args, &["-o", &path]].concat());
        assert_eq!(ran.code, 2, "{args:?}");
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            "of yesterday",
            "{args:?}"
        );
    }
    assert_eq!(case.run(&["search", "absent", "-o", &path]).code, 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    let fresh = case.path("fresh.jsonl");
    case.run(&["search", "\"open", "-o", &fresh.display().to_string()]);
    assert!(!fresh.exists());
}

#[test]
fn dash_is_standard_output() {
    let case = words("words\n");
    let plain = case.ok(&["search", "words", "--jsonl"]);
    let dashed = case.ok(&["search", "words", "--jsonl", "-o", "-"]);
    assert_eq!(dashed.stdout, plain.stdout);
    let ran = case.run(&["search", "words", "--certificate", "-"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains("`-` is no file"), "{}", ran.stderr);
    assert!(!std::path::Path::new("-").exists());
}

#[test]
fn explain_prints_the_access_path_of_each_text() {
    let case = incident();
    let query = "mimikatz OR windows OR /a.*b/";
    let ran = case.ok(&["search", query, "--explain", "--json"]);
    let array: Vec<serde_json::Value> = serde_json::from_str(&ran.stdout).unwrap();
    assert!(!array.is_empty());
    let told = &ran.stderr[ran.stderr.find("explain:").expect("an explanation")..];
    assert!(told.contains("mimikatz\n      by 4-grams:"), "{told}");
    assert!(told.contains("windows\n      by words:"), "{told}");
    assert!(told.contains("/a.*b/\n      by reading all:"), "{told}");
    assert!(
        told.contains("ms to find") && told.contains("decompressed"),
        "{told}"
    );
    let fields = case.ok(&["search", "kind:file", "--explain", "--quiet"]);
    assert!(fields.stderr.contains("fields alone"), "{}", fields.stderr);
    let plain = case.ok(&["search", "mimikatz"]);
    assert!(!plain.stderr.contains("explain"), "{}", plain.stderr);
}

#[test]
fn counts_by_every_field_add_up_in_every_format() {
    let case = incident();
    let query = "203.0.113.45 OR kind:transcript";
    let hits = case.ok(&["search", query, "--jsonl"]).jsonl();
    for by in [
        "device",
        "script",
        "exit",
        "kind",
        "day",
        "action",
        "path",
        "requestor",
        "comment",
    ] {
        let args = ["search", query, "--count", "--by", by];
        let rows = case.ok(&[&args[..], &["--jsonl"]].concat()).jsonl();
        let sum: u64 = rows.iter().map(|r| r["hits"].as_u64().unwrap()).sum();
        assert_eq!(sum as usize, hits.len(), "{by}");
        let array: Vec<serde_json::Value> =
            serde_json::from_str(&case.ok(&[&args[..], &["--json"]].concat()).stdout).unwrap();
        assert_eq!(array, rows, "{by}");
        let csv = case.ok(&[&args[..], &["--csv"]].concat()).stdout;
        assert_eq!(
            csv.lines().next(),
            Some("value,hits,members,undated"),
            "{by}"
        );
        assert_eq!(csv.lines().count(), rows.len() + 1, "{by}: {csv}");
        let seen = case.ok(&args).stdout;
        assert_eq!(seen.lines().count(), rows.len(), "{by}: {seen}");
        for (row, line) in rows.iter().zip(seen.lines()) {
            let (hits, value) = line.trim_start().split_once("  ").unwrap();
            assert_eq!(hits, row["hits"].to_string(), "{by}: {line}");
            let expected = match row["value"].as_str().unwrap() {
                "" => "(none)",
                value => value,
            };
            assert_eq!(value, expected, "{by}: {line}");
        }
    }
    let by_field = |field: &str| -> std::collections::BTreeMap<String, u64> {
        let mut counts = std::collections::BTreeMap::new();
        for hit in &hits {
            let value = match field {
                "day" => hit["time"].as_str().map(|t| t[..10].to_string()),
                _ => hit[field].as_str().map(str::to_string),
            };
            *counts.entry(value.unwrap_or_default()).or_default() += 1;
        }
        counts
    };
    for by in ["device", "script", "day"] {
        let rows = case
            .ok(&["search", query, "--count", "--by", by, "--jsonl"])
            .jsonl();
        let counted = rows
            .iter()
            .map(|r| {
                (
                    r["value"].as_str().unwrap().into(),
                    r["hits"].as_u64().unwrap(),
                )
            })
            .collect();
        assert_eq!(by_field(by), counted, "{by}");
    }
    let codes = case.ok(&["search", "*", "--count", "--by", "exit"]).stdout;
    assert!(
        codes.contains("  0\n") && codes.contains("  1\n"),
        "{codes}"
    );
}

#[test]
fn multiline_pattern_matches_across_line_ends() {
    let case = incident();
    let pattern = r"Account Name:\s+svc-backup\s+Client Address:\s+\S+";
    assert_eq!(case.run(&["search", "--regex", pattern]).code, 1);
    let found = case.ok(&["search", "--regex", pattern, "--multiline", "--jsonl"]);
    let hit: serde_json::Value = serde_json::from_str(found.stdout.trim()).unwrap();
    assert_eq!(hit["line"], 176);
    assert!(hit["text"].as_str().unwrap().contains("svc-backup"));
    assert!(
        found.stderr.contains("built every text again"),
        "{}",
        found.stderr
    );
    let alone = case.run(&["search", "x", "--multiline"]);
    assert_eq!(alone.code, 2);
}

#[test]
fn rarest_lines_come_first_on_request() {
    let case = incident();
    let devices = |sort: &str| -> Vec<usize> {
        let found = case
            .ok(&["search", "svchost*", "--sort", sort, "--jsonl"])
            .stdout;
        let hits: Vec<serde_json::Value> = found
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let on = |text: &serde_json::Value| {
            let same = hits.iter().filter(|hit| hit["text"] == *text);
            same.map(|hit| hit["machine_id"].to_string())
                .collect::<std::collections::HashSet<_>>()
                .len()
        };
        hits.iter().map(|hit| on(&hit["text"])).collect()
    };
    let (rarest, oldest) = (devices("rarity"), devices("time"));
    assert!(
        rarest.is_sorted() && !oldest.is_sorted(),
        "{rarest:?} {oldest:?}"
    );
    assert_eq!(rarest.len(), oldest.len());
}
