//! Made-up collections of live response results whose answers are known: a
//! fleet of any size for benches and tests, and the incident of `sample-data`.
//!
//! Writes what `import` and the emulator read: per action `ACTION_ID.json`, as
//! the API gives it, beside `ACTION_ID/INDEX.{json,gz}`; `machines.json`; and,
//! for a generated collection, `answers.json`.
//!
//! Knows no other room: what judges the archive and the index must not be
//! made with their code. It never asks the clock, the platform or chance.
//! **Invariant**: the same settings give the same bytes, however many threads
//! made them.

mod action;
mod clock;
mod collection;
mod device;
mod error;
mod golden;
mod needle;
mod plan;
mod random;
mod round;
mod sample;
mod section;
mod settings;
mod share;
mod sink;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod words;
mod wrap;

pub use crate::collection::generate;
pub use crate::error::GenerateError;
pub use crate::needle::{Needle, NeedlePlace, PlantedNeedle, usual};
pub use crate::plan::{Shape, UnknownShape};
pub use crate::sample::{QUESTIONS, Question, sample};
pub use crate::section::Section;
pub use crate::settings::GenerateSettings;
pub use crate::sink::{DirectorySink, MemorySink, OutputSink};
pub use crate::summary::{CollectionSummary, Common};
