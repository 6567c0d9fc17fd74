//! TODO-DOC emulator/state

pub(crate) mod clock;
pub(crate) mod conformance;
pub(crate) mod journal;
pub(crate) mod rate_limits;
pub(crate) mod saved_state;
pub(crate) mod sessions;
pub(crate) mod state;
