//! Calls for packages and the library, with lost and throttled responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use afteraction_collect::fleet::read_inventory;
use afteraction_collect::{CollectError, LibraryClient, LibraryUpload, get_action, start_package};
use serde_json::json;

use super::stub::{Reply, Stub};
use super::stub_service::{id, is_list, page, settings};

fn machines() -> Reply {
    let machine = json!({"id": "m'1", "computerDnsName": "ws-1"});
    Reply::new(200, json!({ "value": [machine] }).to_string())
}

#[tokio::test]
async fn package_with_a_lost_response_is_found_in_the_list() {
    let state = tempfile::tempdir().unwrap();
    let (starts, lists) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let comment = Arc::new(std::sync::Mutex::new(serde_json::Value::Null));
    let stub = Stub::serve(move |request, _| match request {
        r if r.method == "POST" => match starts.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::new(429, "").header("Retry-After", "1"),
            _ => {
                let body: serde_json::Value = serde_json::from_slice(&r.body).unwrap();
                *comment.lock().unwrap() = body["Comment"].clone();
                Reply::new(502, "<html>")
            }
        },
        r if is_list(r) => match lists.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => page(&[]),
            _ => page(&[json!({"id": id(9), "type": "CollectInvestigationPackage",
                "requestorComment": *comment.lock().unwrap()})]),
        },
        _ => machines(),
    });
    let settings = settings(&stub, state.path());
    let action = start_package(&settings, "ws-1", "CASE-42").await.unwrap();
    assert_eq!(action.to_string(), id(9));
    let requests = stub.requests();
    assert_eq!(requests.iter().filter(|r| r.method == "POST").count(), 2);
    let list = requests.iter().find(|r| is_list(r)).unwrap();
    let target = list.target.replace("%20", " ").replace("%27", "'");
    assert!(target.ends_with("machineId eq 'm''1'"), "{target}");
}

#[tokio::test]
async fn response_with_a_too_large_action_is_not_read_to_its_end() {
    let state = tempfile::tempdir().unwrap();
    let long = json!({"id": id(1), "title": "x".repeat(3 << 20)}).to_string();
    let stub = Stub::serve(move |_, _| Reply::new(200, long.clone()));
    let settings = settings(&stub, state.path());
    let response = get_action(&settings, id(1).parse().unwrap()).await;
    let error = response.unwrap_err().to_string();
    assert!(error.contains("longer than 1048576 bytes"), "{error}");
}

#[tokio::test]
async fn list_that_links_to_its_own_page_is_an_error() {
    let state = tempfile::tempdir().unwrap();
    let stub = Stub::serve(|request, base| {
        let next = format!("{base}{}", request.target);
        let machine = json!({"id": "m1", "computerDnsName": "ws-1"});
        let list = json!({"value": [machine], "@odata.nextLink": next});
        Reply::new(200, list.to_string())
    });
    let settings = settings(&stub, state.path());
    let inventory = read_inventory(&settings, Arc::new(|_| ())).await;
    let error = format!("{:?}", inventory.unwrap_err());
    assert!(error.contains("does not end"), "{error}");
}

#[tokio::test]
async fn refused_package_is_not_searched() {
    let state = tempfile::tempdir().unwrap();
    let stub = Stub::serve(|request, _| match request.method.as_str() {
        "POST" => Reply::new(400, "{}"),
        _ => machines(),
    });
    let settings = settings(&stub, state.path());
    let refused = start_package(&settings, "ws-1", "CASE-42").await;
    assert!(matches!(refused, Err(CollectError::Service { .. })));
    assert!(!stub.requests().iter().any(is_list));
}

#[tokio::test]
async fn throttled_upload_is_repeated_and_found_by_its_sent_name() {
    let state = tempfile::tempdir().unwrap();
    let sends = AtomicUsize::new(0);
    let stub = Stub::serve(move |request, _| match request.method.as_str() {
        "POST" if sends.fetch_add(1, Ordering::SeqCst) == 0 => {
            Reply::new(429, "").header("Retry-After", "1")
        }
        "POST" => Reply::new(200, "{}"),
        _ => page(&[json!({"fileName": "ab.ps1"})]),
    });
    let library = LibraryClient::open(&settings(&stub, state.path()))
        .await
        .unwrap();
    let upload = LibraryUpload {
        name: "a\"b.ps1".into(),
        bytes: b"exit".to_vec(),
        description: String::new(),
        parameters: String::new(),
        replace: false,
    };
    let uploaded = library.upload(&upload).await.unwrap();
    assert_eq!(uploaded.name, "ab.ps1");
    let requests = stub.requests();
    assert_eq!(requests.iter().filter(|r| r.method == "POST").count(), 2);
}

#[tokio::test]
async fn missing_file_after_a_lost_response_was_deleted() {
    let state = tempfile::tempdir().unwrap();
    let sends = AtomicUsize::new(0);
    let stub = Stub::serve(move |_, _| match sends.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(503, ""),
        1 => Reply::new(404, "{}"),
        2 => Reply::new(429, "").header("Retry-After", "1"),
        _ => Reply::new(404, "{}"),
    });
    let library = LibraryClient::open(&settings(&stub, state.path()))
        .await
        .unwrap();
    library.delete("a.ps1").await.unwrap();
    // A throttled call has deleted nothing: the missing file is an error.
    let missing = library.delete("a.ps1").await.unwrap_err();
    assert!(matches!(missing, CollectError::Service { .. }), "{missing}");
}
