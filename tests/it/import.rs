//! `import`.

use super::support::{Case, real_data, sample_data};
use super::zips::{Zip, stored};

#[test]
fn importing_twice_or_from_another_path_adds_nothing() {
    let case = Case::new();
    case.write("one/pc-1/a.txt", "first words\n");
    case.write("one/pc-2/b.json", r#"{"script_name":"b.ps1","exit_code":0,"script_output":"second words\n","script_errors":""}"#);
    case.write("two/deep/pc-1/a.txt", "first words\n");
    let import =
        |path: &str| case.ok(&["import", &case.path(path).display().to_string(), "--json"]);
    let first: serde_json::Value = serde_json::from_str(&import("one").stdout).unwrap();
    assert_eq!(first["sealed"], 2);
    let again: serde_json::Value = serde_json::from_str(&import("one").stdout).unwrap();
    assert_eq!(
        (&again["sealed"], &again["already_there"]),
        (&0.into(), &2.into())
    );
    let moved: serde_json::Value = serde_json::from_str(&import("two/deep").stdout).unwrap();
    assert_eq!(
        (&moved["sealed"], &moved["already_there"]),
        (&0.into(), &1.into())
    );
}

#[test]
fn same_file_of_another_device_is_another_result() {
    let case = Case::new();
    for device in ["pc-1", "pc-2"] {
        case.write(&format!("{device}/hosts.txt"), "marker of both\n");
        let folder = case.path(device).display().to_string();
        let told = case.ok(&["import", &folder, "--device", device, "--json"]);
        let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
        assert_eq!(
            (&told["sealed"], &told["already_there"]),
            (&1.into(), &0.into())
        );
    }
    let found = |query: &str| case.ok(&["search", query, "--wait", "--jsonl"]).jsonl();
    assert_eq!(found("marker").len(), 2);
    assert_eq!(found("marker device:pc-2").len(), 1);
    let folder = case.path("pc-2").display().to_string();
    let again = case.ok(&["import", &folder, "--device", "pc-2", "--json"]);
    let again: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(
        (&again["sealed"], &again["already_there"]),
        (&0.into(), &1.into())
    );
}

#[test]
fn hit_in_a_loose_file_names_the_file() {
    let case = Case::new();
    case.write("in/logs/hosts.txt", "marker\n");
    case.ok(&["import", &case.path("in").display().to_string()]);
    let hits = case.ok(&["search", "marker", "--wait", "--jsonl"]).jsonl();
    assert_eq!(hits[0]["member"], "logs/hosts.txt");
}

#[test]
fn service_layout_keeps_action_ids_and_indexes() {
    let case = Case::new();
    let ran = case.run(&["import", &sample_data().display().to_string()]);
    assert_eq!(ran.code, 3, "the incident has gaps\n{}", ran.stderr);
    let rows = case.ok(&["list", "--jsonl"]).jsonl();
    let sealed: Vec<_> = rows.iter().filter(|r| r["state"] == "sealed").collect();
    assert_eq!(sealed.len(), 30);
    for row in &sealed {
        for name in [
            "action_id",
            "command_index",
            "version",
            "device",
            "machine_id",
            "kind",
            "script",
            "path",
            "exit_code",
            "time",
            "requestor",
            "comment",
            "collected_at",
            "state",
            "reason",
            "bytes",
            "sha256",
        ] {
            assert!(row.get(name).is_some(), "{name} is missing in {row}");
        }
        assert_eq!(row["version"], 1);
        assert_eq!(row["sha256"].as_str().map(str::len), Some(64));
    }
    assert!(
        sealed.iter().any(|r| r["exit_code"] == 1),
        "the failed script's exit code"
    );
    let missing = rows.iter().filter(|r| r["state"] == "gap").count();
    let pending = rows.iter().filter(|r| r["state"] == "pending").count();
    assert_eq!((missing, pending), (4, 2));
}

#[test]
fn repeated_import_still_reports_gaps_and_problems() {
    let case = Case::new();
    case.write("in/cut.gz", [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x4b]);
    for path in [case.path("in"), sample_data()] {
        let import = || case.run(&["import", &path.display().to_string(), "--json"]);
        let (first, again) = (import(), import());
        assert_eq!((first.code, again.code), (3, 3), "{}", again.stderr);
        let report = |ran: &super::support::Ran| -> serde_json::Value {
            serde_json::from_str(&ran.stdout).unwrap()
        };
        let (first, again) = (report(&first), report(&again));
        assert_eq!(again["sealed"], 0);
        assert_eq!(first["gaps"], again["gaps"]);
        assert_eq!(first["problems"], again["problems"]);
        assert_ne!(again["problems"], 0);
    }
    case.write("fine/a.txt", "words\n");
    let fine = case.path("fine").display().to_string();
    case.ok(&["import", &fine]);
}

/// The path is longer than the system allows, so not even root can open it.
#[cfg(target_os = "linux")]
#[test]
fn unreadable_file_is_reported_and_the_rest_imported() {
    let case = Case::new();
    let deep = |name: &str| format!("{name}/{}", vec!["d".repeat(200); 15].join("/"));
    case.write("in/a.txt", "first words\n");
    case.write(&format!("{}/x.txt", deep("in")), "second words\n");
    case.write(&format!("{}/y.txt", deep("apart")), "out of reach\n");
    std::fs::rename(case.path("apart"), case.path(&deep("in")).join("e")).unwrap();
    let ran = case.run(&["import", &case.path("in").display().to_string(), "--json"]);
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("left out"), "{}", ran.stderr);
    let report: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["sealed"], 2);
    assert_eq!(report["left_out"].as_array().map(Vec::len), Some(1));
    assert_eq!(report["left_out"][0]["unreadable"], true);
}

#[cfg(unix)]
#[test]
fn directory_entry_without_evidence_is_reported() {
    let case = Case::new();
    case.write("in/a.txt", "words\n");
    std::os::unix::fs::symlink("nowhere", case.path("in/link")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(case.path("in/socket")).unwrap();
    let ran = case.ok(&["import", &case.path("in").display().to_string()]);
    drop(socket);
    assert!(ran.stderr.contains("not followed"), "{}", ran.stderr);
    for named in ["in/link", "in/socket"] {
        let ran = case.run(&["import", &case.path(named).display().to_string()]);
        assert_eq!(ran.code, 2);
        assert!(ran.stderr.contains(named), "{}", ran.stderr);
    }
}

#[test]
fn device_is_taken_from_name_folder_or_pattern() {
    for (flag, value, device) in [
        ("--device", Some("srv-9"), "srv-9"),
        ("--device-from-folder", None, "hosts"),
        ("--device-pattern", Some("hosts/(?<device>[^/]+)/"), "pc-7"),
    ] {
        let case = Case::new();
        case.write("in/hosts/pc-7/a.txt", "words\n");
        let path = case.path("in").display().to_string();
        let mut args = vec!["import", path.as_str(), flag];
        args.extend(value);
        case.ok(&args);
        let rows = case.ok(&["list", "--jsonl"]).jsonl();
        assert_eq!(rows[0]["device"], device, "{flag}");
        let hits = case
            .ok(&["search", "words", "--device", device, "--jsonl"])
            .jsonl();
        assert_eq!(hits.len(), 1);
    }
    let case = Case::new();
    case.write("in/a.txt", "words\n");
    let path = case.path("in").display().to_string();
    for flag in [
        &["--device-from-folder"][..],
        &["--device-pattern", "no/(.*)"],
    ] {
        let ran = case.ok(&[&["import", path.as_str()], flag].concat());
        assert!(ran.stderr.contains("1 file of no device"), "{}", ran.stderr);
    }
}

#[test]
fn real_archives_are_searchable_byte_for_byte() {
    let Some(real) = real_data() else { return };
    let case = Case::new();
    case.ok(&["import", &real.join("real_archive").display().to_string()]);
    let hits = case
        .ok(&["search", "--fixed", "ntdsutil", "--ignore-case", "--jsonl"])
        .jsonl();
    assert!(!hits.is_empty());
    for hit in hits.iter().take(50) {
        let reference = hit["ref"].as_str().unwrap();
        let member = case.ok(&["show", reference, "--raw"]).bytes;
        let text = String::from_utf8(member).expect("these logs are UTF-8");
        let line = text
            .lines()
            .nth(hit["line"].as_u64().unwrap() as usize - 1)
            .unwrap();
        let at = hit["offset"].as_u64().unwrap() as usize;
        assert!(
            text[at..].to_lowercase().starts_with("ntdsutil"),
            "offset of {hit}"
        );
        assert!(line.to_lowercase().contains("ntdsutil"), "line of {hit}");
    }
}

#[test]
fn missing_path_is_reported() {
    let case = Case::new();
    let ran = case.run(&["import", "no/such/folder"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("no/such/folder"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint:"), "{}", ran.stderr);
}

#[test]
fn text_is_found_after_setting_its_code_page() {
    let case = Case::new();
    // "Привет" in windows-1251.
    case.write(
        "in/a.txt",
        b"user: \xcf\xf0\xe8\xe2\xe5\xf2 logged on\r\nuser: \xcf\xf0\xe8\xe2\xe5\xf2 left\r\n",
    );
    case.run(&["import", &case.path("in").display().to_string()]);
    assert_eq!(case.run(&["search", "Привет"]).code, 1);
    case.run(&["index", "--code-page", "1251"]);
    assert_eq!(case.ok(&["search", "привет", "--jsonl"]).jsonl().len(), 2);
    case.run(&["index", "--rebuild"]);
    assert_eq!(case.ok(&["search", "привет", "--jsonl"]).jsonl().len(), 2);
    assert_eq!(case.run(&["index", "--code-page", "7"]).code, 2);
}

#[test]
fn each_transcript_of_a_result_keeps_its_script_and_exit_code() {
    let case = Case::new();
    let transcript = |script: &str, exit: u8| {
        serde_json::json!({"script_name": script, "exit_code": exit,
            "script_output": format!("marker of {script}"), "script_errors": ""})
        .to_string()
    };
    let zip = Zip::new()
        .add(&stored("a.json", transcript("a.ps1", 0).as_bytes()))
        .add(&stored("b.json", transcript("b.ps1", 1).as_bytes()))
        .add(&stored("n.txt", b"marker of none"));
    case.write("in/all.zip", zip.finish());
    case.ok(&["import", &case.path("in").display().to_string()]);
    let found = |query: &str| {
        let ran = case.run(&["search", query, "--wait", "--jsonl"]);
        let hits = ran.jsonl().into_iter();
        let texts = hits.map(|hit| hit["text"].as_str().unwrap().to_string());
        texts.collect::<Vec<_>>()
    };
    assert_eq!(found("marker").len(), 3);
    for query in ["marker exit:1", "marker exit:>0", "marker script:b.ps1"] {
        assert_eq!(found(query), ["marker of b.ps1"], "{query}");
    }
    assert_eq!(found("marker exit:0"), ["marker of a.ps1"]);
    assert_eq!(found("marker NOT exit:*"), ["marker of none"]);
    let counts = case.ok(&["search", "marker", "--count", "--by", "exit", "--jsonl"]);
    assert_eq!(counts.jsonl().len(), 3);
    // Transcripts of one script describe the whole result.
    case.write("one/b.json", transcript("c.ps1", 7));
    case.ok(&["import", &case.path("one").display().to_string()]);
    assert_eq!(found("exit:7 script:c.ps1"), ["marker of c.ps1"]);
}

#[test]
fn archives_inside_the_input_are_skipped() {
    let case = Case::new();
    case.write("in/pc-1/a.txt", "marker\n");
    let archive = case.path("in/case");
    let import = |path: &str| {
        let (path, archive) = (case.path(path), archive.display().to_string());
        let path = path.display().to_string();
        case.run(&["import", &path, "--archive", &archive, "--json"])
    };
    for sealed in [1, 0, 0] {
        let told: serde_json::Value = serde_json::from_str(&import("in").stdout).unwrap();
        assert_eq!(told["sealed"], sealed);
    }
    let refused = import("in/case");
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("it is an archive"),
        "{}",
        refused.stderr
    );
}
