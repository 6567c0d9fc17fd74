//! Large fleet runs: time relative to the lower bound, memory, and the effect
//! of kills.
//!
//! **Time scale**: delays of the real clock (HTTP, syncs, a loaded machine) are
//! multiplied by the scale in service time.

use std::collections::HashSet;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use emulator::{EmulatedFleet, Emulator, EmulatorSettings, SyntheticFleet};
use jiff::Timestamp;

use super::support::{Case, Ran, speaking};

struct Size {
    devices: usize,
    away_for: Duration,
    scale: f64,
    kills: u32,
}

/// Result of a run, in service time.
struct Measured {
    /// From the first session to the end of the last one on a device that was
    /// online.
    took: f64,
    /// Lower bound: the largest of links, starts and sessions.
    bound: f64,
    /// The same bound for devices that were online.
    bound_of_reachable: f64,
    reason: &'static str,
    peak: u64,
    real: Duration,
}

fn command(case: &Case, emulator: &Emulator, words: &[&str], scale: f64) -> Command {
    let scale = scale.to_string();
    speaking(
        case,
        emulator,
        words,
        &["--time-scale", &scale, "--no-index"],
    )
}

fn start(case: &Case, emulator: &Emulator, scale: f64) -> Command {
    let devices = ["--devices", "health:Active", "health:Inactive"];
    let put = ["--put", "collector.exe", "--script", "collect.ps1"];
    let get = ["--get", "C:\\Temp\\out.zip", "--comment", "CASE-42"];
    let mut run = command(case, emulator, &["run"], scale);
    run.args(devices).args(put).args(get);
    run
}

/// Peak memory of a process so far, if the kernel reports it.
fn peak_of(child: &Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let text = std::fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kb.unwrap_or(0) * 1024
}

/// Waits for the end, or kills after `patience`; returns the exit code if the
/// process ended by itself, and its peak memory.
fn watch(mut command: Command, patience: Duration) -> (Option<i32>, u64) {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let begun = Instant::now();
    let mut peak = 0;
    loop {
        peak = peak.max(peak_of(&child));
        if let Some(ended) = child.try_wait().expect("a child") {
            return (ended.code(), peak);
        }
        if begun.elapsed() >= patience {
            child.kill().expect("a kill");
            child.wait().expect("an end");
            return (None, peak);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Evenly distributed delays, the same in each run.
fn patience(kill: u32, size: &Size) -> Duration {
    // Ten starts a minute; killed while most of the run is ahead.
    let whole = size.devices as f64 * 6.0 / size.scale;
    let lot = f64::from((kill.wrapping_mul(2_654_435_761) >> 16) & 0xff) / 256.0;
    Duration::from_secs_f64(0.2 + (0.1 + 0.8 * lot) * whole / f64::from(size.kills.max(1)))
}

/// Whether there is a run to resume.
fn has_begun(case: &Case) -> bool {
    let runs = case.run(&["fleet", "status", "--all", "--jsonl"]);
    !runs.stdout.is_empty()
}

fn play(size: &Size) -> Measured {
    let case = Case::new();
    let fleet = EmulatedFleet::synthetic(&SyntheticFleet {
        devices: size.devices,
        away: 0.1,
        away_for: size.away_for,
        ..SyntheticFleet::default()
    });
    let away: HashSet<String> = fleet.away().into_iter().map(str::to_string).collect();
    assert!(!away.is_empty());
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: size.scale,
        ..EmulatorSettings::serving(fleet)
    })
    .expect("an emulator on loopback");
    let begun = Instant::now();
    let (mut kills, mut peak) = (0, 0);
    loop {
        let next = match has_begun(&case) {
            false => start(&case, &emulator, size.scale),
            true => command(&case, &emulator, &["fleet", "resume"], size.scale),
        };
        let until = match kills < size.kills {
            true => patience(kills, size),
            false => Duration::MAX,
        };
        let (code, held) = watch(next, until);
        peak = peak.max(held);
        match code {
            None => kills += 1,
            Some(0 | 3) => break,
            Some(code) => panic!("exited {code} after {kills} kills"),
        }
    }
    let real = begun.elapsed();
    // Starts killed between intent and request are decided by the user.
    let decide = ["fleet", "resume", "--repost-lost"];
    let ended = Ran::of(command(&case, &emulator, &decide, size.scale));
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    assert_eq!(kills, size.kills, "it ended too early");
    judged(&emulator, &case, size);
    let measured = measure(&emulator, &away, peak, real);
    println!(
        "{} devices x 3 commands, a tenth away for {:?}, at {} times the speed, {} kills: \
         reachable ones done after {:.0} s; bound {:.0} s ({}), {:.2} % above; \
         {:.0} s counting their sessions alone; peak {} MB; {:?} real",
        size.devices,
        size.away_for,
        size.scale,
        kills,
        measured.took,
        measured.bound,
        measured.reason,
        (measured.took / measured.bound - 1.0) * 100.0,
        measured.bound_of_reachable,
        measured.peak / 1_000_000,
        measured.real,
    );
    measured
}

/// Asserts that no limit was exceeded, nothing ran twice, and every result is
/// archived.
fn judged(emulator: &Emulator, case: &Case, size: &Size) {
    let judgement = emulator.conformance();
    assert!(judgement.violations.is_empty(), "{judgement:?}");
    assert_eq!(judgement.runs.worked_twice, 0, "{:?}", judgement.runs);
    assert_eq!(judgement.runs.by_status["Succeeded"], size.devices);
    assert!(judgement.sessions.most <= 25, "{:?}", judgement.sessions);
    let listed = case.ok(&["list", "--jsonl", "--state", "sealed"]).jsonl();
    assert_eq!(listed.len(), 2 * size.devices);
    let ours: HashSet<(String, u64)> = listed
        .iter()
        .map(|row| {
            let action = row["action_id"].as_str().expect("an id").to_string();
            (action, row["command_index"].as_u64().expect("an index"))
        })
        .collect();
    for (key, _) in emulator.results() {
        let key = (key.action.to_string(), u64::from(key.index.0));
        assert!(ours.contains(&key), "{key:?} is lost");
    }
    let covered = case.ok(&["coverage", "--csv"]).stdout;
    assert_eq!(covered.matches(",done,").count(), 3 * size.devices);
    println!(
        "{:?}\n{:?}\ncalls in the busiest minute and hour: {}",
        judgement.runs.by_status,
        judgement.sessions,
        judgement
            .calls
            .iter()
            .filter(|(_, seen)| seen.count > 0)
            .map(|(name, seen)| format!(
                "{name} {} of {:?}, {} of {:?}",
                seen.most_in_a_minute,
                seen.limit_per_minute,
                seen.most_in_an_hour,
                seen.limit_per_hour
            ))
            .collect::<Vec<_>>()
            .join("; ")
    );
}

fn measure(emulator: &Emulator, away: &HashSet<String>, peak: u64, real: Duration) -> Measured {
    let ran = emulator.sessions();
    let first = ran.iter().map(|run| run.created).min().expect("a session");
    let reachable = || ran.iter().filter(|run| !away.contains(&run.device));
    let last = reachable().map(|run| run.over).max().expect("a session");
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
    let until_last = ran.iter().filter(|run| run.created < last);
    let sessions: f64 = until_last
        .clone()
        .map(|run| seconds(run.created, run.over.min(last)))
        .sum();
    let of_reachable: f64 = reachable().map(|run| seconds(run.created, run.over)).sum();
    let starts = 60 * ((until_last.count() as u64 - 1) / 10);
    let results = 2 * reachable().count() as u64 - 1;
    let links = 3_600 * (results / 1_500) + 60 * (results % 1_500 / 100);
    let bounds = [
        (sessions / 25.0, "25 sessions at a time"),
        (starts as f64, "10 starts a minute"),
        (links as f64, "100 links a minute and 1,500 an hour"),
    ];
    let (bound, reason) = bounds
        .into_iter()
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .expect("three");
    Measured {
        took: seconds(first, last),
        bound,
        bound_of_reachable: (of_reachable / 25.0).max(links as f64),
        reason,
        peak,
        real,
    }
}

/// Small by default; `AFTERACTION_EXHAUSTIVE=1` uses a larger fleet.
#[test]
fn repeatedly_killed_fleet_run_with_a_tenth_away_completes() {
    let exhaustive = std::env::var_os("AFTERACTION_EXHAUSTIVE").is_some();
    let size = match exhaustive {
        true => Size {
            devices: 240,
            away_for: Duration::from_secs(1_200),
            scale: 50.0,
            kills: 20,
        },
        false => Size {
            devices: 20,
            away_for: Duration::from_secs(240),
            scale: 50.0,
            kills: 2,
        },
    };
    let measured = play(&size);
    if cfg!(target_os = "linux") {
        assert!(measured.peak < 200_000_000, "{}", measured.peak);
    }
    // At fifty times the speed a kill costs half a minute, and a loaded machine
    // as much again. The limit bounds the part that must not grow with the
    // fleet.
    let most = measured.bound * 2.0 + 300.0 + 50.0 * f64::from(size.kills);
    assert!(
        measured.took <= most,
        "{} s, at most {most} s",
        measured.took
    );
}

/// Takes twenty-five minutes: `cargo test --test it two_thousand -- --ignored
/// --nocapture`.
#[ignore = "takes twenty-five minutes"]
#[test]
fn two_thousand_devices_finish_within_three_percent_of_the_bound() {
    let measured = play(&Size {
        devices: 2_000,
        away_for: Duration::from_secs(2 * 3_600),
        scale: 12.0,
        kills: 0,
    });
    assert!(measured.peak < 200_000_000, "{}", measured.peak);
    assert!(
        measured.took <= measured.bound * 1.03,
        "{}",
        measured.took / measured.bound
    );
}

/// Takes five minutes: the same command.
#[ignore = "takes five minutes"]
#[test]
fn two_thousand_devices_with_twenty_kills_reach_the_same_end() {
    let measured = play(&Size {
        devices: 2_000,
        away_for: Duration::from_secs(2 * 3_600),
        scale: 60.0,
        kills: 20,
    });
    assert!(measured.peak < 200_000_000, "{}", measured.peak);
}
