use std::fmt;

use jiff::Timestamp;

/// The signed URL behind which a result stands for some minutes. Whoever holds
/// it can read the evidence, so it is a secret: it cannot be printed, and its
/// `Debug` shows the host and when it ends, nothing else.
#[derive(Clone)]
pub struct ResultLink {
    url: String,
    expires: Option<Timestamp>,
}

impl ResultLink {
    /// `url` as it must be sent, byte for byte; `expires` is its `se`.
    pub fn new(url: String, expires: Option<Timestamp>) -> Self {
        Self { url, expires }
    }

    /// The secret itself: for the request, never for a message.
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
    fn debug_shows_host_and_end_but_no_path_and_no_signature() {
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
