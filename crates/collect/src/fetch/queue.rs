//! The results still wanted, in order, and those that wait for their next try.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::{Clock, WallTime};
use crate::service::package;
use crate::service::retry::RetryState;
use evidence::{Action, Command, Facts, GapReason, Origin, ResultKey, ResultKind};

/// Place in the order: see [`super::plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DownloadRank {
    pub failed_before: bool,
    pub time: i64,
    pub key: ResultKey,
}

/// A result to be fetched.
#[derive(Debug)]
pub(crate) struct PendingResult {
    action: Arc<Action>,
    /// Position in the action's list of commands.
    place: usize,
    rank: DownloadRank,
    /// What the vault has noted about it already.
    pub known_gap: Option<GapReason>,
    pub tries: RetryState,
    /// When its command ended, where that is known and nothing was learned
    /// from it yet.
    pub ended: Option<WallTime>,
    /// Asked for last, and it was not there.
    pub last_miss: Option<WallTime>,
    /// The first ask waits until then.
    pub not_before: Option<WallTime>,
}

impl PendingResult {
    pub fn new(
        action: Arc<Action>,
        place: usize,
        rank: DownloadRank,
        known_gap: Option<GapReason>,
    ) -> Self {
        Self {
            action,
            place,
            rank,
            known_gap,
            tries: RetryState::default(),
            ended: None,
            last_miss: None,
            not_before: None,
        }
    }

    pub fn with_end(self, ended: WallTime, not_before: WallTime) -> Self {
        Self {
            ended: Some(ended),
            not_before: Some(not_before),
            ..self
        }
    }

    pub fn key(&self) -> ResultKey {
        self.rank.key
    }

    pub fn action(&self) -> &Action {
        &self.action
    }

    pub fn command(&self) -> Option<&Command> {
        self.action.commands.get(self.place)
    }

    pub fn is_completed(&self) -> bool {
        self.command().is_some_and(Command::is_completed)
    }

    pub fn facts(&self, host: &str) -> Option<Facts> {
        let origin = Origin::Api { host: host.into() };
        let mut facts = self.action.facts(self.command()?, origin);
        if package::is_package(&self.action) {
            facts.kind = ResultKind::Package;
        }
        Some(facts)
    }
}

/// Shared by the lister, which adds, and the slots, which take. Of each result
/// there is one want at most: two slots at one download would meet in the vault.
pub(crate) struct DownloadQueue {
    state: Mutex<QueueState>,
    changed: Notify,
    clock: Clock,
}

#[derive(Default)]
struct QueueState {
    ready: BTreeMap<DownloadRank, PendingResult>,
    /// Not before: in order of time, then of arrival.
    later: BTreeMap<(WallTime, u64), PendingResult>,
    arrivals: u64,
    /// Not settled: ready, to be taken later, or taken.
    unsettled: HashSet<ResultKey>,
    /// Nothing more will be added from outside.
    closed: bool,
}

impl QueueState {
    fn schedule(&mut self, pending: PendingResult, not_before: WallTime) {
        self.arrivals += 1;
        self.later.insert((not_before, self.arrivals), pending);
    }
}

enum QueueStep {
    Take(Box<PendingResult>),
    WaitUntil(WallTime),
    Wait,
    End,
}

impl DownloadQueue {
    pub fn new(clock: Clock) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            clock,
        }
    }

    /// A result that is held already is not added once more.
    pub fn add(&self, pending_results: Vec<PendingResult>) {
        let mut state = self.lock();
        for pending in pending_results {
            if state.unsettled.insert(pending.key()) {
                match pending.not_before {
                    Some(at) => state.schedule(pending, at),
                    None => drop(state.ready.insert(pending.rank, pending)),
                }
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Puts a taken want back, to be taken again at `not_before`.
    pub fn requeue(&self, pending: PendingResult, not_before: WallTime) {
        self.lock().schedule(pending, not_before);
        self.changed.notify_waiters();
    }

    /// A taken want is settled, one way or another.
    pub fn settle(&self, key: ResultKey) {
        self.lock().unsettled.remove(&key);
        self.changed.notify_waiters();
    }

    /// Whether a result waits or is being fetched.
    pub fn contains(&self, key: ResultKey) -> bool {
        self.lock().unsettled.contains(&key)
    }

    /// Once what is in it is settled, takers are sent home.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_waiters();
    }

    /// Nothing more is added from outside.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Wants not settled.
    pub fn unsettled_count(&self) -> u64 {
        self.lock().unsettled.len() as u64
    }

    /// The next want whose time has come; `None` when all is done.
    pub async fn take(&self) -> Option<PendingResult> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.next() {
                QueueStep::Take(pending) => return Some(*pending),
                QueueStep::End => return None,
                QueueStep::Wait => changed.await,
                QueueStep::WaitUntil(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = self.clock.sleep_until(at) => {}
                    }
                }
            }
        }
    }

    fn next(&self) -> QueueStep {
        let now = self.clock.now();
        let mut state = self.lock();
        while let Some(entry) = state.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let pending = entry.remove();
            state.ready.insert(pending.rank, pending);
        }
        if let Some((_, pending)) = state.ready.pop_first() {
            return QueueStep::Take(Box::new(pending));
        }
        match state.later.first_key_value() {
            Some(((at, _), _)) => QueueStep::WaitUntil(*at),
            None if state.closed && state.unsettled.is_empty() => QueueStep::End,
            None => QueueStep::Wait,
        }
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
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
    async fn a_result_is_held_once_from_its_adding_to_its_settling() {
        let queue = DownloadQueue::new(Clock::new(1.0));
        let key = pending(1).key();
        queue.add(vec![pending(1), pending(2)]);
        assert_eq!(queue.unsettled_count(), 1);
        let taken = queue.take().await.unwrap();
        queue.add(vec![pending(3)]);
        assert!(queue.contains(key) && queue.unsettled_count() == 1);
        let later = Clock::new(1.0)
            .now()
            .after(std::time::Duration::from_secs(600));
        queue.requeue(taken, later);
        queue.add(vec![pending(4)]);
        assert!(queue.lock().ready.is_empty() && queue.contains(key));
        queue.settle(key);
        assert!(!queue.contains(key));
        queue.add(vec![pending(5)]);
        assert_eq!(queue.lock().ready.len(), 1);
    }
}
