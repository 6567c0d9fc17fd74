//! Ends a session: the stop flag that every task watches, and the first error.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::CollectError;

/// Stop flag and failure of a session.
pub(crate) struct Shutdown {
    stop: watch::Sender<bool>,
    failure: Mutex<Option<CollectError>>,
}

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self {
            stop: watch::Sender::new(false),
            failure: Mutex::default(),
        }
    }

    /// Runs a future until it completes or the session stops, whichever is
    /// first. Returns `None` after a stop; the future is dropped at the await
    /// point that it has reached.
    pub(crate) async fn unless_stopped<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut stop = self.stop.subscribe();
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => None,
            output = future => Some(output),
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits for the stop, and then for a grace period.
    ///
    /// **Units**: real time.
    pub(crate) async fn stopped_for(&self, grace: Duration) {
        let mut stop = self.stop.subscribe();
        let _ = stop.wait_for(|stop| *stop).await;
        tokio::time::sleep(grace).await;
    }

    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Stops the session with an error; the first error is reported.
    pub(crate) fn fail(&self, error: CollectError) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        drop(failure);
        self.stop();
    }

    pub(crate) fn take_failure(&self) -> Option<CollectError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Stops the session when the caller's flag becomes true.
pub(crate) async fn forward_stop(mut caller: watch::Receiver<bool>, shutdown: &Shutdown) {
    wait_for_stop(&mut caller).await;
    shutdown.stop();
}

/// Waits until the caller's flag is true. A dropped sender stops nothing.
pub(crate) async fn wait_for_stop(caller: &mut watch::Receiver<bool>) {
    if caller.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
