//! A request as the calls see it, and their answer with what the judge should
//! know of it.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::Response;
use jiff::Timestamp;

use super::fault::Fault;
use super::journal::CallKind;
use super::server::Service;
use crate::evidence::ResultKey;

/// A request, read as far as every route needs it.
pub(super) struct Asked<'a> {
    pub service: &'a Arc<Service>,
    pub now: Timestamp,
    pub kind: CallKind,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub method: &'a Method,
    /// `http://host:port` as the client sees us.
    pub base: String,
    pub request_id: String,
}

impl Asked<'_> {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}

/// An answer and what the judge should know of it.
pub(super) struct Reply {
    pub response: Response,
    pub key: Option<ResultKey>,
    pub range_from: Option<u64>,
    pub why: Option<&'static str>,
}

impl Reply {
    pub(super) fn of(response: Response) -> Self {
        Self {
            response,
            key: None,
            range_from: None,
            why: None,
        }
    }

    pub(super) fn because(self, fault: Fault) -> Self {
        self.why(fault.name())
    }

    pub(super) fn why(mut self, why: &'static str) -> Self {
        self.why = Some(why);
        self
    }

    pub(super) fn header(
        mut self,
        name: impl axum::http::header::IntoHeaderName,
        value: &str,
    ) -> Self {
        // A value that is no header text is left out: file names may hold anything.
        if let Ok(value) = HeaderValue::from_str(value) {
            self.response.headers_mut().insert(name, value);
        }
        self
    }
}
