//! An archive of version 0.1 opens, verifies and answers as recorded.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use super::support::Case;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/archive-0.1")
}

/// Unpacks the archive into the case.
fn unpacked() -> Case {
    let case = Case::new();
    let bytes = fs::read(fixture().join("archive.zip")).expect("the fixture");
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).expect("a zip");
    zip.extract(case.archive()).expect("the archive unpacks");
    case
}

/// A recorded command.
struct Recorded {
    name: String,
    code: i32,
    args: Vec<String>,
}

fn recorded() -> Vec<Recorded> {
    let text = fs::read_to_string(fixture().join("commands.tsv")).expect("the commands");
    text.lines()
        .map(|line| {
            let mut fields = line.split('\t').map(str::to_owned);
            let name = fields.next().expect("a name");
            let code = fields.next().expect("an exit code");
            Recorded {
                name,
                code: code.parse().expect("a number"),
                args: fields.collect(),
            }
        })
        .collect()
}

#[test]
fn archive_of_version_0_1_gives_the_recorded_answers() {
    let case = unpacked();
    case.ok(&["verify"]);
    case.ok(&["index"]);
    let commands = recorded();
    assert!(commands.len() >= 13);
    for command in commands {
        let args: Vec<&str> = command.args.iter().map(String::as_str).collect();
        let ran = case.run(&args);
        assert_eq!(ran.code, command.code, "{}: {}", command.name, ran.stderr);
        let file = fixture().join("answers").join(&command.name);
        if std::env::var_os("AFTERACTION_RECORD").is_some() {
            fs::write(&file, &ran.stdout).expect("the recording");
        }
        let expected = fs::read_to_string(&file).expect("a recorded answer");
        assert!(
            ran.stdout == expected,
            "the answer of {} differs from the recording in {}:\n{}",
            command.name,
            file.display(),
            ran.stdout
        );
    }
}

#[test]
fn rebuilt_index_of_the_old_archive_gives_the_same_hits() {
    let case = unpacked();
    case.run(&["index", "--rebuild"]);
    let ran = case.ok(&["search", "--fixed", "psexesvc", "--jsonl"]);
    let expected = fs::read_to_string(fixture().join("answers/search-fixed")).unwrap();
    assert_eq!(ran.stdout, expected);
}

#[test]
fn old_archive_accepts_new_results() {
    let case = unpacked();
    case.ok(&["index"]);
    let file = case.write("new/late.txt", "psexesvc found after the upgrade\n");
    case.ok(&["import", &file.display().to_string()]);
    let hits = case
        .ok(&["search", "\"after the upgrade\"", "--jsonl"])
        .jsonl();
    assert_eq!(hits.len(), 1);
    case.ok(&["verify"]);
}
