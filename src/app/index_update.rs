//! Pump 2: what is sealed and not indexed yet is read into the index. The
//! same code builds an index anew.

use std::path::{Path, PathBuf};

use serde::Serialize;

use evidence::Seq;
use extract::EXTRACTOR_VERSION;
use index::{IndexError, IndexId, IndexSettings, IndexWriter, Searcher};
use store::{Catalogue, StoreError};

use crate::app::custody;
use crate::app::error::{Failure, FailureKind};
use crate::app::index_lock::IndexLock;
use crate::app::indexer::Indexer;

/// What catching up came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Caught {
    pub results: u64,
    pub members: u64,
    /// **Units**: bytes of decoded text, of contents not known before.
    pub text_bytes: u64,
    pub problems: u64,
    /// Why the index was built anew.
    pub rebuilt: Option<String>,
}

/// Text taken between publishings: what a crash may make us read again, and
/// about one segment.
const PUBLISH_BYTES: u64 = 256 << 20;
/// Rows noted between publishings where they hold little text, about 300
/// bytes each: known content adds a row for each of its places and no text.
const PUBLISH_ROWS: u64 = 200_000;

/// Where an archive keeps its index.
pub(super) fn index_dir(archive: &Path) -> PathBuf {
    archive.join("index")
}

/// What an index of this archive is made from.
pub(super) fn identity(archive: [u8; 16], generation: u64) -> IndexId {
    IndexId {
        archive,
        generation,
        extractor_version: EXTRACTOR_VERSION,
    }
}

pub(super) fn identity_of(catalogue: &Catalogue) -> IndexId {
    identity(catalogue.archive_id(), catalogue.generation())
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        let hint = error.hint().map(str::to_string);
        let failure = Self::caused(FailureKind::Environment, String::new(), error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Brings the index up to the journal's end. Where another process is at it,
/// that is waited for, and the rest is done.
///
/// **Errors**: what was published until then stays; catching up again goes on.
pub fn catch_up(
    archive: &Path,
    rebuild: bool,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<Caught, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let lock = IndexLock::acquire(archive)?;
    catalogue.refresh()?;
    catch_up_holding(&lock, archive, &catalogue, rebuild, on_progress)
}

/// The same, but where another process is at it: then `None`, at once.
pub fn catch_up_unless_busy(archive: &Path) -> Result<Option<Caught>, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let Some(lock) = IndexLock::try_acquire(archive)? else {
        return Ok(None);
    };
    catalogue.refresh()?;
    catch_up_holding(&lock, archive, &catalogue, false, &mut |_, _| {}).map(Some)
}

/// The same up to where `catalogue` ends, for whoever holds the lock. A result
/// whose copy is damaged becomes a problem of its own and stops no other.
pub(super) fn catch_up_holding(
    _lock: &IndexLock,
    archive: &Path,
    catalogue: &Catalogue,
    rebuild: bool,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<Caught, Failure> {
    let dir = index_dir(archive);
    let (identity, settings) = (identity_of(catalogue), index_settings(catalogue));
    let rebuilt = (!rebuild).then(|| foreign(&dir, catalogue)).flatten();
    let mut writer = if rebuild {
        IndexWriter::rebuild(&dir, identity, settings)?
    } else {
        IndexWriter::open(&dir, identity, settings)?
    };
    let from = writer.watermark();
    let results = catalogue.results_since(from);
    let total = results.iter().map(|result| result.bytes).sum();
    let mut indexer = Indexer::new(archive, catalogue, &mut writer)?;
    let mut done = 0;
    for result in results {
        on_progress(done, total);
        match catalogue.record(result.id) {
            Ok(Some(record)) => indexer.read(&record)?,
            Ok(None) => {}
            Err(error @ StoreError::Damaged { .. }) => indexer.note_damaged(&result, &error),
            Err(error) => return Err(error.into()),
        }
        done += result.bytes;
        let writer = &mut indexer.writer;
        if writer.unpublished_bytes() >= PUBLISH_BYTES || writer.unpublished_rows() >= PUBLISH_ROWS
        {
            writer.publish(result.seq)?;
        }
    }
    let mut caught = indexer.caught;
    let seen = catalogue.last_seq().max(from);
    if seen > from || rebuilt.is_some() || rebuild {
        writer.publish(seen)?;
    }
    // On media that cannot be written the next search reads all lists.
    let _ = catalogue.leave_bookmark(seen);
    on_progress(total, total);
    caught.rebuilt = rebuilt;
    Ok(caught)
}

/// Why the index that is there cannot be gone on with.
fn foreign(dir: &Path, catalogue: &Catalogue) -> Option<String> {
    let identity = identity_of(catalogue);
    match Searcher::open(dir, Some(&identity), Some(text_key(&identity))) {
        Ok(_) | Err(IndexError::Missing { .. }) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Count and bytes of the results sealed behind `from`.
pub(super) fn results_since(catalogue: &Catalogue, from: Seq) -> (u64, u64) {
    let results = catalogue.results_since(from);
    let bytes = results.iter().map(|result| result.bytes).sum();
    (results.len() as u64, bytes)
}

/// Opens the index to search; `None` where there is none of this archive yet.
pub(super) fn open_searcher(
    archive: &Path,
    catalogue: &Catalogue,
) -> Result<Option<Searcher>, Failure> {
    open_searcher_of(archive, &identity_of(catalogue))
}

pub(super) fn open_searcher_of(
    archive: &Path,
    identity: &IndexId,
) -> Result<Option<Searcher>, Failure> {
    Ok(open_index(archive, identity)?)
}

pub(super) fn open_index(
    archive: &Path,
    identity: &IndexId,
) -> Result<Option<Searcher>, IndexError> {
    let opened = Searcher::open(
        &index_dir(archive),
        Some(identity),
        Some(text_key(identity)),
    );
    match opened {
        Ok(searcher) => Ok(Some(searcher)),
        Err(IndexError::Missing { .. } | IndexError::Foreign { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Masks the text in the index, so that an antivirus does not take it for what
/// it tells about. No secret: whoever has the archive has the key.
fn text_key(identity: &IndexId) -> [u8; 32] {
    blake3::derive_key("afteraction 2026 index text", &identity.archive)
}

pub(super) fn index_settings(catalogue: &Catalogue) -> IndexSettings {
    IndexSettings {
        key: Some(text_key(&identity_of(catalogue))),
        ..IndexSettings::default()
    }
}
