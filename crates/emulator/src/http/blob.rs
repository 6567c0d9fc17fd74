//! The blob host: serves the bodies of results for signed links, with ranges
//! and conditions. Errors are XML, as in Azure Storage.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::http::header::{
    ACCEPT_RANGES, AUTHORIZATION, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, LAST_MODIFIED,
};
use axum::http::{HeaderValue, Method};
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::auth::signed_links::{LinkRejection, SERVICE_VERSION, VerifiedLink, blob_name_in};
use crate::faults::{Fault, FaultHit};
use crate::http::api::status_code;
use crate::http::body_stream::{BodyStream, BreakOff};
use crate::http::request::{Reply, RequestContext};
use crate::state::journal::Violation;
use crate::state::service::Service;
use crate::synthetic::body::{BodyReader, ResultBody};
use crate::synthetic::encodings::{ENCODED_BODY_MAX, ENCODING_FAULTS, apply, is_transcript_only};
use crate::timeline::clock::{api_time, http_date};
use crate::timeline::timeline_view::TimedAction;
use evidence::ResultKey;

/// Larger bodies are opened on a thread for blocking work.
const INLINE_MAX: u64 = 256 << 10;
/// Longest time for which a stalled body keeps its connection open.
const STALL_MAX: Duration = Duration::from_secs(600);
/// Characters that are escaped in the file name of a download.
const FILE_NAME_ESCAPES: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

pub(crate) fn error(
    request: &RequestContext<'_>,
    status: u16,
    code: &str,
    message: &str,
    detail: Option<&str>,
) -> Reply {
    let bom_hit = request.service.faults.fire(Fault::Bom, request.kind, None);
    let bom = bom_hit.map_or("", |_| "\u{feff}");
    let detail = detail.map_or(String::new(), |detail| {
        format!("<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>")
    });
    let id = &request.request_id;
    let time = api_time(request.now);
    let xml = format!(
        "{bom}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code>\
         <Message>{message}\nRequestId:{id}\nTime:{time}</Message>{detail}</Error>"
    );
    let mut response = Response::new(HttpBody::from(xml));
    *response.status_mut() = status_code(status);
    let content_type = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Reply::new(response)
        .header("x-ms-error-code", code)
        .header("x-ms-version", SERVICE_VERSION)
}

pub(crate) async fn serve(request: &RequestContext<'_>) -> Reply {
    let service = request.service;
    if request.headers.contains_key(AUTHORIZATION) {
        service.journal.record_violation(Violation::BearerToBlob);
        let message = "Authentication information is not given in the correct format. Check the value of Authorization header.";
        return error(request, 400, "InvalidAuthenticationInfo", message, None)
            .reason("bearer-to-blob");
    }
    let (link, name) = match verify_link(request) {
        Ok(verified) => verified,
        Err(rejection) => return reject_link(request, rejection),
    };
    service.journal.record_link_use(&link.signature);
    if !link.is_as_issued {
        service.journal.record_violation(Violation::LinkAltered);
    }
    if request.method != Method::GET && request.method != Method::HEAD {
        let message = "The resource doesn't support specified Http Verb.";
        return error(request, 405, "UnsupportedHttpVerb", message, None);
    }
    let missing = || {
        let message = "The specified blob does not exist.";
        error(request, 404, "BlobNotFound", message, None)
    };
    let Some((key, action)) = service.fleet().blob(&name) else {
        return missing();
    };
    let ordinal = action.ordinal(key.index.0);
    let faults = &service.faults;
    if faults.affects_result(Fault::Missing, key, ordinal) {
        return missing().caused_by(Fault::Missing);
    }
    let Some(body) = action.bodies.get(&key.index.0) else {
        return missing();
    };
    let encodings = ENCODING_FAULTS
        .into_iter()
        .filter(|fault| faults.affects_result(*fault, key, ordinal))
        .filter(|fault| !is_transcript_only(*fault) || is_transcript(&action, key))
        .collect();
    match prepare(body.clone(), encodings).await {
        Ok(blob) => send(request, key, &action, blob, &link),
        Err(source) => {
            let message = format!("could not read the served file: {source}");
            error(request, 500, "InternalError", &message, None)
        }
    }
}

/// Verifies the link of a request; also returns the name of its blob.
fn verify_link(request: &RequestContext<'_>) -> Result<(VerifiedLink, String), LinkRejection> {
    let (path, query) = (request.uri.path(), request.query());
    let signer = &request.service.signer;
    match blob_name_in(path) {
        Some(name) => {
            let link = signer.verify(path, query, request.now)?;
            Ok((link, name.to_string()))
        }
        None => signer.verify_package(query, request.now),
    }
}

fn reject_link(request: &RequestContext<'_>, rejection: LinkRejection) -> Reply {
    let failed = "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.";
    match rejection {
        LinkRejection::Unsigned => {
            let message = "Public access is not permitted on this storage account.";
            error(request, 409, "PublicAccessNotPermitted", message, None)
        }
        LinkRejection::Forged => {
            let detail = "Signature did not match. String to sign used was not this.";
            error(request, 403, "AuthenticationFailed", failed, Some(detail)).reason("forged")
        }
        LinkRejection::Expired(expiry) => {
            let detail = format!(
                "Signed expiry time [{}] must be after signed start time [{}]",
                http_date(expiry),
                http_date(request.now)
            );
            error(request, 403, "AuthenticationFailed", failed, Some(&detail)).reason("expired")
        }
    }
}

fn is_transcript(action: &TimedAction, key: ResultKey) -> bool {
    let command = action.command(key.index.0);
    let kind = command.and_then(|c| c.get("command")?.get("type")?.as_str());
    kind == Some("RunScript")
}

/// An open body, after the faults that change its bytes.
struct PreparedBlob {
    body: ResultBody,
    reader: BodyReader,
    md5: Option<[u8; 16]>,
}

async fn prepare(body: ResultBody, encodings: Vec<Fault>) -> io::Result<PreparedBlob> {
    if body.is_non_blocking() && body.len() <= INLINE_MAX {
        return prepare_blocking(body, &encodings);
    }
    tokio::task::spawn_blocking(move || prepare_blocking(body, &encodings))
        .await
        .map_err(io::Error::other)?
}

fn prepare_blocking(mut body: ResultBody, encodings: &[Fault]) -> io::Result<PreparedBlob> {
    if !encodings.is_empty() && body.len() <= ENCODED_BODY_MAX {
        let bytes = encodings
            .iter()
            .fold(body.whole()?, |bytes, fault| apply(*fault, bytes));
        body = ResultBody::bytes(bytes);
    }
    let md5 = body.md5()?;
    let reader = body.open()?;
    Ok(PreparedBlob { body, reader, md5 })
}

/// The part of a blob that a response contains.
struct BlobRange {
    from: u64,
    to: u64,
    total: u64,
    /// A range response (206).
    is_partial: bool,
    /// A fault ignores the requested range.
    is_ignored: bool,
    etag: String,
}

/// Evaluates the range and the condition of a request.
///
/// **Errors**: the 412 or 416 reply.
fn blob_range(
    request: &RequestContext<'_>,
    key: ResultKey,
    total: u64,
) -> Result<BlobRange, Box<Reply>> {
    let service = request.service;
    let fire = |fault| service.faults.fire(fault, request.kind, Some(key));
    let requested = requested_range(request);
    let is_resumed = requested.is_some_and(|(from, _)| from > 0);
    if is_resumed && fire(Fault::ChangedEtag).is_some() {
        *service.etag_changes().entry(key).or_default() += 1;
    }
    let etag = etag(service, key);
    let condition = request.header("if-match");
    if condition.is_some_and(|condition| condition != "*" && condition != etag) {
        let message = "The condition specified using HTTP conditional header(s) is not met.";
        let reply = error(request, 412, "ConditionNotMet", message, None);
        return Err(Box::new(reply));
    }
    if is_resumed && condition.is_none() {
        service
            .journal
            .record_violation(Violation::RangeWithoutIfMatch);
    }
    let out_of_range = || {
        let message = "The range specified is invalid for the current size of the resource.";
        let reply = error(request, 416, "InvalidRange", message, None);
        reply.header(CONTENT_RANGE, &format!("bytes */{total}"))
    };
    if requested.is_some() && fire(Fault::Unsatisfiable).is_some() {
        return Err(Box::new(out_of_range().caused_by(Fault::Unsatisfiable)));
    }
    let is_ignored = requested.is_some() && fire(Fault::IgnoreRange).is_some();
    let range = requested.filter(|_| !is_ignored);
    let (from, to) = match range {
        None => (0, total),
        Some((from, _)) if from >= total => return Err(Box::new(out_of_range())),
        Some((from, last)) => {
            let to = last.map_or(total, |last| total.min(last.saturating_add(1)));
            (from, to)
        }
    };
    Ok(BlobRange {
        from,
        to,
        total,
        is_partial: range.is_some(),
        is_ignored,
        etag,
    })
}

fn send(
    request: &RequestContext<'_>,
    key: ResultKey,
    action: &TimedAction,
    mut blob: PreparedBlob,
    link: &VerifiedLink,
) -> Reply {
    let service = request.service;
    let fire = |fault| service.faults.fire(fault, request.kind, Some(key));
    let range_from = requested_range(request).map(|(from, _)| from);
    let range = match blob_range(request, key, blob.body.len()) {
        Ok(range) => range,
        Err(mut reply) => {
            reply.range_from = range_from;
            return *reply;
        }
    };
    let magic = blob
        .reader
        .read_at(0, range.total.min(2) as usize)
        .unwrap_or_default();
    let break_off = break_off(request, key, (range.from, range.to), link);
    let body = if request.method == Method::HEAD {
        HttpBody::empty()
    } else {
        let stream = BodyStream {
            reader: blob.reader,
            is_non_blocking: blob.body.is_non_blocking(),
            at: range.from,
            end: range.to,
            total: range.total,
            break_off: break_off.as_ref().map(|(break_off, _)| *break_off),
            rate: fire(Fault::Slow).map(|hit| hit.value_or(64) << 10),
            key,
            journal: service.journal.clone(),
            _active: service.journal.begin_download(),
        };
        HttpBody::from_stream(stream.into_stream())
    };
    let mut reply = blob_reply(body, &range, action);
    reply.range_from = range_from;
    if let Some(name) = file_name(action, key, &magic) {
        let disposition = format!("attachment; filename=\"{name}\"");
        reply = reply.header(CONTENT_DISPOSITION, &disposition);
    }
    if let Some(md5) = blob.md5 {
        reply = with_md5(reply, md5, fire(Fault::WrongMd5), range.is_partial);
    }
    if range.is_ignored {
        reply = reply.caused_by(Fault::IgnoreRange);
    }
    match break_off {
        Some((_, fault)) => reply.caused_by(fault),
        None => reply,
    }
}

/// A response with the headers of every blob.
fn blob_reply(body: HttpBody, range: &BlobRange, action: &TimedAction) -> Reply {
    let BlobRange {
        from, to, total, ..
    } = range;
    let created = http_date(action.created());
    let mut response = Response::new(body);
    *response.status_mut() = status_code(if range.is_partial { 206 } else { 200 });
    let reply = Reply::new(response)
        .header(CONTENT_LENGTH, &(to - from).to_string())
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(ACCEPT_RANGES, "bytes")
        .header(ETAG, &range.etag)
        .header(LAST_MODIFIED, &created)
        .header("server", "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0")
        .header("x-ms-version", SERVICE_VERSION)
        .header("x-ms-blob-type", "BlockBlob")
        .header("x-ms-lease-status", "unlocked")
        .header("x-ms-creation-time", &created)
        .header("x-ms-server-encrypted", "true");
    if range.is_partial {
        reply.header(CONTENT_RANGE, &format!("bytes {from}-{}/{total}", to - 1))
    } else {
        reply
    }
}

/// Adds the MD5 of the blob. `Content-MD5` is that of the bytes in the
/// response, so a range response has another header.
fn with_md5(reply: Reply, mut md5: [u8; 16], wrong: Option<FaultHit>, is_partial: bool) -> Reply {
    md5[0] ^= u8::from(wrong.is_some());
    let name = if is_partial {
        "x-ms-blob-content-md5"
    } else {
        "content-md5"
    };
    let reply = reply.header(name, &STANDARD.encode(md5));
    match wrong {
        Some(_) => reply.caused_by(Fault::WrongMd5),
        None => reply,
    }
}

fn requested_range(request: &RequestContext<'_>) -> Option<(u64, Option<u64>)> {
    parse_range(request.header("x-ms-range").or(request.header("range"))?)
}

/// The early end of the body, and the fault that causes it.
fn break_off(
    request: &RequestContext<'_>,
    key: ResultKey,
    (from, to): (u64, u64),
    link: &VerifiedLink,
) -> Option<(BreakOff, Fault)> {
    if to - from < 2 || request.method == Method::HEAD {
        return None;
    }
    let service = request.service;
    let middle = from + (to - from) / 2;
    let offset = |hit: FaultHit| {
        let at = hit.value_or(middle);
        if from < at && at < to { at } else { middle }
    };
    let fire = |fault| service.faults.fire(fault, request.kind, Some(key));
    // Removed: the link expires during this download.
    if service.expiring_links().remove(&link.signature) {
        let left = link.expiry.duration_since(request.now).unsigned_abs();
        let pause = service.clock.real(left) + Duration::from_millis(5);
        return Some((BreakOff { at: middle, pause }, Fault::ExpireMidway));
    }
    if let Some(hit) = fire(Fault::Cut) {
        let at = offset(hit);
        // Lets the sent bytes leave the buffers before the connection drops.
        let pause = Duration::from_millis(20);
        return Some((BreakOff { at, pause }, Fault::Cut));
    }
    let at = offset(fire(Fault::Stall)?);
    let pause = STALL_MAX;
    Some((BreakOff { at, pause }, Fault::Stall))
}

/// Parses `bytes=5-` or `bytes=5-9`. Like the service, ignores ranges from the
/// end and other forms.
fn parse_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (from, last) = text.trim().strip_prefix("bytes=")?.split_once('-')?;
    let from = from.trim().parse().ok()?;
    match last.trim() {
        "" => Some((from, None)),
        last => {
            let last = last.parse().ok()?;
            (last >= from).then_some((from, Some(last)))
        }
    }
}

fn etag(service: &Arc<Service>, key: ResultKey) -> String {
    let changes = service.etag_changes().get(&key).copied().unwrap_or(0);
    let hash = blake3::hash(format!("etag {key} {changes}").as_bytes());
    let digits: String = hash.to_hex().chars().take(12).collect();
    format!("\"0x8DE{}\"", digits.to_uppercase())
}

/// The percent-encoded file name of a GetFile result; `magic` is the first two
/// bytes of the body.
fn file_name(action: &TimedAction, key: ResultKey, magic: &[u8]) -> Option<String> {
    let command = action.command(key.index.0)?.get("command")?;
    if command.get("type")?.as_str()? != "GetFile" {
        return None;
    }
    let path = command
        .get("params")?
        .as_array()?
        .iter()
        .find(|param| param.get("key").and_then(Value::as_str) == Some("Path"))?
        .get("value")?
        .as_str()?;
    let name = path.rsplit(['\\', '/']).next().unwrap_or(path);
    let encoded = utf8_percent_encode(name, FILE_NAME_ESCAPES);
    let suffix = if magic == b"\x1f\x8b" { ".gz" } else { "" };
    Some(format!("{encoded}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ranges_from_an_offset_are_parsed() {
        assert_eq!(parse_range("bytes=5-"), Some((5, None)));
        assert_eq!(parse_range("bytes=5-9"), Some((5, Some(9))));
        for text in [
            "bytes=-5",
            "bytes=9-5",
            "bytes=a-",
            "lines=1-2",
            "bytes=1-2,4-5",
        ] {
            assert_eq!(parse_range(text), None, "{text}");
        }
    }
}
