//! Analyzers: which lines are rare, new or changed. Pure functions of texts and
//! numbers.
//!
//! `stack` ranks rare lines, `diff` compares two sides, `outliers` measures the
//! distances of a fleet, `baseline` stores known-good lines. All of them work
//! on `templates` (lines without their volatile parts), collected in `groups`.
//!
//! This crate does not depend on the origin of lines (packs, segments, files)
//! or on a terminal. A [`LineRef`] is passed through and compared, never
//! interpreted.
//!
//! **Invariant**: a result depends on the lines and their holders only, not on
//! input order, threads or segment boundaries.
//!
//! ```
//! use afteraction_analyze::{RuleSet, Templates};
//!
//! let templates = Templates::new(&RuleSet::default())?;
//! assert_eq!(templates.of("Process ID: 4242", None), "Process ID: <pid>");
//! # Ok::<(), afteraction_analyze::AnalyzeError>(())
//! ```

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
