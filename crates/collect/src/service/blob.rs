//! What the blob host's answers mean. Pure: status and headers in, meaning out.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::Response;

use crate::service::http;

/// Headers kept with the evidence, as received.
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
/// A header longer than this is cut: facts must stay small.
const HEADER_CHARS_MAX: usize = 1_024;
/// Codes that an expired signature is refused with; Azurite says the second.
const EXPIRY_CODES: [&str; 2] = ["AuthenticationFailed", "AuthorizationFailure"];

/// The part of an answer that stands before its body.
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
    pub evidence_headers: Vec<(String, String)>,
}

/// `bytes 5-9/10`, `bytes */10`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ContentRange {
    pub start: Option<u64>,
    pub total: Option<u64>,
}

/// What to do with an answer, when bytes from `offset` on were asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BlobResponseClass {
    /// The body is the whole blob.
    Whole,
    /// The body goes on at the offset.
    Remainder,
    /// Nothing is left to send.
    Complete,
    /// What is held is no beginning of what stands there now.
    StartOver,
    /// The link's time is over.
    LinkExpired,
    Refused,
    Missing,
    /// 429 and 5xx.
    Busy,
    /// Nothing foreseen.
    Unexpected,
}

impl BlobHeaders {
    pub fn read(response: &Response) -> Self {
        let status = response.status().as_u16();
        let text = |name| http::header(response, name);
        // On a part, Content-MD5 may be the part's; the other is the blob's.
        let whole_md5 = (status == 200).then(|| text("content-md5")).flatten();
        Self {
            status,
            date: http::date(response),
            retry_after: http::retry_after(response),
            etag: text("etag").filter(|t| !t.is_empty()),
            length: text("content-length").and_then(|t| t.trim().parse().ok()),
            range: text("content-range").as_deref().and_then(read_range),
            md5: whole_md5
                .or_else(|| text("x-ms-blob-content-md5"))
                .as_deref()
                .and_then(read_md5),
            code: text("x-ms-error-code"),
            evidence_headers: evidence_headers(response),
        }
    }

    /// The blob's whole length, where the answer says it.
    pub fn total(&self) -> Option<u64> {
        match self.status {
            200 => self.length,
            _ => self.range?.total,
        }
    }

    /// `link_over` judges the link by the server's clock.
    pub fn classify(&self, offset: u64, code: &str, link_over: bool) -> BlobResponseClass {
        match self.status {
            200 => BlobResponseClass::Whole,
            206 if self.range.and_then(|r| r.start) == Some(offset) => BlobResponseClass::Remainder,
            206 | 412 => BlobResponseClass::StartOver,
            416 if offset > 0 && self.range.and_then(|r| r.total) == Some(offset) => {
                BlobResponseClass::Complete
            }
            416 => BlobResponseClass::StartOver,
            403 if link_over && EXPIRY_CODES.contains(&code) => BlobResponseClass::LinkExpired,
            401 | 403 => BlobResponseClass::Refused,
            404 | 410 => BlobResponseClass::Missing,
            408 | 429 | 500..=599 => BlobResponseClass::Busy,
            _ => BlobResponseClass::Unexpected,
        }
    }
}

fn read_range(text: &str) -> Option<ContentRange> {
    let (range, total) = text.trim().strip_prefix("bytes")?.trim().split_once('/')?;
    Some(ContentRange {
        start: range
            .split_once('-')
            .and_then(|(start, _)| start.parse().ok()),
        total: total.parse().ok(),
    })
}

fn read_md5(text: &str) -> Option<[u8; 16]> {
    STANDARD.decode(text.trim()).ok()?.try_into().ok()
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

/// The `<Code>` of an error body, which may begin with a BOM.
pub(crate) fn error_code_in(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(code.trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: u16, range: Option<&str>) -> BlobHeaders {
        BlobHeaders {
            status,
            range: range.and_then(read_range),
            ..BlobHeaders::default()
        }
    }

    #[test]
    fn a_refusal_is_an_expiry_only_with_its_code_and_after_the_end() {
        let refused = head(403, None);
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
    fn a_part_counts_only_where_it_was_asked_for() {
        let part = head(206, Some("bytes 5-9/10"));
        assert_eq!(part.classify(5, "", false), BlobResponseClass::Remainder);
        assert_eq!(part.total(), Some(10));
        assert_eq!(part.classify(4, "", false), BlobResponseClass::StartOver);
        assert_eq!(
            head(206, None).classify(5, "", false),
            BlobResponseClass::StartOver
        );
    }

    #[test]
    fn beyond_the_end_is_done_only_at_the_end() {
        let beyond = head(416, Some("bytes */10"));
        assert_eq!(beyond.classify(10, "", false), BlobResponseClass::Complete);
        assert_eq!(beyond.classify(11, "", false), BlobResponseClass::StartOver);
        assert_eq!(
            head(416, None).classify(10, "", false),
            BlobResponseClass::StartOver
        );
    }

    #[test]
    fn the_code_is_found_behind_a_byte_order_mark() {
        let body = b"\xef\xbb\xbf<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code>";
        assert_eq!(error_code_in(body).as_deref(), Some("AuthenticationFailed"));
        assert_eq!(error_code_in(b"<html>"), None);
    }
}
