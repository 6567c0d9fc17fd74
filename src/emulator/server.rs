//! One request in, one answer out: finds what is asked for, lets the faults
//! and budgets speak first, dates the answer and notes it for the judge.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, DATE, HOST, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use jiff::Timestamp;

use super::budget::{Budgets, Refused};
use super::clock::{Clock, http_date, later};
use super::fault::{Fault, FaultSwitch};
use super::fleet::{Device, Fleet};
use super::journal::{Call, CallKind, Journal, Violation};
use super::link::{Signer, blob_of};
use super::placed::Placed;
use super::state::StateFile;
use super::token::{Refusal, Tokens};
use super::{api, blob};
use crate::evidence::{ActionId, ResultKey};

/// A sign-in form is a few hundred bytes.
const FORM_MAX: usize = 64 << 10;

/// Everything a request may need.
pub(super) struct Service {
    pub clock: Clock,
    pub signer: Signer,
    pub tokens: Tokens,
    pub budgets: Mutex<Budgets>,
    pub faults: FaultSwitch,
    pub journal: Journal,
    pub state: Option<Mutex<StateFile>>,
    pub stock: RwLock<Stock>,
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

/// The fleet on the clock, by id.
#[derive(Default)]
pub(super) struct Stock {
    pub devices: Vec<Device>,
    pub actions: Vec<Arc<Placed>>,
    by_id: HashMap<ActionId, usize>,
    blobs: HashMap<String, ResultKey>,
    results: u64,
}

impl Stock {
    pub(super) fn add(&mut self, mut fleet: Fleet, start: Timestamp, signer: &Signer) {
        fleet.complete_devices();
        self.devices.append(&mut fleet.devices);
        for action in fleet.actions {
            let Some(placed) = Placed::place(action, start, self.results) else {
                continue;
            };
            for index in placed.results() {
                let key = super::fleet::key(placed.id, index);
                self.blobs.insert(signer.blob_name(key), key);
                self.results += 1;
            }
            let place = self.actions.len();
            self.by_id.insert(placed.id, place);
            self.actions.push(Arc::new(placed));
        }
    }

    pub(super) fn action(&self, id: &str) -> Option<Arc<Placed>> {
        let id: ActionId = id.parse().ok()?;
        self.actions.get(*self.by_id.get(&id)?).cloned()
    }

    pub(super) fn blob(&self, name: &str) -> Option<(ResultKey, Arc<Placed>)> {
        let key = self.blobs.get(name)?;
        let place = self.by_id.get(&key.action)?;
        Some((*key, self.actions.get(*place)?.clone()))
    }
}

/// What a path means.
enum Route {
    SignIn(String),
    Machines,
    Machine(String),
    Actions,
    Action(String),
    Link(String, u32),
    Blob,
    Unknown,
}

impl Route {
    fn of(path: &str) -> Self {
        if blob_of(path).is_some() {
            return Self::Blob;
        }
        let path = percent_decoded(path);
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let lower: Vec<String> = parts.iter().map(|part| part.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let own = |place: usize| parts.get(place).copied().unwrap_or_default().to_string();
        match lower.as_slice() {
            [_, "oauth2", "v2.0", "token"] => Self::SignIn(own(0)),
            ["api", "machines"] => Self::Machines,
            ["api", "machines", _] => Self::Machine(own(2)),
            ["api", "machineactions"] => Self::Actions,
            ["api", "machineactions", _] => Self::Action(own(2)),
            ["api", "machineactions", _, call] => match index_of(call) {
                Some(index) => Self::Link(own(2), index),
                None => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    fn kind(&self) -> CallKind {
        match self {
            Self::SignIn(_) => CallKind::SignIn,
            Self::Machines | Self::Machine(_) => CallKind::Machines,
            Self::Actions => CallKind::List,
            Self::Action(_) => CallKind::Get,
            Self::Link(..) => CallKind::Link,
            Self::Blob => CallKind::Blob,
            Self::Unknown => CallKind::Other,
        }
    }
}

fn index_of(call: &str) -> Option<u32> {
    call.strip_prefix("getliveresponseresultdownloadlink(index=")?
        .strip_suffix(')')?
        .parse()
        .ok()
}

/// `%28` and the like; a path is ASCII, what is not UTF-8 is nobody's path.
fn percent_decoded(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).filter(|_| *byte == b'%');
        let decoded = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        out.push(decoded.unwrap_or(*byte));
        at += if decoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&out).into_owned()
}

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

pub(super) async fn answer(State(service): State<Arc<Service>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let route = Route::of(parts.uri.path());
    let number = service.requests.fetch_add(1, Ordering::Relaxed);
    let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
    let asked = Asked {
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
    service.journal.note(Call {
        at: asked.now,
        kind: asked.kind,
        key: reply.key,
        status: reply.response.status().as_u16(),
        range_from: reply.range_from,
        why: reply.why,
    });
    reply.response
}

async fn route_to(asked: &Asked<'_>, route: &Route, body: Body) -> Reply {
    let service = asked.service;
    let key = match route {
        Route::Link(id, index) => id.parse().ok().map(|id| super::fleet::key(id, *index)),
        Route::Blob => blob_of(asked.uri.path())
            .and_then(|name| service.stock().blob(name))
            .map(|(key, _)| key),
        _ => None,
    };
    if let Some(struck) = service.faults.strikes(Fault::Hang, asked.kind, key) {
        tokio::time::sleep(Duration::from_secs(struck.value(60))).await;
    }
    let mut reply = match route {
        Route::SignIn(tenant) => match trouble(asked, key) {
            Some(reply) => reply,
            None => sign_in(asked, tenant, body).await,
        },
        Route::Blob => match trouble(asked, key) {
            Some(reply) => reply,
            None => blob::serve(asked).await,
        },
        _ => called(asked, route, key),
    };
    reply.key = reply.key.or(key);
    reply
}

/// A call of the API: token, budget, trouble, then the call itself.
fn called(asked: &Asked<'_>, route: &Route, key: Option<ResultKey>) -> Reply {
    let service = asked.service;
    let revoked = service.faults.strikes(Fault::Revoke, asked.kind, key);
    if revoked.is_some() {
        service.tokens.revoke();
    }
    let header = asked.headers.get(AUTHORIZATION);
    let header = header.and_then(|header| header.to_str().ok());
    match service.tokens.check(header, asked.now) {
        Ok(()) => {}
        Err(Refusal::Unknown) => {
            let reply = api::error(
                asked,
                401,
                "Unauthorized",
                "The token is invalid or expired.",
            )
            .header("www-authenticate", "Bearer error=\"invalid_token\"");
            return match revoked {
                Some(_) => reply.because(Fault::Revoke),
                None => reply,
            };
        }
        Err(Refusal::Role) => {
            let why = "The application does not have any of the required application permissions (Machine.Read.All, Machine.ReadWrite.All).";
            return api::error(asked, 403, "Forbidden", why);
        }
    }
    if let Some(refused) = over_budget(asked) {
        return refused;
    }
    if let Some(reply) = trouble(asked, key) {
        return reply;
    }
    if asked.method != Method::GET {
        return api::error(
            asked,
            405,
            "BadRequest",
            "The method is not supported here.",
        );
    }
    match route {
        Route::Machines => api::machines(asked),
        Route::Machine(id) => api::machine(asked, id),
        Route::Actions => api::actions(asked),
        Route::Action(id) => api::action(asked, id),
        Route::Link(id, index) => api::link(asked, id, *index),
        _ => api::error(asked, 404, "NotFound", "There is no such resource."),
    }
}

fn over_budget(asked: &Asked<'_>) -> Option<Reply> {
    let service = asked.service;
    let mut budgets = service.budgets();
    if !budgets.counts(asked.kind) {
        return None;
    }
    if let Err(Refused { again_after }) = budgets.take(asked.kind, asked.now) {
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
fn trouble(asked: &Asked<'_>, key: Option<ResultKey>) -> Option<Reply> {
    let strikes = |fault| asked.service.faults.strikes(fault, asked.kind, key);
    let refuse = |status, code: &str, message: &str| match asked.kind {
        CallKind::Blob => blob::error(asked, status, code, message, None),
        _ => api::error(asked, status, code, message),
    };
    if let Some(struck) = strikes(Fault::Throttle) {
        let reply = refuse(429, "TooManyRequests", "Slow down.");
        let seconds = struck.value(5).to_string();
        return Some(reply.header(RETRY_AFTER, &seconds).because(Fault::Throttle));
    }
    if let Some(struck) = strikes(Fault::ThrottleDate) {
        let again = later(asked.now, Duration::from_secs(struck.value(5)));
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

async fn sign_in(asked: &Asked<'_>, tenant: &str, body: Body) -> Reply {
    let form = to_bytes(body, FORM_MAX).await.unwrap_or_default();
    if asked.method != Method::POST {
        return api::error(asked, 405, "invalid_request", "Sign in by POST.");
    }
    match asked.service.tokens.sign_in(tenant, &form, asked.now) {
        Ok(token) => api::json(StatusCode::OK, &token).header("cache-control", "no-store"),
        Err(error) => api::sign_in_error(asked, &error),
    }
}

impl Service {
    pub(super) fn stock(&self) -> std::sync::RwLockReadGuard<'_, Stock> {
        self.stock.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn budgets(&self) -> MutexGuard<'_, Budgets> {
        self.budgets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn etag_changes(&self) -> MutexGuard<'_, HashMap<ResultKey, u64>> {
        self.etags.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn dying(&self) -> MutexGuard<'_, HashSet<String>> {
        self.dying.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_in_any_case_and_encoding() {
        let link = |path: &str| match Route::of(path) {
            Route::Link(id, index) => Some((id, index)),
            _ => None,
        };
        let expected = Some(("5382".to_string(), 12));
        for path in [
            "/api/machineactions/5382/GetLiveResponseResultDownloadLink(index=12)",
            "/api/machineActions/5382/GetLiveResponseResultDownloadLink%28index%3D12%29",
            "/api/MachineActions/5382/getliveresponseresultdownloadlink(index=12)/",
        ] {
            assert_eq!(link(path), expected, "{path}");
        }
        assert_eq!(link("/api/machineactions/5382/getPackageUri"), None);
        assert!(matches!(Route::of("/t/oauth2/v2.0/token"), Route::SignIn(t) if t == "t"));
        assert!(matches!(Route::of("/%zz/ä"), Route::Unknown));
    }
}
