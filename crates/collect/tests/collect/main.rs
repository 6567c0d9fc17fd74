//! The collector over real HTTP, with a vault in memory.

mod emulated;
mod fleet;
mod requests;
mod spoilt_log;
mod stub;
mod stubbed;
mod vault;

use std::sync::{Arc, Mutex};

use afteraction_collect::{CollectError, CollectProgress, CollectSettings, Report, collect};
use tokio::sync::watch;
use vault::MemoryVault;

/// What a run said, all of it.
struct Told {
    report: Report,
    failure: Option<CollectError>,
    progress: Vec<CollectProgress>,
}

impl Told {
    /// Every text the run let out.
    fn text(&self) -> String {
        format!("{:?} {:?} {:?}", self.report, self.failure, self.progress)
    }
}

async fn run_until(
    settings: CollectSettings,
    vault: &MemoryVault,
    stop: watch::Receiver<bool>,
) -> Told {
    let progress = Arc::new(Mutex::new(Vec::new()));
    let heard = progress.clone();
    let events = Arc::new(move |p: CollectProgress| heard.lock().unwrap().push(p));
    let (report, failure) = collect(settings, vault.shared(), events, stop).await;
    let progress = progress.lock().unwrap().clone();
    Told {
        report,
        failure,
        progress,
    }
}

async fn run(settings: CollectSettings, vault: &MemoryVault) -> Told {
    let (_stop, stopped) = watch::channel(false);
    run_until(settings, vault, stopped).await
}
