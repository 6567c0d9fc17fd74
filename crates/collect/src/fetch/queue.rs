//! Download queue: the results to download, in order, and those that wait for
//! their next attempt.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::{Clock, WallTime};
use crate::service::package;
use crate::service::retry::RetryState;
use evidence::{Action, Command, Facts, GapReason, Origin, ResultKey, ResultKind};

/// Position in the download order: see [`super::plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DownloadRank {
    pub failed_before: bool,
    /// **Units**: nanoseconds since 1970.
    pub time: i64,
    pub key: ResultKey,
}

/// A result to download.
#[derive(Debug)]
pub(crate) struct PendingResult {
    action: Arc<Action>,
    /// Position of the command in the action.
    position: usize,
    rank: DownloadRank,
    /// Reason of the gap that the sink has recorded for this result.
    pub known_gap: Option<GapReason>,
    pub retries: RetryState,
    /// End of the command, if it is known and was not yet used to learn how
    /// long results take.
    pub ended: Option<WallTime>,
    /// Time of the last request that found the result not ready.
    pub last_miss: Option<WallTime>,
    /// Time of the first request.
    pub not_before: Option<WallTime>,
}

impl PendingResult {
    pub(crate) fn new(
        action: Arc<Action>,
        position: usize,
        rank: DownloadRank,
        known_gap: Option<GapReason>,
    ) -> Self {
        Self {
            action,
            position,
            rank,
            known_gap,
            retries: RetryState::default(),
            ended: None,
            last_miss: None,
            not_before: None,
        }
    }

    /// Sets the end of the command and the time of the first request.
    pub(crate) fn with_end(self, ended: WallTime, not_before: WallTime) -> Self {
        Self {
            ended: Some(ended),
            not_before: Some(not_before),
            ..self
        }
    }

    pub(crate) fn key(&self) -> ResultKey {
        self.rank.key
    }

    pub(crate) fn action(&self) -> &Action {
        &self.action
    }

    pub(crate) fn command(&self) -> Option<&Command> {
        self.action.commands.get(self.position)
    }

    pub(crate) fn is_completed(&self) -> bool {
        self.command().is_some_and(Command::is_completed)
    }

    pub(crate) fn facts(&self, host: &str) -> Option<Facts> {
        let origin = Origin::Api { host: host.into() };
        let mut facts = self.action.facts(self.command()?, origin);
        if package::is_package(&self.action) {
            facts.kind = ResultKind::Package;
        }
        Some(facts)
    }
}

/// Download queue, filled by the poller and emptied by the workers.
///
/// **Invariant**: it contains a result once at most, because two workers must
/// not download the same result into the sink.
pub(crate) struct DownloadQueue {
    state: Mutex<QueueState>,
    changed: Notify,
    clock: Clock,
}

#[derive(Default)]
struct QueueState {
    ready: BTreeMap<DownloadRank, PendingResult>,
    /// Results that wait for a time, in order of that time and then of arrival.
    scheduled: BTreeMap<(WallTime, u64), PendingResult>,
    arrivals: u64,
    /// Results in any state: ready, scheduled or taken by a worker.
    incomplete: HashSet<ResultKey>,
    /// The poller adds no more results.
    is_closed: bool,
}

impl QueueState {
    fn schedule(&mut self, pending: PendingResult, not_before: WallTime) {
        self.arrivals += 1;
        self.scheduled.insert((not_before, self.arrivals), pending);
    }
}

enum QueueStep {
    Take(Box<PendingResult>),
    WaitUntil(WallTime),
    WaitForChange,
    End,
}

impl DownloadQueue {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            clock,
        }
    }

    /// Adds results. Those that the queue already contains are ignored.
    pub(crate) fn add(&self, results: Vec<PendingResult>) {
        let mut state = self.lock();
        for pending in results {
            if state.incomplete.insert(pending.key()) {
                match pending.not_before {
                    Some(at) => state.schedule(pending, at),
                    None => drop(state.ready.insert(pending.rank, pending)),
                }
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Puts a taken result back until `not_before`.
    pub(crate) fn requeue(&self, pending: PendingResult, not_before: WallTime) {
        self.lock().schedule(pending, not_before);
        self.changed.notify_waiters();
    }

    /// Removes a taken result: it is sealed, a gap, or left to a later plan.
    pub(crate) fn complete(&self, key: ResultKey) {
        self.lock().incomplete.remove(&key);
        self.changed.notify_waiters();
    }

    /// Whether a result waits or is being downloaded.
    pub(crate) fn contains(&self, key: ResultKey) -> bool {
        self.lock().incomplete.contains(&key)
    }

    /// Ends the queue once its results are complete.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    /// Number of incomplete results.
    pub(crate) fn len(&self) -> u64 {
        self.lock().incomplete.len() as u64
    }

    /// Takes the next result when its time has come; `None` when the queue has
    /// ended.
    pub(crate) async fn take(&self) -> Option<PendingResult> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.next_step() {
                QueueStep::Take(pending) => return Some(*pending),
                QueueStep::End => return None,
                QueueStep::WaitForChange => changed.await,
                QueueStep::WaitUntil(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = self.clock.sleep_until(at) => {}
                    }
                }
            }
        }
    }

    fn next_step(&self) -> QueueStep {
        let now = self.clock.now();
        let mut state = self.lock();
        while let Some(entry) = state.scheduled.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let pending = entry.remove();
            state.ready.insert(pending.rank, pending);
        }
        if let Some((_, pending)) = state.ready.pop_first() {
            return QueueStep::Take(Box::new(pending));
        }
        match state.scheduled.first_key_value() {
            Some(((at, _), _)) => QueueStep::WaitUntil(*at),
            None if state.is_closed && state.incomplete.is_empty() => QueueStep::End,
            None => QueueStep::WaitForChange,
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pending(time: i64) -> PendingResult {
        let json = serde_json::json!({"id": "5382f7ea-7557-4ab7-9782-d50480024a4e",
            "commands": [{"command": {"type": "GetFile"}}]});
        let action = Arc::new(Action::from_value(&json).unwrap());
        let rank = DownloadRank {
            failed_before: false,
            time,
            key: action.key(&action.commands[0]),
        };
        PendingResult::new(action, 0, rank, None)
    }

    #[tokio::test]
    async fn queue_contains_a_result_once_until_it_is_completed() {
        let clock = Clock::new(1.0);
        let queue = DownloadQueue::new(clock);
        let key = pending(1).key();
        queue.add(vec![pending(1), pending(2)]);
        assert_eq!(queue.len(), 1);
        let taken = queue.take().await.unwrap();
        queue.add(vec![pending(3)]);
        assert!(queue.contains(key) && queue.len() == 1);
        queue.requeue(taken, clock.now().after(Duration::from_secs(600)));
        queue.add(vec![pending(4)]);
        assert!(queue.lock().ready.is_empty() && queue.contains(key));
        queue.complete(key);
        assert!(!queue.contains(key));
        queue.add(vec![pending(5)]);
        assert_eq!(queue.lock().ready.len(), 1);
    }
}
