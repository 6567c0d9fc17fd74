//! Certificates of absence: scope of a search, and everything outside of it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::support::{Case, Ran, real_data, sample_data};

fn imported(text: &str) -> Case {
    let case = Case::new();
    case.write("in/a.txt", text);
    case.ok(&["import", &case.path("in").display().to_string()]);
    case
}

fn incident() -> Case {
    let case = Case::new();
    case.run(&["import", &sample_data().display().to_string()]);
    case
}

/// Searches with a certificate and parses it.
fn certified(case: &Case, args: &[&str]) -> (Ran, Value) {
    let file = case.path("certificate.json");
    let file_text = file.display().to_string();
    let ran = case.run(&[&["search"][..], args, &["--certificate", &file_text]].concat());
    let certificate =
        fs::read_to_string(&file).unwrap_or_else(|e| panic!("{args:?}: {e}\n{}", ran.stderr));
    (ran, serde_json::from_str(&certificate).expect("JSON"))
}

/// Recomputes the root from `list --jsonl` as the certificate describes.
fn root(case: &Case, watermark: u64) -> (String, u64) {
    let mut sum = Sha256::new();
    let mut results = 0;
    for row in case.ok(&["list", "--jsonl"]).jsonl() {
        if row["seq"].as_u64().is_some_and(|seq| seq <= watermark) {
            let text = |name: &str| row[name].as_str().unwrap().to_string();
            sum.update(format!(
                "{}/{}@{} {} {}\n",
                text("action_id"),
                row["command_index"],
                row["version"],
                text("sha256"),
                row["bytes"]
            ));
            results += 1;
        }
    }
    let hex = sum.finalize().iter().map(|b| format!("{b:02x}")).collect();
    (hex, results)
}

#[test]
fn certificate_of_absence_states_the_scope() {
    let case = imported("plain words\nmore words\n");
    let (ran, certificate) = certified(&case, &["absentword", "--device", "*"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert_eq!(certificate["verdict"], "not found in everything there is");
    assert_eq!(certificate["exit_code"], 1);
    assert_eq!(certificate["caveats"], serde_json::json!([]));
    assert_eq!(certificate["query"]["query"], "absentword");
    let understood = certificate["query"]["understood"].as_str().unwrap();
    assert_eq!(understood, "(\"absentword\" AND device:\"*\")");
    assert_eq!(certificate["searched"]["results"], 1);
    assert_eq!(certificate["searched"]["lines"], 2);
    assert_eq!(certificate["searched"]["text_bytes"], 23);
    assert_eq!(certificate["explained"]["texts"][0]["lines_matching"], 0);
    assert_eq!(certificate["version"], env!("CARGO_PKG_VERSION"));
    for name in ["began_at", "finished_at", "who", "host", "program"] {
        assert!(certificate[name].is_string(), "{name}");
    }
    assert_eq!(certificate["archive"]["id"].as_str().unwrap().len(), 32);
}

#[test]
fn state_root_can_be_recomputed() {
    let case = incident();
    let (_, before) = certified(&case, &["absentword"]);
    let state = &before["index"];
    let watermark = state["watermark"].as_u64().unwrap();
    let (sha256, results) = root(&case, watermark);
    assert_eq!(state["state_root"]["sha256"], sha256);
    assert_eq!((results, &state["state_root"]["results"]), (30, &30.into()));
    assert_eq!(before["searched"]["results"], 30);
    // Results sealed later change neither the old root nor its computation.
    case.write("more/b.txt", "late words\n");
    case.ok(&["import", &case.path("more").display().to_string()]);
    assert_eq!(root(&case, watermark).0, sha256);
    let (_, after) = certified(&case, &["absentword"]);
    assert_ne!(after["index"]["state_root"]["sha256"], sha256);
    assert_eq!(after["archive"]["id"], before["archive"]["id"]);
}

#[test]
fn certificate_names_everything_not_searched() {
    let case = incident();
    case.write("cut/cut.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b]);
    case.run(&["import", &case.path("cut").display().to_string()]);
    case.write("more/b.txt", "late words\n");
    case.ok(&[
        "import",
        "--no-index",
        &case.path("more").display().to_string(),
    ]);
    let (ran, certificate) = certified(&case, &["absentword"]);
    assert_eq!(ran.code, 3);
    assert_eq!(
        certificate["verdict"],
        "not found, but not everything could be searched"
    );
    let not = &certificate["not_searched"];
    let names = |list: &str| -> Vec<String> {
        let rows = not[list].as_array().unwrap().iter();
        let mut names: Vec<_> = rows.map(|r| r["ref"].as_str().unwrap().into()).collect();
        names.sort();
        assert_eq!(not["counts"][list], names.len(), "{list}");
        names
    };
    let listed = |args: &[&str], keep: &dyn Fn(&Value) -> bool| -> Vec<String> {
        let rows = case.ok(&[args, &["--jsonl"]].concat()).jsonl();
        let kept = rows.iter().filter(|row| keep(row));
        let mut names: Vec<_> = kept.map(|r| r["ref"].as_str().unwrap().into()).collect();
        names.sort();
        names
    };
    let late = listed(&["list"], &|row| row["path"] == "b.txt");
    assert_eq!(names("results_not_indexed"), late);
    assert_eq!(names("gaps"), listed(&["gaps"], &|_| true));
    assert!(not["gaps"][0]["reason"].is_string() && not["gaps"][0]["detail"].is_string());
    let pending = listed(&["list"], &|row| row["state"] == "pending");
    assert_eq!((names("pending").len(), names("pending")), (2, pending));
    let hiding = listed(&["problems"], &|row| row["hides_text"] == true);
    assert!(!hiding.is_empty());
    assert_eq!(names("problems_that_hide_text"), hiding);
    assert!(not["problems_that_hide_text"][0]["message"].is_string());
    assert_eq!(certificate["caveats"].as_array().unwrap().len(), 4);
}

#[test]
fn certificate_names_each_member_without_a_time() {
    let case = incident();
    case.write("in/pc-1/a.txt", "mimikatz one\nmimikatz two\n");
    case.write("in/pc-1/b.txt", "nothing\n");
    case.run(&["import", &case.path("in").display().to_string()]);
    let (ran, certificate) = certified(&case, &["mimikatz", "--since", "2020-01-01"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(certificate["verdict"], "found 1");
    let not = &certificate["not_searched"];
    assert_eq!(not["counts"]["members_without_a_time"], 1);
    let left_out = not["left_out_for_want_of_a_time"].as_array().unwrap();
    let row = case.ok(&["list", "--jsonl"]).jsonl();
    let a = row.iter().find(|r| r["path"] == "pc-1/a.txt").unwrap();
    assert_eq!(left_out.len(), 1);
    assert_eq!(left_out[0]["ref"], a["ref"]);
    // The text of `a.txt` matches independent of its time.
    let (_, or) = certified(&case, &["mimikatz OR since:2020-01-01"]);
    let left_out = or["not_searched"]["left_out_for_want_of_a_time"].as_array();
    let b = row.iter().find(|r| r["path"] == "pc-1/b.txt").unwrap();
    let named: Vec<_> = left_out.unwrap().iter().map(|r| &r["ref"]).collect();
    assert_eq!(named, [&b["ref"]]);
}

#[test]
fn certificate_states_limit_and_count() {
    let case = incident();
    let (_, cut) = certified(&case, &["203.0.113.45", "--limit", "1"]);
    assert_eq!(cut["found"]["stopped_at_limit"], true);
    assert_eq!(cut["query"]["limit"], 1);
    let said = cut["caveats"].to_string();
    assert!(said.contains("limit"), "{said}");
    let (_, counted) = certified(&case, &["203.0.113.45", "--count", "--by", "device"]);
    assert_eq!(counted["query"]["counted_by"], "device");
    assert_eq!(counted["found"]["stopped_at_limit"], false);
    assert!(counted["found"]["hits"].as_u64() > Some(1));
}

#[test]
fn failed_search_writes_no_certificate() {
    let case = imported("words\n");
    let file = case.write("certificate.json", "before");
    let file_text = file.display().to_string();
    for query in ["\"open", "", "/a(/"] {
        let ran = case.run(&["search", query, "--certificate", &file_text]);
        assert_eq!(ran.code, 2, "{query}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "before", "{query}");
    }
    let nowhere = case.path("no/such/c.json").display().to_string();
    let ran = case.run(&["search", "words", "--certificate", &nowhere]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    assert!(ran.stderr.contains(&nowhere), "{}", ran.stderr);
    case.ok(&["search", "words", "--certificate", &file_text]);
    assert_ne!(fs::read_to_string(&file).unwrap(), "before");
    let left: Vec<PathBuf> = fs::read_dir(case.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().contains(".part"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn certificate_without_an_index_says_nothing_was_searched() {
    let case = Case::new();
    case.write("in/a.txt", "words\n");
    case.ok(&[
        "import",
        "--no-index",
        &case.path("in").display().to_string(),
    ]);
    let (ran, certificate) = certified(&case, &["words"]);
    assert_eq!(ran.code, 3);
    assert_eq!(certificate["index"], Value::Null);
    assert_eq!(certificate["searched"]["lines"], 0);
    assert_eq!(
        certificate["not_searched"]["counts"]["results_not_indexed"],
        1
    );
}

#[test]
fn certificate_lists_every_problem_of_hostile_evidence() {
    let Some(real) = real_data() else { return };
    let case = Case::new();
    case.run(&[
        "import",
        &real.join("hostile_zip/yauzl").display().to_string(),
    ]);
    let (ran, certificate) = certified(&case, &["absentword"]);
    assert_eq!(ran.code, 3);
    let hiding = case.ok(&["problems", "--jsonl"]).jsonl();
    let hiding = hiding.iter().filter(|p| p["hides_text"] == true).count();
    let listed = certificate["not_searched"]["problems_that_hide_text"].as_array();
    assert_eq!(listed.map(Vec::len), Some(hiding));
    let watermark = certificate["index"]["watermark"].as_u64().unwrap();
    assert_eq!(
        certificate["index"]["state_root"]["sha256"],
        root(&case, watermark).0
    );
}
