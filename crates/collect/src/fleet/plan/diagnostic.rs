use std::fmt;

use serde::Serialize;

/// Something that keeps a run from starting, found before its first call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// `step 2 (RunScript)`, `device ws-1`, `library`, `permissions`.
    pub place: String,
    pub message: String,
    pub hint: Option<String>,
    /// Worth saying, but only the service's own refusal would stop the run.
    pub is_warning: bool,
}

impl Diagnostic {
    pub(crate) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            place: place.into(),
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
        write!(f, "{}: {}", self.place, self.message)
    }
}
