//! Responses of the blob host: classifies them by status and headers. Pure.

use std::time::Duration;

use data_encoding::BASE64;
use jiff::Timestamp;
use reqwest::Response;

use crate::service::http;

/// Headers stored with the result, as received.
const EVIDENCE_HEADERS: [&str; 11] = [
    "etag",
    "last-modified",
    "content-length",
    "content-range",
    "content-type",
    "content-disposition",
    "content-md5",
    "x-ms-blob-content-md5",
    "x-ms-request-id",
    "x-ms-version",
    "date",
];
/// A longer header is truncated: facts must stay small.
const HEADER_CHARS_MAX: usize = 1_024;
/// Error codes of an expired signature; Azurite uses the second.
const EXPIRY_CODES: [&str; 2] = ["AuthenticationFailed", "AuthorizationFailure"];

/// Status and headers of a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlobHeaders {
    pub status: u16,
    pub date: Option<Timestamp>,
    pub retry_after: Option<Duration>,
    pub etag: Option<String>,
    pub length: Option<u64>,
    pub range: Option<ContentRange>,
    pub md5: Option<[u8; 16]>,
    pub code: Option<String>,
    /// Headers stored with the result.
    pub evidence_headers: Vec<(String, String)>,
}

/// `bytes 5-9/10`, `bytes */10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub start: Option<u64>,
    pub total: Option<u64>,
}

/// Class of a response to a request for the bytes from an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlobResponseClass {
    /// The body is the whole blob.
    Whole,
    /// The body continues at the offset.
    Remainder,
    /// No bytes are left.
    Complete,
    /// The received bytes are not the beginning of the blob any more.
    StartOver,
    LinkExpired,
    Refused,
    Missing,
    /// 429 and 5xx.
    Busy,
    Unexpected,
}

impl BlobHeaders {
    pub(crate) fn read(response: &Response) -> Self {
        let status = response.status().as_u16();
        let text = |name| http::header(response, name);
        // In a partial response, Content-MD5 may be that of the part;
        // x-ms-blob-content-md5 is always that of the blob.
        let whole_md5 = (status == 200).then(|| text("content-md5")).flatten();
        Self {
            status,
            date: http::date(response),
            retry_after: http::retry_after(response),
            etag: text("etag").filter(|t| !t.is_empty()),
            length: text("content-length").and_then(|t| t.trim().parse().ok()),
            range: text("content-range").as_deref().and_then(parse_range),
            md5: whole_md5
                .or_else(|| text("x-ms-blob-content-md5"))
                .as_deref()
                .and_then(parse_md5),
            code: text("x-ms-error-code"),
            evidence_headers: evidence_headers(response),
        }
    }

    /// Length of the whole blob, if the response contains it.
    pub(crate) fn total(&self) -> Option<u64> {
        match self.status {
            200 => self.length,
            _ => self.range?.total,
        }
    }

    /// Classifies the response. `is_link_expired` is by the server's clock.
    pub(crate) fn classify(
        &self,
        offset: u64,
        code: &str,
        is_link_expired: bool,
    ) -> BlobResponseClass {
        let starts_at_offset = self.range.and_then(|r| r.start) == Some(offset);
        let ends_at_offset = offset > 0 && self.range.and_then(|r| r.total) == Some(offset);
        match self.status {
            200 => BlobResponseClass::Whole,
            206 if starts_at_offset => BlobResponseClass::Remainder,
            206 | 412 => BlobResponseClass::StartOver,
            416 if ends_at_offset => BlobResponseClass::Complete,
            416 => BlobResponseClass::StartOver,
            403 if is_link_expired && EXPIRY_CODES.contains(&code) => {
                BlobResponseClass::LinkExpired
            }
            401 | 403 => BlobResponseClass::Refused,
            404 | 410 => BlobResponseClass::Missing,
            408 | 429 | 500..=599 => BlobResponseClass::Busy,
            _ => BlobResponseClass::Unexpected,
        }
    }
}

fn parse_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    Some(ContentRange {
        start: range
            .split_once('-')
            .and_then(|(start, _)| start.parse().ok()),
        total: total.parse().ok(),
    })
}

fn parse_md5(text: &str) -> Option<[u8; 16]> {
    BASE64.decode(text.trim().as_bytes()).ok()?.try_into().ok()
}

fn evidence_headers(response: &Response) -> Vec<(String, String)> {
    EVIDENCE_HEADERS
        .iter()
        .filter_map(|name| {
            let value: String = http::header(response, name)?
                .chars()
                .take(HEADER_CHARS_MAX)
                .collect();
            Some(((*name).to_string(), value))
        })
        .collect()
}

/// The `<Code>` of an error body, which may begin with a byte order mark.
pub(crate) fn error_code_in(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(code.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, range: Option<&str>) -> BlobHeaders {
        BlobHeaders {
            status,
            range: range.and_then(parse_range),
            ..BlobHeaders::default()
        }
    }

    #[test]
    fn refusal_is_an_expired_link_only_with_its_code_and_after_the_expiry() {
        let refused = response(403, None);
        for code in EXPIRY_CODES {
            assert_eq!(
                refused.classify(0, code, true),
                BlobResponseClass::LinkExpired
            );
            assert_eq!(refused.classify(0, code, false), BlobResponseClass::Refused);
        }
        assert_eq!(
            refused.classify(0, "AuthorizationPermissionMismatch", true),
            BlobResponseClass::Refused
        );
    }

    #[test]
    fn partial_response_must_start_at_the_requested_offset() {
        let part = response(206, Some("bytes 5-9/10"));
        assert_eq!(part.classify(5, "", false), BlobResponseClass::Remainder);
        assert_eq!(part.total(), Some(10));
        assert_eq!(part.classify(4, "", false), BlobResponseClass::StartOver);
        assert_eq!(
            response(206, None).classify(5, "", false),
            BlobResponseClass::StartOver
        );
    }

    #[test]
    fn unsatisfiable_range_is_complete_only_at_the_end() {
        let beyond = response(416, Some("bytes */10"));
        assert_eq!(beyond.classify(10, "", false), BlobResponseClass::Complete);
        assert_eq!(beyond.classify(11, "", false), BlobResponseClass::StartOver);
        assert_eq!(
            response(416, None).classify(10, "", false),
            BlobResponseClass::StartOver
        );
    }

    #[test]
    fn error_code_is_found_after_a_byte_order_mark() {
        let body = b"\xef\xbb\xbf<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code>";
        assert_eq!(error_code_in(body).as_deref(), Some("AuthenticationFailed"));
        assert_eq!(error_code_in(b"<html>"), None);
    }
}
