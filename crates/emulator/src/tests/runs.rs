//! Runs: what is refused, what a session goes through, what is lost on the way.

use std::io::Read;

use reqwest::StatusCode;

use crate::tests::*;

#[tokio::test]
async fn a_run_goes_from_pending_to_the_results_of_its_commands() {
    let emulator = Emulator::start_blocking(quick(machines(1))).unwrap();
    let plain = Plain::of(&emulator).await;
    let action = plain.started("ws-0", &order("CASE-42")).await;
    assert_eq!(action["status"], "Pending");
    assert_eq!(action["type"], "LiveResponse");
    assert_eq!(action["requestorComment"], "CASE-42");
    assert_eq!(action["computerDnsName"], "ws-0");
    let early = plain.link_call(result(&action, 1)).await;
    assert_eq!(early.status(), StatusCode::BAD_REQUEST);

    let id = action["id"].as_str().unwrap();
    let done = plain.until(id, "Succeeded").await;
    for command in done["commands"].as_array().unwrap() {
        assert_eq!(command["commandStatus"], "Completed");
        assert!(command["startTime"].is_string() && command["endTime"].is_string());
    }
    let list = plain
        .json("machineactions?$filter=status eq 'Succeeded'")
        .await;
    assert_eq!(list["value"], json!([done_without_context(&done)]));

    assert_eq!(plain.link_call(result(&action, 0)).await.status(), 400);
    let transcript = plain.blob(&plain.link(result(&action, 1)).await).await;
    let transcript: Value = transcript.json().await.unwrap();
    assert_eq!(transcript["script_name"], "a.ps1");
    let late = emulator.lateness();
    assert_eq!(late.len(), 1, "one result was linked to");
    // Ready five seconds after its end, ten before the action was over.
    assert!((3..60).contains(&late[0].as_secs()), "{late:?}");
    let file = plain.blob(&plain.link(result(&action, 2)).await).await;
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
async fn what_cannot_be_run_is_refused_each_in_its_way() {
    let fleet = machines(1)
        .device(EmulatedDevice::new("kiosk").with("rbacGroupName", "Kiosks"))
        .disallow("Kiosks");
    let emulator = Emulator::start_blocking(quick(fleet)).unwrap();
    let plain = Plain::of(&emulator).await;
    let refused = |status, code: &str| (status, code.to_string());
    let good = order("CASE-42");
    let unknown = plain.run("nowhere", &good).await;
    assert_eq!(refusal(unknown).await, refused(404, "ResourceNotFound"));
    // The name is no id.
    let named = plain.post("machines/ws-0/runliveresponse", &good).await;
    assert_eq!(refusal(named).await, refused(404, "ResourceNotFound"));
    let kiosk = plain.run("kiosk", &good).await;
    assert_eq!(refusal(kiosk).await, refused(403, "DisallowedOperation"));
    let absent = serde_json::from_str(&good.to_string().replace("a.ps1", "c.ps1")).unwrap();
    let absent = plain.run("ws-0", &absent).await;
    assert_eq!(refusal(absent).await, refused(400, "InvalidInput"));
    let small = serde_json::from_str(&good.to_string().replace("Commands", "commands")).unwrap();
    let small = plain.run("ws-0", &small).await;
    assert_eq!(refusal(small).await, refused(400, "InvalidRequestBody"));
    let path = format!("machines/{}/runliveresponse", machine_id("ws-0"));
    assert_eq!(plain.call(&path).await.status(), 405);
    let bare = plain.http.post(format!("{}/api/{path}", plain.base));
    let bare = bare.bearer_auth(&plain.token).body(good.to_string());
    assert_eq!(bare.send().await.unwrap().status(), 415);
    assert_eq!(emulator.conformance().runs.started, 0);
    assert_eq!(emulator.journal().all_violations(), []);
}

#[tokio::test]
async fn a_machine_has_one_session_and_the_same_run_again_is_noticed() {
    let emulator = Emulator::start_blocking(quick(machines(2))).unwrap();
    let plain = Plain::of(&emulator).await;
    let first = plain.started("ws-0", &order("CASE-42")).await;
    let active = (400, "ActiveRequestAlreadyExists".to_string());
    assert_eq!(
        refusal(plain.run("ws-0", &order("other")).await).await,
        active
    );
    assert_eq!(emulator.journal().all_violations(), []);
    assert_eq!(
        refusal(plain.run("ws-0", &order("CASE-42")).await).await,
        active
    );
    assert_eq!(emulator.journal().violations(Violation::RunRepeated), 1);
    assert_eq!(plain.run("ws-1", &order("CASE-42")).await.status(), 201);
    plain
        .until(first["id"].as_str().unwrap(), "Succeeded")
        .await;
    assert_eq!(plain.run("ws-0", &order("other")).await.status(), 201);
    assert_eq!(emulator.conformance().runs.ran_twice, 0);
}

#[tokio::test]
async fn the_eleventh_run_of_a_minute_is_refused_and_not_done() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 40.0,
        ..quick(machines(12))
    })
    .unwrap();
    let plain = Plain::of(&emulator).await;
    for n in 0..10 {
        plain.started(&format!("ws-{n}"), &order("CASE-42")).await;
    }
    let refused = plain.run("ws-10", &order("CASE-42")).await;
    assert_eq!(refused.status(), 429);
    let wait: u64 = header(&refused, "retry-after").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(emulator.conformance().runs.started, 10);
    assert_eq!(emulator.journal().over_budget(), 1);
    tokio::time::sleep(emulator_span(&emulator, wait)).await;
    plain.started("ws-10", &order("CASE-42")).await;
}

/// Plenty of runs in a minute, few sessions, none of which ends.
fn few_sessions(held: usize) -> Emulator {
    Emulator::start_blocking(EmulatorSettings {
        limits: ServiceLimits {
            runs_per_min: 100,
            sessions: 4,
            ..ServiceLimits::default()
        },
        latency: Latency {
            queued: span(100_000),
            ..Latency::default()
        },
        sessions_held: held,
        ..quick(machines(6))
    })
    .unwrap()
}

#[tokio::test]
async fn waiting_sessions_count_until_they_are_cancelled() {
    let emulator = few_sessions(0);
    let plain = Plain::of(&emulator).await;
    let mut last = Value::Null;
    for n in 0..4 {
        last = plain.started(&format!("ws-{n}"), &order("CASE-42")).await;
    }
    let refused = plain.run("ws-4", &order("CASE-42")).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(header(&refused, "retry-after"), "30");
    assert_eq!(emulator.journal().violations(Violation::OverSessions), 1);
    let cancel = format!("machineactions/{}/cancel", last["id"].as_str().unwrap());
    let comment = json!({"Comment": "parked"});
    assert_eq!(plain.post(&cancel, &comment).await.status(), 200);
    plain.started("ws-4", &order("CASE-42")).await;
    let judgement = emulator.conformance();
    assert_eq!((judgement.sessions.now, judgement.sessions.most), (4, 4));
}

#[tokio::test]
async fn sessions_held_by_others_are_refused_without_blame() {
    let emulator = few_sessions(2);
    let plain = Plain::of(&emulator).await;
    for n in 0..2 {
        plain.started(&format!("ws-{n}"), &order("CASE-42")).await;
    }
    let refused = refusal(plain.run("ws-2", &order("CASE-42")).await).await;
    assert_eq!(refused, (429, "TooManyRequests".into()));
    assert_eq!(emulator.journal().all_violations(), []);
    emulator.set_occupied_sessions(1);
    plain.started("ws-2", &order("CASE-42")).await;
}

#[tokio::test]
async fn a_cancelled_action_says_by_whom_and_is_over() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        latency: Latency {
            script: span(500),
            ..even()
        },
        ..quick(machines(1))
    })
    .unwrap();
    let plain = Plain::of(&emulator).await;
    let action = plain.started("ws-0", &order("CASE-42")).await;
    let id = action["id"].as_str().unwrap();
    let cancel = format!("machineactions/{id}/cancel");
    let missing = plain.post(&cancel, &json!({"comment": "x"})).await;
    assert_eq!(refusal(missing).await, (400, "InvalidRequestBody".into()));
    // PutFile has ended, the script runs.
    let mut running = plain.until(id, "InProgress").await;
    while running["commands"][0]["endTime"].is_null() {
        running = plain.json(&format!("machineactions/{id}")).await;
    }
    let cancelled = plain.post(&cancel, &json!({"Comment": "enough"})).await;
    assert_eq!(cancelled.status(), 200);
    let cancelled: Value = cancelled.json().await.unwrap();
    assert_eq!(cancelled["status"], "Cancelled");
    assert_eq!(cancelled["cancellationComment"], "enough");
    assert_eq!(cancelled["cancellationRequestor"], emulator.client_id());
    assert!(cancelled["cancellationDateTimeUtc"].is_string());
    assert_eq!(cancelled["commands"][0]["commandStatus"], "Completed");
    assert_eq!(cancelled["commands"][2]["commandStatus"], "Created");
    let again = plain.post(&cancel, &json!({"Comment": "enough"})).await;
    assert_eq!(refusal(again).await, (400, "BadRequest".into()));
    assert_eq!(plain.link_call(result(&action, 2)).await.status(), 404);
    let nobody = "machineactions/11111111-1111-4111-8111-111111111111/cancel";
    let nobody = plain.post(nobody, &json!({"Comment": "x"})).await;
    assert_eq!(nobody.status(), 404);
}

#[tokio::test]
async fn after_a_failure_the_rest_is_not_run_and_the_transcript_is_kept() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        latency: Latency {
            failing: 1.0,
            ..even()
        },
        ..quick(machines(1))
    })
    .unwrap();
    let plain = Plain::of(&emulator).await;
    let mut scripts = order("CASE-42");
    let commands = scripts["Commands"].as_array_mut().unwrap();
    commands.remove(0);
    let action = plain.started("ws-0", &scripts).await;
    let failed = plain.until(action["id"].as_str().unwrap(), "Failed").await;
    assert_eq!(failed["commands"][0]["commandStatus"], "Failed");
    assert_eq!(failed["commands"][0]["errors"].as_array().unwrap().len(), 1);
    assert_eq!(failed["commands"][1]["commandStatus"], "Created");
    assert!(failed["commands"][1]["startTime"].is_null());
    let transcript = plain.blob(&plain.link(result(&action, 0)).await).await;
    let transcript: Value = transcript.json().await.unwrap();
    assert_eq!(transcript["exit_code"], 1);
    assert_eq!(plain.link_call(result(&action, 1)).await.status(), 404);
}

#[tokio::test]
async fn a_script_that_hangs_times_out() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        latency: Latency {
            hanging: 1.0,
            script_limit: Duration::from_secs(20),
            ..even()
        },
        ..quick(machines(1))
    })
    .unwrap();
    let plain = Plain::of(&emulator).await;
    let action = plain.started("ws-0", &order("CASE-42")).await;
    let over = plain.until(action["id"].as_str().unwrap(), "TimeOut").await;
    let status = |n: usize| over["commands"][n]["commandStatus"].clone();
    assert_eq!(
        [status(0), status(1), status(2)],
        ["Completed", "Failed", "Created"]
    );
    assert_eq!(plain.link_call(result(&action, 1)).await.status(), 404);
}

async fn with_faults(faults: &str) -> (Emulator, Plain) {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        faults: Faults::parse(faults).unwrap(),
        ..quick(machines(4))
    })
    .unwrap();
    let plain = Plain::of(&emulator).await;
    (emulator, plain)
}

/// Sends a run whose answer never comes.
async fn unanswered(plain: &Plain) {
    let path = format!("machines/{}/runliveresponse", machine_id("ws-0"));
    let request = plain.http.post(format!("{}/api/{path}", plain.base));
    let request = request.bearer_auth(&plain.token).json(&order("CASE-42"));
    assert!(request.send().await.is_err(), "no status may arrive");
}

#[tokio::test]
async fn a_lost_answer_hides_an_action_that_exists_and_a_lost_call_none() {
    let (emulator, plain) = with_faults("lost-call=1").await;
    unanswered(&plain).await;
    assert_eq!(plain.json("machineactions").await["value"], json!([]));
    plain.started("ws-0", &order("CASE-42")).await;
    assert_eq!(emulator.journal().all_violations(), []);

    let (emulator, plain) = with_faults("lost-answer=1").await;
    unanswered(&plain).await;
    let list = plain.json("machineactions").await;
    assert_eq!(list["value"][0]["requestorComment"], "CASE-42");
    let again = plain.run("ws-0", &order("CASE-42")).await;
    assert_eq!(again.status(), 400);
    assert_eq!(emulator.journal().violations(Violation::RunRepeated), 1);
}

#[tokio::test]
async fn an_error_before_does_nothing_and_a_late_one_has_done_it() {
    let (emulator, mut plain) = with_faults("run.429=1,run.500=1,run.503=1,run.401=1+3").await;
    for status in [429, 500, 503, 401] {
        assert_eq!(plain.run("ws-0", &order("CASE-42")).await.status(), status);
    }
    assert_eq!(emulator.conformance().runs.started, 0);
    plain.sign_in(&emulator).await;
    plain.started("ws-0", &order("CASE-42")).await;

    let (emulator, plain) = with_faults("500-late=1").await;
    assert_eq!(plain.run("ws-0", &order("CASE-42")).await.status(), 500);
    assert_eq!(emulator.conformance().runs.started, 1);
}

#[tokio::test]
async fn a_fresh_run_is_not_visible_yet() {
    let (_emulator, plain) = with_faults("not-visible@60").await;
    let action = plain.started("ws-0", &order("CASE-42")).await;
    let get = format!("machineactions/{}", action["id"].as_str().unwrap());
    assert_eq!(plain.call(&get).await.status(), 404);
    assert_eq!(plain.json("machineactions").await["value"], json!([]));
    tokio::time::sleep(Duration::from_millis(620)).await;
    assert_eq!(plain.call(&get).await.status(), 200);
}

#[tokio::test]
async fn one_run_is_hidden_everywhere_from_lists_or_from_its_machines_own() {
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
        let (_emulator, plain) = with_faults(faults).await;
        let action = plain.started("ws-0", &order("CASE-42")).await;
        plain.started("ws-1", &order("CASE-42")).await;
        let listed = |page: Value| page["value"].as_array().unwrap().len();
        assert_eq!(listed(plain.json("machineactions").await), list, "{faults}");
        assert_eq!(listed(plain.json(&own).await), of_machine, "{faults}");
        let id = action["id"].as_str().unwrap();
        let got = plain.call(&format!("machineactions/{id}")).await;
        assert_eq!(got.status(), get, "{faults}");
    }
}

#[tokio::test]
async fn each_call_needs_its_own_role() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        roles: vec!["Machine.ReadWrite.All".into()],
        ..quick(machines(1))
    })
    .unwrap();
    let plain = Plain::of(&emulator).await;
    assert_eq!(plain.call("machines").await.status(), 200);
    assert_eq!(plain.call("libraryfiles").await.status(), 403);
    let run = refusal(plain.run("ws-0", &order("CASE-42")).await).await;
    assert_eq!(run, (403, "Forbidden".into()));
}
