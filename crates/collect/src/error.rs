use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::{ApiCall, SinkError};

/// Texts of the service are free and may be anything: this much is shown.
const MESSAGE_CHARS_MAX: usize = 300;

/// What ended a run, or kept it from starting. One refused or broken result is
/// no error: it becomes a gap.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error("{setting} is not usable: {why}")]
    Setting { setting: &'static str, why: String },
    #[error("could not read the secret in {path}")]
    SecretFile {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("could not sign in with the certificate in {path}: {why}")]
    Certificate { path: PathBuf, why: String },
    #[error("could not upload {path}: {why}")]
    Upload { path: PathBuf, why: String },
    #[error("the library holds {theirs} as {name}, not the {ours} that was uploaded")]
    LibraryDiffers {
        name: String,
        ours: String,
        theirs: String,
    },
    #[error("could not read the certificates in {path}: {why}")]
    CaFile { path: PathBuf, why: String },
    #[error("refused to speak plain http to {host}")]
    PlainHttp { host: String },
    #[error("could not sign in at {host}: {why}")]
    SignIn { host: String, why: String },
    #[error("the token command gave no token: {why}")]
    TokenCommand { why: String },
    #[error("the service no longer accepts the token it was given")]
    TokenSpent,
    #[error("could not {call} at {host}: {service}")]
    Service {
        call: &'static str,
        host: String,
        service: ServiceError,
    },
    #[error("could not {attempt} at {host}: {why}")]
    Transport {
        attempt: &'static str,
        host: String,
        why: String,
    },
    #[error("could not read the answer to {call}: {why}")]
    Response { call: &'static str, why: String },
    #[error("could not keep the call log {path}")]
    CallLog {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("could not {doing}")]
    Sink {
        doing: String,
        source: Arc<SinkError>,
    },
    #[error("could not read the playbook: {why}")]
    Playbook { why: String },
    #[error("a worker ended before its work: {0}")]
    Worker(String),
}

impl CollectError {
    pub(crate) fn sink(doing: impl Into<String>, source: SinkError) -> Self {
        Self::Sink {
            doing: doing.into(),
            source: Arc::new(source),
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::PlainHttp { .. } => "use https; plain http is for loopback addresses alone",
            Self::SignIn { .. } => "check the tenant, the client id and how you sign in",
            Self::SecretFile { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                "only you may be able to read it: chmod 600 FILE"
            }
            Self::LibraryDiffers { .. } => "upload it again with --replace",
            Self::TokenCommand { .. } => "run the command by hand: it must print the token alone",
            Self::TokenSpent => "get a new token and run collect again; sealed results are kept",
            Self::Service { call, service, .. } if service.status == 403 => needed_for(call),
            Self::Transport { .. } => {
                "check the host's name (--api-base, --login-base), network, proxy and --ca-file, then run collect again; sealed results are kept"
            }
            Self::CallLog { .. } => {
                "the log keeps the hourly budget across runs; make its folder writable or name another"
            }
            _ => return None,
        })
    }
}

/// What a refused call needs, by what [`ApiCall::doing`] says of it.
fn needed_for(call: &str) -> &'static str {
    let is = |calls: &[ApiCall]| calls.iter().any(|known| known.description() == call);
    if is(&[ApiCall::Run, ApiCall::Cancel]) {
        "the application needs Machine.LiveResponse, and the device's group a remediation level; `collect --check` says what its token holds"
    } else if is(&[ApiCall::Library]) {
        "the application needs Library.Manage; `collect --check` says what its token holds"
    } else if is(&[ApiCall::Package, ApiCall::PackageLink]) {
        "the application needs Machine.CollectForensics; `collect --check` says what its token holds"
    } else {
        "the application needs Machine.Read.All and Machine.ReadWrite.All; `collect --check` says what its token holds"
    }
}

/// An error as the service worded it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    pub status: u16,
    /// What to branch on; empty where the body had none.
    pub code: String,
    /// Free text, cleaned for a terminal.
    pub message: String,
    /// The service's correlation id, for its support.
    pub target: Option<String>,
}

impl ServiceError {
    /// Reads `{"error":{"code","message","target"}}`, or takes the status alone.
    pub(crate) fn read(status: u16, body: &[u8]) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let json: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |name: &str| json["error"][name].as_str().map(clean);
        Self {
            status,
            code: text("code").unwrap_or_default(),
            message: text("message").unwrap_or_default(),
            target: text("target").filter(|t| !t.is_empty()),
        }
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}", self.status)?;
        for part in [&self.code, &self.message] {
            if !part.is_empty() {
                write!(f, ", {part}")?;
            }
        }
        match &self.target {
            Some(target) => write!(f, " (correlation id {target})"),
            None => Ok(()),
        }
    }
}

/// Text from outside made fit for an error: one line, bounded, and withheld
/// where it looks as if it echoed a link or a token.
pub(crate) fn clean(text: &str) -> String {
    if ["sig=", "eyJ", "Bearer "].iter().any(|s| text.contains(s)) {
        return "(withheld: it may hold a secret)".into();
    }
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MESSAGE_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_the_service_reads_with_its_correlation_id() {
        let body = br#"{"error":{"code":"ResourceNotFound","message":"no\nsuch","target":"c0-1"}}"#;
        let error = ServiceError::read(404, body);
        assert_eq!(
            error.to_string(),
            "status 404, ResourceNotFound, no such (correlation id c0-1)"
        );
        assert_eq!(ServiceError::read(502, b"<html>").to_string(), "status 502");
    }

    #[test]
    fn a_message_that_echoes_a_link_or_token_is_withheld() {
        for text in [
            "see https://h/p?sig=abc",
            "Authorization: Bearer x",
            "eyJhbGciOi",
        ] {
            assert!(clean(text).starts_with("(withheld"), "{text}");
        }
    }
}
