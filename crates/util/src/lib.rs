//! Small data structures without domain knowledge, shared by the other crates.
//!
//! This crate imports nothing of the workspace. A type belongs here only if
//! two crates use it.
//!
//! ```
//! use afteraction_util::BitSet;
//!
//! let mut lines = BitSet::new(100);
//! lines.insert(7);
//! lines.insert(64);
//! assert!(lines.contains(64));
//! assert_eq!(lines.iter().collect::<Vec<_>>(), [7, 64]);
//! ```

mod bitset;
mod spool;

pub use bitset::{BitSet, ones, test_bit};
pub use spool::{Scratch, ScratchFactory, Spool, SpoolError, SpoolLimits, Spooled};
