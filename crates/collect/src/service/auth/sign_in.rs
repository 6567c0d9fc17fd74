//! Bearer tokens: got, renewed before they end and once on a 401.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncReadExt;
use url::Url;

use crate::clock::{Clock, WallTime};
use crate::counters::CollectCounters;
use crate::error::clean;
use crate::service::auth::certificate;
use crate::service::auth::jwt;
use crate::service::auth::jwt::TokenClaims;
use crate::service::circuit_breaker::RetryForever;
use crate::service::http;
use crate::service::http::{BodyReadError, SharedClients};
use crate::service::retry::{ErrorClass, RetryState};
use crate::system;
use crate::{CollectError, CollectProgress, CollectSettings, Secret, SignIn, TokenSource};

/// A token answer holds one token.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// What a token command may print.
const OUTPUT_BYTES_MAX: u64 = 256 * 1024;
/// A command that waits for a person's password has that long.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(120);
/// The whole exchange with the login host.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(60);
/// Renewed this long before its end, service time: a list of many pages under
/// way should not meet the end.
const RENEW_BEFORE: Duration = Duration::from_secs(300);

pub(crate) struct TokenProvider {
    sign_in: SignIn,
    scope: String,
    token_url: Option<Url>,
    http: SharedClients,
    clock: Clock,
    /// Hears of waiting for the login host; without it nobody waits.
    counters: Option<Arc<CollectCounters>>,
    endless: RetryForever,
    current: Mutex<Option<CachedToken>>,
    /// Held by the one that gets another.
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
    pub fn new(
        settings: &CollectSettings,
        http: SharedClients,
        clock: Clock,
        counters: Option<Arc<CollectCounters>>,
        endless: RetryForever,
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
            clock,
            counters,
            endless,
            current: Mutex::default(),
            renewing: tokio::sync::Mutex::default(),
        })
    }

    /// The token to send, new where the last one nears its end.
    pub async fn token(&self) -> Result<Secret, CollectError> {
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
    pub fn is_current(&self, token: &Secret) -> bool {
        self.current_token().as_ref() == Some(token)
    }

    fn current_token(&self) -> Option<Secret> {
        let now = self.clock.now();
        let current = self.lock_current();
        let token = current.as_ref()?;
        let lives = token.renew_at.is_none_or(|at| now < at);
        lives.then(|| token.value.clone())
    }

    fn lock_current(&self) -> MutexGuard<'_, Option<CachedToken>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another token after the service refused `spent`. Of many calls refused
    /// at once the first renews for all.
    pub async fn renew(&self, spent: &Secret) -> Result<Secret, CollectError> {
        let _renewing = self.renewing.lock().await;
        let held = self.lock_current().as_ref().map(|t| t.value.clone());
        match held {
            Some(token) if token != *spent => Ok(token),
            _ => self.obtain().await,
        }
    }

    /// Tenant and application as the token tells them, or as was typed.
    pub async fn identity(&self) -> Result<(Option<String>, Option<String>), CollectError> {
        let claims = self.claims().await?;
        let typed = match &self.sign_in {
            SignIn::Client {
                tenant, client_id, ..
            }
            | SignIn::Certificate {
                tenant, client_id, ..
            } => Some((tenant.clone(), client_id.clone())),
            SignIn::Token(_) => None,
        };
        let (tenant, application) = typed.unzip();
        Ok((claims.tenant.or(tenant), claims.application.or(application)))
    }

    async fn claims(&self) -> Result<TokenClaims, CollectError> {
        Ok(jwt::read_claims(&self.token().await?).unwrap_or_default())
    }

    async fn obtain(&self) -> Result<Secret, CollectError> {
        // At the start an unreachable host is an error a person waits for; in
        // mid-run it is an outage to be outlived.
        let trouble = match *self.lock_current() {
            Some(_) => ErrorClass::NoConnection,
            None => ErrorClass::SignIn,
        };
        let token = match &self.sign_in {
            SignIn::Client {
                client_id, secret, ..
            } => {
                self.grant(client_id, ClientCredential::Secret(secret), trouble)
                    .await?
            }
            SignIn::Certificate {
                client_id, file, ..
            } => {
                self.grant(client_id, ClientCredential::Certificate(file), trouble)
                    .await?
            }
            SignIn::Token(source) => CachedToken {
                value: from_source(source).await?,
                renew_at: None,
            },
        };
        let value = token.value.clone();
        *self.lock_current() = Some(token);
        Ok(value)
    }

    async fn grant(
        &self,
        client_id: &str,
        proof: ClientCredential<'_>,
        trouble: ErrorClass,
    ) -> Result<CachedToken, CollectError> {
        let mut tries = RetryState::default();
        loop {
            let refusal = match self.request_token(client_id, proof).await {
                Ok(token) => return Ok(token),
                Err(refusal) => refusal,
            };
            let error_class = matches!(refusal, SignInFailure::Transient(_));
            let error = self.into_error(refusal);
            let endless = trouble == ErrorClass::NoConnection && self.endless.get();
            match (
                &self.counters,
                tries.next_delay_or_longest(trouble, endless),
            ) {
                (Some(counters), Some(wait)) if error_class => {
                    counters.emit(CollectProgress::Notice(format!("{error}; trying again")));
                    self.clock.sleep(wait).await;
                }
                _ => return Err(error),
            }
        }
    }

    fn into_error(&self, refusal: SignInFailure) -> CollectError {
        let url = self.token_url.as_ref();
        let host = url.map(http::host_and_port).unwrap_or_default();
        match refusal {
            SignInFailure::InvalidCredential(error) => error,
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
        proof: ClientCredential<'_>,
    ) -> Result<CachedToken, SignInFailure> {
        let Some(url) = &self.token_url else {
            return Err(SignInFailure::Permanent("no login host".into()));
        };
        let client = self
            .http
            .client(url)
            .map_err(|e| SignInFailure::Permanent(e.to_string()))?;
        let asked = self.clock.now();
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("scope", &self.scope),
        ];
        let proven = proof
            .for_endpoint(client_id, url, asked)
            .map_err(SignInFailure::InvalidCredential)?;
        form.extend(proven.iter().map(|(name, value)| (*name, value.expose())));
        let response = client
            .post(url.clone())
            .timeout(SIGN_IN_TIMEOUT)
            .form(&form)
            .send()
            .await
            .map_err(|e| SignInFailure::Transient(http::transport_error(e).text))?;
        let status = response.status();
        let body = match http::read_bounded(response, ANSWER_BYTES_MAX).await {
            Ok(body) => body,
            Err(BodyReadError::Interrupted(transport_error)) => {
                return Err(SignInFailure::Transient(transport_error.text));
            }
            Err(BodyReadError::TooLong) => {
                return Err(SignInFailure::Permanent("the answer is too long".into()));
            }
        };
        if status.is_success() {
            return self.parse_token(&body, asked);
        }
        let why = format!("status {}{}", status.as_u16(), denial(&body));
        Err(if status.is_server_error() || status.as_u16() == 429 {
            SignInFailure::Transient(why)
        } else {
            SignInFailure::Permanent(why)
        })
    }

    fn parse_token(&self, body: &[u8], asked: WallTime) -> Result<CachedToken, SignInFailure> {
        // serde_json's message would not quote the token, but is not needed.
        let granted: TokenResponse = serde_json::from_slice(body)
            .map_err(|_| SignInFailure::Permanent("the answer holds no access_token".into()))?;
        let lives = granted
            .expires_in
            .and_then(|v| v.as_u64().or_else(|| v.as_str()?.parse().ok()))
            .map(Duration::from_secs);
        Ok(CachedToken {
            value: Secret::new(granted.access_token),
            renew_at: lives.map(|lives| {
                let early = RENEW_BEFORE.min(lives / 10);
                asked.after(self.clock.real(lives.saturating_sub(early)))
            }),
        })
    }
}

enum SignInFailure {
    /// No answer, not all of it, or a service out of breath.
    Transient(String),
    Permanent(String),
    /// What it was to be proven with.
    InvalidCredential(CollectError),
}

/// How we show who we are.
#[derive(Clone, Copy)]
enum ClientCredential<'a> {
    Secret(&'a Secret),
    Certificate(&'a Path),
}

impl ClientCredential<'_> {
    /// The fields of the form that prove it.
    fn for_endpoint(
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
                    certificate::assertion(file, client_id, endpoint.as_str(), now)?,
                ),
            ],
        })
    }
}

fn token_url(login_base: &Url, tenant: &str) -> Result<Url, CollectError> {
    let base = login_base.as_str().trim_end_matches('/');
    Url::parse(&format!("{base}/{tenant}/oauth2/v2.0/token")).map_err(|e| CollectError::Setting {
        setting: "the login base",
        why: e.to_string(),
    })
}

/// `invalid_client` and the first line of what the login host explains.
fn denial(body: &[u8]) -> String {
    let Ok(denied) = serde_json::from_slice::<TokenErrorResponse>(body) else {
        return String::new();
    };
    let first = denied.error_description.lines().next().unwrap_or("");
    [denied.error.as_str(), first]
        .iter()
        .filter(|part| !part.is_empty())
        .map(|part| format!(", {}", clean(part)))
        .collect()
}

/// What a command prints, shown to nobody.
pub async fn secret_from_command(line: &str) -> Result<Secret, CollectError> {
    from_command(line).await
}

async fn from_source(source: &TokenSource) -> Result<Secret, CollectError> {
    match source {
        TokenSource::Ready(token) => Ok(token.clone()),
        TokenSource::File(path) => {
            let path = path.clone();
            tokio::task::spawn_blocking(move || Secret::from_file(&path))
                .await
                .map_err(|e| CollectError::Worker(e.to_string()))?
        }
        TokenSource::Command(line) => from_command(line.expose()).await,
    }
}

/// What it prints is the token and is shown to nobody, its complaints neither.
async fn from_command(line: &str) -> Result<Secret, CollectError> {
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
    token_in(&text).ok_or_else(|| refuse("it printed nothing that is a token".into()))
}

/// A token alone, or in JSON as `az account get-access-token` prints it.
fn token_in(text: &str) -> Option<Secret> {
    let token = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(json) if json.is_object() => ["accessToken", "access_token"]
            .iter()
            .find_map(|name| json[*name].as_str())
            .map(Secret::new)?,
        Ok(serde_json::Value::String(token)) => Secret::new(token),
        _ => Secret::new(text),
    };
    let usable = !token.is_empty() && token.expose().bytes().all(|b| b.is_ascii_graphic());
    usable.then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_alone_quoted_and_in_json() {
        for text in ["abc.def\n", "\"abc.def\"", r#"{"accessToken":"abc.def"}"#] {
            assert_eq!(token_in(text), Some(Secret::new("abc.def")), "{text}");
        }
        for text in ["", "two words", "{}"] {
            assert_eq!(token_in(text), None, "{text}");
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_token_command_is_run_and_its_failure_shows_no_output() {
        let token = from_command("printf abc.def").await.unwrap();
        assert_eq!(token, Secret::new("abc.def"));
        let error = from_command("printf eyJsecret; exit 3").await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains('3') && !text.contains("eyJ"), "{text}");
    }

    #[tokio::test]
    async fn a_token_that_says_it_lives_for_ever_is_taken() {
        let nowhere = Some("http://127.0.0.1:1");
        let sign_in = SignIn::Token(TokenSource::Ready(Secret::new("x")));
        let cloud = crate::Cloud::Commercial;
        let settings = CollectSettings::new(cloud, nowhere, nowhere, sign_in, "s".into()).unwrap();
        let http = Arc::new(http::HttpClients::new(None, settings.timeouts).unwrap());
        let clock = Clock::new(1.0);
        let tokens =
            TokenProvider::new(&settings, http, clock, None, RetryForever::default()).unwrap();
        let body = br#"{"access_token":"a","expires_in":18446744073709551615}"#;
        let Ok(token) = tokens.parse_token(body, clock.now()) else {
            panic!("a token was granted");
        };
        *tokens.lock_current() = Some(token);
        assert!(tokens.is_current(&Secret::new("a")) && !tokens.is_current(&Secret::new("b")));
    }
}
