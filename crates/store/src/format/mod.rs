//! The files of an archive, byte by byte: names, headers, entries, frames,
//! trailers, packs and pack indexes.
//!
//! Each module contains the writer and the reader of one structure. This layer
//! uses the disk layer; it must not use the reading or the writing side of the
//! store.

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
