//! TODO-DOC store/read

pub(crate) mod catalogue;
pub(crate) mod catalogue_state;
pub(crate) mod checkpoint;
pub(crate) mod journal_tail;
pub(crate) mod pending_custody;
pub(crate) mod reader;
pub(crate) mod scratch;
pub(crate) mod verify;
