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

use crate::clock::{Clock, Moment};
use crate::fetch::circuit_breaker::{Endless, Lost, Outage};
use crate::fetch::counters::Tally;
use crate::fetch::retry::{Tries, Trouble};
use crate::service::auth::sign_in::Signer;
use crate::service::http;
use crate::service::http::{Fault, Http, SharedHttp, Unread};
use crate::service::links::{BadLink, Link};
use crate::service::list;
use crate::service::rate_limit::{Budget, Ticket};
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

/// A full disk is looked at this often, real time.
pub(crate) const LOOK_FOR_ROOM: Duration = Duration::from_secs(2);

pub(crate) struct Api {
    pub base: Url,
    pub host: String,
    pub http: SharedHttp,
    pub signer: Signer,
    pub budget: Arc<Budget>,
    pub clock: Clock,
    /// Real time.
    pub call_timeout: Duration,
    pub tally: Arc<Tally>,
    pub outage: Outage,
    /// Whether lost connections are given up.
    pub endless: Endless,
}

/// A body and the two clocks' times around it.
pub(crate) struct Answer {
    pub body: Vec<u8>,
    pub date: Option<Timestamp>,
    pub asked: Moment,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(crate) enum CallError {
    /// 429; the budget has moved already.
    Throttled,
    /// Any other refusal or failure the service put into words.
    Service(ServiceError),
    /// The connection broke on the way.
    Broken(String),
    /// No connection came about; the outage is noted.
    Lost(String),
    /// An answer of no use.
    Odd(String),
    /// An answer that holds no link to be followed.
    BadLink(BadLink),
    /// Nothing will go any more.
    Fatal(CollectError),
}

impl CallError {
    /// What kind of trouble it is, where trying again may help.
    pub fn may_pass(&self) -> Option<Trouble> {
        match self {
            Self::Throttled => Some(Trouble::Throttled),
            Self::Broken(_) => Some(Trouble::Broken),
            Self::Odd(_) => Some(Trouble::Server),
            Self::Lost(_) => Some(Trouble::Lost),
            Self::Service(e) if e.status >= 500 || e.status == 408 => Some(Trouble::Server),
            _ => None,
        }
    }

    /// The same as an error that ends the run.
    pub fn into_fatal(self, call: ApiCall, host: &str) -> CollectError {
        let (call, host) = (call.doing(), host.to_string());
        match self {
            Self::Fatal(error) => error,
            Self::Service(service) => CollectError::Service {
                call,
                host,
                service,
            },
            Self::Throttled => CollectError::Transport {
                call,
                host,
                why: "held back again and again (429)".into(),
            },
            Self::Broken(why) | Self::Lost(why) => CollectError::Transport { call, host, why },
            Self::Odd(why) => CollectError::Answer { call, why },
            Self::BadLink(bad) => CollectError::Answer {
                call,
                why: bad.to_string(),
            },
        }
    }
}

/// One request, before it has a token.
#[derive(Clone)]
pub(crate) struct Ask {
    pub call: ApiCall,
    pub method: Method,
    pub url: Url,
    pub payload: Option<Payload>,
    /// **Units**: bytes of the answer.
    pub max: usize,
}

/// What a request brings along.
#[derive(Clone)]
pub(crate) struct Payload {
    pub content_type: String,
    pub bytes: Bytes,
}

impl Ask {
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
            payload: Some(Payload {
                content_type: "application/json".into(),
                bytes: json.into(),
            }),
            ..Self::get(call, url)
        }
    }
}

impl Api {
    /// Signs in and opens the budget. What a person should know is told to
    /// `tally`.
    pub async fn open(
        settings: &CollectSettings,
        clock: Clock,
        tally: Arc<Tally>,
    ) -> Result<Self, CollectError> {
        let http = Arc::new(Http::new(settings.ca_file.as_deref(), settings.timeouts)?);
        let endless = Endless::default();
        let told = Some(tally.clone());
        let signer = Signer::new(settings, http.clone(), clock, told, endless.clone())?;
        let name = log_name(settings, &signer).await?;
        let (budget, notice) = Budget::open(
            clock,
            settings.pace.limits_lifted,
            settings.timeouts.call,
            &settings.state_dir,
            &name,
        )?;
        if let Some(notice) = notice {
            tally.notice(notice);
        }
        Ok(Self {
            base: settings.api_base.clone(),
            host: settings.api_host(),
            http,
            signer,
            budget,
            clock,
            call_timeout: settings.timeouts.call,
            tally,
            outage: Outage::new(endless.clone()),
            endless,
        })
    }

    /// An address of the API, such as `machines`.
    pub fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let before = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{before}/api/{path}"));
        url
    }

    pub async fn page(&self, url: &Url) -> Result<Answer, CallError> {
        self.call(&Ask::get(ApiCall::List, url.clone())).await
    }

    /// Asks for the link of a result: one call of the scarcest budget.
    pub async fn link(&self, key: ResultKey) -> Result<Link, CallError> {
        let url = self.url(&format!(
            "machineactions/{}/GetLiveResponseResultDownloadLink(index={})",
            key.action, key.index
        ));
        let answer = self.call(&Ask::get(ApiCall::Link, url)).await?;
        Link::read(&answer.body, answer.date, answer.asked, self.clock).map_err(CallError::BadLink)
    }

    /// The same for an investigation package.
    pub async fn package_link(&self, action: ActionId) -> Result<Link, CallError> {
        let url = self.url(&format!("machineactions/{action}/getPackageUri"));
        let answer = self.call(&Ask::get(ApiCall::PackageLink, url)).await?;
        Link::read(&answer.body, answer.date, answer.asked, self.clock).map_err(CallError::BadLink)
    }

    /// One call, sent again with another token after a 401, which says that
    /// nothing was done.
    pub async fn call(&self, ask: &Ask) -> Result<Answer, CallError> {
        for _ in 0..TOKENS_MAX {
            let (ticket, token) = self.ready(ask.call).await?;
            match self.send(ask, ticket, &token).await {
                Err(CallError::Service(e)) if e.status == 401 => {
                    self.signer.renew(&token).await.map_err(CallError::Fatal)?;
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
    pub async fn ready(&self, call: ApiCall) -> Result<(Ticket, Secret), CallError> {
        let mut tokens = 0;
        loop {
            let token = self.signer.bearer().await.map_err(CallError::Fatal)?;
            let ticket = self.admit(call).await?;
            tokens += 1;
            // A token that lives no longer than this is tried as it is.
            if self.signer.is_fresh(&token) || tokens >= TOKENS_MAX {
                return Ok((ticket, token));
            }
            ticket.unsent();
        }
    }

    /// One call, sent again only while the service holds it back, which says
    /// that nothing was done: for calls that must not be repeated.
    pub async fn call_once(&self, ask: &Ask) -> Result<Answer, CallError> {
        let mut tries = Tries::default();
        loop {
            match self.call(ask).await {
                Err(CallError::Throttled) => match tries.next(Trouble::Throttled) {
                    Some(wait) => self.clock.sleep(wait).await,
                    None => return Err(CallError::Throttled),
                },
                other => return other,
            }
        }
    }

    /// The same, tried again while what keeps it may pass: for calls that may
    /// be repeated.
    pub async fn call_patiently(&self, ask: &Ask) -> Result<Answer, CallError> {
        let mut tries = Tries::default();
        loop {
            let error = match self.call(ask).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let Some(trouble) = error.may_pass() else {
                return Err(error);
            };
            match tries.next(trouble) {
                Some(wait) => self.clock.sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    /// Waits until a call of this kind may leave.
    pub async fn admit(&self, call: ApiCall) -> Result<Ticket, CallError> {
        self.outage.wait(self.clock).await;
        let tell = |until| self.tally.waiting(call, self.clock.now(), until);
        let mut told = false;
        loop {
            let (path, source) = match self.budget.admit(call, &tell).await {
                Ok(ticket) => return Ok(ticket),
                Err(CollectError::CallLog { path, source }) => (path, source),
                Err(error) => return Err(CallError::Fatal(error)),
            };
            if system::is_disk_full(&source) {
                if !std::mem::replace(&mut told, true) {
                    self.tally.notice(format!(
                        "no room for the call log {}: calls wait until there is",
                        path.display()
                    ));
                }
                tokio::time::sleep(LOOK_FOR_ROOM).await;
            } else if source.kind() == io::ErrorKind::InvalidData {
                let notice = self.budget.survey().map_err(CallError::Fatal)?;
                notice.into_iter().for_each(|text| self.tally.notice(text));
            } else {
                return Err(CallError::Fatal(CollectError::CallLog { path, source }));
            }
        }
    }

    /// Sends what was admitted.
    pub async fn send(
        &self,
        ask: &Ask,
        ticket: Ticket,
        token: &Secret,
    ) -> Result<Answer, CallError> {
        let client = self.http.client(&ask.url).map_err(CallError::Fatal)?;
        let asked = self.clock.now();
        let mut request = client
            .request(ask.method.clone(), ask.url.clone())
            .bearer_auth(token.expose())
            .timeout(self.call_timeout);
        if let Some(payload) = &ask.payload {
            request = request
                .header(CONTENT_TYPE, &payload.content_type)
                .body(payload.bytes.clone());
        }
        let response = match request.send().await.map_err(http::fault) {
            Ok(response) => response,
            Err(fault) if fault.unsent => {
                ticket.unsent();
                return Err(self.lost(fault));
            }
            Err(fault) => {
                ticket.answered();
                return Err(CallError::Broken(fault.text));
            }
        };
        let status = response.status().as_u16();
        let date = http::date(&response);
        let retry_after = http::retry_after(&response);
        let body = http::read_bounded(response, ask.max).await;
        ticket.answered();
        self.outage.over();
        let body = body.map_err(|unread| match unread {
            Unread::Broken(fault) => CallError::Broken(fault.text),
            Unread::TooLong => CallError::Odd(format!("longer than {} bytes", ask.max)),
        })?;
        match status {
            200..=299 => Ok(Answer { body, date, asked }),
            429 => {
                self.tally.count(|report| report.throttled += 1);
                self.budget.hold(ask.call, retry_after).await;
                Err(CallError::Throttled)
            }
            _ => Err(CallError::Service(ServiceError::read(status, &body))),
        }
    }

    fn lost(&self, fault: Fault) -> CallError {
        match self.outage.note(self.clock) {
            Lost::Until(until) => {
                self.tally.notice(format!(
                    "no connection to {}: {}; trying again at {}",
                    self.host,
                    fault.text,
                    until.timestamp()
                ));
                CallError::Lost(fault.text)
            }
            Lost::KnownUntil(_) => CallError::Lost(fault.text),
            Lost::ForGood => CallError::Fatal(CollectError::Transport {
                call: "reach the service",
                host: self.host.clone(),
                why: fault.text,
            }),
        }
    }
}

/// The call log's name: tenant and application own the budget, whichever host
/// of the service is asked. Emulators each have one of their own.
async fn log_name(settings: &CollectSettings, signer: &Signer) -> Result<String, CollectError> {
    let (tenant, client) = signer.identity().await?;
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
