//! Memory does not depend on the size of a result.

use std::process::{Command, Stdio};
use std::time::Duration;

use emulator::{
    BodyKind, EmulatedFleet, Emulator, EmulatorSettings, ResultBody, ScriptedAction, ServiceLimits,
};

use super::support::{Case, collecting};

/// Size of the large result. `AFTERACTION_LARGE_BYTES=3000000000` uses the
/// largest size of the service; memory is the same.
fn large() -> u64 {
    std::env::var("AFTERACTION_LARGE_BYTES")
        .ok()
        .and_then(|bytes| bytes.parse().ok())
        .unwrap_or(300_000_000)
}

/// Runs a command and returns its peak memory.
///
/// **Units**: bytes, as the kernel reports them.
fn peak(mut command: Command) -> u64 {
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let held = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = held.map_or(peak, |kb| peak.max(kb * 1024));
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().expect("an end");
    let code = output.status.code();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        matches!(code, Some(0 | 3)),
        "{command:?} exited {code:?}: {said}"
    );
    peak
}

#[test]
fn largest_result_needs_little_memory() {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: peak memory is read from /proc");
        return;
    }
    let case = Case::new();
    let body = ResultBody::seeded(BodyKind::ZipInGzip, 7, large());
    let action = ScriptedAction::on("pc-1").get_file("C:\\Triage\\large.zip", body);
    let emulator = Emulator::start_blocking(EmulatorSettings {
        limits: ServiceLimits::lifted(),
        ..EmulatorSettings::serving(EmulatedFleet::new().action(action))
    })
    .expect("an emulator");
    let collect = collecting(&case, &emulator, &["--no-limits", "--no-index"]);
    let collected = peak(collect);
    let rows = case.ok(&["list", "--jsonl"]).jsonl();
    assert!(rows[0]["bytes"].as_u64() >= Some(large()), "{rows:?}");
    let key = format!(
        "{}/{}",
        rows[0]["action_id"].as_str().unwrap(),
        rows[0]["command_index"]
    );
    let listing = peak(case.command(&["show", &key]));
    let shown = case.ok(&["show", &key]).stdout;
    let member = shown
        .split_whitespace()
        .rfind(|word| word.starts_with(&key) && word.contains('!'))
        .expect("a member");
    let showing = peak(case.command(&["show", member, "--raw"]));
    let indexing = peak(case.command(&["index"]));
    eprintln!(
        "{} bytes: collect {} MB, show {} and {} MB, index {} MB",
        large(),
        collected / 1_000_000,
        listing / 1_000_000,
        showing / 1_000_000,
        indexing / 1_000_000
    );
    for (what, held, limit) in [
        ("collect", collected, 150_000_000),
        ("show", listing, 150_000_000),
        ("show --raw", showing, 150_000_000),
        ("index", indexing, 500_000_000),
    ] {
        assert!(held <= limit, "{what} held {held} bytes");
    }
}
