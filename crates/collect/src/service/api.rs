//! Calls of the Defender API: each with its token, its rate limit and its
//! classified response. Error texts contain no address other than the host.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use url::Url;

use crate::api_call::ApiCall;
use crate::clock::{Clock, WallTime};
use crate::counters::CollectCounters;
use crate::error::{CollectError, ServiceError};
use crate::service::auth::secret::Secret;
use crate::service::auth::sign_in::TokenProvider;
use crate::service::circuit_breaker::{CircuitBreaker, OutageState, RetryForever};
use crate::service::host;
use crate::service::http;
use crate::service::http::{BodyReadError, HttpClients, SharedClients, TransportError};
use crate::service::links::{DownloadLink, LinkError};
use crate::service::list;
use crate::service::rate_limit::{CallPermit, RateLimiter};
use crate::service::retry::{ErrorClass, RetryState};
use crate::settings::CollectSettings;
use crate::system;
use evidence::{ActionId, ResultKey};

/// A page has at most 10,000 actions of a few KiB each.
const PAGE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// A response with one action: larger than any action that is stored.
const ACTION_BYTES_MAX: usize = 2 * list::ACTION_BYTES_MAX;
/// A response with one link.
const LINK_BYTES_MAX: usize = 256 * 1024;
/// Tokens tried for a call. The second may be revoked as soon as the first was
/// renewed; a third rejection is final.
const TOKENS_MAX: u32 = 3;

/// The API of one tenant.
pub(crate) struct Api {
    pub base: Url,
    pub host: String,
    pub http: SharedClients,
    pub tokens: TokenProvider,
    pub rate_limiter: Arc<RateLimiter>,
    pub clock: Clock,
    /// **Units**: real time.
    pub call_timeout: Duration,
    pub counters: Arc<CollectCounters>,
    pub breaker: CircuitBreaker,
    pub retry_forever: RetryForever,
}

/// A successful response.
pub(crate) struct ApiResponse {
    pub body: Vec<u8>,
    /// The service's clock.
    pub date: Option<Timestamp>,
    /// Our clock when the request was sent.
    pub sent_at: WallTime,
}

/// A failed call.
#[derive(Debug)]
pub(crate) enum CallError {
    /// 429. The rate limiter is already updated.
    Throttled,
    /// Any other error response.
    Service(ServiceError),
    /// The connection broke after the request may have been sent.
    Interrupted(String),
    /// No connection was made. The circuit breaker is already updated.
    NoConnection(String),
    /// An unexpected response.
    Unexpected(String),
    /// A response without a usable link.
    InvalidLink(LinkError),
    /// No further call can succeed.
    Fatal(CollectError),
}

impl CallError {
    /// The error class, if another attempt may help.
    pub(crate) fn error_class(&self) -> Option<ErrorClass> {
        match self {
            Self::Throttled => Some(ErrorClass::Throttled),
            Self::Interrupted(_) => Some(ErrorClass::Interrupted),
            Self::Unexpected(_) => Some(ErrorClass::Server),
            Self::NoConnection(_) => Some(ErrorClass::NoConnection),
            Self::Service(e) if e.status >= 500 || e.status == 408 => Some(ErrorClass::Server),
            _ => None,
        }
    }

    /// The error that ends the collection.
    pub(crate) fn into_fatal(self, call: ApiCall, host: &str) -> CollectError {
        let transport = |why| CollectError::Transport {
            attempt: call.description(),
            host: host.to_string(),
            why,
        };
        match self {
            Self::Fatal(error) => error,
            Self::Service(service) => CollectError::Service {
                call,
                host: host.to_string(),
                service,
            },
            Self::Throttled => transport("throttled on every attempt (429)".into()),
            Self::Interrupted(why) | Self::NoConnection(why) => transport(why),
            Self::Unexpected(why) => CollectError::Response { call, why },
            Self::InvalidLink(error) => CollectError::Response {
                call,
                why: error.to_string(),
            },
        }
    }
}

/// A request without its token.
#[derive(Clone)]
pub(crate) struct ApiRequest {
    pub call: ApiCall,
    pub method: Method,
    pub url: Url,
    pub body: Option<RequestBody>,
    /// Limit of the response body.
    ///
    /// **Units**: bytes.
    pub response_max: usize,
}

#[derive(Clone)]
pub(crate) struct RequestBody {
    pub content_type: String,
    pub bytes: Bytes,
}

impl ApiRequest {
    pub(crate) fn get(call: ApiCall, url: Url) -> Self {
        let response_max = match call {
            ApiCall::Link | ApiCall::PackageLink => LINK_BYTES_MAX,
            ApiCall::Run | ApiCall::Action | ApiCall::Cancel | ApiCall::Package => ACTION_BYTES_MAX,
            ApiCall::List | ApiCall::Machines | ApiCall::Library => PAGE_BYTES_MAX,
        };
        Self {
            call,
            method: Method::GET,
            url,
            body: None,
            response_max,
        }
    }

    pub(crate) fn post(call: ApiCall, url: Url, json: Vec<u8>) -> Self {
        Self {
            method: Method::POST,
            body: Some(RequestBody {
                content_type: "application/json".into(),
                bytes: json.into(),
            }),
            ..Self::get(call, url)
        }
    }
}

impl Api {
    /// Signs in and opens the call log. Notices for the user go to `counters`.
    pub(crate) async fn open(
        settings: &CollectSettings,
        counters: Arc<CollectCounters>,
    ) -> Result<Self, CollectError> {
        let clock = Clock::new(settings.pace.time_scale);
        let http = Arc::new(HttpClients::new(
            settings.ca_file.as_deref(),
            settings.timeouts,
        )?);
        let retry_forever = RetryForever::default();
        let tokens = TokenProvider::new(
            settings,
            http.clone(),
            Some(counters.clone()),
            retry_forever.clone(),
        )?;
        let log_name = call_log_name(settings, &tokens).await?;
        let (rate_limiter, notice) = RateLimiter::open(
            clock,
            settings.pace.limits_lifted,
            settings.timeouts.call,
            &settings.state_dir,
            &log_name,
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
            breaker: CircuitBreaker::new(retry_forever.clone()),
            retry_forever,
        })
    }

    /// The address of an API path, such as `machines`.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let prefix = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{prefix}/api/{path}"));
        url
    }

    pub(crate) async fn fetch_page(&self, url: &Url) -> Result<ApiResponse, CallError> {
        self.call(&ApiRequest::get(ApiCall::List, url.clone()))
            .await
    }

    /// Requests the link of a result. This call has the scarcest rate limit.
    pub(crate) async fn request_link(&self, key: ResultKey) -> Result<DownloadLink, CallError> {
        let path = format!(
            "machineactions/{}/GetLiveResponseResultDownloadLink(index={})",
            key.action, key.index
        );
        let link = self.link_at(ApiCall::Link, &path).await;
        tracing::debug!(
            action = %key.action,
            command = key.index.0,
            granted = link.is_ok(),
            "link requested"
        );
        link
    }

    /// Requests the link of an investigation package.
    pub(crate) async fn request_package_link(
        &self,
        action: ActionId,
    ) -> Result<DownloadLink, CallError> {
        let path = format!("machineactions/{action}/getPackageUri");
        let link = self.link_at(ApiCall::PackageLink, &path).await;
        tracing::debug!(%action, granted = link.is_ok(), "package link requested");
        link
    }

    async fn link_at(&self, call: ApiCall, path: &str) -> Result<DownloadLink, CallError> {
        let response = self.call(&ApiRequest::get(call, self.url(path))).await?;
        DownloadLink::parse(&response.body, response.date, response.sent_at, self.clock)
            .map_err(CallError::InvalidLink)
    }

    /// Sends a request. A 401 means that nothing was done, so the request is
    /// repeated with another token.
    pub(crate) async fn call(&self, request: &ApiRequest) -> Result<ApiResponse, CallError> {
        for _ in 0..TOKENS_MAX {
            let (permit, token) = self.acquire(request.call).await?;
            match self.send(request, permit, &token).await {
                Err(CallError::Service(e)) if e.status == 401 => {
                    self.tokens.renew(&token).await.map_err(CallError::Fatal)?;
                }
                result => return result,
            }
        }
        Err(CallError::Fatal(CollectError::TokenSpent))
    }

    /// Sends a request that must not be processed twice. It is repeated only
    /// after a 429, which means that nothing was done.
    pub(crate) async fn call_non_idempotent(
        &self,
        request: &ApiRequest,
    ) -> Result<ApiResponse, CallError> {
        let mut retries = RetryState::default();
        loop {
            match self.call(request).await {
                Err(CallError::Throttled) => match retries.next_delay(ErrorClass::Throttled) {
                    Some(delay) => self.clock.sleep(delay).await,
                    None => return Err(CallError::Throttled),
                },
                result => return result,
            }
        }
    }

    /// Sends a request that may be repeated, with retries.
    pub(crate) async fn call_with_retries(
        &self,
        request: &ApiRequest,
    ) -> Result<ApiResponse, CallError> {
        let mut retries = RetryState::default();
        loop {
            let error = match self.call(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let Some(class) = error.error_class() else {
                return Err(error);
            };
            let Some(delay) = retries.next_delay(class) else {
                return Err(error);
            };
            tracing::debug!(
                call = request.call.as_str(),
                ?class,
                delay_ms = delay.as_millis() as u64,
                "retry scheduled"
            );
            self.clock.sleep(delay).await;
        }
    }

    /// Waits until a call may be sent, and returns a token that is valid then.
    ///
    /// The wait may be longer than the lifetime of a token. If the token
    /// expires meanwhile, the permit is returned: the call would be sent later
    /// than it was logged.
    pub(crate) async fn acquire(&self, call: ApiCall) -> Result<(CallPermit, Secret), CallError> {
        let mut tokens = 0;
        loop {
            let token = self.tokens.token().await.map_err(CallError::Fatal)?;
            let permit = self.admit(call).await?;
            tokens += 1;
            // A token with a shorter lifetime than the wait is used as it is.
            if self.tokens.is_current(&token) || tokens >= TOKENS_MAX {
                return Ok((permit, token));
            }
            permit.release_unused();
        }
    }

    /// Waits until a call may be sent.
    pub(crate) async fn admit(&self, call: ApiCall) -> Result<CallPermit, CallError> {
        self.breaker.wait(self.clock).await;
        let on_wait = |until| self.counters.record_wait(call, self.clock.now(), until);
        let mut is_disk_full_reported = false;
        loop {
            let (path, source) = match self.rate_limiter.admit(call, &on_wait).await {
                Ok(permit) => return Ok(permit),
                Err(CollectError::CallLog { path, source }) => (path, source),
                Err(error) => return Err(CallError::Fatal(error)),
            };
            if system::is_disk_full(&source) {
                if !std::mem::replace(&mut is_disk_full_reported, true) {
                    self.counters.notify(format!(
                        "no space for the call log {}: calls wait until there is",
                        path.display()
                    ));
                }
                tokio::time::sleep(system::DISK_CHECK_INTERVAL).await;
            } else if source.kind() == io::ErrorKind::InvalidData {
                let notice = self.rate_limiter.check_log().map_err(CallError::Fatal)?;
                if let Some(notice) = notice {
                    self.counters.notify(notice);
                }
            } else {
                return Err(CallError::Fatal(CollectError::CallLog { path, source }));
            }
        }
    }

    /// Sends an admitted request.
    pub(crate) async fn send(
        &self,
        request: &ApiRequest,
        permit: CallPermit,
        token: &Secret,
    ) -> Result<ApiResponse, CallError> {
        let client = self.http.client(&request.url).map_err(CallError::Fatal)?;
        let (sent_at, began) = (self.clock.now(), Instant::now());
        let mut builder = client
            .request(request.method.clone(), request.url.clone())
            .bearer_auth(token.expose())
            .timeout(self.call_timeout);
        if let Some(body) = &request.body {
            builder = builder
                .header(CONTENT_TYPE, &body.content_type)
                .body(body.bytes.clone());
        }
        let response = match builder.send().await.map_err(http::transport_error) {
            Ok(response) => response,
            Err(error) if error.is_unsent => {
                permit.release_unused();
                return Err(self.connection_failed(error));
            }
            Err(error) => {
                permit.complete();
                return Err(CallError::Interrupted(error.text));
            }
        };
        let status = response.status().as_u16();
        let date = http::date(&response);
        let retry_after = http::retry_after(&response);
        let body = http::read_bounded(response, request.response_max).await;
        permit.complete();
        self.breaker.record_success();
        let body = body.map_err(|error| match error {
            BodyReadError::Interrupted(error) => CallError::Interrupted(error.text),
            BodyReadError::TooLong => {
                CallError::Unexpected(format!("longer than {} bytes", request.response_max))
            }
        })?;
        http::trace_exchange(request.call.as_str(), status, began, body.len());
        match status {
            200..=299 => Ok(ApiResponse {
                body,
                date,
                sent_at,
            }),
            429 => {
                self.counters.update(|report| report.throttled += 1);
                self.rate_limiter.block(request.call, retry_after).await;
                Err(CallError::Throttled)
            }
            _ => Err(CallError::Service(ServiceError::parse(status, &body))),
        }
    }

    /// Records a failed connection to the API host.
    fn connection_failed(&self, error: TransportError) -> CallError {
        match self.breaker.record_failure(self.clock) {
            OutageState::Started(until) => {
                self.counters.notify(format!(
                    "no connection to {}: {}; next attempt at {}",
                    self.host,
                    error.text,
                    until.timestamp()
                ));
                CallError::NoConnection(error.text)
            }
            OutageState::Continues(_) => CallError::NoConnection(error.text),
            OutageState::GaveUp => CallError::Fatal(CollectError::Transport {
                attempt: "reach the service",
                host: self.host.clone(),
                why: error.text,
            }),
        }
    }
}

/// Name of the call log. Rate limits apply to a tenant and application on all
/// hosts of the service; each emulator has its own.
async fn call_log_name(
    settings: &CollectSettings,
    tokens: &TokenProvider,
) -> Result<String, CollectError> {
    let (tenant, client) = tokens.identity().await?;
    let (tenant, client) = (tenant.unwrap_or_default(), client.unwrap_or_default());
    let emulator = if host::is_loopback(&settings.api_base) {
        format!("{} x{}", settings.api_host(), settings.pace.time_scale)
    } else {
        String::new()
    };
    let identity = format!("{tenant}\n{client}\n{emulator}").to_ascii_lowercase();
    let digest = blake3::hash(identity.as_bytes()).to_hex();
    Ok(digest.chars().take(24).collect())
}
