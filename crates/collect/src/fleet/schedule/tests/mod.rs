//! Tests of the schedule: single events here and in the submodules, whole runs
//! against a simulated service in `simulation`.

mod in_doubt;
mod parking;

use std::time::Instant;

use crate::fleet::FleetRules;
use crate::fleet::record::RunState;
use crate::fleet::schedule::simulation::{DeviceBehavior, ServiceFaults, Simulation, XorShift};
use crate::fleet::schedule::*;
use crate::fleet::{
    FleetPlan, LowerBound, MachineInfo, PlannedDevice, RunId, SessionStep, Workload,
};
use evidence::Action;

const PRESENT: DeviceBehavior = DeviceBehavior {
    away: (0, 0),
    likely_away: false,
    fails: false,
};

/// Devices of which some fail, some are away for hours and some for ever. Half
/// of the absent devices are planned as likely away.
fn mixed(random: &mut XorShift, devices: usize) -> Vec<DeviceBehavior> {
    let behavior = |_| {
        let away = match random.below(20) {
            0 => (random.below(3_000), u64::MAX),
            1 | 2 => (0, 3_600 + random.below(7_200)),
            _ => (0, 0),
        };
        // A device that leaves during the run might be done before.
        let away = if away.1 == u64::MAX {
            (0, u64::MAX)
        } else {
            away
        };
        DeviceBehavior {
            away,
            likely_away: away.1 > 0 && random.percent(50),
            fails: random.percent(10),
        }
    };
    (0..devices).map(behavior).collect()
}

fn faults(random: &mut XorShift) -> ServiceFaults {
    ServiceFaults {
        lost: random.below(15),
        throttled: random.below(10),
        invisible: random.below(121),
        omitted: random.below(20),
        ignored_cancels: random.below(50),
        foreign: (random.below(8), random.below(8)),
        kills: 0,
        kills_at_start: 0,
    }
}

/// Longer than any of these runs takes, including the time until devices that
/// are away are given up.
///
/// **Units**: seconds.
const LONG: u64 = 6 * 24 * 3_600;

#[test]
fn every_device_runs_once_within_the_limits_under_mixed_faults() {
    for seed in 1..=5 {
        let random = &mut XorShift::new(seed);
        let behaviors = mixed(random, 60);
        let mut simulation = Simulation::new(seed, behaviors, faults(random));
        simulation.run(LONG);
        simulation.assert_outcomes();
    }
}

#[test]
fn run_killed_at_random_times_has_the_same_outcomes() {
    let (mut kills, mut reposted) = (0, 0);
    for seed in 1..=8 {
        let random = &mut XorShift::new(seed ^ 0xBEEF);
        let behaviors = mixed(random, 60);
        let faults = ServiceFaults {
            kills: 40,
            kills_at_start: 10,
            ..faults(random)
        };
        let mut simulation = Simulation::new(seed, behaviors, faults);
        simulation.run(LONG);
        simulation.assert_outcomes();
        kills += simulation.kills;
        reposted += simulation.reposted;
    }
    assert!(kills > 40, "only {kills} kills");
    assert!(reposted > 8, "only {reposted} starts in doubt");
}

#[test]
fn run_of_2_000_devices_with_a_tenth_away_finishes_near_its_lower_bound() {
    let behaviors: Vec<_> = (0..2_000)
        .map(|n| DeviceBehavior {
            away: if n % 10 == 3 { (0, 12_600) } else { (0, 0) },
            likely_away: n % 20 == 3,
            ..PRESENT
        })
        .collect();
    let mut simulation = Simulation::new(1, behaviors, ServiceFaults::default());
    simulation.run(LONG);
    simulation.assert_outcomes();
    let reachable = simulation.behaviors.iter().zip(&simulation.done_at);
    let last = reachable
        .filter(|(n, _)| n.away.1 == 0)
        .map(|(_, at)| *at)
        .max();
    let (last, bound) = (last.unwrap(), simulation.lower_bound(2_000));
    println!("bound {bound} s, the last reachable device was done after {last} s");
    assert!(
        last as f64 <= bound as f64 * 1.03,
        "{last} s, bound {bound} s"
    );
}

#[test]
fn start_in_a_run_of_20_000_devices_takes_less_than_500_us() {
    let mut schedule = schedule(20_000);
    let clock = Instant::now();
    let mut started = 0;
    while started < 2_000 {
        let now = second(started * 6);
        let start = schedule.next_start(now).unwrap();
        schedule.observe_action(&action(&start, started, "Succeeded"), now);
        schedule.complete_list(None, now, now);
        started += 1;
    }
    let each = clock.elapsed() / 2_000;
    assert!(each.as_micros() < 500, "{each:?} a start");
}

fn schedule(devices: usize) -> Schedule {
    schedule_of(devices, FleetRules::default())
}

fn schedule_of(devices: usize, rules: FleetRules) -> Schedule {
    let state = state_of(devices, rules);
    let mut schedule = Schedule::new(&state.run, state.devices, Clock::new(1.0), second(0));
    schedule.complete_list(None, second(0), second(0));
    schedule
}

fn state_of(devices: usize, rules: FleetRules) -> RunState {
    let planned = |n| PlannedDevice {
        machine_id: format!("{n:040x}"),
        name: format!("ws-{n}.contoso.example"),
        steps: Vec::new(),
        likely_away: false,
        last_seen: None,
    };
    let plan = FleetPlan {
        id: RunId::from_bytes([1; 8]),
        comment: "c".into(),
        devices: (0..devices).map(planned).collect(),
        bound: LowerBound::new(Workload::default()),
        warnings: Vec::new(),
    };
    let created = Time::from_text("2026-02-04T12:00:00Z");
    RunState::new(plan, rules, "h".into(), created)
}

fn second(n: u64) -> WallTime {
    WallTime(n * 1_000_000)
}

fn action(start: &SessionStart, n: u64, status: &str) -> Action {
    let command = if status == "Succeeded" {
        "Completed"
    } else {
        "Created"
    };
    Action::from_value(
        &serde_json::json!({"id": format!("{n:032x}"), "status": status,
        "type": "LiveResponse", "machineId": start.machine_id,
        "requestorComment": start.body["Comment"],
        "commands": [{"commandStatus": command, "command": {"type": "GetFile"}}]}),
    )
    .unwrap()
}

#[test]
fn at_most_25_sessions_are_open_including_foreign_ones() {
    let mut schedule = schedule(40);
    for n in 0..5 {
        let other = serde_json::json!({"id": format!("f{n:031x}"), "status": "Pending",
            "type": "LiveResponse", "machineId": format!("{n:040x}")});
        schedule.observe_action(&Action::from_value(&other).unwrap(), second(0));
    }
    schedule.complete_list(None, second(0), second(0));
    let started: Vec<_> = std::iter::from_fn(|| schedule.next_start(second(1))).collect();
    assert_eq!(started.len(), 20);
    assert_eq!(started[0].index, 6, "devices with a foreign session wait");
    // The next list does not show the foreign sessions.
    schedule.complete_list(None, second(5), second(5));
    let more: Vec<_> = std::iter::from_fn(|| schedule.next_start(second(6))).collect();
    assert_eq!(more.len(), 5);
    assert_eq!(more[0].index, 1);
}

/// Starts a session that has a response but is not in any list.
fn start_unlisted(schedule: &mut Schedule, n: u64, at: u64) -> SessionStart {
    let start = schedule.next_start(second(at)).unwrap();
    let created = StartResponse::Created(Box::new(action(&start, n, "InProgress")));
    schedule.handle_start_response(start.index, created, second(at));
    start
}

/// Completes empty lists until `last`, and answers every request by id with
/// "not found". Returns the number of requests.
fn fail_session_checks(schedule: &mut Schedule, from: u64, last: u64) -> usize {
    let mut requests = 0;
    for n in (from..=last).step_by(5).map(second) {
        schedule.complete_list(None, n, n);
        for (index, _) in schedule.due_session_checks(n) {
            requests += 1;
            schedule.session_not_found(index, n);
        }
    }
    requests
}

#[test]
fn session_that_is_not_found_by_id_is_settled_in_doubt() {
    let mut schedule = schedule(1);
    let start = start_unlisted(&mut schedule, 9, 0);
    assert_eq!(fail_session_checks(&mut schedule, 5, 1_795), 10);
    assert_eq!(schedule.counts().open, 1, "it may have a session");
    fail_session_checks(&mut schedule, 1_800, 1_900);
    assert_eq!(schedule.outcomes()[&Outcome::InDoubt], 1);
    let notices = schedule.take_notices();
    assert!(notices[0].contains("does not find"), "{notices:?}");
    // It can be found in the list of its machine, now and after a resume.
    assert_eq!(schedule.due_reconcile_queries(second(2_600)).len(), 1);
    let records: Vec<_> = schedule.devices().cloned().collect();
    schedule.observe_action(&action(&start, 9, "Succeeded"), second(2_600));
    assert_eq!(schedule.outcomes()[&Outcome::Done], 1);
    let mut resumed = resume(records);
    resumed.observe_action(&action(&start, 9, "InProgress"), second(3_000));
    assert_eq!(resumed.counts().open, 1);
    resumed.observe_action(&action(&start, 9, "Succeeded"), second(3_100));
    assert_eq!(resumed.outcomes()[&Outcome::Done], 1);
}

#[test]
fn listed_session_resets_the_not_found_count() {
    let mut schedule = schedule(1);
    let start = start_unlisted(&mut schedule, 9, 0);
    fail_session_checks(&mut schedule, 5, 1_700);
    schedule.observe_action(&action(&start, 9, "InProgress"), second(1_705));
    assert_eq!(fail_session_checks(&mut schedule, 1_710, 2_300), 0);
    fail_session_checks(&mut schedule, 2_305, 3_500);
    assert_eq!(schedule.counts().open, 1);
}

#[test]
fn only_one_session_is_started_at_a_time_while_lists_omit_sessions() {
    let mut schedule = schedule(9);
    let starts: Vec<_> = (0..3)
        .map(|n| start_unlisted(&mut schedule, n, n))
        .collect();
    fail_session_checks(&mut schedule, 5, 595);
    assert!(
        schedule.can_start(second(599)),
        "new sessions are not listed at once"
    );
    fail_session_checks(&mut schedule, 600, 1_795);
    assert!(!schedule.can_start(second(1_796)));
    fail_session_checks(&mut schedule, 1_800, 1_950);
    assert_eq!(schedule.outcomes()[&Outcome::InDoubt], 3);
    let probe = start_unlisted(&mut schedule, 5, 1_951);
    assert!(!schedule.can_start(second(1_952)), "one at a time");
    schedule.observe_action(&action(&probe, 5, "Pending"), second(1_960));
    assert!(schedule.can_start(second(1_961)), "a list shows it");
    schedule.observe_action(&action(&starts[0], 0, "Succeeded"), second(1_970));
    assert_eq!(schedule.outcomes()[&Outcome::Done], 1);
}

fn resume(devices: Vec<DeviceRecord>) -> Schedule {
    let plan = FleetPlan {
        id: RunId::from_bytes([1; 8]),
        comment: "c".into(),
        devices: devices.iter().map(|d| d.planned.clone()).collect(),
        bound: LowerBound::new(Workload::default()),
        warnings: Vec::new(),
    };
    let created = Time::from_text("2026-02-04T12:00:00Z");
    let state = RunState::new(plan, FleetRules::default(), "h".into(), created);
    Schedule::new(&state.run, devices, Clock::new(1.0), second(0))
}

#[test]
fn session_pending_for_days_does_not_extend_the_list_window() {
    let stamp = |n: u64| Some(second(n).timestamp());
    let from = |schedule: &Schedule| schedule.list_since(std::iter::empty());
    let mut schedule = schedule(2);
    schedule.complete_list(stamp(1), second(1), second(1));
    let start = start_unlisted(&mut schedule, 9, 2);
    for n in (5..3_600).step_by(5) {
        schedule.observe_action(&action(&start, 9, "Pending"), second(n));
        schedule.complete_list(stamp(n), second(n), second(n));
        assert_eq!(from(&schedule), stamp(1));
    }
    let open = action(&start, 9, "Pending");
    for n in (3_605..90_000).step_by(600) {
        schedule.observe_action(&open, second(n));
        schedule.complete_list(stamp(n), second(n), second(n));
        assert_eq!(
            schedule.due_session_checks(second(n)),
            [],
            "it is listed as open"
        );
    }
    assert_eq!(from(&schedule), schedule.last_list_time);
    let created = [second(89_000).timestamp(), second(9).timestamp()];
    let since = schedule.list_since(created.into_iter());
    assert_eq!(since, stamp(89_000), "recent sessions are listed");
    // It is missing from a list: it is closed, and is requested by its id.
    schedule.complete_list(stamp(90_000), second(90_000), second(90_000));
    assert_eq!(
        schedule.due_session_checks(second(90_001)),
        [(start.index, open.id)]
    );
    // The first list of a resumed run includes it.
    let resumed = resume(schedule.devices().cloned().collect());
    assert_eq!(from(&resumed), stamp(1));
}

#[test]
fn throttling_below_25_sessions_is_noticed_and_lowers_the_limit() {
    let mut schedule = schedule(40);
    for n in 0..3 {
        let start = schedule.next_start(second(0)).unwrap();
        let created = StartResponse::Created(Box::new(action(&start, n, "InProgress")));
        schedule.handle_start_response(start.index, created, second(1));
    }
    let refused = schedule.next_start(second(2)).unwrap();
    schedule.handle_start_response(refused.index, StartResponse::Throttled, second(3));
    let notices = schedule.take_notices();
    assert!(notices[0].contains("3 sessions of this run"), "{notices:?}");
    assert!(!schedule.can_start(second(10)));
    let again = schedule.next_start(second(64)).unwrap();
    assert_eq!(
        again.body["Comment"], refused.body["Comment"],
        "the attempt was undone"
    );
}

/// Completes a list that shows all sessions with one status.
fn list_all(schedule: &mut Schedule, starts: &[SessionStart], status: &str, at: u64) {
    for (start, n) in starts.iter().zip(0..) {
        schedule.observe_action(&action(start, n, status), second(at));
    }
    schedule.complete_list(None, second(at), second(at));
}

#[test]
fn succeeded_session_without_commands_is_rechecked_then_failed() {
    let incomplete = |start: &SessionStart| {
        let mut action = action(start, 1, "Succeeded");
        action.commands.clear();
        action
    };
    let started = || {
        let mut state = state_of(1, FleetRules::default());
        let path = r"C:\evil.exe".into();
        state.devices[0].planned.steps = vec![SessionStep::Get { path }];
        let mut schedule = Schedule::new(&state.run, state.devices, Clock::new(1.0), second(0));
        schedule.complete_list(None, second(0), second(0));
        let start = schedule.next_start(second(0)).unwrap();
        let created = StartResponse::Created(Box::new(action(&start, 1, "Pending")));
        schedule.handle_start_response(start.index, created, second(1));
        schedule.observe_action(&incomplete(&start), second(10));
        assert_eq!(schedule.counts().open, 1);
        assert!(
            schedule.is_incomplete(incomplete(&start).id),
            "its results are not missing yet"
        );
        (schedule, start)
    };
    let (mut schedule, start) = started();
    schedule.observe_action(&action(&start, 1, "Succeeded"), second(15));
    assert!(!schedule.is_incomplete(incomplete(&start).id));
    assert_eq!(schedule.outcomes()[&Outcome::Done], 1);
    let (mut schedule, start) = started();
    schedule.observe_action(&incomplete(&start), second(131));
    assert_eq!(schedule.outcomes()[&Outcome::Failed], 1);
}

#[test]
fn sessions_are_not_unlisted_while_there_are_no_lists() {
    let mut schedule = schedule(9);
    let starts = [0, 1, 2].map(|n| start_unlisted(&mut schedule, n, 0));
    assert!(schedule.can_start(second(4_000)));
    list_all(&mut schedule, &starts, "InProgress", 4_001);
    assert!(schedule.can_start(second(4_002)));
    schedule.complete_list(None, second(4_700), second(4_700));
    assert!(!schedule.can_start(second(4_701)));
    assert!(schedule.take_notices()[0].contains("leave out"));
}

#[test]
fn cancelled_run_starts_nothing_and_cancels_open_sessions() {
    let mut schedule = schedule(3);
    let one = schedule.next_start(second(0)).unwrap();
    let two = schedule.next_start(second(0)).unwrap();
    let created = StartResponse::Created(Box::new(action(&one, 1, "InProgress")));
    schedule.handle_start_response(one.index, created, second(1));
    schedule.cancel_all(second(2));
    schedule.handle_start_response(two.index, StartResponse::Throttled, second(3));
    assert_eq!(schedule.outcomes()[&Outcome::Cancelled], 2);
    assert_eq!(schedule.due_cancellations(second(3)).len(), 1);
    schedule.observe_action(&action(&one, 1, "Cancelled"), second(5));
    assert!(schedule.is_over() && !schedule.can_start(second(6)));
}

#[test]
fn paused_run_starts_nothing_and_is_idle_without_open_sessions() {
    let mut schedule = schedule(2);
    let start = schedule.next_start(second(0)).unwrap();
    schedule.is_paused = true;
    assert!(!schedule.can_start(second(1)) && !schedule.is_idle());
    schedule.handle_start_response(
        start.index,
        StartResponse::Rejected("403".into()),
        second(2),
    );
    assert!(schedule.is_idle() && !schedule.is_over());
    schedule.is_paused = false;
    assert!(schedule.can_start(second(3)));
}
