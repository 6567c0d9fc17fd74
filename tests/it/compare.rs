//! `stack`, `diff`, `outliers` and `baseline`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::query::incident;
use super::support::{Case, real_data, sample_data};

const SCRIPT: &[&str] = &["--script", "Get-Persistence.ps1"];

fn jsonl(case: &Case, args: &[&str]) -> Vec<Value> {
    case.run(&[args, &["--jsonl"]].concat()).jsonl()
}

fn text<'v>(row: &'v Value, key: &str) -> &'v str {
    row[key]
        .as_str()
        .unwrap_or_else(|| panic!("{key} of {row}"))
}

/// Imports files of lines, one folder for each device.
fn fleet(devices: &[(&str, &str)]) -> Case {
    let case = Case::new();
    for (device, lines) in devices {
        case.write(&format!("in/{device}/out.txt"), lines);
    }
    let folder = case.path("in").display().to_string();
    case.ok(&["import", &folder, "--device-from-folder"]);
    case
}

#[test]
fn every_stack_row_can_be_shown_from_its_bytes() {
    let case = incident();
    let rows = jsonl(&case, &["stack", "kind:transcript"]);
    assert!(rows.len() > 500, "{}", rows.len());
    for row in rows.iter().step_by(41) {
        let (reference, line) = (text(row, "ref"), row["line"].to_string());
        let shown = case.ok(&["show", reference, "--at", &line, "--raw"]).stdout;
        assert_eq!(
            shown.trim_end_matches(['\n', '\r']),
            text(row, "text"),
            "{row}"
        );
        let offset = row["offset"].to_string();
        let by_offset = case.ok(&["show", reference, "--at-offset", &offset, "--raw"]);
        assert_eq!(by_offset.stdout, shown, "{row}");
    }
    // Rare lines first, and planted lines before common ones.
    let of_script = jsonl(&case, &[&["stack"], SCRIPT].concat());
    let place = of_script
        .iter()
        .position(|row| text(row, "value").contains("ParcelRelay"));
    assert!(place.is_some_and(|place| place < 10), "{place:?}");
    let last = of_script.last().unwrap();
    assert_eq!(last["devices"], last["of_devices"]);
}

#[test]
fn stack_prints_devices_times_and_counts() {
    let case = fleet(&[
        ("pc1", "PID: 7 of a.exe\nPID: 8 of a.exe\nall\nonly here\n"),
        ("pc2", "all\nPID: 9 of a.exe\r\n"),
        ("pc3", "all\n"),
    ]);
    let rows = jsonl(&case, &["stack", "--variants"]);
    let values: Vec<_> = rows.iter().map(|row| text(row, "value")).collect();
    assert_eq!(values, ["only here", "PID: <pid> of a.exe", "all"]);
    assert_eq!(
        (&rows[1]["devices"], &rows[1]["count"], &rows[1]["variants"]),
        (&2.into(), &3.into(), &3.into())
    );
    let on = rows[1]["on"].as_array().unwrap();
    assert_eq!(on.len(), 2);
    assert!(on.contains(&"pc1".into()) && on.contains(&"pc2".into()));
    let raw: BTreeSet<_> = rows[1]["raw"]
        .as_array()
        .unwrap()
        .iter()
        .map(|raw| text(raw, "text"))
        .collect();
    assert_eq!(
        raw,
        BTreeSet::from(["PID: 7 of a.exe", "PID: 8 of a.exe", "PID: 9 of a.exe"])
    );
    let few = jsonl(&case, &["stack", "--variants", "1", "--limit", "2"]);
    assert_eq!((few.len(), &few[1]["raw_left_out"]), (2, &2.into()));
    let rare = jsonl(&case, &["stack", "--max-devices", "1"]);
    assert_eq!(rare.len(), 1);
    let kept = jsonl(&case, &["stack", "--keep", "pids"]);
    assert_eq!(kept.len(), 5);
    let found = jsonl(&case, &["stack", "only"]);
    assert_eq!((found.len(), text(&found[0], "value")), (1, "only here"));
    assert_eq!(found[0]["of_devices"], 3);
    let people = case.ok(&["stack", "--limit", "1", "-C", "1"]);
    assert!(
        people
            .stdout
            .contains("1 of 3 devices  pc1\n    all\n    only here\n"),
        "{}",
        people.stdout
    );
    assert!(
        people.stderr.contains("1 row of 3 different texts"),
        "{}",
        people.stderr
    );
    let csv = case.ok(&["stack", "--csv"]).stdout;
    assert!(csv.starts_with("value,devices,of_devices,count,"), "{csv}");
}

#[test]
fn members_can_be_stacked_by_their_properties() {
    let case = Case::new();
    case.write("in/pc1/a/tool.exe", "same\n");
    case.write("in/pc1/a/evil.exe", "other\n");
    case.write("in/pc2/b/tool.exe", "same\n");
    case.write("in/pc3/b/tool.exe", "same but not quite\n");
    let folder = case.path("in").display().to_string();
    case.ok(&["import", &folder, "--device-from-folder"]);
    let counts = |by: &str| -> Vec<(String, u64)> {
        let rows = jsonl(&case, &["stack", "--by", by]);
        let row = |row: &Value| {
            (
                text(row, "value").to_string(),
                row["devices"].as_u64().unwrap(),
            )
        };
        rows.iter().map(row).collect()
    };
    assert_eq!(
        counts("name"),
        [("evil.exe".into(), 1), ("tool.exe".into(), 3)]
    );
    let hashes: Vec<u64> = counts("hash")
        .into_iter()
        .map(|(_, devices)| devices)
        .collect();
    assert_eq!(hashes, [1, 1, 2]);
    assert_eq!(counts("path").len(), 3);
    let incident = incident();
    let exits = jsonl(&incident, &["stack", "--by", "exit"]);
    assert_eq!(text(&exits[0], "value"), "1");
    let errors = jsonl(&incident, &["stack", "--by", "error"]);
    assert!(text(&errors[0], "value").contains("denied"), "{errors:?}");
}

#[test]
fn diff_ignores_order_and_prints_changes() {
    let case = fleet(&[
        (
            "pc1",
            "one\ntool version 1.0 of the vendor\ngone\nPID: 4\ntwo\n",
        ),
        (
            "pc2",
            "two\nPID: 99\none\nnew\ntool version 1.1 of the vendor\n",
        ),
        ("pc3", "two\none\ntool version 1.0 of the vendor\nPID: 1\n"),
    ]);
    let kinds = |args: &[&str]| -> Vec<String> {
        let rows = jsonl(&case, args);
        let row = |row: &Value| {
            let side = |side: &str| row[side].as_str().unwrap_or("").to_string();
            format!(
                "{} {}|{}",
                text(row, "change"),
                side("before"),
                side("after")
            )
        };
        rows.iter().map(row).collect()
    };
    assert_eq!(
        kinds(&["diff", "pc1", "pc2"]),
        [
            "changed tool version 1.0 of the vendor|tool version 1.1 of the vendor",
            "removed gone|",
            "added |new",
        ]
    );
    assert_eq!(
        kinds(&["diff", "pc2", "--rest"]),
        [
            "changed tool version 1.0 of the vendor|tool version 1.1 of the vendor",
            "added |new",
        ]
    );
    let context = case.ok(&["diff", "pc1", "pc2", "-C", "1"]).stdout;
    assert!(
        context.contains("    tool version 1.0 of the vendor\n- gone\n    PID: 4\n"),
        "{context}"
    );
    let same = fleet(&[("a", "x\ny\n"), ("b", "y\nx\n")]);
    let ran = same.run(&["diff", "a", "b"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    let ran = same.run(&["diff", "a", "nobody"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("nothing of nobody") && ran.stderr.contains("hint:"),
        "{}",
        ran.stderr
    );
}

#[test]
fn diff_compares_a_device_over_time() {
    let case = Case::new();
    let transcript = |output: &str| {
        serde_json::json!({"script_name": "s.ps1", "exit_code": 0, "script_output": output, "script_errors": ""})
            .to_string()
    };
    for (n, hour, output) in [(1, 8, "a\nb\n"), (2, 9, "b\nc\n"), (3, 10, "a\nb\nd\n")] {
        let id = format!("00000000-0000-4000-8000-00000000000{n}");
        let action = serde_json::json!({
            "id": id, "type": "LiveResponse", "status": "Succeeded", "machineId": "0".repeat(40),
            "computerDnsName": "pc1", "creationDateTimeUtc": format!("2026-02-03T{hour:02}:00:00Z"),
            "commands": [{"index": 0, "startTime": format!("2026-02-03T{hour:02}:00:00Z"),
                "endTime": format!("2026-02-03T{hour:02}:00:09Z"), "commandStatus": "Completed",
                "errors": [], "command": {"type": "RunScript", "params": [{"key": "ScriptName", "value": "s.ps1"}]}}],
        });
        case.write(&format!("in/{id}.json"), action.to_string());
        case.write(&format!("in/{id}/0.json"), transcript(output));
    }
    case.ok(&["import", &case.path("in").display().to_string()]);
    let changes = |args: &[&str]| -> Vec<String> {
        let rows = jsonl(&case, args);
        let row = |row: &Value| {
            let side = |side: &str| row[side].as_str().unwrap_or("").to_string();
            format!("-{} +{}", side("before"), side("after"))
        };
        rows.iter().map(row).collect()
    };
    assert_eq!(changes(&["diff", "pc1", "--over-time"]), ["- +d"]);
    let split = ["diff", "pc1", "--split", "2026-02-03T08:30"];
    assert_eq!(changes(&split), ["- +d"]);
    let all = [&split[..], &["--all"]].concat();
    assert_eq!(changes(&all), ["- +c", "- +d"]);
    let places = [
        "00000000-0000-4000-8000-000000000001/0",
        "00000000-0000-4000-8000-000000000002/0",
    ];
    assert_eq!(changes(&["diff", places[0], places[1]]), ["-a +", "- +c"]);
    let counts = changes(&[
        "diff",
        "pc1",
        "--split",
        "2026-02-03T08:30",
        "--all",
        "--counts",
    ]);
    assert_eq!(counts, ["- +c", "- +d", "-b +b"]);
}

#[test]
fn outlier_is_first_with_its_distinguishing_lines() {
    let common: String = (0..200)
        .map(|n| format!("service of everybody {n}\n"))
        .collect();
    let odd = format!("{common}evil relay\nother relay\n");
    let half: String = (0..100).map(|n| format!("its own {n}\n")).collect();
    let case = fleet(&[
        ("pc1", &common),
        ("pc2", &odd),
        ("pc3", &common),
        ("pc4", &half),
        ("pc5", &common),
    ]);
    let rows = jsonl(&case, &["twins", "--limit", "0"]);
    let devices: Vec<_> = rows.iter().map(|row| text(row, "device")).collect();
    assert_eq!(&devices[..2], ["pc4", "pc2"]);
    assert!(rows[0]["distance"].as_f64().unwrap() > 0.9, "{}", rows[0]);
    let lines: Vec<_> = rows[1]["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| text(line, "value"))
        .collect();
    assert_eq!(lines, ["evil relay", "other relay"]);
    let line = &rows[1]["lines"][0];
    let at = line["line"].to_string();
    let shown = case
        .ok(&["show", text(line, "ref"), "--at", &at, "--raw"])
        .stdout;
    assert_eq!(shown, "evil relay\n");
    let few = case.ok(&["twins", "--limit", "1"]);
    assert!(
        few.stderr.contains("4 rows more behind --limit"),
        "{}",
        few.stderr
    );
}

#[test]
fn baseline_is_learned_used_exported_imported_and_deleted() {
    let case = fleet(&[
        ("gold", "PID: 1\nknown\nC:\\Users\\a\\x\n"),
        ("gold2", "known\nsometimes\n"),
        ("pc1", "PID: 2\nknown\nC:\\Users\\b\\x\nnew\n"),
    ]);
    let learn = ["baseline", "learn", "golden", "--device", "gold*"];
    let row: Value =
        serde_json::from_str(&case.ok(&[&learn[..], &["--json"]].concat()).stdout).unwrap();
    assert_eq!(
        (&row["version"], &row["lines"], &row["devices"]),
        (&1.into(), &4.into(), &2.into())
    );
    let ran = case.run(&["stack", "--exclude-baseline", "golden"]);
    assert!(
        ran.stdout.contains("new\n") && !ran.stdout.contains("known"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr
            .contains("note: 8 lines left out that the baseline knows"),
        "{}",
        ran.stderr
    );
    // Other rules give the same answer: the rules of the baseline apply.
    let raw = jsonl(&case, &["stack", "--raw", "--exclude-baseline", "golden"]);
    assert_eq!(raw.len(), 1, "{raw:?}");
    let hits = case.run(&[
        "search",
        "device:pc1 AND (PID OR new OR known)",
        "--exclude-baseline",
        "golden",
    ]);
    assert!(
        hits.stdout.contains("new") && !hits.stdout.contains("PID"),
        "{}",
        hits.stdout
    );
    assert!(
        hits.stderr
            .contains("note: left out 2 hits that the baseline knows"),
        "{}",
        hits.stderr
    );
    let nothing = case.run(&["search", "known", "--exclude-baseline", "golden"]);
    assert_eq!(nothing.code, 3, "what is hidden was found");
    let counted = case.run(&["search", "known", "--count", "--exclude-baseline", "golden"]);
    assert_eq!(counted.code, 3);
    let absent = case.run(&["search", "nosuchword", "--exclude-baseline", "golden"]);
    assert_eq!(absent.code, 1);
    assert!(nothing.stderr.contains("3 hits"), "{}", nothing.stderr);
    let limited = jsonl(
        &case,
        &[
            "search",
            "/./",
            "--exclude-baseline",
            "golden",
            "--limit",
            "1",
        ],
    );
    assert_eq!(limited.len(), 1);
    let unknown = |more: &[&str]| {
        let search = ["search", "/./", "--exclude-baseline", "golden"];
        jsonl(&case, &[&search, more].concat())
    };
    let listed = unknown(&[]);
    for count in unknown(&["--count", "--by", "device"]) {
        let of_device = listed.iter().filter(|hit| hit["device"] == count["value"]);
        assert_eq!(count["hits"], of_device.count(), "{count}");
        assert_ne!(count["value"], "gold", "{count}");
    }
    let counted = case.ok(&["search", "/./", "--exclude-baseline", "golden", "--count"]);
    assert!(
        counted.stderr.contains("that the baseline knows"),
        "{}",
        counted.stderr
    );
    // A member matched by fields has no line that a baseline can contain.
    let members = ["search", "device:gold", "--exclude-baseline", "golden"];
    assert!(!jsonl(&case, &members).is_empty());
    let both = case.ok(&["diff", "gold", "pc1", "--exclude-baseline", "golden"]);
    assert_eq!(both.stdout.matches("+ new").count(), 1, "{}", both.stdout);

    // A second version with the lines of both devices.
    case.ok(&[&learn[..], &["--min-devices", "2"]].concat());
    assert_eq!(jsonl(&case, &["baseline", "list"]).len(), 2);
    assert_eq!(case.ok(&["baseline", "show", "golden"]).stdout, "known\n");
    assert_eq!(
        case.ok(&["baseline", "show", "golden@1"])
            .stdout
            .lines()
            .count(),
        4
    );
    let file = case.path("golden.baseline").display().to_string();
    case.ok(&["baseline", "export", "golden@1", "-o", &file]);
    let other = fleet(&[("pc9", "PID: 77\nknown\nnot known\n")]);
    other.ok(&["baseline", "import", &file, "--name", "theirs"]);
    let rows = jsonl(&other, &["stack", "--exclude-baseline", "theirs"]);
    assert_eq!(rows.len(), 1);
    let again = case.path("again").display().to_string();
    other.ok(&["baseline", "export", "theirs", "-o", &again]);
    let lines = |path: &str| -> Vec<String> {
        let page = fs::read_to_string(path).unwrap();
        page.lines().skip(1).map(str::to_string).collect()
    };
    assert_eq!(lines(&file), lines(&again));

    let damaged = fs::read_to_string(&file).unwrap().replace("known", "knows");
    let path = case.write("damaged", damaged).display().to_string();
    let ran = case.run(&["baseline", "import", &path]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("damaged"), "{}", ran.stderr);

    case.ok(&["baseline", "delete", "golden@2"]);
    case.ok(&["baseline", "delete", "golden"]);
    let ran = case.run(&["stack", "--exclude-baseline", "golden"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("no baseline named `golden`"),
        "{}",
        ran.stderr
    );
    assert_eq!(case.run(&["baseline", "learn", "../x"]).code, 2);
}

#[test]
fn hostile_lines_are_stacked_and_escaped() {
    let long = "A".repeat(3 << 20);
    let case = fleet(&[
        (
            "pc1",
            &format!("\u{1b}[2Jescape\nnul\0here\n\u{202e}bidi\n{long}\n=cmd|' /C calc'!A0\n"),
        ),
        ("pc2", "plain\r\n\r\nplain\n<pid>\nPID: <pid>\nPID: 4"),
    ]);
    case.write(
        "bytes/pc3/raw.bin",
        [0xff, 0xfe, 0x00, 0xd8, 0x41, 0x0a, 0xc3, 0x28, 0x0a],
    );
    let folder = case.path("bytes").display().to_string();
    case.run(&["import", &folder, "--device-from-folder"]);
    let people = case.ok(&["stack"]).stdout;
    assert!(
        !people.contains(['\u{1b}', '\0', '\u{202e}']),
        "{people:.2000}"
    );
    assert!(people.contains("\\u{1b}[2Jescape") && people.len() < 40_000);
    let csv = case.ok(&["stack", "--csv"]).stdout;
    assert!(csv.contains("'=cmd") && !csv.contains('\u{1b}'));
    let rows = jsonl(&case, &["stack"]);
    assert!(rows.iter().all(|row| text(row, "value").len() <= 64 << 10));
    let cut: Vec<_> = rows
        .iter()
        .filter(|row| row.get("text_truncated").is_some())
        .collect();
    assert!(!cut.is_empty());
    // A placeholder in a line is ordinary text.
    let pid = rows
        .iter()
        .find(|row| text(row, "value") == "PID: <pid>")
        .unwrap();
    assert_eq!(pid["variants"], 2);
    for args in [
        &["twins"][..],
        &["diff", "pc1", "pc2"],
        &["baseline", "learn", "x"],
    ] {
        let ran = case.run(args);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert!(!ran.stdout.contains('\u{1b}'));
    }
    assert!(
        !case
            .ok(&["baseline", "show", "x"])
            .stdout
            .contains('\u{1b}')
    );
}

#[test]
fn read_only_archive_can_be_compared() {
    let case = fleet(&[("pc1", "a\nb\n"), ("pc2", "a\n")]);
    case.ok(&["baseline", "learn", "known", "--device", "pc2"]);
    let mut command = case.command(&["stack", "--exclude-baseline", "known", "--jsonl"]);
    let archive = case.archive();
    let set = |mode: bool| {
        let mut all = vec![
            archive.clone(),
            archive.join("baselines"),
            archive.join("index"),
        ];
        all.extend(
            fs::read_dir(archive.join("index"))
                .unwrap()
                .map(|e| e.unwrap().path()),
        );
        for path in all {
            let mut permissions = fs::metadata(&path).unwrap().permissions();
            permissions.set_readonly(mode);
            fs::set_permissions(&path, permissions).unwrap();
        }
    };
    set(true);
    let before = fs::read_dir(archive.join("index")).unwrap().count();
    let output = command.output().unwrap();
    let after = fs::read_dir(archive.join("index")).unwrap().count();
    set(false);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("\"b\""));
    // Comparing writes nothing beside the index.
    assert_eq!(before, after);
}

#[test]
fn rules_are_listed_tried_and_read_from_the_config_file() {
    let case = fleet(&[
        ("pc1", "INC0012345 open\nRunning x\n"),
        ("pc2", "INC0099999 open\nRunning x\n"),
    ]);
    let listed = case.ok(&["templates"]).stdout;
    for rule in ["guids", "ports", "users", "own", "blanks"] {
        assert!(listed.contains(&format!("{rule}  ")), "{rule}");
    }
    let config = case.write(
        "c.toml",
        "[templates]\nkeep = ['times']\n[templates.rules]\nticket = 'INC\\d{7}'\n",
    );
    let config = config.display().to_string();
    let tried = case
        .ok(&[
            "templates",
            "INC0000001 at 10:11:12, PID: 4",
            "--config",
            &config,
        ])
        .stdout;
    assert_eq!(tried, "<ticket> at 10:11:12, PID: <pid>\n");
    assert_eq!(jsonl(&case, &["stack", "--config", &config]).len(), 2);
    assert_eq!(jsonl(&case, &["stack"]).len(), 3);
    let ran = case.run(&["stack", "--keep", "nosuch"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("no template rule named `nosuch`") && ran.stderr.contains("hint:"),
        "{}",
        ran.stderr
    );
    let wrong = case
        .write("wrong.toml", "[templates.rules]\nx = '('\n")
        .display()
        .to_string();
    let ran = case.run(&["stack", "--config", &wrong]);
    assert!(
        ran.code == 2 && ran.stderr.contains("`x`"),
        "{}",
        ran.stderr
    );
    let ran = case.run(&["search", "x", "--exclude-baseline", "nosuch"]);
    assert!(
        ran.code == 2 && ran.stderr.contains("no baseline named `nosuch`"),
        "{}",
        ran.stderr
    );
}

#[test]
fn empty_comparison_prints_a_note() {
    let case = fleet(&[("pc1", "a\n")]);
    let ran = case.run(&["stack", "nosuchword"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert_eq!(case.run(&["twins", "script:nosuch"]).code, 1);
    let ran = case.run(&["diff", "pc1", "--rest"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("any other device"), "{}", ran.stderr);
    let ran = case.run(&["stack", "bogus AND ("]);
    assert_eq!(ran.code, 2);
    let undated = case.run(&["stack", "--since", "2026-01-01"]);
    assert_eq!(undated.code, 3);
    assert!(
        undated.stderr.contains("for want of a time"),
        "{}",
        undated.stderr
    );
    let sample = Case::new();
    sample.run(&["import", &sample_data().display().to_string(), "--no-index"]);
    let late = sample.run(&["stack"]);
    assert_eq!(late.code, 3);
    assert!(late.stderr.contains("not indexed yet"), "{}", late.stderr);
}

/// Reviewed lines of real outputs that share a template: they differ in
/// volatile parts only.
#[test]
fn templates_of_real_outputs_merge_reviewed_lines_only() {
    let Some(real) = real_data() else { return };
    let case = Case::new();
    case.run(&["import", &real.join("text").display().to_string()]);
    let rows = jsonl(&case, &["stack", "--variants", "1000"]);
    let mut merged: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &rows {
        let raw = row["raw"].as_array().into_iter().flatten();
        // Blanks are not a difference.
        let blank = |raw: &Value| {
            text(raw, "text")
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        let lines: BTreeSet<String> = raw.map(blank).collect();
        if lines.len() > 1 {
            merged.insert(text(row, "value").to_string(), lines);
        }
    }
    let reviewed = include_str!("templates-reviewed.txt");
    let reviewed: BTreeSet<&str> = reviewed
        .lines()
        .filter(|line| !line.starts_with("## "))
        .collect();
    for (template, lines) in &merged {
        assert!(
            reviewed.contains(&template[..]),
            "not reviewed: {template}\n{lines:#?}"
        );
    }
    assert_eq!(merged.len(), reviewed.len());
}

/// A script run on a device.
#[derive(Clone, Copy)]
struct Job {
    /// Letter of the machine id.
    machine: Option<char>,
    name: Option<&'static str>,
    script: &'static str,
    args: Option<&'static str>,
    output: &'static str,
    errors: &'static str,
}

const JOB: Job = Job {
    machine: None,
    name: None,
    script: "Get-A.ps1",
    args: None,
    output: "",
    errors: "",
};

fn job(machine: impl Into<Option<char>>, name: &'static str, output: &'static str) -> Job {
    Job {
        machine: machine.into(),
        name: Some(name).filter(|name| !name.is_empty()),
        output,
        ..JOB
    }
}

fn action_of(n: usize) -> String {
    format!("0000000{n}-0000-4000-8000-000000000000")
}

/// Results of the service, one per day.
fn collected(jobs: &[Job]) -> Case {
    let case = Case::new();
    for (n, job) in jobs.iter().enumerate() {
        let (id, time) = (action_of(n), format!("2026-03-0{}T10:00:00Z", n + 1));
        let param = |key: &str, value: &str| serde_json::json!({"key": key, "value": value});
        let mut params = vec![param("ScriptName", job.script)];
        params.extend(job.args.map(|args| param("Args", args)));
        let action = serde_json::json!({
            "id": id, "type": "LiveResponse", "status": "Succeeded", "creationDateTimeUtc": time,
            "machineId": job.machine.map(|letter| letter.to_string().repeat(40)),
            "computerDnsName": job.name,
            "commands": [{"index": 0, "startTime": time, "endTime": time,
                "commandStatus": "Completed", "errors": [],
                "command": {"type": "RunScript", "params": params}}],
        });
        let transcript = serde_json::json!({"script_name": job.script, "exit_code": 0,
            "script_output": job.output, "script_errors": job.errors});
        case.write(&format!("in/{id}.json"), action.to_string());
        case.write(&format!("in/{id}/0.json"), transcript.to_string());
    }
    case.ok(&["import", &case.path("in").display().to_string()]);
    case
}

/// Lines of a diff: `-` first side only, `+` second side only.
fn changes(case: &Case, args: &[&str]) -> Vec<String> {
    let rows = jsonl(case, &[&["diff"], args].concat());
    let row = |row: &Value| {
        let side = |side: &str| row[side].as_str().unwrap_or("").to_string();
        format!("-{} +{}", side("before"), side("after"))
    };
    rows.iter().map(row).collect()
}

/// Asserts that a command is rejected with these messages.
fn assert_refused(case: &Case, args: &[&str], said: &[&str]) {
    let ran = case.run(args);
    assert_eq!(ran.code, 2, "{args:?}: {}", ran.stderr);
    for said in said {
        assert!(ran.stderr.contains(said), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn results_under_any_name_belong_to_their_machine() {
    let case = collected(&[
        job('a', "victim.corp", "common\nEVIL service\n"),
        Job {
            script: "Get-Run.ps1",
            ..job('a', "", "common\nEVIL service\n")
        },
        job('b', "clean-1.corp", "common\n"),
        job('c', "clean-2.corp", "common\n"),
    ]);
    let id = "a".repeat(40);
    for called in ["victim", "VICTIM.corp", &id] {
        assert_eq!(changes(&case, &[called, "--rest"]), ["- +EVIL service"]);
    }
    let renamed = collected(&[
        job('a', "old.corp", "one\n"),
        job('a', "new.corp", "two\n"),
        job('b', "other.corp", "one\n"),
    ]);
    for called in ["old", "new"] {
        assert_eq!(
            changes(&renamed, &[called, "--over-time"]),
            ["-one +", "- +two"]
        );
    }
    assert_eq!(changes(&renamed, &["old", "other", "--all"]), ["-two +"]);
    assert_refused(&renamed, &["diff", "old", "new"], &["are the same"]);
}

#[test]
fn script_with_other_arguments_is_another_command() {
    let run = |machine, name, args, output| Job {
        args: Some(args),
        ..job(machine, name, output)
    };
    let case = collected(&[
        run('a', "pc-a", "-What services", "svc\n"),
        run('a', "pc-a", "-What tasks", "task\n"),
        run('b', "pc-b", "-What tasks", "task\n"),
        run('b', "pc-b", "-What services", "svc\n"),
    ]);
    let ran = case.run(&["diff", "pc-a", "pc-b"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{}", ran.stderr);
    assert_refused(&case, &["diff", "pc-a", "--over-time"], &["second result"]);
    let in_any_case = collected(&[
        job('a', "pc-a", "old\n"),
        Job {
            script: "get-a.PS1",
            ..job('a', "pc-a", "new\n")
        },
    ]);
    let over_time = changes(&in_any_case, &["pc-a", "--over-time"]);
    assert_eq!(over_time, ["-old +", "- +new"]);
}

#[test]
fn rest_is_counted_over_all_devices_for_any_query() {
    let case = collected(&[
        job('a', "pc-a", "common\nFoo first\n"),
        job('b', "pc-b", "common\nFoo second\n"),
        job('c', "pc-c", "common\n"),
        job('d', "pc-d", "common\n"),
    ]);
    let of_text = |text| changes(&case, &["pc-a", "--rest", "--query", text]);
    assert_eq!(of_text("Foo"), ["- +Foo first"]);
    // No other device has the word, and that is a finding.
    assert_eq!(of_text("first"), ["- +Foo first"]);
}

#[test]
fn search_and_stack_agree_on_a_renamed_machine() {
    let case = collected(&[
        job('a', "oldpc.corp", "host oldpc is up\n"),
        job('a', "newpc.corp", "host newpc is up\n"),
        job('b', "other.corp", "host other is up\n"),
        job('c', "nullpc.corp", "host nullpc is up\n"),
        job('c', "", "host nullpc is up\n"),
    ]);
    case.ok(&["baseline", "learn", "golden", "--device", "other"]);
    let unknown = |args: &[&str]| -> Vec<String> {
        let rows = jsonl(&case, &[args, &["--exclude-baseline", "golden"]].concat());
        rows.iter()
            .map(|row| text(row, "text").to_string())
            .collect()
    };
    assert_eq!(unknown(&["stack"]), ["host oldpc is up"]);
    assert_eq!(unknown(&["search", "host"]), ["host oldpc is up"]);
    // Each selection finds the same machine.
    for narrowed in [&["oldpc"][..], &["host", "--until", "2026-03-01"]] {
        for command in ["stack", "search"] {
            let known = unknown(&[&[command], narrowed].concat());
            assert_eq!(known, ["host oldpc is up"], "{command} {narrowed:?}");
        }
    }
}

#[test]
fn single_text_of_a_transcript_is_compared_alone() {
    let case = collected(&[
        Job {
            errors: "E one\n",
            ..job('a', "pc-a", "common\nhere\n")
        },
        Job {
            errors: "E two of another kind\n",
            ..job('b', "pc-b", "common\nthere\n")
        },
    ]);
    let part = |n, part| format!("{}/0!{part}", action_of(n));
    let diff = |part_a, part_b| changes(&case, &[&part(0, part_a), &part(1, part_b)]);
    assert_eq!(diff("output", "output"), ["-here +", "- +there"]);
    assert_eq!(
        diff("errors", "errors"),
        ["-E one +", "- +E two of another kind"]
    );
    let (output, errors) = (part(0, "output"), part(1, "errors"));
    let whole = format!("{}/0", action_of(1));
    for other in [&errors, &whole, "pc-b"] {
        assert_refused(&case, &["diff", &output, other], &[&output, other]);
        assert_refused(&case, &["diff", other, &output], &[&output, other]);
    }
}

#[test]
fn hidden_or_excluded_rows_exit_with_3() {
    let case = collected(&[
        job('a', "pc-a", "same\n"),
        job('b', "pc-b", "same\n"),
        job(None, "", "same\n"),
    ]);
    assert_eq!(case.run(&["diff", "pc-a", "pc-b"]).code, 1);
    assert_eq!(case.run(&["diff", "pc-a", "--rest"]).code, 3);
    case.ok(&["baseline", "learn", "golden"]);
    for args in [&["stack"][..], &["diff", "pc-a", "pc-b"]] {
        let hidden = [args, &["--exclude-baseline", "golden"]].concat();
        assert_eq!(case.run(&hidden).code, 3, "{args:?}");
    }
    let absent = ["stack", "nosuchword", "--exclude-baseline", "golden"];
    assert_eq!(case.run(&absent).code, 1);
}

#[test]
fn device_not_indexed_yet_is_reported() {
    let case = fleet(&[("pc1", "a\n")]);
    case.write("late/pc2/out.txt", "b\n");
    let folder = case.path("late").display().to_string();
    case.ok(&["import", &folder, "--device-from-folder", "--no-index"]);
    let said = ["nothing of pc2", "1 result is not indexed yet", "--wait"];
    assert_refused(&case, &["diff", "pc1", "pc2"], &said);
    assert_eq!(changes(&case, &["pc1", "pc2", "--wait"]), ["-a +", "- +b"]);
}

#[test]
fn ambiguous_name_is_rejected_over_time() {
    let case = collected(&[
        job('a', "pc.corp", "one\n"),
        job('b', "pc.corp", "two\n"),
        job('b', "pc.corp", "three\n"),
        job('c', "lone.corp", "four\n"),
        job('c', "lone.corp", "five\n"),
        // A result with a name only belongs to the machine with that name.
        job(None, "lone", "other\n"),
    ]);
    let (a, b) = ("a".repeat(40), "b".repeat(40));
    for over in [&["--over-time"][..], &["--split", "2026-03-02"]] {
        let said = ["2 machines", &a[..], &b, "hint:"];
        assert_refused(&case, &[&["diff", "pc"], over].concat(), &said);
    }
    assert_eq!(changes(&case, &[&b, "--over-time"]), ["-two +", "- +three"]);
    let lone = changes(&case, &["lone", "--over-time"]);
    assert_eq!(lone, ["-four +", "- +five"]);
}

#[test]
fn result_reference_is_rejected_with_rest_and_split() {
    let case = collected(&[job('a', "pc-a", "one\n"), job('b', "pc-b", "two\n")]);
    let result = format!("{}/0", action_of(0));
    for over in [
        &["--rest"][..],
        &["--over-time"],
        &["--split", "2026-03-02"],
    ] {
        let said = [&result[..], "is a result", over[0], "hint:"];
        assert_refused(&case, &[&["diff", &result], over].concat(), &said);
    }
}

#[test]
fn device_names_match_in_any_case() {
    let case = collected(&[
        job('c', "two-1.corp", "twoline\n"),
        job('d', "two-2.corp", "twoline\n"),
        job(None, "CASE-PC", "caseline\n"),
        job(None, "case-pc", "caseline\n"),
        job('e', "up.corp", "upline\n"),
        job('E', "up.corp", "upline\n"),
    ]);
    let rarest = jsonl(&case, &["search", "--sort", "rarity", "/line/"]);
    let lines: Vec<_> = rarest.iter().map(|row| text(row, "text")).collect();
    assert_eq!(lines[..2], ["caseline"; 2]);
    assert_eq!(lines[2..], ["upline", "upline", "twoline", "twoline"]);
    for args in [
        &["search", "/line/"][..],
        &["search", "/line/", "--count", "--by", "device"],
    ] {
        let ran = case.ok(args);
        assert!(
            ran.stderr.contains("on 4 devices"),
            "{args:?}: {}",
            ran.stderr
        );
    }
}

#[test]
fn diff_marks_truncated_lines() {
    let long = "A".repeat(70_000);
    let case = fleet(&[
        ("pc1", &format!("{long} x\nshort\n")),
        ("pc2", &format!("{long} y\n")),
    ]);
    let rows = jsonl(&case, &["diff", "pc1", "pc2"]);
    let cut = |row: &Value| {
        let side = |side: &str| row.get(side).is_some_and(|is_cut| *is_cut == true);
        (side("before_text_truncated"), side("after_text_truncated"))
    };
    let mut told: Vec<_> = rows.iter().map(cut).collect();
    told.sort();
    assert_eq!(told, [(false, false), (false, true), (true, false)]);
}

#[test]
fn baseline_learned_again_states_its_origin() {
    let case = fleet(&[("pc1", "a\n"), ("pc2", "a\n")]);
    let learn = ["baseline", "learn", "golden", "--json"];
    case.ok(&learn);
    let again = case.ok(&[&learn[..], &["--add"]].concat()).stdout;
    let row: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(text(&row, "learned_from"), "added to golden@1");
    let narrow = [&learn[..], &["--add", "--device", "pc1"]].concat();
    let row: Value = serde_json::from_str(&case.ok(&narrow).stdout).unwrap();
    assert_eq!(
        text(&row, "learned_from"),
        "--device 'pc1', added to golden@2"
    );
}

/// Windows does not allow such a file name.
#[cfg(unix)]
#[test]
fn foreign_file_name_among_baselines_is_escaped() {
    let case = fleet(&[("pc1", "a\n")]);
    case.ok(&["baseline", "learn", "golden"]);
    let baselines = case.archive().join("baselines");
    fs::write(baselines.join("0001-\u{1b}[2Jx.zst"), "no baseline").unwrap();
    let ran = case.run(&["baseline", "list"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("\\u{1b}[2Jx@1"), "{:?}", ran.stderr);
    assert!(!ran.stderr.contains('\u{1b}'), "{:?}", ran.stderr);
}

#[test]
fn unknown_name_is_reported_when_nothing_is_compared() {
    let case = fleet(&[("pc1", "a\n")]);
    for (args, said) in [
        (["stack", "--device", "nosuch"], "device:\"nosuch\""),
        (["twins", "--script", "nosuch"], "script:\"nosuch\""),
    ] {
        let ran = case.run(&args);
        assert_eq!(ran.code, 1);
        let said = format!("no member is of {said}");
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    }
    let ran = case.run(&["stack", "nosuchword", "--device", "pc1"]);
    assert!(!ran.stderr.contains("no member is of"), "{}", ran.stderr);
}
