//! Tests of parking and of sessions that wait for their devices.

use crate::fleet::schedule::tests::*;

#[test]
fn session_taken_up_while_parked_has_its_own_cancel_detail() {
    let mut schedule = schedule(1);
    let start = schedule.next_start(second(0)).unwrap();
    let created = StartResponse::Created(Box::new(action(&start, 1, "Pending")));
    schedule.handle_start_response(start.index, created, second(1));
    schedule.observe_action(&action(&start, 1, "Pending"), second(945));
    assert_eq!(schedule.due_cancellations(second(950)).len(), 1);
    let mut midway = action(&start, 1, "Cancelled");
    midway.commands[0].started = Some(Time::from_text("2026-02-04T12:00:00Z"));
    schedule.observe_action(&midway, second(960));
    let record = schedule.devices().next().unwrap();
    let DeviceState::Settled {
        outcome, detail, ..
    } = &record.state
    else {
        panic!("{record:?}");
    };
    assert_eq!(*outcome, Outcome::Cancelled);
    assert!(detail.contains("as it was parked"), "{detail}");
}

#[test]
fn observing_20_000_machines_with_2_000_parked_devices_takes_less_than_200_ms() {
    let mut schedule = schedule(2_000);
    for index in 1..=2_000 {
        let (since, last_seen) = (second(1), None);
        schedule.set_state(index, DeviceState::Parked { since, last_seen });
    }
    let machine = |n: usize| {
        let json =
            serde_json::json!({"id": format!("{n:040X}"), "lastSeen": "2026-02-04T12:00:00Z"});
        MachineInfo::from_value(&json).unwrap()
    };
    let machines: Vec<_> = (0..20_000).rev().map(machine).collect();
    let clock = Instant::now();
    schedule.observe_machines(&machines);
    assert!(clock.elapsed().as_millis() < 200, "{:?}", clock.elapsed());
    let seen = |d: &DeviceRecord| matches!(&d.state, DeviceState::Parked { last_seen, .. } if last_seen.is_some());
    assert_eq!(schedule.devices().filter(|d| seen(d)).count(), 2_000);
}

/// Nine devices, of which eight have Pending sessions. Two sessions may wait for
/// their devices.
fn eight_pending() -> (Schedule, Vec<SessionStart>) {
    let rules = FleetRules {
        parked_max: 2,
        ..FleetRules::default()
    };
    let mut schedule = schedule_of(9, rules);
    let next = |n| schedule.next_start(second(n)).unwrap();
    let starts: Vec<_> = [0; 8].map(next).into();
    for (start, n) in starts.iter().zip(0..) {
        let created = StartResponse::Created(Box::new(action(start, n, "Pending")));
        schedule.handle_start_response(start.index, created, second(n));
    }
    (schedule, starts)
}

#[test]
fn outdated_observation_parks_no_device() {
    let (mut schedule, starts) = eight_pending();
    list_all(&mut schedule, &starts, "Pending", 60);
    // An hour without network or in sleep.
    assert_eq!(schedule.due_cancellations(second(3_700)), []);
    list_all(&mut schedule, &starts[..4], "InProgress", 3_705);
    list_all(&mut schedule, &starts, "Pending", 3_705);
    let due = schedule.due_cancellations(second(3_706));
    assert_eq!(due.len(), 8, "shown as Pending for an hour");
    // The device takes the session up while the cancellation is delayed.
    let is_pending = |schedule: &Schedule, n: usize, at| {
        schedule.is_still_pending(due[n].index, due[n].action, second(at))
    };
    assert!(is_pending(&schedule, 0, 3_710) && !is_pending(&schedule, 0, 3_900));
    schedule.observe_action(&action(&starts[0], 0, "InProgress"), second(3_710));
    assert!(!is_pending(&schedule, 0, 3_711) && is_pending(&schedule, 1, 3_711));
}

#[test]
fn pending_device_is_parked_and_queued_again_when_seen() {
    let (mut schedule, starts) = eight_pending();
    list_all(&mut schedule, &starts, "Pending", 199);
    assert_eq!(schedule.due_cancellations(second(200)), []);
    list_all(&mut schedule, &starts, "Pending", 309);
    assert_eq!(
        schedule.due_cancellations(second(310)),
        [],
        "they may still be in the queue of the service"
    );
    let ninth = schedule.next_start(second(8)).unwrap();
    let created = StartResponse::Created(Box::new(action(&ninth, 8, "Pending")));
    schedule.handle_start_response(ninth.index, created, second(8));
    schedule.observe_action(&action(&ninth, 8, "InProgress"), second(309));
    let parked: Vec<_> = schedule
        .due_cancellations(second(310))
        .iter()
        .map(|c| c.index)
        .collect();
    assert_eq!(parked, [1, 2, 3, 4, 5, 6], "two of the eight may wait");
    assert_eq!(
        schedule.due_cancellations(second(320)),
        [],
        "already requested"
    );
    list_all(&mut schedule, &starts, "Pending", 909);
    let late: Vec<_> = schedule
        .due_cancellations(second(910))
        .iter()
        .map(|c| c.index)
        .collect();
    assert_eq!(late, (1..=8).collect::<Vec<_>>());
    schedule.observe_action(&action(&starts[7], 7, "Cancelled"), second(920));
    assert_eq!(schedule.parked_machines(), [starts[7].machine_id.as_str()]);
    let parked = action(&starts[7], 7, "Cancelled").id;
    assert!(schedule.was_parked(parked));
    let seen = |at: &str| {
        let json = serde_json::json!({"id": starts[7].machine_id, "lastSeen": at});
        [MachineInfo::from_value(&json).unwrap()]
    };
    schedule.observe_machines(&seen("2026-02-04T12:00:00Z"));
    schedule.observe_machines(&seen("2026-02-04T12:00:00Z"));
    assert_eq!(schedule.counts().away, 1);
    schedule.observe_machines(&seen("2026-02-04T15:00:00Z"));
    assert!(schedule.was_parked(parked), "while the device is queued");
    assert_eq!(schedule.next_start(second(930)).unwrap().index, 8);
    assert!(
        schedule.was_parked(parked),
        "while the next one is starting"
    );
}
