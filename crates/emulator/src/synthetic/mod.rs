//! TODO-DOC emulator/synthetic

pub(crate) mod action;
pub(crate) mod body;
pub(crate) mod device;
pub(crate) mod encodings;
pub(crate) mod fleet;
pub(crate) mod folder;
pub(crate) mod seeded_body;
pub(crate) mod seeded_rng;
pub(crate) mod synthetic_fleet;
pub(crate) mod synthetic_results;
