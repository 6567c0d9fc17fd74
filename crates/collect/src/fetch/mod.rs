//! TODO-DOC collect/fetch

pub(crate) mod circuit_breaker;
pub(crate) mod claimed;
pub(crate) mod collector;
pub(crate) mod counters;
pub(crate) mod download;
pub(crate) mod plan;
pub(crate) mod poll_interval;
pub(crate) mod poller;
pub(crate) mod queue;
pub(crate) mod report;
pub(crate) mod retry;
pub(crate) mod sink;
pub(crate) mod writer;
