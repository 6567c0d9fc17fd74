//! Archive: bytes are returned unchanged, damage is found and named, readers do
//! not wait, the index can be rebuilt.

use std::fs;

use super::support::{Case, sample_data};

fn imported() -> Case {
    let case = Case::new();
    let ran = case.run(&["import", &sample_data().display().to_string()]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    case
}

#[test]
fn every_result_is_returned_byte_for_byte() {
    let case = imported();
    let rows = case.ok(&["list", "--jsonl", "--state", "sealed"]).jsonl();
    for row in rows {
        let (action, index) = (row["action_id"].as_str().unwrap(), &row["command_index"]);
        let shown = case
            .ok(&["show", &format!("{action}/{index}"), "--raw"])
            .bytes;
        let folder = sample_data().join(action);
        let file = fs::read_dir(&folder)
            .unwrap()
            .map(|e| e.unwrap().path())
            .find(|p| {
                p.file_stem().unwrap().to_string_lossy().split('.').next()
                    == Some(&index.to_string())
            })
            .unwrap();
        assert!(shown == fs::read(&file).unwrap(), "{}", file.display());
    }
}

#[test]
fn every_row_starts_with_its_reference() {
    let case = imported();
    for command in ["list", "gaps", "problems"] {
        let rows = case.ok(&[command, "--jsonl"]).jsonl();
        assert!(!rows.is_empty(), "{command}");
        for row in &rows {
            let at = row["ref"].as_str().expect("a reference");
            let result = format!(
                "{}/{}",
                row["action_id"].as_str().unwrap(),
                row["command_index"]
            );
            assert_eq!(at.split('!').next(), Some(result.as_str()), "{command}");
        }
        let csv = case.ok(&[command, "--csv"]).stdout;
        assert!(csv.starts_with("ref,action_id,command_index"), "{csv}");
        let seen = case.ok(&[command]).stdout;
        for row in &rows {
            assert!(seen.contains(row["ref"].as_str().unwrap()), "{command}");
        }
    }
}

#[test]
fn rebuilt_index_gives_the_same_answers() {
    let case = imported();
    let ask = || {
        [
            "Invoice_88213",
            "exit:1",
            "kind:file OR mimikatz",
            "\"Parcel Tracking Relay\"",
        ]
        .map(|query| case.run(&["search", query, "--jsonl"]).stdout)
    };
    let problems = case.ok(&["problems", "--jsonl"]).stdout;
    let before = ask();
    assert!(before.iter().all(|answer| !answer.is_empty()));
    fs::remove_dir_all(case.archive().join("index")).unwrap();
    assert_eq!(
        case.run(&["search", "mimikatz"]).code,
        3,
        "nothing is indexed"
    );
    case.run(&["index"]);
    assert_eq!(ask(), before);
    case.run(&["index", "--rebuild"]);
    assert_eq!(ask(), before);
    assert_eq!(case.ok(&["problems", "--jsonl"]).stdout, problems);
}

#[test]
fn lost_catalogue_is_rebuilt_from_the_packs() {
    let case = imported();
    let before = case.ok(&["list", "--jsonl"]).stdout;
    fs::remove_dir_all(case.archive().join("catalogue")).unwrap();
    case.write("more/x.txt", "more words\n");
    case.ok(&["import", &case.path("more").display().to_string()]);
    case.ok(&["verify"]);
    let after = case.ok(&["list", "--jsonl"]).stdout;
    for line in before.lines() {
        assert!(after.contains(line), "{line}");
    }
    assert_eq!(after.lines().count(), before.lines().count() + 1);
}

#[test]
fn verify_locates_damage_and_exits_with_4() {
    let case = imported();
    case.ok(&["verify"]);
    let packs = case.archive().join("packs");
    let pack = fs::read_dir(&packs)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "pack"))
        .max_by_key(|p| fs::metadata(p).unwrap().len())
        .unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    fs::write(&pack, bytes).unwrap();
    let ran = case.run(&["verify"]);
    assert_eq!(ran.code, 4, "{}{}", ran.stdout, ran.stderr);
    let name = pack.file_name().unwrap().to_string_lossy().into_owned();
    assert!(ran.stdout.contains(&name), "{}", ran.stdout);
}

#[test]
fn missing_archive_is_an_error_with_a_hint() {
    let case = Case::new();
    for args in [
        &["list"][..],
        &["status"],
        &["search", "x"],
        &["verify"],
        &["show", "5382f7ea-7557-4ab7-9782-d50480024a4e/0"],
    ] {
        let ran = case.run(args);
        assert_eq!(ran.code, 2, "{args:?}");
        assert!(ran.stderr.contains("hint:"), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn read_only_archive_can_be_read() {
    let case = imported();
    let mut before: Vec<_> = fs::read_dir(case.archive())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    before.sort();
    for args in [
        &["list"][..],
        &["status"],
        &["verify"],
        &["gaps"],
        &["problems"],
    ] {
        case.ok(args);
    }
    let mut after: Vec<_> = fs::read_dir(case.archive())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    after.sort();
    assert_eq!(before, after, "a reader left something behind");
}

#[test]
fn problems_are_printed_apart_from_the_text() {
    let case = Case::new();
    // A tab inside a string, as the service writes it, and a truncated end.
    let text =
        "{\"script_name\":\"a.ps1\",\"script_errors\":\"e\",\"script_output\":\"one\ttwo\n\"";
    case.write("in/whole.json", format!("{text},\"exit_code\":0}}"));
    case.write("in/cut.json", text);
    case.run(&["import", &case.path("in").display().to_string()]);
    for row in case.ok(&["list", "--jsonl"]).jsonl() {
        let at = row["ref"].as_str().unwrap();
        let whole = case.ok(&["show", at]);
        assert!(whole.stderr.contains("problem: "), "{}", whole.stderr);
        assert!(whole.stderr.contains(at), "{}", whole.stderr);
        assert!(!whole.stdout.contains("problem"), "{}", whole.stdout);
        let cut = row["path"] == "cut.json";
        for more in [&[][..], &["--raw"]] {
            let output = format!("{at}!output");
            let part = case.ok(&[&["show", &output][..], more].concat());
            assert_eq!(part.stdout, "one\ttwo\n");
            assert_eq!(part.stderr.contains("is truncated"), cut, "{}", part.stderr);
            assert!(cut || part.stderr.is_empty(), "{}", part.stderr);
        }
    }
}
