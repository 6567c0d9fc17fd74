//! TODO-DOC collect/fetch

pub(crate) mod claimed;
pub(crate) mod collector;
pub(crate) mod download;
pub(crate) mod plan;
pub(crate) mod poll_interval;
pub(crate) mod poller;
pub(crate) mod queue;
pub(crate) mod writer;
