//! The words of the house: what every other room means when it says *action*,
//! *result*, *record*, *gap*, *locator* or *problem*.
//!
//! Pure data. This room imports nobody, does no I/O and reads no clock: whoever
//! needs the time passes it in.

mod action;
mod hash;
mod id;
mod link;
mod locator;
mod problem;
mod record;
mod time;

pub use crate::action::{Action, Command, CommandKind, MalformedAction};
pub use crate::hash::{Sha256, Sha256Sum};
pub use crate::id::{
    ActionId, CommandIndex, MalformedId, MalformedKey, ResultId, ResultKey, Seq, Version,
};
pub use crate::link::ResultLink;
pub use crate::locator::{Layer, Locator, MalformedRef, Range};
pub use crate::problem::{Problem, ProblemKind};
pub use crate::record::{Facts, Gap, GapReason, Origin, Record, ResultKind};
pub use crate::time::Time;
