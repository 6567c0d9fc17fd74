//! Reads every byte of an archive back and compares it with its hash.

use serde::Serialize;

use index::IndexError;
use store::Catalogue;

use crate::app::error::Failure;
use crate::app::index_files::{index_id, open_index};
use crate::app::session::ArchiveSession;

/// Result of a verification.
#[derive(Debug, Serialize)]
pub struct VerifyReport {
    pub results: u64,
    /// **Units**: bytes of results and of the actions stored with them.
    pub bytes: u64,
    pub damage: Vec<DamageRow>,
}

/// Something on disk that differs from the record.
#[derive(Debug, Serialize)]
pub struct DamageRow {
    pub message: String,
}

/// Verifies the archive and its index.
///
/// **Units** of `on_progress`: bytes, done and in total.
pub fn verify(
    session: &ArchiveSession,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport, Failure> {
    let catalogue = session.catalogue()?;
    let checked = catalogue.verify(|progress| on_progress(progress.bytes, progress.bytes_total))?;
    let damage = checked
        .damage
        .iter()
        .map(|damage| damage.to_string())
        .chain(index_damage(session, &catalogue)?)
        .map(|message| DamageRow { message })
        .collect();
    Ok(VerifyReport {
        results: checked.progress.results,
        bytes: checked.progress.bytes,
        damage,
    })
}

/// Damage of the index. An index of another build or another archive is not
/// damage: the next update replaces it.
fn index_damage(
    session: &ArchiveSession,
    catalogue: &Catalogue,
) -> Result<Option<String>, Failure> {
    // Opened here: all checksums are read from disk.
    let checked = match open_index(session.archive(), &index_id(catalogue)) {
        Ok(Some(searcher)) => searcher.verify(),
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    match checked {
        Err(error @ IndexError::Damaged { .. }) => {
            Ok(Some(format!("{error}; rebuild it with `index --rebuild`")))
        }
        Ok(()) | Err(IndexError::Schema { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
