//! Collecting: sign-in, lists, links, blobs, budgets.

use reqwest::StatusCode;
use reqwest::header::{ETAG, RETRY_AFTER};

use crate::tests::*;

#[tokio::test]
async fn a_result_is_reached_from_sign_in_to_its_last_byte() {
    let emulator = serving(small_fleet(), "");
    let plain = Plain::of(&emulator).await;
    let list = plain
        .json("machineactions?$filter=type eq 'LiveResponse'&$count=true")
        .await;
    assert_eq!(list["@odata.count"], 1);
    assert_eq!(list["value"][0]["id"], id().to_string());
    let machine = list["value"][0]["machineId"].as_str().unwrap();
    let machine = plain.json(&format!("machines/{machine}")).await;
    assert_eq!(machine["computerDnsName"], "ws-001.contoso.example");
    let action = plain.json(&format!("machineactions/{}", id())).await;
    assert_eq!(action["commands"].as_array().unwrap().len(), 5);

    let link = plain.link(key(0)).await;
    let response = plain.blob(&link).await;
    assert_eq!(response.status(), 200);
    let md5 = <md5::Md5 as md5::Digest>::digest(TRANSCRIPT);
    let md5 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, md5);
    assert_eq!(header(&response, "content-md5"), md5);
    assert_eq!(response.text().await.unwrap(), TRANSCRIPT);

    let response = plain.blob(&plain.link(key(1)).await).await;
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
async fn what_leaves_no_result_is_refused_each_in_its_way() {
    let emulator = serving(small_fleet(), "");
    let plain = Plain::of(&emulator).await;
    assert_eq!(plain.link_call(key(2)).await.status(), 400);
    assert_eq!(emulator.journal().violations(Violation::PutFileLink), 1);
    assert_eq!(plain.link_call(key(4)).await.status(), 404);
    assert_eq!(plain.link_call(key(9)).await.status(), 404);
    let lost = plain.blob(&plain.link(key(3)).await).await;
    assert_eq!(lost.status(), 404);
    assert_eq!(header(&lost, "x-ms-error-code"), "BlobNotFound");
    let unknown = plain.call("machineactions/11111111-1111-4111-8111-111111111111");
    let unknown = unknown.await;
    assert_eq!(unknown.status(), 404);
    let error: Value = unknown.json().await.unwrap();
    assert_eq!(error["error"]["code"], "ResourceNotFound");
    assert!(error["error"]["target"].is_string());
    let odd = plain.call("machineactions?$filter=colour eq 'red'").await;
    assert_eq!(odd.status(), 400);
}

#[tokio::test]
async fn the_token_opens_the_api_and_never_the_blob_host() {
    let emulator = serving(small_fleet(), "");
    let mut plain = Plain::of(&emulator).await;
    let link = plain.link(key(0)).await;
    let sent = plain.http.get(&link).bearer_auth(&plain.token);
    let refused = sent.send().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert_eq!(
        header(&refused, "x-ms-error-code"),
        "InvalidAuthenticationInfo"
    );
    assert_eq!(emulator.journal().violations(Violation::BearerToBlob), 1);
    plain.token = "nonsense".into();
    assert_eq!(plain.call("machineactions").await.status(), 401);
}

#[tokio::test]
async fn a_link_must_come_back_as_it_was_issued() {
    let emulator = serving(small_fleet(), "");
    let plain = Plain::of(&emulator).await;
    let link = plain.link(key(0)).await;
    let tidied = link.replace("sp=r&", "").replace("sr=b", "sr=b&sp=r");
    assert_eq!(plain.blob(&tidied).await.status(), 200);
    assert_eq!(emulator.journal().violations(Violation::LinkAltered), 1);
    let forged = plain.blob(&link.replace("sig=", "sig=A")).await;
    assert_eq!(forged.status(), 403);
    assert_eq!(header(&forged, "x-ms-error-code"), "AuthenticationFailed");
    let bare = link.split_once('?').unwrap().0;
    assert_eq!(plain.blob(bare).await.status(), 409);
}

#[tokio::test]
async fn a_link_dies_on_the_emulated_clock() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 100.0,
        link_life: Duration::from_secs(60),
        ..EmulatorSettings::serving(small_fleet())
    })
    .unwrap();
    let plain = Plain::of(&emulator).await;
    let link = plain.link(key(0)).await;
    assert_eq!(plain.blob(&link).await.status(), 200);
    tokio::time::sleep(Duration::from_millis(610)).await;
    let expired = plain.blob(&link).await;
    assert_eq!(expired.status(), 403);
    let text = expired.text().await.unwrap();
    assert!(text.contains("Signed expiry time ["), "{text}");
    assert_eq!(plain.blob(&plain.link(key(0)).await).await.status(), 200);
}

#[tokio::test]
async fn ranges_go_on_where_they_are_told_and_match_the_etag() {
    let bytes: Vec<u8> = (0..1000).map(|n| n as u8).collect();
    let fleet = EmulatedFleet::new().action(
        ScriptedAction::on("ws")
            .id(id())
            .get_file("a", bytes.clone()),
    );
    let emulator = serving(fleet, "");
    let plain = Plain::of(&emulator).await;
    let link = plain.link(key(0)).await;
    let whole = plain.blob(&link).await;
    let etag = header(&whole, ETAG.as_str());
    let part = plain.range(&link, "bytes=400-", Some(&etag)).await;
    assert_eq!(part.status(), 206);
    assert_eq!(header(&part, "content-range"), "bytes 400-999/1000");
    assert_eq!(header(&part, "content-md5"), "");
    assert_eq!(part.bytes().await.unwrap(), bytes[400..]);
    let part = plain.range(&link, "bytes=3-5", Some(&etag)).await;
    assert_eq!(part.bytes().await.unwrap(), bytes[3..6]);
    let done = plain.range(&link, "bytes=1000-", Some(&etag)).await;
    assert_eq!(done.status(), 416);
    assert_eq!(header(&done, "content-range"), "bytes */1000");
    let other = plain.range(&link, "bytes=400-", Some("\"0x0\"")).await;
    assert_eq!(other.status(), 412);
    assert_eq!(emulator.journal().all_violations(), []);
    plain.range(&link, "bytes=400-", None).await;
    assert_eq!(
        emulator
            .journal()
            .violations(Violation::RangeWithoutIfMatch),
        1
    );
}

#[tokio::test]
async fn a_link_beyond_the_minutes_budget_is_refused_until_there_is_room() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 40.0,
        limits: few(),
        ..EmulatorSettings::serving(small_fleet())
    })
    .unwrap();
    let plain = Plain::of(&emulator).await;
    for _ in 0..10 {
        assert_eq!(plain.link_call(key(0)).await.status(), 200);
    }
    let refused = plain.link_call(key(0)).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let wait: u64 = header(&refused, RETRY_AFTER.as_str()).parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");
    assert_eq!(plain.call("machineactions").await.status(), 200);
    let journal = emulator.journal();
    assert_eq!(journal.over_budget(), 1);
    let minute = Duration::from_secs(60);
    assert_eq!(journal.busiest(CallKind::Link, minute), 11);
    tokio::time::sleep(emulator_span(&emulator, wait)).await;
    assert_eq!(plain.link_call(key(0)).await.status(), 200);
}

#[tokio::test]
async fn clock_budget_links_and_tokens_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = |bind| EmulatorSettings {
        bind,
        limits: few(),
        state_file: Some(folder.path().join("state")),
        ..EmulatorSettings::serving(small_fleet())
    };
    let first = Emulator::start_blocking(settings(([127, 0, 0, 1], 0).into())).unwrap();
    let mut plain = Plain::of(&first).await;
    let mut link = String::new();
    for _ in 0..10 {
        link = plain.link(key(0)).await;
    }
    let (addr, before) = (first.addr(), first.clock().now());
    first.shutdown();
    let second = Emulator::start_blocking(settings(addr)).unwrap();
    plain.http = client();
    let after = second.clock().now();
    assert!(after > before && after.duration_since(before).as_secs() < 3600);
    assert_eq!(plain.link_call(key(0)).await.status(), 429);
    assert_eq!(plain.blob(&link).await.status(), 200);
}

#[tokio::test]
async fn three_gigabytes_are_served_from_nothing() {
    let body = ResultBody::seeded(BodyKind::Noise, 3, 3 << 30);
    let fleet = EmulatedFleet::new().action(ScriptedAction::on("ws").id(id()).get_file("a", body));
    let emulator = serving(fleet, "");
    let plain = Plain::of(&emulator).await;
    let link = plain.link(key(0)).await;
    let last = plain.range(&link, "bytes=3221225000-", Some("*")).await;
    assert_eq!(last.status(), 206);
    let last = last.bytes().await.unwrap();
    assert_eq!(last.len(), (3 << 30) - 3_221_225_000);
    let again = plain.range(&link, "bytes=3221225400-3221225409", Some("*"));
    assert_eq!(again.await.bytes().await.unwrap(), last[400..410]);
}

#[tokio::test]
async fn an_action_shows_up_and_completes_as_its_time_comes() {
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
    let plain = Plain::of(&emulator).await;
    let get = format!("machineactions/{}", id());
    let mut seen = Vec::new();
    for _ in 0..60 {
        let response = plain.call(&get).await;
        let status = match response.status().as_u16() {
            200 => {
                let action: Value = response.json().await.unwrap();
                action["status"].as_str().unwrap().to_string()
            }
            other => other.to_string(),
        };
        let link = plain.link_call(key(0)).await.status().as_u16();
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
async fn what_is_added_while_it_runs_is_served() {
    let emulator = Emulator::start(EmulatorSettings::default()).await.unwrap();
    let plain = Plain::of(&emulator).await;
    assert_eq!(
        plain.json("machineactions").await["value"],
        serde_json::json!([])
    );
    emulator.extend(small_fleet());
    let response = plain.blob(&plain.link(key(0)).await).await;
    assert_eq!(response.text().await.unwrap(), TRANSCRIPT);
}

#[tokio::test]
async fn a_folder_of_results_is_served_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let results = folder.path().join(id().to_string());
    std::fs::create_dir(&results).unwrap();
    std::fs::write(results.join("0.gz"), b"\x1f\x8bnot really").unwrap();
    let emulator = serving(EmulatedFleet::from_folder(folder.path()).unwrap(), "");
    let plain = Plain::of(&emulator).await;
    let response = plain.blob(&plain.link(key(0)).await).await;
    assert_eq!(
        response.bytes().await.unwrap().as_ref(),
        b"\x1f\x8bnot really"
    );
}

#[test]
fn a_scale_out_of_bounds_is_refused() {
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
