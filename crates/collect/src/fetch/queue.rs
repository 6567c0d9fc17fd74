//! The results still wanted, in order, and those that wait for their next try.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::clock::{Clock, Moment};
use crate::fetch::retry::Tries;
use crate::service::package;
use evidence::{Action, Command, Facts, GapReason, Origin, ResultKey, ResultKind};

/// Place in the order: see [`super::plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    pub failed_before: bool,
    pub time: i64,
    pub key: ResultKey,
}

/// A result to be fetched.
#[derive(Debug)]
pub(crate) struct Want {
    action: Arc<Action>,
    /// Position in the action's list of commands.
    place: usize,
    rank: Rank,
    /// What the vault has noted about it already.
    pub known_gap: Option<GapReason>,
    pub tries: Tries,
    /// When its command ended, where that is known and nothing was learned
    /// from it yet.
    pub ended: Option<Moment>,
    /// Asked for last, and it was not there.
    pub in_vain: Option<Moment>,
    /// The first ask waits until then.
    pub not_before: Option<Moment>,
}

impl Want {
    pub fn new(
        action: Arc<Action>,
        place: usize,
        rank: Rank,
        known_gap: Option<GapReason>,
    ) -> Self {
        Self {
            action,
            place,
            rank,
            known_gap,
            tries: Tries::default(),
            ended: None,
            in_vain: None,
            not_before: None,
        }
    }

    pub fn that_ended(self, ended: Moment, not_before: Moment) -> Self {
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
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    clock: Clock,
}

#[derive(Default)]
struct State {
    ready: BTreeMap<Rank, Want>,
    /// Not before: in order of time, then of arrival.
    later: BTreeMap<(Moment, u64), Want>,
    arrivals: u64,
    /// Not settled: ready, to be taken later, or taken.
    held: HashSet<ResultKey>,
    /// Nothing more will be added from outside.
    closed: bool,
}

impl State {
    fn put_off(&mut self, want: Want, not_before: Moment) {
        self.arrivals += 1;
        self.later.insert((not_before, self.arrivals), want);
    }
}

enum Next {
    Take(Box<Want>),
    WaitUntil(Moment),
    Wait,
    End,
}

impl Queue {
    pub fn new(clock: Clock) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            clock,
        }
    }

    /// A result that is held already is not added once more.
    pub fn add(&self, wants: Vec<Want>) {
        let mut state = self.lock();
        for want in wants {
            if state.held.insert(want.key()) {
                match want.not_before {
                    Some(at) => state.put_off(want, at),
                    None => drop(state.ready.insert(want.rank, want)),
                }
            }
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Puts a taken want back, to be taken again at `not_before`.
    pub fn put_back(&self, want: Want, not_before: Moment) {
        self.lock().put_off(want, not_before);
        self.changed.notify_waiters();
    }

    /// A taken want is settled, one way or another.
    pub fn settle(&self, key: ResultKey) {
        self.lock().held.remove(&key);
        self.changed.notify_waiters();
    }

    /// Whether a result waits or is being fetched.
    pub fn holds(&self, key: ResultKey) -> bool {
        self.lock().held.contains(&key)
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
    pub fn left(&self) -> u64 {
        self.lock().held.len() as u64
    }

    /// The next want whose time has come; `None` when all is done.
    pub async fn take(&self) -> Option<Want> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            match self.next() {
                Next::Take(want) => return Some(*want),
                Next::End => return None,
                Next::Wait => changed.await,
                Next::WaitUntil(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = self.clock.sleep_until(at) => {}
                    }
                }
            }
        }
    }

    fn next(&self) -> Next {
        let now = self.clock.now();
        let mut state = self.lock();
        while let Some(entry) = state.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let want = entry.remove();
            state.ready.insert(want.rank, want);
        }
        if let Some((_, want)) = state.ready.pop_first() {
            return Next::Take(Box::new(want));
        }
        match state.later.first_key_value() {
            Some(((at, _), _)) => Next::WaitUntil(*at),
            None if state.closed && state.held.is_empty() => Next::End,
            None => Next::Wait,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn want(time: i64) -> Want {
        let json = serde_json::json!({"id": "5382f7ea-7557-4ab7-9782-d50480024a4e",
            "commands": [{"command": {"type": "GetFile"}}]});
        let action = Arc::new(Action::from_value(&json).unwrap());
        let rank = Rank {
            failed_before: false,
            time,
            key: action.key(&action.commands[0]),
        };
        Want::new(action, 0, rank, None)
    }

    #[tokio::test]
    async fn a_result_is_held_once_from_its_adding_to_its_settling() {
        let queue = Queue::new(Clock::new(1.0));
        let key = want(1).key();
        queue.add(vec![want(1), want(2)]);
        assert_eq!(queue.left(), 1);
        let taken = queue.take().await.unwrap();
        queue.add(vec![want(3)]);
        assert!(queue.holds(key) && queue.left() == 1);
        let later = Clock::new(1.0)
            .now()
            .after(std::time::Duration::from_secs(600));
        queue.put_back(taken, later);
        queue.add(vec![want(4)]);
        assert!(queue.lock().ready.is_empty() && queue.holds(key));
        queue.settle(key);
        assert!(!queue.holds(key));
        queue.add(vec![want(5)]);
        assert_eq!(queue.lock().ready.len(), 1);
    }
}
