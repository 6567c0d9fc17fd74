//! Starts whose answers were lost, or that came about after all.

use crate::fleet::schedule::tests::*;

#[test]
fn a_lost_answer_is_looked_for_and_found_by_its_mark() {
    let mut schedule = schedule(1);
    let start = schedule.next_start(second(0)).unwrap();
    schedule.answered(start.place, StartResponse::Missing, second(120));
    for n in 0..400 {
        assert!(!schedule.could_start(second(125 + n)), "posted again");
    }
    schedule.saw(&action(&start, 9, "InProgress"), second(130));
    let record = schedule.devices().next().unwrap();
    assert!(matches!(record.state, DeviceState::Open { .. }));
    schedule.saw(&action(&start, 9, "Succeeded"), second(135));
    assert!(schedule.is_over());
    assert_eq!(schedule.outcomes()[&Outcome::Done], 1);
}

/// Lists and the machine's own list until `last`, none of which shows a thing.
fn look_in_vain(schedule: &mut Schedule, from: u64, last: u64) -> usize {
    let mut looks = 0;
    for n in (from..=last).step_by(5).map(second) {
        schedule.listed(None, n, n);
        for look in schedule.due_to_look(n) {
            looks += 1;
            schedule.looked(look.place, n, n);
        }
        assert!(!schedule.could_start(n), "posted again");
    }
    looks
}

#[test]
fn a_start_no_list_shows_is_unresolved_and_never_posted_again_by_itself() {
    let mut schedule = schedule(1);
    let start = schedule.next_start(second(0)).unwrap();
    schedule.answered(start.place, StartResponse::Missing, second(120));
    let looks = look_in_vain(&mut schedule, 125, 715);
    assert!((4..=6).contains(&looks), "{looks} looks at the machine");
    assert_eq!(schedule.counts().open, 1, "it may hold a session");
    look_in_vain(&mut schedule, 720, 900);
    assert_eq!(schedule.outcomes()[&Outcome::InDoubt], 1);
    assert!(schedule.is_over());
    let notices = schedule.take_notices();
    assert!(notices[0].contains("--repost-lost"), "{notices:?}");
    // It shows up after all, as long as somebody looks.
    schedule.saw(&action(&start, 9, "Pending"), second(1_000));
    assert_eq!(schedule.counts().open, 1);
    schedule.saw(&action(&start, 9, "Succeeded"), second(1_010));
    assert_eq!(schedule.outcomes()[&Outcome::Done], 1);
}

#[test]
fn a_person_has_what_is_unresolved_started_again_after_one_more_look() {
    let mut schedule = schedule(2);
    let start = schedule.next_start(second(0)).unwrap();
    schedule.answered(start.place, StartResponse::Missing, second(120));
    let other = schedule.next_start(second(130)).unwrap();
    let created = StartResponse::Created(Box::new(action(&other, 7, "InProgress")));
    schedule.answered(other.place, created, second(131));
    look_in_vain(&mut schedule, 135, 900);
    assert_eq!(schedule.outcomes()[&Outcome::InDoubt], 1);
    assert_eq!(schedule.repost_lost(), 1, "the other is not in doubt");
    for n in [901, 902, 903].map(second) {
        assert!(schedule.due_to_look(n).is_empty(), "lists come first");
        schedule.listed(None, n, n);
    }
    let look = schedule.due_to_look(second(904)).remove(0);
    schedule.looked(look.place, second(904), second(904));
    let again = schedule.next_start(second(905)).unwrap();
    assert_eq!(again.place, start.place);
    assert_ne!(again.body["Comment"], start.body["Comment"]);
    // The first one shows up now: said, and the later stays the current one.
    let created = StartResponse::Created(Box::new(action(&again, 8, "Pending")));
    schedule.answered(again.place, created, second(906));
    schedule.saw(&action(&start, 9, "Pending"), second(910));
    let notices = schedule.take_notices();
    assert!(notices.last().unwrap().contains("after all"), "{notices:?}");
    schedule.saw(&action(&again, 8, "Succeeded"), second(930));
    schedule.saw(&action(&other, 7, "Succeeded"), second(930));
    assert!(schedule.is_over());
}

#[test]
fn a_session_given_up_and_there_after_all_takes_a_place_until_it_is_over() {
    let mut schedule = schedule(40);
    let first = schedule.next_start(second(0)).unwrap();
    schedule.answered(first.place, StartResponse::Missing, second(120));
    schedule.repost_lost();
    for n in [125, 130, 135, 725].map(second) {
        schedule.listed(None, n, n);
    }
    schedule.due_to_look(second(726));
    schedule.looked(first.place, second(726), second(726));
    start_unlisted(&mut schedule, 8, 730);
    let list = |schedule: &mut Schedule, status, at| {
        schedule.saw(&action(&first, 9, status), at);
        schedule.listed(None, at, at);
        schedule.sessions_open()
    };
    assert_eq!(list(&mut schedule, "Pending", second(735)), 2);
    let more = std::iter::from_fn(|| schedule.next_start(second(740))).count();
    assert_eq!(more, 23);
    assert_eq!(list(&mut schedule, "Succeeded", second(745)), 24);
}

#[test]
fn that_a_person_wants_it_started_again_outlives_a_kill() {
    let mut before = schedule(1);
    let start = before.next_start(second(0)).unwrap();
    before.answered(start.place, StartResponse::Missing, second(120));
    look_in_vain(&mut before, 135, 900);
    before.take_changed();
    assert_eq!(before.repost_lost(), 1);
    let kept = crate::fleet::record::to_value(&before.take_changed()[0].1);
    let kept = vec![serde_json::from_value(kept).unwrap()];
    let run = state_of(1, FleetRules::default()).run;
    let mut after = Schedule::new(&run, kept, Clock::new(1.0), second(900));
    for n in [901, 902, 903].map(second) {
        after.listed(None, n, n);
    }
    let look = after.due_to_look(second(904)).remove(0);
    after.looked(look.place, second(904), second(904));
    assert!(after.next_start(second(905)).is_some());
}

#[test]
fn answers_lost_one_after_the_other_hold_the_next_start_back() {
    let mut schedule = schedule(9);
    let together = [0, 0].map(|n| schedule.next_start(second(n)).unwrap());
    for start in together {
        schedule.answered(start.place, StartResponse::Missing, second(120));
    }
    let next = schedule.next_start(second(121)).unwrap();
    schedule.answered(next.place, StartResponse::Missing, second(122));
    assert!(!schedule.could_start(second(180)));
    let next = schedule.next_start(second(183)).unwrap();
    schedule.answered(next.place, StartResponse::Missing, second(184));
    assert!(!schedule.could_start(second(300)), "twice as long");
    let next = schedule.next_start(second(305)).unwrap();
    let created = StartResponse::Created(Box::new(action(&next, 1, "InProgress")));
    schedule.answered(next.place, created, second(306));
    assert!(schedule.could_start(second(307)), "over");
}

#[test]
fn a_start_taken_back_that_came_about_is_known_by_its_mark() {
    for answer in [
        StartResponse::NotSent,
        StartResponse::Rejected("status 404, Odd".into()),
    ] {
        let mut schedule = schedule(1);
        let start = schedule.next_start(second(0)).unwrap();
        schedule.answered(start.place, answer, second(1));
        schedule.saw(&action(&start, 1, "Pending"), second(5));
        assert_eq!(schedule.counts().open, 1);
        assert!(!schedule.could_start(second(6)), "started twice");
        schedule.saw(&action(&start, 1, "Succeeded"), second(9));
        assert_eq!(schedule.outcomes()[&Outcome::Done], 1);
    }
}

#[test]
fn of_a_cancelled_run_nothing_in_doubt_is_started_again() {
    let mut schedule = schedule(1);
    let start = schedule.next_start(second(0)).unwrap();
    schedule.answered(start.place, StartResponse::Missing, second(120));
    schedule.cancel_all(second(121));
    assert_eq!(schedule.repost_lost(), 0);
    look_in_vain(&mut schedule, 125, 900);
    let notices = schedule.take_notices();
    assert!(
        !notices.iter().any(|n| n.contains("starts it again")),
        "{notices:?}"
    );
}
