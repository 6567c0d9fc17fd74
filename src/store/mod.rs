//! The archive: truth on disk. Takes facts in (sealed results, gaps, actions,
//! settings, custody), makes them durable before it says so, and gives them
//! back unchanged or says what is damaged.
//!
//! Bytes stand in append-only packs, each entry with a trailer that explains
//! it; side files list the entries for readers; sled keys them for the
//! writer. Side files and sled are derived from the packs.
//!
//! **Must never know** the network, the index or what is inside a result.
//!
//! **Invariant**: an entry exists exactly when its bytes are whole. Order of
//! every commit: bytes and trailer → sync → list → sync → sled → sync →
//! answer. Unsealed is absent; sealed never changes; `Seq`s become visible in
//! their order.

mod archive;
mod card;
mod catalogue;
mod commit;
mod contents;
mod disk;
mod download;
mod error;
mod folder;
mod frame;
mod hashing;
mod header;
mod incoming;
mod keyed;
mod layout;
mod list;
mod lock;
mod mask;
mod notes;
mod pack;
mod queue;
mod reader;
mod recover;
mod scan;
mod scratch;
#[allow(clippy::module_inception)]
mod store;
mod system;
mod tail;
mod trailer;
mod verify;

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;

pub use archive::is_archive;
pub use card::{CustodyEvent, Entry, EntryKind, FleetNote, Sealed, Setting};
pub use catalogue::Catalogue;
pub use download::Download;
pub use error::StoreError;
pub use incoming::Announced;
pub use reader::{Damage, RecordReader};
pub use scratch::Scratch;
pub use store::{ACTION_JSON_MAX, Latest, OpenOptions, SMALL_MAX, Sealing, Store, Ticket};
pub use tail::Tail;
pub use verify::{Checked, Progress};

/// What the process that writes an archive says it does; `None` where there
/// is none.
pub fn writer(dir: &std::path::Path) -> Option<String> {
    lock::writer(dir)
}

/// What the disk under `dir` has free for this user.
///
/// **Units**: bytes.
pub fn free_bytes(dir: &std::path::Path) -> std::io::Result<u64> {
    system::free_bytes(dir)
}
