//! Collecting: sign-in, lists, links, blobs, rate limits.

use reqwest::StatusCode;
use reqwest::header::{ETAG, RETRY_AFTER};

use crate::tests::*;

#[tokio::test]
async fn client_signs_in_lists_links_and_downloads() {
    let emulator = start(one_action_fleet(), "");
    let client = TestClient::of(&emulator).await;
    let list = client
        .json("machineactions?$filter=type eq 'LiveResponse'&$count=true")
        .await;
    assert_eq!(list["@odata.count"], 1);
    assert_eq!(list["value"][0]["id"], id().to_string());
    let machine = list["value"][0]["machineId"].as_str().unwrap();
    let machine = client.json(&format!("machines/{machine}")).await;
    assert_eq!(machine["computerDnsName"], "ws-001.contoso.example");
    let action = client.json(&format!("machineactions/{}", id())).await;
    assert_eq!(action["commands"].as_array().unwrap().len(), 5);

    let link = client.link(key(0)).await;
    let response = client.blob(&link).await;
    assert_eq!(response.status(), 200);
    let md5 = md5_of(TRANSCRIPT.as_bytes());
    assert_eq!(header(&response, "content-md5"), md5);
    assert_eq!(response.text().await.unwrap(), TRANSCRIPT);

    let response = client.blob(&client.link(key(1)).await).await;
    let disposition = header(&response, "content-disposition");
    assert_eq!(disposition, "attachment; filename=\"the%20file.txt\"");
    assert_eq!(response.bytes().await.unwrap(), vec![7u8; 1000]);
    let journal = emulator.journal();
    assert_eq!(journal.downloaded_whole(key(0)), 1);
    assert_eq!(journal.results_whole(), 2);
    assert_eq!(journal.all_violations(), []);
    assert_eq!(journal.links_unused(), 0);
}

#[tokio::test]
async fn command_without_a_result_has_the_error_of_its_kind() {
    let emulator = start(one_action_fleet(), "");
    let client = TestClient::of(&emulator).await;
    assert_eq!(client.link_call(key(2)).await.status(), 400);
    assert_eq!(emulator.journal().violations(Violation::PutFileLink), 1);
    assert_eq!(client.link_call(key(4)).await.status(), 404);
    assert_eq!(client.link_call(key(9)).await.status(), 404);
    let lost = client.blob(&client.link(key(3)).await).await;
    assert_eq!(lost.status(), 404);
    assert_eq!(header(&lost, "x-ms-error-code"), "BlobNotFound");
    let path = "machineactions/11111111-1111-4111-8111-111111111111";
    let unknown = client.call(path).await;
    assert_eq!(unknown.status(), 404);
    let error: Value = unknown.json().await.unwrap();
    assert_eq!(error["error"]["code"], "ResourceNotFound");
    assert!(error["error"]["target"].is_string());
    let odd = client.call("machineactions?$filter=colour eq 'red'").await;
    assert_eq!(odd.status(), 400);
}

#[tokio::test]
async fn token_is_accepted_by_the_api_and_rejected_by_the_blob_host() {
    let emulator = start(one_action_fleet(), "");
    let mut client = TestClient::of(&emulator).await;
    let link = client.link(key(0)).await;
    let sent = client.http.get(&link).bearer_auth(&client.token);
    let refused = sent.send().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert_eq!(
        header(&refused, "x-ms-error-code"),
        "InvalidAuthenticationInfo"
    );
    assert_eq!(emulator.journal().violations(Violation::BearerToBlob), 1);
    client.token = "nonsense".into();
    assert_eq!(client.call("machineactions").await.status(), 401);
}

#[tokio::test]
async fn altered_link_is_recorded_and_forged_link_is_rejected() {
    let emulator = start(one_action_fleet(), "");
    let client = TestClient::of(&emulator).await;
    let link = client.link(key(0)).await;
    let tidied = link.replace("sp=r&", "").replace("sr=b", "sr=b&sp=r");
    assert_eq!(client.blob(&tidied).await.status(), 200);
    assert_eq!(emulator.journal().violations(Violation::LinkAltered), 1);
    let forged = client.blob(&link.replace("sig=", "sig=A")).await;
    assert_eq!(forged.status(), 403);
    assert_eq!(header(&forged, "x-ms-error-code"), "AuthenticationFailed");
    let bare = link.split_once('?').unwrap().0;
    assert_eq!(client.blob(bare).await.status(), 409);
}

#[tokio::test]
async fn link_expires_on_the_emulated_clock() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 100.0,
        link_life: Duration::from_secs(60),
        ..EmulatorSettings::serving(one_action_fleet())
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    let link = client.link(key(0)).await;
    assert_eq!(client.blob(&link).await.status(), 200);
    tokio::time::sleep(Duration::from_millis(610)).await;
    let expired = client.blob(&link).await;
    assert_eq!(expired.status(), 403);
    let text = expired.text().await.unwrap();
    assert!(text.contains("Signed expiry time ["), "{text}");
    assert_eq!(client.blob(&client.link(key(0)).await).await.status(), 200);
}

#[tokio::test]
async fn range_requests_return_the_range_and_check_the_etag() {
    let bytes: Vec<u8> = (0..1000).map(|n| n as u8).collect();
    let fleet = EmulatedFleet::new().action(
        ScriptedAction::on("ws")
            .id(id())
            .get_file("a", bytes.clone()),
    );
    let emulator = start(fleet, "");
    let client = TestClient::of(&emulator).await;
    let link = client.link(key(0)).await;
    let whole = client.blob(&link).await;
    let etag = header(&whole, ETAG.as_str());
    let part = client.range(&link, "bytes=400-", Some(&etag)).await;
    assert_eq!(part.status(), 206);
    assert_eq!(header(&part, "content-range"), "bytes 400-999/1000");
    assert_eq!(header(&part, "content-md5"), "");
    assert_eq!(part.bytes().await.unwrap(), bytes[400..]);
    let part = client.range(&link, "bytes=3-5", Some(&etag)).await;
    assert_eq!(part.bytes().await.unwrap(), bytes[3..6]);
    let done = client.range(&link, "bytes=1000-", Some(&etag)).await;
    assert_eq!(done.status(), 416);
    assert_eq!(header(&done, "content-range"), "bytes */1000");
    let other = client.range(&link, "bytes=400-", Some("\"0x0\"")).await;
    assert_eq!(other.status(), 412);
    assert_eq!(emulator.journal().all_violations(), []);
    client.range(&link, "bytes=400-", None).await;
    assert_eq!(
        emulator
            .journal()
            .violations(Violation::RangeWithoutIfMatch),
        1
    );
}

#[tokio::test]
async fn link_above_the_minute_limit_is_rejected_until_retry_after() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 40.0,
        limits: ten_links_per_minute(),
        ..EmulatorSettings::serving(one_action_fleet())
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    for _ in 0..10 {
        assert_eq!(client.link_call(key(0)).await.status(), 200);
    }
    let refused = client.link_call(key(0)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = header(&refused, RETRY_AFTER.as_str()).parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(client.call("machineactions").await.status(), 200);
    let journal = emulator.journal();
    assert_eq!(journal.over_budget(), 1);
    let minute = Duration::from_secs(60);
    assert_eq!(journal.busiest(CallKind::Link, minute), 11);
    tokio::time::sleep(real_duration(&emulator, wait)).await;
    assert_eq!(client.link_call(key(0)).await.status(), 200);
}

#[tokio::test]
async fn clock_limits_links_and_tokens_survive_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = |bind| EmulatorSettings {
        bind,
        limits: ten_links_per_minute(),
        state_file: Some(folder.path().join("state")),
        ..EmulatorSettings::serving(one_action_fleet())
    };
    let first = Emulator::start_blocking(settings(([127, 0, 0, 1], 0).into())).unwrap();
    let mut client = TestClient::of(&first).await;
    let mut link = String::new();
    for _ in 0..10 {
        link = client.link(key(0)).await;
    }
    let (addr, before) = (first.addr(), first.clock().now());
    first.shutdown();
    let second = Emulator::start_blocking(settings(addr)).unwrap();
    client.http = http_client();
    let after = second.clock().now();
    assert!(after > before && after.duration_since(before).as_secs() < 3600);
    assert_eq!(client.link_call(key(0)).await.status(), 429);
    assert_eq!(client.blob(&link).await.status(), 200);
}

#[tokio::test]
async fn body_of_3_gb_is_generated_at_any_offset() {
    let body = ResultBody::seeded(BodyKind::Noise, 3, 3 << 30);
    let fleet = EmulatedFleet::new().action(ScriptedAction::on("ws").id(id()).get_file("a", body));
    let emulator = start(fleet, "");
    let client = TestClient::of(&emulator).await;
    let link = client.link(key(0)).await;
    let last = client.range(&link, "bytes=3221225000-", Some("*")).await;
    assert_eq!(last.status(), 206);
    let last = last.bytes().await.unwrap();
    assert_eq!(last.len(), (3 << 30) - 3_221_225_000);
    let again = client.range(&link, "bytes=3221225400-3221225409", Some("*"));
    assert_eq!(again.await.bytes().await.unwrap(), last[400..410]);
}

#[tokio::test]
async fn scripted_action_appears_and_completes_over_time() {
    let progress = ActionProgress {
        hidden: Duration::from_secs(10),
        queued: Duration::from_secs(10),
        each_command: Duration::from_secs(20),
        settling: Duration::from_secs(10),
    };
    let action = ScriptedAction::on("ws").id(id()).progress(progress);
    let action = action.created_after_start(Duration::ZERO);
    let fleet = EmulatedFleet::new().action(action.run_script("a.ps1", "", TRANSCRIPT));
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 100.0,
        ..EmulatorSettings::serving(fleet)
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    let get = format!("machineactions/{}", id());
    let mut seen = Vec::new();
    for _ in 0..60 {
        let response = client.call(&get).await;
        let status = match response.status().as_u16() {
            200 => {
                let action: Value = response.json().await.unwrap();
                action["status"].as_str().unwrap().to_string()
            }
            other => other.to_string(),
        };
        let link = client.link_call(key(0)).await.status().as_u16();
        let step = (status, link);
        if seen.last() != Some(&step) {
            seen.push(step);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let last = seen.last().unwrap();
    assert_eq!(*last, ("Succeeded".to_string(), 200), "{seen:?}");
    assert!(seen.contains(&("InProgress".into(), 400)), "{seen:?}");
    assert_eq!(seen[0].0, "404", "{seen:?}");
}

#[tokio::test]
async fn fleet_added_to_a_running_emulator_is_served() {
    let emulator = Emulator::start(EmulatorSettings::default()).await.unwrap();
    let client = TestClient::of(&emulator).await;
    assert_eq!(
        client.json("machineactions").await["value"],
        serde_json::json!([])
    );
    emulator.extend(one_action_fleet());
    let response = client.blob(&client.link(key(0)).await).await;
    assert_eq!(response.text().await.unwrap(), TRANSCRIPT);
}

#[tokio::test]
async fn folder_of_results_is_served_unchanged() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join(id().to_string());
    std::fs::create_dir(&results).unwrap();
    std::fs::write(results.join("0.gz"), b"\x1f\x8bnot really").unwrap();
    let emulator = start(EmulatedFleet::from_folder(folder.path()).unwrap(), "");
    let client = TestClient::of(&emulator).await;
    let response = client.blob(&client.link(key(0)).await).await;
    assert_eq!(
        response.bytes().await.unwrap().as_ref(),
        b"\x1f\x8bnot really"
    );
}

#[test]
fn time_scale_out_of_range_is_an_error() {
    for time_scale in [0.0, 0.5, 101.0, f64::NAN] {
        let settings = EmulatorSettings {
            time_scale,
            ..EmulatorSettings::default()
        };
        assert!(matches!(
            Emulator::start_blocking(settings),
            Err(Error::Scale(_))
        ));
    }
}
