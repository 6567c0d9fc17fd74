//! Reading an archive: catalogue, journal tail, record bodies and verification.
//!
//! Readers take no lock and open no database, so they work on read-only media
//! and while another process writes. The only file that a reader appends to is
//! the one of pending custody events. This layer uses the disk and the format
//! layer; it must not use the writing side of the store.

pub(crate) mod catalogue;
pub(crate) mod catalogue_state;
pub(crate) mod checkpoint;
pub(crate) mod journal_tail;
pub(crate) mod pending_custody;
pub(crate) mod reader;
pub(crate) mod scratch;
pub(crate) mod verify;
