//! The judge's word, in the library and over HTTP.

use crate::tests::*;

#[tokio::test]
async fn the_judge_counts_windows_sessions_and_results() {
    let emulator = Emulator::start_blocking(quick(machines(3))).unwrap();
    let plain = Plain::of(&emulator).await;
    let mut last = Value::Null;
    for n in 0..3 {
        last = plain.started(&format!("ws-{n}"), &order("CASE-42")).await;
    }
    let id = last["id"].as_str().unwrap();
    plain.until(id, "Succeeded").await;
    tokio::time::sleep(emulator_span(&emulator, 5)).await;
    let link = plain.link(result(&last, 1)).await;
    plain.blob(&link).await.bytes().await.unwrap();

    let judgement = emulator.conformance();
    let runs = &judgement.calls["run"];
    assert_eq!((runs.count, runs.most_in_a_minute), (3, 3));
    assert_eq!((runs.limit_per_minute, runs.throttled), (Some(10), 0));
    assert_eq!(judgement.calls["link"].limit_per_hour, Some(1500));
    assert_eq!(judgement.calls["blob"].limit_per_minute, None);
    assert_eq!((judgement.sessions.most, judgement.sessions.now), (3, 0));
    // 10 queued, three commands of 2, 10 until it is over.
    let seconds = judgement.sessions.seconds;
    assert!((77.9..78.1).contains(&seconds), "{seconds}");
    assert_eq!((judgement.runs.started, judgement.runs.distinct), (3, 3));
    assert_eq!(judgement.runs.by_status["Succeeded"], 3);
    assert_eq!((judgement.results.ready, judgement.results.fetched), (6, 1));
    assert!(judgement.violations.is_empty() && judgement.runs.again.is_empty());
}

#[tokio::test]
async fn what_ran_twice_is_named_and_what_only_waited_is_not_held_against_anyone() {
    let emulator = Emulator::start_blocking(quick(machines(2))).unwrap();
    let plain = Plain::of(&emulator).await;
    for (device, ends) in [("ws-0", "Pending"), ("ws-1", "InProgress")] {
        let action = plain.started(device, &order("CASE-42")).await;
        let id = action["id"].as_str().unwrap();
        plain.until(id, ends).await;
        let cancel = format!("machineactions/{id}/cancel");
        let cancelled = plain.post(&cancel, &json!({"Comment": "again"})).await;
        assert_eq!(cancelled.status(), 200);
        let second = plain.started(device, &order("CASE-42")).await;
        plain
            .until(second["id"].as_str().unwrap(), "Succeeded")
            .await;
    }
    let runs = emulator.conformance().runs;
    assert_eq!((runs.started, runs.distinct, runs.ran_twice), (4, 2, 1));
    let again: Vec<_> = runs.again.iter().map(|a| (&*a.device, a.began)).collect();
    assert_eq!(again, [("ws-1", 2), ("ws-0", 1)]);
    assert_eq!(runs.again[0].actions.len(), 2);
}

#[tokio::test]
async fn the_judgement_is_read_without_a_token_and_leaves_no_trace() {
    let emulator = Emulator::start_blocking(quick(machines(1))).unwrap();
    let plain = Plain::of(&emulator).await;
    plain.started("ws-0", &order("CASE-42")).await;
    let before = emulator.journal().calls().len();
    let address = format!("{}/emulator/judgement", plain.base);
    let judgement = client().get(&address).send().await.unwrap();
    assert_eq!(judgement.status(), 200);
    let judgement: Value = judgement.json().await.unwrap();
    assert_eq!(judgement["sessions"]["now"], 1);
    assert_eq!(judgement["calls"]["run"]["count"], 1);
    assert_eq!(judgement["violations"], json!({}));
    assert_eq!(emulator.journal().calls().len(), before);
}

#[tokio::test]
async fn two_thousand_sessions_of_three_commands_are_run_and_judged() {
    const DEVICES: usize = 2000;
    let emulator = Emulator::start_blocking(EmulatorSettings {
        limits: ServiceLimits::lifted(),
        ..quick(machines(DEVICES))
    })
    .unwrap();
    let plain = Plain::of(&emulator).await;
    let order = order("CASE-42");
    let post = async |part: usize| {
        for n in (part..DEVICES).step_by(8) {
            plain.started(&format!("ws-{n}"), &order).await;
        }
    };
    futures_util::future::join_all((0..8).map(post)).await;
    // 31 s for each, of which none waits for another.
    tokio::time::sleep(emulator_span(&emulator, 32)).await;
    let list = plain
        .json("machineactions?$filter=status eq 'Succeeded'")
        .await;
    assert_eq!(list["value"].as_array().unwrap().len(), DEVICES);
    let judgement = emulator.conformance();
    assert_eq!(judgement.runs.started, DEVICES);
    assert_eq!(judgement.results.ready, 2 * DEVICES);
    assert_eq!((judgement.sessions.now, judgement.runs.ran_twice), (0, 0));
}
