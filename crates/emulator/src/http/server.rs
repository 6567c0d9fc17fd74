//! Handles every request: finds the endpoint, applies faults, sign-in and rate
//! limits, calls the endpoint, and records the call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, DATE, HOST, RETRY_AFTER};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::auth::signed_links::{blob_name_in, package_blob_name};
use crate::auth::tokens::{TokenRejection, required_roles};
use crate::call_kind::CallKind;
use crate::faults::Fault;
use crate::http::request::{Reply, RequestContext};
use crate::http::routes::Route;
use crate::http::{api, blob, library, packages, sessions};
use crate::state::conformance::ConformanceReport;
use crate::state::journal::{RecordedCall, Violation};
use crate::state::rate_limits::RateLimitExceeded;
use crate::state::service::Service;
use crate::synthetic::ids::result_key;
use crate::timeline::clock::{http_date, later};
use evidence::ResultKey;

/// Largest body of a sign-in or a run; they have a few hundred bytes.
const BODY_MAX: usize = 64 << 10;
/// A body above its limit is read and discarded up to this size. A client whose
/// connection is dropped while it sends never receives the response.
const DRAIN_MAX: usize = 128 << 20;

/// Handles a request.
pub(crate) async fn handle(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let route = Route::of(&parts.method, parts.uri.path());
    if route == Route::Conformance {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        return conformance(&service, peer.map(|peer| peer.0)).response;
    }
    let number = service.request_count.fetch_add(1, Ordering::Relaxed);
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let context = RequestContext {
        service: &service,
        now: service.clock.now(),
        kind: route.kind(),
        uri: &parts.uri,
        headers: &parts.headers,
        method: &parts.method,
        base: host.map_or_else(|| service.base.clone(), |host| format!("http://{host}")),
        request_id: service.signer.guid(&format!("request {number}")),
    };
    let reply = respond(&context, &route, body)
        .await
        .header(DATE, &http_date(service.clock.now()))
        .header("x-ms-request-id", &context.request_id);
    record(&context, &reply);
    reply.response
}

/// Records a call in the journal and in the log.
fn record(request: &RequestContext<'_>, reply: &Reply) {
    let status = reply.response.status().as_u16();
    tracing::debug!(
        target: "emulator",
        kind = request.kind.name(),
        status,
        fault = reply.reason,
        "request"
    );
    request.service.journal.record_call(RecordedCall {
        at: request.now,
        kind: request.kind,
        key: reply.key,
        status,
        range_from: reply.range_from,
        reason: reply.reason,
    });
}

/// The conformance report, for peers on the loopback only.
fn conformance(service: &Service, peer: Option<SocketAddr>) -> Reply {
    if !peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
        return api::json(StatusCode::NOT_FOUND, &serde_json::Value::Null);
    }
    api::json(StatusCode::OK, &ConformanceReport::new(service))
}

async fn respond(request: &RequestContext<'_>, route: &Route, body: Body) -> Reply {
    let service = request.service;
    let key = match route {
        Route::Link(id, index) => id.parse().ok().map(|id| result_key(id, *index)),
        Route::Blob => blob_name_in(request.uri.path()).and_then(|name| blob_key(service, name)),
        Route::PackageBlob => {
            package_blob_name(request.query()).and_then(|name| blob_key(service, &name))
        }
        _ => None,
    };
    if let Some(hit) = service.faults.fire(Fault::Hang, request.kind, key) {
        tokio::time::sleep(Duration::from_secs(hit.value_or(60))).await;
    }
    let mut reply = match route {
        Route::SignIn(tenant) => match fault_reply(request, key) {
            Some(reply) => reply,
            None => sign_in(request, tenant, body).await,
        },
        Route::Blob | Route::PackageBlob => match fault_reply(request, key) {
            Some(reply) => reply,
            None => blob::serve(request).await,
        },
        _ => {
            let body = if route.method() == Method::POST {
                read_body(body, body_max(route)).await
            } else {
                None
            };
            call_api(request, route, key, body).await
        }
    };
    reply.key = reply.key.or(key);
    reply
}

fn blob_key(service: &Service, name: &str) -> Option<ResultKey> {
    service.fleet().blob(name).map(|(key, _)| key)
}

fn body_max(route: &Route) -> usize {
    match route {
        Route::Upload => library::FORM_MAX,
        _ => BODY_MAX,
    }
}

/// Reads a body of at most `max` bytes; `None` if it is larger or incomplete.
async fn read_body(body: Body, max: usize) -> Option<Bytes> {
    let mut chunks = body.into_data_stream();
    let mut bytes = Vec::new();
    let mut len = 0usize;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.ok()?;
        len = len.saturating_add(chunk.len());
        if len > DRAIN_MAX {
            break;
        }
        if len <= max {
            bytes.extend_from_slice(&chunk);
        }
    }
    (len <= max).then(|| bytes.into())
}

/// A call of the API: token, rate limit and faults, then the endpoint.
async fn call_api(
    request: &RequestContext<'_>,
    route: &Route,
    key: Option<ResultKey>,
    body: Option<Bytes>,
) -> Reply {
    if let Some(reply) = reject_unauthorized(request, key) {
        return reply;
    }
    if let Some(reply) = reject_over_limit(request) {
        return reply;
    }
    if let Some(reply) = fault_reply(request, key) {
        return reply;
    }
    if *route != Route::Unknown && request.method != route.method() {
        let message = "The method is not supported here.";
        return api::error(request, 405, "BadRequest", message);
    }
    let fire = |fault| request.service.faults.fire(fault, request.kind, key);
    if fire(Fault::LostCall).is_some() {
        return drop_connection(Reply::new(Response::default())).caused_by(Fault::LostCall);
    }
    let reply = dispatch(request, route, body).await;
    let is_executed = reply.response.status().is_success();
    if is_executed && fire(Fault::LostAnswer).is_some() {
        return drop_connection(reply).caused_by(Fault::LostAnswer);
    }
    if is_executed && fire(Fault::LateError).is_some() {
        let message = "Something went wrong.";
        let reply = api::error(request, 500, "InternalServerError", message);
        return reply.caused_by(Fault::LateError);
    }
    reply
}

async fn dispatch(request: &RequestContext<'_>, route: &Route, body: Option<Bytes>) -> Reply {
    // A body above its limit is rejected like an empty one.
    let bytes = body.as_deref().unwrap_or_default();
    match route {
        Route::Machines => api::machines(request),
        Route::Machine(id) => api::machine(request, id),
        Route::Run(id) => sessions::run(request, id, bytes),
        Route::StartPackage(id) => packages::start(request, id, bytes),
        Route::Actions => api::actions(request),
        Route::Action(id) => api::action(request, id),
        Route::Cancel(id) => sessions::cancel(request, id, bytes),
        Route::Link(id, index) => api::link(request, id, *index),
        Route::PackageLink(id) => packages::link(request, id),
        Route::Library => library::list(request),
        Route::Upload => library::upload(request, body).await,
        Route::Delete(name) => library::delete(request, name),
        _ => api::error(request, 404, "NotFound", "There is no such resource."),
    }
}

/// Makes the body fail before its first byte, so that the connection closes
/// without a response.
fn drop_connection(mut reply: Reply) -> Reply {
    let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    let body = stream::iter([Err::<Bytes, _>(error)]);
    *reply.response.body_mut() = Body::from_stream(body);
    reply
}

/// The reply if the token is invalid or has no role for the call.
fn reject_unauthorized(request: &RequestContext<'_>, key: Option<ResultKey>) -> Option<Reply> {
    let service = request.service;
    let revoked = service.faults.fire(Fault::Revoke, request.kind, key);
    if revoked.is_some() {
        service.tokens.revoke();
    }
    let authorization = request
        .headers
        .get(AUTHORIZATION)
        .and_then(|header| header.to_str().ok());
    match service
        .tokens
        .check(authorization, request.kind, request.now)
    {
        Ok(()) => None,
        Err(TokenRejection::Invalid) => {
            let message = "The token is invalid or expired.";
            let reply = api::error(request, 401, "Unauthorized", message)
                .header("www-authenticate", "Bearer error=\"invalid_token\"");
            Some(match revoked {
                Some(_) => reply.caused_by(Fault::Revoke),
                None => reply,
            })
        }
        Err(TokenRejection::MissingRole) => {
            let roles = required_roles(request.kind).join(", ");
            let message = format!(
                "The application does not have any of the required application permissions ({roles})."
            );
            Some(api::error(request, 403, "Forbidden", &message))
        }
    }
}

/// The reply if the call exceeds its rate limit.
fn reject_over_limit(request: &RequestContext<'_>) -> Option<Reply> {
    let service = request.service;
    let mut windows = service.call_windows();
    if !windows.is_limited(request.kind) {
        return None;
    }
    if let Err(RateLimitExceeded { retry_after }) = windows.admit(request.kind, request.now) {
        service.journal.record_violation(Violation::OverBudget);
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        let reply = api::error(request, 429, "TooManyRequests", "The quota was exceeded.")
            .header(RETRY_AFTER, &seconds.to_string())
            .reason("over-budget");
        return Some(reply);
    }
    // If the state file cannot be written, the call fails: after a restart the
    // limits would otherwise be too high.
    let error = service
        .state_file()?
        .append(request.kind, request.now)
        .err()?;
    let message = error.to_string();
    Some(api::error(request, 500, "InternalServerError", &message))
}

/// The reply of a fault that any call can have, in the format of its host.
fn fault_reply(request: &RequestContext<'_>, key: Option<ResultKey>) -> Option<Reply> {
    let fire = |fault| request.service.faults.fire(fault, request.kind, key);
    let error = |status, code: &str, message: &str| match request.kind {
        CallKind::Blob => blob::error(request, status, code, message, None),
        _ => api::error(request, status, code, message),
    };
    let throttled = || error(429, "TooManyRequests", "Slow down.");
    if let Some(hit) = fire(Fault::Throttle) {
        let reply = throttled().header(RETRY_AFTER, &hit.value_or(5).to_string());
        return Some(reply.caused_by(Fault::Throttle));
    }
    if let Some(hit) = fire(Fault::ThrottleDate) {
        let retry_at = later(request.now, Duration::from_secs(hit.value_or(5)));
        let reply = throttled().header(RETRY_AFTER, &http_date(retry_at));
        return Some(reply.caused_by(Fault::ThrottleDate));
    }
    if fire(Fault::ServerError).is_some() {
        let reply = error(500, "InternalServerError", "Something went wrong.");
        return Some(reply.caused_by(Fault::ServerError));
    }
    if fire(Fault::Unavailable).is_some() {
        let code = match request.kind {
            CallKind::Blob => "ServerBusy",
            _ => "ServiceUnavailable",
        };
        let reply = error(503, code, "The server is busy.");
        return Some(reply.caused_by(Fault::Unavailable));
    }
    None
}

async fn sign_in(request: &RequestContext<'_>, tenant: &str, body: Body) -> Reply {
    let form = to_bytes(body, BODY_MAX).await.unwrap_or_default();
    if request.method != Method::POST {
        return api::error(request, 405, "invalid_request", "Sign in by POST.");
    }
    let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", request.base);
    let tokens = &request.service.tokens;
    match tokens.sign_in(tenant, &endpoint, &form, request.now) {
        Ok(token) => api::json(StatusCode::OK, &token).header("cache-control", "no-store"),
        Err(error) => api::sign_in_error(request, &error),
    }
}
