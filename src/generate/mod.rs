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
mod golden;
mod needle;
mod plan;
mod random;
mod sample;
mod section;
mod share;
mod sink;
#[cfg(test)]
mod tests;
mod text;
mod words;
mod wrap;

pub use collection::{GenerateError, Settings, Summary, generate};
pub use needle::{Hidden, Needle, Place, usual};
pub use plan::Shape;
pub use sample::{QUESTIONS, Question, sample};
pub use section::Section;
pub use sink::{Folder, Memory, Sink};
