//! The archive on disk: stores results, gaps, actions, settings, fleet notes
//! and custody events, makes them durable before it reports success, and
//! returns them unchanged or reports the damage.
//!
//! Packs are the source of truth: append-only files of entries. Each entry ends
//! with a trailer that describes it. Pack indexes list the entries for readers;
//! a catalogue database (sled) finds them by key for the writer. Both are
//! derived and can be rebuilt from the packs.
//!
//! **Invariants**:
//! - An entry exists exactly if its bytes are complete and checked. A sealed
//!   result never changes.
//! - Entries become visible in the order of their `Seq`s.
//! - Order of every commit: pack, pack index, catalogue database, each followed
//!   by a sync; then the reply. The module `write` describes the state after a
//!   crash at each step.
//!
//! **Layers**: `disk` ← `format` ← `read` ← `write`; each uses only the layers
//! before it.
//!
//! This crate must not depend on the network, on the index, or on the content
//! of results.
//!
//! # Example
//!
//! ```
//! use std::io::Read;
//!
//! use afteraction_store::{Catalogue, OpenOptions, Store};
//! use evidence::{ActionId, CommandIndex, Facts, Origin, ResultKey, ResultKind, Time};
//!
//! let dir = tempfile::tempdir()?;
//! let options = OpenOptions {
//!     create: true,
//!     command: "example".into(),
//! };
//! let store = Store::open(dir.path(), options)?;
//! let key = ResultKey::new(ActionId::from_bytes([7; 16]), CommandIndex(0));
//! let origin = Origin::Import {
//!     path: "result.json".into(),
//! };
//! let facts = Facts::new(ResultKind::Transcript, origin);
//! let collected_at = Time::from_text("2026-02-04T15:37:00Z");
//! // Returns when the body is durable.
//! let outcome = store.seal(key, &facts, &collected_at, b"{\"exit_code\": 0}")?;
//! store.close()?;
//!
//! let catalogue = Catalogue::open(dir.path())?;
//! let mut body = String::new();
//! catalogue
//!     .reader(outcome.record().id)?
//!     .read_to_string(&mut body)?;
//! assert_eq!(body, "{\"exit_code\": 0}");
//! assert!(catalogue.verify(|_| {})?.damage.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

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
pub use crate::write::sealing::{PendingCommit, SMALL_MAX, SealReceipt};
pub use crate::write::store::{ACTION_JSON_MAX, LatestVersion, OpenOptions, Store};

/// Command of the process that is writing to the archive in `dir`; `None` if
/// no process is writing.
pub fn writer_command(dir: &std::path::Path) -> Option<String> {
    crate::disk::lock::writer_command(dir)
}

/// Free space for this user on the disk of `dir`.
///
/// **Units**: bytes.
pub fn free_bytes(dir: &std::path::Path) -> std::io::Result<u64> {
    crate::disk::system::free_bytes(dir)
}
