//! A request with its context, and the reply to it.

use std::sync::Arc;

use axum::http::header::IntoHeaderName;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::Response;
use jiff::Timestamp;

use crate::call_kind::CallKind;
use crate::faults::Fault;
use crate::state::service::Service;
use evidence::ResultKey;

/// A request without its body.
pub(crate) struct RequestContext<'a> {
    pub service: &'a Arc<Service>,
    /// Emulated time of arrival.
    pub now: Timestamp,
    pub kind: CallKind,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub method: &'a Method,
    /// `http://host:port`, as the client addresses the emulator.
    pub base: String,
    pub request_id: String,
}

impl RequestContext<'_> {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}

/// A response, and the fields of its journal entry.
pub(crate) struct Reply {
    pub response: Response,
    pub key: Option<ResultKey>,
    pub range_from: Option<u64>,
    pub reason: Option<&'static str>,
}

impl Reply {
    pub(crate) fn new(response: Response) -> Self {
        Self {
            response,
            key: None,
            range_from: None,
            reason: None,
        }
    }

    pub(crate) fn caused_by(self, fault: Fault) -> Self {
        self.reason(fault.name())
    }

    pub(crate) fn reason(mut self, reason: &'static str) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Sets a header. A value that is not valid in a header, such as some file
    /// names, is omitted.
    pub(crate) fn header(mut self, name: impl IntoHeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.response.headers_mut().insert(name, value);
        }
        self
    }
}
