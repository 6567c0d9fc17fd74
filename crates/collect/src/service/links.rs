//! The answer of the link call, made into a link that can be used byte for
//! byte.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use crate::clock::{Clock, WallTime, between};
use crate::service::http;
use evidence::{ResultLink, Time};

/// Links live thirty minutes; one that says nothing is taken to.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// With less life left a new link is cheaper than a refusal, service time.
const RENEW_BEFORE_EXPIRY: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct LinkResponse {
    value: String,
}

/// A link and how long it lives, by our clock.
#[derive(Clone, Debug)]
pub(crate) struct DownloadLink {
    secret: ResultLink,
    expires_at: WallTime,
}

/// Why an answer held no usable link. Holds nothing of the link.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the answer holds no `value`")]
    NoValue,
    #[error("the link is no address")]
    InvalidUrl,
    #[error("the link is plain http to {0}")]
    PlainHttp(String),
}

impl DownloadLink {
    /// `date` is the server's clock when it answered, `asked` ours: life left
    /// is `se` minus the server's clock, whatever ours says.
    pub fn parse(
        body: &[u8],
        date: Option<Timestamp>,
        asked: WallTime,
        clock: Clock,
    ) -> Result<Self, LinkError> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let answer: LinkResponse = serde_json::from_slice(body).map_err(|_| LinkError::NoValue)?;
        let text = unwrap(&answer.value);
        let url = Url::parse(&text).map_err(|_| LinkError::InvalidUrl)?;
        http::require_https(&url).map_err(|_| LinkError::PlainHttp(http::host_and_port(&url)))?;
        let expires = expiry_of(&url);
        let life = match (expires, date) {
            (Some(expires), Some(date)) => between(date, expires).unwrap_or_default(),
            _ => LIFETIME_DEFAULT,
        };
        Ok(Self {
            secret: ResultLink::new(text, expires),
            expires_at: asked.after(clock.real(life)),
        })
    }

    /// The address for the request; parsing leaves path and query as they are.
    pub fn url(&self) -> Option<Url> {
        Url::parse(self.secret.expose()).ok()
    }

    pub fn host(&self) -> &str {
        self.secret.host()
    }

    pub fn expires_soon(&self, now: WallTime, clock: Clock) -> bool {
        now.after(clock.real(RENEW_BEFORE_EXPIRY)) >= self.expires_at
    }

    /// Whether its time is over by the server's clock, else by ours.
    pub fn is_expired(&self, date: Option<Timestamp>, now: WallTime) -> bool {
        match (self.secret.expires(), date) {
            // `Date` has whole seconds, cut off.
            (Some(expires), Some(date)) => date.as_second() + 1 >= expires.as_second(),
            _ => now >= self.expires_at,
        }
    }
}

/// Undoes one level of inner quotes and of `&amp;`, nothing else.
fn unwrap(value: &str) -> String {
    let value = value.trim();
    let value = value
        .strip_prefix('"')
        .and_then(|v| v.strip_suffix('"'))
        .unwrap_or(value);
    value.trim().replace("&amp;", "&")
}

/// The `se` of a signed address.
fn expiry_of(url: &Url) -> Option<Timestamp> {
    let (_, text) = url.query_pairs().find(|(name, _)| name == "se")?;
    Time::from_text(text).instant()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "https://h.blob.example/investigation-actions-data/ID/CustomPlaybookCommandOutput/4ed5?se=2026-02-04T16%3A00%3A00Z&sp=r&sv=2021-08-06&sr=b&sig=a/b%2Bc/d%3D";

    fn read(value: &str, date: &str) -> Result<DownloadLink, LinkError> {
        let body = serde_json::json!({ "value": value }).to_string();
        DownloadLink::parse(
            body.as_bytes(),
            date.parse().ok(),
            WallTime(0),
            Clock::new(1.0),
        )
    }

    #[test]
    fn a_link_goes_out_byte_for_byte() {
        let escaped = RAW.replace('&', "&amp;");
        for value in [
            RAW.to_string(),
            escaped.clone(),
            format!("\"{RAW}\""),
            format!("\"{escaped}\""),
        ] {
            let link = read(&value, "2026-02-04T15:30:00Z").unwrap();
            assert_eq!(link.url().unwrap().as_str(), RAW);
        }
        let twice = read(&RAW.replace('&', "&amp;amp;"), "").unwrap();
        assert_eq!(twice.url().unwrap().as_str(), escaped);
    }

    #[test]
    fn life_is_counted_by_the_servers_clock() {
        let link = read(RAW, "2026-02-04T15:30:00Z").unwrap();
        let minutes = |n: u64| WallTime(n * 60_000_000);
        assert!(!link.expires_soon(minutes(29), Clock::new(1.0)));
        assert!(link.expires_soon(minutes(30), Clock::new(1.0)));
        let over = |date: &str| link.is_expired(date.parse().ok(), minutes(0));
        assert!(!over("2026-02-04T15:59:00Z"));
        assert!(over("2026-02-04T16:00:00Z"));
        assert!(link.is_expired(None, minutes(31)));
    }

    #[test]
    fn a_link_that_cannot_be_used_is_refused_without_being_shown() {
        let far = read(&RAW.replace("https", "http"), "").unwrap_err();
        assert_eq!(far, LinkError::PlainHttp("h.blob.example".into()));
        assert_eq!(read("", "").unwrap_err(), LinkError::InvalidUrl);
        let debug = format!("{:?}", read(RAW, "").unwrap());
        assert!(!debug.contains("sig=") && !debug.contains("CustomPlaybook"));
    }
}
