//! Errors of writing a collection.

use std::io;

use serde::Serialize;

use crate::sink::OutputSink;

/// A collection could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error("could not write `{path}`")]
    Write { path: String, source: io::Error },
    #[error("could not compress a result of {device}")]
    Pack { device: String, source: io::Error },
    #[error("a collection needs at least one device")]
    NoDevices,
}

/// Writes `value` as indented JSON.
pub(crate) fn put_json(
    sink: &dyn OutputSink,
    path: &str,
    value: &impl Serialize,
) -> Result<(), GenerateError> {
    let mut json = serde_json::to_vec_pretty(value).unwrap_or_default();
    json.push(b'\n');
    put(sink, path, &json)
}

pub(crate) fn put(sink: &dyn OutputSink, path: &str, bytes: &[u8]) -> Result<(), GenerateError> {
    sink.put(path, bytes)
        .map_err(|source| GenerateError::Write {
            path: path.to_string(),
            source,
        })
}
