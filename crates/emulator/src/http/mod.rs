//! TODO-DOC emulator/http

pub(crate) mod api;
pub(crate) mod blob;
pub(crate) mod body_stream;
pub(crate) mod filter;
pub(crate) mod library;
pub(crate) mod list;
pub(crate) mod multipart;
pub(crate) mod packages;
pub(crate) mod request;
pub(crate) mod routes;
pub(crate) mod run_request;
pub(crate) mod server;
