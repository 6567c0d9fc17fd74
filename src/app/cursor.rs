//! The hits of a search, taken in pages.
//!
//! A background thread produces hits in batches and stops while two batches
//! wait. Dropping the cursor cancels the search: the thread ends at its next
//! hit.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::vec;

use crate::app::error::Failure;
use crate::app::rows::HitRow;
use crate::app::search::Search;

/// Hits of the first batch: the first page is complete after a few hits.
const FIRST_BATCH: usize = 16;
/// Hits of a batch; batches double up to this size.
const BATCH_MAX: usize = 512;
/// **Units**: bytes of lines in a batch; a line can have 64 KiB.
const BATCH_BYTES_MAX: usize = 1 << 20;
/// Batches that wait to be taken.
const BATCHES_WAITING: usize = 2;

/// An iterator over the hits of a search.
///
/// **Memory**: four batches (1 MiB of lines each), besides that of a search.
pub struct HitCursor {
    batch: vec::IntoIter<HitRow>,
    taken: u64,
    state: CursorState,
}

enum CursorState {
    Running {
        batches: Receiver<Vec<HitRow>>,
        producer: JoinHandle<Result<Search, StopReason>>,
    },
    /// All hits were produced.
    Ended(Box<Search>),
    /// The search failed, or was cancelled.
    Stopped,
}

/// Why the producer ended before the last hit.
enum StopReason {
    Cancelled,
    Failed(Failure),
}

impl From<Failure> for StopReason {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl HitCursor {
    /// Starts the search.
    pub(super) fn start(mut search: Search) -> Result<Self, Failure> {
        let (sender, batches) = sync_channel(BATCHES_WAITING);
        let producer = std::thread::Builder::new()
            .name("search".into())
            .spawn(move || {
                let mut batch = HitBatch::new(sender);
                search.hits(|hit| batch.push(hit))?;
                batch.send()?;
                Ok(search)
            })?;
        Ok(Self {
            batch: Vec::new().into_iter(),
            taken: 0,
            state: CursorState::Running { batches, producer },
        })
    }

    /// Number of hits taken or skipped so far.
    pub fn position(&self) -> u64 {
        self.taken
    }

    /// The next `count` hits; fewer only if there are no more.
    pub fn next_page(&mut self, count: usize) -> Result<Vec<HitRow>, Failure> {
        self.take(count).collect()
    }

    /// Skips `count` hits. Returns how many there were.
    pub fn skip_hits(&mut self, count: u64) -> Result<u64, Failure> {
        let before = self.taken;
        while self.taken - before < count {
            match self.next() {
                Some(hit) => hit?,
                None => break,
            };
        }
        Ok(self.taken - before)
    }

    /// Skips the remaining hits and returns the search, for its summary and
    /// its certificate.
    pub fn finish(mut self) -> Result<Search, Failure> {
        for hit in self.by_ref() {
            hit?;
        }
        match std::mem::replace(&mut self.state, CursorState::Stopped) {
            CursorState::Ended(search) => Ok(*search),
            _ => Err(Failure::usage("the search was stopped before its end")),
        }
    }

    /// Cancels the search and waits until its thread has ended.
    pub fn cancel(mut self) {
        if let CursorState::Running { batches, producer } =
            std::mem::replace(&mut self.state, CursorState::Stopped)
        {
            drop(batches);
            // A failure has no receiver any more.
            let _ = producer.join();
        }
    }

    /// Waits for the next batch. `None` after the last one.
    fn next_batch(&mut self) -> Option<Result<vec::IntoIter<HitRow>, Failure>> {
        let CursorState::Running { batches, .. } = &self.state else {
            return None;
        };
        if let Ok(batch) = batches.recv() {
            return Some(Ok(batch.into_iter()));
        }
        let CursorState::Running { producer, .. } =
            std::mem::replace(&mut self.state, CursorState::Stopped)
        else {
            return None;
        };
        let ended = producer.join();
        match ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
            Ok(search) => {
                self.state = CursorState::Ended(Box::new(search));
                None
            }
            Err(StopReason::Failed(failure)) => Some(Err(failure)),
            Err(StopReason::Cancelled) => None,
        }
    }
}

impl Iterator for HitCursor {
    type Item = Result<HitRow, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(hit) = self.batch.next() {
                self.taken += 1;
                return Some(Ok(hit));
            }
            match self.next_batch()? {
                Ok(batch) => self.batch = batch,
                Err(failure) => return Some(Err(failure)),
            }
        }
    }
}

/// Hits on their way to the cursor.
struct HitBatch {
    hits: Vec<HitRow>,
    size: usize,
    /// **Units**: bytes of their lines.
    bytes: usize,
    to: SyncSender<Vec<HitRow>>,
}

impl HitBatch {
    fn new(to: SyncSender<Vec<HitRow>>) -> Self {
        Self {
            hits: Vec::with_capacity(FIRST_BATCH),
            size: FIRST_BATCH,
            bytes: 0,
            to,
        }
    }

    fn push(&mut self, hit: HitRow) -> Result<(), StopReason> {
        self.bytes += hit.text_bytes();
        self.hits.push(hit);
        if self.hits.len() < self.size && self.bytes < BATCH_BYTES_MAX {
            return Ok(());
        }
        self.size = (self.size * 2).min(BATCH_MAX);
        self.send()
    }

    fn send(&mut self) -> Result<(), StopReason> {
        self.bytes = 0;
        let hits = std::mem::replace(&mut self.hits, Vec::with_capacity(self.size));
        self.to.send(hits).map_err(|_| StopReason::Cancelled)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::app::import::{DeviceFrom, import};
    use crate::app::index_update::update_index;
    use crate::app::notes::Note;
    use crate::app::search_request::SearchRequest;
    use crate::app::session::ArchiveSession;

    const HITS: usize = 5_000;

    /// An archive with `HITS` lines that contain "word".
    fn archive() -> (tempfile::TempDir, ArchiveSession) {
        let dir = tempfile::tempdir().unwrap();
        let text: String = (0..HITS).map(|n| format!("word {n}\n")).collect();
        let file = dir.path().join("a.txt");
        std::fs::write(&file, text).unwrap();
        let path = dir.path().join("case");
        import(&path, &[file], &DeviceFrom::Action, &mut |_, _| {}).unwrap();
        update_index(&path, false, &mut |_, _| {}).unwrap();
        (dir, ArchiveSession::new(path))
    }

    fn search(session: &ArchiveSession, limit: Option<u64>) -> Search {
        let request = SearchRequest {
            query: Some("word".into()),
            limit,
            ..SearchRequest::default()
        };
        Search::open(session, &request, &mut |_, _, _| {}).unwrap()
    }

    fn lines(hits: &[HitRow]) -> Vec<u64> {
        hits.iter().map(|hit| hit.line).collect()
    }

    #[test]
    fn pages_of_10_equal_one_run() {
        let (_dir, session) = archive();
        let mut whole = Vec::new();
        search(&session, None)
            .hits(|hit| {
                whole.push(hit.line);
                Ok::<_, Failure>(())
            })
            .unwrap();
        assert_eq!(whole.len(), HITS);
        let mut cursor = search(&session, None).into_cursor().unwrap();
        let mut paged = Vec::new();
        loop {
            let page = cursor.next_page(10).unwrap();
            assert!(page.len() == 10 || paged.len() + page.len() == HITS);
            if page.is_empty() {
                break;
            }
            paged.extend(lines(&page));
        }
        assert_eq!(paged, whole);
        assert_eq!(cursor.position(), HITS as u64);
        assert_eq!(cursor.finish().unwrap().summary().hits, HITS as u64);
    }

    #[test]
    fn skipped_hits_are_not_returned() {
        let (_dir, session) = archive();
        let mut cursor = search(&session, Some(50)).into_cursor().unwrap();
        assert_eq!(cursor.skip_hits(30).unwrap(), 30);
        let page = cursor.next_page(10).unwrap();
        assert_eq!(lines(&page), (31..=40).collect::<Vec<_>>());
        assert_eq!(cursor.skip_hits(100).unwrap(), 10);
        assert!(cursor.next_page(10).unwrap().is_empty());
        let search = cursor.finish().unwrap();
        assert!(search.summary().notes.contains(&Note::StoppedAtLimit));
    }

    #[test]
    fn finish_runs_to_the_end() {
        let (_dir, session) = archive();
        let mut cursor = search(&session, None).into_cursor().unwrap();
        cursor.next_page(10).unwrap();
        assert_eq!(cursor.finish().unwrap().summary().hits, HITS as u64);
    }

    #[test]
    fn cancel_ends_the_work() {
        let (_dir, session) = archive();
        let index = session.index().unwrap().unwrap();
        let idle = Arc::strong_count(&index);
        let mut cursor = search(&session, None).into_cursor().unwrap();
        assert_eq!(cursor.next_page(10).unwrap().len(), 10);
        assert!(Arc::strong_count(&index) > idle);
        cursor.cancel();
        assert_eq!(Arc::strong_count(&index), idle, "the thread has ended");
    }

    #[test]
    fn dropped_cursor_ends_the_work() {
        let (_dir, session) = archive();
        let index = session.index().unwrap().unwrap();
        let idle = Arc::strong_count(&index);
        let mut cursor = search(&session, None).into_cursor().unwrap();
        cursor.next_page(10).unwrap();
        drop(cursor);
        let since = Instant::now();
        while Arc::strong_count(&index) > idle {
            assert!(since.elapsed() < Duration::from_secs(30), "it still runs");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn error_of_a_query_reaches_the_cursor() {
        let (_dir, session) = archive();
        let request = SearchRequest {
            fixed: Some(String::new()),
            ..SearchRequest::default()
        };
        let search = Search::open(&session, &request, &mut |_, _, _| {}).unwrap();
        let mut cursor = search.into_cursor().unwrap();
        assert!(cursor.next_page(10).is_err());
        assert!(cursor.next_page(10).unwrap().is_empty());
        assert!(cursor.finish().is_err());
    }
}
