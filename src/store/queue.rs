//! What callers hand to the committer: bounded in number and in bytes, and
//! answered one by one.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::StoreError;
use super::card::{Card, Fact};
use super::frame::{Body, Digest32};
use super::incoming::Parcel;

/// Facts in one commit, and in the queue: a sync costs what a thousand small
/// facts cost to write.
pub(super) const GROUP_MAX: usize = 1_000;
/// **Units**: bytes of bodies in the queue. One body more may stand in it, so
/// that none is too large for it.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// One fact to be committed.
pub(super) enum Work {
    Entry(Fact, Body),
    Adopt(Fact, Box<Parcel>),
}

/// What became of a fact.
pub(super) struct Done {
    pub(super) card: Card,
    pub(super) json: Vec<u8>,
    /// `false` where the archive held it already.
    pub(super) fresh: bool,
}

pub(super) type Answer = Result<Done, StoreError>;

pub(super) struct Job {
    pub(super) work: Work,
    reply: SyncSender<Answer>,
}

impl Job {
    pub(super) fn answer(&self, answer: Answer) {
        // Whoever asked may have gone; the fact is committed all the same.
        let _ = self.reply.try_send(answer);
    }

    fn bytes(&self) -> usize {
        match &self.work {
            Work::Entry(fact, body) => fact.json.len() + body.area.len(),
            Work::Adopt(_, parcel) => parcel.digests.len() * size_of::<Digest32>(),
        }
    }
}

/// Callers push, the committer takes.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    work: Condvar,
    room: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    /// Waits for room, then queues.
    pub(super) fn push(&self, work: Work) -> Result<Receiver<Answer>, StoreError> {
        let (reply, answer) = sync_channel(1);
        let job = Job { work, reply };
        let mut state = self.lock();
        while !state.closed && (state.jobs.len() >= GROUP_MAX || state.bytes >= QUEUE_BYTES_MAX) {
            state = self
                .room
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.closed {
            return Err(StoreError::Closed);
        }
        state.bytes += job.bytes();
        state.jobs.push_back(job);
        self.work.notify_one();
        Ok(answer)
    }

    /// Waits for work and takes all there is; `None` once closed and empty.
    /// So a lone caller waits for one sync, and many share one.
    pub(super) fn take(&self) -> Option<Vec<Job>> {
        let mut state = self.lock();
        while state.jobs.is_empty() {
            if state.closed {
                return None;
            }
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.bytes = 0;
        self.room.notify_all();
        Some(state.jobs.drain(..).collect())
    }

    /// What is queued is still committed; nothing more is taken in.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Closes the queue when dropped, so that nobody waits for a committer
    /// that is gone.
    pub(super) fn close_at_end(&self) -> impl Drop + '_ {
        AtEnd(self)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct AtEnd<'a>(&'a Queue);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.close();
        // What a committer that panicked left is answered by being dropped.
        self.0.lock().jobs.clear();
    }
}
