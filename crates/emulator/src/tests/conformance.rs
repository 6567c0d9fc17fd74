//! The conformance report, in the library and over HTTP.

use crate::tests::*;

#[tokio::test]
async fn report_counts_calls_sessions_and_results() {
    let emulator = Emulator::start_blocking(fast(machines(3))).unwrap();
    let client = TestClient::of(&emulator).await;
    let mut last = Value::Null;
    for n in 0..3 {
        last = client
            .run_ok(&format!("ws-{n}"), &run_body("CASE-42"))
            .await;
    }
    let id = last["id"].as_str().unwrap();
    client.until(id, "Succeeded").await;
    tokio::time::sleep(real_duration(&emulator, 5)).await;
    let link = client.link(result(&last, 1)).await;
    client.blob(&link).await.bytes().await.unwrap();

    let report = emulator.conformance();
    let runs = &report.calls["run"];
    assert_eq!((runs.count, runs.most_in_a_minute), (3, 3));
    assert_eq!((runs.limit_per_minute, runs.throttled), (Some(10), 0));
    assert_eq!(report.calls["link"].limit_per_hour, Some(1500));
    assert_eq!(report.calls["blob"].limit_per_minute, None);
    assert_eq!((report.sessions.most, report.sessions.now), (3, 0));
    // 10 s queued, three commands of 2 s, 10 s until the final status.
    let seconds = report.sessions.seconds;
    assert!((77.9..78.1).contains(&seconds), "{seconds}");
    assert_eq!((report.runs.started, report.runs.distinct), (3, 3));
    assert_eq!(report.runs.by_status["Succeeded"], 3);
    assert_eq!((report.results.ready, report.results.fetched), (6, 1));
    assert!(report.violations.is_empty() && report.runs.again.is_empty());
}

#[tokio::test]
async fn report_lists_repeated_runs_and_counts_only_those_that_began() {
    let emulator = Emulator::start_blocking(fast(machines(2))).unwrap();
    let client = TestClient::of(&emulator).await;
    for (device, ends) in [("ws-0", "Pending"), ("ws-1", "InProgress")] {
        let action = client.run_ok(device, &run_body("CASE-42")).await;
        let id = action["id"].as_str().unwrap();
        client.until(id, ends).await;
        let cancel = format!("machineactions/{id}/cancel");
        let cancelled = client.post(&cancel, &json!({"Comment": "again"})).await;
        assert_eq!(cancelled.status(), 200);
        let second = client.run_ok(device, &run_body("CASE-42")).await;
        client
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
async fn report_needs_no_token_and_is_not_recorded() {
    let emulator = Emulator::start_blocking(fast(machines(1))).unwrap();
    let client = TestClient::of(&emulator).await;
    client.run_ok("ws-0", &run_body("CASE-42")).await;
    let before = emulator.journal().calls().len();
    for path in ["emulator/conformance", "emulator/judgement"] {
        let address = format!("{}/{path}", client.base);
        let response = client.http.get(&address).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let report: Value = response.json().await.unwrap();
        assert_eq!(report["sessions"]["now"], 1);
        assert_eq!(report["calls"]["run"]["count"], 1);
        assert_eq!(report["violations"], json!({}));
    }
    assert_eq!(emulator.journal().calls().len(), before);
}

#[tokio::test]
async fn report_covers_two_thousand_sessions() {
    const DEVICES: usize = 2000;
    let emulator = Emulator::start_blocking(EmulatorSettings {
        limits: ServiceLimits::lifted(),
        ..fast(machines(DEVICES))
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    let body = run_body("CASE-42");
    let post = async |part: usize| {
        for n in (part..DEVICES).step_by(8) {
            client.run_ok(&format!("ws-{n}"), &body).await;
        }
    };
    futures_util::future::join_all((0..8).map(post)).await;
    // 31 s per session; the sessions run concurrently.
    tokio::time::sleep(real_duration(&emulator, 32)).await;
    let list = client
        .json("machineactions?$filter=status eq 'Succeeded'")
        .await;
    assert_eq!(list["value"].as_array().unwrap().len(), DEVICES);
    let report = emulator.conformance();
    assert_eq!(report.runs.started, DEVICES);
    assert_eq!(report.results.ready, 2 * DEVICES);
    assert_eq!((report.sessions.now, report.runs.ran_twice), (0, 0));
}
