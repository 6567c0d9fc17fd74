//! What a use case says when it cannot do what was asked: one of few kinds,
//! which decide exit code, HTTP status and whether trying again can help; a
//! chain of causes; and what to do next.

use std::fmt;

/// The kinds a caller must tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was asked makes no sense: a malformed reference, query or time.
    Asked,
    /// The archive, result or member is not there.
    NotThere,
    /// Another writer holds the archive.
    Busy,
    /// Bytes on disk differ from what was recorded.
    Damaged,
    /// The service refused, or sign-in failed.
    Refused,
    /// Disk, network or operating system.
    World,
}

/// A failed use case.
#[derive(Debug)]
pub struct Failure {
    pub kind: Kind,
    message: String,
    hint: Option<String>,
    place: Option<(String, usize)>,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            place: None,
            source: None,
        }
    }

    pub fn asked(message: impl Into<String>) -> Self {
        Self::new(Kind::Asked, message)
    }

    /// What was attempted, and the error that stopped it.
    pub fn caused(
        kind: Kind,
        message: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            source: Some(source.into()),
            ..Self::new(kind, message)
        }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The place in a typed text that is at fault.
    ///
    /// **Units**: characters before it.
    #[must_use]
    pub fn pointing(mut self, text: impl Into<String>, at: usize) -> Self {
        self.place = Some((text.into(), at));
        self
    }

    pub fn points_at(&self) -> Option<(&str, usize)> {
        self.place.as_ref().map(|(text, at)| (text.as_str(), *at))
    }

    pub fn advice(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    /// Whether a reader of our output went away (`| head`).
    pub fn is_broken_pipe(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if let Some(io) = error.downcast_ref::<std::io::Error>() {
                return io.kind() == std::io::ErrorKind::BrokenPipe;
            }
            cause = error.source();
        }
        false
    }

    /// The message and every cause that adds to it, joined by colons.
    pub fn chain(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = std::error::Error::source(self);
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

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|e| e as _)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::caused(Kind::World, String::new(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_names_each_cause_once() {
        let inner = std::io::Error::other("disk on fire");
        let failure = Failure::caused(Kind::World, "could not seal 1/0: disk on fire", inner);
        assert_eq!(failure.chain(), "could not seal 1/0: disk on fire");
        let pipe: Failure = std::io::Error::from(std::io::ErrorKind::BrokenPipe).into();
        assert!(pipe.is_broken_pipe());
    }
}
