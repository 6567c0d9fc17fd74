//! The emulator as a client meets it, quirk by quirk, over real HTTP.

use std::time::Duration;

use reqwest::header::{ETAG, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};
use serde_json::Value;

use super::*;
use crate::evidence::{ActionId, ResultKey};

const TRANSCRIPT: &str =
    r#"{"script_name":"a.ps1","exit_code":0,"script_output":"one\ntwo","script_errors":""}"#;

/// A client that knows nothing but HTTP.
struct Plain {
    http: Client,
    base: String,
    token: String,
}

impl Plain {
    async fn of(emulator: &Emulator) -> Self {
        let mut plain = Self {
            http: client(),
            base: emulator.api_base(),
            token: String::new(),
        };
        plain.sign_in(emulator).await;
        plain
    }

    async fn sign_in(&mut self, emulator: &Emulator) {
        let address = format!(
            "{}/{}/oauth2/v2.0/token",
            emulator.login_base(),
            emulator.tenant()
        );
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", emulator.client_id()),
            ("client_secret", emulator.client_secret()),
            ("scope", "https://api.securitycenter.microsoft.com/.default"),
        ];
        let answer = self.http.post(address).form(&form).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        self.token = answer["access_token"].as_str().unwrap().to_string();
    }

    async fn call(&self, path: &str) -> Response {
        let request = self.http.get(format!("{}/api/{path}", self.base));
        request.bearer_auth(&self.token).send().await.unwrap()
    }

    async fn json(&self, path: &str) -> Value {
        self.call(path).await.json().await.unwrap()
    }

    async fn link_call(&self, key: ResultKey) -> Response {
        let (id, n) = (key.action, key.index);
        let call = format!("machineactions/{id}/GetLiveResponseResultDownloadLink(index={n})");
        self.call(&call).await
    }

    async fn link(&self, key: ResultKey) -> String {
        let answer: Value = self.link_call(key).await.json().await.unwrap();
        answer["value"].as_str().unwrap().to_string()
    }

    async fn blob(&self, link: &str) -> Response {
        self.http.get(link).send().await.unwrap()
    }

    async fn range(&self, link: &str, range: &str, etag: Option<&str>) -> Response {
        let mut request = self.http.get(link).header("range", range);
        if let Some(etag) = etag {
            request = request.header("if-match", etag);
        }
        request.send().await.unwrap()
    }
}

fn client() -> Client {
    // Another test may have installed it first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

fn header(response: &Response, name: &str) -> String {
    let value = response.headers().get(name);
    value.map_or(String::new(), |v| v.to_str().unwrap().to_string())
}

fn serving(fleet: Fleet, faults: &str) -> Emulator {
    Emulator::start_blocking(Settings {
        faults: Faults::parse(faults).unwrap(),
        ..Settings::serving(fleet)
    })
    .unwrap()
}

fn id() -> ActionId {
    "5382f7ea-7557-4ab7-9782-d50480024a4e".parse().unwrap()
}

fn key(index: u32) -> ResultKey {
    format!("{}/{index}", id()).parse().unwrap()
}

/// One action: a transcript, a file, a PutFile, a lost upload, a failure.
fn small_fleet() -> Fleet {
    let action = Action::on("ws-001.contoso.example")
        .id(id())
        .comment("CASE-42")
        .run_script("a.ps1", "-All", TRANSCRIPT)
        .get_file("C:\\Temp\\the file.txt", vec![7u8; 1000])
        .put_file("a.ps1")
        .command(Command::get_file("C:\\lost"))
        .command(Command::run_script("b.ps1", "").failed("exit code 1"));
    Fleet::new().action(action)
}

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
    let emulator = Emulator::start_blocking(Settings {
        time_scale: 100.0,
        link_life: Duration::from_secs(60),
        ..Settings::serving(small_fleet())
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
    let fleet = Fleet::new().action(Action::on("ws").id(id()).get_file("a", bytes.clone()));
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
    let emulator = Emulator::start_blocking(Settings {
        time_scale: 40.0,
        limits: few(),
        ..Settings::serving(small_fleet())
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

/// A budget that a test can spend quickly.
fn few() -> Limits {
    Limits {
        link_per_min: 10,
        ..Limits::default()
    }
}

fn emulator_span(emulator: &Emulator, seconds: u64) -> Duration {
    emulator.clock().real(Duration::from_secs(seconds)) + Duration::from_millis(5)
}

#[tokio::test]
async fn clock_budget_links_and_tokens_go_on_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = |bind| Settings {
        bind,
        limits: few(),
        state_file: Some(folder.path().join("state")),
        ..Settings::serving(small_fleet())
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
    let body = Body::seeded(Kind::Noise, 3, 3 << 30);
    let fleet = Fleet::new().action(Action::on("ws").id(id()).get_file("a", body));
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
    let progress = Progress {
        hidden: Duration::from_secs(10),
        queued: Duration::from_secs(10),
        each_command: Duration::from_secs(20),
        settling: Duration::from_secs(10),
    };
    let action = Action::on("ws").id(id()).progress(progress);
    let action = action.created_after_start(Duration::ZERO);
    let fleet = Fleet::new().action(action.run_script("a.ps1", "", TRANSCRIPT));
    let emulator = Emulator::start_blocking(Settings {
        time_scale: 100.0,
        ..Settings::serving(fleet)
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

async fn broken(faults: &str) -> (Emulator, Plain) {
    let bytes: Vec<u8> = (0..5000).map(|n| (n % 251) as u8).collect();
    let fleet = Fleet::new().action(Action::on("ws").id(id()).get_file("a", bytes));
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
    let emulator = Emulator::start_blocking(Settings {
        time_scale: 100.0,
        faults: Faults::parse("not-visible@60").unwrap(),
        ..Settings::serving(small_fleet())
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
    let down = Rule::new(Fault::Unavailable).times(Times::All);
    emulator.faults().add(down);
    assert_eq!(plain.call("machineactions").await.status(), 503);
    emulator.faults().clear();
    assert_eq!(plain.call("machineactions").await.status(), 200);
}

#[tokio::test]
async fn what_is_added_while_it_runs_is_served() {
    let emulator = Emulator::start(Settings::default()).await.unwrap();
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
    let emulator = serving(Fleet::from_folder(folder.path()).unwrap(), "");
    let plain = Plain::of(&emulator).await;
    let response = plain.blob(&plain.link(key(0)).await).await;
    assert_eq!(
        response.bytes().await.unwrap().as_ref(),
        b"\x1f\x8bnot really"
    );
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

#[test]
fn a_scale_out_of_bounds_is_refused() {
    for time_scale in [0.0, 0.5, 101.0, f64::NAN] {
        let settings = Settings {
            time_scale,
            ..Settings::default()
        };
        assert!(matches!(
            Emulator::start_blocking(settings),
            Err(Error::Scale(_))
        ));
    }
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
    let fleet = Fleet::transcripts(6, 3000, 5);
    let results = fleet.results();
    let emulator = Emulator::start_blocking(Settings {
        time_scale: 100.0,
        limits: Limits::lifted(),
        faults: Faults::survivable(),
        ..Settings::serving(fleet)
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
            Fault::NotVisible | Fault::SmallPages | Fault::Reordered | Fault::Duplicates
        );
        let fired = emulator.faults().fired(fault.fault);
        assert!(fired > 0 || !counted, "{} never fired", fault.fault.name());
    }
}
