//! Runs a collection: a poller that fills the queue, workers that download
//! from it, and seals that complete concurrently.
//!
//! The functions here are plain async functions: the caller provides the
//! runtime and the stop flag.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::counters::CollectCounters;
use crate::fetch::download;
use crate::fetch::download::{DownloadStep, ResultDownload};
use crate::fetch::filter_source::FilterSource;
use crate::fetch::poller;
use crate::fetch::queue::PendingResult;
use crate::fetch::session::CollectSession;
use crate::fetch::shutdown::{forward_stop, wait_for_stop};
use crate::fetch::source::ResultSource;
use crate::fetch::writer::WriteResult;
use crate::service::retry::ErrorClass;
use crate::{ApiCall, CollectError, CollectSettings, Events, Report, ResultSink};
use evidence::{Gap, GapReason};

/// Bodies waiting for their commit while their workers continue. The store
/// groups commits; a worker that waited for each would be limited by its sync.
const SEALING_MAX: u32 = 256;
/// Memory of the bodies waiting for their commit.
///
/// **Units**: bytes, counted in units of [`SEALING_UNIT`].
const SEALING_BYTES_MAX: u64 = 32 * 1024 * 1024;
const SEALING_UNIT: u64 = 4 * 1024;
/// A larger body is written to its own file and occupies no memory.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;

/// Collects until every result is complete, or, when watching, until stopped.
///
/// The report is complete in every case; the error is the reason why the
/// collection ended early. Setting `stop` to true ends it cleanly: sealed
/// results stay sealed, partial downloads are resumed by the next collection.
pub async fn collect(
    settings: CollectSettings,
    sink: Arc<dyn ResultSink>,
    events: Events,
    stop: watch::Receiver<bool>,
) -> (Report, Option<CollectError>) {
    let source = Arc::new(FilterSource::new(settings.filter.clone()));
    run_session(settings, sink, events, stop, source, |_| Vec::new()).await
}

/// Collects the results of a source. `background_tasks` returns tasks of the
/// source that run until the session ends.
pub(crate) async fn run_session(
    settings: CollectSettings,
    sink: Arc<dyn ResultSink>,
    events: Events,
    stop: watch::Receiver<bool>,
    source: Arc<dyn ResultSource>,
    background_tasks: impl FnOnce(&Arc<CollectSession>) -> Vec<BoxFuture<'static, ()>>,
) -> (Report, Option<CollectError>) {
    let started = Instant::now();
    let counters = Arc::new(CollectCounters::new(events));
    let (writer_guard, mut all_writers_ended) = mpsc::channel(1);
    let mut early_stop = stop.clone();
    let opened = tokio::select! {
        opened = CollectSession::open(settings, sink, counters.clone(), source, writer_guard) => opened,
        () = wait_for_stop(&mut early_stop) => {
            counters.update(|report| report.stopped = true);
            return (counters.report(), None);
        }
    };
    let session = match opened {
        Ok(session) => Arc::new(session),
        Err(error) => return (counters.report(), Some(error)),
    };
    tracing::debug!(workers = session.settings.workers, "collection started");
    let background = background_tasks(&session);
    run_tasks(&session, stop, background).await;
    let mut report = counters.report();
    report.left = session.queue.len();
    report.pending += session.lock_claimed().released();
    report.list_calls = session.api.rate_limiter.calls_sent(ApiCall::List);
    report.link_calls = session.api.rate_limiter.calls_sent(ApiCall::Link);
    report.duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let failure = session.shutdown.take_failure();
    report.stopped = failure.is_none() && session.shutdown.is_stopped();
    drop(session);
    // Returns when the last writer thread has released the sink.
    let _: Option<()> = all_writers_ended.recv().await;
    tracing::debug!(
        sealed = report.sealed,
        bytes = report.bytes,
        left = report.left,
        duration_ms = report.duration_ms,
        "collection ended"
    );
    (report, failure)
}

/// Runs the workers, the poller and the background tasks to their end, and
/// waits for the seals that they have started.
async fn run_tasks(
    session: &Arc<CollectSession>,
    stop: watch::Receiver<bool>,
    background: Vec<BoxFuture<'static, ()>>,
) {
    let shutdown = session.shutdown.clone();
    let stop_forwarder = tokio::spawn(async move { forward_stop(stop, &shutdown).await });
    let sealing = Arc::new(Semaphore::new(sealing_permits() as usize));
    let mut tasks = JoinSet::new();
    for _ in 0..session.settings.workers {
        tasks.spawn(worker(session.clone(), sealing.clone()));
    }
    tasks.spawn(poller::run(session.clone()));
    for task in background {
        tasks.spawn(task);
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(panic) = ended {
            session
                .shutdown
                .fail(CollectError::Worker(panic.to_string()));
        }
    }
    // Every seal in progress returns its permits when it completes.
    let _ = sealing.acquire_many(sealing_permits()).await;
    stop_forwarder.abort();
}

const fn sealing_permits() -> u32 {
    (SEALING_BYTES_MAX / SEALING_UNIT) as u32
}

/// Downloads results from the queue until it ends or the session stops.
async fn worker(session: Arc<CollectSession>, sealing: Arc<Semaphore>) {
    let shutdown = &session.shutdown;
    while let Some(mut pending) = shutdown
        .unless_stopped(session.queue.take())
        .await
        .flatten()
    {
        let key = pending.key();
        let span = tracing::debug_span!("download", action = %key.action, command = key.index.0);
        let download = download::fetch(&session, &mut pending).instrument(span);
        let Some(step) = shutdown.unless_stopped(download).await else {
            return;
        };
        match step {
            DownloadStep::Seal(body) => {
                let permits = sealing
                    .clone()
                    .acquire_many_owned(sealing_weight(body.received_bytes()))
                    .await;
                let session = session.clone();
                tokio::spawn(async move {
                    let _permits = permits;
                    seal(&session, pending, *body).await;
                });
            }
            step => finish_step(&session, pending, step).await,
        }
    }
}

/// Permits of a body that waits for its commit: its size if it is kept in
/// memory, and at least so many that only [`SEALING_MAX`] bodies wait.
fn sealing_weight(bytes: u64) -> u32 {
    let in_memory = if bytes > SMALL_BYTES_MAX { 0 } else { bytes };
    let units = u32::try_from(in_memory / SEALING_UNIT).unwrap_or(u32::MAX);
    units.clamp(sealing_permits() / SEALING_MAX, sealing_permits())
}

/// Seals a body and completes its result.
async fn seal(session: &CollectSession, mut pending: PendingResult, body: ResultDownload) {
    let key = pending.key();
    match body.seal(session).await {
        Ok(WriteResult::Sealed(outcome)) => {
            tracing::debug!(
                action = %key.action,
                command = key.index.0,
                bytes = outcome.bytes,
                "result sealed"
            );
            session.api.counters.record_sealed(key, &outcome);
            session.queue.complete(key);
        }
        Ok(WriteResult::Damaged(detail)) => {
            retry(session, pending, ErrorClass::Damaged, detail, None).await;
        }
        Ok(WriteResult::Partial) => session.queue.requeue(pending, session.api.clock.now()),
        Err(step) => {
            pending.retries.reset(ErrorClass::Interrupted);
            finish_step(session, pending, step).await;
        }
    }
}

/// Carries out a step other than sealing.
async fn finish_step(session: &CollectSession, pending: PendingResult, step: DownloadStep) {
    match step {
        DownloadStep::Gap(reason, detail) => record_gap(session, pending, reason, detail).await,
        DownloadStep::Retry(class, detail, at_least) => {
            retry(session, pending, class, detail, at_least).await;
        }
        DownloadStep::WaitForSpace(missing) => {
            // Requeued only afterwards: another attempt would cost a link.
            let space = session.sink.wait_for_space(missing);
            session.shutdown.unless_stopped(space).await;
            session.queue.requeue(pending, session.api.clock.now());
        }
        DownloadStep::Fatal(error) => session.shutdown.fail(error),
        DownloadStep::Seal(_) => session.queue.complete(pending.key()),
    }
}

/// Requeues a result after the delay of its error class, or records a gap if
/// the retries are exhausted. `at_least` is the delay requested by the server.
async fn retry(
    session: &CollectSession,
    mut pending: PendingResult,
    class: ErrorClass,
    detail: String,
    at_least: Option<Duration>,
) {
    let Some(delay) = next_delay(session, &mut pending, class) else {
        return give_up(session, pending, class, detail).await;
    };
    let delay = delay.max(at_least.unwrap_or_default());
    tracing::debug!(
        action = %pending.key().action,
        command = pending.key().index.0,
        ?class,
        delay_ms = delay.as_millis() as u64,
        "retry scheduled"
    );
    let clock = session.api.clock;
    session
        .queue
        .requeue(pending, clock.now().after(clock.real(delay)));
}

/// The delay before the next attempt; `None` if the retries are exhausted.
///
/// **Units**: service time.
fn next_delay(
    session: &CollectSession,
    pending: &mut PendingResult,
    class: ErrorClass,
) -> Option<Duration> {
    match session.pacing.interval() {
        Some(interval) if class == ErrorClass::NotReady => {
            pending.retries.next_even_delay(interval)
        }
        _ => {
            let forever = class == ErrorClass::NoConnection && session.api.retry_forever.get();
            pending.retries.next_delay_or_longest(class, forever)
        }
    }
}

/// Ends the attempts of this session: leaves the result to a later poll if the
/// service may still produce it, otherwise records a gap.
async fn give_up(
    session: &CollectSession,
    pending: PendingResult,
    class: ErrorClass,
    detail: String,
) {
    let absent = |reason| {
        if pending.is_completed() {
            reason
        } else {
            GapReason::NeverProduced
        }
    };
    let reason = match class {
        ErrorClass::NotReady if !pending.action().is_final() && !session.queue.is_closed() => {
            return session.release(&pending);
        }
        ErrorClass::NotReady | ErrorClass::BlobMissing => absent(GapReason::BlobMissing),
        ErrorClass::NotFound => absent(GapReason::Expired),
        ErrorClass::Damaged => GapReason::Damaged,
        _ => GapReason::Unreachable,
    };
    record_gap(session, pending, reason, detail).await;
}

async fn record_gap(
    session: &CollectSession,
    pending: PendingResult,
    reason: GapReason,
    detail: String,
) {
    let key = pending.key();
    let Some(facts) = pending.facts(&session.api.host) else {
        return session.queue.complete(key);
    };
    if pending.known_gap != Some(reason) {
        let gap = Gap {
            key,
            reason,
            detail,
            noted_at: session.api.clock.stamp(),
            facts,
        };
        let recorded = session.sink.call("record a gap", move |sink| {
            sink.record_gaps(std::slice::from_ref(&gap))
        });
        if let Err(error) = recorded.await {
            return session.shutdown.fail(error);
        }
    }
    tracing::debug!(action = %key.action, command = key.index.0, ?reason, "gap recorded");
    session.api.counters.record_gap(key, reason);
    session.queue.complete(key);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::plan;
    use crate::fetch::queue::DownloadRank;
    use crate::fetch::session::tests::{EmptySink, action, idle_session};

    /// A result that is not ready and whose retries are exhausted.
    fn exhausted_result() -> PendingResult {
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
        while pending.retries.next_delay(ErrorClass::NotReady).is_some() {}
        pending
    }

    async fn retry_exhausted(session: &CollectSession) {
        let pending = session.queue.take().await.unwrap();
        let detail = "not yet".to_string();
        retry(session, pending, ErrorClass::NotReady, detail, None).await;
    }

    #[tokio::test]
    async fn unavailable_result_is_left_to_the_next_poll_or_recorded_as_gap() {
        let state = tempfile::tempdir().unwrap();
        let sink = Arc::new(EmptySink::default());
        let session = idle_session(sink.clone(), state.path()).await;
        session.queue.add(vec![exhausted_result()]);
        retry_exhausted(&session).await;
        assert_eq!(
            (session.queue.len(), session.lock_claimed().released()),
            (0, 1)
        );
        assert!(sink.gaps.lock().unwrap().is_empty());

        let pending = exhausted_result();
        session.lock_claimed().claim(pending.key());
        session.queue.add(vec![pending]);
        session.queue.close();
        retry_exhausted(&session).await;
        assert_eq!(
            (session.queue.len(), session.lock_claimed().released()),
            (0, 0)
        );
        let gap = sink.gaps.lock().unwrap()[0].reason;
        assert_eq!(gap, GapReason::BlobMissing);
        assert_eq!(session.api.counters.report().gaps.get(&gap), Some(&1));
    }

    #[test]
    fn bodies_waiting_for_a_commit_use_bounded_memory() {
        assert_eq!(sealing_permits() / sealing_weight(0), SEALING_MAX);
        assert_eq!(sealing_weight(SMALL_BYTES_MAX), 256);
        assert_eq!(sealing_weight(3 << 30), sealing_weight(0));
    }
}
