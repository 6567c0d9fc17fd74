//! Hashes a large body on a separate thread: SHA-256, and MD5 if requested.
//!
//! On processors without SHA instructions, SHA-256 takes longer than all other
//! work on the body.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use md5::{Digest, Md5};

use crate::StoreError;
use crate::format::frame::FRAME;
use evidence::{Sha256, Sha256Sum};

/// Frames queued for the thread: 4 MiB for each download, enough to continue
/// hashing during a sync.
const FRAMES_QUEUED: usize = 16;

pub(crate) type Md5Sum = [u8; 16];

enum HasherMessage {
    Frame(Vec<u8>),
    /// Requests the MD5 of the frames so far, followed by these bytes.
    Md5(Vec<u8>, SyncSender<Option<Md5Sum>>),
}

/// The running hashes of one body.
pub(crate) struct BodyHasher {
    sender: SyncSender<HasherMessage>,
    empty_buffers: Receiver<Vec<u8>>,
    thread: JoinHandle<Sha256Sum>,
}

impl BodyHasher {
    pub(crate) fn start(with_md5: bool) -> Result<Self, StoreError> {
        let (sender, messages) = sync_channel(FRAMES_QUEUED);
        let (return_buffer, empty_buffers) = sync_channel(FRAMES_QUEUED);
        let thread = std::thread::Builder::new()
            .name("hash".into())
            .spawn(move || run(&messages, &return_buffer, with_md5))
            .map_err(|e| StoreError::io("start a hashing thread", e))?;
        Ok(Self {
            sender,
            empty_buffers,
            thread,
        })
    }

    /// Takes the bytes and leaves an empty buffer in their place.
    pub(crate) fn push(&self, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        let mut empty = self
            .empty_buffers
            .try_recv()
            .unwrap_or_else(|_| Vec::with_capacity(FRAME));
        empty.clear();
        let frame = std::mem::replace(bytes, empty);
        self.sender
            .send(HasherMessage::Frame(frame))
            .map_err(|_| thread_ended())
    }

    /// MD5 of all pushed bytes, followed by `rest`; `None` if it was not
    /// requested at the start.
    pub(crate) fn md5_with(&self, rest: &[u8]) -> Option<Md5Sum> {
        let (sender, receiver) = sync_channel(1);
        self.sender
            .send(HasherMessage::Md5(rest.to_vec(), sender))
            .ok()?;
        receiver.recv().ok().flatten()
    }

    pub(crate) fn finish(self) -> Result<Sha256, StoreError> {
        drop(self.sender);
        let hash = self.thread.join().map_err(|_| thread_ended())?;
        Ok(hash.finish())
    }
}

fn thread_ended() -> StoreError {
    StoreError::io(
        "hash a body",
        std::io::Error::other("the hashing thread has ended"),
    )
}

fn run(
    messages: &Receiver<HasherMessage>,
    return_buffer: &SyncSender<Vec<u8>>,
    with_md5: bool,
) -> Sha256Sum {
    let mut sha256 = Sha256Sum::default();
    let mut md5 = with_md5.then(Md5::new);
    for message in messages {
        match message {
            HasherMessage::Frame(frame) => {
                sha256.update(&frame);
                if let Some(md5) = &mut md5 {
                    md5.update(&frame);
                }
                // A buffer that is not reused is dropped.
                let _ = return_buffer.try_send(frame);
            }
            HasherMessage::Md5(rest, reply) => {
                let sum = md5
                    .clone()
                    .map(|md5| md5.chain_update(rest).finalize().into());
                let _ = reply.try_send(sum);
            }
        }
    }
    sha256
}
