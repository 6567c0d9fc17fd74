//! Damage to the call log during a collection.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::sync::watch;

use super::memory_sink::TestSink;
#[cfg(target_os = "linux")]
use super::run;
use super::run_until;
use super::stub::{Reply, Stub};
use super::stub_service::{action, is_list, link, page, settings};

/// A service with two pages; `damage` is called with the path of the call log
/// before the first response.
fn service_with_damage(state: &Path, damage: impl Fn(&Path) + Send + Sync + 'static) -> Stub {
    let state = state.to_path_buf();
    Stub::serve(move |request, base| match request {
        r if is_list(r) && r.target.contains("$skip") => page(&[action(2, 0)]),
        r if is_list(r) => {
            let files = std::fs::read_dir(&state).unwrap().flatten();
            let mut logs = files.map(|file| file.path());
            let log = logs.find(|path| path.extension().is_some_and(|e| e == "calls"));
            damage(&log.unwrap());
            let next = format!("{base}/api/machineactions?$skip=1");
            let page = json!({"value": [action(1, 0)], "@odata.count": 2, "@odata.nextLink": next});
            Reply::new(200, page.to_string())
        }
        r => link(r, base),
    })
}

#[tokio::test]
async fn call_log_damaged_during_a_collection_blocks_calls_for_one_hour() {
    let state = tempfile::tempdir().unwrap();
    let stub = service_with_damage(state.path(), |log| std::fs::write(log, "\0\0\0").unwrap());
    let (stop, stopped) = watch::channel(false);
    let settings = settings(&stub, state.path());
    let running = tokio::spawn(async move { run_until(settings, &TestSink::new(), stopped).await });
    tokio::time::sleep(Duration::from_millis(600)).await;
    stop.send(true).unwrap();
    let outcome = running.await.unwrap();
    assert!(
        outcome.failure.is_none() && outcome.report.stopped,
        "{}",
        outcome.text()
    );
    assert!(
        outcome.text().contains("is unreadable"),
        "{}",
        outcome.text()
    );
    let lists = stub.requests().iter().filter(|r| is_list(r)).count();
    assert_eq!(lists, 1, "all calls are blocked");
}

/// Writes to the log fail with a full disk.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn collection_waits_for_space_for_the_call_log() {
    let state = tempfile::tempdir().unwrap();
    let stub = service_with_damage(state.path(), |log| {
        let fresh = log.with_extension("fresh");
        let _ = std::fs::remove_file(&fresh);
        std::os::unix::fs::symlink("/dev/full", &fresh).unwrap();
        // An empty log is rewritten at the next update.
        std::fs::write(log, "").unwrap();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(600));
            std::fs::remove_file(fresh).unwrap();
        });
    });
    let outcome = run(settings(&stub, state.path()), &TestSink::new()).await;
    assert!(outcome.failure.is_none(), "{}", outcome.text());
    assert_eq!(outcome.report.actions, 2);
    assert!(outcome.text().contains("no space for the call log"));
}
