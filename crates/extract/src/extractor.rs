//! The interface of an extractor.

use crate::error::ExtractorResult;
use crate::input::Input;
use crate::sink::Sink;

/// One row of a list of extractors.
#[derive(Clone, Copy)]
pub struct Extractor {
    /// For diagnostics.
    pub name: &'static str,
    /// Whether this extractor reads the input. Decides from the head, the hint
    /// and the settings.
    pub recognizes: fn(&Input<'_>) -> bool,
    /// Reads the input and writes to the sink.
    pub run: fn(&mut Input<'_>, &mut dyn Sink) -> ExtractorResult,
}
