//! Calls the sink off the async threads and waits while its disk is full.

use std::sync::{Arc, Mutex, PoisonError};

use crate::counters::CollectCounters;
use crate::fetch::shutdown::Shutdown;
use crate::system::DISK_CHECK_INTERVAL;
use crate::{CollectError, CollectProgress, ResultSink, SinkError};

/// Free space required beyond the bytes that are known to be missing: twice
/// the bodies that wait for a commit (`collector::SEALING_BYTES_MAX`). The
/// store keeps a reserve and refuses writes below it; with a smaller margin
/// the space would seem sufficient here and be refused there.
///
/// **Units**: bytes.
const SPACE_MARGIN: u64 = 64 * 1024 * 1024;

/// The sink as the tasks of a session use it.
pub(crate) struct SinkHandle {
    sink: Arc<dyn ResultSink>,
    counters: Arc<CollectCounters>,
    shutdown: Arc<Shutdown>,
    /// Whether a full disk was reported and not yet resolved.
    is_disk_full: Mutex<bool>,
}

impl SinkHandle {
    pub(crate) fn new(
        sink: Arc<dyn ResultSink>,
        counters: Arc<CollectCounters>,
        shutdown: Arc<Shutdown>,
    ) -> Self {
        Self {
            sink,
            counters,
            shutdown,
            is_disk_full: Mutex::default(),
        }
    }

    /// The sink itself, for a thread that may block.
    pub(crate) fn shared(&self) -> Arc<dyn ResultSink> {
        self.sink.clone()
    }

    /// Calls the sink on a worker thread, again and again while the disk is
    /// full. `attempt` completes "could not …" in an error.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        attempt: &'static str,
        operation: impl Fn(&dyn ResultSink) -> Result<R, SinkError> + Send + Sync + 'static,
    ) -> Result<R, CollectError> {
        let operation = Arc::new(operation);
        loop {
            let operation = operation.clone();
            match self.run_blocking(move |sink| operation(sink)).await? {
                Ok(value) => return Ok(value),
                Err(SinkError::DiskFull) => {
                    let waited = self.shutdown.unless_stopped(self.wait_for_space(0)).await;
                    if waited.is_none() {
                        return Err(CollectError::sink(attempt, SinkError::DiskFull));
                    }
                }
                Err(error) => return Err(CollectError::sink(attempt, error)),
            }
        }
    }

    /// Calls the sink on a worker thread, once.
    pub(crate) async fn call_once<R: Send + 'static>(
        &self,
        attempt: &'static str,
        operation: impl FnOnce(&dyn ResultSink) -> Result<R, SinkError> + Send + 'static,
    ) -> Result<R, CollectError> {
        self.run_blocking(operation)
            .await?
            .map_err(|error| CollectError::sink(attempt, error))
    }

    async fn run_blocking<R: Send + 'static>(
        &self,
        operation: impl FnOnce(&dyn ResultSink) -> R + Send + 'static,
    ) -> Result<R, CollectError> {
        let sink = self.sink.clone();
        tokio::task::spawn_blocking(move || operation(sink.as_ref()))
            .await
            .map_err(|e| CollectError::Worker(e.to_string()))
    }

    /// Returns when the sink has space for `missing` more bytes, or after one
    /// interval if the free space is unknown.
    pub(crate) async fn wait_for_space(&self, missing: u64) {
        let needed = missing.saturating_add(SPACE_MARGIN);
        if !self.set_disk_full(true) {
            tracing::info!(needed, "disk full, collecting paused");
            self.counters.emit(CollectProgress::DiskFull { needed });
        }
        loop {
            tokio::time::sleep(DISK_CHECK_INTERVAL).await;
            let is_enough = match self.run_blocking(|sink| sink.free_bytes()).await {
                Ok(Ok(Some(free))) => free >= needed,
                _ => true,
            };
            if is_enough {
                break;
            }
        }
        if self.set_disk_full(false) {
            tracing::info!("disk space available, collecting resumed");
            self.counters.emit(CollectProgress::DiskSpaceAvailable);
        }
    }

    /// Sets the flag and returns its previous value.
    fn set_disk_full(&self, is_full: bool) -> bool {
        let mut flag = self
            .is_disk_full
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut flag, is_full)
    }
}
