//! State of one collection that the poller, the workers and the background
//! tasks of a fleet run share.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::clock::WallTime;
use crate::counters::CollectCounters;
use crate::fetch::claimed::ClaimedResults;
use crate::fetch::poll_interval::ResultPacing;
use crate::fetch::queue::{DownloadQueue, PendingResult};
use crate::fetch::shutdown::Shutdown;
use crate::fetch::sink_handle::SinkHandle;
use crate::fetch::source::ResultSource;
use crate::service::api::Api;
use crate::service::circuit_breaker::CircuitBreaker;
use crate::service::preflight;
use crate::{CollectError, CollectSettings, ResultSink};

/// Shared state of one collection.
pub(crate) struct CollectSession {
    pub settings: CollectSettings,
    pub api: Api,
    pub source: Arc<dyn ResultSource>,
    pub sink: SinkHandle,
    pub queue: DownloadQueue,
    /// Shared with the planner, which runs on a worker thread.
    pub claimed: Arc<Mutex<ClaimedResults>>,
    pub pacing: ResultPacing,
    pub blob_breaker: CircuitBreaker,
    pub shutdown: Arc<Shutdown>,
    /// Every writer thread owns a clone: the channel closes when the last
    /// thread has ended.
    pub writer_guard: mpsc::Sender<()>,
}

impl CollectSession {
    /// Validates the settings, signs in and opens the call log.
    pub(crate) async fn open(
        settings: CollectSettings,
        sink: Arc<dyn ResultSink>,
        counters: Arc<CollectCounters>,
        source: Arc<dyn ResultSource>,
        writer_guard: mpsc::Sender<()>,
    ) -> Result<Self, CollectError> {
        settings.validate()?;
        let api = Api::open(&settings, counters.clone()).await?;
        let token = api.tokens.token().await?;
        if let Some(warning) = preflight::missing_permissions(&token) {
            counters.notify(warning);
        }
        api.retry_forever.set(settings.watch.is_some());
        let shutdown = Arc::new(Shutdown::new());
        Ok(Self {
            blob_breaker: CircuitBreaker::new(api.retry_forever.clone()),
            queue: DownloadQueue::new(api.clock),
            sink: SinkHandle::new(sink, counters, shutdown.clone()),
            claimed: Arc::default(),
            pacing: ResultPacing::default(),
            settings,
            api,
            source,
            shutdown,
            writer_guard,
        })
    }

    pub(crate) fn lock_claimed(&self) -> MutexGuard<'_, ClaimedResults> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records how long a result took to become available, if the end of its
    /// command is known and was not used yet.
    pub(crate) fn record_available(&self, pending: &mut PendingResult) {
        if let Some(ended) = pending.ended.take() {
            let clock = self.api.clock;
            let since_end = |at: WallTime| clock.service(at.since(ended));
            self.pacing
                .record_delay(pending.last_miss.map(since_end), since_end(clock.now()));
        }
    }

    /// Leaves a result that is not available to a later plan. It is removed
    /// from the queue before its claim ends, because the queue rejects a
    /// result that it still contains.
    pub(crate) fn release(&self, pending: &PendingResult) {
        self.queue.complete(pending.key());
        self.lock_claimed().release(pending.key());
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::fetch::filter_source::FilterSource;
    use crate::service::list::ListedActions;
    use crate::{
        ActionFilter, BodySink, Cloud, ReceivedAction, Secret, SignIn, SinkError, StoredState,
        TokenSource,
    };
    use evidence::{Action, Facts, Gap, ResultKey};

    type StateHook = Box<dyn Fn(ResultKey) + Send + Sync>;

    /// A sink without results that records gaps.
    #[derive(Default)]
    pub struct EmptySink {
        pub gaps: Mutex<Vec<Gap>>,
        /// Called before the state of a result is returned.
        pub on_stored_state: Option<StateHook>,
    }

    impl ResultSink for EmptySink {
        fn stored_state(&self, key: ResultKey) -> Result<StoredState, SinkError> {
            if let Some(hook) = &self.on_stored_state {
                hook(key);
            }
            Ok(StoredState::Absent)
        }

        fn record_actions(&self, _: &[ReceivedAction]) -> Result<(), SinkError> {
            Ok(())
        }

        fn record_gaps(&self, gaps: &[Gap]) -> Result<(), SinkError> {
            self.gaps.lock().unwrap().extend_from_slice(gaps);
            Ok(())
        }

        fn download(&self, _: ResultKey, _: Facts) -> Result<Box<dyn BodySink>, SinkError> {
            Err(SinkError::DiskFull)
        }
    }

    /// A session without tasks whose service is unreachable.
    pub async fn idle_session(sink: Arc<dyn ResultSink>, state_dir: &Path) -> Arc<CollectSession> {
        let unreachable = Some("http://127.0.0.1:1");
        let settings = CollectSettings::new(
            Cloud::Commercial,
            unreachable,
            unreachable,
            SignIn::Token(TokenSource::Ready(Secret::new("x"))),
            state_dir.into(),
        )
        .unwrap();
        let counters = Arc::new(CollectCounters::new(Arc::new(|_| ())));
        let source = Arc::new(FilterSource::new(ActionFilter::default()));
        let (writer_guard, _) = mpsc::channel(1);
        let session = CollectSession::open(settings, sink, counters, source, writer_guard);
        Arc::new(session.await.unwrap())
    }

    /// An action in progress with one completed command.
    pub fn action(n: u32) -> Action {
        let json = serde_json::json!({"id": format!("5382f7ea-7557-4ab7-9782-{n:012x}"),
            "status": "InProgress",
            "commands": [{"commandStatus": "Completed", "command": {"type": "GetFile"}}]});
        Action::from_value(&json).unwrap()
    }

    pub fn listed(actions: &[Action]) -> ListedActions {
        let mut listed = ListedActions::default();
        for action in actions {
            listed.insert_recorded(action.clone());
        }
        listed
    }
}
