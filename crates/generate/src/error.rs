//! What can go wrong outside, and the one place where it does.

use std::io;

use serde::Serialize;

use crate::sink::OutputSink;

/// Why a collection could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error("could not write `{path}` of the collection")]
    Write { path: String, source: io::Error },
    #[error("could not pack a result of {device}")]
    Pack { device: String, source: io::Error },
    #[error("a collection needs at least one device")]
    NoDevices,
}

/// Puts `value` as indented JSON.
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
