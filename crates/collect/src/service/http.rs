//! The HTTP clients and the rules they keep: no redirects, no transparent
//! decompression, no silent retries, plain http to this machine alone, and no
//! error text with a URL in it.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Once, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use reqwest::{Certificate, Client, ClientBuilder, Response};
use url::{Host, Url};

use crate::error::clean;
use crate::{CollectError, Timeouts};

/// No `Retry-After` holds longer, service time: whatever a host asks for, it is
/// looked at again then.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// A ca file is a few certificates; a larger file is a mistaken path.
const CA_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One client for this machine, without proxy and certificates; one for the
/// world, with the system's, made when first needed: a machine without a trust
/// store can still speak to an emulator.
pub(crate) struct HttpClients {
    loopback: Client,
    external: OnceLock<Result<Client, String>>,
    roots: Vec<Certificate>,
    timeouts: Timeouts,
}

impl HttpClients {
    pub fn new(ca_file: Option<&Path>, timeouts: Timeouts) -> Result<Self, CollectError> {
        install_provider();
        let roots = ca_file.map(read_roots).transpose()?.unwrap_or_default();
        let loopback = client_builder(timeouts)
            .no_proxy()
            .tls_certs_only([])
            .build();
        Ok(Self {
            loopback: loopback.map_err(|e| client_error(transport_error(e).text))?,
            external: OnceLock::new(),
            roots,
            timeouts,
        })
    }

    /// **Errors**: where the system's trust store or proxy cannot be used.
    pub fn client(&self, url: &Url) -> Result<&Client, CollectError> {
        if url.scheme() == "http" && is_loopback(url) {
            return Ok(&self.loopback);
        }
        let external = self.external.get_or_init(|| {
            let builder = client_builder(self.timeouts).tls_certs_merge(self.roots.clone());
            builder.build().map_err(|e| transport_error(e).text)
        });
        external.as_ref().map_err(|why| client_error(why.clone()))
    }
}

fn client_error(why: String) -> CollectError {
    CollectError::Setting {
        setting: "the https client",
        why,
    }
}

fn client_builder(timeouts: Timeouts) -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("afteraction/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .connect_timeout(timeouts.connect)
        .read_timeout(timeouts.read)
}

fn install_provider() {
    static ONCE: Once = Once::new();
    // Refused only where the process has one already, which serves as well.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

fn read_roots(path: &Path) -> Result<Vec<Certificate>, CollectError> {
    let refuse = |why: String| CollectError::CaFile {
        path: path.to_path_buf(),
        why,
    };
    let bytes = std::fs::metadata(path)
        .map_err(|e| refuse(e.to_string()))?
        .len();
    if bytes > CA_FILE_BYTES_MAX {
        return Err(refuse(format!("longer than {CA_FILE_BYTES_MAX} bytes")));
    }
    let pem = std::fs::read(path).map_err(|e| refuse(e.to_string()))?;
    let roots = Certificate::from_pem_bundle(&pem).map_err(|e| refuse(transport_error(e).text))?;
    if roots.is_empty() {
        return Err(refuse("no PEM certificate in it".into()));
    }
    Ok(roots)
}

/// Lets https pass, and http to this machine.
pub(crate) fn require_https(url: &Url) -> Result<(), CollectError> {
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(url) => Ok(()),
        "http" => Err(CollectError::PlainHttp {
            host: host_and_port(url),
        }),
        other => Err(CollectError::Setting {
            setting: "an address",
            why: format!("`{}` is no https", clean(other)),
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

/// Host and port: what may be shown of an address.
pub(crate) fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_string(),
    }
}

/// What went wrong on the way, without the address it went to.
#[derive(Clone, Debug)]
pub(crate) struct TransportError {
    /// No connection: nothing reached the service.
    pub is_unsent: bool,
    pub text: String,
}

pub(crate) fn transport_error(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    TransportError {
        is_unsent: error.is_connect(),
        text: clean(&text),
    }
}

/// A body that ended too early or grew past its bound.
pub(crate) enum BodyReadError {
    Interrupted(TransportError),
    TooLong,
}

/// Reads a body of at most `max` bytes.
pub(crate) async fn read_bounded(
    mut response: Response,
    max: usize,
) -> Result<Vec<u8>, BodyReadError> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|e| BodyReadError::Interrupted(transport_error(e)))?
    {
        if body.len().saturating_add(chunk.len()) > max {
            return Err(BodyReadError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// A header's text, lossy where it is none.
pub(crate) fn header(response: &Response, name: &str) -> Option<String> {
    let value = response.headers().get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The server's clock.
pub(crate) fn date(response: &Response) -> Option<Timestamp> {
    read_date(&header(response, "date")?)
}

pub(crate) fn read_date(text: &str) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    Timestamp::try_from(time).ok()
}

/// How long `Retry-After` asks to wait, in seconds or until a date judged by
/// the server's own clock; at most [`RETRY_AFTER_MAX`].
///
/// **Units**: service time.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let text = header(response, "retry-after")?;
    read_retry_after(&text, date(response).unwrap_or_else(Timestamp::now))
}

fn read_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => crate::clock::between(now, read_date(text)?).unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// Shared by everything that speaks to a host.
pub(crate) type SharedClients = Arc<HttpClients>;

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn plain_http_passes_to_this_machine_alone() {
        for loopback in [
            "http://127.0.0.1:9",
            "http://127.9.9.9",
            "http://[::1]:80",
            "http://localhost",
        ] {
            assert!(require_https(&url(loopback)).is_ok(), "{loopback}");
        }
        for external in [
            "http://example.com",
            "http://127.0.0.1.example.com",
            "http://10.0.0.1",
            "ftp://127.0.0.1",
        ] {
            assert!(require_https(&url(external)).is_err(), "{external}");
        }
        assert!(require_https(&url("https://example.com")).is_ok());
    }

    #[test]
    fn retry_after_reads_seconds_and_dates() {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let read = |text| read_retry_after(text, now);
        assert_eq!(read(" 17 "), Some(Duration::from_secs(17)));
        assert_eq!(
            read("Fri, 02 Jan 2026 03:04:35 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(read("Fri, 02 Jan 2026 03:04:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
        for long in ["18446744073709551615", "Fri, 31 Dec 2100 00:00:00 GMT"] {
            assert_eq!(read(long), Some(RETRY_AFTER_MAX), "{long}");
        }
    }

    #[tokio::test]
    async fn a_transport_error_shows_no_address() {
        let http = HttpClients::new(None, Timeouts::default()).unwrap();
        let secret = url("http://127.0.0.1:1/blob/secretpath?se=x&sig=SECRET");
        let error = http
            .client(&secret)
            .unwrap()
            .get(secret)
            .send()
            .await
            .unwrap_err();
        let transport_error = transport_error(error);
        assert!(transport_error.is_unsent);
        let text = format!("{transport_error:?}");
        assert!(
            !text.contains("sig=") && !text.contains("secretpath"),
            "{text}"
        );
    }
}
