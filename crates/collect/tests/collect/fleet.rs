//! Fleet runs against the emulator, which judges by its own clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afteraction_collect::fleet::{
    DeviceState, FleetOrder, FleetPlan, FleetRecord, FleetReport, FleetRequest, FleetRules,
    Outcome, Playbook, RunId, RunState, run_fleet, survey,
};
use afteraction_collect::{CollectError, CollectSettings, SinkError};
use emulator::{self, EmulatedFleet, Emulator, Faults, SyntheticFleet};
use evidence::{Action, ActionId, Time};
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
    /// What says that the run is cancelled is not kept.
    refuses_cancelled: bool,
    /// Left just as nobody would hear it any more.
    last_order: Option<FleetOrder>,
    is_deaf: bool,
    on_sending: Option<Hook>,
}

/// Met once, by the first note that tells of a start about to leave.
type Hook = Box<dyn FnOnce() + Send>;

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
    fn note(&self, _: RunId, notes: &[(u32, serde_json::Value)]) -> Result<(), SinkError> {
        let sending = |note: &serde_json::Value| note["state"]["state"] == "sending";
        if notes.iter().any(|(_, note)| sending(note)) {
            let hook = self.0.lock().unwrap().on_sending.take();
            hook.into_iter().for_each(|hook| hook());
        }
        let mut kept = self.0.lock().unwrap();
        if kept.refuses_cancelled && notes.iter().any(|(_, note)| note["is_cancelled"] == true) {
            return Err(SinkError::failed(std::io::Error::other("the disk")));
        }
        kept.notes.extend(notes.iter().cloned());
        Ok(())
    }

    fn orders(&self, _: RunId) -> Result<Vec<FleetOrder>, SinkError> {
        Ok(self.0.lock().unwrap().orders.clone())
    }

    fn hear(&self, _: RunId, hears: bool) -> Result<bool, SinkError> {
        let mut kept = self.0.lock().unwrap();
        let last = kept.last_order.take_if(|_| !hears);
        kept.orders.extend(last);
        let is_done = hears || kept.orders.is_empty();
        kept.is_deaf = is_done && !hears;
        Ok(is_done)
    }

    fn drop_orders(&self, _: RunId, count: usize) -> Result<(), SinkError> {
        self.0.lock().unwrap().orders.drain(..count);
        Ok(())
    }

    fn action(&self, id: ActionId) -> Result<Option<Action>, SinkError> {
        let kept = self.0.lock().unwrap();
        let actions = kept.vault.as_ref().unwrap().actions();
        let latest = actions.iter().rev().find(|seen| seen.action.id == id);
        Ok(latest.map(|seen| (*seen.action).clone()))
    }
}

fn start(made: SyntheticFleet, faults: &str) -> Emulator {
    Emulator::start_blocking(emulator::EmulatorSettings {
        time_scale: SCALE,
        faults: Faults::parse(faults).unwrap(),
        ..emulator::EmulatorSettings::serving(EmulatedFleet::synthetic(&made))
    })
    .unwrap()
}

fn devices(devices: usize) -> SyntheticFleet {
    SyntheticFleet {
        devices: devices as _,
        ..SyntheticFleet::default()
    }
}

fn fleet_settings(emulator: &Emulator, state: &Path) -> CollectSettings {
    CollectSettings {
        watch: Some(Duration::from_secs(5)),
        ..settings(emulator, state)
    }
}

async fn planned(settings: &CollectSettings, rules: FleetRules) -> RunState {
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
    settings: CollectSettings,
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
    let judgement = emulator.conformance();
    assert!(judgement.violations.is_empty(), "{judgement:?}");
    // Comments are marked by attempt: what was done counts, not what was said.
    assert_eq!(judgement.runs.worked_twice, 0, "{:?}", judgement.runs);
    assert!(judgement.sessions.most <= 25, "{:?}", judgement.sessions);
    let sealed = vault.sealed();
    for (key, body) in emulator.results() {
        let kept = sealed.get(&key);
        let kept = kept.unwrap_or_else(|| panic!("{key} is lost: {report:?}"));
        assert!(kept.bytes == body.whole().unwrap(), "{key} differs");
    }
}

async fn survive(made: SyntheticFleet, faults: &str) -> (FleetReport, Emulator) {
    survive_on(start(made, faults), faults, FleetRules::default()).await
}

/// Runs a fleet to its end; a person has what is in doubt started again.
async fn survive_on(
    emulator: Emulator,
    faults: &str,
    rules: FleetRules,
) -> (FleetReport, Emulator) {
    let dir = tempfile::tempdir().unwrap();
    let settings = fleet_settings(&emulator, dir.path());
    let rules = FleetRules {
        // Longer than anything stays invisible here.
        lost_for: Duration::from_secs(150),
        ..rules
    };
    let state = planned(&settings, rules).await;
    let vault = MemoryVault::new();
    let record = MemoryRecord::of(&state, &vault);
    loop {
        let (_stop, stopped) = watch::channel(false);
        let (report, failure) = go_on(settings.clone(), &record, &vault, stopped).await;
        assert!(failure.is_none(), "{faults}: {failure:?}");
        assert!(report.is_over, "{faults}: {report:?}");
        judged(&emulator, &vault, &report);
        if !report.outcomes.contains_key(&Outcome::Unresolved) {
            return (report, emulator);
        }
        record.order(FleetOrder::Repost);
    }
}

/// Mean, and what nine of ten results were no later than, emulated seconds.
fn lateness(emulator: &Emulator) -> (f64, f64) {
    let mut late = emulator.lateness();
    late.sort_unstable();
    let seconds: Vec<f64> = late.iter().map(Duration::as_secs_f64).collect();
    let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
    (mean, seconds[seconds.len() * 9 / 10])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fleet_is_run_to_its_last_result_within_every_limit() {
    let (report, emulator) = survive(devices(30), "").await;
    assert_eq!(report.outcomes[&Outcome::Done], 30, "{report:?}");
    assert!(report.is_complete(), "{report:?}");
    let (mean, p90) = lateness(&emulator);
    let calls = report.collected.link_calls;
    println!("60 results: {mean:.1} s late on average, p90 {p90:.1} s, {calls} link calls");
    // A request of 20 ms is two seconds here.
    assert!(mean < 40.0, "{mean}");
}

/// Half a minute; what it prints is what the README may quote.
#[ignore = "takes half a minute"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_had_within_seconds_of_their_being_there() {
    let emulator = Emulator::start_blocking(emulator::EmulatorSettings {
        time_scale: 25.0,
        ..emulator::EmulatorSettings::serving(EmulatedFleet::synthetic(&devices(60)))
    });
    let (report, emulator) = survive_on(emulator.unwrap(), "", FleetRules::default()).await;
    let (mean, p90) = lateness(&emulator);
    let calls = report.collected.link_calls;
    println!("120 results: {mean:.1} s late on average, p90 {p90:.1} s, {calls} link calls");
    assert!(mean < 8.0 && p90 < 15.0, "{mean} {p90}");
}

/// Sessions that are over soon.
fn brisk(devices: usize, faults: &str) -> emulator::EmulatorSettings {
    let span = |from, to| Duration::from_secs(from)..=Duration::from_secs(to);
    let made = SyntheticFleet {
        devices: devices as _,
        ..SyntheticFleet::default()
    };
    emulator::EmulatorSettings {
        time_scale: SCALE,
        faults: Faults::parse(faults).unwrap(),
        latency: emulator::Latency {
            queued: span(5, 20),
            settling: span(5, 10),
            upload: span(2, 10),
            ..emulator::Latency::default()
        },
        ..emulator::EmulatorSettings::serving(EmulatedFleet::synthetic(&made))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn starts_that_waited_for_a_token_do_not_leave_together() {
    // The login host is out of breath for five minutes, longer than the
    // budget counts a call that has no answer.
    let emulator = Emulator::start_blocking(emulator::EmulatorSettings {
        token_life: Duration::from_secs(70),
        ..brisk(40, "token.503=11+2")
    });
    let (report, emulator) = survive_on(emulator.unwrap(), "token", FleetRules::default()).await;
    assert_eq!(report.outcomes[&Outcome::Done], 40, "{report:?}");
    assert_eq!(emulator.faults().fired(emulator::Fault::Unavailable), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_a_session_that_lists_never_show_are_collected() {
    // Its answer is lost; its machine's own list shows it when it is over.
    let faults = "lost-answer=1,not-visible=1@200,not-listed=1@100000";
    let emulator = Emulator::start_blocking(brisk(4, faults)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let settings = fleet_settings(&emulator, dir.path());
    let vault = MemoryVault::new();
    let record = MemoryRecord::of(&planned(&settings, FleetRules::default()).await, &vault);
    let (_stop, stopped) = watch::channel(false);
    let (report, failure) = go_on(settings, &record, &vault, stopped).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(report.outcomes[&Outcome::Done], 4, "{report:?}");
    judged(&emulator, &vault, &report);
    assert!(report.is_complete(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_run_finds_what_was_unresolved_and_ended_meanwhile() {
    let emulator = Emulator::start_blocking(brisk(3, "not-visible@100000")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let settings = fleet_settings(&emulator, dir.path());
    let vault = MemoryVault::new();
    let record = MemoryRecord::of(&planned(&settings, FleetRules::default()).await, &vault);
    let (stop, stopped) = watch::channel(false);
    let going = tokio::spawn({
        let (settings, record, vault) = (settings.clone(), record.clone(), vault.clone());
        async move { go_on(settings, &record, &vault, stopped).await }
    });
    while record
        .state()
        .devices
        .iter()
        .any(|d| d.actions().count() == 0)
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.send_replace(true);
    going.await.unwrap();
    // As half an hour of looking in vain would leave them.
    for (place, note) in &mut record.0.lock().unwrap().notes {
        if *place > 0 {
            let at = note["state"]["since"].clone();
            note["state"] =
                serde_json::json!({"state": "settled", "outcome": "unresolved", "at": at});
        }
    }
    emulator
        .faults()
        .set(Faults::parse("not-listed=all@100000").unwrap());
    while emulator
        .sessions()
        .iter()
        .any(|ran| emulator.clock().now() < ran.over)
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (_stop, stopped) = watch::channel(false);
    let (report, failure) = go_on(settings, &record, &vault, stopped).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(report.outcomes[&Outcome::Done], 3, "{report:?}");
    judged(&emulator, &vault, &report);
    assert!(report.is_complete(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_had_not_left_when_the_run_was_stopped_is_in_no_doubt() {
    let emulator = Emulator::start_blocking(brisk(3, "")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let settings = fleet_settings(&emulator, dir.path());
    let vault = MemoryVault::new();
    let record = MemoryRecord::of(&planned(&settings, FleetRules::default()).await, &vault);
    let (stop, stopped) = watch::channel(false);
    // Stopped while the intention is being written, which takes its time.
    record.0.lock().unwrap().on_sending = Some(Box::new(move || {
        stop.send_replace(true);
        std::thread::sleep(Duration::from_millis(300));
    }));
    let (report, failure) = go_on(settings, &record, &vault, stopped).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(emulator.sessions(), []);
    assert_eq!(report.starts, 0, "{report:?}");
    let states = record.state().devices.into_iter().map(|d| d.state);
    let in_doubt = states.filter(|s| !matches!(s, DeviceState::Waiting { .. }));
    assert_eq!(in_doubt.count(), 0, "what was written last counts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_and_refusals_lose_nothing_and_run_nothing_twice() {
    let faults = "lost-answer=2,500-late=1,run.503=1,run.429=1,not-visible@60,small-pages@7";
    let (report, _) = survive(devices(12), faults).await;
    assert_eq!(report.outcomes[&Outcome::Done], 12, "{report:?}");
}

/// Small and repeatable.
fn lot(seed: u64, n: u64, below: u64) -> u64 {
    let mixed = (seed * 1_000 + n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 33) % below.max(1)
}

/// Throttling, lost answers, invisible actions, moving pages, sessions of
/// others, devices that are away, commands that fail and scripts that hang,
/// together and in other measure for each seed.
async fn any_mix(seed: u64) {
    let draw = |n, below| lot(seed, n, below);
    let faults = format!(
        "429@{}%{},run.429=2@7,lost-answer={},lost-call={},500-late={},503%{},not-visible@{},small-pages@{},not-ready=each1,cut=2",
        2 + draw(0, 20),
        1 + draw(1, 4),
        draw(2, 4) + 1,
        draw(3, 2) + 1,
        draw(4, 3) + 1,
        1 + draw(5, 3),
        1 + draw(6, 120),
        3 + draw(7, 9),
    );
    let made = SyntheticFleet {
        away: 0.1 * draw(8, 3) as f64,
        away_for: Duration::from_secs(200),
        seed,
        ..devices(12)
    };
    let emulator = Emulator::start_blocking(emulator::EmulatorSettings {
        time_scale: SCALE,
        faults: Faults::parse(&faults).unwrap(),
        sessions_held: draw(9, 15) as usize,
        seed,
        latency: emulator::Latency {
            failing: 0.05 * draw(10, 3) as f64,
            hanging: 0.02 * draw(11, 2) as f64,
            script_limit: Duration::from_secs(60),
            queued: Duration::from_secs(5)..=Duration::from_secs(40),
            settling: Duration::from_secs(5)..=Duration::from_secs(20),
            ..emulator::Latency::default()
        },
        ..emulator::EmulatorSettings::serving(EmulatedFleet::synthetic(&made))
    })
    .unwrap();
    let (report, _) = survive_on(emulator, &faults, FleetRules::default()).await;
    let ended: u64 = report.outcomes.values().sum();
    assert_eq!(ended, 12, "{seed} {faults}: {report:?}");
    let worked = [Outcome::Done, Outcome::Failed, Outcome::TimedOut];
    let worked: u64 = worked.iter().filter_map(|o| report.outcomes.get(o)).sum();
    assert_eq!(worked, 12, "{seed} {faults}: {report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_any_mix_of_faults_no_limit_is_passed_and_nothing_is_lost_or_run_twice() {
    let seeds = match std::env::var_os("AFTERACTION_EXHAUSTIVE") {
        Some(_) => 8,
        None => 1,
    };
    for seed in 1..=seeds {
        any_mix(seed).await;
    }
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
                if !report.outcomes.contains_key(&Outcome::Unresolved) {
                    break report;
                }
                // Killed between intention and request: for a person to decide.
                record.order(FleetOrder::Repost);
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
async fn an_order_that_could_not_be_recorded_is_obeyed_when_the_run_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = start(devices(3), "");
    let settings = fleet_settings(&emulator, dir.path());
    let state = planned(&settings, FleetRules::default()).await;
    let vault = MemoryVault::new();
    let record = MemoryRecord::of(&state, &vault);
    record.order(FleetOrder::Cancel);
    record.0.lock().unwrap().refuses_cancelled = true;
    let (_stop, stopped) = watch::channel(false);
    let (_, failure) = go_on(settings.clone(), &record, &vault, stopped).await;
    assert!(failure.is_some() && !record.state().run.is_cancelled);
    record.0.lock().unwrap().refuses_cancelled = false;
    let (_stop, stopped) = watch::channel(false);
    let (report, failure) = go_on(settings, &record, &vault, stopped).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(report.outcomes[&Outcome::Cancelled], 3, "{report:?}");
    assert_eq!(record.orders(state.run.id).unwrap(), []);
    assert!(record.state().run.is_cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_heard_until_nothing_more_can_be_started() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = start(devices(4), "");
    let settings = fleet_settings(&emulator, dir.path());
    let state = planned(&settings, FleetRules::default()).await;
    let vault = MemoryVault::new();
    let record = MemoryRecord::of(&state, &vault);
    record.order(FleetOrder::Pause);
    record.0.lock().unwrap().last_order = Some(FleetOrder::Resume);
    let (_stop, stopped) = watch::channel(false);
    let (report, failure) = go_on(settings, &record, &vault, stopped).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(report.outcomes[&Outcome::Done], 4, "{report:?}");
    assert!(record.0.lock().unwrap().is_deaf);
    assert!(record.state().run.over.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancellation_that_hangs_holds_no_other_up() {
    let dir = tempfile::tempdir().unwrap();
    // Real seconds: longer than any session lasts here.
    let emulator = start(devices(6), "cancel.hang=1@5");
    let settings = fleet_settings(&emulator, dir.path());
    let state = planned(&settings, FleetRules::default()).await;
    let vault = MemoryVault::new();
    let record = MemoryRecord::of(&state, &vault);
    let ordering = record.clone();
    tokio::spawn(async move {
        while !ordering
            .state()
            .devices
            .iter()
            .all(|device| device.is_open())
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        ordering.order(FleetOrder::Cancel);
    });
    let (_stop, stopped) = watch::channel(false);
    let (report, failure) = go_on(settings, &record, &vault, stopped).await;
    assert!(failure.is_none() && report.is_over, "{failure:?}");
    assert!(report.outcomes[&Outcome::Cancelled] >= 5, "{report:?}");
    judged(&emulator, &vault, &report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_that_is_over_is_not_said_to_be_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = start(devices(2), "");
    let settings = fleet_settings(&emulator, dir.path());
    let state = planned(&settings, FleetRules::default()).await;
    let vault = MemoryVault::new();
    let record = MemoryRecord::of(&state, &vault);
    let (_stop, stopped) = watch::channel(false);
    let (report, _) = go_on(settings.clone(), &record, &vault, stopped.clone()).await;
    assert_eq!(report.outcomes[&Outcome::Done], 2, "{report:?}");
    let planned = &state.devices[0].planned;
    record.order(FleetOrder::CancelDevice(planned.machine_id.clone()));
    let (report, _) = go_on(settings, &record, &vault, stopped).await;
    let told = format!("{} is over already: done", planned.name);
    assert!(report.collected.notices.contains(&told), "{report:?}");
    assert_eq!(report.outcomes[&Outcome::Done], 2, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn devices_that_are_away_stop_nobody_and_are_worked_on_when_they_are_back() {
    let made = SyntheticFleet {
        away: 0.4,
        away_for: Duration::from_secs(500),
        ..devices(20)
    };
    // Soon, so that they are parked while they are away.
    let rules = FleetRules {
        park_after: Some(Duration::from_secs(200)),
        ..FleetRules::default()
    };
    let (report, _) = survive_on(start(made, ""), "", rules).await;
    assert_eq!(report.outcomes[&Outcome::Done], 20, "{report:?}");
    assert!(report.starts > 20, "nobody was parked: {report:?}");
}
