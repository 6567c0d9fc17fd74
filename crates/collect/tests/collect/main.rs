//! The collector over real HTTP, with a vault in memory.

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

/// What a run said, all of it.
struct Outcome {
    report: Report,
    failure: Option<CollectError>,
    progress: Vec<CollectProgress>,
}

impl Outcome {
    /// Every text the run let out.
    fn text(&self) -> String {
        format!("{:?} {:?} {:?}", self.report, self.failure, self.progress)
    }
}

async fn run_until(
    settings: CollectSettings,
    sink: &TestSink,
    stop: watch::Receiver<bool>,
) -> Outcome {
    let progress = Arc::new(Mutex::new(Vec::new()));
    let heard = progress.clone();
    let events = Arc::new(move |p: CollectProgress| heard.lock().unwrap().push(p));
    let (report, failure) = collect(settings, sink.shared(), events, stop).await;
    let progress = progress.lock().unwrap().clone();
    Outcome {
        report,
        failure,
        progress,
    }
}

async fn run(settings: CollectSettings, sink: &TestSink) -> Outcome {
    let (_stop, stopped) = watch::channel(false);
    run_until(settings, sink, stopped).await
}
