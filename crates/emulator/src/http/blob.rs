//! The blob host: opens a signed link, in ranges if asked, and fails as Azure
//! does, in XML.

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
use serde_json::Value;

use crate::auth::signed_links::{LinkRejection, SERVICE_VERSION, VerifiedLink, blob_of};
use crate::faults::Fault;
use crate::http::api::status_of;
use crate::http::body_stream::{BodyStream, BreakOff};
use crate::http::request::{Reply, RequestContext};
use crate::http::server::Service;
use crate::state::journal::Violation;
use crate::synthetic::body::{BodyReader, ResultBody};
use crate::synthetic::encodings::{ENCODED_BODY_MAX, ENCODING_FAULTS, is_for_transcripts, put_on};
use crate::timeline::clock::{api_time, http_date};
use crate::timeline::timeline_view::TimedAction;
use evidence::ResultKey;

/// Larger bodies are opened off the network's threads.
const INLINE_MAX: u64 = 256 << 10;
/// A stalled body is let go in the end, whoever waits for it.
const STALL_MAX: Duration = Duration::from_secs(600);

pub(crate) fn error(
    asked: &RequestContext<'_>,
    status: u16,
    code: &str,
    message: &str,
    detail: Option<&str>,
) -> Reply {
    let marked = asked.service.faults.fire(Fault::Bom, asked.kind, None);
    let mark = marked.map_or("", |_| "\u{feff}");
    let detail = detail.map_or(String::new(), |detail| {
        format!("<AuthenticationErrorDetail>{detail}</AuthenticationErrorDetail>")
    });
    let id = &asked.request_id;
    let time = api_time(asked.now);
    let xml = format!(
        "{mark}<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code>\
         <Message>{message}\nRequestId:{id}\nTime:{time}</Message>{detail}</Error>"
    );
    let mut response = Response::new(HttpBody::from(xml));
    *response.status_mut() = status_of(status);
    let kind = HeaderValue::from_static("application/xml");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Reply::of(response)
        .header("x-ms-error-code", code)
        .header("x-ms-version", SERVICE_VERSION)
}

pub(crate) async fn serve(asked: &RequestContext<'_>) -> Reply {
    let service = asked.service;
    if asked.headers.contains_key(AUTHORIZATION) {
        service.journal.violate(Violation::BearerToBlob);
        let why = "Authentication information is not given in the correct format. Check the value of Authorization header.";
        return error(asked, 400, "InvalidAuthenticationInfo", why, None).why("bearer-to-blob");
    }
    let (honoured, name) = match opened(asked) {
        Ok(opened) => opened,
        Err(why) => return dishonoured(asked, why),
    };
    service.journal.use_link(&honoured.signature);
    if !honoured.is_as_issued {
        service.journal.violate(Violation::LinkAltered);
    }
    if asked.method != Method::GET && asked.method != Method::HEAD {
        let why = "The resource doesn't support specified Http Verb.";
        return error(asked, 405, "UnsupportedHttpVerb", why, None);
    }
    let found = service.stock().blob(&name);
    let missing = || {
        error(
            asked,
            404,
            "BlobNotFound",
            "The specified blob does not exist.",
            None,
        )
    };
    let Some((key, action)) = found else {
        return missing();
    };
    let ordinal = action.ordinal(key.index.0);
    let lost = service.faults.affects_result(Fault::Missing, key, ordinal);
    let body = match action.bodies.get(&key.index.0) {
        Some(body) if !lost => body.clone(),
        _ if lost => return missing().because(Fault::Missing),
        _ => return missing(),
    };
    let worn: Vec<Fault> = ENCODING_FAULTS
        .into_iter()
        .filter(|fault| service.faults.affects_result(*fault, key, ordinal))
        .filter(|fault| !is_for_transcripts(*fault) || is_transcript(&action, key))
        .collect();
    match prepare(body, worn).await {
        Ok(blob) => deliver(asked, key, &action, blob, &honoured),
        Err(source) => {
            let why = format!("could not read the served file: {source}");
            error(asked, 500, "InternalError", &why, None)
        }
    }
}

/// The link that came, and the blob it opens.
fn opened(asked: &RequestContext<'_>) -> Result<(VerifiedLink, String), LinkRejection> {
    let (path, query) = (asked.uri.path(), asked.query());
    let signer = &asked.service.signer;
    match blob_of(path) {
        Some(name) => {
            let honoured = signer.check(path, query, asked.now)?;
            Ok((honoured, name.to_string()))
        }
        None => signer.check_package(query, asked.now),
    }
}

fn dishonoured(asked: &RequestContext<'_>, why: LinkRejection) -> Reply {
    let failed = "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.";
    match why {
        LinkRejection::Unsigned => {
            let why = "Public access is not permitted on this storage account.";
            error(asked, 409, "PublicAccessNotPermitted", why, None)
        }
        LinkRejection::Forged => {
            let detail = "Signature did not match. String to sign used was not this.";
            error(asked, 403, "AuthenticationFailed", failed, Some(detail)).why("forged")
        }
        LinkRejection::Expired(ends) => {
            let detail = format!(
                "Signed expiry time [{}] must be after signed start time [{}]",
                http_date(ends),
                http_date(asked.now)
            );
            error(asked, 403, "AuthenticationFailed", failed, Some(&detail)).why("expired")
        }
    }
}

fn is_transcript(action: &TimedAction, key: ResultKey) -> bool {
    let command = action.command(key.index.0);
    let kind = command.and_then(|c| c.get("command")?.get("type")?.as_str());
    kind == Some("RunScript")
}

/// A body ready to be read.
struct PreparedBlob {
    body: ResultBody,
    opened: BodyReader,
    md5: Option<[u8; 16]>,
}

async fn prepare(body: ResultBody, worn: Vec<Fault>) -> io::Result<PreparedBlob> {
    if body.is_quick() && body.len() <= INLINE_MAX {
        return ready(body, &worn);
    }
    let work = tokio::task::spawn_blocking(move || ready(body, &worn));
    work.await.map_err(io::Error::other)?
}

fn ready(mut body: ResultBody, worn: &[Fault]) -> io::Result<PreparedBlob> {
    if !worn.is_empty() && body.len() <= ENCODED_BODY_MAX {
        let bytes = worn
            .iter()
            .fold(body.whole()?, |b, fault| put_on(*fault, b));
        body = ResultBody::bytes(bytes);
    }
    let md5 = body.md5()?;
    let opened = body.open()?;
    Ok(PreparedBlob { body, opened, md5 })
}

/// What part of a blob is answered, as which version.
struct BlobRange {
    from: u64,
    to: u64,
    total: u64,
    /// A range, answered 206.
    is_range: bool,
    /// A range was asked for and a fault has it ignored.
    is_ignored: bool,
    etag: String,
}

/// Judges range and condition against the blob.
///
/// **Errors**: the refusal to send: 412 or 416.
fn part(asked: &RequestContext<'_>, key: ResultKey, total: u64) -> Result<BlobRange, Box<Reply>> {
    let service = asked.service;
    let strikes = |fault| service.faults.fire(fault, asked.kind, Some(key));
    let range = range_of(asked);
    let resumed = range.is_some_and(|(from, _)| from > 0);
    if resumed && strikes(Fault::ChangedEtag).is_some() {
        *service.etag_changes().entry(key).or_default() += 1;
    }
    let etag = etag(service, key);
    let wanted = asked.header("if-match");
    if wanted.is_some_and(|wanted| wanted != "*" && wanted != etag) {
        let why = "The condition specified using HTTP conditional header(s) is not met.";
        return Err(Box::new(error(asked, 412, "ConditionNotMet", why, None)));
    }
    if resumed && wanted.is_none() {
        service.journal.violate(Violation::RangeWithoutIfMatch);
    }
    let beyond = || {
        let why = "The range specified is invalid for the current size of the resource.";
        let reply = error(asked, 416, "InvalidRange", why, None);
        reply.header(CONTENT_RANGE, &format!("bytes */{total}"))
    };
    if range.is_some() && strikes(Fault::Unsatisfiable).is_some() {
        return Err(Box::new(beyond().because(Fault::Unsatisfiable)));
    }
    let is_ignored = range.is_some() && strikes(Fault::IgnoreRange).is_some();
    let range = range.filter(|_| !is_ignored);
    let (from, to) = match range {
        None => (0, total),
        Some((from, _)) if from >= total => return Err(Box::new(beyond())),
        Some((from, last)) => {
            let to = last.map_or(total, |last| total.min(last.saturating_add(1)));
            (from, to)
        }
    };
    Ok(BlobRange {
        from,
        to,
        total,
        is_range: range.is_some(),
        is_ignored,
        etag,
    })
}

fn deliver(
    asked: &RequestContext<'_>,
    key: ResultKey,
    action: &TimedAction,
    mut blob: PreparedBlob,
    link: &VerifiedLink,
) -> Reply {
    let service = asked.service;
    let strikes = |fault| service.faults.fire(fault, asked.kind, Some(key));
    let range_from = range_of(asked).map(|(from, _)| from);
    let part = match part(asked, key, blob.body.len()) {
        Ok(part) => part,
        Err(mut refused) => {
            refused.range_from = range_from;
            return *refused;
        }
    };
    let head = blob.opened.take(0, part.total.min(2) as usize);
    let head = head.unwrap_or_default();
    let stop = stop(asked, key, (part.from, part.to), link);
    let body = match asked.method == Method::HEAD {
        true => HttpBody::empty(),
        false => {
            let flow = BodyStream {
                opened: blob.opened,
                quick: blob.body.is_quick(),
                at: part.from,
                end: part.to,
                total: part.total,
                stop: stop.as_ref().map(|(stop, _)| *stop),
                rate: strikes(Fault::Slow).map(|struck| struck.value_or(64) << 10),
                key,
                journal: service.journal.clone(),
                _underway: service.journal.begin(),
            };
            HttpBody::from_stream(flow.stream())
        }
    };
    let mut reply = dressed(body, &part, action);
    reply.range_from = range_from;
    if let Some(name) = file_name(action, key, &head) {
        let offered = format!("attachment; filename=\"{name}\"");
        reply = reply.header(CONTENT_DISPOSITION, &offered);
    }
    if let Some(md5) = blob.md5 {
        let wrong = strikes(Fault::WrongMd5).is_some();
        reply = with_md5(reply, md5, wrong, part.is_range);
    }
    if part.is_ignored {
        reply = reply.because(Fault::IgnoreRange);
    }
    match stop {
        Some((_, fault)) => reply.because(fault),
        None => reply,
    }
}

/// The answer's status and the headers every blob has.
fn dressed(body: HttpBody, part: &BlobRange, action: &TimedAction) -> Reply {
    let BlobRange {
        from, to, total, ..
    } = part;
    let created = http_date(action.created());
    let mut response = Response::new(body);
    *response.status_mut() = status_of(if part.is_range { 206 } else { 200 });
    let reply = Reply::of(response)
        .header(CONTENT_LENGTH, &(to - from).to_string())
        .header(CONTENT_TYPE, "application/octet-stream")
        .header(ACCEPT_RANGES, "bytes")
        .header(ETAG, &part.etag)
        .header(LAST_MODIFIED, &created)
        .header("server", "Windows-Azure-Blob/1.0 Microsoft-HTTPAPI/2.0")
        .header("x-ms-version", SERVICE_VERSION)
        .header("x-ms-blob-type", "BlockBlob")
        .header("x-ms-lease-status", "unlocked")
        .header("x-ms-creation-time", &created)
        .header("x-ms-server-encrypted", "true");
    match part.is_range {
        true => reply.header(CONTENT_RANGE, &format!("bytes {from}-{}/{total}", to - 1)),
        false => reply,
    }
}

/// Content-MD5 is that of the bytes sent: a range has only the blob's.
fn with_md5(reply: Reply, mut md5: [u8; 16], wrong: bool, is_range: bool) -> Reply {
    md5[0] ^= u8::from(wrong);
    let name = match is_range {
        false => "content-md5",
        true => "x-ms-blob-content-md5",
    };
    let reply = reply.header(name, &STANDARD.encode(md5));
    match wrong {
        true => reply.because(Fault::WrongMd5),
        false => reply,
    }
}

fn range_of(asked: &RequestContext<'_>) -> Option<(u64, Option<u64>)> {
    read_range(asked.header("x-ms-range").or(asked.header("range"))?)
}

/// Where and how a fault ends this body early.
fn stop(
    asked: &RequestContext<'_>,
    key: ResultKey,
    (from, to): (u64, u64),
    link: &VerifiedLink,
) -> Option<(BreakOff, Fault)> {
    if to - from < 2 || asked.method == Method::HEAD {
        return None;
    }
    let service = asked.service;
    let middle = from + (to - from) / 2;
    let within = |at: u64| if from < at && at < to { at } else { middle };
    let strikes = |fault| service.faults.fire(fault, asked.kind, Some(key));
    // Its connection lasts until it is dead: there is no second time.
    if service.dying().remove(&link.signature) {
        let left = link.ends.duration_since(asked.now).unsigned_abs();
        let pause = service.clock.real(left) + Duration::from_millis(5);
        return Some((BreakOff { at: middle, pause }, Fault::ExpireMidway));
    }
    if let Some(struck) = strikes(Fault::Cut) {
        let at = within(struck.value_or(middle));
        // Time for what was sent to leave the buffers before the end.
        let pause = Duration::from_millis(20);
        return Some((BreakOff { at, pause }, Fault::Cut));
    }
    let struck = strikes(Fault::Stall)?;
    let at = within(struck.value_or(middle));
    let pause = STALL_MAX;
    Some((BreakOff { at, pause }, Fault::Stall))
}

/// `bytes=5-` or `bytes=5-9`. The service knows no ranges from the end; what
/// it does not know it ignores.
fn read_range(text: &str) -> Option<(u64, Option<u64>)> {
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

/// The name a GetFile result is offered under: the file's, URL-encoded.
fn file_name(action: &TimedAction, key: ResultKey, head: &[u8]) -> Option<String> {
    let command = action.command(key.index.0)?.get("command")?;
    if command.get("type")?.as_str()? != "GetFile" {
        return None;
    }
    let params = command.get("params")?.as_array()?;
    let path = params
        .iter()
        .find(|param| param.get("key").and_then(Value::as_str) == Some("Path"))?
        .get("value")?
        .as_str()?;
    let name = path.rsplit(['\\', '/']).next().unwrap_or(path);
    let encoded: String = url::form_urlencoded::byte_serialize(name.as_bytes()).collect();
    let suffix = if head == b"\x1f\x8b" { ".gz" } else { "" };
    Some(format!("{}{suffix}", encoded.replace('+', "%20")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_as_the_service_reads_them() {
        assert_eq!(read_range("bytes=5-"), Some((5, None)));
        assert_eq!(read_range("bytes=5-9"), Some((5, Some(9))));
        for text in [
            "bytes=-5",
            "bytes=9-5",
            "bytes=a-",
            "lines=1-2",
            "bytes=1-2,4-5",
        ] {
            assert_eq!(read_range(text), None, "{text}");
        }
    }
}
