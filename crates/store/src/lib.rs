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

mod disk;
mod error;
mod format;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use crate::error::StoreError;
pub use crate::format::archive_file::is_archive;
pub use crate::format::entry::{CustodyEvent, Entry, EntryKind, FleetNote, SealedResult, Setting};
pub use crate::read::catalogue::Catalogue;
pub use crate::read::journal_tail::JournalTail;
pub use crate::read::reader::{Damage, RecordReader};
pub use crate::read::scratch::Scratch;
pub use crate::read::verify::{VerifyProgress, VerifySummary};
pub use crate::write::download::IncomingBody;
pub use crate::write::partial_download::ResponseHeaders;
pub use crate::write::store::{
    ACTION_JSON_MAX, LatestVersion, OpenOptions, PendingCommit, SMALL_MAX, SealOutcome, Store,
};

/// What the process that writes an archive says it does; `None` where there
/// is none.
pub fn writer(dir: &std::path::Path) -> Option<String> {
    crate::disk::lock::writer(dir)
}

/// What the disk under `dir` has free for this user.
///
/// **Units**: bytes.
pub fn free_bytes(dir: &std::path::Path) -> std::io::Result<u64> {
    crate::disk::system::free_bytes(dir)
}
