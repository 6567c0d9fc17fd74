//! The error of every use case: its kind, a message with a chain of causes, and
//! a hint.
//!
//! The kind decides the exit code and the HTTP status, and whether a retry can
//! help. This is the only error type of this layer; errors of the crates are
//! converted where the crate is used.

use std::error::Error;
use std::fmt;
use std::io;

/// The kinds of failure a caller distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The request is invalid: a malformed reference, query, time or option.
    Usage,
    /// The archive, result or member does not exist.
    NotFound,
    /// Another process writes the archive.
    Busy,
    /// Bytes on disk differ from the record.
    Damaged,
    /// The service refused the request, or sign-in failed.
    Refused,
    /// Disk, network or operating system.
    Environment,
}

/// A failed use case.
#[derive(Debug)]
pub struct Failure {
    pub kind: FailureKind,
    message: String,
    hint: Option<String>,
    fault: Option<Fault>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// The character of a request at which it is wrong.
#[derive(Debug)]
struct Fault {
    text: String,
    /// **Units**: characters before it.
    at: usize,
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            fault: None,
            source: None,
        }
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Usage, message)
    }

    /// A failed attempt, and the error that caused it.
    pub fn caused(
        kind: FailureKind,
        message: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(kind, message)
        }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the character of `text` at which it is wrong.
    ///
    /// **Units**: characters before it.
    #[must_use]
    pub fn pointing(mut self, text: impl Into<String>, at: usize) -> Self {
        let text = text.into();
        self.fault = Some(Fault { text, at });
        self
    }

    /// See [`pointing`](Self::pointing).
    pub fn points_at(&self) -> Option<(&str, usize)> {
        let fault = self.fault.as_ref()?;
        Some((&fault.text, fault.at))
    }

    /// See [`hint`](Self::hint).
    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether the reader of the output closed it (`| head`).
    pub fn is_broken_pipe(&self) -> bool {
        let mut cause: Option<&(dyn Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<io::Error>() {
                return io.kind() == io::ErrorKind::BrokenPipe;
            }
            cause = error.source();
        }
        false
    }

    /// The message and its causes, joined by colons. A cause that the text
    /// contains already is left out.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let more = error.to_string();
            if !text.contains(&more) {
                if !text.is_empty() {
                    text.push_str(": ");
                }
                text.push_str(&more);
            }
            cause = error.source();
        }
        text
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.chain())
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::caused(FailureKind::Environment, String::new(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_contains_each_cause_once() {
        let inner = io::Error::other("disk on fire");
        let message = "could not seal 1/0: disk on fire";
        let failure = Failure::caused(FailureKind::Environment, message, inner);
        assert_eq!(failure.chain(), message);
        let pipe: Failure = io::Error::from(io::ErrorKind::BrokenPipe).into();
        assert!(pipe.is_broken_pipe());
    }
}
