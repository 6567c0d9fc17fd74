//! Faults and warnings of a request.

use std::fmt;

use serde::Serialize;

/// A fault or warning of a request, found before any session is started.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// The part of the request: `step 2 (RunScript)`, `device ws-1`, `library`,
    /// `permissions`.
    #[serde(rename = "place")]
    pub subject: String,
    pub message: String,
    /// The change that removes the fault.
    pub hint: Option<String>,
    /// A warning does not prevent the run; the service may still reject it.
    pub is_warning: bool,
}

impl Diagnostic {
    pub(crate) fn new(subject: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            message: message.into(),
            hint: None,
            is_warning: false,
        }
    }

    pub(crate) fn warning(mut self) -> Self {
        self.is_warning = true;
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.message)
    }
}
