//! Members of the sides of a comparison, and the notes about members on neither
//! side.

use std::io::{Cursor, Write};

use serde_json::Value;

use super::support::Case;

fn jsonl(case: &Case, args: &[&str]) -> Vec<Value> {
    case.run(&[args, &["--jsonl"]].concat()).jsonl()
}

fn values<'v>(rows: &'v [Value], key: &str) -> Vec<&'v str> {
    rows.iter()
        .map(|row| row[key].as_str().unwrap_or(""))
        .collect()
}

/// Imports files of devices, one folder each, and loose files without a device.
fn imported(devices: &[(&str, &str, &[u8])], loose: &[&str]) -> Case {
    let case = Case::new();
    for (device, file, bytes) in devices {
        case.write(&format!("in/{device}/{file}"), bytes);
    }
    let folder = case.path("in").display().to_string();
    case.ok(&["import", &folder, "--device-from-folder"]);
    for (n, text) in loose.iter().enumerate() {
        let file = case.write(&format!("loose/{n}.txt"), text);
        case.ok(&["import", &file.display().to_string()]);
    }
    case
}

/// A zip with two entries of the same name.
fn twice(first: &str, second: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, text) in [("a.txt", first), ("b.txt", second)] {
        writer.start_file(name, options).unwrap();
        writer.write_all(text.as_bytes()).unwrap();
    }
    let mut bytes = writer.finish().unwrap().into_inner();
    while let Some(at) = bytes.windows(5).position(|name| name == b"b.txt") {
        bytes[at] = b'a';
    }
    bytes
}

#[test]
fn members_with_the_same_name_are_all_compared() {
    let evil = twice("evil first entry\n", "second entry\n");
    let good = twice("second entry\n", "second entry\n");
    let case = imported(&[("pc1", "p.zip", &evil), ("pc2", "p.zip", &good)], &[]);
    let rows = jsonl(&case, &["diff", "pc2", "pc1"]);
    assert_eq!(values(&rows, "after"), ["evil first entry"]);
}

#[test]
fn members_without_a_device_count_as_no_device() {
    let agent: &[u8] = b"common\nagent installed\n";
    let case = imported(
        &[
            ("pc1", "o.txt", b"common\n"),
            ("pc2", "o.txt", agent),
            ("pc3", "o.txt", agent),
        ],
        &["common\nonly loose\n", "common\nalso loose\n"],
    );
    let rows = jsonl(&case, &["stack"]);
    for row in &rows {
        let (devices, count) = match row["value"].as_str().unwrap() {
            "common" => (3, 5),
            "agent installed" => (2, 2),
            _ => (0, 1),
        };
        assert_eq!(row["devices"], devices, "{row}");
        assert_eq!(
            (&row["count"], &row["of_devices"]),
            (&count.into(), &3.into())
        );
    }
    let said = case.ok(&["stack", "loose"]);
    assert!(
        said.stdout.contains("on no known device"),
        "{}",
        said.stdout
    );
    // A row on no device is not a row on few devices.
    assert_eq!(
        jsonl(&case, &["stack", "loose", "--max-devices", "1"]).len(),
        2
    );
    let rest = ["diff", "pc1", "--rest"];
    assert_eq!(values(&jsonl(&case, &rest), "before"), ["agent installed"]);
    let note = "note: 2 members left out, since their device is not known";
    assert!(case.ok(&rest).stderr.contains(note));
    let twins = case.ok(&["twins", "--limit", "0"]);
    assert!(twins.stderr.contains(note), "{}", twins.stderr);
    assert_eq!(jsonl(&case, &["twins", "--limit", "0"]).len(), 3);
    // Results without a device are compared by their references.
    let listed = jsonl(&case, &["search", "loose"]);
    let rows = jsonl(&case, &[&["diff"], &values(&listed, "ref")[..]].concat());
    assert_eq!(values(&rows, "change"), ["removed", "added"], "{rows:?}");
    // A baseline also learns from loose files.
    case.ok(&["baseline", "learn", "loose", "also"]);
    assert_eq!(
        case.ok(&["baseline", "show", "loose"]).stdout,
        "also loose\n"
    );
}

#[test]
fn device_names_match_in_any_case() {
    let case = imported(
        &[("PC-01", "a.txt", b"x\n"), ("pc-02", "a.txt", b"y\n")],
        &[],
    );
    let more = case.write("more/b.txt", "z\n").display().to_string();
    case.ok(&["import", &more, "--device", "pc-01"]);
    let rows = jsonl(&case, &["stack"]);
    assert!(rows.iter().all(|row| row["of_devices"] == 2), "{rows:?}");
    let same = case.run(&["diff", "PC-01", "pc-01"]);
    assert_eq!(same.code, 2);
    assert!(
        same.stderr.contains("PC-01 and pc-01 are the same"),
        "{}",
        same.stderr
    );
}

#[test]
fn excluded_members_are_reported() {
    let case = Case::new();
    for (n, hour, output) in [(1, 8, "old"), (2, 9, "new")] {
        case.write(
            &format!("in/{}.json", id(n)),
            action(n, "pc1", hour).to_string(),
        );
        case.write(&format!("in/{}/0.json", id(n)), transcript(output));
    }
    case.write(
        &format!("in/{}.json", id(3)),
        action(3, "pc2", 8).to_string(),
    );
    case.write(&format!("in/{}/0.json", id(3)), transcript("old"));
    case.ok(&["import", &case.path("in").display().to_string()]);
    let diff = case.ok(&["diff", "pc1", "pc2"]);
    assert!(
        diff.stderr.contains("note: 1 older result of a command"),
        "{}",
        diff.stderr
    );
    let undated = case.write("u/u.txt", "undated\n").display().to_string();
    case.ok(&["import", &undated, "--device", "pc1"]);
    let over = case.ok(&["diff", "pc1", "--over-time"]);
    assert!(
        over.stderr.contains("1 member left out for want of a time"),
        "{}",
        over.stderr
    );
    assert!(!over.stdout.contains("undated"), "{}", over.stdout);
    for refused in [
        &["stack", "--variants", "--csv"][..],
        &["stack", "-C", "1", "--csv"],
        &["diff", "pc1", "--rest", "--counts"],
    ] {
        assert_eq!(case.run(refused).code, 2, "{refused:?}");
    }
}

fn id(n: u32) -> String {
    format!("00000000-0000-4000-8000-00000000000{n}")
}

fn transcript(output: &str) -> String {
    serde_json::json!({
        "script_name": "s.ps1", "exit_code": 0, "script_output": output, "script_errors": "",
    })
    .to_string()
}

fn action(n: u32, device: &str, hour: u32) -> Value {
    let machine = match device {
        "pc1" => "1".repeat(40),
        _ => "2".repeat(40),
    };
    serde_json::json!({
        "id": id(n), "type": "LiveResponse", "status": "Succeeded", "machineId": machine,
        "computerDnsName": device, "creationDateTimeUtc": format!("2026-02-03T{hour:02}:00:00Z"),
        "commands": [{
            "index": 0, "startTime": format!("2026-02-03T{hour:02}:00:00Z"),
            "endTime": format!("2026-02-03T{hour:02}:00:09Z"), "commandStatus": "Completed",
            "errors": [],
            "command": {
                "type": "RunScript", "params": [{"key": "ScriptName", "value": "s.ps1"}],
            },
        }],
    })
}

#[test]
fn baseline_hides_its_lines_and_keeps_its_history() {
    let case = imported(
        &[
            ("pc1", "a.txt", b"known\n"),
            ("pc2", "a.txt", b"known\nmore\n"),
        ],
        &[],
    );
    let learn = |more: &[&str]| case.ok(&[&["baseline", "learn", "g"], more].concat());
    learn(&["--device", "pc1"]);
    let quiet = case.run(&["-q", "stack", "--exclude-baseline", "g"]);
    assert!(
        quiet
            .stderr
            .contains("2 lines left out that the baseline knows"),
        "{}",
        quiet.stderr
    );
    let refused = case.run(&["stack", "--by", "name", "--exclude-baseline", "g"]);
    assert!(refused.code == 2 && refused.stderr.contains("a baseline knows lines"));
    // The origin of added lines is printed.
    learn(&["--device", "pc2", "--add"]);
    let listed = jsonl(&case, &["baseline", "list"]);
    assert_eq!(
        (&listed[1]["devices"], &listed[1]["members"]),
        (&2.into(), &2.into())
    );
    assert!(
        listed[1]["learned_from"]
            .as_str()
            .unwrap()
            .ends_with("added to g@1")
    );
    // The number of a version is never reused.
    case.ok(&["baseline", "delete", "g@2"]);
    learn(&["--device", "pc2"]);
    assert_eq!(jsonl(&case, &["baseline", "list"])[1]["version"], 3);
    // A damaged baseline does not hide others.
    let folder = std::path::Path::new(&case.archive()).join("baselines");
    std::fs::write(folder.join("0001-g.zst"), b"nonsense").unwrap();
    let ran = case.run(&["baseline", "list", "--jsonl"]);
    assert_eq!((ran.code, ran.jsonl().len()), (3, 1));
    assert!(ran.stderr.contains("g@1"), "{}", ran.stderr);
    let late = case.write("late/c.txt", "late\n").display().to_string();
    case.ok(&["import", &late, "--device", "pc9", "--no-index"]);
    let learned = learn(&["--device", "pc1"]);
    assert!(
        learned.stderr.contains("1 result not indexed yet"),
        "{}",
        learned.stderr
    );
}
