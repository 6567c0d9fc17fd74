//! Time: the clock of the emulator, and the times at which actions and devices
//! change their state.
//!
//! All times of an action are computed when it is created ([`latency`] draws
//! them, [`action_timeline`] holds them). A request evaluates them at the
//! current time ([`timeline_view`]).
//!
//! **Invariant**: nothing in this module waits. Only [`clock`] reads the time
//! of the system.

pub(crate) mod action_timeline;
pub(crate) mod clock;
pub(crate) mod latency;
pub(crate) mod presence;
pub(crate) mod timeline_view;
