//! What is different: lines that are rare, new or changed. Pure: texts and
//! numbers in, findings out.
//!
//! A file an analyzer: `stack` (rare first), `diff` (two sides), `twins` (a
//! fleet as distances), `baseline` (what is known to be good). All work on
//! `templates` (lines without their volatile parts), gathered in `groups`.
//!
//! Must never know where lines come from (packs, segments, files), nor what a
//! terminal is. A place of a line is handed through and compared, never read.
//!
//! **Invariant**: an answer depends on the lines and who holds them, not on
//! the order they come in, threads, or how they are parted into segments.

mod baseline;
mod diff;
mod error;
mod groups;
mod outliers;
mod stack;
mod templates;

pub use crate::baseline::{Baseline, BaselineFacts, HEAD_MAX, Learner, PAGE_MAX};
pub use crate::diff::{Change, Differing, Pairing, differing};
pub use crate::error::AnalyzeError;
pub use crate::groups::{
    Devices, First, GroupHolders, GroupKey, GroupKeys, Groups, Holding, LineRef, VARIANTS_COUNTED,
};
pub use crate::outliers::{Outlier, Sketches};
pub use crate::stack::{Novelty, RankRecord};
pub use crate::templates::{RULES, RuleSet, TemplateRule, Templates};

/// An analyzer, for whoever lists them.
pub struct Analyzer {
    pub name: &'static str,
    pub what: &'static str,
}

/// Every analyzer there is.
pub const ANALYZERS: [Analyzer; 4] = [
    Analyzer {
        name: "stack",
        what: "What is rare: lines by the number of devices they stand on, rare first",
    },
    Analyzer {
        name: "diff",
        what: "What differs between two devices, a device and the rest, or over time",
    },
    Analyzer {
        name: "twins",
        what: "A whole fleet as distances, the outlier first, with the lines that make it one",
    },
    Analyzer {
        name: "baseline",
        what: "What known-good devices hold, to be left out elsewhere: learn, list, show, export",
    },
];
