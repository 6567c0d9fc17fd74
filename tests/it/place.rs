//! From a hit back to its line, read again from the original bytes.

use std::io;

use afteraction::app::{self, ArchiveSession, LineOutput, LineTarget};
use serde_json::Value;

use super::support::{Case, real_data, sample_data};
use super::zips::{Zip, stored};

/// The requested line.
#[derive(Default)]
struct Line {
    number: u64,
    text: String,
}

impl LineOutput for Line {
    fn found(&mut self, number: u64, _: u64) -> io::Result<()> {
        self.number = number;
        Ok(())
    }

    fn begin(&mut self, _: bool, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn text(&mut self, piece: &str) -> io::Result<()> {
        self.text.push_str(piece);
        Ok(())
    }

    fn end(&mut self, _: bool, _: bool) -> io::Result<()> {
        Ok(())
    }

    fn problem(&mut self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
}

/// Shows every hit again, by its line and by its offset.
fn check(case: &Case, hits: &[Value]) {
    let session = ArchiveSession::new(case.archive());
    for hit in hits {
        let reference = app::parse_reference(hit["ref"].as_str().unwrap()).unwrap();
        let (number, offset) = (
            hit["line"].as_u64().unwrap(),
            hit["offset"].as_u64().unwrap(),
        );
        let text = hit["text"].as_str().unwrap();
        let is_cut = hit.get("text_truncated").is_some();
        for at in [LineTarget::Line(number), LineTarget::Offset(offset)] {
            let mut line = Line::default();
            app::show_at(&session, &reference, at, 0, &mut line)
                .unwrap_or_else(|e| panic!("{at:?} of {hit}: {e}"));
            let hit = format!("{:.500}", hit.to_string());
            assert_eq!(line.number, number, "{at:?} of {hit}");
            // A carriage return without a line feed does not end a line.
            let shown = match text.ends_with('\r') {
                true => &line.text,
                false => line.text.strip_suffix('\r').unwrap_or(&line.text),
            };
            if is_cut {
                let some: String = text.chars().take(2_000).collect();
                assert!(shown.contains(&some), "{at:?} of {hit}");
            } else {
                assert!(shown == text, "{at:?} of {hit}");
            }
        }
    }
}

fn searched(case: &Case, queries: &[&[&str]], most: usize) {
    let mut all = 0;
    for query in queries {
        let args = [&["search"][..], query, &["--jsonl"]].concat();
        let hits = case.run(&args).jsonl();
        all += hits.len();
        // A sample spread over all hits.
        let step = (hits.len() / most).max(1);
        let some: Vec<_> = hits.into_iter().step_by(step).collect();
        check(case, &some);
    }
    assert!(all > 0);
}

#[test]
fn every_hit_of_the_sample_can_be_shown_from_its_bytes() {
    let case = Case::new();
    case.run(&["import", &sample_data().display().to_string()]);
    searched(
        &case,
        &[
            &["*"],
            &["kind:transcript"],
            &["FIN-WS-07"],
            &["--regex", r"\d+\.\d+\.\d+\.\d+:\d+"],
            &["--regex", "(?i)e$"],
            &["--regex", "^"],
            &["--fixed", "\\"],
        ],
        80,
    );
}

#[test]
fn every_hit_of_real_evidence_can_be_shown_from_its_bytes() {
    let Some(real) = real_data() else { return };
    for (folder, most) in [
        ("hostile_zip/zip2", 150),
        ("hostile_zip/libarchive", 150),
        ("hostile_zip/yauzl", 50),
        ("utf16", 150),
        ("text", 100),
        ("registry", 40),
        ("lnk", 60),
    ] {
        let case = Case::new();
        case.run(&["import", &real.join(folder).display().to_string()]);
        searched(
            &case,
            &[
                &["*"],
                &["--regex", "[a-z]{3}"],
                &["--fixed", "e"],
                &["--regex", "$"],
            ],
            most,
        );
    }
}

#[test]
fn shown_line_is_printed_like_its_hit() {
    let case = Case::new();
    let long = format!("{} needle {}", "a ".repeat(60_000), "b ".repeat(60_000));
    case.write(
        "in/a.txt",
        format!("one\r\ntwo \u{1b}[2J needle\r\nthree\r\n{long}\n\nfive"),
    );
    case.ok(&["import", &case.path("in").display().to_string()]);
    let hits = case.ok(&["search", "needle", "--jsonl"]).jsonl();
    let reference = hits[0]["ref"].as_str().unwrap();
    let shown = case.ok(&["show", reference, "--at", "2", "-C", "1"]).stdout;
    assert_eq!(
        shown,
        format!("{reference}  line 2  offset 5\n    one\n    two \\u{{1b}}[2J needle\n    three\n")
    );
    let raw = case.ok(&["show", reference, "--at", "2", "--raw"]).stdout;
    assert_eq!(raw, "two \u{1b}[2J needle\r\n");
    let offset = hits[0]["offset"].to_string();
    let by_offset = case.ok(&["show", reference, "--at-offset", &offset]).stdout;
    assert!(
        by_offset.contains(&format!("line 2  offset {offset}\n    two")),
        "{by_offset}"
    );
    let whole = case.ok(&["show", reference, "--at", "4", "--raw"]).stdout;
    assert_eq!(whole, format!("{long}\n"));
    let offset = hits[1]["offset"].to_string();
    let window = case.ok(&["show", reference, "--at-offset", &offset]).stdout;
    let (_, window) = window
        .split_once("\n    …")
        .unwrap_or_else(|| panic!("{:.300}", window));
    assert!(
        window.contains(" needle ") && window.ends_with("…\n"),
        "{window}"
    );
    assert_eq!(
        case.ok(&["show", reference, "--at", "6", "--raw"]).stdout,
        "five"
    );
    let as_printed = case.ok(&["show", reference, "--at-offset", "120,030"]);
    assert!(as_printed.stdout.contains("line 4  offset 120,030\n"));
    for beyond in [&["--at", "7"][..], &["--at-offset", "999999"]] {
        let ran = case.run(&[&["show", reference][..], beyond].concat());
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains("ends after 6 lines"), "{}", ran.stderr);
    }
    for wrong in [
        &["--at", "0"][..],
        &["--at", "1", "--at-offset", "1"],
        &["-C", "1"],
    ] {
        assert_eq!(
            case.run(&[&["show", reference][..], wrong].concat()).code,
            2
        );
    }
}

#[test]
fn transcript_requires_the_name_of_its_text() {
    let case = Case::new();
    case.run(&["import", &sample_data().display().to_string()]);
    let hits = case.ok(&["search", "kind:transcript", "--jsonl"]).jsonl();
    let part = hits[0]["ref"].as_str().unwrap();
    let (whole, _) = part.rsplit_once('!').unwrap();
    let ran = case.run(&["show", whole, "--at", "1"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains(&format!("{whole}!output")),
        "{}",
        ran.stderr
    );
    case.ok(&["show", part, "--at", "1"]);
}

#[test]
fn damage_in_a_line_is_an_error() {
    let case = Case::new();
    let text: String = (0..60_000).map(|n| format!("line {n} of many\n")).collect();
    case.write("in/a.txt", text);
    case.ok(&["import", &case.path("in").display().to_string()]);
    let row = &case.ok(&["list", "--jsonl"]).jsonl()[0];
    let reference = row["ref"].as_str().unwrap();
    case.ok(&["show", reference, "--at", "5"]);
    let pack = std::fs::read_dir(case.archive().join("packs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&pack).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&pack, bytes).unwrap();
    let ran = case.run(&["show", reference, "--at", "59999"]);
    assert!(ran.code != 0, "{}", ran.stdout);
    assert!(!ran.stdout.contains("line 59998"), "{}", ran.stdout);
}

#[test]
fn empty_and_unterminated_texts_can_be_shown() {
    let case = Case::new();
    let empty = r#"{"script_name":"x.ps1","exit_code":0,"script_output":"","script_errors":""}"#;
    case.write("in/empty.json", empty);
    case.write("in/odd.txt", "one\r\nfoo\r");
    case.ok(&["import", &case.path("in").display().to_string()]);
    let hits = case.ok(&["search", "*", "--jsonl"]).jsonl();
    assert_eq!(hits.len(), 2);
    check(&case, &hits);
    let hits = case.ok(&["search", "--fixed", "foo\r", "--jsonl"]).jsonl();
    assert_eq!(hits[0]["text"], "foo\r");
    check(&case, &hits);
}

#[test]
fn nested_container_is_shown_as_its_members() {
    let case = Case::new();
    let inner = Zip::new()
        .add(&stored("deep.txt", b"deep words\n"))
        .add(&stored("other.txt", b"other words\n"));
    let outer = Zip::new()
        .add(&stored("inner.zip", &inner.finish()))
        .add(&stored("fake.zip", b"PK\x03\x04 only looks so"))
        .add(&stored("beside.txt", b"beside\n"));
    case.write("in/outer.zip", outer.finish());
    case.run(&["import", &case.path("in").display().to_string()]);
    let hits = case.ok(&["search", "words", "--jsonl"]).jsonl();
    let member = hits[0]["ref"].as_str().unwrap();
    let (inner, _) = member.rsplit_once('!').unwrap();
    let listed = case.ok(&["show", inner]).stdout;
    assert!(listed.contains("!inner.zip!deep.txt") && listed.contains("!inner.zip!other.txt"));
    assert!(
        !listed.contains("beside") && !listed.contains("words"),
        "{listed}"
    );
    assert!(case.ok(&["show", member]).stdout.contains("words"));
    let fake = inner.replace("inner.zip", "fake.zip");
    assert!(case.ok(&["show", &fake]).stdout.contains("only looks so"));
}
