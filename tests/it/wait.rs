//! Searches that wait for the index, and the state of the index.

use std::fs::File;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::support::{Case, sample_data};

/// Sealed results that are not indexed.
fn late() -> Case {
    let case = Case::new();
    case.write("in/a.txt", "early words\n");
    case.ok(&["import", &case.path("in").display().to_string()]);
    case.write("more/b.txt", "late words\n");
    let more = case.path("more").display().to_string();
    case.ok(&["import", "--no-index", &more]);
    case
}

fn waiting(case: &Case, query: &str) -> Child {
    case.command(&["search", query, "--wait", "--jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

/// Holds the lock of the index writer.
fn hold(case: &Case) -> File {
    let file = File::options()
        .write(true)
        .open(case.archive().join("index.lock"))
        .expect("the lock's file");
    file.lock().expect("the lock");
    file
}

#[test]
fn waiting_search_updates_the_index_itself() {
    let case = late();
    assert_eq!(case.run(&["search", "late"]).code, 3);
    let ran = case.ok(&["search", "late", "--wait"]);
    assert!(ran.stderr.contains("note: indexing"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("not indexed"), "{}", ran.stderr);
    assert_eq!(case.run(&["search", "absent"]).code, 1);
    let again = case.ok(&["search", "late", "--wait"]);
    assert!(!again.stderr.contains("note:"), "{}", again.stderr);
}

#[test]
fn waiting_search_lets_another_process_finish() {
    let case = late();
    let lock = hold(&case);
    let mut child = waiting(&case, "late");
    std::thread::sleep(Duration::from_millis(600));
    assert!(child.try_wait().expect("a child").is_none(), "it waits");
    drop(lock);
    let output = child.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains("waiting for another process"), "{said}");
    let hits = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(hits.lines().count(), 1);
}

#[test]
fn invalid_query_does_not_wait() {
    let case = late();
    let _lock = hold(&case);
    for query in ["\"open", "/a(/"] {
        assert_eq!(case.run(&["search", query, "--wait"]).code, 2);
    }
}

/// Whether Ctrl-C is ignored by inheritance: a shell sets this for background
/// processes.
#[cfg(unix)]
fn ignores_interrupts(pid: &str) -> bool {
    const INTERRUPT: u64 = 1 << 1;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.unwrap_or(0) & INTERRUPT != 0
}

#[cfg(unix)]
#[test]
fn interrupted_wait_changes_nothing() {
    let case = late();
    let lock = hold(&case);
    let mut child = waiting(&case, "late");
    std::thread::sleep(Duration::from_millis(400));
    let pid = child.id().to_string();
    let signal = match ignores_interrupts(&pid) {
        true => "-TERM",
        false => "-INT",
    };
    let killed = std::process::Command::new("kill")
        .args([signal, &pid])
        .status()
        .expect("kill");
    assert!(killed.success());
    assert_ne!(child.wait().expect("an end").code(), Some(0));
    drop(lock);
    assert_eq!(case.run(&["search", "late"]).code, 3);
    case.ok(&["verify"]);
    case.ok(&["search", "late", "--wait"]);
}

#[test]
fn concurrent_index_updates_do_not_conflict() {
    let case = Case::new();
    for n in 0..200 {
        let text = format!("line of device-{n}\nshared words\n");
        case.write(&format!("in/device-{n}/out.txt"), text);
    }
    let path = case.path("in").display().to_string();
    case.ok(&["import", "--no-index", &path]);
    let index = |_| {
        case.command(&["index"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts")
    };
    let children: Vec<Child> = (0..3).map(index).collect();
    for child in children {
        let output = child.wait_with_output().expect("an end");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
    }
    let hits = case.ok(&["search", "shared", "--count", "--jsonl"]).jsonl();
    assert_eq!(hits[0]["hits"], 200);
}

#[test]
fn status_prints_repetition_and_index_progress() {
    let case = Case::new();
    case.run(&["import", &sample_data().display().to_string()]);
    let read = |args: &[&str]| -> serde_json::Value {
        serde_json::from_str(&case.ok(args).stdout).expect("JSON")
    };
    let status = read(&["status", "--index", "--json"]);
    assert_eq!(read(&["status", "--json"]), status);
    let index = &status["index"];
    for name in [
        "segments",
        "results",
        "members",
        "contents",
        "documents",
        "lines",
    ] {
        assert!(index[name].as_u64() > Some(0), "{name}: {index}");
    }
    assert!(index["contents"].as_u64() <= index["members"].as_u64());
    let share = index["distinct_share"].as_f64().unwrap();
    assert!(share > 0.0 && share <= 1.0, "{share}");
    let parts = index["parts"].as_array().unwrap();
    let named: Vec<_> = parts.iter().map(|p| p["part"].as_str().unwrap()).collect();
    assert_eq!(
        named,
        ["text", "terms", "4-grams", "documents", "lines", "facts"]
    );
    let sum: u64 = parts.iter().map(|p| p["bytes"].as_u64().unwrap()).sum();
    let disk = index["disk_bytes"].as_u64().unwrap();
    assert!(sum <= disk && sum * 10 > disk * 9, "{sum} of {disk}");
    assert_eq!(index["watermark"], status["indexed"]);
    assert_eq!(
        status["lag"],
        serde_json::json!({"results": 0, "bytes": 0, "since": null})
    );

    case.write("more/b.txt", "late words\n");
    let more = case.path("more").display().to_string();
    case.ok(&["import", "--no-index", &more]);
    let status = read(&["status", "--json"]);
    assert_eq!(status["lag"]["results"], 1);
    assert_eq!(status["lag"]["bytes"], 11);
    let rows = case.ok(&["list", "--jsonl"]).jsonl();
    let late = rows.iter().find(|r| r["path"] == "b.txt").unwrap();
    assert_eq!(status["lag"]["since"], late["collected_at"]);
    let seen = case.ok(&["status", "--index"]).stdout;
    for said in [
        "distinct  ",
        "4-grams",
        "watermark ",
        "lag       1 result (11 B) not indexed",
    ] {
        assert!(seen.contains(said), "{said}: {seen}");
    }
    let none = Case::new();
    none.write("in/a.txt", "words\n");
    none.ok(&[
        "import",
        "--no-index",
        &none.path("in").display().to_string(),
    ]);
    assert!(
        none.ok(&["status", "--index"])
            .stdout
            .contains("there is none yet")
    );
}
