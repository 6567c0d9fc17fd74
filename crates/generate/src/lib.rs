//! Seeded collections of live response results with known answers: fleets of
//! any size for benches and tests, and the incident of `sample-data`.
//!
//! The output can be read by `import` and the emulator: for each action
//! `ACTION_ID.json`, as the API returns it, and `ACTION_ID/INDEX.{json,gz}`;
//! `machines.json`; and for generated collections `answers.json`.
//!
//! This crate uses no code of the archive or the index, because it is used to
//! test them. It reads no clock and no random source.
//!
//! **Invariant**: equal settings give equal bytes, independent of the number of
//! threads and the platform.
//!
//! ```
//! use afteraction_generate::{GenerateSettings, MemorySink, Shape, generate};
//!
//! let sink = MemorySink::default();
//! let summary = generate(&GenerateSettings::new(Shape::Fleet, 2, 100_000),
//! &sink)?;
//! assert!(summary.text_bytes > 50_000);
//! assert!(sink.into_files().contains_key("answers.json"));
//! # Ok::<(), afteraction_generate::GenerateError>(())
//! ```

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
