//! `search`: answers, formats, exit codes.

use super::support::{Case, sample_data};

fn incident() -> Case {
    let case = Case::new();
    case.run(&["import", &sample_data().display().to_string()]);
    case
}

#[test]
fn questions_of_the_sample_have_their_answers() {
    let case = incident();
    for question in generate::QUESTIONS {
        let mut args = vec!["search"];
        if question.regex {
            args.push("--regex");
        }
        args.extend([question.query, "--jsonl"]);
        let hits = case.ok(&args).jsonl();
        let devices: std::collections::BTreeSet<_> =
            hits.iter().map(|h| h["device"].to_string()).collect();
        assert_eq!(hits.len(), question.hits, "{}", question.query);
        assert_eq!(devices.len(), question.devices, "{}", question.query);
    }
}

#[test]
fn hit_has_stable_field_names() {
    let case = incident();
    let hits = case.ok(&["search", "mimikatz", "--jsonl"]).jsonl();
    for name in [
        "ref",
        "action_id",
        "command_index",
        "version",
        "device",
        "machine_id",
        "script",
        "time",
        "member",
        "line",
        "offset",
        "text",
        "member_sha256",
    ] {
        assert!(
            hits[0].get(name).is_some(),
            "{name} is missing in {}",
            hits[0]
        );
    }
    let shown = case
        .ok(&["show", hits[0]["ref"].as_str().unwrap(), "--raw"])
        .stdout;
    let at = hits[0]["offset"].as_u64().unwrap() as usize;
    assert!(
        shown[at..].to_lowercase().starts_with("mimikatz"),
        "{}",
        &shown[at..at + 20]
    );
}

#[test]
fn exit_codes_distinguish_hits_none_and_incomplete() {
    let case = Case::new();
    case.write("in/a.txt", "plain words\n");
    case.ok(&["import", &case.path("in").display().to_string()]);
    assert_eq!(case.run(&["search", "words"]).code, 0);
    assert_eq!(case.run(&["search", "absent"]).code, 1);
    assert_eq!(case.run(&["search", "\"unclosed"]).code, 2);
    case.write("more/b.txt", "late words\n");
    case.ok(&[
        "import",
        "--no-index",
        &case.path("more").display().to_string(),
    ]);
    let ran = case.run(&["search", "absent"]);
    assert_eq!(ran.code, 3);
    assert!(ran.stderr.contains("not indexed"), "{}", ran.stderr);
}

#[test]
fn every_format_contains_the_same_rows() {
    let case = incident();
    let query = "\"Parcel Tracking Relay\" OR ParcelSync";
    let lines = case.ok(&["search", query, "--jsonl"]).jsonl();
    let array: Vec<serde_json::Value> =
        serde_json::from_str(&case.ok(&["search", query, "--json"]).stdout).unwrap();
    assert_eq!(lines, array);
    let csv = case.ok(&["search", query, "--csv"]).stdout;
    assert!(csv.starts_with("ref,action_id,command_index,version,device"));
    let file = case.path("hits.jsonl");
    case.ok(&[
        "search",
        query,
        "--jsonl",
        "-o",
        &file.display().to_string(),
    ]);
    let written = std::fs::read_to_string(file).unwrap();
    assert_eq!(written.lines().count(), lines.len());
    let counted = case
        .ok(&["search", query, "--count", "--by", "device", "--jsonl"])
        .jsonl();
    let sum: u64 = counted.iter().map(|c| c["hits"].as_u64().unwrap()).sum();
    assert_eq!(sum as usize, lines.len());
}

#[test]
fn evidence_is_escaped_for_terminals_and_spreadsheets() {
    let case = Case::new();
    case.write(
        "in/a.txt",
        "before \u{1b}[2J\u{1b}]0;owned\u{7} needle \u{202e}txt.exe\n=cmd|' /C calc'!A0 needle\n",
    );
    case.ok(&["import", &case.path("in").display().to_string()]);
    let seen = case.ok(&["search", "needle"]).stdout;
    assert!(
        !seen.contains('\u{1b}') && !seen.contains('\u{202e}'),
        "{seen:?}"
    );
    let csv = case.ok(&["search", "needle", "--csv"]).stdout;
    assert!(csv.contains("'=cmd"), "{csv}");
    assert!(
        csv.contains("\\u{1b}[2J") && csv.contains("\\u{202e}txt"),
        "{csv:?}"
    );
    assert!(
        !csv.contains(|c: char| c.is_control() && c != '\n' || c == '\u{202e}'),
        "{csv:?}"
    );
    let hits = case.ok(&["search", "needle", "--jsonl"]).jsonl();
    assert!(
        hits[0]["text"].as_str().unwrap().contains('\u{1b}'),
        "JSON keeps what is there"
    );
}

#[test]
fn regex_and_fixed_match_raw_lines() {
    let case = Case::new();
    case.write("in/a.txt", "alpha 10.1.2.3:4444\r\nbeta\r\nALPHA x\r\n");
    case.ok(&["import", &case.path("in").display().to_string()]);
    let lines = |args: &[&str]| -> Vec<u64> {
        let mut all = vec!["search"];
        all.extend(args);
        all.push("--jsonl");
        case.run(&all)
            .jsonl()
            .iter()
            .map(|h| h["line"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(lines(&["--regex", r"\d+\.\d+\.\d+\.\d+:4444"]), [1]);
    assert_eq!(lines(&["--regex", "(?i)^alpha"]), [1, 3]);
    assert_eq!(lines(&["--regex", "beta$"]), [2]);
    assert_eq!(lines(&["--fixed", "2.3:44"]), [1]);
    assert_eq!(lines(&["--fixed", "alpha", "--ignore-case"]), [1, 3]);
    assert_eq!(lines(&["--fixed", "alpha", "NOT beta"]), [0u64; 0]);
}

#[test]
fn members_without_a_time_are_reported() {
    let case = Case::new();
    case.run(&["import", &sample_data().display().to_string()]);
    case.write("in/pc-1/a.txt", "mimikatz and undatedword\n");
    case.run(&[
        "import",
        "--device-from-folder",
        &case.path("in").display().to_string(),
    ]);
    let everything = case.ok(&["search", "*", "--count", "--json"]).stdout;
    let everything: serde_json::Value = serde_json::from_str(&everything).unwrap();
    let members = everything[0]["members"].as_u64().unwrap();
    for since in [
        &["undatedword", "--since", "2020-01-01"][..],
        &["undatedword since:2020-01-01"],
        &["(undatedword since:2020-01-01) OR absent"],
        &["undatedword day:2026-03-11"],
        &["undatedword day:[2026-03-01 TO 2026-03-31]"],
    ] {
        let ran = case.run(&[&["search"][..], since].concat());
        assert_eq!(ran.code, 3, "{since:?}");
        assert!(ran.stderr.contains("1 member that"), "{}", ran.stderr);
        let searched = format!("of {} members searched", members - 1);
        assert!(ran.stderr.contains(&searched), "{}", ran.stderr);
    }
    for whole in [
        &["absent", "--until", "2020-01-01"][..],
        &["NOT until:2020-01-01 absent"],
    ] {
        assert_eq!(case.run(&[&["search"][..], whole].concat()).code, 1);
    }
    let found = case.ok(&["search", "mimikatz", "--since", "2020-01-01"]);
    assert!(found.stderr.contains("1 member that"), "{}", found.stderr);
    let or = case.ok(&["search", "undatedword OR since:2020-01-01"]);
    assert!(!or.stderr.contains("no time"), "{}", or.stderr);
    let by = [
        "--count",
        "--by",
        "device",
        "--jsonl",
        "--since",
        "2020-01-01",
    ];
    let rows = case
        .ok(&[&["search", "mimikatz"][..], &by].concat())
        .jsonl();
    let undated: Vec<_> = rows.iter().filter(|r| r["undated"] != 0).collect();
    assert_eq!(undated.len(), 1);
    assert_eq!(
        (&undated[0]["value"], &undated[0]["hits"]),
        (&"pc-1".into(), &0.into())
    );
}

#[test]
fn summary_counts_members_and_devices_once() {
    let case = incident();
    case.write("in/a.txt", "kerberos\n");
    case.run(&["import", &case.path("in").display().to_string()]);
    let said = |more: &[&str]| {
        let ran = case.run(&[&["search", "kerberos OR relay"][..], more].concat());
        ran.stderr.lines().last().unwrap_or_default().to_string()
    };
    let (time, rarity) = (said(&[]), said(&["--sort", "rarity"]));
    assert_eq!(time, rarity);
    let nowhere = Case::new();
    nowhere.write("in/a.txt", "kerberos\n");
    nowhere.ok(&["import", &nowhere.path("in").display().to_string()]);
    let ran = nowhere.ok(&["search", "kerberos"]);
    assert!(ran.stderr.contains("on 0 devices"), "{}", ran.stderr);
}

#[test]
fn count_prints_counts_only() {
    let case = incident();
    let total = case.ok(&["search", "mimikatz", "--count"]);
    assert!(!total.stderr.contains("device"), "{}", total.stderr);
    let by = case.ok(&["search", "mimikatz", "--count", "--by", "device"]);
    assert!(by.stderr.contains(" on "), "{}", by.stderr);
    let none = case.run(&["search", "absentword", "--count", "--jsonl"]);
    assert_eq!((none.code, &none.jsonl()[0]["hits"]), (1, &0.into()));
}

/// `/dev/full` accepts no byte.
#[cfg(target_os = "linux")]
#[test]
fn full_output_device_is_an_error() {
    let case = incident();
    for args in [
        &["completions", "bash"][..],
        &["list"],
        &["search", "mimikatz"],
        &["status"],
        &["demo", "--discard"],
    ] {
        let mut command = case.command(args);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
        command
            .stdout(full.unwrap())
            .stderr(std::process::Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains("os error 28"), "{args:?}: {said}");
    }
}

#[cfg(feature = "emulator")]
#[test]
fn discarded_demo_names_no_archive() {
    let told = Case::new().ok(&["demo", "--discard"]).stdout;
    assert!(told.contains("Invoice_88213") && told.contains("The archive is deleted"));
    assert!(!told.contains("AFTERACTION_ARCHIVE"), "{told}");
}

#[test]
fn contradictory_options_are_rejected() {
    let case = incident();
    assert_eq!(case.run(&["search", "mimikatz", "--limit", "0"]).code, 2);
    let file = case.path("no/such/folder/hits.csv").display().to_string();
    let ran = case.run(&["search", "mimikatz", "-o", &file]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains(&file), "{}", ran.stderr);
}
