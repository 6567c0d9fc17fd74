//! Collections and fleet runs over HTTP, against the emulator and against a
//! stub server, with a sink in memory.

mod damaged_call_log;
mod emulated;
mod fleet;
mod memory_sink;
mod requests;
mod stub;
mod stub_service;

use std::sync::{Arc, Mutex};

use afteraction_collect::{CollectError, CollectProgress, CollectSettings, Report, collect};
use memory_sink::TestSink;
use tokio::sync::watch;

/// Everything that a collection returned or reported.
struct CollectOutcome {
    report: Report,
    failure: Option<CollectError>,
    progress: Vec<CollectProgress>,
}

impl CollectOutcome {
    /// All texts of the collection.
    fn text(&self) -> String {
        format!("{:?} {:?} {:?}", self.report, self.failure, self.progress)
    }
}

/// Collects until the end or until `stop` is set.
async fn run_until(
    settings: CollectSettings,
    sink: &TestSink,
    stop: watch::Receiver<bool>,
) -> CollectOutcome {
    let progress = Arc::new(Mutex::new(Vec::new()));
    let received = progress.clone();
    let events = Arc::new(move |p: CollectProgress| received.lock().unwrap().push(p));
    let (report, failure) = collect(settings, sink.shared(), events, stop).await;
    let progress = progress.lock().unwrap().clone();
    CollectOutcome {
        report,
        failure,
        progress,
    }
}

async fn run(settings: CollectSettings, sink: &TestSink) -> CollectOutcome {
    let (_stop, stopped) = watch::channel(false);
    run_until(settings, sink, stopped).await
}
