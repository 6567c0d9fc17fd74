//! The request for a fleet run, before any device is looked up.

use crate::fleet::plan::playbook::Playbook;

/// A person's request for a fleet run: a playbook and the command line options
/// that extend or override it.
#[derive(Clone, Debug, Default)]
pub struct FleetRequest {
    pub playbook: Playbook,
    /// Device selectors in addition to those of the playbook; see
    /// [`DeviceSelector`](crate::fleet::DeviceSelector).
    pub devices: Vec<String>,
    /// Replaces the playbook's comment.
    pub comment: Option<String>,
    /// Sends the arguments of each script as one base64 word, so that they may
    /// contain characters that the service rejects.
    pub encode_args: bool,
}

impl FleetRequest {
    /// The comment of the run, trimmed; empty if none was given.
    pub(crate) fn effective_comment(&self) -> &str {
        self.comment
            .as_deref()
            .or(self.playbook.comment.as_deref())
            .unwrap_or("")
            .trim()
    }
}
