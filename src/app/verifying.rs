use std::path::Path;

use serde::Serialize;

use super::custody;
use super::failure::Failure;

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

/// Reads every byte back and compares it with its hash.
pub fn verify(
    archive: &Path,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<VerifyReport, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let checked = catalogue.verify(|progress| on_progress(progress.bytes, progress.bytes_total))?;
    Ok(VerifyReport {
        results: checked.progress.results,
        bytes: checked.progress.bytes,
        damage: checked
            .damage
            .iter()
            .map(|d| DamageRow {
                message: d.to_string(),
            })
            .collect(),
    })
}
