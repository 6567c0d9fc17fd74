//! Preflight check: tries everything that a collection needs and reports each
//! problem with a hint.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::{Response, StatusCode};
use serde::Serialize;

use crate::api_call::ApiCall;
use crate::clock::{Clock, between};
use crate::error::{CollectError, ServiceError, clean};
use crate::service::auth::jwt;
use crate::service::auth::jwt::{DOWNLOAD_PERMISSIONS, LIST_PERMISSIONS};
use crate::service::auth::secret::Secret;
use crate::service::auth::sign_in::TokenProvider;
use crate::service::circuit_breaker::RetryForever;
use crate::service::http;
use crate::service::http::{HttpClients, TransportError};
use crate::service::list;
use crate::service::list::ListWindow;
use crate::settings::CollectSettings;

/// Largest difference between the clocks without a warning. Links are timed by
/// the server's clock, but the times in a record are ours.
const SKEW_SECONDS_MAX: u64 = 120;
/// Free space without a warning. One result may have 3 GB.
const FREE_BYTES_RECOMMENDED: u64 = 4 * 1024 * 1024 * 1024;
/// Longest `Retry-After` that is waited for: a person waits for the check.
///
/// **Units**: service time.
const THROTTLED_WAIT_MAX: Duration = Duration::from_secs(60);
/// Largest response that is read.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Outcome of one check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CheckLine {
    /// `settings`, `sign-in`, `permissions`, `host`, `clock`, `disk`.
    pub what: &'static str,
    pub state: CheckState,
    pub message: String,
    pub hint: Option<String>,
}

impl CheckLine {
    fn new(what: &'static str, state: CheckState, message: impl Into<String>) -> Self {
        Self {
            what,
            state,
            message: message.into(),
            hint: None,
        }
    }

    fn ok(what: &'static str, message: impl Into<String>) -> Self {
        Self::new(what, CheckState::Ok, message)
    }

    fn warn(what: &'static str, message: impl Into<String>) -> Self {
        Self::new(what, CheckState::Warn, message)
    }

    fn failed(what: &'static str, error: &CollectError) -> Self {
        Self {
            hint: error.hint().map(str::to_string),
            ..Self::new(what, CheckState::Fail, text_with_causes(error))
        }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Checks settings, sign-in, permissions, host, clock and disk. `free_bytes` is
/// the free space on the archive's disk, if known.
///
/// **Cost**: one list call, or two if the first is throttled. They are not
/// counted in the call log.
pub async fn check(settings: &CollectSettings, free_bytes: Option<u64>) -> Vec<CheckLine> {
    let mut lines = Vec::new();
    if let Err(error) = check_service(settings, &mut lines).await {
        let what = match error {
            CollectError::Setting { .. }
            | CollectError::CaFile { .. }
            | CollectError::PlainHttp { .. } => "settings",
            _ => "sign-in",
        };
        lines.push(CheckLine::failed(what, &error));
    }
    lines.push(check_disk(free_bytes));
    lines
}

async fn check_service(
    settings: &CollectSettings,
    lines: &mut Vec<CheckLine>,
) -> Result<(), CollectError> {
    settings.validate()?;
    let http = Arc::new(HttpClients::new(
        settings.ca_file.as_deref(),
        settings.timeouts,
    )?);
    let tokens = TokenProvider::new(settings, http.clone(), None, RetryForever::default())?;
    let token = tokens.token().await?;
    lines.push(CheckLine::ok("sign-in", "token granted"));
    lines.push(check_permissions(&token));
    check_host(settings, &http, &token, lines).await;
    Ok(())
}

/// Describes the permissions that a token seems to lack; `None` if it lacks
/// none or is not a readable JWT.
pub(crate) fn missing_permissions(token: &Secret) -> Option<String> {
    jwt::read_claims(token)?;
    let line = check_permissions(token);
    let hint = line.hint?;
    (line.state == CheckState::Warn).then(|| format!("{}: {hint}", line.message))
}

fn check_permissions(token: &Secret) -> CheckLine {
    let Some(claims) = jwt::read_claims(token) else {
        return CheckLine::warn("permissions", "unknown: the token is not a readable JWT");
    };
    let granted = if claims.permissions.is_empty() {
        "none".to_string()
    } else {
        clean(&claims.permissions.join(", "))
    };
    if claims.has_any(DOWNLOAD_PERMISSIONS) {
        CheckLine::ok(
            "permissions",
            format!("permissions of the token: {granted}"),
        )
    } else if claims.has_any(LIST_PERMISSIONS) {
        CheckLine::warn(
            "permissions",
            format!(
                "Machine.ReadWrite.All seems to be missing; permissions of the token: {granted}"
            ),
        )
        .with_hint("the current API page requires it to download results; older tenants need Machine.Read.All only")
    } else {
        CheckLine::warn(
            "permissions",
            format!(
                "Machine.Read.All and Machine.ReadWrite.All seem to be missing; permissions of the token: {granted}"
            ),
        )
        .with_hint("grant both to the application and consent to them; with Machine.LiveResponse only, every command seems to have no result")
    }
}

/// Lists one action, and compares the clocks by the response.
async fn check_host(
    settings: &CollectSettings,
    http: &HttpClients,
    token: &Secret,
    lines: &mut Vec<CheckLine>,
) {
    let host = settings.api_host();
    let response = match list_one_action(settings, http, token).await {
        Ok(response) => response,
        Err(error) => return lines.push(CheckLine::failed("host", &error)),
    };
    let (status, date) = (response.status(), http::date(&response));
    let body = http::read_bounded(response, RESPONSE_BYTES_MAX).await;
    lines.push(if status.is_success() {
        CheckLine::ok("host", format!("{host} lists actions"))
    } else if status == StatusCode::TOO_MANY_REQUESTS {
        CheckLine::warn("host", format!("{host} throttles calls at the moment (429)")).with_hint(
            "another program uses the calls of this application; collecting waits and then continues",
        )
    } else {
        let error = CollectError::Service {
            call: ApiCall::List,
            host,
            service: ServiceError::parse(status.as_u16(), &body.unwrap_or_else(|_| Vec::new())),
        };
        CheckLine::failed("host", &error)
    });
    lines.push(check_clock(date, settings.pace.time_scale));
}

/// Requests a list of one action, again if the first request is throttled for
/// a short time.
async fn list_one_action(
    settings: &CollectSettings,
    http: &HttpClients,
    token: &Secret,
) -> Result<Response, CollectError> {
    let unreachable = |error: TransportError| CollectError::Transport {
        attempt: ApiCall::List.description(),
        host: settings.api_host(),
        why: error.text,
    };
    let base = &settings.api_base;
    let mut url = list::first_page_urls(base, &settings.filter, ListWindow::default())
        .into_iter()
        .next()
        .unwrap_or_else(|| base.clone());
    let query = url.query().unwrap_or("").to_string();
    url.set_query(Some(&format!("{query}&$top=1")));
    let client = http.client(&url)?;
    let request = async || {
        let began = Instant::now();
        let response = client
            .get(url.clone())
            .bearer_auth(token.expose())
            .timeout(settings.timeouts.call)
            .send()
            .await
            .map_err(|e| unreachable(http::transport_error(e)))?;
        http::trace_exchange("check", response.status().as_u16(), began, 0);
        Ok(response)
    };
    let response = request().await?;
    match http::retry_after(&response) {
        Some(wait)
            if response.status() == StatusCode::TOO_MANY_REQUESTS && wait <= THROTTLED_WAIT_MAX =>
        {
            Clock::new(settings.pace.time_scale).sleep(wait).await;
            request().await
        }
        _ => Ok(response),
    }
}

fn check_clock(date: Option<Timestamp>, time_scale: f64) -> CheckLine {
    let now = Timestamp::now();
    let Some(date) = date else {
        return CheckLine::warn("clock", "the response of the host has no date");
    };
    if time_scale > 1.0 {
        return CheckLine::ok("clock", "not compared because of the time scale");
    }
    let (difference, direction) = match between(now, date) {
        Some(difference) => (difference, "behind"),
        None => (between(date, now).unwrap_or_default(), "ahead of"),
    };
    let seconds = difference.as_secs();
    let message = format!("the clock of this machine is {seconds} s {direction} the host");
    if seconds > SKEW_SECONDS_MAX {
        CheckLine::warn("clock", message).with_hint(
            "collecting works, because links are timed by the clock of the host; set this clock for correct times in the record",
        )
    } else {
        CheckLine::ok("clock", message)
    }
}

fn check_disk(free_bytes: Option<u64>) -> CheckLine {
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    match free_bytes {
        None => CheckLine::warn("disk", "the free space is unknown"),
        Some(free) if free < FREE_BYTES_RECOMMENDED => CheckLine::warn(
            "disk",
            format!("{:.1} GB free; one result may have 3 GB", gigabytes(free)),
        )
        .with_hint("a full disk pauses collecting until there is space"),
        Some(free) => CheckLine::ok("disk", format!("{:.1} GB free", gigabytes(free))),
    }
}

/// The message of an error and of its causes.
fn text_with_causes(error: &CollectError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
