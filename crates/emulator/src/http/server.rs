//! One request in, one answer out: finds what is asked for, lets the faults
//! and budgets speak first, dates the answer and notes it for the judge.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{AUTHORIZATION, DATE, HOST, RETRY_AFTER};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::auth::signed_links::{ServiceSigner, blob_of, package_of};
use crate::auth::tokens::{TokenRejection, Tokens, required_roles};
use crate::call_kind::CallKind;
use crate::faults::{Fault, FaultSwitch};
use crate::http::request::{Reply, RequestContext};
use crate::http::routes::Route;
use crate::http::{api, blob, library, packages};
use crate::state::fleet_state::FleetState;
use crate::state::journal::{CallJournal, RecordedCall, Violation};
use crate::state::rate_limits::{CallWindows, RateLimitExceeded, ServiceLimits};
use crate::state::saved_state::StateFile;
use crate::state::{conformance, sessions};
use crate::synthetic::fleet::key;
use crate::timeline::clock::{ServiceClock, http_date, later};
use crate::timeline::latency::Latency;
use evidence::ResultKey;

/// A sign-in form or a run is a few hundred bytes.
const FORM_MAX: usize = 64 << 10;
/// A body beyond what its call takes is read to its end and thrown away, up to
/// here: a client that is cut off while it sends never sees the refusal.
const DRAIN_MAX: usize = 128 << 20;

/// Everything a request may need.
pub(crate) struct Service {
    pub clock: ServiceClock,
    pub signer: ServiceSigner,
    pub tokens: Tokens,
    pub limits: ServiceLimits,
    pub budgets: Mutex<CallWindows>,
    pub latency: Latency,
    /// Decides what comes of everything that clients start.
    pub seed: u64,
    pub faults: FaultSwitch,
    pub journal: CallJournal,
    pub state: Option<Mutex<StateFile>>,
    pub stock: RwLock<FleetState>,
    pub page_size: usize,
    pub link_life: Duration,
    /// `http://127.0.0.1:PORT`, where a request names no host.
    pub base: String,
    pub requests: AtomicU64,
    pub lists: AtomicU64,
    /// Results whose ETag changed, and how often.
    pub etags: Mutex<HashMap<ResultKey, u64>>,
    /// Signatures of links that die while they serve.
    pub dying: Mutex<HashSet<String>>,
}

pub(crate) async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let route = Route::of(&parts.method, parts.uri.path());
    if route == Route::Conformance {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        return conformance::answer(&service, peer.map(|peer| peer.0)).response;
    }
    let number = service.requests.fetch_add(1, Ordering::Relaxed);
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let asked = RequestContext {
        service: &service,
        now: service.clock.now(),
        kind: route.kind(),
        uri: &parts.uri,
        headers: &parts.headers,
        method: &parts.method,
        base: host.map_or_else(|| service.base.clone(), |host| format!("http://{host}")),
        request_id: service.signer.guid(&format!("request {number}")),
    };
    let mut reply = route_to(&asked, &route, body).await;
    let headers = reply.response.headers_mut();
    if let Ok(date) = HeaderValue::from_str(&http_date(service.clock.now())) {
        headers.insert(DATE, date);
    }
    if let Ok(id) = HeaderValue::from_str(&asked.request_id) {
        headers.insert("x-ms-request-id", id);
    }
    service.journal.note(RecordedCall {
        at: asked.now,
        kind: asked.kind,
        key: reply.key,
        status: reply.response.status().as_u16(),
        range_from: reply.range_from,
        why: reply.why,
    });
    reply.response
}

async fn route_to(asked: &RequestContext<'_>, route: &Route, body: Body) -> Reply {
    let service = asked.service;
    let key = match route {
        Route::Link(id, index) => id.parse().ok().map(|id| key(id, *index)),
        Route::Blob => blob_of(asked.uri.path()).and_then(|name| of_blob(service, name)),
        Route::PackageBlob => package_of(asked.query()).and_then(|name| of_blob(service, &name)),
        _ => None,
    };
    if let Some(struck) = service.faults.fire(Fault::Hang, asked.kind, key) {
        tokio::time::sleep(Duration::from_secs(struck.value_or(60))).await;
    }
    let mut reply = match route {
        Route::SignIn(tenant) => match trouble(asked, key) {
            Some(reply) => reply,
            None => sign_in(asked, tenant, body).await,
        },
        Route::Blob | Route::PackageBlob => match trouble(asked, key) {
            Some(reply) => reply,
            None => blob::serve(asked).await,
        },
        _ => {
            let body = match route.method() == Method::POST {
                true => read(body, body_max(route)).await,
                false => None,
            };
            called(asked, route, key, body)
        }
    };
    reply.key = reply.key.or(key);
    reply
}

fn of_blob(service: &Service, name: &str) -> Option<ResultKey> {
    service.stock().blob(name).map(|(key, _)| key)
}

fn body_max(route: &Route) -> usize {
    match route {
        Route::Upload => library::FORM_MAX,
        _ => FORM_MAX,
    }
}

/// A whole body of `max` bytes at most; nothing where it is longer or broke
/// off.
async fn read(body: Body, max: usize) -> Option<Bytes> {
    let mut chunks = body.into_data_stream();
    let mut whole = Vec::new();
    let mut seen = 0usize;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.ok()?;
        seen = seen.saturating_add(chunk.len());
        if seen > DRAIN_MAX {
            break;
        }
        if seen <= max {
            whole.extend_from_slice(&chunk);
        }
    }
    (seen <= max).then(|| whole.into())
}

/// A call of the API: token, budget, trouble, then the call itself.
fn called(
    asked: &RequestContext<'_>,
    route: &Route,
    key: Option<ResultKey>,
    body: Option<Bytes>,
) -> Reply {
    if let Some(refused) = unauthorized(asked, key) {
        return refused;
    }
    if let Some(refused) = over_budget(asked) {
        return refused;
    }
    if let Some(reply) = trouble(asked, key) {
        return reply;
    }
    if *route != Route::Unknown && asked.method != route.method() {
        let why = "The method is not supported here.";
        return api::error(asked, 405, "BadRequest", why);
    }
    let strikes = |fault| asked.service.faults.fire(fault, asked.kind, key);
    if strikes(Fault::LostCall).is_some() {
        return unanswered(Reply::of(Response::default())).because(Fault::LostCall);
    }
    let reply = act(asked, route, body);
    let acted = reply.response.status().is_success();
    if acted && strikes(Fault::LostAnswer).is_some() {
        return unanswered(reply).because(Fault::LostAnswer);
    }
    if acted && strikes(Fault::LateError).is_some() {
        let why = "Something went wrong.";
        let reply = api::error(asked, 500, "InternalServerError", why);
        return reply.because(Fault::LateError);
    }
    reply
}

fn act(asked: &RequestContext<'_>, route: &Route, body: Option<Bytes>) -> Reply {
    let whole = body.as_deref();
    // A body too long for its call reads as none, and is refused as such.
    let short = whole.unwrap_or_default();
    match route {
        Route::Machines => api::machines(asked),
        Route::Machine(id) => api::machine(asked, id),
        Route::Run(id) => sessions::run(asked, id, short),
        Route::StartPackage(id) => packages::start(asked, id, short),
        Route::Actions => api::actions(asked),
        Route::Action(id) => api::action(asked, id),
        Route::Cancel(id) => sessions::cancel(asked, id, short),
        Route::Link(id, index) => api::link(asked, id, *index),
        Route::PackageLink(id) => packages::link(asked, id),
        Route::Library => library::list(asked),
        Route::Upload => library::upload(asked, whole),
        Route::Delete(name) => library::delete(asked, name),
        _ => api::error(asked, 404, "NotFound", "There is no such resource."),
    }
}

/// The answer never leaves: its body breaks before the first byte, and the
/// connection ends with nothing sent.
fn unanswered(mut reply: Reply) -> Reply {
    let broken = stream::iter([Err::<Bytes, _>(std::io::ErrorKind::ConnectionReset)]);
    let broken = broken.map(|chunk| chunk.map_err(std::io::Error::from));
    *reply.response.body_mut() = Body::from_stream(broken);
    reply
}

fn unauthorized(asked: &RequestContext<'_>, key: Option<ResultKey>) -> Option<Reply> {
    let service = asked.service;
    let revoked = service.faults.fire(Fault::Revoke, asked.kind, key);
    if revoked.is_some() {
        service.tokens.revoke();
    }
    let header = asked.headers.get(AUTHORIZATION);
    let header = header.and_then(|header| header.to_str().ok());
    match service.tokens.check(header, asked.kind, asked.now) {
        Ok(()) => None,
        Err(TokenRejection::Unknown) => {
            let why = "The token is invalid or expired.";
            let reply = api::error(asked, 401, "Unauthorized", why)
                .header("www-authenticate", "Bearer error=\"invalid_token\"");
            Some(match revoked {
                Some(_) => reply.because(Fault::Revoke),
                None => reply,
            })
        }
        Err(TokenRejection::Role) => {
            let roles = required_roles(asked.kind).join(", ");
            let why = format!(
                "The application does not have any of the required application permissions ({roles})."
            );
            Some(api::error(asked, 403, "Forbidden", &why))
        }
    }
}

fn over_budget(asked: &RequestContext<'_>) -> Option<Reply> {
    let service = asked.service;
    let mut budgets = service.budgets();
    if !budgets.counts(asked.kind) {
        return None;
    }
    if let Err(RateLimitExceeded { again_after }) = budgets.take(asked.kind, asked.now) {
        service.journal.violate(Violation::OverBudget);
        let seconds = again_after.as_secs() + u64::from(again_after.subsec_nanos() > 0);
        let reply = api::error(asked, 429, "TooManyRequests", "The quota was exceeded.");
        return Some(
            reply
                .header(RETRY_AFTER, &seconds.to_string())
                .why("over-budget"),
        );
    }
    let state = service.state.as_ref()?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    let noted = state.note(asked.kind, asked.now);
    // A judge that cannot keep its book says so instead of judging wrongly.
    noted
        .err()
        .map(|error| api::error(asked, 500, "InternalServerError", &error.to_string()))
}

/// Faults that any call may meet, worded as its host words them.
fn trouble(asked: &RequestContext<'_>, key: Option<ResultKey>) -> Option<Reply> {
    let strikes = |fault| asked.service.faults.fire(fault, asked.kind, key);
    let refuse = |status, code: &str, message: &str| match asked.kind {
        CallKind::Blob => blob::error(asked, status, code, message, None),
        _ => api::error(asked, status, code, message),
    };
    if let Some(struck) = strikes(Fault::Throttle) {
        let reply = refuse(429, "TooManyRequests", "Slow down.");
        let seconds = struck.value_or(5).to_string();
        return Some(reply.header(RETRY_AFTER, &seconds).because(Fault::Throttle));
    }
    if let Some(struck) = strikes(Fault::ThrottleDate) {
        let again = later(asked.now, Duration::from_secs(struck.value_or(5)));
        let reply = refuse(429, "TooManyRequests", "Slow down.");
        let date = http_date(again);
        return Some(
            reply
                .header(RETRY_AFTER, &date)
                .because(Fault::ThrottleDate),
        );
    }
    if strikes(Fault::ServerError).is_some() {
        let reply = refuse(500, "InternalServerError", "Something went wrong.");
        return Some(reply.because(Fault::ServerError));
    }
    if strikes(Fault::Unavailable).is_some() {
        let code = match asked.kind {
            CallKind::Blob => "ServerBusy",
            _ => "ServiceUnavailable",
        };
        let reply = refuse(503, code, "The server is busy.");
        return Some(reply.because(Fault::Unavailable));
    }
    None
}

async fn sign_in(asked: &RequestContext<'_>, tenant: &str, body: Body) -> Reply {
    let form = to_bytes(body, FORM_MAX).await.unwrap_or_default();
    if asked.method != Method::POST {
        return api::error(asked, 405, "invalid_request", "Sign in by POST.");
    }
    let endpoint = format!("{}/{tenant}/oauth2/v2.0/token", asked.base);
    let tokens = &asked.service.tokens;
    match tokens.sign_in(tenant, &endpoint, &form, asked.now) {
        Ok(token) => api::json(StatusCode::OK, &token).header("cache-control", "no-store"),
        Err(error) => api::sign_in_error(asked, &error),
    }
}

impl Service {
    pub(crate) fn stock(&self) -> RwLockReadGuard<'_, FleetState> {
        self.stock.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stock_mut(&self) -> RwLockWriteGuard<'_, FleetState> {
        self.stock.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn budgets(&self) -> MutexGuard<'_, CallWindows> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn etag_changes(&self) -> MutexGuard<'_, HashMap<ResultKey, u64>> {
        self.etags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn dying(&self) -> MutexGuard<'_, HashSet<String>> {
        self.dying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
