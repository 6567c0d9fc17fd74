//! The Defender service: sign-in, rate limits, API calls, download links and
//! the responses of the blob host.
//!
//! **Must not depend on** `fetch/` and `fleet/`, which decide what to call.

pub(crate) mod action;
pub(crate) mod api;
pub(crate) mod auth;
pub(crate) mod blob;
pub(crate) mod call_log;
pub(crate) mod circuit_breaker;
pub(crate) mod clouds;
pub(crate) mod entity_list;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod library;
pub(crate) mod links;
pub(crate) mod list;
pub(crate) mod package;
pub(crate) mod preflight;
pub(crate) mod rate_limit;
pub(crate) mod retry;
