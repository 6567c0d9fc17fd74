//! Location, identity and key of an archive's index, and how it is opened for
//! reading.

use std::path::{Path, PathBuf};

use extract::EXTRACTOR_VERSION;
use index::{IndexError, IndexId, IndexSettings, Searcher};
use store::{Catalogue, JournalTail};

use crate::app::error::{Failure, FailureKind};

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

/// Directory of the index inside an archive.
pub(super) fn index_dir(archive: &Path) -> PathBuf {
    archive.join("index")
}

/// Hash of the file whose rename commits a change of the index; `None` if there
/// is no index.
///
/// **Cost**: reads one small file.
pub(super) fn manifest_hash(archive: &Path) -> Option<blake3::Hash> {
    let manifest = std::fs::read(index_dir(archive).join("manifest")).ok()?;
    Some(blake3::hash(&manifest))
}

/// Identity of the index that belongs to an archive in its present state. An
/// index with another identity is not read.
pub(super) fn index_id(catalogue: &Catalogue) -> IndexId {
    id_of(catalogue.archive_id(), catalogue.generation())
}

/// As [`index_id`], for a reader of the journal tail.
pub(super) fn index_id_of_tail(tail: &JournalTail) -> IndexId {
    id_of(tail.archive_id(), tail.generation())
}

fn id_of(archive: [u8; 16], generation: u64) -> IndexId {
    IndexId {
        archive,
        generation,
        extractor_version: EXTRACTOR_VERSION,
    }
}

/// Opens the index for reading; `None` if the archive has none with this
/// identity.
pub(super) fn open_index(archive: &Path, id: &IndexId) -> Result<Option<Searcher>, IndexError> {
    match open_strictly(archive, id) {
        Ok(searcher) => Ok(Some(searcher)),
        Err(IndexError::Missing { .. } | IndexError::Foreign { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Opens the index for reading.
///
/// **Errors**: also if there is no index, or one with another identity.
pub(super) fn open_strictly(archive: &Path, id: &IndexId) -> Result<Searcher, IndexError> {
    Searcher::open(&index_dir(archive), Some(id), Some(text_key(id)))
}

/// Key of the mask over the text of the index. It keeps antivirus software from
/// quarantining the index because of the text in it, and is not secret: it is
/// derived from the archive id.
fn text_key(id: &IndexId) -> [u8; 32] {
    blake3::derive_key("afteraction 2026 index text", &id.archive)
}

/// Settings of the index writer.
pub(super) fn index_settings(id: &IndexId) -> IndexSettings {
    IndexSettings {
        key: Some(text_key(id)),
        ..IndexSettings::default()
    }
}
