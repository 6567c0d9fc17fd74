//! Evidence that was made to harm: recorded, never obeyed.

use std::fs;

use super::support::{Case, real_data};

#[test]
fn hostile_zips_are_taken_in_searched_and_listed_without_harm() {
    let Some(real) = real_data() else { return };
    let case = Case::new();
    case.write("in/witness.txt", "the witness speaks\n");
    let outside: Vec<_> = listing(&case);
    let ran = case.run(&[
        "import",
        &real.join("hostile_zip").display().to_string(),
        &case.path("in").display().to_string(),
    ]);
    assert_eq!(ran.code, 3, "there are problems\n{}", ran.stderr);
    assert_eq!(
        listing(&case),
        outside,
        "something was written outside the archive"
    );
    let problems = case.ok(&["problems", "--jsonl"]).jsonl();
    assert!(problems.len() > 30, "{} problems", problems.len());
    assert!(
        problems
            .iter()
            .all(|p| !p["message"].as_str().unwrap().is_empty())
    );
    assert_eq!(
        case.ok(&["search", "witness speaks", "--jsonl"])
            .jsonl()
            .len(),
        1
    );
    case.ok(&["verify"]);
    for row in case.ok(&["list", "--jsonl"]).jsonl() {
        let key = format!(
            "{}/{}",
            row["action_id"].as_str().unwrap(),
            row["command_index"]
        );
        assert_eq!(case.run(&["show", &key]).code, 0, "show {key}");
    }
}

/// Names in the case's folder, besides the archive.
fn listing(case: &Case) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(case.path(""))
        .expect("the case")
        .map(|e| {
            e.expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .filter(|name| name != "case")
        .collect();
    names.sort();
    names
}

#[test]
fn a_new_password_opens_what_was_locked() {
    let Some(real) = real_data() else { return };
    let case = Case::new();
    let locked = real.join("hostile_zip/libzip/encrypt-1234.zip");
    let ran = case.run(&["import", &locked.display().to_string()]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let before = case.ok(&["problems", "--jsonl"]).jsonl();
    assert!(
        before.iter().any(|p| p["kind"] == "encrypted"),
        "{before:?}"
    );
    let words = case.write("words.txt", "wrong\n1234\n");
    case.run(&["index", "--passwords", &words.display().to_string()]);
    let after = case.ok(&["problems", "--jsonl"]).jsonl();
    assert!(!after.iter().any(|p| p["kind"] == "encrypted"), "{after:?}");
    case.run(&["index", "--rebuild"]);
    assert_eq!(
        case.ok(&["problems", "--jsonl"]).jsonl(),
        after,
        "a rebuild knows the password"
    );
}

#[test]
fn a_transcript_that_is_no_json_is_read_all_the_same() {
    let case = Case::new();
    let id = "5382f7ea-7557-4ab7-9782-d50480024a4e";
    for (index, body) in [
        &b"{\"script_name\":\"a.ps1\",\"exit_code\":0,\"script_output\":\"needle one\nraw feed\",\"script_errors\":\"\"}"[..],
        b"{\"script_name\":\"a.ps1\",\"script_output\":\"needle two and then it ends",
        b"needle three, no JSON at all",
        b"\xff\xfe{\0\"\0o\0u\0t\0p\0u\0t\0\"\0:\0\"\0n\0e\0e\0d\0l\0e\0 \x004\0\"\0}\0",
        b"",
    ]
    .iter()
    .enumerate()
    {
        case.write(&format!("in/{id}/{index}.json"), body);
    }
    case.run(&["import", &case.path("in").display().to_string()]);
    let hits = case.ok(&["search", "needle", "--jsonl"]).jsonl();
    let mut found: Vec<_> = hits
        .iter()
        .map(|h| h["command_index"].as_u64().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, [0, 1, 2, 3]);
    let repaired = case.ok(&["problems", "--jsonl"]).jsonl();
    assert!(
        repaired.iter().any(|p| p["kind"] == "repaired"),
        "{repaired:?}"
    );
    case.ok(&["show", &format!("{id}/4")]);
}
