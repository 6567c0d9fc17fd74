//! Download links: parses the response of a link request. The address is sent
//! byte for byte as received.

use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use crate::clock::{Clock, WallTime, between};
use crate::service::host;
use evidence::{ResultLink, Time};

/// Lifetime of a link without an expiry. Links live for thirty minutes.
const LIFETIME_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// Remaining lifetime below which a new link is requested instead of risking a
/// refusal.
///
/// **Units**: service time.
const RENEW_BEFORE_EXPIRY: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct LinkResponse {
    value: String,
}

/// A link, and its expiry by our clock.
#[derive(Clone, Debug)]
pub(crate) struct DownloadLink {
    secret: ResultLink,
    expires_at: WallTime,
}

/// A response without a usable link. Contains no part of the link but its host.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("the response contains no `value`")]
    NoValue,
    #[error("invalid link URL")]
    InvalidUrl,
    #[error("plain HTTP link to {0}")]
    PlainHttp(String),
}

impl DownloadLink {
    /// Parses a response. The lifetime is the `se` parameter minus `date`, the
    /// server's clock at the response; it is counted from `requested_at`, our
    /// clock.
    pub(crate) fn parse(
        body: &[u8],
        date: Option<Timestamp>,
        requested_at: WallTime,
        clock: Clock,
    ) -> Result<Self, LinkError> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let response: LinkResponse =
            serde_json::from_slice(body).map_err(|_| LinkError::NoValue)?;
        let text = unescape(&response.value);
        let url = Url::parse(&text).map_err(|_| LinkError::InvalidUrl)?;
        host::require_https(&url).map_err(|_| LinkError::PlainHttp(host::host_and_port(&url)))?;
        let expiry = expiry_of(&url);
        let lifetime = match (expiry, date) {
            (Some(expiry), Some(date)) => between(date, expiry).unwrap_or_default(),
            _ => LIFETIME_DEFAULT,
        };
        Ok(Self {
            secret: ResultLink::new(text, expiry),
            expires_at: requested_at.after(clock.real(lifetime)),
        })
    }

    /// The address for the request; parsing keeps path and query unchanged.
    pub(crate) fn url(&self) -> Option<Url> {
        Url::parse(self.secret.expose()).ok()
    }

    pub(crate) fn host(&self) -> &str {
        self.secret.host()
    }

    pub(crate) fn expires_soon(&self, now: WallTime, clock: Clock) -> bool {
        now.after(clock.real(RENEW_BEFORE_EXPIRY)) >= self.expires_at
    }

    /// Whether the link has expired, by the server's clock if it is known, else
    /// by ours.
    pub(crate) fn is_expired(&self, date: Option<Timestamp>, now: WallTime) -> bool {
        match (self.secret.expires(), date) {
            // `Date` has whole seconds, rounded down.
            (Some(expiry), Some(date)) => date.as_second() + 1 >= expiry.as_second(),
            _ => now >= self.expires_at,
        }
    }
}

/// Removes one pair of inner quotes and one level of `&amp;`.
fn unescape(value: &str) -> String {
    let value = value.trim();
    let unquoted = value
        .strip_prefix('"')
        .and_then(|v| v.strip_suffix('"'))
        .unwrap_or(value);
    unquoted.trim().replace("&amp;", "&")
}

/// The expiry in the `se` parameter of a signed address.
fn expiry_of(url: &Url) -> Option<Timestamp> {
    let (_, text) = url.query_pairs().find(|(name, _)| name == "se")?;
    Time::from_text(text).instant()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "https://h.blob.example/investigation-actions-data/ID/CustomPlaybookCommandOutput/4ed5?se=2026-02-04T16%3A00%3A00Z&sp=r&sv=2021-08-06&sr=b&sig=a/b%2Bc/d%3D";

    fn parse(value: &str, date: &str) -> Result<DownloadLink, LinkError> {
        let body = serde_json::json!({ "value": value }).to_string();
        DownloadLink::parse(
            body.as_bytes(),
            date.parse().ok(),
            WallTime(0),
            Clock::new(1.0),
        )
    }

    #[test]
    fn link_address_is_kept_byte_for_byte() {
        let escaped = RAW.replace('&', "&amp;");
        for value in [
            RAW.to_string(),
            escaped.clone(),
            format!("\"{RAW}\""),
            format!("\"{escaped}\""),
        ] {
            let link = parse(&value, "2026-02-04T15:30:00Z").unwrap();
            assert_eq!(link.url().unwrap().as_str(), RAW);
        }
        let twice_escaped = parse(&RAW.replace('&', "&amp;amp;"), "").unwrap();
        assert_eq!(twice_escaped.url().unwrap().as_str(), escaped);
    }

    #[test]
    fn lifetime_is_counted_by_the_servers_clock() {
        let link = parse(RAW, "2026-02-04T15:30:00Z").unwrap();
        let minutes = |n: u64| WallTime(n * 60_000_000);
        assert!(!link.expires_soon(minutes(29), Clock::new(1.0)));
        assert!(link.expires_soon(minutes(30), Clock::new(1.0)));
        let is_expired = |date: &str| link.is_expired(date.parse().ok(), minutes(0));
        assert!(!is_expired("2026-02-04T15:59:00Z"));
        assert!(is_expired("2026-02-04T16:00:00Z"));
        assert!(link.is_expired(None, minutes(31)));
    }

    #[test]
    fn unusable_link_is_refused_and_not_shown() {
        let plain = parse(&RAW.replace("https", "http"), "").unwrap_err();
        assert_eq!(plain, LinkError::PlainHttp("h.blob.example".into()));
        assert_eq!(parse("", "").unwrap_err(), LinkError::InvalidUrl);
        let debug = format!("{:?}", parse(RAW, "").unwrap());
        assert!(!debug.contains("sig=") && !debug.contains("CustomPlaybook"));
    }
}
