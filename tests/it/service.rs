//! Other calls of the service against the emulator: library, packages, single
//! actions, sign-in.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use emulator::{
    CallKind, EmulatedFleet, Emulator, EmulatorSettings, Latency, ScriptedAction,
    ScriptedCommand as Part, SyntheticFleet,
};
use evidence::ActionId;

use super::support::{Case, Ran, speaking};

const PEM: &str = include_str!("../support/certificate.pem");

fn emulator(settings: EmulatorSettings) -> Emulator {
    Emulator::start_blocking(EmulatorSettings {
        time_scale: 100.0,
        ..settings
    })
    .expect("an emulator on loopback")
}

fn made(devices: usize) -> EmulatorSettings {
    EmulatorSettings::serving(EmulatedFleet::synthetic(&SyntheticFleet {
        devices,
        ..SyntheticFleet::default()
    }))
}

fn asked(case: &Case, emulator: &Emulator, words: &[&str]) -> Ran {
    Ran::of(speaking(case, emulator, words, &["--time-scale", "100"]))
}

/// A file that only its owner can read.
fn private(case: &Case, name: &str, text: &str) -> PathBuf {
    let path = case.write(name, text);
    if cfg!(unix) {
        let mode = Command::new("chmod").arg("600").arg(&path).status();
        assert!(mode.expect("chmod").success());
    }
    path
}

#[test]
fn library_is_listed_filled_emptied_and_hash_checked() {
    let case = Case::new();
    let emulator = emulator(made(1));
    let script = case
        .write("triage.ps1", "Get-Process\n")
        .display()
        .to_string();
    let ran = asked(&case, &emulator, &["library", "upload", &script]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let hash = "triage.ps1 is there: ";
    assert!(ran.stderr.contains(hash), "{}", ran.stderr);
    let listed = asked(&case, &emulator, &["library", "list", "--jsonl"]).jsonl();
    let ours = listed.iter().find(|file| file["name"] == "triage.ps1");
    let sha256 = ours.expect("the upload")["sha256"]
        .as_str()
        .expect("a hash");
    assert!(ran.stderr.to_lowercase().contains(&sha256.to_lowercase()));
    case.write("triage.ps1", "Get-Service\n");
    let held = asked(&case, &emulator, &["library", "upload", &script]);
    assert_eq!(held.code, 2, "{}", held.stderr);
    assert!(held.stderr.contains("--replace"), "{}", held.stderr);
    let replaced = asked(
        &case,
        &emulator,
        &["library", "upload", &script, "--replace"],
    );
    assert_eq!(replaced.code, 0, "{}", replaced.stderr);
    assert_eq!(
        asked(&case, &emulator, &["library", "delete", "triage.ps1"]).code,
        0
    );
    let gone = asked(&case, &emulator, &["library", "delete", "triage.ps1"]);
    assert_eq!(gone.code, 2);
    assert!(gone.stderr.contains("404"), "{}", gone.stderr);
}

#[test]
fn package_is_started_awaited_and_archived() {
    let case = Case::new();
    let emulator = emulator(made(4));
    let names = devices(&emulator);
    let ran = asked(&case, &emulator, &["package", &names[0]]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("archived 1 package"), "{}", ran.stderr);
    let twice = asked(&case, &emulator, &["package", &names[0], "--no-wait"]);
    assert_eq!(twice.code, 0, "it is over: {}", twice.stderr);
    for name in &names[1..] {
        assert_eq!(
            asked(&case, &emulator, &["package", name, "--no-wait"]).code,
            0
        );
    }
    // Three to five minutes, and two links a minute.
    std::thread::sleep(Duration::from_millis(3_000));
    let collected = asked(&case, &emulator, &["collect", "--packages", "--no-index"]);
    assert_eq!(collected.code, 0, "{}", collected.stderr);
    assert_eq!(case.ok(&["list", "--jsonl"]).jsonl().len(), 5);
    assert_eq!(emulator.conformance().violations.len(), 0);
    assert_eq!(emulator.journal().count(CallKind::PackageLink), 5);
    let nowhere = asked(&case, &emulator, &["package", "nosuch"]);
    assert!(nowhere.stderr.contains("nosuch"), "{}", nowhere.stderr);
    assert_eq!(nowhere.code, 2);
}

#[test]
fn cancelled_package_is_not_reported_as_archived() {
    let case = Case::new();
    let emulator = emulator(made(1));
    let name = devices(&emulator).remove(0);
    let started = asked(&case, &emulator, &["package", &name, "--no-wait"]);
    let words: Vec<_> = started.stderr.split_whitespace().collect();
    let id = words.get(1).expect("an id");
    asked(&case, &emulator, &["action", id, "--cancel", "no longer"]);
    let ended = asked(&case, &emulator, &["package", "--action", id]);
    assert_eq!(ended.code, 3, "{}", ended.stderr);
    assert!(
        ended.stderr.contains("ended as Cancelled"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("archived 0"), "{}", ended.stderr);
}

/// Device names of the synthetic fleet.
fn devices(emulator: &Emulator) -> Vec<String> {
    let case = Case::new();
    let what = ["--devices", "health:Active", "--script", "inventory.ps1"];
    let rest = [
        "--comment",
        "x",
        "--dry-run",
        "--json",
        "--time-scale",
        "100",
    ];
    let mut plan = speaking(&case, emulator, &["run"], &what);
    plan.args(rest);
    let plan: serde_json::Value = serde_json::from_str(&Ran::of(plan).stdout).expect("a plan");
    let requests = plan["requests"].as_array().expect("requests");
    let names = requests
        .iter()
        .filter_map(|request| request["device"].as_str());
    names.map(str::to_string).collect()
}

#[test]
fn action_without_a_package_is_not_awaited() {
    let case = Case::new();
    let id = "5382f7ea-7557-4ab7-9782-d50480024a4e";
    let action = ScriptedAction::on("ws-1.contoso.example")
        .id(id.parse::<ActionId>().expect("an id"))
        .run_script("a.ps1", "", "said");
    let emulator = emulator(EmulatorSettings::serving(
        EmulatedFleet::new().action(action),
    ));
    let ran = asked(&case, &emulator, &["package", "--action", id]);
    assert_eq!(ran.code, 2);
    assert!(
        ran.stderr.contains("is not an investigation package"),
        "{}",
        ran.stderr
    );
    let unknown = "5382f7ea-7557-4ab7-9782-d50480024a4f";
    let ran = asked(&case, &emulator, &["package", "--action", unknown]);
    assert_eq!(ran.code, 2, "after the minutes a fresh one stays invisible");
}

#[test]
fn single_action_is_shown_cancelled_and_collected() {
    let case = Case::new();
    let id = "5382f7ea-7557-4ab7-9782-d50480024a4e";
    let over = ScriptedAction::on("ws-1.contoso.example")
        .id(id.parse::<ActionId>().expect("an id"))
        .command(Part::run_script("a.ps1", "").body("first"))
        .command(Part::run_script("b.ps1", "").body("second"));
    let fleet = EmulatedFleet::synthetic(&SyntheticFleet {
        devices: 1,
        ..SyntheticFleet::default()
    });
    let emulator = emulator(EmulatorSettings {
        latency: Latency {
            queued: Duration::from_secs(3_000)..=Duration::from_secs(3_000),
            ..Latency::default()
        },
        ..EmulatorSettings::serving(fleet.action(over))
    });
    let shown = asked(&case, &emulator, &["action", id]);
    let json: serde_json::Value = serde_json::from_str(&shown.stdout).expect("JSON");
    assert_eq!(json["status"], "Succeeded");
    let second = ["collect", "--action", id, "--index", "1", "--no-index"];
    let collected = asked(&case, &emulator, &second);
    assert_eq!(collected.code, 0, "{}", collected.stderr);
    let rows = case.ok(&["list", "--jsonl"]).jsonl();
    let sealed: Vec<_> = rows.iter().filter(|r| r["state"] == "sealed").collect();
    assert_eq!((sealed.len(), &sealed[0]["command_index"]), (1, &1.into()));
    // A session that still waits for its device.
    let mut names = devices(&emulator).into_iter();
    let name = names.rfind(|name| !name.starts_with("ws-1."));
    let name = name.expect("a machine");
    let what = ["--devices", &name, "--script", "inventory.ps1"];
    let mut run = speaking(&case, &emulator, &["run"], &what);
    run.args(["--comment", "c", "--time-scale", "100", "--no-index"]);
    let mut child = super::fleet::spawned(run);
    while emulator.conformance().runs.started == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let waiting = case
        .ok(&["fleet", "status", "--jsonl"])
        .jsonl()
        .iter()
        .find_map(|row| row["action_id"].as_str().map(str::to_string));
    let waiting = waiting.unwrap_or_else(|| {
        std::thread::sleep(Duration::from_millis(200));
        let rows = case.ok(&["fleet", "status", "--jsonl"]).jsonl();
        rows[0]["action_id"].as_str().expect("an id").to_string()
    });
    let cancelled = asked(
        &case,
        &emulator,
        &["action", &waiting, "--cancel", "not this one"],
    );
    assert_eq!(cancelled.code, 0, "{}", cancelled.stderr);
    let json: serde_json::Value = serde_json::from_str(&cancelled.stdout).expect("JSON");
    assert_eq!(json["cancellationComment"], "not this one");
    child.wait().expect("an end");
    let state_of = |command: &str, more: &[&str]| {
        let rows = case.run(&[&["coverage", "--jsonl"], more].concat()).jsonl();
        let row = rows.into_iter().find(|row| {
            let device = if command == "run b.ps1" {
                "ws-1."
            } else {
                &name
            };
            let is_on = row["device"].as_str().expect("a name").starts_with(device);
            is_on && row["command"] == command
        });
        row.expect("a cell")["state"].clone()
    };
    assert_eq!(state_of("run inventory.ps1", &[]), "cancelled");
    assert_eq!(state_of("run b.ps1", &[]), "done");
    // It ended an hour before the start.
    assert_eq!(state_of("run b.ps1", &["--older-than", "30m"]), "old");
}

#[test]
fn different_second_download_becomes_a_new_version() {
    let case = Case::new();
    let id: ActionId = "5382f7ea-7557-4ab7-9782-d50480024a4e"
        .parse()
        .expect("an id");
    let serving = |text: &str| {
        let action = ScriptedAction::on("ws-1.contoso.example").id(id);
        EmulatorSettings::serving(EmulatedFleet::new().action(action.run_script("a.ps1", "", text)))
    };
    let first = emulator(serving("one"));
    let addr = first.addr();
    assert_eq!(asked(&case, &first, &["collect", "--no-index"]).code, 0);
    let same = asked(
        &case,
        &first,
        &["collect", "--again", "--no-index", "--json"],
    );
    let report: serde_json::Value = serde_json::from_str(&same.stdout).expect("JSON");
    assert_eq!(report["already_there"], 1, "{}", same.stdout);
    drop(first);
    let second = emulator(EmulatorSettings {
        bind: addr,
        ..serving("another")
    });
    let again = asked(&case, &second, &["collect", "--again", "--no-index"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    let versions: Vec<_> = case
        .ok(&["list", "--jsonl"])
        .jsonl()
        .iter()
        .map(|row| row["version"].as_u64().unwrap_or(0))
        .collect();
    assert!(versions.contains(&2), "{versions:?}");
    for (reference, text) in [(format!("{id}/0"), "one"), (format!("{id}/0@2"), "another")] {
        let shown = case.ok(&["show", &reference, "--raw"]);
        assert!(shown.stdout.contains(text), "{}", shown.stdout);
    }
    case.ok(&["verify"]);
}

#[test]
fn certificate_signs_in_if_registered() {
    let case = Case::new();
    let pem = private(&case, "app.pem", PEM).display().to_string();
    let registered = emulator(EmulatorSettings {
        certificate: Some(PEM.into()),
        ..made(1)
    });
    let sign_in = |emulator: &Emulator| {
        let mut list = speaking(
            &case,
            emulator,
            &["library", "list"],
            &["--certificate", &pem],
        );
        list.env_remove("AFTERACTION_CLIENT_SECRET");
        Ran::of(list)
    };
    let ran = sign_in(&registered);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let unknown = sign_in(&emulator(made(1)));
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.stderr.contains("No certificate is registered"),
        "{}",
        unknown.stderr
    );
    let key = PEM
        .split("-----BEGIN CERTIFICATE")
        .next()
        .unwrap_or_default();
    assert!(!unknown.stderr.contains(&key[30..60]));
}

#[test]
fn profiles_have_separate_limits_and_override_the_environment() {
    let case = Case::new();
    let tenants = ["contoso.example", "fabrikam.example"].map(|tenant| {
        emulator(EmulatorSettings {
            tenant: tenant.into(),
            ..made(1)
        })
    });
    let secret = private(&case, "secret", tenants[0].client_secret());
    let mut config = String::new();
    for (name, emulator) in ["one", "two"].iter().zip(&tenants) {
        config.push_str(&format!(
            "[profile.{name}]\napi_base = '{0}'\nlogin_base = '{0}'\ntenant = '{1}'\nclient_id = '{2}'\nclient_secret_file = '{3}'\n",
            emulator.api_base(),
            emulator.tenant(),
            emulator.client_id(),
            secret.display()
        ));
    }
    let config = case.write("config.toml", config).display().to_string();
    for name in ["one", "two"] {
        let words = [
            "library",
            "list",
            "--config",
            &config,
            "--time-scale",
            "100",
        ];
        let mut list = case.command(&words);
        // Left over from another tenant.
        list.env("AFTERACTION_PROFILE", name)
            .env("AFTERACTION_TENANT", "other.example")
            .env("AFTERACTION_API_BASE", "http://127.0.0.1:9");
        let ran = Ran::of(list);
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        assert!(ran.stdout.contains("collect.ps1"), "{}", ran.stdout);
    }
    for emulator in &tenants {
        assert_eq!(emulator.journal().count(CallKind::Library), 1);
    }
    let logs = std::fs::read_dir(case.path("state")).expect("a folder");
    let logs = logs.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let logs: Vec<_> = logs.filter(|name| name.ends_with(".calls")).collect();
    assert!(logs.len() >= 2, "{logs:?}");
}
