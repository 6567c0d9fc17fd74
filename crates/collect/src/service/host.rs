//! Rules for addresses: which hosts may be called, and which part of an
//! address may be shown.

use url::{Host, Url};

use crate::error::{CollectError, clean};

/// Accepts https, and plain HTTP to a loopback address.
pub(crate) fn require_https(url: &Url) -> Result<(), CollectError> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        "http" => Err(CollectError::PlainHttp {
            host: host_and_port(url),
        }),
        other => Err(CollectError::Setting {
            setting: "address",
            why: format!("expected https, not `{}`", clean(other)),
        }),
    }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        None => false,
    }
}

/// Host and port: the part of an address that may be shown.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_accepted_for_loopback_addresses_only() {
        let is_accepted = |url: &str| require_https(&Url::parse(url).unwrap()).is_ok();
        for loopback in [
            "http://127.0.0.1:9",
            "http://127.9.9.9",
            "http://[::1]:80",
            "http://localhost",
        ] {
            assert!(is_accepted(loopback), "{loopback}");
        }
        for other in [
            "http://example.com",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
        ] {
            assert!(!is_accepted(other), "{other}");
        }
        assert!(is_accepted("https://example.com"));
    }
}
