//! The run: a lister that adds to the queue, slots that take from it, seals
//! that settle beside them, and an end at which nothing is under way.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::clock::{Clock, WallTime};
use crate::counters::CollectCounters;
use crate::fetch::claimed::ClaimedResults;
use crate::fetch::download;
use crate::fetch::download::{DownloadStep, ResultDownload};
use crate::fetch::poller;
use crate::fetch::queue::{DownloadQueue, PendingResult};
use crate::fetch::writer::WriteResult;
use crate::fleet;
use crate::fleet::FleetRunner;
use crate::service::api::{Api, DISK_CHECK_INTERVAL};
use crate::service::circuit_breaker::CircuitBreaker;
use crate::service::retry::ErrorClass;
use crate::{
    ApiCall, CollectError, CollectProgress, CollectSettings, Events, Report, ResultSink, SinkError,
};
use evidence::{Gap, GapReason};

/// Bodies that wait for their commit while their slots go on: the vault groups
/// commits, and a slot that waited for each would be bound by its sync.
const SEALING_MAX: u32 = 256;
/// Bytes such bodies may hold in memory, in units of [`SEALING_UNIT`].
const SEALING_BYTES_MAX: u64 = 32 * 1024 * 1024;
const SEALING_UNIT: u64 = 4 * 1024;
/// A larger body stands in a file of its own and holds no memory.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;
/// Room asked for beyond what is known to be missing: twice a commit's bodies.
/// The vault keeps some in reserve and refuses below it, so a margin no greater
/// than that would find room where the vault finds none.
const SPACE_MARGIN: u64 = 2 * SEALING_BYTES_MAX;

/// What the parts of a run share.
pub(crate) struct CollectSession {
    pub settings: CollectSettings,
    pub api: Api,
    pub sink: Arc<dyn ResultSink>,
    pub clock: Clock,
    pub counters: Arc<CollectCounters>,
    pub blob_breaker: CircuitBreaker,
    /// Held by every writer's thread: when all are gone nothing writes.
    pub alive: mpsc::Sender<()>,
    pub queue: DownloadQueue,
    /// The fleet run whose results these are.
    pub fleet: Option<Arc<FleetRunner>>,
    sealing: Arc<Semaphore>,
    halt: watch::Sender<bool>,
    failure: Mutex<Option<CollectError>>,
    /// Shared with the thread that looks up what is sealed.
    pub claimed: Arc<Mutex<ClaimedResults>>,
    disk_full: Mutex<bool>,
}

/// Collects until everything is settled, or, watching, until stopped.
///
/// The report is whole whatever happened; the error says what ended the run
/// before its time. `stop` set to true ends it cleanly: what is sealed is
/// sealed, what is under way stays for the next run.
pub async fn collect(
    settings: CollectSettings,
    sink: Arc<dyn ResultSink>,
    events: Events,
    stop: watch::Receiver<bool>,
) -> (Report, Option<CollectError>) {
    pump(settings, sink, events, stop, None).await
}

/// The same, for the results of a fleet run that goes on beside it.
pub(crate) async fn pump(
    settings: CollectSettings,
    sink: Arc<dyn ResultSink>,
    events: Events,
    stop: watch::Receiver<bool>,
    fleet: Option<Arc<FleetRunner>>,
) -> (Report, Option<CollectError>) {
    let started = Instant::now();
    let counters = Arc::new(CollectCounters::new(events));
    let (alive, mut all_gone) = mpsc::channel(1);
    let mut early = stop.clone();
    let prepared = tokio::select! {
        prepared = prepare(settings, sink, counters.clone(), alive, fleet) => prepared,
        () = stopped(&mut early) => {
            counters.update(|report| report.stopped = true);
            return (counters.report(), None);
        }
    };
    let session = match prepared {
        Ok(session) => Arc::new(session),
        Err(error) => return (counters.report(), Some(error)),
    };
    let forwarder = tokio::spawn(forward(stop, session.halt.clone()));
    let mut tasks = JoinSet::new();
    for _ in 0..session.settings.workers {
        tasks.spawn(worker(session.clone()));
    }
    tasks.spawn(poller::feed(session.clone()));
    if let Some(fleet) = &session.fleet {
        tasks.spawn(fleet::start_all(session.clone(), fleet.clone()));
        tasks.spawn(fleet::tend(session.clone(), fleet.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            session.fail(CollectError::Worker(panic.to_string()));
        }
    }
    // Every seal under way returns its permits.
    let _ = session.sealing.acquire_many(sealing_permits()).await;
    forwarder.abort();
    let mut report = counters.report();
    report.left = session.queue.unsettled_count();
    report.pending += session.lock_claimed().released();
    report.list_calls = session.api.rate_limiter.count(ApiCall::List);
    report.link_calls = session.api.rate_limiter.count(ApiCall::Link);
    report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let failure = session.take_failure();
    report.stopped = failure.is_none() && *session.halt.borrow();
    drop(session);
    // Ends when the last writer has let go.
    let _: Option<()> = all_gone.recv().await;
    (report, failure)
}

async fn prepare(
    settings: CollectSettings,
    sink: Arc<dyn ResultSink>,
    counters: Arc<CollectCounters>,
    alive: mpsc::Sender<()>,
    fleet: Option<Arc<FleetRunner>>,
) -> Result<CollectSession, CollectError> {
    settings.validate()?;
    let clock = Clock::new(settings.pace.time_scale);
    let api = Api::open(&settings, clock, counters.clone()).await?;
    if let Some(warning) =
        crate::service::preflight::missing_permissions(&api.tokens.token().await?)
    {
        counters.notify(warning);
    }
    api.endless.set(settings.watch.is_some());
    Ok(CollectSession {
        blob_breaker: CircuitBreaker::new(api.endless.clone()),
        api,
        settings,
        sink,
        clock,
        counters,
        alive,
        queue: DownloadQueue::new(clock),
        fleet,
        sealing: Arc::new(Semaphore::new(sealing_permits() as usize)),
        halt: watch::Sender::new(false),
        failure: Mutex::default(),
        claimed: Arc::default(),
        disk_full: Mutex::default(),
    })
}

async fn forward(mut stop: watch::Receiver<bool>, halt: watch::Sender<bool>) {
    stopped(&mut stop).await;
    halt.send_replace(true);
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // A sender dropped without a word stops nothing.
        std::future::pending::<()>().await;
    }
}

const fn sealing_permits() -> u32 {
    (SEALING_BYTES_MAX / SEALING_UNIT) as u32
}

/// One slot: takes wants until there are none, or the run halts.
async fn worker(session: Arc<CollectSession>) {
    while let Some(mut pending) = session.unless_halted(session.queue.take()).await.flatten() {
        let Some(step) = session
            .unless_halted(download::fetch(&session, &mut pending))
            .await
        else {
            return;
        };
        match step {
            DownloadStep::Seal(body) => {
                let weight = weight(body.held());
                let permits = session.sealing.clone().acquire_many_owned(weight).await;
                let session = session.clone();
                tokio::spawn(async move {
                    let _permits = permits;
                    session.settle(pending, *body).await;
                });
            }
            step => session.step(pending, step).await,
        }
    }
}

/// A small body counts with its bytes, and each with enough that no more than
/// [`SEALING_MAX`] wait.
fn weight(bytes: u64) -> u32 {
    let held = if bytes > SMALL_BYTES_MAX { 0 } else { bytes };
    let units = u32::try_from(held / SEALING_UNIT).unwrap_or(u32::MAX);
    units.clamp(sealing_permits() / SEALING_MAX, sealing_permits())
}

impl CollectSession {
    /// `None` when the run halts first; the future is dropped where it stands.
    pub async fn unless_halted<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut halt = self.halt.subscribe();
        tokio::select! {
            biased;
            _ = halt.wait_for(|halt| *halt) => None,
            output = future => Some(output),
        }
    }

    pub fn is_halted(&self) -> bool {
        *self.halt.borrow()
    }

    /// Returns so long after the run was halted.
    pub async fn halted_for(&self, wait: Duration) {
        let mut halt = self.halt.subscribe();
        let _ = halt.wait_for(|halt| *halt).await;
        tokio::time::sleep(wait).await;
    }

    pub fn fail(&self, error: CollectError) {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(error);
        drop(failure);
        self.halt.send_replace(true);
    }

    fn take_failure(&self) -> Option<CollectError> {
        self.failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    async fn settle(&self, mut pending: PendingResult, body: ResultDownload) {
        let key = pending.key();
        match body.seal(self).await {
            Ok(WriteResult::Sealed(sealed)) => {
                self.counters.record_sealed(key, &sealed);
                self.queue.settle(key);
            }
            Ok(WriteResult::Damaged(why)) => {
                self.retry(pending, ErrorClass::Damaged, why, None).await
            }
            Ok(WriteResult::Partial) => self.queue.requeue(pending, self.clock.now()),
            Err(step) => {
                pending.tries.reset(ErrorClass::Interrupted);
                self.step(pending, step).await;
            }
        }
    }

    async fn step(&self, pending: PendingResult, step: DownloadStep) {
        match step {
            DownloadStep::Gap(reason, detail) => self.record_gap(pending, reason, detail).await,
            DownloadStep::Retry(trouble, why, wait) => {
                self.retry(pending, trouble, why, wait).await
            }
            DownloadStep::CallCapacity(missing) => {
                // Taken again before that it would cost another link.
                self.unless_halted(self.wait_for_space(missing)).await;
                self.queue.requeue(pending, self.clock.now());
            }
            DownloadStep::Fatal(error) => self.fail(error),
            DownloadStep::Seal(_) => self.queue.settle(pending.key()),
        }
    }

    /// Puts a want back with its trouble counted, or settles it as a gap.
    async fn retry(
        &self,
        mut pending: PendingResult,
        trouble: ErrorClass,
        why: String,
        asked: Option<Duration>,
    ) {
        let endless = trouble == ErrorClass::NoConnection && self.api.endless.get();
        let wait = match &self.fleet {
            Some(fleet) if trouble == ErrorClass::NotReady => {
                pending.tries.next_even_delay(fleet.ask_every())
            }
            _ => pending.tries.next_delay_or_longest(trouble, endless),
        };
        if let Some(wait) = wait {
            let wait = asked.map_or(wait, |asked| asked.max(wait));
            let at = self.clock.now().after(self.clock.real(wait));
            return self.queue.requeue(pending, at);
        }
        let absent = |reason| {
            if pending.is_completed() {
                reason
            } else {
                GapReason::NeverProduced
            }
        };
        let reason = match trouble {
            ErrorClass::NotReady if !pending.action().is_final() && !self.queue.is_closed() => {
                return self.release(&pending);
            }
            ErrorClass::NotReady | ErrorClass::BlobMissing => absent(GapReason::BlobMissing),
            ErrorClass::NotFound => absent(GapReason::Expired),
            ErrorClass::Damaged => GapReason::Damaged,
            _ => GapReason::Unreachable,
        };
        self.record_gap(pending, reason, why).await;
    }

    /// A fleet run learns from it how long its results take.
    pub fn report_available(&self, pending: &mut PendingResult) {
        if let (Some(fleet), Some(ended)) = (&self.fleet, pending.ended.take()) {
            let since = |at: WallTime| self.clock.service(at.since(ended));
            fleet.met(pending.last_miss.map(since), since(self.clock.now()));
        }
    }

    /// The service is still at it: a later poll finds it again. The queue lets
    /// go of it first, or it would refuse what that poll adds.
    pub fn release(&self, pending: &PendingResult) {
        self.queue.settle(pending.key());
        self.lock_claimed().release(pending.key());
    }

    async fn record_gap(&self, pending: PendingResult, reason: GapReason, detail: String) {
        let key = pending.key();
        let Some(facts) = pending.facts(&self.api.host) else {
            return self.queue.settle(key);
        };
        let gap = Gap {
            key,
            reason,
            detail,
            noted_at: self.clock.stamp(),
            facts,
        };
        if pending.known_gap != Some(reason) {
            let noted = self.with_sink("note a gap", move |sink| {
                sink.note_gaps(std::slice::from_ref(&gap))
            });
            if let Err(error) = noted.await {
                return self.fail(error);
            }
        }
        self.counters.record_gap(key, reason);
        self.queue.settle(key);
    }

    /// Runs a verb of the vault off the async threads, waiting while the disk
    /// is full.
    pub async fn with_sink<R: Send + 'static>(
        &self,
        doing: &'static str,
        verb: impl Fn(&dyn ResultSink) -> Result<R, SinkError> + Send + Sync + 'static,
    ) -> Result<R, CollectError> {
        let verb = Arc::new(verb);
        loop {
            let (sink, retry) = (self.sink.clone(), verb.clone());
            let done = tokio::task::spawn_blocking(move || retry(sink.as_ref()))
                .await
                .map_err(|e| CollectError::Worker(e.to_string()))?;
            match done {
                Ok(done) => return Ok(done),
                Err(SinkError::DiskFull) => {
                    let waited = self.unless_halted(self.wait_for_space(0)).await;
                    if waited.is_none() {
                        return Err(CollectError::sink(doing, SinkError::DiskFull));
                    }
                }
                Err(error) => return Err(CollectError::sink(doing, error)),
            }
        }
    }

    /// Returns when the vault has room for `missing` bytes more, or after a
    /// while where it cannot tell.
    pub async fn wait_for_space(&self, missing: u64) {
        let needed = missing.saturating_add(SPACE_MARGIN);
        if !self.swap_disk_full(true) {
            self.counters.emit(CollectProgress::DiskFull { needed });
        }
        loop {
            tokio::time::sleep(DISK_CHECK_INTERVAL).await;
            let sink = self.sink.clone();
            let room = tokio::task::spawn_blocking(move || sink.room()).await;
            let enough = match room {
                Ok(Ok(Some(room))) => room >= needed,
                _ => true,
            };
            if enough {
                break;
            }
        }
        if self.swap_disk_full(false) {
            self.counters.emit(CollectProgress::DiskSpaceAvailable);
        }
    }

    fn swap_disk_full(&self, now: bool) -> bool {
        let mut full = self
            .disk_full
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut full, now)
    }

    pub fn lock_claimed(&self) -> MutexGuard<'_, ClaimedResults> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::fetch::plan;
    use crate::fetch::queue::DownloadRank;
    use crate::service::list::ListedActions;
    use crate::{BodySink, Cloud, ReceivedAction, Secret, SignIn, StoredState, TokenSource};
    use evidence::{Action, Facts, ResultKey};

    /// Knows nothing, keeps gaps, and is asked what it knows through a gate.
    #[derive(Default)]
    pub struct EmptySink {
        pub gaps: Mutex<Vec<Gap>>,
        pub at_gate: Option<Box<dyn Fn(ResultKey) + Send + Sync>>,
    }

    impl ResultSink for EmptySink {
        fn stored_state(&self, key: ResultKey) -> Result<StoredState, SinkError> {
            if let Some(gate) = &self.at_gate {
                gate(key);
            }
            Ok(StoredState::Absent)
        }

        fn note_actions(&self, _: &[ReceivedAction]) -> Result<(), SinkError> {
            Ok(())
        }

        fn note_gaps(&self, gaps: &[Gap]) -> Result<(), SinkError> {
            self.gaps.lock().unwrap().extend_from_slice(gaps);
            Ok(())
        }

        fn download(&self, _: ResultKey, _: Facts) -> Result<Box<dyn BodySink>, SinkError> {
            Err(SinkError::DiskFull)
        }
    }

    /// A run without lister and slots, whose service nobody reaches.
    pub async fn idle_session(sink: Arc<dyn ResultSink>, state: &Path) -> Arc<CollectSession> {
        let nowhere = Some("http://127.0.0.1:1");
        let sign_in = SignIn::Token(TokenSource::Ready(Secret::new("x")));
        let cloud = Cloud::Commercial;
        let settings =
            CollectSettings::new(cloud, nowhere, nowhere, sign_in, state.into()).unwrap();
        let counters = Arc::new(CollectCounters::new(Arc::new(|_| ())));
        let (alive, _) = mpsc::channel(1);
        Arc::new(
            prepare(settings, sink, counters, alive, None)
                .await
                .unwrap(),
        )
    }

    /// An action under way with one result that may be fetched.
    pub fn action(n: u32) -> Action {
        let json = serde_json::json!({"id": format!("5382f7ea-7557-4ab7-9782-{n:012x}"),
            "status": "InProgress",
            "commands": [{"commandStatus": "Completed", "command": {"type": "GetFile"}}]});
        Action::from_value(&json).unwrap()
    }

    pub fn known(actions: &[Action]) -> ListedActions {
        let mut known = ListedActions::default();
        actions
            .iter()
            .cloned()
            .for_each(|a| known.insert_recorded(a));
        known
    }

    fn result_without_retries() -> PendingResult {
        let action = Arc::new(action(1));
        let rank = DownloadRank {
            failed_before: false,
            time: 0,
            key: action.key(&action.commands[0]),
        };
        assert_eq!(
            plan::availability_of(&action, &action.commands[0]),
            plan::Availability::Fetch
        );
        let mut pending = PendingResult::new(action, 0, rank, None);
        while pending.tries.next_delay(ErrorClass::NotReady).is_some() {}
        pending
    }

    #[tokio::test]
    async fn a_result_that_does_not_come_is_left_to_the_next_poll_or_is_a_gap() {
        let state = tempfile::tempdir().unwrap();
        let sink = Arc::new(EmptySink::default());
        let session = idle_session(sink.clone(), state.path()).await;
        let retry = async |pending| {
            session.queue.add(vec![pending]);
            let pending = session.queue.take().await.unwrap();
            session
                .retry(pending, ErrorClass::NotReady, "not yet".into(), None)
                .await;
        };
        retry(result_without_retries()).await;
        assert_eq!(
            (
                session.queue.unsettled_count(),
                session.lock_claimed().released()
            ),
            (0, 1)
        );
        assert!(sink.gaps.lock().unwrap().is_empty());
        let pending = result_without_retries();
        session.lock_claimed().claim(pending.key());
        session.queue.add(vec![pending]);
        session.queue.close();
        let pending = session.queue.take().await.unwrap();
        session
            .retry(pending, ErrorClass::NotReady, "not yet".into(), None)
            .await;
        assert_eq!(
            (
                session.queue.unsettled_count(),
                session.lock_claimed().released()
            ),
            (0, 0)
        );
        let gap = sink.gaps.lock().unwrap()[0].reason;
        assert_eq!(gap, GapReason::BlobMissing);
        assert_eq!(session.counters.report().gaps.get(&gap), Some(&1));
    }

    #[test]
    fn bodies_that_wait_for_their_commit_hold_bounded_memory() {
        assert_eq!(sealing_permits() / weight(0), SEALING_MAX);
        assert_eq!(weight(SMALL_BYTES_MAX), 256);
        assert_eq!(weight(3 << 30), weight(0));
    }
}
