//! Devices that are away, and their sessions.

use crate::fleet::schedule::tests::*;

#[test]
fn a_device_that_began_just_as_it_was_parked_is_told_from_a_persons_cancel() {
    let mut schedule = schedule(1);
    let start = schedule.next_start(second(0)).unwrap();
    let created = StartResponse::Created(Box::new(action(&start, 1, "Pending")));
    schedule.answered(start.place, created, second(1));
    schedule.saw(&action(&start, 1, "Pending"), second(945));
    assert_eq!(schedule.due_to_cancel(second(950)).len(), 1);
    let mut midway = action(&start, 1, "Cancelled");
    midway.commands[0].started = Some(Time::from_text("2026-02-04T12:00:00Z"));
    schedule.saw(&midway, second(960));
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
fn twenty_thousand_machines_are_looked_up_for_thousands_of_parked_devices_in_no_time() {
    let mut schedule = schedule(2_000);
    for place in 1..=2_000 {
        let (since, last_seen) = (second(1), None);
        schedule.set(place, DeviceState::Parked { since, last_seen });
    }
    let machine = |n: usize| {
        let json =
            serde_json::json!({"id": format!("{n:040X}"), "lastSeen": "2026-02-04T12:00:00Z"});
        MachineInfo::from_value(&json).unwrap()
    };
    let machines: Vec<_> = (0..20_000).rev().map(machine).collect();
    let begun = Instant::now();
    schedule.saw_machines(&machines);
    assert!(begun.elapsed().as_millis() < 200, "{:?}", begun.elapsed());
    let seen = |d: &DeviceRecord| matches!(&d.state, DeviceState::Parked { last_seen, .. } if last_seen.is_some());
    assert_eq!(schedule.devices().filter(|d| seen(d)).count(), 2_000);
}

/// Eight of nine devices have sessions that are Pending, of which two may be.
fn eight_that_wait() -> (Schedule, Vec<SessionStart>) {
    let rules = FleetRules {
        parked_max: 2,
        ..FleetRules::default()
    };
    let mut schedule = schedule_of(9, rules);
    let next = |n| schedule.next_start(second(n)).unwrap();
    let starts: Vec<_> = [0; 8].map(next).into();
    for (start, n) in starts.iter().zip(0..) {
        let created = StartResponse::Created(Box::new(action(start, n, "Pending")));
        schedule.answered(start.place, created, second(n));
    }
    (schedule, starts)
}

#[test]
fn old_news_parks_nobody() {
    let (mut schedule, starts) = eight_that_wait();
    show(&mut schedule, &starts, "Pending", 60);
    // An hour without network, or with the lid closed.
    assert_eq!(schedule.due_to_cancel(second(3_700)), []);
    show(&mut schedule, &starts[..4], "InProgress", 3_705);
    show(&mut schedule, &starts, "Pending", 3_705);
    let due = schedule.due_to_cancel(second(3_706));
    assert_eq!(due.len(), 8, "seen to wait for an hour");
    // The call waits for its budget or the host, the device comes meanwhile.
    let waits = |schedule: &Schedule, n: usize, at| {
        schedule.still_waits(due[n].place, due[n].action, second(at))
    };
    assert!(waits(&schedule, 0, 3_710) && !waits(&schedule, 0, 3_900));
    schedule.saw(&action(&starts[0], 0, "InProgress"), second(3_710));
    assert!(!waits(&schedule, 0, 3_711) && waits(&schedule, 1, 3_711));
}

#[test]
fn what_waits_for_its_device_is_parked_and_queued_when_it_is_seen() {
    let (mut schedule, starts) = eight_that_wait();
    show(&mut schedule, &starts, "Pending", 199);
    assert_eq!(schedule.due_to_cancel(second(200)), []);
    show(&mut schedule, &starts, "Pending", 309);
    assert_eq!(
        schedule.due_to_cancel(second(310)),
        [],
        "it may be the service that takes its time"
    );
    let ninth = schedule.next_start(second(8)).unwrap();
    let created = StartResponse::Created(Box::new(action(&ninth, 8, "Pending")));
    schedule.answered(ninth.place, created, second(8));
    schedule.saw(&action(&ninth, 8, "InProgress"), second(309));
    let many: Vec<_> = schedule
        .due_to_cancel(second(310))
        .iter()
        .map(|c| c.place)
        .collect();
    assert_eq!(many, [1, 2, 3, 4, 5, 6], "two of the eight may wait");
    assert_eq!(schedule.due_to_cancel(second(320)), [], "asked for already");
    show(&mut schedule, &starts, "Pending", 909);
    let late: Vec<_> = schedule
        .due_to_cancel(second(910))
        .iter()
        .map(|c| c.place)
        .collect();
    assert_eq!(late, (1..=8).collect::<Vec<_>>());
    schedule.saw(&action(&starts[7], 7, "Cancelled"), second(920));
    assert_eq!(schedule.parked(), [starts[7].machine_id.as_str()]);
    let parked = action(&starts[7], 7, "Cancelled").id;
    assert!(schedule.is_parked(parked));
    let seen = |at: &str| {
        let json = serde_json::json!({"id": starts[7].machine_id, "lastSeen": at});
        [MachineInfo::from_value(&json).unwrap()]
    };
    schedule.saw_machines(&seen("2026-02-04T12:00:00Z"));
    schedule.saw_machines(&seen("2026-02-04T12:00:00Z"));
    assert_eq!(schedule.counts().away, 1);
    schedule.saw_machines(&seen("2026-02-04T15:00:00Z"));
    assert!(schedule.is_parked(parked), "while it waits for its turn");
    assert_eq!(schedule.next_start(second(930)).unwrap().place, 8);
    assert!(schedule.is_parked(parked), "while another is on its way");
}
