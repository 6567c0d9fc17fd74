//! The calls of the Defender API, each with its token, its budget and its
//! classified answer. What it says on failure holds no address but the host.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use url::Url;

use crate::clock::{Clock, WallTime};
use crate::counters::CollectCounters;
use crate::service::auth::sign_in::TokenProvider;
use crate::service::circuit_breaker::{CircuitBreaker, OutageState, RetryForever};
use crate::service::http;
use crate::service::http::{BodyReadError, HttpClients, SharedClients, TransportError};
use crate::service::links::{DownloadLink, LinkError};
use crate::service::list;
use crate::service::rate_limit::{CallPermit, RateLimiter};
use crate::service::retry::{ErrorClass, RetryState};
use crate::system;
use crate::{ApiCall, CollectError, CollectSettings, Secret, ServiceError};
use evidence::{ActionId, ResultKey};

/// A page holds at most 10,000 actions of a few KiB each.
const PAGE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// An answer with one action in it, of which no more is kept.
const ACTION_BYTES_MAX: usize = 2 * list::ACTION_BYTES_MAX;
/// An answer with one link in it.
const LINK_BYTES_MAX: usize = 256 * 1024;
/// Tokens a call is tried with: one renewed just before it was revoked again
/// is bad luck, a third is a refusal.
const TOKENS_MAX: u32 = 3;

pub(crate) struct Api {
    pub base: Url,
    pub host: String,
    pub http: SharedClients,
    pub tokens: TokenProvider,
    pub rate_limiter: Arc<RateLimiter>,
    pub clock: Clock,
    /// Real time.
    pub call_timeout: Duration,
    pub counters: Arc<CollectCounters>,
    pub outage: CircuitBreaker,
    /// Whether lost connections are given up.
    pub retry_forever: RetryForever,
}

/// A body and the two clocks' times around it.
pub(crate) struct ApiResponse {
    pub body: Vec<u8>,
    pub date: Option<Timestamp>,
    pub sent_at: WallTime,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(crate) enum CallError {
    /// 429; the budget has moved already.
    Throttled,
    /// Any other refusal or failure the service put into words.
    Service(ServiceError),
    /// The connection broke on the way.
    Interrupted(String),
    /// No connection came about; the outage is noted.
    NoConnection(String),
    /// An answer of no use.
    Unexpected(String),
    /// An answer that holds no link to be followed.
    InvalidLink(LinkError),
    /// Nothing will go any more.
    Fatal(CollectError),
}

impl CallError {
    /// What kind of trouble it is, where trying again may help.
    pub fn error_class(&self) -> Option<ErrorClass> {
        match self {
            Self::Throttled => Some(ErrorClass::Throttled),
            Self::Interrupted(_) => Some(ErrorClass::Interrupted),
            Self::Unexpected(_) => Some(ErrorClass::Server),
            Self::NoConnection(_) => Some(ErrorClass::NoConnection),
            Self::Service(e) if e.status >= 500 || e.status == 408 => Some(ErrorClass::Server),
            _ => None,
        }
    }

    /// The same as an error that ends the run.
    pub fn into_fatal(self, call: ApiCall, host: &str) -> CollectError {
        let (call, host) = (call.description(), host.to_string());
        match self {
            Self::Fatal(error) => error,
            Self::Service(service) => CollectError::Service {
                call,
                host,
                service,
            },
            Self::Throttled => CollectError::Transport {
                attempt: call,
                host,
                why: "held back again and again (429)".into(),
            },
            Self::Interrupted(why) | Self::NoConnection(why) => CollectError::Transport {
                attempt: call,
                host,
                why,
            },
            Self::Unexpected(why) => CollectError::Response { call, why },
            Self::InvalidLink(bad) => CollectError::Response {
                call,
                why: bad.to_string(),
            },
        }
    }
}

/// One request, before it has a token.
#[derive(Clone)]
pub(crate) struct ApiRequest {
    pub call: ApiCall,
    pub method: Method,
    pub url: Url,
    pub payload: Option<RequestBody>,
    /// **Units**: bytes of the answer.
    pub max: usize,
}

/// What a request brings along.
#[derive(Clone)]
pub(crate) struct RequestBody {
    pub content_type: String,
    pub bytes: Bytes,
}

impl ApiRequest {
    pub fn get(call: ApiCall, url: Url) -> Self {
        let max = match call {
            ApiCall::Link | ApiCall::PackageLink => LINK_BYTES_MAX,
            ApiCall::Run | ApiCall::Action | ApiCall::Cancel | ApiCall::Package => ACTION_BYTES_MAX,
            ApiCall::List | ApiCall::Machines | ApiCall::Library => PAGE_BYTES_MAX,
        };
        Self {
            call,
            method: Method::GET,
            url,
            payload: None,
            max,
        }
    }

    pub fn post(call: ApiCall, url: Url, json: Vec<u8>) -> Self {
        Self {
            method: Method::POST,
            payload: Some(RequestBody {
                content_type: "application/json".into(),
                bytes: json.into(),
            }),
            ..Self::get(call, url)
        }
    }
}

impl Api {
    /// Signs in and opens the budget. What a person should know is told to
    /// `counters`.
    pub async fn open(
        settings: &CollectSettings,
        counters: Arc<CollectCounters>,
    ) -> Result<Self, CollectError> {
        let clock = Clock::new(settings.pace.time_scale);
        let http = Arc::new(HttpClients::new(
            settings.ca_file.as_deref(),
            settings.timeouts,
        )?);
        let retry_forever = RetryForever::default();
        let told = Some(counters.clone());
        let tokens =
            TokenProvider::new(settings, http.clone(), clock, told, retry_forever.clone())?;
        let name = log_name(settings, &tokens).await?;
        let (rate_limiter, notice) = RateLimiter::open(
            clock,
            settings.pace.limits_lifted,
            settings.timeouts.call,
            &settings.state_dir,
            &name,
        )?;
        if let Some(notice) = notice {
            counters.notify(notice);
        }
        Ok(Self {
            base: settings.api_base.clone(),
            host: settings.api_host(),
            http,
            tokens,
            rate_limiter,
            clock,
            call_timeout: settings.timeouts.call,
            counters,
            outage: CircuitBreaker::new(retry_forever.clone()),
            retry_forever,
        })
    }

    /// An address of the API, such as `machines`.
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let before = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{before}/api/{path}"));
        url
    }

    pub async fn fetch_page(&self, url: &Url) -> Result<ApiResponse, CallError> {
        self.call(&ApiRequest::get(ApiCall::List, url.clone()))
            .await
    }

    /// Asks for the link of a result: one call of the scarcest budget.
    pub async fn request_link(&self, key: ResultKey) -> Result<DownloadLink, CallError> {
        let url = self.url(&format!(
            "machineactions/{}/GetLiveResponseResultDownloadLink(index={})",
            key.action, key.index
        ));
        let answer = self.call(&ApiRequest::get(ApiCall::Link, url)).await?;
        DownloadLink::parse(&answer.body, answer.date, answer.sent_at, self.clock)
            .map_err(CallError::InvalidLink)
    }

    /// The same for an investigation package.
    pub async fn request_package_link(&self, action: ActionId) -> Result<DownloadLink, CallError> {
        let url = self.url(&format!("machineactions/{action}/getPackageUri"));
        let answer = self
            .call(&ApiRequest::get(ApiCall::PackageLink, url))
            .await?;
        DownloadLink::parse(&answer.body, answer.date, answer.sent_at, self.clock)
            .map_err(CallError::InvalidLink)
    }

    /// One call, sent again with another token after a 401, which says that
    /// nothing was done.
    pub async fn call(&self, ask: &ApiRequest) -> Result<ApiResponse, CallError> {
        for _ in 0..TOKENS_MAX {
            let (permit, token) = self.acquire(ask.call).await?;
            match self.send(ask, permit, &token).await {
                Err(CallError::Service(e)) if e.status == 401 => {
                    self.tokens.renew(&token).await.map_err(CallError::Fatal)?;
                }
                other => return other,
            }
        }
        Err(CallError::Fatal(CollectError::TokenSpent))
    }

    /// Waits until a call of this kind may leave, with a token that is good by
    /// then. The hour's budget may be waited for longer than a token lives; a
    /// token that ended on the way gives its leave back, since the time it was
    /// noted with would be over when another has come.
    pub async fn acquire(&self, call: ApiCall) -> Result<(CallPermit, Secret), CallError> {
        let mut tokens = 0;
        loop {
            let token = self.tokens.token().await.map_err(CallError::Fatal)?;
            let permit = self.admit(call).await?;
            tokens += 1;
            // A token that lives no longer than this is tried as it is.
            if self.tokens.is_current(&token) || tokens >= TOKENS_MAX {
                return Ok((permit, token));
            }
            permit.release_unused();
        }
    }

    /// One call, sent again only while the service holds it back, which says
    /// that nothing was done: for calls that must not be repeated.
    pub async fn call_non_idempotent(&self, ask: &ApiRequest) -> Result<ApiResponse, CallError> {
        let mut tries = RetryState::default();
        loop {
            match self.call(ask).await {
                Err(CallError::Throttled) => match tries.next_delay(ErrorClass::Throttled) {
                    Some(wait) => self.clock.sleep(wait).await,
                    None => return Err(CallError::Throttled),
                },
                other => return other,
            }
        }
    }

    /// The same, tried again while what keeps it may pass: for calls that may
    /// be repeated.
    pub async fn call_with_retries(&self, ask: &ApiRequest) -> Result<ApiResponse, CallError> {
        let mut tries = RetryState::default();
        loop {
            let error = match self.call(ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(trouble) = error.error_class() else {
                return Err(error);
            };
            match tries.next_delay(trouble) {
                Some(wait) => self.clock.sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    /// Waits until a call of this kind may leave.
    pub async fn admit(&self, call: ApiCall) -> Result<CallPermit, CallError> {
        self.outage.wait(self.clock).await;
        let tell = |until| self.counters.record_wait(call, self.clock.now(), until);
        let mut told = false;
        loop {
            let (path, source) = match self.rate_limiter.admit(call, &tell).await {
                Ok(permit) => return Ok(permit),
                Err(CollectError::CallLog { path, source }) => (path, source),
                Err(error) => return Err(CallError::Fatal(error)),
            };
            if system::is_disk_full(&source) {
                if !std::mem::replace(&mut told, true) {
                    self.counters.notify(format!(
                        "no room for the call log {}: calls wait until there is",
                        path.display()
                    ));
                }
                tokio::time::sleep(system::DISK_CHECK_INTERVAL).await;
            } else if source.kind() == io::ErrorKind::InvalidData {
                let notice = self.rate_limiter.check_log().map_err(CallError::Fatal)?;
                notice
                    .into_iter()
                    .for_each(|text| self.counters.notify(text));
            } else {
                return Err(CallError::Fatal(CollectError::CallLog { path, source }));
            }
        }
    }

    /// Sends what was admitted.
    pub async fn send(
        &self,
        ask: &ApiRequest,
        permit: CallPermit,
        token: &Secret,
    ) -> Result<ApiResponse, CallError> {
        let client = self.http.client(&ask.url).map_err(CallError::Fatal)?;
        let sent_at = self.clock.now();
        let mut request = client
            .request(ask.method.clone(), ask.url.clone())
            .bearer_auth(token.expose())
            .timeout(self.call_timeout);
        if let Some(payload) = &ask.payload {
            request = request
                .header(CONTENT_TYPE, &payload.content_type)
                .body(payload.bytes.clone());
        }
        let response = match request.send().await.map_err(http::transport_error) {
            Ok(response) => response,
            Err(fault) if fault.is_unsent => {
                permit.release_unused();
                return Err(self.connection_failed(fault));
            }
            Err(fault) => {
                permit.complete();
                return Err(CallError::Interrupted(fault.text));
            }
        };
        let status = response.status().as_u16();
        let date = http::date(&response);
        let retry_after = http::retry_after(&response);
        let body = http::read_bounded(response, ask.max).await;
        permit.complete();
        self.outage.record_success();
        let body = body.map_err(|unread| match unread {
            BodyReadError::Interrupted(fault) => CallError::Interrupted(fault.text),
            BodyReadError::TooLong => {
                CallError::Unexpected(format!("longer than {} bytes", ask.max))
            }
        })?;
        match status {
            200..=299 => Ok(ApiResponse {
                body,
                date,
                sent_at,
            }),
            429 => {
                self.counters.update(|report| report.throttled += 1);
                self.rate_limiter.block(ask.call, retry_after).await;
                Err(CallError::Throttled)
            }
            _ => Err(CallError::Service(ServiceError::read(status, &body))),
        }
    }

    fn connection_failed(&self, fault: TransportError) -> CallError {
        match self.outage.record_failure(self.clock) {
            OutageState::Started(until) => {
                self.counters.notify(format!(
                    "no connection to {}: {}; trying again at {}",
                    self.host,
                    fault.text,
                    until.timestamp()
                ));
                CallError::NoConnection(fault.text)
            }
            OutageState::Continues(_) => CallError::NoConnection(fault.text),
            OutageState::GaveUp => CallError::Fatal(CollectError::Transport {
                attempt: "reach the service",
                host: self.host.clone(),
                why: fault.text,
            }),
        }
    }
}

/// The call log's name: tenant and application own the budget, whichever host
/// of the service is asked. Emulators each have one of their own.
async fn log_name(
    settings: &CollectSettings,
    tokens: &TokenProvider,
) -> Result<String, CollectError> {
    let (tenant, client) = tokens.identity().await?;
    let (tenant, client) = (tenant.unwrap_or_default(), client.unwrap_or_default());
    let emulator = if http::is_loopback(&settings.api_base) {
        format!("{} x{}", settings.api_host(), settings.pace.time_scale)
    } else {
        String::new()
    };
    let identity = format!("{tenant}\n{client}\n{emulator}").to_ascii_lowercase();
    let digest = blake3::hash(identity.as_bytes()).to_hex();
    Ok(digest.chars().take(24).collect())
}
