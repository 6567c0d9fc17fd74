//! The results still wanted, in order, and those that wait for their next try.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::backoff::Tries;
use super::clock::{Clock, Moment};
use super::package;
use crate::evidence::{Action, Command, Facts, GapReason, Origin, ResultKey, ResultKind};

/// Place in the order: see [`super::plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub failed_before: bool,
    pub time: i64,
    pub key: ResultKey,
}

/// A result to be fetched.
#[derive(Debug)]
pub(super) struct Want {
    action: Arc<Action>,
    /// Position in the action's list of commands.
    place: usize,
    rank: Rank,
    /// What the vault has noted about it already.
    pub known_gap: Option<GapReason>,
    pub tries: Tries,
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

/// Shared by the lister, which adds, and the slots, which take.
pub(super) struct Queue {
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
    /// Taken and not settled.
    active: HashMap<ResultKey, ()>,
    /// Nothing more will be added from outside.
    closed: bool,
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

    pub fn add(&self, wants: Vec<Want>) {
        self.lock()
            .ready
            .extend(wants.into_iter().map(|want| (want.rank, want)));
        self.changed.notify_waiters();
    }

    /// Puts a taken want back, to be taken again at `not_before`.
    pub fn put_back(&self, want: Want, not_before: Moment) {
        let mut state = self.lock();
        state.active.remove(&want.key());
        state.arrivals += 1;
        let place = (not_before, state.arrivals);
        state.later.insert(place, want);
        drop(state);
        self.changed.notify_waiters();
    }

    /// A taken want is settled, one way or another.
    pub fn settle(&self, key: ResultKey) {
        self.lock().active.remove(&key);
        self.changed.notify_waiters();
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
        let state = self.lock();
        (state.ready.len() + state.later.len() + state.active.len()) as u64
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
            state.active.insert(want.key(), ());
            return Next::Take(Box::new(want));
        }
        match state.later.first_key_value() {
            Some(((at, _), _)) => Next::WaitUntil(*at),
            None if state.closed && state.active.is_empty() => Next::End,
            None => Next::Wait,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
