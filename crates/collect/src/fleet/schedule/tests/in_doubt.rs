//! Tests of starts in doubt.

use crate::fleet::schedule::tests::*;

#[test]
fn session_in_doubt_is_found_by_its_mark() {
    let mut schedule = schedule(1);
    let start = schedule.next_start(second(0)).unwrap();
    schedule.handle_start_response(start.index, StartResponse::Missing, second(120));
    for n in 0..400 {
        assert!(!schedule.can_start(second(125 + n)), "started again");
    }
    schedule.observe_action(&action(&start, 9, "InProgress"), second(130));
    let record = schedule.devices().next().unwrap();
    assert!(matches!(record.state, DeviceState::Open { .. }));
    schedule.observe_action(&action(&start, 9, "Succeeded"), second(135));
    assert!(schedule.is_over());
    assert_eq!(schedule.outcomes()[&Outcome::Done], 1);
}

/// Completes empty lists, and empty lists of the machine, until `last`. Returns
/// the number of lists of the machine.
fn fail_reconcile_queries(schedule: &mut Schedule, from: u64, last: u64) -> usize {
    let mut queries = 0;
    for n in (from..=last).step_by(5).map(second) {
        schedule.complete_list(None, n, n);
        for query in schedule.due_reconcile_queries(n) {
            queries += 1;
            schedule.complete_reconcile_query(query.index, n, n);
        }
        assert!(!schedule.can_start(n), "started again");
    }
    queries
}

#[test]
fn unlisted_start_is_settled_in_doubt_and_not_repeated() {
    let mut schedule = schedule(1);
    let start = schedule.next_start(second(0)).unwrap();
    schedule.handle_start_response(start.index, StartResponse::Missing, second(120));
    let queries = fail_reconcile_queries(&mut schedule, 125, 715);
    assert!((4..=6).contains(&queries), "{queries} queries");
    assert_eq!(schedule.counts().open, 1, "it may have a session");
    fail_reconcile_queries(&mut schedule, 720, 900);
    assert_eq!(schedule.outcomes()[&Outcome::InDoubt], 1);
    assert!(schedule.is_over());
    let notices = schedule.take_notices();
    assert!(notices[0].contains("--repost-lost"), "{notices:?}");
    // It is found later, while the run continues.
    schedule.observe_action(&action(&start, 9, "Pending"), second(1_000));
    assert_eq!(schedule.counts().open, 1);
    schedule.observe_action(&action(&start, 9, "Succeeded"), second(1_010));
    assert_eq!(schedule.outcomes()[&Outcome::Done], 1);
}

#[test]
fn ordered_repost_starts_the_session_again_after_one_more_query() {
    let mut schedule = schedule(2);
    let start = schedule.next_start(second(0)).unwrap();
    schedule.handle_start_response(start.index, StartResponse::Missing, second(120));
    let other = schedule.next_start(second(130)).unwrap();
    let created = StartResponse::Created(Box::new(action(&other, 7, "InProgress")));
    schedule.handle_start_response(other.index, created, second(131));
    fail_reconcile_queries(&mut schedule, 135, 900);
    assert_eq!(schedule.outcomes()[&Outcome::InDoubt], 1);
    assert_eq!(schedule.order_repost(), 1, "the other is not in doubt");
    for n in [901, 902, 903].map(second) {
        assert!(
            schedule.due_reconcile_queries(n).is_empty(),
            "complete lists come first"
        );
        schedule.complete_list(None, n, n);
    }
    let query = schedule.due_reconcile_queries(second(904)).remove(0);
    schedule.complete_reconcile_query(query.index, second(904), second(904));
    let again = schedule.next_start(second(905)).unwrap();
    assert_eq!(again.index, start.index);
    assert_ne!(again.body["Comment"], start.body["Comment"]);
    // The first session is found now; the second remains the current one.
    let created = StartResponse::Created(Box::new(action(&again, 8, "Pending")));
    schedule.handle_start_response(again.index, created, second(906));
    schedule.observe_action(&action(&start, 9, "Pending"), second(910));
    let notices = schedule.take_notices();
    assert!(notices.last().unwrap().contains("after all"), "{notices:?}");
    schedule.observe_action(&action(&again, 8, "Succeeded"), second(930));
    schedule.observe_action(&action(&other, 7, "Succeeded"), second(930));
    assert!(schedule.is_over());
}

#[test]
fn abandoned_session_counts_towards_the_limit_until_it_is_final() {
    let mut schedule = schedule(40);
    let first = schedule.next_start(second(0)).unwrap();
    schedule.handle_start_response(first.index, StartResponse::Missing, second(120));
    schedule.order_repost();
    for n in [125, 130, 135, 725].map(second) {
        schedule.complete_list(None, n, n);
    }
    schedule.due_reconcile_queries(second(726));
    schedule.complete_reconcile_query(first.index, second(726), second(726));
    start_unlisted(&mut schedule, 8, 730);
    let list = |schedule: &mut Schedule, status, at| {
        schedule.observe_action(&action(&first, 9, status), at);
        schedule.complete_list(None, at, at);
        schedule.open_sessions()
    };
    assert_eq!(list(&mut schedule, "Pending", second(735)), 2);
    let more = std::iter::from_fn(|| schedule.next_start(second(740))).count();
    assert_eq!(more, 23);
    assert_eq!(list(&mut schedule, "Succeeded", second(745)), 24);
}

#[test]
fn repost_order_survives_a_kill() {
    let mut before = schedule(1);
    let start = before.next_start(second(0)).unwrap();
    before.handle_start_response(start.index, StartResponse::Missing, second(120));
    fail_reconcile_queries(&mut before, 135, 900);
    before.take_changed();
    assert_eq!(before.order_repost(), 1);
    let entry = crate::fleet::record::to_value(&before.take_changed()[0].1);
    let records = vec![serde_json::from_value(entry).unwrap()];
    let run = state_of(1, FleetRules::default()).run;
    let mut after = Schedule::new(&run, records, Clock::new(1.0), second(900));
    for n in [901, 902, 903].map(second) {
        after.complete_list(None, n, n);
    }
    let query = after.due_reconcile_queries(second(904)).remove(0);
    after.complete_reconcile_query(query.index, second(904), second(904));
    assert!(after.next_start(second(905)).is_some());
}

#[test]
fn responses_lost_in_a_row_delay_the_next_start() {
    let mut schedule = schedule(9);
    let together = [0, 0].map(|n| schedule.next_start(second(n)).unwrap());
    for start in together {
        schedule.handle_start_response(start.index, StartResponse::Missing, second(120));
    }
    let next = schedule.next_start(second(121)).unwrap();
    schedule.handle_start_response(next.index, StartResponse::Missing, second(122));
    assert!(!schedule.can_start(second(180)));
    let next = schedule.next_start(second(183)).unwrap();
    schedule.handle_start_response(next.index, StartResponse::Missing, second(184));
    assert!(!schedule.can_start(second(300)), "two minutes");
    let next = schedule.next_start(second(305)).unwrap();
    let created = StartResponse::Created(Box::new(action(&next, 1, "InProgress")));
    schedule.handle_start_response(next.index, created, second(306));
    assert!(schedule.can_start(second(307)), "a response arrived");
}

#[test]
fn session_of_an_undone_start_is_linked_by_its_mark() {
    for answer in [
        StartResponse::NotSent,
        StartResponse::Rejected("status 404, Odd".into()),
    ] {
        let mut schedule = schedule(1);
        let start = schedule.next_start(second(0)).unwrap();
        schedule.handle_start_response(start.index, answer, second(1));
        schedule.observe_action(&action(&start, 1, "Pending"), second(5));
        assert_eq!(schedule.counts().open, 1);
        assert!(!schedule.can_start(second(6)), "started twice");
        schedule.observe_action(&action(&start, 1, "Succeeded"), second(9));
        assert_eq!(schedule.outcomes()[&Outcome::Done], 1);
    }
}

#[test]
fn cancelled_run_does_not_repost_starts_in_doubt() {
    let mut schedule = schedule(1);
    let start = schedule.next_start(second(0)).unwrap();
    schedule.handle_start_response(start.index, StartResponse::Missing, second(120));
    schedule.cancel_all(second(121));
    assert_eq!(schedule.order_repost(), 0);
    fail_reconcile_queries(&mut schedule, 125, 900);
    let notices = schedule.take_notices();
    assert!(
        !notices.iter().any(|n| n.contains("start it again")),
        "{notices:?}"
    );
}
