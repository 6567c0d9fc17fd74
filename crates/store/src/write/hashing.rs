//! SHA-256, and MD5 where asked for, of a large body on a thread of its own:
//! without SHA instructions it takes longer than everything else together.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use md5::{Digest, Md5};

use crate::StoreError;
use crate::format::frame::FRAME;
use evidence::{Sha256, Sha256Sum};

/// Frames on their way to the thread: 4 MiB a download, enough to hash on
/// while the disk syncs.
const FRAMES_WAITING: usize = 16;

pub(crate) type Md5Sum = [u8; 16];

enum Message {
    Frame(Vec<u8>),
    /// Asks for the MD5 of the frames so far and of these bytes behind them.
    Md5(Vec<u8>, SyncSender<Option<Md5Sum>>),
}

/// The hashes of one body, as far as it goes.
pub(crate) struct BodyHasher {
    to: SyncSender<Message>,
    used: Receiver<Vec<u8>>,
    thread: JoinHandle<Sha256Sum>,
}

impl BodyHasher {
    pub(crate) fn start(md5: bool) -> Result<Self, StoreError> {
        let (to, messages) = sync_channel(FRAMES_WAITING);
        let (give_back, used) = sync_channel(FRAMES_WAITING);
        let thread = std::thread::Builder::new()
            .name("hash".into())
            .spawn(move || hash(&messages, &give_back, md5))
            .map_err(|e| StoreError::io("start a thread", e))?;
        Ok(Self { to, used, thread })
    }

    /// Takes the bytes in, and leaves an empty buffer in their place.
    pub(crate) fn push(&self, bytes: &mut Vec<u8>) -> Result<(), StoreError> {
        let mut empty = self
            .used
            .try_recv()
            .unwrap_or_else(|_| Vec::with_capacity(FRAME));
        empty.clear();
        let frame = std::mem::replace(bytes, empty);
        self.to.send(Message::Frame(frame)).map_err(|_| gone())
    }

    /// MD5 of everything pushed and of `rest` behind it; `None` where it was
    /// not asked for at the start.
    pub(crate) fn md5_with(&self, rest: &[u8]) -> Option<Md5Sum> {
        let (reply, answer) = sync_channel(1);
        self.to.send(Message::Md5(rest.to_vec(), reply)).ok()?;
        answer.recv().ok().flatten()
    }

    pub(crate) fn finish(self) -> Result<Sha256, StoreError> {
        drop(self.to);
        let hash = self.thread.join().map_err(|_| gone())?;
        Ok(hash.finish())
    }
}

fn gone() -> StoreError {
    StoreError::io(
        "hash a body",
        std::io::Error::other("the hashing thread has ended"),
    )
}

fn hash(messages: &Receiver<Message>, give_back: &SyncSender<Vec<u8>>, md5: bool) -> Sha256Sum {
    let mut sha256 = Sha256Sum::default();
    let mut md5 = md5.then(Md5::new);
    for message in messages {
        match message {
            Message::Frame(frame) => {
                sha256.update(&frame);
                if let Some(md5) = &mut md5 {
                    md5.update(&frame);
                }
                // Buffers go round; one more or less does not matter.
                let _ = give_back.try_send(frame);
            }
            Message::Md5(rest, reply) => {
                let sum = md5
                    .clone()
                    .map(|md5| md5.chain_update(rest).finalize().into());
                let _ = reply.try_send(sum);
            }
        }
    }
    sha256
}
