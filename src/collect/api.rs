//! The calls of the Defender API, each with its token, its budget and its
//! classified answer. What it says on failure holds no address but the host.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::budget::Budget;
use super::clock::{Clock, Moment};
use super::http::{self, Fault, SharedHttp, Unread};
use super::link::{BadLink, Link};
use super::outage::{Lost, Outage};
use super::sign_in::Signer;
use super::tally::Tally;
use super::{Call, CollectError, Secret, ServiceError};
use crate::evidence::ResultKey;

/// A page holds at most 10,000 actions of a few KiB each.
const PAGE_BYTES_MAX: usize = 128 * 1024 * 1024;
/// An answer with one link in it.
const LINK_BYTES_MAX: usize = 256 * 1024;
/// Tokens a call is tried with: one renewed just before it was revoked again
/// is bad luck, a third is a refusal.
const TOKENS_MAX: u32 = 3;

pub(super) struct Api {
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
}

/// A body and the two clocks' times around it.
pub(super) struct Answer {
    pub body: Vec<u8>,
    pub date: Option<Timestamp>,
    pub asked: Moment,
}

/// Why a call brought nothing.
#[derive(Debug)]
pub(super) enum CallError {
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
    /// The same as an error that ends the run.
    pub fn into_fatal(self, call: Call, host: &str) -> CollectError {
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

impl Api {
    pub async fn page(&self, url: &Url) -> Result<Answer, CallError> {
        self.get(Call::List, url, PAGE_BYTES_MAX).await
    }

    /// Asks for the link of a result: one call of the scarcest budget.
    pub async fn link(&self, key: ResultKey) -> Result<Link, CallError> {
        let mut url = self.base.clone();
        let path = self.base.path().trim_end_matches('/');
        url.set_path(&format!(
            "{path}/api/machineactions/{}/GetLiveResponseResultDownloadLink(index={})",
            key.action, key.index
        ));
        let answer = self.get(Call::Link, &url, LINK_BYTES_MAX).await?;
        Link::read(&answer.body, answer.date, answer.asked, self.clock).map_err(CallError::BadLink)
    }

    /// One call, sent again with another token after a 401.
    async fn get(&self, call: Call, url: &Url, max: usize) -> Result<Answer, CallError> {
        let mut token = self.signer.bearer().await.map_err(CallError::Fatal)?;
        for _ in 0..TOKENS_MAX {
            match self.send(call, url, max, &token).await {
                Err(CallError::Service(e)) if e.status == 401 => {
                    token = self.signer.renew(&token).await.map_err(CallError::Fatal)?;
                }
                other => return other,
            }
        }
        Err(CallError::Fatal(CollectError::TokenSpent))
    }

    async fn send(
        &self,
        call: Call,
        url: &Url,
        max: usize,
        token: &Secret,
    ) -> Result<Answer, CallError> {
        let client = self.http.client(url).map_err(CallError::Fatal)?;
        self.outage.wait(self.clock).await;
        let tell = |until| self.tally.waiting(call, self.clock.now(), until);
        let ticket = self
            .budget
            .admit(call, &tell)
            .await
            .map_err(CallError::Fatal)?;
        let asked = self.clock.now();
        let request = client
            .get(url.clone())
            .bearer_auth(token.expose())
            .timeout(self.call_timeout);
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
        let body = http::read_bounded(response, max).await;
        ticket.answered();
        self.outage.over();
        let body = body.map_err(|unread| match unread {
            Unread::Broken(fault) => CallError::Broken(fault.text),
            Unread::TooLong => CallError::Odd(format!("longer than {max} bytes")),
        })?;
        match status {
            200..=299 => Ok(Answer { body, date, asked }),
            429 => {
                self.tally.count(|report| report.throttled += 1);
                self.budget.hold(call, retry_after).await;
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
