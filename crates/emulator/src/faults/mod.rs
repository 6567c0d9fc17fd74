//! Fault injection: which fault, on which calls, when and how often.
//!
//! Request faults hit single requests and by default end after a fixed count,
//! so a client that follows DEFENDER.md reaches every result. Result faults
//! belong to a result (a missing blob, a body that is not JSON) and are the
//! same on every request for it.
//!
//! **Invariant**: the seed and the rules decide which requests are hit, so a
//! failing run can be repeated. This module knows call kinds and result keys,
//! but neither HTTP nor the state of the service.

mod catalog;
mod rule;
mod switch;

pub use crate::faults::catalog::{Fault, FaultTimes};
pub use crate::faults::rule::{FaultRule, Faults};
pub(crate) use crate::faults::switch::FaultHit;
pub use crate::faults::switch::FaultSwitch;
