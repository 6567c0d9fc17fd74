//! Collections against the emulator, which records violations: calls above a
//! rate limit, a token sent to the blob host, altered links, ranges without an
//! ETag. No fault may lose a result.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use afteraction_collect::{Cloud, CollectSettings, Secret, SignIn, Timeouts};
use emulator::{
    self, BodyKind, CallKind, EmulatedFleet, Emulator, Faults, ResultBody, ScriptedAction,
    ScriptedCommand, ServiceLimits,
};
use evidence::{ActionId, GapReason};
use tokio::sync::watch;

use super::memory_sink::TestSink;
use super::{CollectOutcome, run, run_until};

const SCALE: f64 = 100.0;

pub fn settings(emulator: &Emulator, state: &Path) -> CollectSettings {
    let mut settings = CollectSettings::new(
        Cloud::Commercial,
        Some(&emulator.api_base()),
        Some(&emulator.login_base()),
        SignIn::Client {
            tenant: emulator.tenant().into(),
            client_id: emulator.client_id().into(),
            secret: Secret::new(emulator.client_secret()),
        },
        state.to_path_buf(),
    )
    .unwrap();
    settings.pace.time_scale = emulator.origin().scale;
    settings.timeouts = Timeouts {
        connect: Duration::from_secs(2),
        read: Duration::from_millis(700),
        call: Duration::from_millis(1_500),
    };
    settings
}

fn start(settings: emulator::EmulatorSettings) -> Emulator {
    Emulator::start_blocking(emulator::EmulatorSettings {
        time_scale: SCALE,
        ..settings
    })
    .unwrap()
}

/// Small transcripts, a body of several chunks and an empty body.
fn fleet() -> EmulatedFleet {
    let long = ResultBody::seeded(BodyKind::ZipInGzip, 7, 3_000_000);
    EmulatedFleet::transcripts(12, 3_000, 1).action(
        ScriptedAction::on("ws-big.contoso.example")
            .put_file("kape.zip")
            .run_script("empty.ps1", "", Vec::new())
            .get_file("C:\\Temp\\big.zip", long),
    )
}

/// Asserts that every result of the fleet is sealed, byte for byte.
fn assert_all_sealed(fleet: &EmulatedFleet, sink: &TestSink, outcome: &CollectOutcome) {
    let sealed = sink.sealed();
    for (key, body) in fleet.results() {
        let stored = sealed
            .get(&key)
            .unwrap_or_else(|| panic!("{key} is lost: {}", outcome.text()));
        assert!(stored.bytes == body.whole().unwrap(), "{key} differs");
    }
    assert!(outcome.report.is_complete(), "{}", outcome.text());
}

/// Collects under faults and asserts that nothing is lost or violated.
async fn collect_under(faults: &str) -> (CollectOutcome, Emulator) {
    let state = tempfile::tempdir().unwrap();
    let fleet = fleet();
    let emulator = start(emulator::EmulatorSettings {
        faults: Faults::parse(faults).unwrap(),
        ..emulator::EmulatorSettings::serving(fleet.clone())
    });
    let sink = TestSink::new();
    let outcome = run(settings(&emulator, state.path()), &sink).await;
    assert!(outcome.failure.is_none(), "{faults}: {}", outcome.text());
    assert_all_sealed(&fleet, &sink, &outcome);
    let violations = emulator.journal().all_violations();
    assert!(violations.is_empty(), "{faults}: {violations:?}");
    (outcome, emulator)
}

#[tokio::test]
async fn nothing_is_lost_while_the_service_delays_or_rejects_calls() {
    for faults in [
        "not-ready=each3",
        "link.429=3@7",
        "429-date=2@9",
        "401=2",
        "500=4",
        "503=4",
        "blob.503=5",
    ] {
        collect_under(faults).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_while_actions_stay_invisible() {
    collect_under("not-visible@60").await;
    collect_under("not-visible@20,not-ready=each1").await;
}

#[tokio::test]
async fn nothing_is_lost_while_list_pages_move() {
    for faults in [
        "small-pages@3",
        "small-pages@2,reordered",
        "small-pages@4,duplicates@2",
    ] {
        collect_under(faults).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_while_links_expire_or_are_escaped() {
    for faults in [
        "born-expired=each2",
        "born-expired=each2,bom",
        "expire-midway=each2",
        "amp-link",
        "quoted-link",
        "amp-link,quoted-link,expire-midway",
    ] {
        collect_under(faults).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_while_bodies_are_interrupted() {
    for faults in [
        "cut=each3",
        "cut=each2@1",
        "cut=each1,etag",
        "cut=each1,no-range",
        "cut=each1,416",
        "md5=each2",
        "stall=1",
        "slow=1@4000",
    ] {
        collect_under(faults).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_when_a_call_hangs() {
    collect_under("hang=1@3").await;
}

#[tokio::test]
async fn nothing_is_lost_under_all_faults_together() {
    let state = tempfile::tempdir().unwrap();
    let fleet = fleet();
    let emulator = start(emulator::EmulatorSettings {
        faults: Faults::survivable(),
        ..emulator::EmulatorSettings::serving(fleet.clone())
    });
    let sink = TestSink::new();
    let outcome = run(settings(&emulator, state.path()), &sink).await;
    assert_all_sealed(&fleet, &sink, &outcome);
    assert_eq!(emulator.journal().all_violations(), []);
}

#[tokio::test]
async fn interrupted_download_resumes_with_the_same_link() {
    let (outcome, emulator) = collect_under("cut=each1").await;
    // 14 results; the empty one cannot be interrupted.
    assert_eq!(outcome.report.link_calls, 14);
    let sent = emulator.journal().bytes_sent();
    let sealed = outcome.report.bytes;
    assert!(sent < sealed + 600_000, "{sent} sent for {sealed}");
}

#[tokio::test]
async fn missing_result_becomes_a_gap_with_its_reason() {
    let state = tempfile::tempdir().unwrap();
    let id: ActionId = "5382f7ea-7557-4ab7-9782-d50480024a4e".parse().unwrap();
    let action = ScriptedAction::on("ws-001.contoso.example")
        .id(id)
        .comment("CASE-42")
        .status("Failed")
        .run_script("good.ps1", "", "fine")
        .command(ScriptedCommand::get_file("C:\\lost"))
        .command(
            ScriptedCommand::run_script("bad.ps1", "")
                .body("half a transcript")
                .failed("exit code 1"),
        )
        .command(ScriptedCommand::get_file("C:\\never").status("Created"));
    let emulator = start(emulator::EmulatorSettings::serving(
        EmulatedFleet::new().action(action),
    ));
    let sink = TestSink::new();
    let outcome = run(settings(&emulator, state.path()), &sink).await;
    assert!(outcome.failure.is_none(), "{}", outcome.text());
    assert_eq!(outcome.report.sealed, 2, "{}", outcome.text());
    let reasons: Vec<_> = sink
        .gaps()
        .iter()
        .map(|gap| (gap.key.index.0, gap.reason))
        .collect();
    assert_eq!(
        reasons,
        [(3, GapReason::NeverProduced), (1, GapReason::BlobMissing)]
    );
    let second = run(settings(&emulator, state.path()), &sink).await;
    assert_eq!(second.report.already_there, 2);
    assert_eq!(second.report.gaps, outcome.report.gaps);
    assert_eq!(sink.gaps().len(), 2, "a known gap is not recorded twice");
}

#[tokio::test]
async fn refused_link_is_a_gap_and_other_results_are_collected() {
    let state = tempfile::tempdir().unwrap();
    let emulator = start(emulator::EmulatorSettings {
        faults: Faults::parse("403=2").unwrap(),
        ..emulator::EmulatorSettings::serving(EmulatedFleet::transcripts(5, 100, 1))
    });
    let sink = TestSink::new();
    let outcome = run(settings(&emulator, state.path()), &sink).await;
    assert_eq!(outcome.report.sealed, 3);
    assert_eq!(outcome.report.gaps.get(&GapReason::Refused), Some(&2));
}

#[tokio::test]
async fn expiring_tokens_are_renewed_during_a_collection() {
    let state = tempfile::tempdir().unwrap();
    let emulator = start(emulator::EmulatorSettings {
        token_life: Duration::from_secs(40),
        ..emulator::EmulatorSettings::serving(EmulatedFleet::transcripts(150, 100, 1))
    });
    let sink = TestSink::new();
    let outcome = run(settings(&emulator, state.path()), &sink).await;
    assert_eq!(outcome.report.sealed, 150, "{}", outcome.text());
    assert!(emulator.journal().count(CallKind::SignIn) > 1);
}

/// Shortest time in which the rate limits allow so many calls, service time.
fn lower_bound(calls: u64) -> Duration {
    let before = calls - 1;
    Duration::from_secs(3_600 * (before / 1_500) + 60 * ((before % 1_500) / 100))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rate_limit_is_used_fully_and_never_exceeded() {
    // A loaded machine may be late once, but not on every attempt.
    for tries_left in (0..3).rev() {
        let (elapsed, bound) = collect_more_than_a_minute_allows().await;
        // For a debug build; a release build stays within 5 %.
        if elapsed < bound.mul_f64(1.25) {
            return;
        }
        assert!(tries_left > 0, "{elapsed:?} against {bound:?}");
    }
}

/// Returns the duration of the collection and its lower bound, service time.
async fn collect_more_than_a_minute_allows() -> (Duration, Duration) {
    let state = tempfile::tempdir().unwrap();
    let results = 330;
    let emulator = start(emulator::EmulatorSettings::serving(
        EmulatedFleet::transcripts(results, 200, 1),
    ));
    let sink = TestSink::new();
    // Stopped in the middle: the second collection must count the calls of the
    // first.
    let (stop, stopped) = watch::channel(false);
    let began = Instant::now();
    let first = tokio::spawn({
        let (settings, sink) = (settings(&emulator, state.path()), sink.clone());
        async move { run_until(settings, &sink, stopped).await }
    });
    while sink.sealed().len() < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    stop.send(true).unwrap();
    let first = first.await.unwrap();
    let second = run(settings(&emulator, state.path()), &sink).await;
    let elapsed = began.elapsed().mul_f64(SCALE);
    assert_eq!(sink.sealed().len(), results, "{}", second.text());
    assert_eq!(emulator.journal().all_violations(), []);
    let calls = first.report.link_calls + second.report.link_calls;
    assert!(calls <= results as u64 + 1, "{calls}");
    let bound = lower_bound(results as u64);
    println!("{elapsed:?} for {results} results, the bound is {bound:?}");
    assert!(second.report.waits > 0 && second.report.throttled == 0);
    (elapsed, bound)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lifted_limits_allow_hundreds_of_results_per_second() {
    let state = tempfile::tempdir().unwrap();
    let results = 1_000;
    let emulator = start(emulator::EmulatorSettings {
        limits: ServiceLimits::lifted(),
        ..emulator::EmulatorSettings::serving(EmulatedFleet::transcripts(results, 2_000, 1))
    });
    // Like a store that groups commits for 50 ms.
    let sink = TestSink::sealing_in(Duration::from_millis(50));
    let mut settings = settings(&emulator, state.path());
    settings.pace.limits_lifted = true;
    let outcome = run(settings, &sink).await;
    assert_eq!(outcome.report.sealed, results as u64, "{}", outcome.text());
    assert_eq!(emulator.journal().links_unused(), 0);
    let rate = results as u64 * 1_000 / outcome.report.duration_ms.max(1);
    println!("{rate} results/s");
    assert!(rate > 200, "{rate} results/s");
}

/// Takes long; run with `cargo test -- --ignored`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes an hour of service time"]
async fn hourly_limit_is_used_to_95_percent() {
    let state = tempfile::tempdir().unwrap();
    let results = 1_600;
    let emulator = start(emulator::EmulatorSettings::serving(
        EmulatedFleet::transcripts(results, 200, 1),
    ));
    let sink = TestSink::sealing_in(Duration::from_millis(20));
    let began = Instant::now();
    let outcome = run(settings(&emulator, state.path()), &sink).await;
    let elapsed = began.elapsed().mul_f64(SCALE);
    let bound = lower_bound(results as u64);
    println!("{elapsed:?} for {results} results, the bound is {bound:?}");
    assert_eq!(outcome.report.sealed, results as u64);
    assert_eq!(emulator.journal().all_violations(), []);
    assert!(
        elapsed < bound.mul_f64(1.05),
        "{elapsed:?} against {bound:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_collects_new_results_and_stops_on_request() {
    let state = tempfile::tempdir().unwrap();
    let emulator = Arc::new(start(emulator::EmulatorSettings::serving(
        EmulatedFleet::transcripts(2, 100, 1),
    )));
    let sink = TestSink::new();
    let mut settings = settings(&emulator, state.path());
    settings.watch = Some(Duration::from_secs(10));
    let (stop, stopped) = watch::channel(false);
    let watching = tokio::spawn({
        let sink = sink.clone();
        async move { run_until(settings, &sink, stopped).await }
    });
    let until = async |count| {
        while sink.sealed().len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), until(2))
        .await
        .unwrap();
    // The session is pending for two minutes and runs for some seconds.
    let live = ScriptedAction::on("ws-live.contoso.example")
        .created_after_start(Duration::ZERO)
        .progress(emulator::ActionProgress::default())
        .run_script("live.ps1", "", "alive");
    emulator.extend(EmulatedFleet::new().action(live));
    tokio::time::timeout(Duration::from_secs(8), until(3))
        .await
        .unwrap();
    stop.send(true).unwrap();
    let outcome = watching.await.unwrap();
    assert!(outcome.report.stopped && outcome.failure.is_none());
    assert_eq!((outcome.report.sealed, outcome.report.left), (3, 0));
    assert_eq!(emulator.journal().all_violations(), []);
    let states = sink
        .actions()
        .iter()
        .filter(|received| received.action.device.as_deref() == Some("ws-live.contoso.example"))
        .count();
    assert!(states > 1, "every state of an action is stored as received");
}

#[tokio::test]
async fn collection_continues_after_an_outage_of_the_service() {
    let state = tempfile::tempdir().unwrap();
    let fleet = EmulatedFleet::transcripts(150, 100, 1);
    let emulator = start(emulator::EmulatorSettings::serving(fleet.clone()));
    let (addr, origin) = (emulator.addr(), emulator.origin());
    let sink = TestSink::new();
    let running = tokio::spawn({
        let (settings, sink) = (settings(&emulator, state.path()), sink.clone());
        async move { run(settings, &sink).await }
    });
    while sink.sealed().is_empty() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    tokio::task::spawn_blocking(move || emulator.shutdown())
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    let back = start(emulator::EmulatorSettings {
        bind: addr,
        origin: Some(origin),
        ..emulator::EmulatorSettings::serving(fleet.clone())
    });
    let outcome = running.await.unwrap();
    assert_all_sealed(&fleet, &sink, &outcome);
    drop(back);
}
