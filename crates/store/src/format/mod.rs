//! TODO-DOC store/format

pub(crate) mod archive_file;
pub(crate) mod entry;
pub(crate) mod frame;
pub(crate) mod header;
pub(crate) mod layout;
pub(crate) mod mask;
pub(crate) mod pack;
pub(crate) mod pack_index;
pub(crate) mod pack_scan;
pub(crate) mod trailer;
