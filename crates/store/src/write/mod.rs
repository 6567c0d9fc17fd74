//! TODO-DOC store/write

pub(crate) mod catalogue_db;
pub(crate) mod download;
pub(crate) mod group_commit;
pub(crate) mod hashing;
pub(crate) mod partial_download;
pub(crate) mod queue;
pub(crate) mod recover;
#[allow(clippy::module_inception)]
pub(crate) mod store;
