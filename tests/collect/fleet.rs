//! Fleet runs against the emulator, which judges by its own clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use afteraction::collect::fleet::{
    FleetOrder, FleetPlan, FleetRecord, FleetReport, FleetRequest, FleetRules, Outcome, Playbook,
    RunId, RunState, run_fleet, survey,
};
use afteraction::collect::{CollectError, Settings, VaultError};
use afteraction::emulator::{self, Emulator, Faults, Fleet, Made};
use afteraction::evidence::{Action, ActionId, Time};
use tokio::sync::watch;

use super::emulated::settings;
use super::vault::MemoryVault;

const SCALE: f64 = 100.0;

const PAGE: &str = r#"
    comment = "CASE-42"
    devices = ["health:Active", "health:Inactive"]
    [[step]]
    put = "collector.exe"
    [[step]]
    run = "collect.ps1"
    args = '-Out C:\Temp'
    [[step]]
    get = 'C:\Temp\out.zip'
"#;

/// The record in memory, durable at once.
#[derive(Clone, Default)]
struct MemoryRecord(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    notes: BTreeMap<u32, serde_json::Value>,
    orders: Vec<FleetOrder>,
    vault: Option<MemoryVault>,
}

impl MemoryRecord {
    fn of(state: &RunState, vault: &MemoryVault) -> Self {
        let record = Self::default();
        record.0.lock().unwrap().vault = Some(vault.clone());
        record.note(state.run.id, &state.notes()).unwrap();
        record
    }

    fn state(&self) -> RunState {
        let notes = self.0.lock().unwrap().notes.clone();
        RunState::read(notes.into_iter().collect()).unwrap()
    }

    fn order(&self, order: FleetOrder) {
        self.0.lock().unwrap().orders.push(order);
    }
}

impl FleetRecord for MemoryRecord {
    fn note(&self, _: RunId, notes: &[(u32, serde_json::Value)]) -> Result<(), VaultError> {
        self.0.lock().unwrap().notes.extend(notes.iter().cloned());
        Ok(())
    }

    fn take_orders(&self, _: RunId) -> Result<Vec<FleetOrder>, VaultError> {
        Ok(std::mem::take(&mut self.0.lock().unwrap().orders))
    }

    fn action(&self, id: ActionId) -> Result<Option<Action>, VaultError> {
        let kept = self.0.lock().unwrap();
        let actions = kept.vault.as_ref().unwrap().actions();
        let latest = actions.iter().rev().find(|seen| seen.action.id == id);
        Ok(latest.map(|seen| (*seen.action).clone()))
    }
}

fn start(made: Made, faults: &str) -> Emulator {
    Emulator::start_blocking(emulator::Settings {
        time_scale: SCALE,
        faults: Faults::parse(faults).unwrap(),
        ..emulator::Settings::serving(Fleet::made(&made))
    })
    .unwrap()
}

fn devices(devices: usize) -> Made {
    Made {
        devices: devices as _,
        ..Made::default()
    }
}

fn fleet_settings(emulator: &Emulator, state: &Path) -> Settings {
    Settings {
        watch: Some(Duration::from_secs(5)),
        ..settings(emulator, state)
    }
}

async fn planned(settings: &Settings, rules: FleetRules) -> RunState {
    let request = FleetRequest {
        playbook: Playbook::read(PAGE).unwrap(),
        ..FleetRequest::default()
    };
    let mut survey = survey(settings, Arc::new(|_| ())).await.unwrap();
    // A fleet without anyone away has nobody to name.
    survey.machines.sort_by(|a, b| a.id.cmp(&b.id));
    let mut request = request;
    request.playbook.devices = survey.machines.iter().map(|m| m.id.clone()).collect();
    let plan = FleetPlan::new(&request, &survey).unwrap();
    let now = Time::from_instant(jiff_now());
    RunState::new(plan, rules, "emulator".into(), now)
}

fn jiff_now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

async fn go_on(
    settings: Settings,
    record: &MemoryRecord,
    vault: &MemoryVault,
    stop: watch::Receiver<bool>,
) -> (FleetReport, Option<CollectError>) {
    run_fleet(
        settings,
        record.state(),
        vault.shared(),
        Arc::new(record.clone()),
        Arc::new(|_| ()),
        stop,
    )
    .await
}

/// No limit passed, nothing run twice, every result that can be had is here.
fn judged(emulator: &Emulator, vault: &MemoryVault, report: &FleetReport) {
    let judgement = emulator.judgement();
    assert!(judgement.violations.is_empty(), "{judgement:?}");
    let sealed = vault.sealed();
    for (key, body) in emulator.results() {
        let kept = sealed.get(&key);
        let kept = kept.unwrap_or_else(|| panic!("{key} is lost: {report:?}"));
        assert!(kept.bytes == body.whole().unwrap(), "{key} differs");
    }
}

async fn survive(made: Made, faults: &str) -> (FleetReport, Emulator) {
    let dir = tempfile::tempdir().unwrap();
    let emulator = start(made, faults);
    let settings = fleet_settings(&emulator, dir.path());
    let state = planned(&settings, FleetRules::default()).await;
    let vault = MemoryVault::new();
    let record = MemoryRecord::of(&state, &vault);
    let (_stop, stopped) = watch::channel(false);
    let (report, failure) = go_on(settings, &record, &vault, stopped).await;
    assert!(failure.is_none(), "{faults}: {failure:?}");
    assert!(report.is_over, "{faults}: {report:?}");
    judged(&emulator, &vault, &report);
    (report, emulator)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_is_run_to_its_last_result_within_every_limit() {
    let (report, _) = survive(devices(30), "").await;
    assert_eq!(report.outcomes[&Outcome::Done], 30, "{report:?}");
    assert!(report.is_complete(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_and_refusals_lose_nothing_and_run_nothing_twice() {
    let faults = "lost-answer=2,500-late=1,run.503=1,run.429=1,not-visible@60,small-pages@7";
    let (report, emulator) = survive(devices(12), faults).await;
    assert_eq!(report.outcomes[&Outcome::Done], 12, "{report:?}");
    assert_eq!(emulator.judgement().runs.ran_twice, 0);
}

/// A process of its own, as far as tasks go: all end where they stand when it
/// is dropped.
fn process() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn killed_at_random_moments_a_run_is_gone_on_with_to_the_same_end() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = start(devices(30), "not-visible@30");
    let settings = fleet_settings(&emulator, dir.path());
    let state = process().block_on(planned(&settings, FleetRules::default()));
    let vault = MemoryVault::new();
    let record = MemoryRecord::of(&state, &vault);
    let mut kills = 0u64;
    let report = loop {
        let (_stop, stopped) = watch::channel(false);
        let patience = Duration::from_millis(100 + kills * 97 % 260);
        let killed = process().block_on(async {
            let going = go_on(settings.clone(), &record, &vault, stopped);
            tokio::time::timeout(patience, going).await
        });
        match killed {
            Ok((report, failure)) => {
                assert!(failure.is_none(), "{failure:?}");
                break report;
            }
            Err(_) => kills += 1,
        }
        assert!(kills < 400, "{:?}", record.state().run);
    };
    assert!(report.is_over && kills >= 5, "{kills}: {report:?}");
    assert_eq!(report.outcomes[&Outcome::Done], 30, "{report:?}");
    judged(&emulator, &vault, &report);
    println!("{kills} kills, {report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_paused_gone_on_with_and_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = start(devices(60), "");
    let settings = fleet_settings(&emulator, dir.path());
    let state = planned(&settings, FleetRules::default()).await;
    let vault = MemoryVault::new();
    let record = MemoryRecord::of(&state, &vault);
    record.order(FleetOrder::Pause);
    let (_stop, stopped) = watch::channel(false);
    let (report, _) = go_on(settings.clone(), &record, &vault, stopped).await;
    assert!(report.is_paused && !report.is_over, "{report:?}");
    assert!(
        report.counts.open == 0 && report.counts.waiting > 30,
        "{report:?}"
    );
    record.order(FleetOrder::Resume);
    let ordering = record.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(800)).await;
        ordering.order(FleetOrder::Cancel);
    });
    let (_stop, stopped) = watch::channel(false);
    let (report, _) = go_on(settings, &record, &vault, stopped).await;
    assert!(report.is_over, "{report:?}");
    assert!(report.outcomes[&Outcome::Cancelled] > 20, "{report:?}");
    judged(&emulator, &vault, &report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_are_away_stop_nobody_and_are_worked_on_when_they_are_back() {
    let made = Made {
        away: 0.2,
        away_for: Duration::from_secs(1_800),
        ..devices(30)
    };
    let (report, _) = survive(made, "").await;
    assert_eq!(report.outcomes[&Outcome::Done], 30, "{report:?}");
}

/// The size the room is built for: some minutes, so run by hand with
/// `cargo test --release --test collect two_thousand -- --ignored --nocapture`.
#[ignore]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_thousand_devices_with_a_tenth_away_end_near_their_bound() {
    let made = Made {
        away: 0.1,
        away_for: Duration::from_secs(4 * 3_600),
        ..devices(2_000)
    };
    let begun = Instant::now();
    let (report, emulator) = survive(made, "").await;
    println!(
        "bound {:?} ({}), took {:?} with those that were away; {:?} real\n{report:?}\n{:?}",
        report.bound.longest(),
        report.bound.reason(),
        report.took,
        begun.elapsed(),
        emulator.judgement()
    );
}
