//! Errors of the crate, and the cleaning of text that comes from outside.
//!
//! **Invariant**: no message contains a link, a token or a secret; an address
//! is shown as its host only.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::api_call::ApiCall;
use crate::sink::SinkError;

/// Longest text of the service that is shown.
///
/// **Units**: characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// The reason why a collection or a call ended early or did not start. A
/// refused or damaged result is not an error; it becomes a gap.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error("invalid {setting}: {why}")]
    Setting { setting: &'static str, why: String },
    #[error("could not read the secret file {path}")]
    SecretFile {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("could not sign in with the certificate {path}: {why}")]
    Certificate { path: PathBuf, why: String },
    #[error("could not upload {path}: {why}")]
    Upload { path: PathBuf, why: String },
    #[error(
        "could not verify the upload of {name}: SHA-256 in the library is {theirs}, not {ours}"
    )]
    LibraryDiffers {
        name: String,
        ours: String,
        theirs: String,
    },
    #[error("could not read the certificates in {path}: {why}")]
    CaFile { path: PathBuf, why: String },
    #[error("could not connect to {host}: plain HTTP is not allowed")]
    PlainHttp { host: String },
    #[error("could not sign in at {host}: {why}")]
    SignIn { host: String, why: String },
    #[error("could not read a secret from the command: {why}")]
    TokenCommand { why: String },
    #[error("could not authenticate: the service no longer accepts the token")]
    TokenSpent,
    #[error("could not {} at {host}: {service}", .call.description())]
    Service {
        call: ApiCall,
        host: String,
        service: ServiceError,
    },
    #[error("could not {attempt} at {host}: {why}")]
    Transport {
        attempt: &'static str,
        host: String,
        why: String,
    },
    #[error("could not {}: invalid response: {why}", .call.description())]
    Response { call: ApiCall, why: String },
    #[error("could not update the call log {path}")]
    CallLog {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("could not {attempt}")]
    Sink {
        attempt: String,
        source: Arc<SinkError>,
    },
    #[error("could not read the playbook: {why}")]
    Playbook { why: String },
    #[error("could not complete a task of the collection: {0}")]
    Worker(String),
}

impl CollectError {
    /// A failure of the archive. `attempt` completes "could not …".
    pub(crate) fn sink(attempt: impl Into<String>, source: SinkError) -> Self {
        Self::Sink {
            attempt: attempt.into(),
            source: Arc::new(source),
        }
    }

    /// Advice for the user.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::PlainHttp { .. } => {
                "use https; plain HTTP is allowed for loopback addresses only"
            }
            Self::SignIn { .. } => "check the tenant, the client id and the credential",
            Self::SecretFile { source, .. }
                if source.kind() == std::io::ErrorKind::PermissionDenied =>
            {
                "make the file readable by you only: chmod 600 FILE"
            }
            Self::LibraryDiffers { .. } => "upload it again with --replace",
            Self::TokenCommand { .. } => {
                "run the command in a terminal: it must print the secret and nothing else"
            }
            Self::TokenSpent => "get a new token and run collect again; sealed results are kept",
            Self::Service { call, service, .. } if service.status == 403 => {
                required_permissions(*call)
            }
            Self::Transport { .. } => {
                "check --api-base, --login-base, the network, the proxy and --ca-file, then run collect again; sealed results are kept"
            }
            Self::CallLog { .. } => {
                "the log counts calls across processes; make its folder writable or choose another with --state-dir"
            }
            _ => return None,
        })
    }
}

/// The permissions that a refused call requires.
fn required_permissions(call: ApiCall) -> &'static str {
    match call {
        ApiCall::Run | ApiCall::Cancel => {
            "the application needs Machine.LiveResponse, and the device group a remediation level; `collect --check` shows the permissions of the token"
        }
        ApiCall::Library => {
            "the application needs Library.Manage; `collect --check` shows the permissions of the token"
        }
        ApiCall::Package | ApiCall::PackageLink => {
            "the application needs Machine.CollectForensics; `collect --check` shows the permissions of the token"
        }
        ApiCall::List | ApiCall::Link | ApiCall::Machines | ApiCall::Action => {
            "the application needs Machine.Read.All and Machine.ReadWrite.All; `collect --check` shows the permissions of the token"
        }
    }
}

/// An error as reported by the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    pub status: u16,
    /// The service's error code; empty if the body had none.
    pub code: String,
    /// Free text, cleaned for a terminal.
    pub message: String,
    /// Correlation id, for the support of the service.
    pub target: Option<String>,
}

impl ServiceError {
    /// Parses `{"error":{"code","message","target"}}`. Any other body leaves
    /// the status only.
    pub(crate) fn parse(status: u16, body: &[u8]) -> Self {
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

/// Cleans text from outside for a message: one line of bounded length, and
/// withheld if it seems to repeat a link or a token.
pub(crate) fn clean(text: &str) -> String {
    if ["sig=", "eyJ", "Bearer "].iter().any(|s| text.contains(s)) {
        return "(withheld: it may contain a secret)".into();
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
    fn service_error_shows_status_code_message_and_correlation_id() {
        let body = br#"{"error":{"code":"ResourceNotFound","message":"no\nsuch","target":"c0-1"}}"#;
        let error = ServiceError::parse(404, body);
        assert_eq!(
            error.to_string(),
            "status 404, ResourceNotFound, no such (correlation id c0-1)"
        );
        assert_eq!(
            ServiceError::parse(502, b"<html>").to_string(),
            "status 502"
        );
    }

    #[test]
    fn message_that_repeats_a_link_or_token_is_withheld() {
        for text in [
            "see https://h/p?sig=abc",
            "Authorization: Bearer x",
            "eyJhbGciOi",
        ] {
            assert!(clean(text).starts_with("(withheld"), "{text}");
        }
    }
}
