//! Test data: devices, actions, results and their bytes.
//!
//! A fleet is built in code ([`fleet`]), read from a folder of saved results
//! ([`folder`]) or generated from a seed ([`synthetic_fleet`]). The bodies of
//! generated results are computed when they are read ([`seeded_body`],
//! [`synthetic_results`]), so a fleet of any size takes little memory.
//!
//! **Invariant**: generated data depends only on the seed and on names, never
//! on the clock or on the order of calls. This module knows the faults that
//! change bodies ([`encodings`]), but neither the clock nor HTTP.

pub(crate) mod action;
pub(crate) mod body;
pub(crate) mod device;
pub(crate) mod encodings;
pub(crate) mod fleet;
pub(crate) mod folder;
pub(crate) mod ids;
pub(crate) mod seeded_body;
pub(crate) mod seeded_rng;
pub(crate) mod session_command;
pub(crate) mod synthetic_fleet;
pub(crate) mod synthetic_results;
