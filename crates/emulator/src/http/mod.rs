//! HTTP front end: the API, the login host and the blob host, on one port.
//!
//! [`server`] handles every request: [`routes`] finds the endpoint, then faults
//! and rate limits apply, then the module of the endpoint responds.
//!
//! **Invariant**: every request is recorded in the journal with its kind and
//! status, except requests for the conformance report. No log line contains a
//! token, a link or a body.

pub(crate) mod api;
pub(crate) mod blob;
pub(crate) mod body_stream;
pub(crate) mod filter;
pub(crate) mod library;
pub(crate) mod list;
pub(crate) mod packages;
pub(crate) mod request;
pub(crate) mod routes;
pub(crate) mod run_request;
pub(crate) mod server;
pub(crate) mod sessions;
