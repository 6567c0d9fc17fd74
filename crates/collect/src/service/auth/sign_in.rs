//! Bearer tokens: obtained from the login host or from the caller, renewed
//! before they expire and after a 401.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use url::Url;

use crate::clock::{Clock, WallTime};
use crate::counters::CollectCounters;
use crate::error::{CollectError, clean};
use crate::progress::CollectProgress;
use crate::service::auth::certificate;
use crate::service::auth::jwt;
use crate::service::auth::jwt::TokenClaims;
use crate::service::auth::secret::Secret;
use crate::service::circuit_breaker::RetryForever;
use crate::service::host;
use crate::service::http;
use crate::service::http::{BodyReadError, SharedClients};
use crate::service::retry::{ErrorClass, RetryState};
use crate::settings::{CollectSettings, SignIn, TokenSource};
use crate::system;

/// A token response contains one token.
const RESPONSE_BYTES_MAX: usize = 256 * 1024;
/// Output of a token command.
const OUTPUT_BYTES_MAX: u64 = 256 * 1024;
/// A command may wait for a person to type a password.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);
/// The whole exchange with the login host.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(60);
/// A token is renewed this long before it expires, so that it does not expire
/// while a long list is read.
///
/// **Units**: service time.
const RENEW_BEFORE_EXPIRY: Duration = Duration::from_secs(300);

/// Provides the current bearer token.
pub(crate) struct TokenProvider {
    sign_in: SignIn,
    scope: String,
    token_url: Option<Url>,
    http: SharedClients,
    clock: Clock,
    /// Receives notices of retries. Without it, nothing is retried.
    counters: Option<Arc<CollectCounters>>,
    retry_forever: RetryForever,
    current: Mutex<Option<CachedToken>>,
    /// Locked by the task that obtains a token.
    renewing: tokio::sync::Mutex<()>,
}

struct CachedToken {
    value: Secret,
    renew_at: Option<WallTime>,
}

#[derive(Deserialize)]
struct TokenResponse {
    access_token: String,
    #[serde(default)]
    expires_in: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct TokenErrorResponse {
    #[serde(default)]
    error: String,
    #[serde(default)]
    error_description: String,
}

impl TokenProvider {
    pub(crate) fn new(
        settings: &CollectSettings,
        http: SharedClients,
        counters: Option<Arc<CollectCounters>>,
        retry_forever: RetryForever,
    ) -> Result<Self, CollectError> {
        let token_url = match &settings.sign_in {
            SignIn::Client { tenant, .. } | SignIn::Certificate { tenant, .. } => {
                Some(token_url(&settings.login_base, tenant)?)
            }
            SignIn::Token(_) => None,
        };
        Ok(Self {
            sign_in: settings.sign_in.clone(),
            scope: settings.scope(),
            token_url,
            http,
            clock: Clock::new(settings.pace.time_scale),
            counters,
            retry_forever,
            current: Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
        })
    }

    /// The token to send; a new one if the last one expires soon.
    pub(crate) async fn token(&self) -> Result<Secret, CollectError> {
        if let Some(token) = self.current_token() {
            return Ok(token);
        }
        let _renewing = self.renewing.lock().await;
        match self.current_token() {
            Some(token) => Ok(token),
            None => self.obtain().await,
        }
    }

    /// Whether a token is still the one to send.
    pub(crate) fn is_current(&self, token: &Secret) -> bool {
        self.current_token().as_ref() == Some(token)
    }

    fn current_token(&self) -> Option<Secret> {
        let now = self.clock.now();
        let current = self.lock_current();
        let token = current.as_ref()?;
        token
            .renew_at
            .is_none_or(|at| now < at)
            .then(|| token.value.clone())
    }

    fn lock_current(&self) -> MutexGuard<'_, Option<CachedToken>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Obtains another token after the service has rejected one. If several
    /// calls are rejected at once, the first renews the token for all.
    pub(crate) async fn renew(&self, rejected: &Secret) -> Result<Secret, CollectError> {
        let _renewing = self.renewing.lock().await;
        let current = self.lock_current().as_ref().map(|t| t.value.clone());
        match current {
            Some(token) if token != *rejected => Ok(token),
            _ => self.obtain().await,
        }
    }

    /// Tenant and application, from the token or else from the settings.
    pub(crate) async fn identity(&self) -> Result<(Option<String>, Option<String>), CollectError> {
        let claims: TokenClaims = jwt::read_claims(&self.token().await?).unwrap_or_default();
        let (tenant, application) = match &self.sign_in {
            SignIn::Client {
                tenant, client_id, ..
            }
            | SignIn::Certificate {
                tenant, client_id, ..
            } => (Some(tenant.clone()), Some(client_id.clone())),
            SignIn::Token(_) => (None, None),
        };
        Ok((claims.tenant.or(tenant), claims.application.or(application)))
    }

    async fn obtain(&self) -> Result<Secret, CollectError> {
        // At the start, the user waits for an error; later, an unreachable
        // host is an outage to be waited out.
        let class = match *self.lock_current() {
            Some(_) => ErrorClass::NoConnection,
            None => ErrorClass::SignIn,
        };
        let token = match &self.sign_in {
            SignIn::Client {
                client_id, secret, ..
            } => {
                let credential = ClientCredential::Secret(secret);
                self.sign_in(client_id, credential, class).await?
            }
            SignIn::Certificate {
                client_id, file, ..
            } => {
                let credential = ClientCredential::Certificate(file);
                self.sign_in(client_id, credential, class).await?
            }
            SignIn::Token(source) => CachedToken {
                value: read_token(source).await?,
                renew_at: None,
            },
        };
        let value = token.value.clone();
        *self.lock_current() = Some(token);
        Ok(value)
    }

    /// Requests a token, with the retries of `class`.
    async fn sign_in(
        &self,
        client_id: &str,
        credential: ClientCredential<'_>,
        class: ErrorClass,
    ) -> Result<CachedToken, CollectError> {
        let mut retries = RetryState::default();
        loop {
            let failure = match self.request_token(client_id, credential).await {
                Ok(token) => return Ok(token),
                Err(failure) => failure,
            };
            let is_transient = matches!(failure, SignInFailure::Transient(_));
            let error = self.error_of(failure);
            let forever = class == ErrorClass::NoConnection && self.retry_forever.get();
            let delay = retries.next_delay_or_longest(class, forever);
            let (Some(counters), Some(delay)) = (&self.counters, delay) else {
                return Err(error);
            };
            if !is_transient {
                return Err(error);
            }
            tracing::debug!(?class, delay_ms = delay.as_millis() as u64, "sign-in retry");
            counters.emit(CollectProgress::Notice(format!("{error}; trying again")));
            self.clock.sleep(delay).await;
        }
    }

    fn error_of(&self, failure: SignInFailure) -> CollectError {
        let host = self
            .token_url
            .as_ref()
            .map(host::host_and_port)
            .unwrap_or_default();
        match failure {
            SignInFailure::Credential(error) => error,
            SignInFailure::Permanent(why) => CollectError::SignIn { host, why },
            SignInFailure::Transient(why) => CollectError::Transport {
                attempt: "sign in",
                host,
                why,
            },
        }
    }

    async fn request_token(
        &self,
        client_id: &str,
        credential: ClientCredential<'_>,
    ) -> Result<CachedToken, SignInFailure> {
        let Some(url) = &self.token_url else {
            return Err(SignInFailure::Permanent("no login host".into()));
        };
        let client = self
            .http
            .client(url)
            .map_err(|e| SignInFailure::Permanent(e.to_string()))?;
        let (requested_at, began) = (self.clock.now(), Instant::now());
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("scope", &self.scope),
        ];
        let fields = credential
            .form_fields(client_id, url, requested_at)
            .map_err(SignInFailure::Credential)?;
        form.extend(fields.iter().map(|(name, value)| (*name, value.expose())));
        let response = client
            .post(url.clone())
            .timeout(SIGN_IN_TIMEOUT)
            .form(&form)
            .send()
            .await
            .map_err(|e| SignInFailure::Transient(http::transport_error(e).text))?;
        let status = response.status();
        let body = match http::read_bounded(response, RESPONSE_BYTES_MAX).await {
            Ok(body) => body,
            Err(BodyReadError::Interrupted(error)) => {
                return Err(SignInFailure::Transient(error.text));
            }
            Err(BodyReadError::TooLong) => {
                return Err(SignInFailure::Permanent("the response is too long".into()));
            }
        };
        http::trace_exchange("sign-in", status.as_u16(), began, body.len());
        if status.is_success() {
            return self.parse_token(&body, requested_at);
        }
        let why = format!("status {}{}", status.as_u16(), describe_denial(&body));
        Err(if status.is_server_error() || status.as_u16() == 429 {
            SignInFailure::Transient(why)
        } else {
            SignInFailure::Permanent(why)
        })
    }

    fn parse_token(
        &self,
        body: &[u8],
        requested_at: WallTime,
    ) -> Result<CachedToken, SignInFailure> {
        let response: TokenResponse = serde_json::from_slice(body).map_err(|_| {
            SignInFailure::Permanent("the response contains no access_token".into())
        })?;
        let lifetime = response
            .expires_in
            .and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok()))
            .map(Duration::from_secs);
        Ok(CachedToken {
            value: Secret::new(response.access_token),
            renew_at: lifetime.map(|lifetime| {
                let early = RENEW_BEFORE_EXPIRY.min(lifetime / 10);
                requested_at.after(self.clock.real(lifetime.saturating_sub(early)))
            }),
        })
    }
}

/// A token request without a token.
enum SignInFailure {
    /// No response, an incomplete one, 5xx or 429.
    Transient(String),
    Permanent(String),
    /// The secret or certificate cannot be used.
    Credential(CollectError),
}

/// Proof of the application's identity.
#[derive(Clone, Copy)]
enum ClientCredential<'a> {
    Secret(&'a Secret),
    Certificate(&'a Path),
}

impl ClientCredential<'_> {
    /// The form fields of the token request.
    fn form_fields(
        self,
        client_id: &str,
        endpoint: &Url,
        now: WallTime,
    ) -> Result<Vec<(&'static str, Secret)>, CollectError> {
        Ok(match self {
            Self::Secret(secret) => vec![("client_secret", secret.clone())],
            Self::Certificate(file) => vec![
                (
                    "client_assertion_type",
                    Secret::new(certificate::ASSERTION_TYPE),
                ),
                (
                    "client_assertion",
                    certificate::client_assertion(file, client_id, endpoint.as_str(), now)?,
                ),
            ],
        })
    }
}

fn token_url(login_base: &Url, tenant: &str) -> Result<Url, CollectError> {
    let base = login_base.as_str().trim_end_matches('/');
    Url::parse(&format!("{base}/{tenant}/oauth2/v2.0/token")).map_err(|e| CollectError::Setting {
        setting: "login base",
        why: e.to_string(),
    })
}

/// The error code and the first line of the description, such as
/// `invalid_client`.
fn describe_denial(body: &[u8]) -> String {
    let Ok(response) = serde_json::from_slice::<TokenErrorResponse>(body) else {
        return String::new();
    };
    let first_line = response.error_description.lines().next().unwrap_or("");
    [response.error.as_str(), first_line]
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| format!(", {}", clean(part)))
        .collect()
}

async fn read_token(source: &TokenSource) -> Result<Secret, CollectError> {
    match source {
        TokenSource::Ready(token) => Ok(token.clone()),
        TokenSource::File(path) => {
            let path = path.clone();
            tokio::task::spawn_blocking(move || Secret::from_file(&path))
                .await
                .map_err(|e| CollectError::Worker(e.to_string()))?
        }
        TokenSource::Command(line) => secret_from_command(line.expose()).await,
    }
}

/// Runs a command that prints a secret. Neither its output nor its error
/// output appears in an error.
pub async fn secret_from_command(line: &str) -> Result<Secret, CollectError> {
    let refuse = |why: String| CollectError::TokenCommand { why };
    let mut child = system::shell(line)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| refuse(e.to_string()))?;
    let output = child.stdout.take();
    let run = async {
        let mut text = String::new();
        if let Some(output) = output {
            output
                .take(OUTPUT_BYTES_MAX)
                .read_to_string(&mut text)
                .await?;
        }
        child.wait().await.map(|status| (status, text))
    };
    let (status, text) = tokio::time::timeout(COMMAND_TIMEOUT, run)
        .await
        .map_err(|_| refuse(format!("no end after {} s", COMMAND_TIMEOUT.as_secs())))?
        .map_err(|e| refuse(e.to_string()))?;
    if !status.success() {
        return Err(refuse(status.to_string()));
    }
    parse_secret(&text).ok_or_else(|| refuse("the output contains no secret".into()))
}

/// Parses a secret, or the JSON that `az account get-access-token` prints.
fn parse_secret(text: &str) -> Option<Secret> {
    let secret = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) if json.is_object() => ["accessToken", "access_token"]
            .iter()
            .find_map(|name| json[*name].as_str())
            .map(Secret::new)?,
        Ok(serde_json::Value::String(secret)) => Secret::new(secret),
        _ => Secret::new(text),
    };
    let is_usable = !secret.is_empty() && secret.expose().bytes().all(|b| b.is_ascii_graphic());
    is_usable.then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::clouds::Cloud;
    use crate::service::http::HttpClients;

    #[test]
    fn secret_is_parsed_from_text_quotes_and_json() {
        for text in ["abc.def\n", "\"abc.def\"", r#"{"accessToken":"abc.def"}"#] {
            assert_eq!(parse_secret(text), Some(Secret::new("abc.def")), "{text}");
        }
        for text in ["", "two words", "{}"] {
            assert_eq!(parse_secret(text), None, "{text}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn failed_command_shows_its_exit_code_but_no_output() {
        let token = secret_from_command("printf abc.def").await.unwrap();
        assert_eq!(token, Secret::new("abc.def"));
        let error = secret_from_command("printf eyJsecret; exit 3").await;
        let error = error.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains('3') && !text.contains("eyJ"), "{text}");
    }

    #[tokio::test]
    async fn token_with_an_endless_lifetime_is_accepted() {
        let unreachable = Some("http://127.0.0.1:1");
        let settings = CollectSettings::new(
            Cloud::Commercial,
            unreachable,
            unreachable,
            SignIn::Token(TokenSource::Ready(Secret::new("x"))),
            "s".into(),
        )
        .unwrap();
        let http = Arc::new(HttpClients::new(None, settings.timeouts).unwrap());
        let tokens = TokenProvider::new(&settings, http, None, RetryForever::default()).unwrap();
        let body = br#"{"access_token":"a","expires_in":18446744073709551615}"#;
        let Ok(token) = tokens.parse_token(body, tokens.clock.now()) else {
            panic!("the response contains a token");
        };
        *tokens.lock_current() = Some(token);
        assert!(tokens.is_current(&Secret::new("a")) && !tokens.is_current(&Secret::new("b")));
    }
}
