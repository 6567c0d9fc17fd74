//! A request as the calls see it, and their answer with what the judge should
//! know of it.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::Response;
use jiff::Timestamp;

use crate::call_kind::CallKind;
use crate::faults::Fault;
use crate::http::server::Service;
use evidence::ResultKey;

/// A request, read as far as every route needs it.
pub(crate) struct RequestContext<'a> {
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

impl RequestContext<'_> {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }
}

/// An answer and what the judge should know of it.
pub(crate) struct Reply {
    pub response: Response,
    pub key: Option<ResultKey>,
    pub range_from: Option<u64>,
    pub why: Option<&'static str>,
}

impl Reply {
    pub(crate) fn of(response: Response) -> Self {
        Self {
            response,
            key: None,
            range_from: None,
            why: None,
        }
    }

    pub(crate) fn because(self, fault: Fault) -> Self {
        self.why(fault.name())
    }

    pub(crate) fn why(mut self, why: &'static str) -> Self {
        self.why = Some(why);
        self
    }

    pub(crate) fn header(
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
