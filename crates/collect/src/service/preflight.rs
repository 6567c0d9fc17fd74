//! Looks before the first call at what a run will need, and says what is
//! wrong in words. Only the service's own refusal stops a run.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use serde::Serialize;

use crate::clock::{Clock, between};
use crate::service::auth::jwt;
use crate::service::auth::jwt::{DOWNLOAD_PERMISSIONS, LIST_PERMISSIONS};
use crate::service::auth::sign_in::TokenProvider;
use crate::service::circuit_breaker::RetryForever;
use crate::service::http;
use crate::service::http::HttpClients;
use crate::service::list;
use crate::{CollectError, CollectSettings, Secret, ServiceError};

/// Life left is counted by the server's clock, but times in the report are
/// ours: more than this confuses a timeline.
const SKEW_SECONDS_MAX: i64 = 120;
/// A result may have 3 GB.
const ROOM_WISHED: u64 = 4 * 1024 * 1024 * 1024;
/// A service that holds calls back for longer is not waited for: a person
/// looks on.
///
/// **Units**: service time.
const THROTTLED_WAIT_MAX: Duration = Duration::from_secs(60);
/// Enough of an error to explain it.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    Ok,
    Warn,
    Fail,
}

/// One thing looked at.
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
            ..Self::new(what, CheckState::Fail, full_text(error))
        }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Tries what a run needs: sign-in, permissions, host, clock, room. `room` is
/// what the archive's disk has free, where known. Costs one list call, two
/// where the service holds the first back, not counted in the call log.
pub async fn check(settings: &CollectSettings, room: Option<u64>) -> Vec<CheckLine> {
    let mut lines = Vec::new();
    if let Err(error) = look(settings, &mut lines).await {
        let what = match error {
            CollectError::Setting { .. }
            | CollectError::CaFile { .. }
            | CollectError::PlainHttp { .. } => "settings",
            _ => "sign-in",
        };
        lines.push(CheckLine::failed(what, &error));
    }
    lines.push(disk(room));
    lines
}

async fn look(settings: &CollectSettings, lines: &mut Vec<CheckLine>) -> Result<(), CollectError> {
    settings.validate()?;
    let clock = Clock::new(settings.pace.time_scale);
    let http = Arc::new(HttpClients::new(
        settings.ca_file.as_deref(),
        settings.timeouts,
    )?);
    let tokens = TokenProvider::new(settings, http.clone(), clock, None, RetryForever::default())?;
    let token = tokens.token().await?;
    lines.push(CheckLine::ok("sign-in", "a token was granted"));
    lines.push(permissions(&token));
    host(settings, &http, clock, &token, lines).await;
    Ok(())
}

/// What a token seems to lack, in a sentence; nothing where it cannot be read.
pub(crate) fn missing_permissions(token: &Secret) -> Option<String> {
    jwt::read_claims(token)?;
    let line = permissions(token);
    let hint = line.hint?;
    (line.state == CheckState::Warn).then(|| format!("{}: {hint}", line.message))
}

fn permissions(token: &Secret) -> CheckLine {
    let Some(claims) = jwt::read_claims(token) else {
        return CheckLine::warn(
            "permissions",
            "the token cannot be read, so they are unknown",
        );
    };
    let (list, link) = (
        claims.has_any(LIST_PERMISSIONS),
        claims.has_any(DOWNLOAD_PERMISSIONS),
    );
    let held = if claims.permissions.is_empty() {
        "none".to_string()
    } else {
        crate::error::clean(&claims.permissions.join(", "))
    };
    match (list, link) {
        (_, true) => CheckLine::ok("permissions", format!("the token holds {held}")),
        (true, false) => CheckLine::warn(
            "permissions",
            format!("Machine.ReadWrite.All seems missing; the token holds {held}"),
        )
        .with_hint("the newest API page asks for it to fetch results; older tenants need Machine.Read.All alone"),
        (false, false) => CheckLine::warn(
            "permissions",
            format!("Machine.Read.All and Machine.ReadWrite.All seem missing; the token holds {held}"),
        )
        .with_hint("grant the application both and consent to them; with Machine.LiveResponse alone every command looks empty"),
    }
}

async fn host(
    settings: &CollectSettings,
    http: &HttpClients,
    clock: Clock,
    token: &Secret,
    lines: &mut Vec<CheckLine>,
) {
    let base = &settings.api_base;
    let Some(mut url) = list::first_page_urls(base, &settings.filter, list::ListWindow::default())
        .into_iter()
        .next()
    else {
        return;
    };
    let query = url.query().unwrap_or("").to_string();
    url.set_query(Some(&format!("{query}&$top=1")));
    let client = match http.client(&url) {
        Ok(client) => client,
        Err(error) => return lines.push(CheckLine::failed("host", &error)),
    };
    let ask = || {
        let request = client.get(url.clone()).bearer_auth(token.expose());
        request.timeout(settings.timeouts.call).send()
    };
    let mut answer = ask().await;
    if let Ok(throttled) = &answer
        && throttled.status() == StatusCode::TOO_MANY_REQUESTS
        && let Some(wait) = http::retry_after(throttled)
        && wait <= THROTTLED_WAIT_MAX
    {
        clock.sleep(wait).await;
        answer = ask().await;
    }
    let host = settings.api_host();
    let response = match answer.map_err(http::transport_error) {
        Ok(response) => response,
        Err(fault) => {
            let error = CollectError::Transport {
                attempt: "list actions",
                host,
                why: fault.text,
            };
            lines.push(CheckLine::failed("host", &error));
            return;
        }
    };
    let (status, date) = (response.status(), http::date(&response));
    let body = http::read_bounded(response, ANSWER_BYTES_MAX).await;
    lines.push(if status.is_success() {
        CheckLine::ok("host", format!("{host} lists actions"))
    } else if status == StatusCode::TOO_MANY_REQUESTS {
        CheckLine::warn("host", format!("{host} holds calls back for now (429)"))
            .with_hint("something else uses up the application's calls; collecting waits and goes on by itself")
    } else {
        let error = CollectError::Service {
            call: "list actions",
            host,
            service: ServiceError::read(status.as_u16(), &body.unwrap_or_else(|_| Vec::new())),
        };
        CheckLine::failed("host", &error)
    });
    lines.push(skew(date, settings.pace.time_scale));
}

fn skew(date: Option<Timestamp>, scale: f64) -> CheckLine {
    let now = Timestamp::now();
    let Some(date) = date else {
        return CheckLine::warn("clock", "the host does not say its time");
    };
    if scale > 1.0 {
        return CheckLine::ok("clock", "time is sped up: not compared");
    }
    let (apart, side) = match between(now, date) {
        Some(behind) => (behind, "behind"),
        None => (between(date, now).unwrap_or_default(), "ahead of"),
    };
    let seconds = apart.as_secs();
    let message = format!("this machine is {seconds} s {side} the host");
    if i64::try_from(seconds).unwrap_or(i64::MAX) > SKEW_SECONDS_MAX {
        CheckLine::warn("clock", message)
            .with_hint("links are timed by the host's clock, so collecting works; set this one right for the record")
    } else {
        CheckLine::ok("clock", message)
    }
}

fn disk(room: Option<u64>) -> CheckLine {
    let gigabytes = |bytes: u64| bytes as f64 / 1e9;
    match room {
        None => CheckLine::warn("disk", "how much room there is cannot be told"),
        Some(room) if room < ROOM_WISHED => CheckLine::warn(
            "disk",
            format!("{:.1} GB free; one result may have 3", gigabytes(room)),
        )
        .with_hint("a full disk pauses collecting; make room and it goes on"),
        Some(room) => CheckLine::ok("disk", format!("{:.1} GB free", gigabytes(room))),
    }
}

/// An error with its causes.
fn full_text(error: &CollectError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
