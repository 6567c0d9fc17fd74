//! Waiting until the index holds what was sealed when the waiting began.

use std::path::Path;
use std::time::Duration;

use evidence::Seq;
use index::Searcher;
use store::Catalogue;

use crate::app::error::Failure;
use crate::app::index_lock::IndexLock;
use crate::app::index_update::{catch_up_holding, open_searcher, results_since};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Another process writes the index.
    ForAnother,
    /// Nobody does, so this one catches up.
    Indexing,
}

/// Between two looks at another's work: soon enough for a person, and a look
/// costs some milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Returns once everything in `catalogue`, as it was opened, is indexed: by
/// another process where one is at it, else by this one. Killed at any moment
/// it leaves nothing half done.
///
/// **Units** of what `on_wait` is told: bytes of results, done and in all.
pub(super) fn await_index(
    archive: &Path,
    catalogue: &Catalogue,
    on_wait: &mut dyn FnMut(Waiting, u64, u64),
) -> Result<(), Failure> {
    let mut total = None;
    loop {
        let searcher = open_searcher(archive, catalogue)?;
        let from = searcher.as_ref().map_or(Seq::ZERO, Searcher::watermark);
        drop(searcher);
        let (results, bytes) = results_since(catalogue, from);
        if results == 0 {
            return Ok(());
        }
        let total = *total.get_or_insert(bytes);
        if let Some(lock) = IndexLock::try_acquire(archive)? {
            let mut progress = |done, total| on_wait(Waiting::Indexing, done, total);
            catch_up_holding(&lock, archive, catalogue, false, &mut progress)?;
            return Ok(());
        }
        on_wait(Waiting::ForAnother, total.saturating_sub(bytes), total);
        std::thread::sleep(LOOK_EVERY);
    }
}
