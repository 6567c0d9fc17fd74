//! `collect` against the emulator.

use std::process::Command;

use emulator::{EmulatedFleet, Emulator, EmulatorSettings, Faults, ServiceLimits};

use super::support::{Case, Ran, collecting, sample_data};

/// Speed at which the minutes of a lost result pass in seconds.
const SCALE: f64 = 100.0;

fn emulator(settings: EmulatorSettings) -> Emulator {
    Emulator::start_blocking(EmulatorSettings {
        time_scale: SCALE,
        ..settings
    })
    .expect("an emulator on loopback")
}

fn command(case: &Case, emulator: &Emulator, more: &[&str]) -> Command {
    let mut command = collecting(case, emulator, &["--time-scale", "100", "--json"]);
    command.args(more);
    command
}

fn collect(case: &Case, emulator: &Emulator, more: &[&str]) -> (Ran, serde_json::Value) {
    let ran = Ran::of(command(case, emulator, more));
    let report = serde_json::from_str(&ran.stdout).unwrap_or_default();
    (ran, report)
}

fn sample() -> EmulatorSettings {
    EmulatorSettings::serving(
        EmulatedFleet::from_folder(&sample_data()).expect("the sample incident"),
    )
}

#[test]
fn collecting_twice_downloads_new_results_only() {
    let case = Case::new();
    let emulator = emulator(sample());
    let (ran, report) = collect(&case, &emulator, &[]);
    assert_eq!(ran.code, 3, "the incident has gaps\n{}", ran.stderr);
    assert_eq!(report["sealed"], 30);
    assert_eq!(report["pending"], 2);
    let (_, again) = collect(&case, &emulator, &[]);
    assert_eq!(
        (&again["sealed"], &again["already_there"]),
        (&0.into(), &30.into())
    );
    let gaps = case.ok(&["gaps", "--jsonl"]).jsonl();
    assert_eq!(gaps.len(), 4);
    let shown = case.run(&["show", gaps[0]["ref"].as_str().unwrap()]);
    let reason = gaps[0]["reason"].as_str().unwrap();
    assert!(
        shown.stderr.contains(&format!("is a gap: {reason}")),
        "{}",
        shown.stderr
    );
    let mut listed = case.ok(&["list", "--jsonl"]).jsonl().into_iter();
    let pending = listed.find(|row| row["state"] == "pending").unwrap();
    let shown = case.run(&["show", pending["ref"].as_str().unwrap()]);
    assert!(shown.stderr.contains("is pending"), "{}", shown.stderr);
    case.ok(&["verify"]);
    assert_eq!(emulator.journal().over_budget(), 0);
    // The demo refuses an archive with real evidence.
    let refused = case.run(&["demo"]);
    assert_eq!(refused.code, 2);
    assert!(
        refused.stderr.contains("not the archive of a demo"),
        "{}",
        refused.stderr
    );
    std::fs::write(case.archive().join("archive.json"), "").unwrap();
    let damaged = case.run(&["verify"]);
    assert_eq!(damaged.code, 4, "{}", damaged.stderr);
    let said = format!("{}{}", damaged.stdout, damaged.stderr);
    assert!(said.contains("archive.json"), "{said}");
    std::fs::remove_file(case.archive().join("archive.json")).unwrap();
    let said = case.run(&["verify"]).stdout;
    assert!(said.contains("no such file"), "{said}");
}

#[test]
fn no_fault_loses_a_result() {
    let case = Case::new();
    let emulator = emulator(EmulatorSettings {
        faults: Faults::survivable(),
        ..sample()
    });
    let (ran, report) = collect(&case, &emulator, &[]);
    assert_eq!(report["sealed"], 30, "{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(emulator.journal().over_budget(), 0);
    case.ok(&["verify"]);
}

#[test]
fn links_and_tokens_never_reach_disk_or_output() {
    let case = Case::new();
    let emulator = emulator(EmulatorSettings {
        faults: Faults::survivable(),
        ..sample()
    });
    let (ran, _) = collect(&case, &emulator, &["--verbose"]);
    let mut seen = vec![
        ("stdout".to_string(), ran.bytes.clone()),
        ("stderr".into(), ran.stderr.into_bytes()),
    ];
    for dir in [case.archive(), case.path("state")] {
        files(&dir, &mut seen);
    }
    for (name, bytes) in seen {
        for secret in ["sig=", "Bearer ", emulator.client_secret(), "eyJ"] {
            let found = bytes.windows(secret.len()).any(|w| w == secret.as_bytes());
            assert!(!found, "{name} holds {secret}");
        }
    }
}

fn files(dir: &std::path::Path, into: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push((
                path.display().to_string(),
                std::fs::read(&path).expect("a file"),
            ));
        }
    }
}

#[test]
fn full_trace_contains_no_link_token_or_evidence() {
    let case = Case::new();
    let emulator = emulator(sample());
    let (collected, _) = collect(&case, &emulator, &["--log", "trace"]);
    let rebuilt = case.run(&["index", "--rebuild", "--log", "trace"]);
    let searched = case.run(&["search", "Parcel*", "--count", "--log", "trace"]);
    let shown = case.run(&["verify", "--log", "trace"]);
    let events = ["afteraction_", "collect", "store"];
    assert!(
        events
            .iter()
            .any(|target| collected.stderr.contains(target)),
        "no events: {}",
        collected.stderr
    );
    for ran in [&collected, &rebuilt, &searched, &shown] {
        for secret in [
            "sig=",
            "Bearer",
            "eyJ",
            emulator.client_secret(),
            "/blob/",
            "ParcelRelay",
            "svc-backup",
            "Invoice_88213",
        ] {
            assert!(!ran.stderr.contains(secret), "{secret}: {}", ran.stderr);
        }
    }
}

#[test]
fn filters_select_the_named_actions() {
    let case = Case::new();
    let emulator = emulator(sample());
    let (_, report) = collect(&case, &emulator, &["--device", "fs-01"]);
    let rows = case.ok(&["list", "--jsonl"]).jsonl();
    assert!(report["sealed"].as_u64() > Some(0));
    assert!(
        rows.iter()
            .all(|r| r["device"].as_str().unwrap().starts_with("fs-01"))
    );
    let (ran, report) = collect(&case, &emulator, &["--device", "nosuch"]);
    assert_eq!((ran.code, &report["unmatched"][0]), (3, &"nosuch".into()));
    assert!(ran.stderr.contains("nosuch"), "{}", ran.stderr);
}

#[test]
fn check_reports_errors_before_collecting() {
    let case = Case::new();
    let emulator = emulator(EmulatorSettings {
        roles: vec!["Machine.LiveResponse".into()],
        ..EmulatorSettings::serving(EmulatedFleet::new())
    });
    let ran = Ran::of(command(&case, &emulator, &["--check"]));
    assert!(ran.stdout.contains("permissions"), "{}", ran.stdout);
    assert!(ran.stdout.contains("warn"), "{}", ran.stdout);
    let mut wrong = command(&case, &emulator, &["--check"]);
    wrong.env("AFTERACTION_CLIENT_SECRET", "not it");
    let ran = Ran::of(wrong);
    assert_eq!(ran.code, 2);
    assert!(ran.stdout.contains("FAIL"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("not it"));
    let mut wrong = command(&case, &emulator, &[]);
    wrong.env("AFTERACTION_CLIENT_SECRET", "not it");
    let ran = Ran::of(wrong);
    assert!(ran.stderr.contains("error:"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("collected"), "{}", ran.stderr);
}

#[test]
fn missing_secret_error_names_the_sources() {
    let case = Case::new();
    let ran = case.run(&["collect", "--tenant", "t", "--client-id", "c"]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("AFTERACTION_CLIENT_SECRET"),
        "{}",
        ran.stderr
    );
    let mut plain = case.command(&["collect", "--api-base", "http://192.0.2.1"]);
    plain.env("AFTERACTION_TOKEN", "x");
    let ran = Ran::of(plain);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("loopback"), "{}", ran.stderr);
}

#[test]
fn second_writer_is_refused_and_readers_continue() {
    let case = Case::new();
    let emulator = emulator(EmulatorSettings {
        limits: ServiceLimits::lifted(),
        ..EmulatorSettings::serving(EmulatedFleet::transcripts(5, 2_000, 3))
    });
    let mut watching = command(&case, &emulator, &["--watch", "--interval", "5"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("the program starts");
    let sealed = |case: &Case| {
        case.run(&["list", "--jsonl", "--state", "sealed"])
            .stdout
            .lines()
            .count()
    };
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while sealed(&case) < 5 && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(sealed(&case), 5, "list works while a watch writes");
    case.write("in/a.txt", "words");
    let ran = case.run(&["import", &case.path("in").display().to_string()]);
    watching.kill().expect("a kill");
    watching.wait().expect("an end");
    assert_eq!(ran.code, 2);
    let pid = watching.id().to_string();
    assert!(
        ran.stderr.contains(&pid) && ran.stderr.contains("collect"),
        "{}",
        ran.stderr
    );
    case.ok(&["import", &case.path("in").display().to_string()]);
}
