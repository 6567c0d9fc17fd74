use std::path::Path;

use serde::Serialize;

use index::IndexError;
use store::Catalogue;

use crate::app::custody;
use crate::app::error::Failure;
use crate::app::index_update::{identity_of, open_index};

/// What reading everything back came to.
#[derive(Debug, Serialize)]
pub struct VerifyReport {
    pub results: u64,
    /// **Units**: bytes of bodies: results, and the actions kept beside them.
    pub bytes: u64,
    pub damage: Vec<DamageRow>,
}

/// Something on disk that is not what was recorded.
#[derive(Debug, Serialize)]
pub struct DamageRow {
    pub message: String,
}

/// Reads every byte back and compares it with its hash; the index too.
pub fn verify(
    archive: &Path,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let checked = catalogue.verify(|progress| on_progress(progress.bytes, progress.bytes_total))?;
    let damage = checked.damage.iter().map(|damage| damage.to_string());
    let damage = damage.chain(index_damage(archive, &catalogue)?);
    Ok(VerifyReport {
        results: checked.progress.results,
        bytes: checked.progress.bytes,
        damage: damage.map(|message| DamageRow { message }).collect(),
    })
}

/// What is wrong with the index. One that is of another build or archive is
/// none: it is built anew when it is needed.
fn index_damage(archive: &Path, catalogue: &Catalogue) -> Result<Option<String>, Failure> {
    let searcher = open_index(archive, &identity_of(catalogue));
    let checked = searcher.and_then(|searcher| searcher.map_or(Ok(()), |index| index.verify()));
    match checked {
        Err(error @ IndexError::Damaged { .. }) => {
            Ok(Some(format!("{error}; `index --rebuild` builds it anew")))
        }
        Ok(()) | Err(IndexError::Schema { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
