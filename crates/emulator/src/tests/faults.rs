//! Faults, one by one and together.

use crate::tests::*;

async fn start_with(faults: &str) -> (Emulator, TestClient) {
    let bytes: Vec<u8> = (0..5000).map(|n| (n % 251) as u8).collect();
    let fleet = EmulatedFleet::new().action(ScriptedAction::on("ws").id(id()).get_file("a", bytes));
    let emulator = start(fleet, faults);
    let client = TestClient::of(&emulator).await;
    (emulator, client)
}

/// Reads a body; also returns whether it was complete.
async fn read(mut response: Response) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return (bytes, true),
            Err(_) => return (bytes, false),
        }
    }
}

#[tokio::test]
async fn cut_body_ends_at_the_given_byte_once() {
    let (emulator, client) = start_with("cut=1@1024").await;
    let link = client.link(key(0)).await;
    let response = client.blob(&link).await;
    let etag = header(&response, "etag");
    let (head, whole) = read(response).await;
    assert_eq!((head.len(), whole), (1024, false));
    let rest = client.range(&link, "bytes=1024-", Some(&etag)).await;
    assert_eq!(read(rest).await.0.len(), 5000 - 1024);
    assert_eq!(emulator.journal().downloaded_whole(key(0)), 1);
}

#[tokio::test]
async fn expire_midway_cuts_the_body_and_the_link_expires() {
    let (_emulator, client) = start_with("expire-midway@0").await;
    let link = client.link(key(0)).await;
    let (head, whole) = read(client.blob(&link).await).await;
    assert_eq!((head.len(), whole), (2500, false));
    assert_eq!(
        client.range(&link, "bytes=2500-", Some("*")).await.status(),
        403
    );
    let rest = client.link(key(0)).await;
    let rest = client.range(&rest, "bytes=2500-", Some("*")).await;
    assert_eq!(rest.status(), 206);
}

#[tokio::test]
async fn born_expired_link_is_rejected_once() {
    let (_emulator, client) = start_with("born-expired=1,bom").await;
    let expired = client.link(key(0)).await;
    let refused = client.blob(&expired).await;
    assert_eq!(refused.status(), 403);
    let text = refused.bytes().await.unwrap();
    assert!(text.starts_with(b"\xef\xbb\xbf<?xml"));
    assert_eq!(client.blob(&client.link(key(0)).await).await.status(), 200);
}

#[tokio::test]
async fn api_faults_fire_as_often_as_given() {
    let faults = "link.429=1@30,link.429-date=1@30,link.500=1,link.503=1,not-ready=each2";
    let (emulator, client) = start_with(faults).await;
    let mut statuses = Vec::new();
    let mut waits = Vec::new();
    for _ in 0..7 {
        let response = client.link_call(key(0)).await;
        statuses.push(response.status().as_u16());
        waits.push(header(&response, "retry-after"));
    }
    assert_eq!(statuses, [429, 429, 500, 503, 400, 400, 200]);
    assert_eq!(waits[0], "30");
    let date = httpdate::parse_http_date(&waits[1]).unwrap();
    let now: std::time::SystemTime = emulator.clock().now().into();
    let ahead = date.duration_since(now).unwrap().as_secs();
    assert!((20..=30).contains(&ahead), "{ahead}");
    assert_eq!(emulator.faults().fired(Fault::NotReady), 2);
}

#[tokio::test]
async fn revoked_token_is_rejected_until_the_next_sign_in() {
    let (emulator, mut client) = start_with("401=1+1").await;
    assert_eq!(client.call("machineactions").await.status(), 200);
    assert_eq!(client.call("machineactions").await.status(), 401);
    assert_eq!(client.call("machineactions").await.status(), 401);
    client.sign_in(&emulator).await;
    assert_eq!(client.call("machineactions").await.status(), 200);
}

#[tokio::test]
async fn blob_faults_have_the_described_effect() {
    let (_emulator, client) = start_with("etag=1,md5=1,no-range=1,416=1").await;
    let link = client.link(key(0)).await;
    let first = client.blob(&link).await;
    let (etag, wrong) = (header(&first, "etag"), header(&first, "content-md5"));
    let again = client.blob(&link).await;
    assert_ne!(header(&again, "content-md5"), wrong);
    let changed = client.range(&link, "bytes=9-", Some(&etag)).await;
    assert_eq!(changed.status(), 412);
    let odd = client.range(&link, "bytes=9-", Some("*")).await;
    assert_eq!(odd.status(), 416);
    let ignored = client.range(&link, "bytes=9-", Some("*")).await;
    assert_eq!(ignored.status(), 200);
    assert_eq!(ignored.bytes().await.unwrap().len(), 5000);
    let good = client.range(&link, "bytes=9-", Some("*")).await;
    assert_eq!(good.status(), 206);
}

#[tokio::test]
async fn result_faults_are_permanent() {
    let (_emulator, client) = start_with("missing=1").await;
    for _ in 0..2 {
        let link = client.link(key(0)).await;
        assert_eq!(client.blob(&link).await.status(), 404);
    }
    let (_emulator, client) = start_with("403=1").await;
    for _ in 0..2 {
        assert_eq!(client.link_call(key(0)).await.status(), 403);
    }
}

#[tokio::test]
async fn links_can_be_escaped_and_quoted() {
    let (_emulator, client) = start_with("amp-link=1,quoted-link=1").await;
    let odd = client.link(key(0)).await;
    let inner = odd.strip_prefix('"').and_then(|o| o.strip_suffix('"'));
    let link = inner.unwrap().replace("&amp;", "&");
    assert_ne!(inner.unwrap(), link);
    assert_eq!(client.blob(&link).await.status(), 200);
}

#[tokio::test]
async fn hang_and_slow_delay_in_real_time() {
    let (_emulator, client) = start_with("get.hang=1@1,slow=1@20").await;
    let started = std::time::Instant::now();
    client.call(&format!("machineactions/{}", id())).await;
    assert!(started.elapsed() >= Duration::from_secs(1));
    let link = client.link(key(0)).await;
    let started = std::time::Instant::now();
    assert!(read(client.blob(&link).await).await.1);
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn not_visible_action_appears_after_its_time() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 100.0,
        faults: Faults::parse("not-visible@60").unwrap(),
        ..EmulatorSettings::serving(one_action_fleet())
    })
    .unwrap();
    let client = TestClient::of(&emulator).await;
    let get = format!("machineactions/{}", id());
    assert_eq!(client.call(&get).await.status(), 404);
    assert_eq!(client.link_call(key(0)).await.status(), 404);
    tokio::time::sleep(Duration::from_millis(610)).await;
    assert_eq!(client.call(&get).await.status(), 200);
}

#[tokio::test]
async fn encoded_transcript_is_the_same_on_every_call() {
    let emulator = start(one_action_fleet(), "utf16,gzip");
    let client = TestClient::of(&emulator).await;
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let response = client.blob(&client.link(key(0)).await).await;
        bodies.push(response.bytes().await.unwrap());
    }
    assert_eq!(bodies[0], bodies[1]);
    assert!(bodies[0].starts_with(b"\x1f\x8b"));
    let file = client.blob(&client.link(key(1)).await).await;
    assert!(file.bytes().await.unwrap().starts_with(b"\x1f\x8b"));
}

#[tokio::test]
async fn faults_can_be_changed_while_the_emulator_runs() {
    let (emulator, client) = start_with("").await;
    assert_eq!(client.call("machineactions").await.status(), 200);
    let down = FaultRule::new(Fault::Unavailable).times(FaultTimes::All);
    emulator.faults().add(down);
    assert_eq!(client.call("machineactions").await.status(), 503);
    emulator.faults().clear();
    assert_eq!(client.call("machineactions").await.status(), 200);
}

#[tokio::test]
async fn shutdown_drops_active_downloads_at_once() {
    let (emulator, client) = start_with("stall=1").await;
    let link = client.link(key(0)).await;
    let response = client.blob(&link).await;
    let stopping = std::time::Instant::now();
    emulator.shutdown();
    assert!(stopping.elapsed() < Duration::from_secs(1));
    assert!(!read(response).await.1);
}

/// All action ids, from all pages of the list.
async fn list_ids(
    client: &mut TestClient,
    emulator: &Emulator,
) -> std::collections::BTreeSet<String> {
    let mut address = format!("{}/api/machineactions?$count=true", client.base);
    let mut ids = std::collections::BTreeSet::new();
    loop {
        let request = client.http.get(&address).bearer_auth(&client.token);
        let response = request.send().await.unwrap();
        if response.status() != 200 {
            client.sign_in(emulator).await;
            continue;
        }
        let page: Value = response.json().await.unwrap();
        for action in page["value"].as_array().unwrap() {
            ids.insert(action["id"].as_str().unwrap().to_string());
        }
        match page["@odata.nextLink"].as_str() {
            Some(next) => address = next.to_string(),
            None if ids.len() as u64 == page["@odata.count"].as_u64().unwrap() => return ids,
            None => address = format!("{}/api/machineactions?$count=true", client.base),
        }
    }
}

/// Downloads a result, with retries.
async fn download_with_retries(
    client: &mut TestClient,
    emulator: &Emulator,
    key: ResultKey,
) -> Vec<u8> {
    let (mut got, mut etag) = (Vec::new(), String::new());
    for _ in 0..40 {
        let answer = client.link_call(key).await;
        if answer.status() != 200 {
            client.sign_in(emulator).await;
            continue;
        }
        let answer: Value = answer.json().await.unwrap();
        let link = answer["value"].as_str().unwrap().trim_matches('"');
        let link = link.replace("&amp;", "&");
        let response = match got.len() {
            0 => client.blob(&link).await,
            at => {
                client
                    .range(&link, &format!("bytes={at}-"), Some(&etag))
                    .await
            }
        };
        match response.status().as_u16() {
            200 | 412 => got.clear(),
            206 => {}
            _ => continue,
        }
        if response.status().is_success() {
            etag = header(&response, "etag");
            let md5 = match header(&response, "content-md5") {
                md5 if !md5.is_empty() => md5,
                _ => header(&response, "x-ms-blob-content-md5"),
            };
            let (bytes, whole) = read(response).await;
            got.extend_from_slice(&bytes);
            let own = md5_of(&got);
            if whole && md5 == own {
                return got;
            }
            if whole {
                got.clear();
            }
        }
    }
    panic!("{key} was not downloaded in 40 attempts");
}

#[tokio::test]
async fn retrying_client_downloads_every_byte_under_all_survivable_faults() {
    let fleet = EmulatedFleet::transcripts(6, 3000, 5);
    let results = fleet.results();
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 100.0,
        limits: ServiceLimits::lifted(),
        faults: Faults::survivable(),
        ..EmulatorSettings::serving(fleet)
    })
    .unwrap();
    let mut client = TestClient::of(&emulator).await;
    // Wait until the actions are visible, so that the other faults can fire.
    tokio::time::sleep(Duration::from_millis(1210)).await;
    assert_eq!(list_ids(&mut client, &emulator).await.len(), results.len());
    // Concurrently: each waits half a second for a link to expire.
    let tasks: Vec<_> = results
        .into_iter()
        .map(|(key, body)| {
            let mut own = TestClient {
                http: http_client(),
                base: client.base.clone(),
                token: client.token.clone(),
            };
            let emulator = &emulator;
            async move { (download_with_retries(&mut own, emulator, key).await, body) }
        })
        .collect();
    for (got, body) in futures_util::future::join_all(tasks).await {
        assert_eq!(got, body.whole().unwrap());
    }
    for fault in Faults::survivable().rules() {
        let counted = !matches!(
            fault.fault,
            Fault::NotVisible
                | Fault::SmallPages
                | Fault::Reordered
                | Fault::Duplicates
                // This test starts no action.
                | Fault::LostCall
                | Fault::LostAnswer
                | Fault::LateError
        );
        let fired = emulator.faults().fired(fault.fault);
        assert!(fired > 0 || !counted, "{} never fired", fault.fault.name());
    }
}
