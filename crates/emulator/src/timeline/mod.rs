//! TODO-DOC emulator/timeline

pub(crate) mod action_timeline;
pub(crate) mod clock;
pub(crate) mod latency;
pub(crate) mod presence;
pub(crate) mod timeline_view;
