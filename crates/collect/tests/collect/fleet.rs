//! Fleet runs against the emulator, which checks the limits of the service by
//! its own clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afteraction_collect::fleet::{
    DeviceState, FleetOrder, FleetPlan, FleetRecord, FleetReport, FleetRequest, FleetRules,
    Outcome, Playbook, RunId, RunState, read_inventory, run_fleet,
};
use afteraction_collect::{CollectError, CollectSettings, SinkError};
use emulator::{self, EmulatedFleet, Emulator, Faults, SyntheticFleet};
use evidence::{Action, ActionId, Time};
use tokio::sync::watch;

use super::emulated::settings;
use super::memory_sink::TestSink;

/// Emulated seconds per second.
const SCALE: f64 = 100.0;

const PLAYBOOK: &str = r#"
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

/// A record in memory.
#[derive(Clone, Default)]
struct MemoryRecord(Arc<Mutex<RecordContent>>);

#[derive(Default)]
struct RecordContent {
    entries: BTreeMap<u32, serde_json::Value>,
    orders: Vec<FleetOrder>,
    sink: Option<TestSink>,
    /// Writing the header of a cancelled run fails.
    rejects_cancelled: bool,
    /// An order that arrives just before the record is closed for orders.
    last_order: Option<FleetOrder>,
    is_closed: bool,
    on_start_intent: Option<Hook>,
}

/// Called once, when the first start intent is written.
type Hook = Box<dyn FnOnce() + Send>;

impl MemoryRecord {
    fn of(state: &RunState, sink: &TestSink) -> Self {
        let record = Self::default();
        record.0.lock().unwrap().sink = Some(sink.clone());
        record
            .write_entries(state.run.id, &state.entries())
            .unwrap();
        record
    }

    fn state(&self) -> RunState {
        let entries = self.0.lock().unwrap().entries.clone();
        RunState::from_entries(entries.into_iter().collect()).unwrap()
    }

    fn order(&self, order: FleetOrder) {
        self.0.lock().unwrap().orders.push(order);
    }
}

impl FleetRecord for MemoryRecord {
    fn write_entries(
        &self,
        _: RunId,
        entries: &[(u32, serde_json::Value)],
    ) -> Result<(), SinkError> {
        let has = |field: &str, value: serde_json::Value| {
            let mut entries = entries.iter();
            entries.any(|(_, entry)| entry.pointer(field) == Some(&value))
        };
        if has("/state/state", "sending".into()) {
            let hook = self.0.lock().unwrap().on_start_intent.take();
            hook.into_iter().for_each(|hook| hook());
        }
        let mut content = self.0.lock().unwrap();
        if content.rejects_cancelled && has("/is_cancelled", true.into()) {
            return Err(SinkError::failed(std::io::Error::other("the disk")));
        }
        content.entries.extend(entries.iter().cloned());
        Ok(())
    }

    fn pending_orders(&self, _: RunId) -> Result<Vec<FleetOrder>, SinkError> {
        Ok(self.0.lock().unwrap().orders.clone())
    }

    fn accept_orders(&self, _: RunId, accept: bool) -> Result<bool, SinkError> {
        let mut content = self.0.lock().unwrap();
        let last = content.last_order.take_if(|_| !accept);
        content.orders.extend(last);
        let is_done = accept || content.orders.is_empty();
        content.is_closed = is_done && !accept;
        Ok(is_done)
    }

    fn remove_orders(&self, _: RunId, count: usize) -> Result<(), SinkError> {
        self.0.lock().unwrap().orders.drain(..count);
        Ok(())
    }

    fn find_action(&self, id: ActionId) -> Result<Option<Action>, SinkError> {
        let content = self.0.lock().unwrap();
        let actions = content.sink.as_ref().unwrap().actions();
        let latest = actions.iter().rev().find(|a| a.action.id == id);
        Ok(latest.map(|received| (*received.action).clone()))
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

/// Plans a run of every device of the emulator.
async fn plan_run(settings: &CollectSettings, rules: FleetRules) -> RunState {
    let mut inventory = read_inventory(settings, Arc::new(|_| ())).await.unwrap();
    inventory.machines.sort_by(|a, b| a.id.cmp(&b.id));
    let mut request = FleetRequest {
        playbook: Playbook::read(PLAYBOOK).unwrap(),
        ..FleetRequest::default()
    };
    // By id, because `health:Inactive` is an error in a fleet without an
    // absent device.
    request.playbook.devices = inventory.machines.iter().map(|m| m.id.clone()).collect();
    let plan = FleetPlan::new(&request, &inventory).unwrap();
    let now = Time::from_instant(jiff::Timestamp::now());
    RunState::new(plan, rules, "emulator".into(), now)
}

/// Starts or resumes the run of a record.
async fn resume(
    settings: CollectSettings,
    record: &MemoryRecord,
    sink: &TestSink,
    stop: watch::Receiver<bool>,
) -> (FleetReport, Option<CollectError>) {
    run_fleet(
        settings,
        record.state(),
        sink.shared(),
        Arc::new(record.clone()),
        Arc::new(|_| ()),
        stop,
    )
    .await
}

/// Asserts that no limit was exceeded, no step ran twice and every result of the
/// emulator is stored.
fn assert_conformance(emulator: &Emulator, sink: &TestSink, report: &FleetReport) {
    let judgement = emulator.conformance();
    assert!(judgement.violations.is_empty(), "{judgement:?}");
    // Comments differ by attempt, so executed steps are counted, not requests.
    assert_eq!(judgement.runs.worked_twice, 0, "{:?}", judgement.runs);
    assert!(judgement.sessions.most <= 25, "{:?}", judgement.sessions);
    let sealed = sink.sealed();
    for (key, body) in emulator.results() {
        let stored = sealed.get(&key);
        let stored = stored.unwrap_or_else(|| panic!("{key} is missing: {report:?}"));
        assert!(stored.bytes == body.whole().unwrap(), "{key} differs");
    }
}

/// Runs a fleet to its end under faults, with default rules.
async fn run_to_end(made: SyntheticFleet, faults: &str) -> (FleetReport, Emulator) {
    run_emulator_to_end(start(made, faults), faults, FleetRules::default()).await
}

/// Runs a fleet to its end. Starts in doubt are ordered again until there are
/// none.
async fn run_emulator_to_end(
    emulator: Emulator,
    faults: &str,
    rules: FleetRules,
) -> (FleetReport, Emulator) {
    let dir = tempfile::tempdir().unwrap();
    let settings = fleet_settings(&emulator, dir.path());
    let rules = FleetRules {
        // Longer than a new action is missing from the lists of these tests.
        in_doubt_after: Duration::from_secs(150),
        ..rules
    };
    let state = plan_run(&settings, rules).await;
    let sink = TestSink::new();
    let record = MemoryRecord::of(&state, &sink);
    loop {
        let (_stop, stopped) = watch::channel(false);
        let (report, failure) = resume(settings.clone(), &record, &sink, stopped).await;
        assert!(failure.is_none(), "{faults}: {failure:?}");
        assert!(report.is_over, "{faults}: {report:?}");
        assert_conformance(&emulator, &sink, &report);
        if !report.outcomes.contains_key(&Outcome::InDoubt) {
            return (report, emulator);
        }
        record.order(FleetOrder::Repost);
    }
}

/// Mean and 90th percentile of the time from the availability of a result to
/// its download.
///
/// **Units**: emulated seconds.
fn lateness(emulator: &Emulator) -> (f64, f64) {
    let mut late = emulator.lateness();
    late.sort_unstable();
    let seconds: Vec<f64> = late.iter().map(Duration::as_secs_f64).collect();
    let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
    (mean, seconds[seconds.len() * 9 / 10])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_collects_every_result_within_the_limits() {
    let (report, emulator) = run_to_end(devices(30), "").await;
    assert_eq!(report.outcomes[&Outcome::Done], 30, "{report:?}");
    assert!(report.is_complete(), "{report:?}");
    let (mean, p90) = lateness(&emulator);
    let calls = report.collected.link_calls;
    println!("60 results: {mean:.1} s late on average, p90 {p90:.1} s, {calls} link calls");
    // A request takes about 20 ms, which are two emulated seconds.
    assert!(mean < 40.0, "{mean}");
}

/// Prints the figures quoted in the README.
#[ignore = "takes half a minute"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_are_downloaded_within_seconds_of_their_availability() {
    let emulator = Emulator::start_blocking(emulator::EmulatorSettings {
        time_scale: 25.0,
        ..emulator::EmulatorSettings::serving(EmulatedFleet::synthetic(&devices(60)))
    });
    let (report, emulator) =
        run_emulator_to_end(emulator.unwrap(), "", FleetRules::default()).await;
    let (mean, p90) = lateness(&emulator);
    let calls = report.collected.link_calls;
    println!("120 results: {mean:.1} s late on average, p90 {p90:.1} s, {calls} link calls");
    assert!(mean < 8.0 && p90 < 15.0, "{mean} {p90}");
}

/// An emulator with short sessions.
fn short_sessions(devices: usize, faults: &str) -> emulator::EmulatorSettings {
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
async fn starts_delayed_by_a_token_outage_stay_within_the_rate_limit() {
    // The login host is unavailable for five minutes, longer than the rate
    // limit counts a call without a response.
    let emulator = Emulator::start_blocking(emulator::EmulatorSettings {
        token_life: Duration::from_secs(70),
        ..short_sessions(40, "token.503=11+2")
    });
    let (report, emulator) =
        run_emulator_to_end(emulator.unwrap(), "token", FleetRules::default()).await;
    assert_eq!(report.outcomes[&Outcome::Done], 40, "{report:?}");
    assert_eq!(emulator.faults().fired(emulator::Fault::Unavailable), 11);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_of_a_session_missing_from_lists_are_collected() {
    // The start response is lost; only the list of its machine shows the
    // session, after its end.
    let faults = "lost-answer=1,not-visible=1@200,not-listed=1@100000";
    let emulator = Emulator::start_blocking(short_sessions(4, faults)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let settings = fleet_settings(&emulator, dir.path());
    let sink = TestSink::new();
    let record = MemoryRecord::of(&plan_run(&settings, FleetRules::default()).await, &sink);
    let (_stop, stopped) = watch::channel(false);
    let (report, failure) = resume(settings, &record, &sink, stopped).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(report.outcomes[&Outcome::Done], 4, "{report:?}");
    assert_conformance(&emulator, &sink, &report);
    assert!(report.is_complete(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resumed_run_finds_sessions_in_doubt_that_ended_meanwhile() {
    let emulator = Emulator::start_blocking(short_sessions(3, "not-visible@100000")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let settings = fleet_settings(&emulator, dir.path());
    let sink = TestSink::new();
    let record = MemoryRecord::of(&plan_run(&settings, FleetRules::default()).await, &sink);
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn({
        let (settings, record, sink) = (settings.clone(), record.clone(), sink.clone());
        async move { resume(settings, &record, &sink, stopped).await }
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
    running.await.unwrap();
    // Settle them in doubt, as after half an hour of searches.
    for (index, entry) in &mut record.0.lock().unwrap().entries {
        if *index > 0 {
            let at = entry["state"]["since"].clone();
            entry["state"] =
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
    let (report, failure) = resume(settings, &record, &sink, stopped).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(report.outcomes[&Outcome::Done], 3, "{report:?}");
    assert_conformance(&emulator, &sink, &report);
    assert!(report.is_complete(), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unsent_start_of_a_stopped_run_is_not_in_doubt() {
    let emulator = Emulator::start_blocking(short_sessions(3, "")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let settings = fleet_settings(&emulator, dir.path());
    let sink = TestSink::new();
    let record = MemoryRecord::of(&plan_run(&settings, FleetRules::default()).await, &sink);
    let (stop, stopped) = watch::channel(false);
    // Stop while the start intent is being written.
    record.0.lock().unwrap().on_start_intent = Some(Box::new(move || {
        stop.send_replace(true);
        std::thread::sleep(Duration::from_millis(300));
    }));
    let (report, failure) = resume(settings, &record, &sink, stopped).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(emulator.sessions(), []);
    assert_eq!(report.starts, 0, "{report:?}");
    let states = record.state().devices.into_iter().map(|d| d.state);
    let not_queued = states.filter(|s| !matches!(s, DeviceState::Queued { .. }));
    assert_eq!(not_queued.count(), 0, "every device is queued");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_is_lost_or_repeated_under_lost_responses_and_throttling() {
    let faults = "lost-answer=2,500-late=1,run.503=1,run.429=1,not-visible@60,small-pages@7";
    let (report, _) = run_to_end(devices(12), faults).await;
    assert_eq!(report.outcomes[&Outcome::Done], 12, "{report:?}");
}

/// A pseudo-random number below `below`.
fn pseudo_random(seed: u64, n: u64, below: u64) -> u64 {
    let mixed = (seed * 1_000 + n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed >> 33) % below.max(1)
}

/// Runs under throttling, lost responses, unlisted actions, unstable pages,
/// foreign sessions, absent devices, failing commands and hanging scripts; the
/// seed determines how many of each.
async fn run_under_mixed_faults(seed: u64) {
    let draw = |n, below| pseudo_random(seed, n, below);
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
    let (report, _) = run_emulator_to_end(emulator, &faults, FleetRules::default()).await;
    let ended: u64 = report.outcomes.values().sum();
    assert_eq!(ended, 12, "{seed} {faults}: {report:?}");
    let ran: u64 = [Outcome::Done, Outcome::Failed, Outcome::TimedOut]
        .iter()
        .filter_map(|outcome| report.outcomes.get(outcome))
        .sum();
    assert_eq!(ran, 12, "{seed} {faults}: {report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_under_mixed_faults_stay_within_the_limits_and_repeat_nothing() {
    let seeds = match std::env::var_os("AFTERACTION_EXHAUSTIVE") {
        Some(_) => 8,
        None => 1,
    };
    for seed in 1..=seeds {
        run_under_mixed_faults(seed).await;
    }
}

/// A runtime in place of a process: dropping it stops all tasks at once.
fn process() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn run_killed_at_random_times_completes_after_resumes() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = start(devices(30), "not-visible@30");
    let settings = fleet_settings(&emulator, dir.path());
    let state = process().block_on(plan_run(&settings, FleetRules::default()));
    let sink = TestSink::new();
    let record = MemoryRecord::of(&state, &sink);
    let mut kills = 0u64;
    let report = loop {
        let (_stop, stopped) = watch::channel(false);
        let lifetime = Duration::from_millis(100 + kills * 97 % 260);
        let killed = process().block_on(async {
            let running = resume(settings.clone(), &record, &sink, stopped);
            tokio::time::timeout(lifetime, running).await
        });
        match killed {
            Ok((report, failure)) => {
                assert!(failure.is_none(), "{failure:?}");
                if !report.outcomes.contains_key(&Outcome::InDoubt) {
                    break report;
                }
                // Killed between the start intent and the request.
                record.order(FleetOrder::Repost);
            }
            Err(_) => kills += 1,
        }
        assert!(kills < 400, "{:?}", record.state().run);
    };
    assert!(report.is_over && kills >= 5, "{kills}: {report:?}");
    assert_eq!(report.outcomes[&Outcome::Done], 30, "{report:?}");
    assert_conformance(&emulator, &sink, &report);
    println!("{kills} kills, {report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn run_is_paused_resumed_and_cancelled() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = start(devices(60), "");
    let settings = fleet_settings(&emulator, dir.path());
    let state = plan_run(&settings, FleetRules::default()).await;
    let sink = TestSink::new();
    let record = MemoryRecord::of(&state, &sink);
    record.order(FleetOrder::Pause);
    let (_stop, stopped) = watch::channel(false);
    let (report, _) = resume(settings.clone(), &record, &sink, stopped).await;
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
    let (report, _) = resume(settings, &record, &sink, stopped).await;
    assert!(report.is_over, "{report:?}");
    assert!(report.outcomes[&Outcome::Cancelled] > 20, "{report:?}");
    assert_conformance(&emulator, &sink, &report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_whose_effect_was_not_recorded_is_executed_after_resume() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = start(devices(3), "");
    let settings = fleet_settings(&emulator, dir.path());
    let state = plan_run(&settings, FleetRules::default()).await;
    let sink = TestSink::new();
    let record = MemoryRecord::of(&state, &sink);
    record.order(FleetOrder::Cancel);
    record.0.lock().unwrap().rejects_cancelled = true;
    let (_stop, stopped) = watch::channel(false);
    let (_, failure) = resume(settings.clone(), &record, &sink, stopped).await;
    assert!(failure.is_some() && !record.state().run.is_cancelled);
    record.0.lock().unwrap().rejects_cancelled = false;
    let (_stop, stopped) = watch::channel(false);
    let (report, failure) = resume(settings, &record, &sink, stopped).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(report.outcomes[&Outcome::Cancelled], 3, "{report:?}");
    assert_eq!(record.pending_orders(state.run.id).unwrap(), []);
    assert!(record.state().run.is_cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_accepted_until_the_run_is_idle() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = start(devices(4), "");
    let settings = fleet_settings(&emulator, dir.path());
    let state = plan_run(&settings, FleetRules::default()).await;
    let sink = TestSink::new();
    let record = MemoryRecord::of(&state, &sink);
    record.order(FleetOrder::Pause);
    record.0.lock().unwrap().last_order = Some(FleetOrder::Resume);
    let (_stop, stopped) = watch::channel(false);
    let (report, failure) = resume(settings, &record, &sink, stopped).await;
    assert!(failure.is_none(), "{failure:?}");
    assert_eq!(report.outcomes[&Outcome::Done], 4, "{report:?}");
    assert!(record.0.lock().unwrap().is_closed);
    assert!(record.state().run.over.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hanging_cancellation_does_not_delay_others() {
    let dir = tempfile::tempdir().unwrap();
    // Five real seconds are longer than any session of this test.
    let emulator = start(devices(6), "cancel.hang=1@5");
    let settings = fleet_settings(&emulator, dir.path());
    let state = plan_run(&settings, FleetRules::default()).await;
    let sink = TestSink::new();
    let record = MemoryRecord::of(&state, &sink);
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
    let (report, failure) = resume(settings, &record, &sink, stopped).await;
    assert!(failure.is_none() && report.is_over, "{failure:?}");
    assert!(report.outcomes[&Outcome::Cancelled] >= 5, "{report:?}");
    assert_conformance(&emulator, &sink, &report);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancelling_a_settled_device_gives_its_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let emulator = start(devices(2), "");
    let settings = fleet_settings(&emulator, dir.path());
    let state = plan_run(&settings, FleetRules::default()).await;
    let sink = TestSink::new();
    let record = MemoryRecord::of(&state, &sink);
    let (_stop, stopped) = watch::channel(false);
    let (report, _) = resume(settings.clone(), &record, &sink, stopped.clone()).await;
    assert_eq!(report.outcomes[&Outcome::Done], 2, "{report:?}");
    let planned = &state.devices[0].planned;
    record.order(FleetOrder::CancelDevice(planned.machine_id.clone()));
    let (report, _) = resume(settings, &record, &sink, stopped).await;
    let outcome = format!("{} is already settled: done", planned.name);
    assert!(report.collected.notices.contains(&outcome), "{report:?}");
    assert_eq!(report.outcomes[&Outcome::Done], 2, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_devices_are_parked_and_run_when_they_return() {
    let made = SyntheticFleet {
        away: 0.4,
        away_for: Duration::from_secs(500),
        ..devices(20)
    };
    // Short enough to park devices before they return.
    let rules = FleetRules {
        park_after: Some(Duration::from_secs(200)),
        ..FleetRules::default()
    };
    let (report, _) = run_emulator_to_end(start(made, ""), "", rules).await;
    assert_eq!(report.outcomes[&Outcome::Done], 20, "{report:?}");
    assert!(report.starts > 20, "no device was parked: {report:?}");
}
