//! Queue of commit requests, from callers to the commit thread. It is bounded
//! in number and in bytes, and each request gets its own reply.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::StoreError;
use crate::format::entry::{EntryHeader, NewEntry};
use crate::format::frame::{Digest32, FramedBody};
use crate::write::partial_download::FinishedBody;

/// Requests in the queue, and so in one commit. Writing a thousand small
/// entries takes as long as one sync.
pub(crate) const GROUP_MAX: usize = 1_000;
/// Requests that start a commit even if no caller waits. The three syncs are
/// then a small part of the work, and callers prepare the next requests
/// meanwhile.
const GROUP_DUE: usize = GROUP_MAX / 4;
/// **Units**: bytes that start a commit, for the same reason.
const GROUP_BYTES_DUE: usize = QUEUE_BYTES_MAX / 4;
/// **Units**: bytes of bodies in the queue. One body may exceed it, so that
/// every body fits.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// An entry to commit.
pub(crate) enum CommitRequest {
    /// An entry for the shared pack.
    Entry(NewEntry, FramedBody),
    /// A large body in its own file, which becomes a single-body pack.
    FinishedBody(NewEntry, Box<FinishedBody>),
}

impl CommitRequest {
    pub(crate) fn entry(&self) -> &NewEntry {
        let (Self::Entry(entry, _) | Self::FinishedBody(entry, _)) = self;
        entry
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Entry(entry, body) => entry.json.len() + body.frames.len(),
            Self::FinishedBody(_, body) => body.digests.len() * size_of::<Digest32>(),
        }
    }
}

/// The entry of a request, once durable.
pub(crate) struct CommitReceipt {
    pub(crate) header: EntryHeader,
    pub(crate) json: Vec<u8>,
    /// `false` if the request was a duplicate.
    pub(crate) is_new: bool,
}

pub(crate) type CommitResult = Result<CommitReceipt, StoreError>;

/// A request and the channel for its reply.
pub(crate) struct QueuedRequest {
    pub(crate) request: CommitRequest,
    reply: SyncSender<CommitResult>,
}

impl QueuedRequest {
    pub(crate) fn reply(&self, result: CommitResult) {
        // Fails if the caller no longer waits; the entry is committed anyway.
        let _ = self.reply.try_send(result);
    }
}

/// The reply of a queued request. Waiting for it makes the queue due.
pub(crate) struct PendingReply {
    reply: Receiver<CommitResult>,
    /// Number of the request among all that were queued.
    number: u64,
    queue: Arc<CommitQueue>,
}

impl PendingReply {
    pub(crate) fn wait(self) -> CommitResult {
        match self.reply.try_recv() {
            Ok(result) => result,
            Err(TryRecvError::Empty) => {
                self.queue.hurry(self.number);
                self.reply.recv().unwrap_or(Err(StoreError::Closed))
            }
            Err(TryRecvError::Disconnected) => Err(StoreError::Closed),
        }
    }
}

#[derive(Default)]
pub(crate) struct CommitQueue {
    state: Mutex<CommitQueueState>,
    is_due: Condvar,
    has_space: Condvar,
}

#[derive(Default)]
struct CommitQueueState {
    requests: VecDeque<QueuedRequest>,
    bytes: usize,
    /// Number of requests taken so far.
    taken: u64,
    /// A caller waits for the reply to a queued request.
    is_urgent: bool,
    is_closed: bool,
}

impl CommitQueueState {
    fn is_due(&self) -> bool {
        self.is_urgent || self.requests.len() >= GROUP_DUE || self.bytes >= GROUP_BYTES_DUE
    }

    fn is_full(&self) -> bool {
        self.requests.len() >= GROUP_MAX || self.bytes >= QUEUE_BYTES_MAX
    }
}

impl CommitQueue {
    /// Queues a request. Waits while the queue is full.
    pub(crate) fn push(
        self: &Arc<Self>,
        request: CommitRequest,
    ) -> Result<PendingReply, StoreError> {
        let (sender, receiver) = sync_channel(1);
        let mut state = self.lock();
        while !state.is_closed && state.is_full() {
            state = self
                .has_space
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_closed {
            return Err(StoreError::Closed);
        }
        let number = state.taken + state.requests.len() as u64;
        state.bytes += request.bytes();
        state.requests.push_back(QueuedRequest {
            request,
            reply: sender,
        });
        if state.is_due() {
            self.is_due.notify_one();
        }
        Ok(PendingReply {
            reply: receiver,
            number,
            queue: Arc::clone(self),
        })
    }

    /// Makes the queue due if it still contains the request.
    fn hurry(&self, number: u64) {
        let mut state = self.lock();
        if number >= state.taken {
            state.is_urgent = true;
            self.is_due.notify_one();
        }
    }

    /// Waits until the queue is due and takes all requests; `None` if it is
    /// closed and empty. A single caller thus waits for one commit, and many
    /// callers share one.
    pub(crate) fn take(&self) -> Option<Vec<QueuedRequest>> {
        let mut state = self.lock();
        while !state.is_due() && !state.is_closed {
            state = self
                .is_due
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.requests.is_empty() {
            return None;
        }
        state.bytes = 0;
        state.is_urgent = false;
        state.taken += state.requests.len() as u64;
        self.has_space.notify_all();
        Some(state.requests.drain(..).collect())
    }

    /// Rejects further requests. Queued ones are still committed.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.is_due.notify_all();
        self.has_space.notify_all();
    }

    /// Closes the queue when the guard is dropped, so that no caller waits for
    /// a commit thread that has ended or panicked.
    pub(crate) fn close_on_drop(&self) -> impl Drop + '_ {
        CloseOnDrop(self)
    }

    fn lock(&self) -> MutexGuard<'_, CommitQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct CloseOnDrop<'a>(&'a CommitQueue);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
        // Dropping the requests sends `Closed` to their callers.
        self.0.lock().requests.clear();
    }
}
