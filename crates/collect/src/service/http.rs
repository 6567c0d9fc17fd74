//! HTTP clients and the rules they follow: no redirects, no transparent
//! decompression, no silent retries, and no error text with an address in it.

use std::error::Error;
use std::path::Path;
use std::sync::{Arc, Once, OnceLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::{Certificate, Client, ClientBuilder, Response};
use url::Url;

use crate::clock::between;
use crate::error::{CollectError, clean};
use crate::service::host;
use crate::settings::Timeouts;

/// Longest `Retry-After` that is followed: afterwards the host is called again
/// in any case.
///
/// **Units**: service time.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// A CA file has a few certificates; a larger file is a wrong path.
const CA_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A client for loopback addresses, without proxy and root certificates, and
/// one for all others. The second is created when it is first needed, so that
/// a machine without a trust store can use an emulator.
pub(crate) struct HttpClients {
    loopback: Client,
    external: OnceLock<Result<Client, String>>,
    extra_roots: Vec<Certificate>,
    timeouts: Timeouts,
}

/// HTTP clients, shared by everything that calls a host.
pub(crate) type SharedClients = Arc<HttpClients>;

impl HttpClients {
    pub(crate) fn new(ca_file: Option<&Path>, timeouts: Timeouts) -> Result<Self, CollectError> {
        install_crypto_provider();
        let extra_roots = ca_file.map(read_roots).transpose()?.unwrap_or_default();
        let loopback = client_builder(timeouts).no_proxy().tls_certs_only([]);
        Ok(Self {
            loopback: loopback
                .build()
                .map_err(|e| unusable_settings(transport_error(e).text))?,
            external: OnceLock::new(),
            extra_roots,
            timeouts,
        })
    }

    /// The client for an address.
    ///
    /// **Errors**: the system's trust store or proxy settings are unusable.
    pub(crate) fn client(&self, url: &Url) -> Result<&Client, CollectError> {
        if url.scheme() == "http" && host::is_loopback(url) {
            return Ok(&self.loopback);
        }
        self.external
            .get_or_init(|| {
                client_builder(self.timeouts)
                    .tls_certs_merge(self.extra_roots.clone())
                    .build()
                    .map_err(|e| transport_error(e).text)
            })
            .as_ref()
            .map_err(|why| unusable_settings(why.clone()))
    }
}

fn unusable_settings(why: String) -> CollectError {
    CollectError::Setting {
        setting: "network settings",
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

fn install_crypto_provider() {
    static ONCE: Once = Once::new();
    // Fails only if the process has installed a provider before.
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
        return Err(refuse("the file contains no PEM certificate".into()));
    }
    Ok(roots)
}

/// A failed request, without its address.
#[derive(Clone, Debug)]
pub(crate) struct TransportError {
    /// No connection was made, so that the service received nothing.
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

/// A body that could not be read.
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

/// Traces an HTTP exchange. Its address is not passed to this function, since
/// a path or a query may be secret.
pub(crate) fn trace_exchange(call: &'static str, status: u16, began: Instant, bytes: usize) {
    tracing::debug!(
        call,
        status,
        duration_ms = began.elapsed().as_millis() as u64,
        bytes,
        "HTTP call"
    );
}

/// A header as text; bytes that are not UTF-8 are replaced.
pub(crate) fn header(response: &Response, name: &str) -> Option<String> {
    let value = response.headers().get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
}

/// The server's clock.
pub(crate) fn date(response: &Response) -> Option<Timestamp> {
    parse_date(&header(response, "date")?)
}

fn parse_date(text: &str) -> Option<Timestamp> {
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    Timestamp::try_from(time).ok()
}

/// The wait that `Retry-After` requests, given in seconds or as a date by the
/// server's clock; at most [`RETRY_AFTER_MAX`].
///
/// **Units**: service time.
pub(crate) fn retry_after(response: &Response) -> Option<Duration> {
    let text = header(response, "retry-after")?;
    parse_retry_after(&text, date(response).unwrap_or_else(Timestamp::now))
}

fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => between(now, parse_date(text)?).unwrap_or_default(),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_accepts_seconds_and_dates() {
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let parse = |text| parse_retry_after(text, now);
        assert_eq!(parse(" 17 "), Some(Duration::from_secs(17)));
        assert_eq!(
            parse("Fri, 02 Jan 2026 03:04:35 GMT"),
            Some(Duration::from_secs(30))
        );
        assert_eq!(parse("Fri, 02 Jan 2026 03:04:00 GMT"), Some(Duration::ZERO));
        assert_eq!(parse("soon"), None);
        for long in ["18446744073709551615", "Fri, 31 Dec 2100 00:00:00 GMT"] {
            assert_eq!(parse(long), Some(RETRY_AFTER_MAX), "{long}");
        }
    }

    #[tokio::test]
    async fn transport_error_shows_no_address() {
        let http = HttpClients::new(None, Timeouts::default()).unwrap();
        let secret = Url::parse("http://127.0.0.1:1/blob/secretpath?se=x&sig=SECRET").unwrap();
        let client = http.client(&secret).unwrap();
        let error = transport_error(client.get(secret).send().await.unwrap_err());
        assert!(error.is_unsent);
        let text = format!("{error:?}");
        assert!(
            !text.contains("sig=") && !text.contains("secretpath"),
            "{text}"
        );
    }
}
