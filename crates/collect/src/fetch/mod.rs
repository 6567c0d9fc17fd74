//! Collection: lists the actions of a source, plans which results can be
//! downloaded, downloads and seals them.
//!
//! Data flow: [`poller`] reads the action list and stores the actions →
//! [`plan`] decides what can be downloaded → [`queue`] orders it → a worker
//! ([`download`]) streams a body through a bounded channel to a [`writer`]
//! thread → the sink seals it. [`collector`] starts all of these.
//!
//! **Must not depend on** `fleet/`: a fleet run is a [`source`] of results.

pub(crate) mod claimed;
pub(crate) mod collector;
pub(crate) mod download;
pub(crate) mod filter_source;
pub(crate) mod plan;
pub(crate) mod poll_interval;
pub(crate) mod poller;
pub(crate) mod queue;
pub(crate) mod session;
pub(crate) mod shutdown;
pub(crate) mod sink_handle;
pub(crate) mod source;
pub(crate) mod writer;
