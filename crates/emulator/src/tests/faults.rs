//! Faults, one by one and all together.

use crate::tests::*;

async fn broken(faults: &str) -> (Emulator, Plain) {
    let bytes: Vec<u8> = (0..5000).map(|n| (n % 251) as u8).collect();
    let fleet = EmulatedFleet::new().action(ScriptedAction::on("ws").id(id()).get_file("a", bytes));
    let emulator = serving(fleet, faults);
    let plain = Plain::of(&emulator).await;
    (emulator, plain)
}

/// Reads until the body ends or breaks.
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
async fn a_cut_body_ends_at_its_byte_and_once() {
    let (emulator, plain) = broken("cut=1@1024").await;
    let link = plain.link(key(0)).await;
    let response = plain.blob(&link).await;
    let etag = header(&response, "etag");
    let (head, whole) = read(response).await;
    assert_eq!((head.len(), whole), (1024, false));
    let rest = plain.range(&link, "bytes=1024-", Some(&etag)).await;
    assert_eq!(read(rest).await.0.len(), 5000 - 1024);
    assert_eq!(emulator.journal().downloaded_whole(key(0)), 1);
}

#[tokio::test]
async fn a_link_that_expires_midway_breaks_off_and_is_dead_then() {
    let (_emulator, plain) = broken("expire-midway@0").await;
    let link = plain.link(key(0)).await;
    let (head, whole) = read(plain.blob(&link).await).await;
    assert_eq!((head.len(), whole), (2500, false));
    assert_eq!(
        plain.range(&link, "bytes=2500-", Some("*")).await.status(),
        403
    );
    let rest = plain.link(key(0)).await;
    let rest = plain.range(&rest, "bytes=2500-", Some("*")).await;
    assert_eq!(rest.status(), 206);
}

#[tokio::test]
async fn a_link_born_expired_says_so_in_its_end_and_its_answer() {
    let (_emulator, plain) = broken("born-expired=1,bom").await;
    let dead = plain.link(key(0)).await;
    let refused = plain.blob(&dead).await;
    assert_eq!(refused.status(), 403);
    let text = refused.bytes().await.unwrap();
    assert!(text.starts_with(b"\xef\xbb\xbf<?xml"));
    assert_eq!(plain.blob(&plain.link(key(0)).await).await.status(), 200);
}

#[tokio::test]
async fn api_faults_come_as_often_as_asked_and_end() {
    let faults = "link.429=1@30,link.429-date=1@30,link.500=1,link.503=1,not-ready=each2";
    let (emulator, plain) = broken(faults).await;
    let mut statuses = Vec::new();
    let mut waits = Vec::new();
    for _ in 0..7 {
        let response = plain.link_call(key(0)).await;
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
async fn a_revoked_token_is_dead_until_the_next_sign_in() {
    let (emulator, mut plain) = broken("401=1+1").await;
    assert_eq!(plain.call("machineactions").await.status(), 200);
    assert_eq!(plain.call("machineactions").await.status(), 401);
    assert_eq!(plain.call("machineactions").await.status(), 401);
    plain.sign_in(&emulator).await;
    assert_eq!(plain.call("machineactions").await.status(), 200);
}

#[tokio::test]
async fn blob_faults_do_what_they_say() {
    let (_emulator, plain) = broken("etag=1,md5=1,no-range=1,416=1").await;
    let link = plain.link(key(0)).await;
    let first = plain.blob(&link).await;
    let (etag, wrong) = (header(&first, "etag"), header(&first, "content-md5"));
    let again = plain.blob(&link).await;
    assert_ne!(header(&again, "content-md5"), wrong);
    let changed = plain.range(&link, "bytes=9-", Some(&etag)).await;
    assert_eq!(changed.status(), 412);
    let odd = plain.range(&link, "bytes=9-", Some("*")).await;
    assert_eq!(odd.status(), 416);
    let ignored = plain.range(&link, "bytes=9-", Some("*")).await;
    assert_eq!(ignored.status(), 200);
    assert_eq!(ignored.bytes().await.unwrap().len(), 5000);
    let good = plain.range(&link, "bytes=9-", Some("*")).await;
    assert_eq!(good.status(), 206);
}

#[tokio::test]
async fn standing_faults_stay() {
    let (_emulator, plain) = broken("missing=1").await;
    for _ in 0..2 {
        let link = plain.link(key(0)).await;
        assert_eq!(plain.blob(&link).await.status(), 404);
    }
    let (_emulator, plain) = broken("403=1").await;
    for _ in 0..2 {
        assert_eq!(plain.link_call(key(0)).await.status(), 403);
    }
}

#[tokio::test]
async fn links_come_escaped_or_quoted_on_request() {
    let (_emulator, plain) = broken("amp-link=1,quoted-link=1").await;
    let odd = plain.link(key(0)).await;
    let inner = odd.strip_prefix('"').and_then(|o| o.strip_suffix('"'));
    let link = inner.unwrap().replace("&amp;", "&");
    assert_ne!(inner.unwrap(), link);
    assert_eq!(plain.blob(&link).await.status(), 200);
}

#[tokio::test]
async fn a_hanging_call_and_a_slow_body_take_real_time() {
    let (_emulator, plain) = broken("get.hang=1@1,slow=1@20").await;
    let started = std::time::Instant::now();
    plain.call(&format!("machineactions/{}", id())).await;
    assert!(started.elapsed() >= Duration::from_secs(1));
    let link = plain.link(key(0)).await;
    let started = std::time::Instant::now();
    assert!(read(plain.blob(&link).await).await.1);
    assert!(started.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn a_young_action_is_not_visible_yet() {
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 100.0,
        faults: Faults::parse("not-visible@60").unwrap(),
        ..EmulatorSettings::serving(small_fleet())
    })
    .unwrap();
    let plain = Plain::of(&emulator).await;
    let get = format!("machineactions/{}", id());
    assert_eq!(plain.call(&get).await.status(), 404);
    assert_eq!(plain.link_call(key(0)).await.status(), 404);
    tokio::time::sleep(Duration::from_millis(610)).await;
    assert_eq!(plain.call(&get).await.status(), 200);
}

#[tokio::test]
async fn a_disguised_transcript_is_the_same_at_every_call() {
    let emulator = serving(small_fleet(), "utf16,gzip");
    let plain = Plain::of(&emulator).await;
    let mut bodies = Vec::new();
    for _ in 0..2 {
        let response = plain.blob(&plain.link(key(0)).await).await;
        bodies.push(response.bytes().await.unwrap());
    }
    assert_eq!(bodies[0], bodies[1]);
    assert!(bodies[0].starts_with(b"\x1f\x8b"));
    let file = plain.blob(&plain.link(key(1)).await).await;
    assert!(file.bytes().await.unwrap().starts_with(b"\x1f\x8b"));
}

#[tokio::test]
async fn faults_can_be_switched_while_it_runs() {
    let (emulator, plain) = broken("").await;
    assert_eq!(plain.call("machineactions").await.status(), 200);
    let down = FaultRule::new(Fault::Unavailable).times(FaultTimes::All);
    emulator.faults().add(down);
    assert_eq!(plain.call("machineactions").await.status(), 503);
    emulator.faults().clear();
    assert_eq!(plain.call("machineactions").await.status(), 200);
}

#[tokio::test]
async fn a_stopped_emulator_drops_its_bodies_at_once() {
    let (emulator, plain) = broken("stall=1").await;
    let link = plain.link(key(0)).await;
    let response = plain.blob(&link).await;
    let stopping = std::time::Instant::now();
    emulator.shutdown();
    assert!(stopping.elapsed() < Duration::from_secs(1));
    assert!(!read(response).await.1);
}

/// All ids of a list, page after page.
async fn walk(plain: &mut Plain, emulator: &Emulator) -> std::collections::BTreeSet<String> {
    let mut address = format!("{}/api/machineactions?$count=true", plain.base);
    let mut ids = std::collections::BTreeSet::new();
    loop {
        let request = plain.http.get(&address).bearer_auth(&plain.token);
        let response = request.send().await.unwrap();
        if response.status() != 200 {
            plain.sign_in(emulator).await;
            continue;
        }
        let page: Value = response.json().await.unwrap();
        for action in page["value"].as_array().unwrap() {
            ids.insert(action["id"].as_str().unwrap().to_string());
        }
        match page["@odata.nextLink"].as_str() {
            Some(next) => address = next.to_string(),
            None if ids.len() as u64 == page["@odata.count"].as_u64().unwrap() => return ids,
            None => address = format!("{}/api/machineactions?$count=true", plain.base),
        }
    }
}

/// One result, as often as it takes.
async fn persevere(plain: &mut Plain, emulator: &Emulator, key: ResultKey) -> Vec<u8> {
    let (mut got, mut etag) = (Vec::new(), String::new());
    for _ in 0..40 {
        let answer = plain.link_call(key).await;
        if answer.status() != 200 {
            plain.sign_in(emulator).await;
            continue;
        }
        let answer: Value = answer.json().await.unwrap();
        let link = answer["value"].as_str().unwrap().trim_matches('"');
        let link = link.replace("&amp;", "&");
        let response = match got.len() {
            0 => plain.blob(&link).await,
            at => {
                plain
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
                whole if !whole.is_empty() => whole,
                _ => header(&response, "x-ms-blob-content-md5"),
            };
            let (bytes, whole) = read(response).await;
            got.extend_from_slice(&bytes);
            let own = <md5::Md5 as md5::Digest>::digest(&got);
            let own = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, own);
            match whole {
                true if md5 == own => return got,
                true => got.clear(),
                false => {}
            }
        }
    }
    panic!("{key} was not reached in 40 rounds");
}

#[tokio::test]
async fn a_client_that_perseveres_gets_every_byte_under_all_survivable_faults() {
    let fleet = EmulatedFleet::transcripts(6, 3000, 5);
    let results = fleet.results();
    let emulator = Emulator::start_blocking(EmulatorSettings {
        time_scale: 100.0,
        limits: ServiceLimits::lifted(),
        faults: Faults::survivable(),
        ..EmulatorSettings::serving(fleet)
    })
    .unwrap();
    let mut plain = Plain::of(&emulator).await;
    // Until the actions are visible nothing else can be seen to fail.
    tokio::time::sleep(Duration::from_millis(1210)).await;
    assert_eq!(walk(&mut plain, &emulator).await.len(), results.len());
    // Side by side: each waits half a second for a link to die.
    let tasks: Vec<_> = results
        .into_iter()
        .map(|(key, body)| {
            let mut own = Plain {
                http: client(),
                base: plain.base.clone(),
                token: plain.token.clone(),
            };
            let emulator = &emulator;
            async move { (persevere(&mut own, emulator, key).await, body) }
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
                // Nothing is started here.
                | Fault::LostCall
                | Fault::LostAnswer
                | Fault::LateError
        );
        let fired = emulator.faults().fired(fault.fault);
        assert!(fired > 0 || !counted, "{} never fired", fault.fault.name());
    }
}
