//! Waits until everything that is sealed now is indexed.

use std::time::Duration;

use evidence::Seq;
use index::Searcher;

use crate::app::error::Failure;
use crate::app::index_lock::IndexLock;
use crate::app::index_update::update_locked;
use crate::app::session::ArchiveSession;

/// Who updates the index during the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexWait {
    /// Another process.
    OtherProcess,
    /// This process.
    ThisProcess,
}

/// Interval between two looks at the index: short for a person, and long
/// compared with a look, which takes a few milliseconds.
const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// Returns once everything sealed at the time of the call is indexed: by
/// another process if one updates the index, else by this one. It may be killed
/// at any time.
///
/// **Units** of `on_wait`: bytes of results, done and in total.
pub(super) fn wait_for_index(
    session: &ArchiveSession,
    on_wait: &mut dyn FnMut(IndexWait, u64, u64),
) -> Result<(), Failure> {
    let archive = session.archive();
    let catalogue = session.catalogue()?;
    let mut total = None;
    loop {
        session.refresh_index();
        let watermark = session
            .index()?
            .map_or(Seq::ZERO, |searcher| Searcher::watermark(&searcher));
        let results = catalogue.results_since(watermark);
        if results.is_empty() {
            return Ok(());
        }
        let left: u64 = results.iter().map(|result| result.bytes).sum();
        let total = *total.get_or_insert(left);
        if let Some(lock) = IndexLock::try_acquire(archive)? {
            let mut progress = |done, total| on_wait(IndexWait::ThisProcess, done, total);
            update_locked(&lock, archive, &catalogue, false, &mut progress)?;
            session.refresh_index();
            return Ok(());
        }
        on_wait(IndexWait::OtherProcess, total.saturating_sub(left), total);
        std::thread::sleep(POLL_INTERVAL);
    }
}
