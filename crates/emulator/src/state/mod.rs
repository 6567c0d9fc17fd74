//! State of the emulated service: fleet, sessions, library, rate limits, and
//! the record of all calls.
//!
//! [`service`] has everything that a request can use. [`fleet_state`] is behind
//! one lock, so that the checks and the start of a session are atomic.
//!
//! **Invariant**: nothing here depends on HTTP requests or responses. Only
//! [`saved_state`] writes to the disk; it writes times and kinds of calls, and
//! never a link, a token or a secret.

pub(crate) mod conformance;
pub(crate) mod fleet_state;
pub(crate) mod journal;
pub(crate) mod library;
pub(crate) mod new_actions;
pub(crate) mod rate_limits;
pub(crate) mod saved_state;
pub(crate) mod service;
pub(crate) mod sessions;
