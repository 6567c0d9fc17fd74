//! Lists hits on a thread of its own, some batches ahead of who takes them:
//! to find a hit and cut its line takes about as long as to write it.

use std::ops::ControlFlow;
use std::sync::mpsc::{SyncSender, sync_channel};

use crate::IndexError;
use crate::search::Place;
use crate::search::hits::{Hit, Lister};

/// Fewer hits are listed before a thread has begun.
#[cfg(not(test))]
const FEW: u64 = 4_000;
#[cfg(test)]
const FEW: u64 = 4;
/// Hits handed over at once.
const BATCH: usize = 512;
/// **Units**: bytes of the lines in a batch: each may be 64 KiB.
const BATCH_BYTES: usize = 1 << 20;
/// Batches that wait to be taken: 2 MiB of lines, and as much in hand.
const WAITING: usize = 2;

/// Calls `each` with the hits of some members, in order, of which there are
/// about `expected`.
///
/// **Errors**: a damaged segment, once the hits before it are handed out.
pub(crate) fn list<'a>(
    places: &[Place],
    expected: u64,
    lister: impl FnOnce() -> Lister<'a> + Send,
    each: &mut dyn FnMut(Hit) -> ControlFlow<()>,
) -> Result<(), IndexError> {
    if expected <= FEW {
        return list_all(places, &mut lister(), each);
    }
    let (sender, batches) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        let listing = scope.spawn(move || {
            let mut batch = Batch::new(sender);
            let listed = list_all(places, &mut lister(), &mut |hit| batch.push(hit));
            let _ = batch.hand_over();
            listed
        });
        if batches.iter().flatten().try_for_each(each).is_break() {
            // The thread finds nobody there for its next batch, and ends.
            drop(batches);
            return Ok(());
        }
        let listed = listing.join();
        listed.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn list_all(
    places: &[Place],
    lister: &mut Lister<'_>,
    each: &mut dyn FnMut(Hit) -> ControlFlow<()>,
) -> Result<(), IndexError> {
    for place in places {
        if lister.list(*place, each)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Hits on their way to who takes them.
struct Batch {
    hits: Vec<Hit>,
    /// **Units**: bytes of their lines.
    bytes: usize,
    to: SyncSender<Vec<Hit>>,
}

impl Batch {
    fn new(to: SyncSender<Vec<Hit>>) -> Self {
        Self {
            hits: Vec::with_capacity(BATCH),
            bytes: 0,
            to,
        }
    }

    fn push(&mut self, hit: Hit) -> ControlFlow<()> {
        self.bytes += hit.text_bytes();
        self.hits.push(hit);
        match self.hits.len() < BATCH && self.bytes < BATCH_BYTES {
            true => ControlFlow::Continue(()),
            false => self.hand_over(),
        }
    }

    fn hand_over(&mut self) -> ControlFlow<()> {
        self.bytes = 0;
        let hits = std::mem::replace(&mut self.hits, Vec::with_capacity(BATCH));
        match self.to.send(hits) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
