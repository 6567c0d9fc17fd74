mod in_doubt;
mod parking;

use std::time::Instant;

use crate::fleet::record::RunState;
use crate::fleet::schedule::simulation::{Faults, Nature, Random, World};
use crate::fleet::schedule::*;
use crate::fleet::{
    FleetPlan, LowerBound, MachineInfo, PlannedDevice, RunId, SessionStep, Workload,
};
use evidence::Action;

const PRESENT: Nature = Nature {
    away: (0, 0),
    looks_away: false,
    fails: false,
};

/// Some devices fail, some are away for hours, some for good; some of those
/// look it.
fn mixed(random: &mut Random, devices: usize) -> Vec<Nature> {
    let nature = |_| {
        let away = match random.below(20) {
            0 => (random.below(3_000), u64::MAX),
            1 | 2 => (0, 3_600 + random.below(7_200)),
            _ => (0, 0),
        };
        // Who leaves in mid-run might be done before.
        let away = if away.1 == u64::MAX {
            (0, u64::MAX)
        } else {
            away
        };
        Nature {
            away,
            looks_away: away.1 > 0 && random.percent(50),
            fails: random.percent(10),
        }
    };
    (0..devices).map(nature).collect()
}

fn faults(random: &mut Random) -> Faults {
    Faults {
        lost: random.below(15),
        throttled: random.below(10),
        invisible: random.below(121),
        left_out: random.below(20),
        deaf: random.below(50),
        others: (random.below(8), random.below(8)),
        kills: 0,
        kills_at_start: 0,
    }
}

/// Far beyond what any of these runs should take, away ones given up.
const LONG: u64 = 6 * 24 * 3_600;

#[test]
fn under_any_mix_of_faults_every_device_is_worked_on_once_and_no_limit_is_passed() {
    for seed in 1..=5 {
        let random = &mut Random::new(seed);
        let natures = mixed(random, 60);
        let mut world = World::new(seed, natures, faults(random));
        world.play(LONG);
        world.assert_ends();
    }
}

#[test]
fn killed_at_random_moments_a_run_comes_to_the_same_end() {
    let (mut kills, mut reposted) = (0, 0);
    for seed in 1..=8 {
        let random = &mut Random::new(seed ^ 0xBEEF);
        let natures = mixed(random, 60);
        let faults = Faults {
            kills: 40,
            kills_at_start: 10,
            ..faults(random)
        };
        let mut world = World::new(seed, natures, faults);
        world.play(LONG);
        world.assert_ends();
        kills += world.kills;
        reposted += world.reposted;
    }
    assert!(kills > 40, "{kills} kills prove little");
    assert!(reposted > 8, "{reposted} starts in doubt prove little");
}

#[test]
fn two_thousand_devices_with_a_tenth_away_end_near_their_bound() {
    let natures: Vec<_> = (0..2_000)
        .map(|n| Nature {
            away: if n % 10 == 3 { (0, 12_600) } else { (0, 0) },
            looks_away: n % 20 == 3,
            ..PRESENT
        })
        .collect();
    let mut world = World::new(1, natures, Faults::default());
    world.play(LONG);
    world.assert_ends();
    let reachable = world.natures.iter().zip(&world.done_at);
    let last = reachable
        .filter(|(n, _)| n.away.1 == 0)
        .map(|(_, at)| *at)
        .max();
    let (last, bound) = (last.unwrap(), world.bound(2_000));
    println!("bound {bound} s, the last reachable device was done after {last} s");
    assert!(
        last as f64 <= bound as f64 * 1.03,
        "{last} s, bound {bound} s"
    );
}

#[test]
fn twenty_thousand_devices_are_scheduled_in_no_time() {
    let mut schedule = schedule(20_000);
    let begun = Instant::now();
    let mut started = 0;
    while started < 2_000 {
        let now = second(started * 6);
        let start = schedule.next_start(now).unwrap();
        schedule.saw(&action(&start, started, "Succeeded"), now);
        schedule.listed(None, now, now);
        started += 1;
    }
    let each = begun.elapsed() / 2_000;
    assert!(each.as_micros() < 500, "{each:?} a start");
}

fn schedule(devices: usize) -> Schedule {
    schedule_of(devices, FleetRules::default())
}

fn schedule_of(devices: usize, rules: FleetRules) -> Schedule {
    let state = state_of(devices, rules);
    let mut schedule = Schedule::new(&state.run, state.devices, Clock::new(1.0), second(0));
    schedule.listed(None, second(0), second(0));
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
fn no_more_than_twenty_five_sessions_those_of_others_counted() {
    let mut schedule = schedule(40);
    for n in 0..5 {
        let other = serde_json::json!({"id": format!("f{n:031x}"), "status": "Pending",
            "type": "LiveResponse", "machineId": format!("{n:040x}")});
        schedule.saw(&Action::from_value(&other).unwrap(), second(0));
    }
    schedule.listed(None, second(0), second(0));
    let started: Vec<_> = std::iter::from_fn(|| schedule.next_start(second(1))).collect();
    assert_eq!(started.len(), 20);
    assert_eq!(started[0].place, 6, "devices that others hold wait");
    // The next list shows them no more.
    schedule.listed(None, second(5), second(5));
    let more: Vec<_> = std::iter::from_fn(|| schedule.next_start(second(6))).collect();
    assert_eq!(more.len(), 5);
    assert_eq!(more[0].place, 1);
}

/// Starts a session that is answered and never listed.
fn start_unlisted(schedule: &mut Schedule, n: u64, at: u64) -> SessionStart {
    let start = schedule.next_start(second(at)).unwrap();
    let created = StartResponse::Created(Box::new(action(&start, n, "InProgress")));
    schedule.answered(start.place, created, second(at));
    start
}

/// Lists that show nothing, and looks by id that find nothing, until `last`.
fn ask_in_vain(schedule: &mut Schedule, from: u64, last: u64) -> usize {
    let mut looks = 0;
    for n in (from..=last).step_by(5).map(second) {
        schedule.listed(None, n, n);
        for (place, _) in schedule.take_unseen(n) {
            looks += 1;
            schedule.unknown(place, n);
        }
    }
    looks
}

#[test]
fn a_session_the_service_does_not_know_is_looked_for_until_a_person_decides() {
    let mut schedule = schedule(1);
    let start = start_unlisted(&mut schedule, 9, 0);
    assert_eq!(ask_in_vain(&mut schedule, 5, 1_795), 10);
    assert_eq!(schedule.counts().open, 1, "it may hold a session");
    ask_in_vain(&mut schedule, 1_800, 1_900);
    assert_eq!(schedule.outcomes()[&Outcome::InDoubt], 1);
    let notices = schedule.take_notices();
    assert!(notices[0].contains("does not show"), "{notices:?}");
    // Its machine's own list is looked at, now and after a resume.
    assert_eq!(schedule.due_to_look(second(2_600)).len(), 1);
    let records: Vec<_> = schedule.devices().cloned().collect();
    schedule.saw(&action(&start, 9, "Succeeded"), second(2_600));
    assert_eq!(schedule.outcomes()[&Outcome::Done], 1);
    let mut resumed = resume(records);
    resumed.saw(&action(&start, 9, "InProgress"), second(3_000));
    assert_eq!(resumed.counts().open, 1);
    resumed.saw(&action(&start, 9, "Succeeded"), second(3_100));
    assert_eq!(resumed.outcomes()[&Outcome::Done], 1);
}

#[test]
fn a_session_that_shows_again_is_not_given_up_for_what_was_before() {
    let mut schedule = schedule(1);
    let start = start_unlisted(&mut schedule, 9, 0);
    ask_in_vain(&mut schedule, 5, 1_700);
    schedule.saw(&action(&start, 9, "InProgress"), second(1_705));
    assert_eq!(ask_in_vain(&mut schedule, 1_710, 2_300), 0);
    ask_in_vain(&mut schedule, 2_305, 3_500);
    assert_eq!(schedule.counts().open, 1);
}

#[test]
fn while_lists_show_no_session_no_more_than_one_at_a_time_is_tried() {
    let mut schedule = schedule(9);
    let starts: Vec<_> = (0..3)
        .map(|n| start_unlisted(&mut schedule, n, n))
        .collect();
    ask_in_vain(&mut schedule, 5, 595);
    assert!(
        schedule.could_start(second(599)),
        "a fresh one is not listed"
    );
    ask_in_vain(&mut schedule, 600, 1_795);
    assert!(!schedule.could_start(second(1_796)));
    ask_in_vain(&mut schedule, 1_800, 1_950);
    assert_eq!(schedule.outcomes()[&Outcome::InDoubt], 3);
    let probe = start_unlisted(&mut schedule, 5, 1_951);
    assert!(!schedule.could_start(second(1_952)), "one is enough");
    schedule.saw(&action(&probe, 5, "Pending"), second(1_960));
    assert!(schedule.could_start(second(1_961)), "lists show it");
    schedule.saw(&action(&starts[0], 0, "Succeeded"), second(1_970));
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
fn a_session_that_waits_for_days_does_not_make_lists_reach_back_for_days() {
    let stamp = |n: u64| Some(second(n).timestamp());
    let from = |schedule: &Schedule| schedule.look_from(std::iter::empty());
    let mut schedule = schedule(2);
    schedule.listed(stamp(1), second(1), second(1));
    let start = start_unlisted(&mut schedule, 9, 2);
    for n in (5..3_600).step_by(5) {
        schedule.saw(&action(&start, 9, "Pending"), second(n));
        schedule.listed(stamp(n), second(n), second(n));
        assert_eq!(from(&schedule), stamp(1));
    }
    let open = action(&start, 9, "Pending");
    for n in (3_605..90_000).step_by(600) {
        schedule.saw(&open, second(n));
        schedule.listed(stamp(n), second(n), second(n));
        assert_eq!(schedule.take_unseen(second(n)), [], "it is listed, open");
    }
    assert_eq!(from(&schedule), schedule.listed_at);
    let known = [second(89_000).timestamp(), second(9).timestamp()];
    let since = schedule.look_from(known.into_iter());
    assert_eq!(since, stamp(89_000), "a young one is reached back to");
    // A list leaves it out: it is over, and its id tells how.
    schedule.listed(stamp(90_000), second(90_000), second(90_000));
    assert_eq!(
        schedule.take_unseen(second(90_001)),
        [(start.place, open.id)]
    );
    // A resumed run begins with a list that reaches back to it.
    let resumed = resume(schedule.devices().cloned().collect());
    assert_eq!(from(&resumed), stamp(1));
}

#[test]
fn a_refusal_below_twenty_five_is_said_and_adapted_to() {
    let mut schedule = schedule(40);
    for n in 0..3 {
        let start = schedule.next_start(second(0)).unwrap();
        let created = StartResponse::Created(Box::new(action(&start, n, "InProgress")));
        schedule.answered(start.place, created, second(1));
    }
    let refused = schedule.next_start(second(2)).unwrap();
    schedule.answered(refused.place, StartResponse::Throttled, second(3));
    let notices = schedule.take_notices();
    assert!(notices[0].contains("3 of our sessions"), "{notices:?}");
    assert!(!schedule.could_start(second(10)));
    let again = schedule.next_start(second(64)).unwrap();
    assert_eq!(
        again.body["Comment"], refused.body["Comment"],
        "it never happened"
    );
}

/// A list at a moment, all sessions of one status.
fn show(schedule: &mut Schedule, starts: &[SessionStart], status: &str, at: u64) {
    for (start, n) in starts.iter().zip(0..) {
        schedule.saw(&action(start, n, status), second(at));
    }
    schedule.listed(None, second(at), second(at));
}

#[test]
fn what_succeeded_without_its_commands_is_looked_at_again_and_then_no_success() {
    let half = |start: &SessionStart| {
        let mut half = action(start, 1, "Succeeded");
        half.commands.clear();
        half
    };
    let started = || {
        let mut state = state_of(1, FleetRules::default());
        let path = r"C:\evil.exe".into();
        state.devices[0].planned.steps = vec![SessionStep::Get { path }];
        let mut schedule = Schedule::new(&state.run, state.devices, Clock::new(1.0), second(0));
        schedule.listed(None, second(0), second(0));
        let start = schedule.next_start(second(0)).unwrap();
        let created = StartResponse::Created(Box::new(action(&start, 1, "Pending")));
        schedule.answered(start.place, created, second(1));
        schedule.saw(&half(&start), second(10));
        assert_eq!(schedule.counts().open, 1);
        assert!(
            schedule.is_shown_by_half(half(&start).id),
            "not missing yet"
        );
        (schedule, start)
    };
    let (mut schedule, start) = started();
    schedule.saw(&action(&start, 1, "Succeeded"), second(15));
    assert!(!schedule.is_shown_by_half(half(&start).id));
    assert_eq!(schedule.outcomes()[&Outcome::Done], 1);
    let (mut schedule, start) = started();
    schedule.saw(&half(&start), second(131));
    assert_eq!(schedule.outcomes()[&Outcome::Failed], 1);
}

#[test]
fn without_lists_nothing_is_said_to_be_left_out_of_them() {
    let mut schedule = schedule(9);
    let starts = [0, 1, 2].map(|n| start_unlisted(&mut schedule, n, 0));
    assert!(schedule.could_start(second(4_000)));
    show(&mut schedule, &starts, "InProgress", 4_001);
    assert!(schedule.could_start(second(4_002)));
    schedule.listed(None, second(4_700), second(4_700));
    assert!(!schedule.could_start(second(4_701)));
    assert!(schedule.take_notices()[0].contains("leave out"));
}

#[test]
fn a_cancelled_run_starts_nothing_and_cancels_what_is_open() {
    let mut schedule = schedule(3);
    let one = schedule.next_start(second(0)).unwrap();
    let two = schedule.next_start(second(0)).unwrap();
    let created = StartResponse::Created(Box::new(action(&one, 1, "InProgress")));
    schedule.answered(one.place, created, second(1));
    schedule.cancel_all(second(2));
    schedule.answered(two.place, StartResponse::Throttled, second(3));
    assert_eq!(schedule.outcomes()[&Outcome::Cancelled], 2);
    assert_eq!(schedule.due_to_cancel(second(3)).len(), 1);
    schedule.saw(&action(&one, 1, "Cancelled"), second(5));
    assert!(schedule.is_over() && !schedule.could_start(second(6)));
}

#[test]
fn a_paused_run_starts_nothing_and_is_at_rest_once_nothing_is_open() {
    let mut schedule = schedule(2);
    let start = schedule.next_start(second(0)).unwrap();
    schedule.is_paused = true;
    assert!(!schedule.could_start(second(1)) && !schedule.is_at_rest());
    schedule.answered(
        start.place,
        StartResponse::Rejected("403".into()),
        second(2),
    );
    assert!(schedule.is_at_rest() && !schedule.is_over());
    schedule.is_paused = false;
    assert!(schedule.could_start(second(3)));
}
