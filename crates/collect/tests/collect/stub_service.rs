//! Collections and checks against a stub server, for responses that the
//! emulator does not give.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use afteraction_collect::{
    CheckState, Cloud, CollectError, CollectProgress, CollectSettings, Secret, SignIn, Timeouts,
    TokenSource, check,
};
use base64::Engine;
use evidence::{ActionId, CommandIndex, GapReason, ResultKey};
use serde_json::json;
use tokio::sync::watch;

use super::memory_sink::TestSink;
use super::stub::{Reply, Request, Stub};
use super::{run, run_until};

const TOKEN: &str = "eyJhbGciOiJub25lIn0.e30.TOKENSIGNATURE";
const SIG: &str = "sig=a/b%2Bc%3D";

pub fn id(n: u32) -> String {
    format!("5382f7ea-7557-4ab7-9782-{n:012x}")
}

fn key(n: u32, index: u32) -> ResultKey {
    let action: ActionId = id(n).parse().unwrap();
    ResultKey::new(action, CommandIndex(index))
}

pub fn action(n: u32, commands: u32) -> serde_json::Value {
    let commands: Vec<_> = (0..commands)
        .map(|index| {
            json!({"index": index, "startTime": "2026-01-01T00:00:00Z",
                "endTime": format!("2026-01-01T00:{:02}:00Z", n % 60),
                "commandStatus": "Completed", "errors": [],
                "command": {"type": "RunScript",
                    "params": [{"key": "ScriptName", "value": "a.ps1"}]}})
        })
        .collect();
    json!({"id": id(n), "type": "LiveResponse", "status": "Succeeded",
        "computerDnsName": "pc-17.contoso.example", "requestorComment": "CASE-42",
        "creationDateTimeUtc": "2026-01-01T00:00:00Z", "commands": commands})
}

pub fn page(actions: &[serde_json::Value]) -> Reply {
    Reply::new(200, json!({ "value": actions }).to_string())
}

/// A signed link to `/blob/ID/INDEX` of the same server.
pub fn link(request: &Request, base: &str) -> Reply {
    let path = request.target.trim_start_matches("/api/machineactions/");
    let url = format!("{base}/blob/{path}?se=2099-01-01T00%3A00%3A00Z&sp=r&{SIG}");
    Reply::new(200, json!({ "value": url }).to_string())
        .header("Date", "Thu, 01 Jan 2026 00:00:00 GMT")
}

pub fn is_list(request: &Request) -> bool {
    request.target.starts_with("/api/machineactions?")
}

/// A service with one page of actions; `blob` responds to blob requests.
fn service(
    actions: Vec<serde_json::Value>,
    blob: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Stub {
    Stub::serve(move |request, base| match request {
        r if is_list(r) => page(&actions),
        r if r.is_blob() => blob(r),
        r => link(r, base),
    })
}

pub fn settings(stub: &Stub, state: &Path) -> CollectSettings {
    let sign_in = SignIn::Token(TokenSource::Ready(Secret::new(TOKEN)));
    let mut settings = CollectSettings::new(
        Cloud::Commercial,
        Some(&stub.base),
        Some(&stub.base),
        sign_in,
        state.to_path_buf(),
    )
    .unwrap();
    settings.pace.time_scale = 100.0;
    settings.timeouts = Timeouts {
        connect: Duration::from_secs(2),
        read: Duration::from_millis(500),
        call: Duration::from_secs(2),
    };
    settings
}

#[tokio::test]
async fn link_is_sent_unchanged_and_without_the_token() {
    let state = tempfile::tempdir().unwrap();
    let stub = service(vec![action(1, 2)], |_| {
        Reply::new(200, "transcript")
            .header("ETag", "\"0x1\"")
            .header("x-ms-request-id", "r-1")
    });
    let sink = TestSink::new();
    let outcome = run(settings(&stub, state.path()), &sink).await;
    assert!(outcome.failure.is_none(), "{}", outcome.text());
    assert_eq!(outcome.report.sealed, 2);
    assert!(outcome.report.is_complete());
    let sealed = sink.sealed();
    assert_eq!(sealed[&key(1, 0)].bytes, b"transcript");
    let facts = &sealed[&key(1, 1)].facts;
    assert_eq!(facts.header("etag"), Some("\"0x1\""));
    assert_eq!(facts.script.as_deref(), Some("a.ps1"));
    let blobs: Vec<_> = stub
        .requests()
        .into_iter()
        .filter(Request::is_blob)
        .collect();
    assert_eq!(blobs.len(), 2);
    for blob in &blobs {
        let tail = format!("?se=2099-01-01T00%3A00%3A00Z&sp=r&{SIG}");
        assert!(blob.target.ends_with(&tail), "{}", blob.target);
        assert_eq!(blob.header("authorization"), None);
        assert_eq!(blob.header("accept-encoding"), None);
    }
    let calls = stub.requests().len() - blobs.len();
    let with_token = stub
        .requests()
        .iter()
        .filter(|r| r.header("authorization") == Some(&format!("Bearer {TOKEN}")))
        .count();
    assert_eq!(calls, with_token);
    assert_eq!(sink.actions().len(), 1);
}

#[tokio::test]
async fn second_collection_downloads_only_new_results() {
    let state = tempfile::tempdir().unwrap();
    let stub = service(vec![action(1, 3)], |_| Reply::new(200, "x"));
    let sink = TestSink::new();
    run(settings(&stub, state.path()), &sink).await;
    let second = run(settings(&stub, state.path()), &sink).await;
    assert_eq!((second.report.sealed, second.report.already_there), (0, 3));
    assert_eq!(second.report.link_calls, 0);
}

#[tokio::test]
async fn token_is_not_sent_to_the_host_of_a_next_link() {
    let state = tempfile::tempdir().unwrap();
    let elsewhere = Stub::serve(|_, _| Reply::new(200, "{\"value\":[]}"));
    let other = elsewhere.base.clone();
    let stub = Stub::serve(move |request, base| match request {
        r if is_list(r) && r.target.contains("$skip") => page(&[action(2, 1)]),
        r if is_list(r) => {
            let next = format!("{other}/api/machineactions?$skip=1");
            let page = json!({"value": [action(1, 1)], "@odata.count": 2, "@odata.nextLink": next});
            Reply::new(200, page.to_string())
        }
        r if r.is_blob() => Reply::new(200, ""),
        r => link(r, base),
    });
    let sink = TestSink::new();
    let outcome = run(settings(&stub, state.path()), &sink).await;
    assert_eq!(outcome.report.sealed, 2, "{}", outcome.text());
    assert!(sink.sealed()[&key(2, 0)].bytes.is_empty());
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn actions_hidden_by_moving_pages_are_found_in_another_pass() {
    let state = tempfile::tempdir().unwrap();
    let lists = AtomicUsize::new(0);
    let stub = Stub::serve(move |request, base| match request {
        r if is_list(r) => {
            let nth = lists.fetch_add(1, Ordering::SeqCst);
            let first = nth.is_multiple_of(2);
            // The first pass shows action 1 twice, an ordered pass shows both.
            let shown = if first || nth < 2 { 1 } else { 2 };
            let mut page = json!({"value": [action(shown, 1)], "@odata.count": 2});
            if first {
                page["@odata.nextLink"] = format!("{base}/api/machineactions?$skip=1").into();
            }
            Reply::new(200, page.to_string())
        }
        r if r.is_blob() => Reply::new(200, "x"),
        r => link(r, base),
    });
    let sink = TestSink::new();
    let outcome = run(settings(&stub, state.path()), &sink).await;
    assert_eq!(outcome.report.sealed, 2, "{}", outcome.text());
    assert!(
        stub.requests()
            .iter()
            .any(|r| r.target.contains("$orderby=creationDateTimeUtc"))
    );
}

#[tokio::test]
async fn plain_http_link_to_another_machine_is_refused() {
    let state = tempfile::tempdir().unwrap();
    let stub = Stub::serve(|request, _| match request {
        r if is_list(r) => page(&[action(1, 1)]),
        _ => {
            let link = format!("http://blob.example/x?{SIG}");
            Reply::new(200, json!({ "value": link }).to_string())
        }
    });
    let sink = TestSink::new();
    let outcome = run(settings(&stub, state.path()), &sink).await;
    assert_eq!(outcome.report.gaps.get(&GapReason::Refused), Some(&1));
    let detail = &sink.gaps()[0].detail;
    assert!(detail.contains("blob.example") && !detail.contains("sig="));
}

fn long_body() -> Vec<u8> {
    (0..100_000u32).flat_map(u32::to_le_bytes).collect()
}

/// Responds to range requests as the blob host does.
fn ranged(request: &Request, body: &[u8]) -> Reply {
    let range = request.header("range").and_then(|r| {
        let start = r.strip_prefix("bytes=")?.strip_suffix('-')?;
        start.parse::<usize>().ok()
    });
    match range {
        None => Reply::new(200, body),
        Some(start) if start >= body.len() => {
            Reply::new(416, "").header("Content-Range", format!("bytes */{}", body.len()))
        }
        Some(start) => Reply::new(206, &body[start..]).header(
            "Content-Range",
            format!("bytes {start}-{}/{}", body.len() - 1, body.len()),
        ),
    }
    .header("ETag", "\"0x1\"")
}

#[tokio::test]
async fn interrupted_body_resumes_at_its_offset() {
    let state = tempfile::tempdir().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let nth = requests.clone();
    let stub = service(vec![action(1, 1)], move |request| {
        let reply = ranged(request, &long_body());
        match nth.fetch_add(1, Ordering::SeqCst) {
            0 => reply.cut(70_000),
            1 => reply.cut(5_000),
            _ => reply,
        }
    });
    let sink = TestSink::new();
    let outcome = run(settings(&stub, state.path()), &sink).await;
    assert_eq!(outcome.report.sealed, 1, "{}", outcome.text());
    assert_eq!(sink.sealed()[&key(1, 0)].bytes, long_body());
    let blobs: Vec<_> = stub
        .requests()
        .into_iter()
        .filter(Request::is_blob)
        .collect();
    assert_eq!(blobs.len(), 3);
    assert_eq!(blobs[1].header("if-match"), Some("\"0x1\""));
    assert_eq!(blobs[1].header("range"), Some("bytes=70000-"));
    assert_eq!(blobs[2].header("range"), Some("bytes=75000-"));
    assert_eq!(outcome.report.link_calls, 1);
}

#[tokio::test]
async fn partial_response_at_another_offset_is_discarded() {
    let state = tempfile::tempdir().unwrap();
    let requests = AtomicUsize::new(0);
    let stub = service(vec![action(1, 1)], move |request| {
        let reply = ranged(request, &long_body());
        match requests.fetch_add(1, Ordering::SeqCst) {
            0 => reply.cut(70_000),
            1 => Reply::new(206, "wrong").header("Content-Range", "bytes 7-11/400000"),
            _ => reply,
        }
    });
    let sink = TestSink::new();
    let outcome = run(settings(&stub, state.path()), &sink).await;
    assert_eq!(outcome.report.sealed, 1, "{}", outcome.text());
    assert_eq!(sink.sealed()[&key(1, 0)].bytes, long_body());
}

#[tokio::test]
async fn stopped_download_is_resumed_by_the_next_collection() {
    let state = tempfile::tempdir().unwrap();
    let requests = AtomicUsize::new(0);
    let stub = service(vec![action(1, 1)], move |request| {
        let reply = ranged(request, &long_body());
        match requests.fetch_add(1, Ordering::SeqCst) {
            0 => {
                // Announces the whole body and sends a part of it.
                let mut reply = reply.cut(200_000);
                reply.headers.push(("X-Odd".into(), "y".into()));
                reply
            }
            1 => {
                std::thread::sleep(Duration::from_millis(1_500));
                Reply::new(503, "")
            }
            _ => reply,
        }
    });
    let sink = TestSink::new();
    let (stop, stopped) = watch::channel(false);
    let first = tokio::spawn({
        let (settings, sink) = (settings(&stub, state.path()), sink.clone());
        async move { run_until(settings, &sink, stopped).await }
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    stop.send(true).unwrap();
    let first = first.await.unwrap();
    assert!(first.report.stopped && first.failure.is_none());
    assert_eq!((first.report.sealed, first.report.left), (0, 1));
    // 200,000 bytes were received; the sink keeps complete frames.
    assert_eq!(sink.partial()[&key(1, 0)].bytes.len(), 199_680);
    let second = run(settings(&stub, state.path()), &sink).await;
    assert_eq!(second.report.sealed, 1, "{}", second.text());
    assert_eq!(sink.sealed()[&key(1, 0)].bytes, long_body());
    let last = stub.requests().pop().unwrap();
    assert_eq!(last.header("range"), Some("bytes=199680-"));
}

#[tokio::test]
async fn full_disk_pauses_collecting_until_there_is_space() {
    let state = tempfile::tempdir().unwrap();
    let stub = service(vec![action(1, 1)], |r| ranged(r, &long_body()));
    let sink = TestSink::new();
    sink.set_free_bytes(150_000);
    let full_sink = sink.clone();
    let freeing = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        full_sink.set_free_bytes(u64::MAX);
    });
    let outcome = run(settings(&stub, state.path()), &sink).await;
    freeing.await.unwrap();
    assert_eq!(outcome.report.sealed, 1, "{}", outcome.text());
    let full = outcome
        .progress
        .iter()
        .filter(|p| matches!(p, CollectProgress::DiskFull { .. }))
        .count();
    assert_eq!(full, 1);
    assert!(
        outcome
            .progress
            .contains(&CollectProgress::DiskSpaceAvailable)
    );
}

#[tokio::test]
async fn wrong_md5_is_retried_and_then_a_gap() {
    let state = tempfile::tempdir().unwrap();
    let stub = service(vec![action(1, 1)], |_| {
        let md5 = base64::engine::general_purpose::STANDARD.encode([7; 16]);
        Reply::new(200, "bytes").header("Content-MD5", md5)
    });
    let sink = TestSink::new();
    let outcome = run(settings(&stub, state.path()), &sink).await;
    assert_eq!(outcome.report.gaps.get(&GapReason::Damaged), Some(&1));
    assert!(sink.sealed().is_empty());
    let blobs = stub.requests().iter().filter(|r| r.is_blob()).count();
    assert_eq!(blobs, 4);
}

#[tokio::test]
async fn texts_of_a_failed_collection_contain_no_link_or_token() {
    let state = tempfile::tempdir().unwrap();
    let stub = service(vec![action(1, 1), action(2, 1)], |r| {
        let echo = format!("<Code>Odd {}</Code>", r.target);
        if r.target.contains("1/Get") {
            Reply::new(403, echo)
        } else {
            Reply::new(200, "x").header("Content-Length", "99").cut(0)
        }
    });
    let sink = TestSink::new();
    let outcome = run(settings(&stub, state.path()), &sink).await;
    assert_eq!(sink.gaps().len(), 2, "{}", outcome.text());
    let refused = Stub::serve(|r, _| {
        let token = r.header("authorization").unwrap_or("").to_string();
        let error = json!({"error": {"code": "Forbidden", "message": token}});
        Reply::new(403, error.to_string())
    });
    let failed = run(settings(&refused, state.path()), &sink).await;
    for file in std::fs::read_dir(state.path()).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains("TOKENSIGNATURE") && !text.contains("sig="));
    }
    let failure = failed.failure.as_ref().unwrap();
    assert!(matches!(failure, CollectError::Service { .. }) && failure.hint().is_some());
    let settings = settings(&stub, state.path());
    for text in [
        outcome.text(),
        failed.text(),
        format!("{failure}"),
        format!("{:?}", sink.gaps()),
        format!("{settings:?}"),
    ] {
        assert!(!text.contains("sig="), "{text}");
        assert!(!text.contains("TOKENSIGNATURE"), "{text}");
    }
}

#[tokio::test]
async fn time_scale_and_lifted_limits_are_refused_for_other_machines() {
    let state = tempfile::tempdir().unwrap();
    let stub = service(Vec::new(), |_| Reply::new(200, ""));
    let sink = TestSink::new();
    let mut far = settings(&stub, state.path());
    far.api_base = "https://api.example".parse().unwrap();
    let outcome = run(far, &sink).await;
    assert!(matches!(
        outcome.failure,
        Some(CollectError::Setting { .. })
    ));
    let mut plain = settings(&stub, state.path());
    plain.login_base = "http://login.example".parse().unwrap();
    let outcome = run(plain, &sink).await;
    assert!(matches!(
        outcome.failure,
        Some(CollectError::PlainHttp { .. })
    ));
}

#[tokio::test]
async fn check_reports_missing_permissions_and_host_errors() {
    let state = tempfile::tempdir().unwrap();
    let stub = service(Vec::new(), |_| Reply::new(200, ""));
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .encode(r#"{"roles":["Machine.LiveResponse"]}"#);
    let mut settings = settings(&stub, state.path());
    settings.sign_in = SignIn::Token(TokenSource::Ready(Secret::new(format!("e30.{payload}.x"))));
    let lines = check(&settings, Some(1_000_000)).await;
    let state_of = |what: &str| {
        let line = lines.iter().find(|line| line.what == what);
        line.unwrap_or_else(|| panic!("no line on {what}")).state
    };
    assert_eq!(state_of("sign-in"), CheckState::Ok);
    assert_eq!(state_of("permissions"), CheckState::Warn);
    assert_eq!(state_of("host"), CheckState::Ok);
    assert_eq!(state_of("disk"), CheckState::Warn);
    settings.ca_file = Some(state.path().join("none.pem"));
    std::fs::write(state.path().join("none.pem"), "no certificate").unwrap();
    let lines = check(&settings, None).await;
    assert_eq!(
        (lines[0].what, lines[0].state),
        ("settings", CheckState::Fail)
    );
    settings.ca_file = None;
    settings.api_base = "http://127.0.0.1:1".parse().unwrap();
    let lines = check(&settings, None).await;
    let host = lines.iter().find(|line| line.what == "host").unwrap();
    assert_eq!(host.state, CheckState::Fail);
}

#[tokio::test]
async fn throttled_check_waits_once_and_then_warns() {
    let state = tempfile::tempdir().unwrap();
    for (retry_after, throttled, expected, calls) in [
        ("0", 1, CheckState::Ok, 2),
        ("0", 9, CheckState::Warn, 2),
        ("999999999", 9, CheckState::Warn, 1),
        ("18446744073709551615", 9, CheckState::Warn, 1),
    ] {
        let requests = AtomicUsize::new(0);
        let stub = Stub::serve(move |_, _| {
            if requests.fetch_add(1, Ordering::Relaxed) < throttled {
                Reply::new(429, "").header("Retry-After", retry_after)
            } else {
                page(&[])
            }
        });
        let lines = check(&settings(&stub, state.path()), None).await;
        let host = lines.iter().find(|line| line.what == "host").unwrap();
        assert_eq!((host.state, stub.requests().len()), (expected, calls));
    }
}

#[tokio::test]
async fn hint_for_an_unreachable_login_host_names_the_network() {
    let state = tempfile::tempdir().unwrap();
    let stub = service(Vec::new(), |_| Reply::new(200, ""));
    let mut settings = settings(&stub, state.path());
    settings.sign_in = SignIn::Client {
        tenant: "t".into(),
        client_id: "c".into(),
        secret: Secret::new("s"),
    };
    settings.login_base = "http://127.0.0.1:1".parse().unwrap();
    let lines = check(&settings, None).await;
    let hint = lines[0].hint.as_deref().unwrap();
    assert_eq!(
        (lines[0].what, lines[0].state),
        ("sign-in", CheckState::Fail)
    );
    assert!(
        hint.contains("network") && !hint.contains("secret"),
        "{hint}"
    );
}

#[tokio::test]
async fn unmatched_device_makes_the_collection_incomplete() {
    let state = tempfile::tempdir().unwrap();
    let stub = service(vec![action(1, 1)], |_| Reply::new(200, "bytes"));
    let sink = TestSink::new();
    let mut settings = settings(&stub, state.path());
    settings.filter.devices = vec!["PC-17".into(), "nosuch".into()];
    let outcome = run(settings.clone(), &sink).await;
    assert_eq!((outcome.report.sealed, outcome.report.left), (1, 0));
    assert_eq!(outcome.report.unmatched, ["nosuch"]);
    assert!(!outcome.report.is_complete());
    let mentions = |outcome: &super::CollectOutcome, what: &str| outcome.text().contains(what);
    assert!(
        mentions(&outcome, "on nosuch matches"),
        "{}",
        outcome.text()
    );
    settings.filter.devices.pop();
    settings.filter.comment = Some("case-43".into());
    let outcome = run(settings.clone(), &sink).await;
    assert!(
        mentions(&outcome, "matches the filter"),
        "{}",
        outcome.text()
    );
    settings.filter.comment = None;
    let outcome = run(settings, &sink).await;
    assert!(outcome.report.is_complete() && !mentions(&outcome, "matches the filter"));
}

#[tokio::test]
async fn unreadable_entries_are_counted_over_all_lists_and_reported_once() {
    let state = tempfile::tempdir().unwrap();
    let wanted: Vec<ActionId> = (1..=21).map(|n| id(n).parse().unwrap()).collect();
    let stub = Stub::serve(|request, base| match request {
        // The first of two lists, by the ids in its query.
        r if is_list(r) && r.target.contains(&id(1)) => page(&[action(1, 1), json!({"id": 7})]),
        r if is_list(r) => page(&[action(21, 1)]),
        r if r.is_blob() => Reply::new(200, "x"),
        r => link(r, base),
    });
    let mut settings = settings(&stub, state.path());
    settings.filter.actions = wanted;
    settings.watch = Some(Duration::from_secs(5));
    let (stop, stopped) = watch::channel(false);
    let sink = TestSink::new();
    let running = tokio::spawn({
        let sink = sink.clone();
        async move { run_until(settings, &sink, stopped).await }
    });
    while stub.requests().iter().filter(|r| is_list(r)).count() < 8 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.send(true).unwrap();
    let outcome = running.await.unwrap();
    assert_eq!(outcome.report.unreadable, 1, "{}", outcome.text());
    let notices = outcome.report.notices.iter();
    let unreadable = notices.filter(|text| text.contains("describe no action"));
    assert_eq!(unreadable.count(), 1, "{}", outcome.text());
}

#[tokio::test]
async fn token_that_expires_during_a_wait_is_renewed() {
    let state = tempfile::tempdir().unwrap();
    let (tokens, lists) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let stub = Stub::serve(move |request, _| {
        if request.target.ends_with("/token") {
            let nth = tokens.fetch_add(1, Ordering::SeqCst);
            let token = json!({"access_token": format!("token-{nth}"), "expires_in": 60});
            return Reply::new(200, token.to_string());
        }
        match lists.fetch_add(1, Ordering::SeqCst) {
            // A second of real time, longer than the minute of the token.
            0 => Reply::new(429, "").header("Retry-After", "100"),
            _ => page(&[action(1, 0)]),
        }
    });
    let mut settings = settings(&stub, state.path());
    settings.sign_in = SignIn::Client {
        tenant: "t".into(),
        client_id: "c".into(),
        secret: Secret::new("s"),
    };
    let outcome = run(settings, &TestSink::new()).await;
    assert!(outcome.failure.is_none(), "{}", outcome.text());
    let requests = stub.requests();
    let tokens: Vec<_> = requests
        .iter()
        .filter_map(|r| r.header("authorization"))
        .collect();
    assert_eq!(tokens, ["Bearer token-0", "Bearer token-1"]);
    assert_eq!(outcome.report.list_calls, 2);
}

#[tokio::test]
async fn full_disk_is_detected_before_a_link_is_requested() {
    let state = tempfile::tempdir().unwrap();
    let stub = service(vec![action(1, 1)], |_| Reply::new(200, "x"));
    let sink = TestSink::new();
    sink.set_free_bytes(0);
    let full_sink = sink.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        full_sink.set_free_bytes(u64::MAX);
    });
    let outcome = run(settings(&stub, state.path()), &sink).await;
    assert_eq!(outcome.report.sealed, 1, "{}", outcome.text());
    assert!(
        outcome
            .progress
            .contains(&CollectProgress::DiskSpaceAvailable)
    );
    assert_eq!(outcome.report.link_calls, 1);
}

#[tokio::test]
async fn action_too_large_to_store_is_skipped() {
    let state = tempfile::tempdir().unwrap();
    let mut monster = action(2, 1);
    monster["requestorComment"] = "x".repeat(2_000_000).into();
    let stub = service(vec![monster, action(1, 1)], |_| Reply::new(200, "x"));
    let sink = TestSink::new();
    let outcome = run(settings(&stub, state.path()), &sink).await;
    assert!(outcome.failure.is_none(), "{}", outcome.failure.unwrap());
    assert_eq!((outcome.report.sealed, outcome.report.unreadable), (1, 1));
    assert_eq!(sink.actions().len(), 1);
}
