//! Writes collections with known answers, for tests and benchmarks.

use std::path::PathBuf;

use generate::{CollectionSummary, DirectorySink, GenerateSettings, Shape, UnknownShape};

use crate::app::error::{Failure, FailureKind};

/// A collection to write.
#[derive(Clone, Debug)]
pub struct GenerateRequest {
    /// Must be empty, or not exist.
    pub dir: PathBuf,
    pub seed: u64,
    pub devices: u64,
    /// **Units**: bytes of text.
    pub text_bytes: u64,
    /// `fleet`, `unique` or `script`.
    pub shape: String,
}

/// A written collection.
#[derive(Clone, Debug)]
pub struct GenerateReport {
    pub devices: u64,
    pub results: u64,
    pub text_bytes: u64,
    /// **Units**: bytes of the files.
    pub stored_bytes: u64,
    pub distinct_line_share: f64,
}

impl From<CollectionSummary> for GenerateReport {
    fn from(summary: CollectionSummary) -> Self {
        Self {
            devices: summary.devices,
            results: summary.results,
            text_bytes: summary.text_bytes,
            stored_bytes: summary.stored_bytes,
            distinct_line_share: summary.distinct_line_share,
        }
    }
}

/// Writes a collection. The same request writes the same bytes.
pub fn generate(request: &GenerateRequest) -> Result<GenerateReport, Failure> {
    let dir = &request.dir;
    let is_filled = dir
        .read_dir()
        .is_ok_and(|mut entries| entries.next().is_some());
    if is_filled {
        return Err(Failure::usage(format!("{} is not empty", dir.display()))
            .hint("name a directory that does not exist yet"));
    }
    let shape: Shape = request
        .shape
        .parse()
        .map_err(|e: UnknownShape| Failure::usage(e.to_string()))?;
    let settings = GenerateSettings {
        seed: request.seed,
        ..GenerateSettings::new(shape, request.devices, request.text_bytes)
    };
    let summary = generate::generate(&settings, &DirectorySink(dir.clone())).map_err(|e| {
        let attempt = format!("could not write a collection to {}", dir.display());
        Failure::caused(FailureKind::Environment, attempt, e)
    })?;
    Ok(summary.into())
}
