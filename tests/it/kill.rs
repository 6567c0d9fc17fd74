//! Kills at any moment: everything a reader saw before is complete afterwards,
//! and the index reaches the same answers.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::support::{Case, Ran};

/// Kills per command; all fifty with `AFTERACTION_EXHAUSTIVE`.
fn kills() -> u64 {
    match std::env::var_os("AFTERACTION_EXHAUSTIVE") {
        Some(_) => 17,
        None => 4,
    }
}

/// Delay until the kill, distributed deterministically so that a failure can be
/// repeated.
fn moment(kill: u64, usual: Duration) -> Duration {
    usual.mul_f64((kill as f64 + 0.5) / kills() as f64)
}

fn sealed(case: &Case) -> BTreeSet<String> {
    case.run(&["list", "--jsonl", "--state", "sealed"])
        .jsonl()
        .iter()
        .map(|r| format!("{} {} {}", r["action_id"], r["command_index"], r["sha256"]))
        .collect()
}

fn answers(case: &Case) -> Vec<String> {
    ["needle", "kind:file", "device-7 OR shared"]
        .map(|query| case.run(&["search", query, "--jsonl"]).stdout)
        .to_vec()
}

/// Runs a command, kills it after a delay, and checks the archive.
fn kill(case: &Case, mut command: Command, after: Duration) {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    std::thread::sleep(after);
    let seen = sealed(case);
    child.kill().expect("a kill");
    child.wait().expect("an end");
    if !case.archive().join("archive.json").exists() {
        assert!(seen.is_empty());
        return;
    }
    let verified = case.run(&["verify"]);
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    let left = sealed(case);
    assert!(
        seen.is_subset(&left),
        "{:?}",
        seen.difference(&left).collect::<Vec<_>>()
    );
}

/// A folder of some hundred results, a few of them large.
fn collection(case: &Case) -> String {
    for n in 0..300 {
        let text = format!(
            "shared line\nline of device-{n}\n{}\n",
            if n % 50 == 0 { "needle" } else { "hay" }
        );
        case.write(&format!("in/device-{n}/out.txt"), text.repeat(1 + n % 7));
    }
    for n in 0..3 {
        case.write(
            &format!("in/large/{n}.txt"),
            format!("large shared line {n}\n").repeat(90_000),
        );
    }
    case.path("in").display().to_string()
}

#[test]
fn killed_import_or_index_loses_nothing_and_continues() {
    let whole = Case::new();
    let path = collection(&whole);
    let begun = std::time::Instant::now();
    whole.ok(&["import", &path]);
    let usual = begun.elapsed();
    let (all, expected) = (sealed(&whole), answers(&whole));
    assert_eq!(all.len(), 303);
    for round in 0..kills() {
        let case = Case::new();
        kill(
            &case,
            case.command(&["import", &path]),
            moment(round, usual),
        );
        case.ok(&["import", &path]);
        kill(
            &case,
            case.command(&["index", "--rebuild"]),
            moment(round, usual / 3),
        );
        case.ok(&["index"]);
        assert_eq!(sealed(&case), all, "round {round}");
        let found = answers(&case);
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(
                found.lines().count(),
                expected.lines().count(),
                "round {round}"
            );
        }
    }
}

#[cfg(feature = "emulator")]
#[test]
fn killed_collect_loses_nothing_and_continues() {
    use super::support::collecting;
    use emulator::{EmulatedFleet, Emulator, EmulatorSettings, ServiceLimits};

    let emulator = Emulator::start_blocking(EmulatorSettings {
        limits: ServiceLimits::lifted(),
        ..EmulatorSettings::serving(EmulatedFleet::transcripts(300, 3_000, 5))
    })
    .expect("an emulator");
    let command = |case: &Case| collecting(case, &emulator, &["--no-limits"]);
    let whole = Case::new();
    let begun = std::time::Instant::now();
    let ran = Ran::of(command(&whole));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let usual = begun.elapsed();
    let all = sealed(&whole);
    assert_eq!(all.len(), 300);
    for round in 0..kills() {
        let case = Case::new();
        kill(&case, command(&case), moment(round, usual));
        let ran = Ran::of(command(&case));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(sealed(&case), all, "round {round}");
    }
}
