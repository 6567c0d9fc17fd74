//! An archive and its index, opened once and kept for many answers.
//!
//! Each part is opened when the first use case needs it: a search reads the
//! journal after the checkpoint and the index, but not the whole catalogue.
//! Opening takes no lock and writes nothing, so a session reads beside a writer
//! and from read-only media.
//!
//! **Invariant**: a part that a use case has obtained does not change.
//! [`refresh`](ArchiveSession::refresh) replaces parts and never modifies one
//! that is in use.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use evidence::Seq;
use index::{IndexId, Searcher};
use store::{Catalogue, CustodyEvent, JournalTail, StoreError};

use crate::app::custody;
use crate::app::error::Failure;
use crate::app::index_files::{index_id, index_id_of_tail, manifest_hash, open_index};

/// A reader of one archive and its index, for any number of answers and threads.
///
/// **Memory**: about 200 bytes for each entry of the catalogue, once a use case
/// needs it; the index is mapped.
pub struct ArchiveSession {
    archive: PathBuf,
    tail: Mutex<Option<Arc<JournalTail>>>,
    catalogue: Mutex<Option<Arc<Catalogue>>>,
    index: Mutex<Option<OpenIndex>>,
}

/// Position up to which an archive is sealed and indexed. Two equal positions
/// of one session give the same answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivePosition {
    /// Changes if entries of the archive were lost.
    pub generation: u64,
    /// Last entry of the journal.
    pub journal: Seq,
    /// Watermark of the index: results up to here are indexed.
    pub indexed: Seq,
    /// Changes with each commit of the index; `None` without an index.
    manifest: Option<blake3::Hash>,
}

struct OpenIndex {
    id: IndexId,
    /// Hash of the manifest, read before the index was opened: if a writer
    /// commits in between, the next refresh opens the index again.
    manifest: Option<blake3::Hash>,
    searcher: Arc<Searcher>,
}

/// The journal of an archive, as far as a search needs it: the tail after the
/// checkpoint, or the whole catalogue if the session has it already.
#[derive(Clone)]
pub(super) enum JournalReader {
    Tail(Arc<JournalTail>),
    Catalogue(Arc<Catalogue>),
}

impl ArchiveSession {
    /// Creates a session. Nothing is opened yet, so a missing archive is
    /// reported by the first use case.
    pub fn new(archive: impl Into<PathBuf>) -> Self {
        Self {
            archive: archive.into(),
            tail: Mutex::default(),
            catalogue: Mutex::default(),
            index: Mutex::default(),
        }
    }

    pub fn archive(&self) -> &Path {
        &self.archive
    }

    /// Reads what was sealed and indexed since the parts were opened. Use cases
    /// that are running keep the state they began with.
    ///
    /// **Cost**: a few file operations for each pack index, and a read of what
    /// is new. A catalogue that is in use and has changed is opened again.
    pub fn refresh(&self) -> Result<(), Failure> {
        lock(&self.tail).take();
        self.refresh_catalogue()?;
        self.refresh_index();
        Ok(())
    }

    /// The position this session reads at.
    pub fn position(&self) -> Result<ArchivePosition, Failure> {
        let journal = self.journal()?;
        let searcher = self.index()?;
        Ok(ArchivePosition {
            generation: journal.index_id().generation,
            journal: journal.last_seq(),
            indexed: searcher.map_or(Seq::ZERO, |searcher| searcher.watermark()),
            manifest: lock(&self.index).as_ref().and_then(|open| open.manifest),
        })
    }

    /// The whole catalogue.
    pub(super) fn catalogue(&self) -> Result<Arc<Catalogue>, Failure> {
        let mut slot = lock(&self.catalogue);
        if let Some(catalogue) = &*slot {
            return Ok(Arc::clone(catalogue));
        }
        let catalogue = Arc::new(custody::open_to_read(&self.archive)?);
        *slot = Some(Arc::clone(&catalogue));
        Ok(catalogue)
    }

    pub(super) fn journal(&self) -> Result<JournalReader, Failure> {
        if let Some(catalogue) = &*lock(&self.catalogue) {
            return Ok(JournalReader::Catalogue(Arc::clone(catalogue)));
        }
        let mut slot = lock(&self.tail);
        if let Some(tail) = &*slot {
            return Ok(JournalReader::Tail(Arc::clone(tail)));
        }
        let tail = Arc::new(JournalTail::open(&self.archive)?);
        *slot = Some(Arc::clone(&tail));
        Ok(JournalReader::Tail(tail))
    }

    /// The index; `None` if the archive has none yet.
    pub(super) fn index(&self) -> Result<Option<Arc<Searcher>>, Failure> {
        let id = self.journal()?.index_id();
        let mut slot = lock(&self.index);
        if let Some(open) = &*slot
            && open.id == id
        {
            return Ok(Some(Arc::clone(&open.searcher)));
        }
        let manifest = manifest_hash(&self.archive);
        *slot = open_index(&self.archive, &id)?.map(|searcher| OpenIndex {
            id,
            manifest,
            searcher: Arc::new(searcher),
        });
        Ok(slot.as_ref().map(|open| Arc::clone(&open.searcher)))
    }

    /// Number of sealed results that `searcher` does not contain.
    pub(super) fn not_indexed(
        &self,
        journal: &JournalReader,
        searcher: Option<&Searcher>,
    ) -> Result<u64, Failure> {
        let watermark = searcher.map_or(Seq::ZERO, Searcher::watermark);
        match journal.results_since(watermark) {
            Some(count) => Ok(count),
            None => Ok(self.catalogue()?.results_since(watermark).len() as u64),
        }
    }

    /// Closes the index if it was changed since it was opened.
    pub(super) fn refresh_index(&self) {
        let manifest = manifest_hash(&self.archive);
        lock(&self.index).take_if(|open| open.manifest != manifest);
    }

    fn refresh_catalogue(&self) -> Result<(), Failure> {
        let mut slot = lock(&self.catalogue);
        let Some(mut catalogue) = slot.take() else {
            return Ok(());
        };
        // A failed refresh leaves a catalogue that lacks entries: it is dropped.
        if let Some(unshared) = Arc::get_mut(&mut catalogue) {
            unshared.refresh()?;
        } else if self.has_changed(&catalogue)? {
            catalogue = Arc::new(custody::open_to_read(&self.archive)?);
        }
        *slot = Some(catalogue);
        Ok(())
    }

    fn has_changed(&self, catalogue: &Catalogue) -> Result<bool, StoreError> {
        let tail = JournalTail::open(&self.archive)?;
        Ok(tail.last_seq() != catalogue.last_seq() || tail.generation() != catalogue.generation())
    }
}

impl JournalReader {
    pub(super) fn last_seq(&self) -> Seq {
        match self {
            Self::Tail(tail) => tail.last_seq(),
            Self::Catalogue(catalogue) => catalogue.last_seq(),
        }
    }

    pub(super) fn archive_id(&self) -> [u8; 16] {
        self.index_id().archive
    }

    pub(super) fn index_id(&self) -> IndexId {
        match self {
            Self::Tail(tail) => index_id_of_tail(tail),
            Self::Catalogue(catalogue) => index_id(catalogue),
        }
    }

    /// Number of results sealed after `seq`; `None` if the tail does not begin
    /// early enough.
    fn results_since(&self, seq: Seq) -> Option<u64> {
        let results = match self {
            Self::Tail(tail) => tail.results_since(seq)?,
            Self::Catalogue(catalogue) => catalogue.results_since(seq),
        };
        Some(results.len() as u64)
    }

    /// Appends a custody event for the next writer to merge.
    ///
    /// **Errors**: on read-only media; no answer depends on it.
    pub(super) fn note(&self, event: &CustodyEvent) -> Result<(), StoreError> {
        match self {
            Self::Tail(tail) => tail.note(event),
            Self::Catalogue(catalogue) => catalogue.note(event),
        }
    }
}

fn lock<T>(slot: &Mutex<T>) -> MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::import::{DeviceFrom, import};
    use crate::app::index_update::update_index;
    use crate::app::list::{ListFilter, list};
    use crate::app::search::Search;
    use crate::app::search_request::SearchRequest;

    /// A directory with an archive in it.
    struct TestArchive(tempfile::TempDir);

    impl TestArchive {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("case")
        }

        fn import(&self, name: &str, text: &str) {
            let file = self.0.path().join(name);
            std::fs::write(&file, text).unwrap();
            let device = DeviceFrom::Name("pc-1".into());
            import(&self.path(), &[file], &device, &mut |_, _| {}).unwrap();
        }

        fn index(&self) {
            update_index(&self.path(), false, &mut |_, _| {}).unwrap();
        }
    }

    fn request(word: &str) -> SearchRequest {
        SearchRequest {
            query: Some(word.into()),
            ..SearchRequest::default()
        }
    }

    fn hits(session: &ArchiveSession, word: &str) -> u64 {
        let request = request(word);
        let mut search = Search::open(session, &request, &mut |_, _, _| {}).unwrap();
        let mut hits = 0;
        search
            .hits(|_| {
                hits += 1;
                Ok::<_, Failure>(())
            })
            .unwrap();
        hits
    }

    fn results(session: &ArchiveSession) -> usize {
        let mut rows = 0;
        let mut count = |_| {
            rows += 1;
            Ok(())
        };
        list(session, &ListFilter::default(), &mut count).unwrap();
        rows
    }

    #[test]
    fn search_opens_the_journal_tail_and_no_catalogue() {
        let archive = TestArchive::new();
        archive.import("a.txt", "early words\n");
        archive.index();
        let session = ArchiveSession::new(archive.path());
        assert_eq!(hits(&session, "words"), 1);
        assert!(lock(&session.catalogue).is_none());
        assert!(lock(&session.tail).is_some());
    }

    #[test]
    fn refresh_shows_what_was_sealed_and_indexed_since() {
        let archive = TestArchive::new();
        archive.import("a.txt", "early words\n");
        archive.index();
        let session = ArchiveSession::new(archive.path());
        let before = session.position().unwrap();
        assert_eq!((results(&session), hits(&session, "words")), (1, 1));
        archive.import("b.txt", "late words\n");
        assert_eq!((results(&session), hits(&session, "words")), (1, 1));
        session.refresh().unwrap();
        let sealed = session.position().unwrap();
        assert_eq!((results(&session), hits(&session, "words")), (2, 1));
        assert!(sealed.journal > before.journal && sealed.indexed == before.indexed);
        archive.index();
        session.refresh().unwrap();
        assert_eq!(hits(&session, "words"), 2);
        assert_eq!(session.position().unwrap().indexed, sealed.journal);
    }

    #[test]
    fn refresh_without_changes_keeps_the_open_index() {
        let archive = TestArchive::new();
        archive.import("a.txt", "words\n");
        archive.index();
        let session = ArchiveSession::new(archive.path());
        let index = session.index().unwrap().unwrap();
        let position = session.position().unwrap();
        session.refresh().unwrap();
        assert!(Arc::ptr_eq(&index, &session.index().unwrap().unwrap()));
        assert_eq!(position, session.position().unwrap());
    }

    #[test]
    fn refresh_does_not_change_parts_in_use() {
        let archive = TestArchive::new();
        archive.import("a.txt", "early words\n");
        archive.index();
        let session = ArchiveSession::new(archive.path());
        let catalogue = session.catalogue().unwrap();
        let index = session.index().unwrap().unwrap();
        archive.import("b.txt", "late words\n");
        archive.index();
        session.refresh().unwrap();
        assert_eq!(catalogue.record_count(), 1);
        assert_eq!(index.results().count(), 1);
        assert_eq!((results(&session), hits(&session, "words")), (2, 2));
        // Unchanged, a catalogue in use is kept.
        let catalogue = session.catalogue().unwrap();
        session.refresh().unwrap();
        assert!(Arc::ptr_eq(&catalogue, &session.catalogue().unwrap()));
    }

    #[test]
    fn session_reads_while_a_writer_has_the_archive() {
        let archive = TestArchive::new();
        archive.import("a.txt", "words\n");
        archive.index();
        let store = custody::open_to_write(&archive.path(), "test").unwrap();
        let session = ArchiveSession::new(archive.path());
        assert_eq!((results(&session), hits(&session, "words")), (1, 1));
        session.refresh().unwrap();
        store.close().unwrap();
    }
}
