//! What callers hand to the committer: bounded in number and in bytes, and
//! answered one by one.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::StoreError;
use crate::format::entry::{EntryHeader, NewEntry};
use crate::format::frame::{Digest32, FramedBody};
use crate::write::partial_download::FinishedBody;

/// Facts in one commit, and in the queue: a sync costs what a thousand small
/// facts cost to write.
pub(crate) const GROUP_MAX: usize = 1_000;
/// So many are committed though nobody waits for one: three syncs are then a
/// small part of the work, and the next ones are made ready meanwhile.
const GROUP_DUE: usize = GROUP_MAX / 4;
/// **Units**: bytes; the same.
const GROUP_BYTES_DUE: usize = QUEUE_BYTES_MAX / 4;
/// **Units**: bytes of bodies in the queue. One body more may stand in it, so
/// that none is too large for it.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// One fact to be committed.
pub(crate) enum CommitRequest {
    Entry(NewEntry, FramedBody),
    Adopt(NewEntry, Box<FinishedBody>),
}

/// What became of a fact.
pub(crate) struct CommitReceipt {
    pub(crate) card: EntryHeader,
    pub(crate) json: Vec<u8>,
    /// `false` where the archive held it already.
    pub(crate) fresh: bool,
}

pub(crate) type CommitResult = Result<CommitReceipt, StoreError>;

pub(crate) struct QueuedRequest {
    pub(crate) work: CommitRequest,
    reply: SyncSender<CommitResult>,
}

impl QueuedRequest {
    pub(crate) fn answer(&self, answer: CommitResult) {
        // Whoever asked may have gone; the fact is committed all the same.
        let _ = self.reply.try_send(answer);
    }

    fn bytes(&self) -> usize {
        match &self.work {
            CommitRequest::Entry(fact, body) => fact.json.len() + body.area.len(),
            CommitRequest::Adopt(_, parcel) => parcel.digests.len() * size_of::<Digest32>(),
        }
    }
}

/// A fact on its way. It is committed once enough are, or once somebody waits.
pub(crate) struct PendingReply {
    answer: Receiver<CommitResult>,
    /// Which fact of all that were queued.
    nth: u64,
    queue: Arc<CommitQueue>,
}

impl PendingReply {
    pub(crate) fn wait(self) -> CommitResult {
        match self.answer.try_recv() {
            Ok(answer) => answer,
            Err(TryRecvError::Empty) => {
                self.queue.hurry(self.nth);
                self.answer.recv().unwrap_or(Err(StoreError::Closed))
            }
            Err(TryRecvError::Disconnected) => Err(StoreError::Closed),
        }
    }
}

/// Callers push, the committer takes.
#[derive(Default)]
pub(crate) struct CommitQueue {
    state: Mutex<QueueState>,
    work: Condvar,
    room: Condvar,
}

#[derive(Default)]
struct QueueState {
    jobs: VecDeque<QueuedRequest>,
    bytes: usize,
    /// Facts that were taken out so far.
    taken: u64,
    /// Somebody waits for what is in it.
    hurried: bool,
    closed: bool,
}

impl QueueState {
    fn is_due(&self) -> bool {
        self.hurried || self.jobs.len() >= GROUP_DUE || self.bytes >= GROUP_BYTES_DUE
    }
}

impl CommitQueue {
    /// Waits for room, then queues.
    pub(crate) fn push(self: &Arc<Self>, work: CommitRequest) -> Result<PendingReply, StoreError> {
        let (reply, answer) = sync_channel(1);
        let job = QueuedRequest { work, reply };
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
        let nth = state.taken + state.jobs.len() as u64;
        state.bytes += job.bytes();
        state.jobs.push_back(job);
        if state.is_due() {
            self.work.notify_one();
        }
        Ok(PendingReply {
            answer,
            nth,
            queue: Arc::clone(self),
        })
    }

    /// What is queued is due where the nth fact is still among it.
    fn hurry(&self, nth: u64) {
        let mut state = self.lock();
        if nth >= state.taken {
            state.hurried = true;
            self.work.notify_one();
        }
    }

    /// Waits until work is due and takes all there is; `None` once closed and
    /// empty. So a lone caller waits for one commit, and many share one.
    pub(crate) fn take(&self) -> Option<Vec<QueuedRequest>> {
        let mut state = self.lock();
        while !state.is_due() && !state.closed {
            state = self
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.jobs.is_empty() {
            return None;
        }
        (state.bytes, state.hurried) = (0, false);
        state.taken += state.jobs.len() as u64;
        self.room.notify_all();
        Some(state.jobs.drain(..).collect())
    }

    /// What is queued is still committed; nothing more is taken in.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Closes the queue when dropped, so that nobody waits for a committer
    /// that is gone.
    pub(crate) fn close_at_end(&self) -> impl Drop + '_ {
        CloseOnDrop(self)
    }

    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct CloseOnDrop<'a>(&'a CommitQueue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
        // What a committer that panicked left is answered by being dropped.
        self.0.lock().jobs.clear();
    }
}
