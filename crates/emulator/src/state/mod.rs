//! TODO-DOC emulator/state

pub(crate) mod conformance;
pub(crate) mod fleet_state;
pub(crate) mod journal;
pub(crate) mod rate_limits;
pub(crate) mod saved_state;
pub(crate) mod sessions;
