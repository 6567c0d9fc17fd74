//! Runs: rejections, progress of sessions, cancels, lost responses.

use std::io::Read;

use reqwest::StatusCode;

use crate::tests::*;

#[tokio::test]
async fn run_progresses_from_pending_to_its_results() {
    let emulator = Emulator::start_blocking(fast(machines(1))).unwrap();
    let client = TestClient::of(&emulator).await;
    let action = client.run_ok("ws-0", &run_body("CASE-42")).await;
    assert_eq!(action["status"], "Pending");
    assert_eq!(action["type"], "LiveResponse");
    assert_eq!(action["requestorComment"], "CASE-42");
    assert_eq!(action["computerDnsName"], "ws-0");
    let early = client.link_call(result(&action, 1)).await;
    assert_eq!(early.status(), StatusCode::BAD_REQUEST);

    let id = action["id"].as_str().unwrap();
    let done = client.until(id, "Succeeded").await;
    for command in done["commands"].as_array().unwrap() {
        assert_eq!(command["commandStatus"], "Completed");
        assert!(command["startTime"].is_string() && command["endTime"].is_string());
    }
    let list = client
        .json("machineactions?$filter=status eq 'Succeeded'")
        .await;
    assert_eq!(list["value"], json!([done_without_context(&done)]));

    assert_eq!(client.link_call(result(&action, 0)).await.status(), 400);
    let transcript = client.blob(&client.link(result(&action, 1)).await).await;
    let transcript: Value = transcript.json().await.unwrap();
    assert_eq!(transcript["script_name"], "a.ps1");
    let late = emulator.lateness();
    assert_eq!(late.len(), 1, "one result was linked to");
    // Available 5 s after the end of the command, before the action was over.
    assert!((3..60).contains(&late[0].as_secs()), "{late:?}");
    let file = client.blob(&client.link(result(&action, 2)).await).await;
    assert!(header(&file, "content-disposition").contains("out.txt.gz"));
    let file = file.bytes().await.unwrap();
    let mut text = String::new();
    let mut gzip = flate2::read::GzDecoder::new(file.as_ref());
    gzip.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("# C:\\Temp\\out.txt of ws-0"));
    let results = emulator.results();
    assert_eq!(results.len(), 2);
    assert_eq!(results[1].1.whole().unwrap(), file);
}

fn done_without_context(action: &Value) -> Value {
    let mut action = action.clone();
    action.as_object_mut().unwrap().remove("@odata.context");
    action
}

#[tokio::test]
async fn invalid_run_has_the_error_of_its_cause() {
    let fleet = machines(1)
        .device(EmulatedDevice::new("kiosk").with("rbacGroupName", "Kiosks"))
        .disallow("Kiosks");
    let emulator = Emulator::start_blocking(fast(fleet)).unwrap();
    let client = TestClient::of(&emulator).await;
    let expected = |status, code: &str| (status, code.to_string());
    let good = run_body("CASE-42");
    let unknown = client.run("nowhere", &good).await;
    assert_eq!(error_of(unknown).await, expected(404, "ResourceNotFound"));
    // The call accepts only the machine id, not the name.
    let named = client.post("machines/ws-0/runliveresponse", &good).await;
    assert_eq!(error_of(named).await, expected(404, "ResourceNotFound"));
    let kiosk = client.run("kiosk", &good).await;
    assert_eq!(error_of(kiosk).await, expected(403, "DisallowedOperation"));
    let absent = serde_json::from_str(&good.to_string().replace("a.ps1", "c.ps1")).unwrap();
    let absent = client.run("ws-0", &absent).await;
    assert_eq!(error_of(absent).await, expected(400, "InvalidInput"));
    let small = serde_json::from_str(&good.to_string().replace("Commands", "commands")).unwrap();
    let small = client.run("ws-0", &small).await;
    assert_eq!(error_of(small).await, expected(400, "InvalidRequestBody"));
    let path = format!("machines/{}/runliveresponse", machine_id("ws-0"));
    assert_eq!(client.call(&path).await.status(), 405);
    let bare = client.http.post(format!("{}/api/{path}", client.base));
    let bare = bare.bearer_auth(&client.token).body(good.to_string());
    assert_eq!(bare.send().await.unwrap().status(), 415);
    assert_eq!(emulator.conformance().runs.started, 0);
    assert_eq!(emulator.journal().all_violations(), []);
}

#[tokio::test]
async fn second_session_on_a_machine_is_rejected_and_a_repeated_run_recorded() {
    let emulator = Emulator::start_blocking(fast(machines(2))).unwrap();
    let client = TestClient::of(&emulator).await;
    let first = client.run_ok("ws-0", &run_body("CASE-42")).await;
    let active = (400, "ActiveRequestAlreadyExists".to_string());
    assert_eq!(
        error_of(client.run("ws-0", &run_body("other")).await).await,
        active
    );
    assert_eq!(emulator.journal().all_violations(), []);
    assert_eq!(
        error_of(client.run("ws-0", &run_body("CASE-42")).await).await,
        active
    );
    assert_eq!(emulator.journal().violations(Violation::RunRepeated), 1);
    assert_eq!(client.run("ws-1", &run_body("CASE-42")).await.status(), 201);
    client
        .until(first["id"].as_str().unwrap(), "Succeeded")
        .await;
    assert_eq!(client.run("ws-0", &run_body("other")).await.status(), 201);
    assert_eq!(emulator.conformance().runs.ran_twice, 0);
}

#[tokio::test]
async fn run_11_within_a_minute_is_rejected_and_not_executed() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 40.0,
        ..fast(machines(12))
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    for n in 0..10 {
        client
            .run_ok(&format!("ws-{n}"), &run_body("CASE-42"))
            .await;
    }
    let refused = client.run("ws-10", &run_body("CASE-42")).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = header(&refused, "retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(emulator.conformance().runs.started, 10);
    assert_eq!(emulator.journal().over_budget(), 1);
    tokio::time::sleep(real_duration(&emulator, wait)).await;
    client.run_ok("ws-10", &run_body("CASE-42")).await;
}

/// 100 runs per minute, four sessions, none of which ends.
fn few_sessions(held: usize) -> Emulator {
    Emulator::start_blocking(EmulatorSettings {
        limits: ServiceLimits {
            runs_per_min: 100,
            sessions: 4,
            ..ServiceLimits::default()
        },
        latency: Latency {
            queued: exactly(100_000),
            ..Latency::default()
        },
        sessions_held: held,
        ..fast(machines(6))
    })
    .unwrap()
}

#[tokio::test]
async fn pending_sessions_count_until_they_are_cancelled() {
    let emulator = few_sessions(0);
    let client = TestClient::of(&emulator).await;
    let mut last = Value::Null;
    for n in 0..4 {
        last = client
            .run_ok(&format!("ws-{n}"), &run_body("CASE-42"))
            .await;
    }
    let refused = client.run("ws-4", &run_body("CASE-42")).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "retry-after"), "30");
    assert_eq!(emulator.journal().violations(Violation::OverSessions), 1);
    let cancel = format!("machineactions/{}/cancel", last["id"].as_str().unwrap());
    let comment = json!({"Comment": "parked"});
    assert_eq!(client.post(&cancel, &comment).await.status(), 200);
    client.run_ok("ws-4", &run_body("CASE-42")).await;
    let report = emulator.conformance();
    assert_eq!((report.sessions.now, report.sessions.most), (4, 4));
}

#[tokio::test]
async fn sessions_occupied_by_others_cause_no_violation() {
    let emulator = few_sessions(2);
    let client = TestClient::of(&emulator).await;
    for n in 0..2 {
        client
            .run_ok(&format!("ws-{n}"), &run_body("CASE-42"))
            .await;
    }
    let refused = error_of(client.run("ws-2", &run_body("CASE-42")).await).await;
    assert_eq!(refused, (429, "TooManyRequests".into()));
    assert_eq!(emulator.journal().all_violations(), []);
    emulator.set_occupied_sessions(1);
    client.run_ok("ws-2", &run_body("CASE-42")).await;
}

#[tokio::test]
async fn cancelled_action_shows_its_requestor_and_is_over() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        latency: Latency {
            script: exactly(500),
            ..fixed_latency()
        },
        ..fast(machines(1))
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    let action = client.run_ok("ws-0", &run_body("CASE-42")).await;
    let id = action["id"].as_str().unwrap();
    let cancel = format!("machineactions/{id}/cancel");
    let missing = client.post(&cancel, &json!({"comment": "x"})).await;
    assert_eq!(error_of(missing).await, (400, "InvalidRequestBody".into()));
    // Cancel while the script runs, after the end of PutFile.
    let mut running = client.until(id, "InProgress").await;
    while running["commands"][0]["endTime"].is_null() {
        running = client.json(&format!("machineactions/{id}")).await;
    }
    let cancelled = client.post(&cancel, &json!({"Comment": "enough"})).await;
    assert_eq!(cancelled.status(), 200);
    let cancelled: Value = cancelled.json().await.unwrap();
    assert_eq!(cancelled["status"], "Cancelled");
    assert_eq!(cancelled["cancellationComment"], "enough");
    assert_eq!(cancelled["cancellationRequestor"], emulator.client_id());
    assert!(cancelled["cancellationDateTimeUtc"].is_string());
    assert_eq!(cancelled["commands"][0]["commandStatus"], "Completed");
    assert_eq!(cancelled["commands"][2]["commandStatus"], "Created");
    let again = client.post(&cancel, &json!({"Comment": "enough"})).await;
    assert_eq!(error_of(again).await, (400, "BadRequest".into()));
    assert_eq!(client.link_call(result(&action, 2)).await.status(), 404);
    let path = "machineactions/11111111-1111-4111-8111-111111111111/cancel";
    let unknown = client.post(path, &json!({"Comment": "x"})).await;
    assert_eq!(unknown.status(), 404);
}

#[tokio::test]
async fn commands_after_a_failure_are_not_run_and_the_transcript_remains() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        latency: Latency {
            failing: 1.0,
            ..fixed_latency()
        },
        ..fast(machines(1))
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    let mut scripts = run_body("CASE-42");
    let commands = scripts["Commands"].as_array_mut().unwrap();
    commands.remove(0);
    let action = client.run_ok("ws-0", &scripts).await;
    let failed = client.until(action["id"].as_str().unwrap(), "Failed").await;
    assert_eq!(failed["commands"][0]["commandStatus"], "Failed");
    assert_eq!(failed["commands"][0]["errors"].as_array().unwrap().len(), 1);
    assert_eq!(failed["commands"][1]["commandStatus"], "Created");
    assert!(failed["commands"][1]["startTime"].is_null());
    let transcript = client.blob(&client.link(result(&action, 0)).await).await;
    let transcript: Value = transcript.json().await.unwrap();
    assert_eq!(transcript["exit_code"], 1);
    assert_eq!(client.link_call(result(&action, 1)).await.status(), 404);
}

#[tokio::test]
async fn hanging_script_times_out() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        latency: Latency {
            hanging: 1.0,
            script_limit: Duration::from_secs(20),
            ..fixed_latency()
        },
        ..fast(machines(1))
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    let action = client.run_ok("ws-0", &run_body("CASE-42")).await;
    let over = client
        .until(action["id"].as_str().unwrap(), "TimeOut")
        .await;
    let status = |n: usize| over["commands"][n]["commandStatus"].clone();
    assert_eq!(
        [status(0), status(1), status(2)],
        ["Completed", "Failed", "Created"]
    );
    assert_eq!(client.link_call(result(&action, 1)).await.status(), 404);
}

async fn with_faults(faults: &str) -> (Emulator, TestClient) {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        faults: Faults::parse(faults).unwrap(),
        ..fast(machines(4))
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    (emulator, client)
}

/// Posts a run that gets no response.
async fn run_without_response(client: &TestClient) {
    let path = format!("machines/{}/runliveresponse", machine_id("ws-0"));
    let request = client.http.post(format!("{}/api/{path}", client.base));
    let request = request
        .bearer_auth(&client.token)
        .json(&run_body("CASE-42"));
    assert!(request.send().await.is_err(), "no status may arrive");
}

#[tokio::test]
async fn lost_answer_has_started_the_action_and_lost_call_has_not() {
    let (emulator, client) = with_faults("lost-call=1").await;
    run_without_response(&client).await;
    assert_eq!(client.json("machineactions").await["value"], json!([]));
    client.run_ok("ws-0", &run_body("CASE-42")).await;
    assert_eq!(emulator.journal().all_violations(), []);

    let (emulator, client) = with_faults("lost-answer=1").await;
    run_without_response(&client).await;
    let list = client.json("machineactions").await;
    assert_eq!(list["value"][0]["requestorComment"], "CASE-42");
    let again = client.run("ws-0", &run_body("CASE-42")).await;
    assert_eq!(again.status(), 400);
    assert_eq!(emulator.journal().violations(Violation::RunRepeated), 1);
}

#[tokio::test]
async fn error_prevents_the_run_and_late_error_does_not() {
    let (emulator, mut client) = with_faults("run.429=1,run.500=1,run.503=1,run.401=1+3").await;
    for status in [429, 500, 503, 401] {
        assert_eq!(
            client.run("ws-0", &run_body("CASE-42")).await.status(),
            status
        );
    }
    assert_eq!(emulator.conformance().runs.started, 0);
    client.sign_in(&emulator).await;
    client.run_ok("ws-0", &run_body("CASE-42")).await;

    let (emulator, client) = with_faults("500-late=1").await;
    assert_eq!(client.run("ws-0", &run_body("CASE-42")).await.status(), 500);
    assert_eq!(emulator.conformance().runs.started, 1);
}

#[tokio::test]
async fn not_visible_run_appears_after_its_time() {
    let (_emulator, client) = with_faults("not-visible@60").await;
    let action = client.run_ok("ws-0", &run_body("CASE-42")).await;
    let get = format!("machineactions/{}", action["id"].as_str().unwrap());
    assert_eq!(client.call(&get).await.status(), 404);
    assert_eq!(client.json("machineactions").await["value"], json!([]));
    tokio::time::sleep(Duration::from_millis(620)).await;
    assert_eq!(client.call(&get).await.status(), 200);
}

#[tokio::test]
async fn hiding_faults_affect_get_lists_and_machine_lists_separately() {
    let own = format!(
        "machineactions?$filter=machineId eq '{}'",
        machine_id("ws-0")
    );
    for (faults, get, list, of_machine) in [
        ("not-visible=1", 404, 1, 0),
        ("list.not-visible=1", 200, 1, 0),
        ("not-listed=1", 200, 1, 1),
        ("not-listed-own=1", 200, 2, 0),
    ] {
        let (_emulator, client) = with_faults(faults).await;
        let action = client.run_ok("ws-0", &run_body("CASE-42")).await;
        client.run_ok("ws-1", &run_body("CASE-42")).await;
        let listed = |page: Value| page["value"].as_array().unwrap().len();
        assert_eq!(
            listed(client.json("machineactions").await),
            list,
            "{faults}"
        );
        assert_eq!(listed(client.json(&own).await), of_machine, "{faults}");
        let id = action["id"].as_str().unwrap();
        let got = client.call(&format!("machineactions/{id}")).await;
        assert_eq!(got.status(), get, "{faults}");
    }
}

#[tokio::test]
async fn call_without_its_role_is_forbidden() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        roles: vec!["Machine.ReadWrite.All".into()],
        ..fast(machines(1))
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    assert_eq!(client.call("machines").await.status(), 200);
    assert_eq!(client.call("libraryfiles").await.status(), 403);
    let run = error_of(client.run("ws-0", &run_body("CASE-42")).await).await;
    assert_eq!(run, (403, "Forbidden".into()));
}
