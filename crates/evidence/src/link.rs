//! Download link of a result.

use std::fmt;

use jiff::Timestamp;

/// Signed URL of a result, valid for 30 minutes.
///
/// The URL grants access to the evidence and is therefore a secret: the type has
/// no `Display`, and its `Debug` output contains only the host and the expiry
/// time.
#[derive(Clone)]
pub struct ResultLink {
    url: String,
    expires: Option<Timestamp>,
}

impl ResultLink {
    /// `url` is sent unchanged; `expires` is its parameter `se`.
    pub fn new(url: String, expires: Option<Timestamp>) -> Self {
        Self { url, expires }
    }

    /// The URL, for the request only; never for a message.
    pub fn expose(&self) -> &str {
        &self.url
    }

    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    pub fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or("", |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        authority.rsplit('@').next().unwrap_or("")
    }
}

impl fmt::Debug for ResultLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link to {}", self.host())?;
        match self.expires {
            Some(expires) => write!(f, " until {expires}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_contains_host_and_expiry_only() {
        let link = ResultLink::new(
            "https://u:p@blob.example/data/secretpath?se=x&sig=SECRET".into(),
            Some("2026-01-02T03:04:05Z".parse().unwrap()),
        );
        assert_eq!(
            format!("{link:?}"),
            "link to blob.example until 2026-01-02T03:04:05Z"
        );
    }
}
