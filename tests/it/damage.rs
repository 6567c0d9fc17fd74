//! Disk damage in archive or index is reported and never a silent "not found".

use std::path::{Path, PathBuf};

use super::support::{Case, sample_data};

fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

fn files(dir: PathBuf, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    paths.sort();
    paths
}

#[test]
fn damaged_result_does_not_affect_others() {
    let case = Case::new();
    for (name, text) in [("a", "alpha"), ("b", "bravo"), ("c", "charlie")] {
        // Numbers make the frame larger than a page.
        let lines = (1..3_000u32).map(|n| format!("{text} {}\n", n.wrapping_mul(2_654_435_761)));
        case.write(&format!("in/{name}.txt"), lines.collect::<String>());
    }
    case.ok(&[
        "import",
        "--no-index",
        &case.path("in").display().to_string(),
    ]);
    let pack = files(case.archive().join("packs"), "pack").remove(0);
    // Inside the frame of the first result.
    flip(&pack, 4096);
    let indexed = case.run(&["index"]);
    assert_eq!(indexed.code, 3, "{}", indexed.stderr);
    let found = |word| case.run(&["search", word, "--count"]).code;
    let whole = ["alpha", "bravo", "charlie"]
        .into_iter()
        .filter(|word| found(word) == 0);
    assert_eq!(whole.count(), 2);
    assert_eq!(found("delta"), 3, "nothing was searched through");
    let problems = case.ok(&["problems", "--jsonl"]).jsonl();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0]["kind"], "damaged");
    assert!(problems[0]["hides_text"].as_bool().unwrap());
    let message = problems[0]["message"].as_str().unwrap();
    assert!(
        message.contains("the copy in the archive is damaged"),
        "{message}"
    );
    assert_eq!(case.run(&["verify"]).code, 4);
    // Later results are indexed as well.
    case.write("more/d.txt", "delta\n");
    case.run(&["import", &case.path("more").display().to_string()]);
    assert_eq!(found("delta"), 0);
}

#[test]
fn damaged_index_gives_no_certificate_and_is_found_by_verify() {
    let case = Case::new();
    case.run(&["import", &sample_data().display().to_string()]);
    case.ok(&["verify"]);
    let segment = files(case.archive().join("index"), "segment").remove(0);
    let len = std::fs::metadata(&segment).unwrap().len() as usize;
    let certificate = case.path("c.json").display().to_string();
    for at in [len / 7, len / 3, len / 2] {
        flip(&segment, at);
        let ran = case.run(&["search", "absentword", "--certificate", &certificate]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(!case.path("c.json").exists());
        let verified = case.run(&["verify"]);
        assert_eq!(verified.code, 4);
        assert!(
            verified.stdout.contains("index --rebuild"),
            "{}",
            verified.stdout
        );
        flip(&segment, at);
    }
    case.ok(&["verify"]);
    let ran = case.run(&["search", "absentword", "--certificate", &certificate]);
    assert!(matches!(ran.code, 1 | 3), "{}", ran.stderr);
    let written = std::fs::read_to_string(case.path("c.json")).unwrap();
    assert!(written.contains("all compared"), "{written}");
}

#[test]
fn new_code_page_replaces_all_old_answers() {
    let case = Case::new();
    // Cyrillic text in code page 1251.
    case.write("in/a.txt", b"\xcf\xf0\xe8\xe2\xe5\xf2 mir\n");
    case.run(&["import", &case.path("in").display().to_string()]);
    assert_eq!(case.run(&["search", "mir"]).code, 0);
    // The state after a run that was killed before indexing.
    assert!(afteraction::app::set_code_page(&case.archive(), 1251).unwrap());
    let ran = case.run(&["search", "absentword"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("not indexed"), "{}", ran.stderr);
    case.run(&["index", "--code-page", "1251"]);
    assert_eq!(case.run(&["search", "Привет"]).code, 0);
}
