//! Index update: reads the results that are sealed and not indexed yet into the
//! index. A rebuild is an update from the beginning, with the same code.

use std::path::Path;

use index::{IndexError, IndexId, IndexWriter};
use store::{Catalogue, StoreError};

use crate::app::custody;
use crate::app::error::Failure;
use crate::app::index_files::{index_dir, index_id, index_settings, open_strictly};
use crate::app::index_lock::IndexLock;
use crate::app::indexer::{IndexReport, ResultIndexer};

/// **Units**: bytes of text between two commits: the work that a crash can
/// lose, and about one segment.
const COMMIT_BYTES: u64 = 256 << 20;
/// Rows of metadata between two commits, about 300 bytes each: content that is
/// indexed already adds a row for each occurrence, and no text.
const COMMIT_ROWS: u64 = 200_000;

/// Indexes everything that is sealed. If another process updates the index,
/// waits for it and indexes what it left.
///
/// **Errors**: the index keeps what was committed; the next update continues
/// from there.
///
/// **Units** of `on_progress`: bytes of results, done and in total.
pub fn update_index(
    archive: &Path,
    rebuild: bool,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<IndexReport, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let lock = IndexLock::acquire(archive)?;
    catalogue.refresh()?;
    update_locked(&lock, archive, &catalogue, rebuild, on_progress)
}

/// As [`update_index`], but returns `None` at once if another process updates
/// the index.
pub fn update_index_unless_busy(archive: &Path) -> Result<Option<IndexReport>, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let Some(lock) = IndexLock::try_acquire(archive)? else {
        return Ok(None);
    };
    catalogue.refresh()?;
    update_locked(&lock, archive, &catalogue, false, &mut |_, _| {}).map(Some)
}

/// Indexes everything that `catalogue` contains. A result whose copy in the
/// archive is damaged becomes a problem and does not stop the update.
pub(super) fn update_locked(
    _lock: &IndexLock,
    archive: &Path,
    catalogue: &Catalogue,
    rebuild: bool,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<IndexReport, Failure> {
    let dir = index_dir(archive);
    let id = index_id(catalogue);
    let settings = index_settings(&id);
    let replaced = if rebuild {
        None
    } else {
        reason_to_replace(archive, &id)
    };
    let mut writer = if rebuild {
        IndexWriter::rebuild(&dir, id, settings)?
    } else {
        IndexWriter::open(&dir, id, settings)?
    };
    let watermark = writer.watermark();
    let results = catalogue.results_since(watermark);
    let total = results.iter().map(|result| result.bytes).sum();
    let mut indexer = ResultIndexer::new(archive, catalogue, &mut writer)?;
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
        if writer.unpublished_bytes() >= COMMIT_BYTES || writer.unpublished_rows() >= COMMIT_ROWS {
            writer.publish(result.seq)?;
        }
    }
    let mut report = indexer.report;
    let read_to = catalogue.last_seq().max(watermark);
    if read_to > watermark || replaced.is_some() || rebuild {
        writer.publish(read_to)?;
    }
    // Fails on read-only media; then the next search reads all pack indexes.
    let _ = catalogue.write_checkpoint(read_to);
    on_progress(total, total);
    report.rebuilt = replaced;
    Ok(report)
}

/// Why the writer cannot continue the existing index and replaces it.
fn reason_to_replace(archive: &Path, id: &IndexId) -> Option<String> {
    match open_strictly(archive, id) {
        Ok(_) | Err(IndexError::Missing { .. }) => None,
        Err(error) => Some(error.to_string()),
    }
}
