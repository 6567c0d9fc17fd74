//! Fleet runs as a user starts, stops and inspects them, checked by the
//! conformance report of the emulator.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use emulator::{EmulatedFleet, Emulator, EmulatorSettings, Faults, Latency, SyntheticFleet};
use serde_json::Value;
use store::{FleetNote, OpenOptions, Store};

use super::support::{Case, Ran, speaking};

pub const SCALE: f64 = 100.0;

/// A fleet whose sessions take about twenty seconds.
fn quick(devices: usize) -> EmulatorSettings {
    let seconds = |from, to| Duration::from_secs(from)..=Duration::from_secs(to);
    let made = SyntheticFleet {
        devices,
        ..SyntheticFleet::default()
    };
    EmulatorSettings {
        time_scale: SCALE,
        latency: Latency {
            queued: seconds(2, 6),
            put: seconds(1, 2),
            script: seconds(1, 4),
            get: seconds(1, 2),
            settling: seconds(2, 5),
            upload: seconds(1, 5),
            ..Latency::default()
        },
        ..EmulatorSettings::serving(EmulatedFleet::synthetic(&made))
    }
}

fn emulator(settings: EmulatorSettings) -> Emulator {
    Emulator::start_blocking(settings).expect("an emulator on loopback")
}

fn fleet(case: &Case, emulator: &Emulator, words: &[&str], more: &[&str]) -> Command {
    fleet_at(SCALE, case, emulator, words, more)
}

fn fleet_at(
    scale: f64,
    case: &Case,
    emulator: &Emulator,
    words: &[&str],
    more: &[&str],
) -> Command {
    let scale = scale.to_string();
    let mut command = speaking(case, emulator, words, &["--time-scale", &scale]);
    command.args(more);
    command
}

/// `run` with two commands that have a result on every device.
pub fn run(case: &Case, emulator: &Emulator, more: &[&str]) -> Command {
    run_at(SCALE, case, emulator, more)
}

fn run_at(scale: f64, case: &Case, emulator: &Emulator, more: &[&str]) -> Command {
    let what = ["--devices", "health:Active", "--script", "inventory.ps1"];
    let rest = ["--get", "C:\\Temp\\out.zip", "--comment", "CASE-42"];
    let mut command = fleet_at(scale, case, emulator, &["run"], &what);
    command.args(rest).args(more);
    command
}

fn status(case: &Case) -> Value {
    let ran = case.ok(&["fleet", "status", "--all", "--jsonl"]);
    ran.jsonl().pop().unwrap_or_default()
}

fn settled_or_late(case: &Case, state: &str) {
    let late = Instant::now() + Duration::from_secs(20);
    while status(case)["state"] != state {
        assert!(Instant::now() < late, "{}", status(case));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn started_or_late(emulator: &Emulator, sessions: usize) {
    let late = Instant::now() + Duration::from_secs(20);
    while emulator.conformance().runs.started < sessions && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn spawned(mut command: Command) -> Child {
    command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts")
}

/// Asserts that no limit was exceeded and no command ran twice.
fn judged(emulator: &Emulator) -> emulator::ConformanceReport {
    let judgement = emulator.conformance();
    assert!(judgement.violations.is_empty(), "{judgement:?}");
    assert_eq!(judgement.runs.worked_twice, 0, "{:?}", judgement.runs);
    judgement
}

#[test]
fn run_is_started_shown_collected_and_covered() {
    let case = Case::new();
    let emulator = emulator(quick(6));
    let shown = Ran::of(run(&case, &emulator, &["--dry-run"]));
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    assert_eq!(shown.stdout.matches("/runliveresponse").count(), 6);
    assert!(
        shown.stderr.contains("earliest possible finish"),
        "{}",
        shown.stderr
    );
    assert_eq!(emulator.conformance().runs.started, 0);
    let ran = Ran::of(run(&case, &emulator, &[]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stderr.contains("6 devices, not done in less than "),
        "{}",
        ran.stderr
    );
    assert_eq!(judged(&emulator).runs.started, 6);
    assert_eq!(status(&case)["state"], "over");
    assert_eq!(status(&case)["results"], 12);
    let grid = case.ok(&["coverage"]);
    assert!(
        grid.stdout.contains("   1  run inventory.ps1\n"),
        "{}",
        grid.stdout
    );
    assert_eq!(grid.stdout.matches("contoso.example").count(), 6);
    assert!(
        grid.stderr.contains("12 commands: 12 done"),
        "{}",
        grid.stderr
    );
    assert_eq!(
        case.ok(&["coverage", "--older-than", "1d", "--json"]).code,
        0
    );
    let page = case.path("coverage.html");
    case.ok(&["coverage", "--html", &page.display().to_string()]);
    let page = std::fs::read_to_string(page).expect("a page");
    assert_eq!(page.matches("class=done").count(), 12);
    case.ok(&["verify"]);
}

#[test]
fn invalid_plan_is_rejected_with_all_errors() {
    let case = Case::new();
    let emulator = emulator(quick(2));
    let mut wrong = fleet(
        &case,
        &emulator,
        &["run"],
        &["--devices", "nosuch", "group:"],
    );
    wrong.args([
        "--script",
        "nosuch.ps1",
        "--args",
        "a;b",
        "--get",
        "relative",
    ]);
    let ran = Ran::of(wrong);
    assert_eq!(ran.code, 2);
    for part in [
        "comment:",
        "device nosuch:",
        "devices group:: the group is empty",
        "nosuch.ps1",
        "`;`",
        "`relative`",
        "nothing was started",
    ] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    assert_eq!(emulator.conformance().runs.started, 0);
}

#[test]
fn repeatedly_killed_run_completes_without_running_twice() {
    let case = Case::new();
    let emulator = emulator(quick(18));
    let mut child = spawned(run(&case, &emulator, &["--no-index"]));
    let mut kills = 0;
    loop {
        std::thread::sleep(Duration::from_millis(210 + kills * 83 % 190));
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        child.kill().expect("a kill");
        child.wait().expect("an end");
        kills += 1;
        assert!(kills < 60, "{}", emulator.conformance().runs.started);
        // A run killed at once leaves nothing to resume.
        let begun = !case
            .run(&["fleet", "status", "--all", "--jsonl"])
            .stdout
            .is_empty();
        child = spawned(match begun {
            true => fleet(&case, &emulator, &["fleet", "resume"], &["--no-index"]),
            false => run(&case, &emulator, &["--no-index"]),
        });
    }
    assert!(kills >= 2, "{kills} kills prove little");
    // Starts killed between intent and request are decided by the user.
    let mut resume = fleet(&case, &emulator, &["fleet", "resume", "--repost-lost"], &[]);
    resume.arg("--no-index");
    let ran = Ran::of(resume);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let judgement = judged(&emulator);
    assert_eq!(judgement.runs.started, 18, "{:?}", judgement.runs);
    assert_eq!(status(&case)["results"], 36);
}

/// Ten minutes of reconciling are six seconds here.
#[test]
fn start_in_doubt_is_repeated_only_on_request() {
    let case = Case::new();
    let emulator = emulator(EmulatorSettings {
        faults: Faults::parse("run.lost-call=1,run.lost-answer=1+1").expect("faults"),
        ..quick(4)
    });
    let ran = Ran::of(run(&case, &emulator, &[]));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert!(ran.stderr.contains("--repost-lost"), "{}", ran.stderr);
    assert_eq!(status(&case)["counts"]["unresolved"], 1);
    let covered = case.run(&["coverage"]);
    assert_eq!(covered.code, 3);
    assert!(covered.stdout.contains("unresolved"), "{}", covered.stdout);
    // Neither a retry nor a resume repeats it.
    let run_id = status(&case)["run"].as_str().expect("an id").to_string();
    let retry = ["--retry-missing", "--run", &run_id, "--dry-run"];
    let retried = Ran::of(fleet(&case, &emulator, &["coverage"], &retry));
    assert_eq!(retried.code, 3, "{}", retried.stderr);
    for part in ["left out, unresolved", "nothing else is missing"] {
        assert!(retried.stderr.contains(part), "{}", retried.stderr);
    }
    let again = Ran::of(fleet(&case, &emulator, &["fleet", "resume"], &[]));
    assert_eq!(again.code, 3, "{}", again.stderr);
    assert_eq!(judged(&emulator).runs.started, 3);
    let decided = Ran::of(fleet(
        &case,
        &emulator,
        &["fleet", "resume", "--repost-lost"],
        &[],
    ));
    assert_eq!(decided.code, 0, "{}", decided.stderr);
    assert_eq!(judged(&emulator).runs.started, 4);
    assert_eq!(status(&case)["results"], 8);
}

#[test]
fn run_is_paused_and_cancelled_by_device_and_as_a_whole() {
    let case = Case::new();
    let emulator = emulator(quick(30));
    let mut child = spawned(run(&case, &emulator, &["--no-index"]));
    let late = Instant::now() + Duration::from_secs(20);
    while emulator.conformance().runs.started < 5 && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(5));
    }
    case.ok(&["fleet", "pause"]);
    child.wait().expect("an end");
    let started = emulator.conformance().runs.started;
    assert!((5..30).contains(&started), "{started}");
    settled_or_late(&case, "paused");
    let again = case.ok(&["fleet", "pause"]).stderr;
    assert!(again.contains("paused already"), "{again}");
    let rows = case.ok(&["fleet", "status", "--open", "--jsonl"]).jsonl();
    let waiting = rows.first().expect("a row that waits");
    assert!(
        waiting["waits_for"]
            .as_str()
            .expect("a reason")
            .contains("its turn")
    );
    // Cancelling one device does not start the others.
    let name = waiting["device"].as_str().expect("a name");
    let short = name.split('.').next().unwrap_or(name);
    let one = ["--device", short, "--no-index"];
    let ran = Ran::of(fleet(&case, &emulator, &["fleet", "cancel"], &one));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    assert_eq!(emulator.conformance().runs.started, started);
    assert_eq!(status(&case)["counts"]["cancelled"], 1);
    let nobody = ["--device", "nosuch", "--no-index"];
    let ran = Ran::of(fleet(&case, &emulator, &["fleet", "cancel"], &nobody));
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("has no device nosuch"),
        "{}",
        ran.stderr
    );
    // Cancels the whole run through the process that owns it.
    let resume = fleet(&case, &emulator, &["fleet", "resume"], &["--no-index"]);
    let mut child = spawned(resume);
    while emulator.conformance().runs.started == started && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(5));
    }
    let ran = Ran::of(fleet(&case, &emulator, &["fleet", "cancel"], &[]));
    assert!(ran.stderr.contains("told the process"), "{}", ran.stderr);
    child.wait().expect("an end");
    assert_eq!(status(&case)["state"], "over");
    assert!(judged(&emulator).runs.started < 30);
}

/// 100 link requests a minute: 656 links need about five minutes after the
/// sessions, three seconds here.
#[test]
fn run_is_not_over_while_results_are_expected() {
    let case = Case::new();
    // The minute limit is used up repeatedly, so the delay of a loaded machine
    // must stay small in comparison.
    let scale = SCALE / 2.0;
    let emulator = emulator(EmulatorSettings {
        time_scale: scale,
        ..quick(8)
    });
    let mut command = run_at(scale, &case, &emulator, &["--no-index"]);
    for n in 0..80 {
        command.args(["--get", &format!("C:\\Temp\\{n}.zip")]);
    }
    let mut child = spawned(command);
    started_or_late(&emulator, 1);
    settled_or_late(&case, "collecting");
    let row = status(&case);
    let here = row["results"].as_u64().expect("a number");
    let to_come = row["results_to_come"].as_u64().expect("a number");
    assert!(here < 656 && to_come > 0, "{row}");
    assert!(row["left_s"].as_u64().expect("a time") >= 60, "{row}");
    // Pause, cancel and resume are refused with a message.
    let mut refused = vec![case.run(&["fleet", "pause"])];
    for order in ["cancel", "resume"] {
        let command = fleet_at(scale, &case, &emulator, &["fleet", order], &[]);
        refused.push(Ran::of(command));
    }
    for ran in refused {
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("collects what is left"),
            "{}",
            ran.stderr
        );
    }
    let told = case.ok(&["fleet", "status"]).stderr;
    assert!(told.contains("is collecting"), "{told}");
    // After the kill no process owns the run.
    child.kill().expect("a kill");
    child.wait().expect("an end");
    let row = status(&case);
    assert_eq!(
        (&row["state"], &row["left_s"]),
        (&"left".into(), &Value::Null)
    );
    let ran = Ran::of(fleet_at(
        scale,
        &case,
        &emulator,
        &["fleet", "resume"],
        &["--no-index", "--json"],
    ));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(status(&case)["state"], "over");
    assert_eq!(status(&case)["results"], 656);
    // The reported duration ends with the last result.
    let report: Value = serde_json::from_str(&ran.stdout).expect("a report");
    let took = report["took"]["secs"].as_u64().expect("seconds");
    assert!(took >= 240, "{took} s");
    judged(&emulator);
}

#[test]
fn killed_run_is_left_and_has_no_expected_finish() {
    let case = Case::new();
    let emulator = emulator(quick(30));
    let mut child = spawned(run(&case, &emulator, &["--no-index"]));
    started_or_late(&emulator, 5);
    settled_or_late(&case, "running");
    assert!(status(&case)["left_s"].as_u64().expect("a time") > 0);
    child.kill().expect("a kill");
    child.wait().expect("an end");
    assert_eq!(status(&case)["state"], "left");
    assert_eq!(status(&case)["left_s"], Value::Null);
    let told = case.ok(&["fleet", "status", "--open", "--jsonl"]);
    assert!(told.stderr.contains("nobody is at it"), "{}", told.stderr);
    for row in told.jsonl() {
        let waits_for = row["waits_for"].as_str().expect("a reason");
        assert!(waits_for.contains("fleet resume"), "{row}");
    }
}

#[test]
fn command_is_refused_while_another_process_owns_the_archive() {
    let case = Case::new();
    let emulator = emulator(quick(12));
    let mut child = spawned(run(&case, &emulator, &["--no-index"]));
    let late = Instant::now() + Duration::from_secs(20);
    while emulator.conformance().runs.started < 2 && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("a kill");
    child.wait().expect("an end");
    let watch = fleet(&case, &emulator, &["collect"], &["--watch", "--no-index"]);
    let mut watching = spawned(watch);
    let mut ran = case.run(&["fleet", "pause"]);
    // Until the watch has opened the archive, a pause is journaled.
    while ran.code == 0 && Instant::now() < late {
        ran = case.run(&["fleet", "pause"]);
    }
    watching.kill().expect("a kill");
    watching.wait().expect("an end");
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("collect"), "{}", ran.stderr);
}

#[test]
fn retry_missing_is_repeated_until_nothing_is_missing() {
    let case = Case::new();
    let emulator = emulator(EmulatorSettings {
        latency: Latency {
            failing: 0.3,
            ..quick(1).latency
        },
        ..quick(8)
    });
    let ran = Ran::of(run(&case, &emulator, &["--no-index"]));
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    let grid = case.run(&["coverage", "--holes"]);
    assert!(grid.stdout.contains("cut off"), "{}", grid.stdout);
    assert!(grid.stdout.contains("exit code 1"), "{}", grid.stdout);
    let mut rounds = 0;
    while case.run(&["coverage"]).code == 3 {
        rounds += 1;
        assert!(rounds < 12, "{}", case.run(&["coverage"]).stdout);
        let retry = ["--retry-missing", "--comment", "CASE-42", "--no-index"];
        Ran::of(fleet(&case, &emulator, &["coverage"], &retry));
    }
    assert!(rounds >= 1);
    assert_eq!(emulator.conformance().violations.len(), 0);
}

#[test]
fn repeated_command_of_a_session_is_shown_and_run_twice() {
    let case = Case::new();
    let emulator = emulator(EmulatorSettings {
        latency: Latency {
            failing: 1.0,
            ..quick(1).latency
        },
        ..quick(1)
    });
    let what = ["--devices", "health:Active", "--comment", "CASE-42"];
    let mut command = fleet(&case, &emulator, &["run"], &what);
    for script in ["inventory.ps1", "collect.ps1", "inventory.ps1"] {
        command.args(["--script", script]);
    }
    Ran::of(command);
    let grid = case.run(&["coverage"]).stdout;
    for column in [
        "1  run inventory.ps1\n",
        "2  run collect.ps1\n",
        "3  run inventory.ps1 (time 2)\n",
    ] {
        assert!(grid.contains(column), "{grid}");
    }
    let retry = ["--retry-missing", "--comment", "C", "--dry-run", "--json"];
    let ran = Ran::of(fleet(&case, &emulator, &["coverage"], &retry));
    let plan: Value = serde_json::from_str(&ran.stdout).expect("a plan");
    let commands = plan["requests"][0]["body"]["Commands"]
        .as_array()
        .expect("commands");
    let scripts: Vec<_> = commands
        .iter()
        .map(|command| command["params"][0]["value"].as_str().expect("a name"))
        .collect();
    assert_eq!(scripts, ["inventory.ps1", "collect.ps1", "inventory.ps1"]);
}

#[test]
fn unreadable_run_is_reported_and_hides_no_other() {
    let case = Case::new();
    let emulator = emulator(quick(2));
    let ran = Ran::of(run(&case, &emulator, &["--no-index"]));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let garbled = |run, place| FleetNote {
        run: [run; 8],
        place,
        value: serde_json::json!({"of": "another build"}),
    };
    let options = OpenOptions {
        create: false,
        command: "test".into(),
    };
    let store = Store::open(&case.archive(), options).expect("the archive");
    store.note_fleet(&[garbled(0xab, 0)]).expect("a note");
    store.close().expect("an end");
    let rows = case.ok(&["fleet", "status", "--all", "--jsonl"]).jsonl();
    let states: Vec<_> = rows.iter().map(|row| row["state"].clone()).collect();
    assert_eq!(states, ["over", "unreadable"]);
    let why = rows[1]["why"].as_str().expect("a reason");
    assert!(why.contains("abababababababab: its head"), "{why}");
    let told = case.ok(&["fleet", "status"]).stderr;
    assert!(told.contains("is over") && told.contains("abab"), "{told}");
    let covered = case.run(&["coverage"]);
    assert_eq!(covered.code, 3, "{}", covered.stderr);
    assert!(
        covered.stderr.contains("4 commands: 4 done"),
        "{}",
        covered.stderr
    );
    assert!(covered.stderr.contains("abab"), "{}", covered.stderr);
    assert_eq!(case.run(&["fleet", "status", "abab"]).code, 4);
}

#[test]
fn run_of_another_tenant_is_not_resumed() {
    let case = Case::new();
    let first = emulator(quick(12));
    let mut child = spawned(run(&case, &first, &["--no-index"]));
    let late = Instant::now() + Duration::from_secs(20);
    while first.conformance().runs.started < 2 && Instant::now() < late {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("a kill");
    child.wait().expect("an end");
    let other = emulator(EmulatorSettings {
        tenant: "fabrikam.example".into(),
        ..quick(12)
    });
    let ran = Ran::of(fleet(&case, &other, &["fleet", "resume"], &["--no-index"]));
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("fabrikam"), "{}", ran.stderr);
    assert_eq!(other.conformance().runs.started, 0);
    let ran = Ran::of(fleet(&case, &first, &["fleet", "resume"], &["--no-index"]));
    assert!(matches!(ran.code, 0 | 3), "{}", ran.stderr);
    assert_eq!(judged(&first).violations.len(), 0);
}
