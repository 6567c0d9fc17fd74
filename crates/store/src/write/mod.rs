//! Writing an archive: sealing, downloads, group commit and recovery.
//!
//! One thread commits; see [`group_commit`]. This layer uses the other three:
//! disk, format and, to detect damaged copies and to merge custody events, the
//! reading side. No other layer may use it.
//!
//! # Order of writes
//!
//! A group of small entries:
//!
//! 1. Append frames and trailers to the shared pack; sync the pack.
//! 2. Append the entries to the pack index; sync it. Readers now see them.
//! 3. Insert the entries into the catalogue database; sync it.
//! 4. Reply to the callers.
//!
//! The frames of a large body are written to its partial download and are
//! synced every 64 MiB. When the body is complete:
//!
//! 1. Sync the frames, append the trailer, sync again.
//! 2. Rename the file to the next pack; sync the directory.
//! 3. Continue with the steps 2 to 4 above, with the pack index of single-body
//!    packs. Remove the response headers of the download.
//!
//! # After a crash
//!
//! A caller with a reply always finds its entry. The
//! state of an entry without a reply depends on the step that was interrupted.
//! Recovery runs when the archive is next opened for writing:
//!
//! | interrupted | state on disk | recovery |
//! |---|---|---|
//! | step 1 | a part of the entry at the end of the pack | truncates the pack; the entry is absent |
//! | before step 2 is synced | an intact entry that is in no pack index | checks its frames and appends it to the pack index |
//! | before step 3 is synced | the catalogue lacks the entry | inserts it into the catalogue |
//! | before the reply | everything is stored | nothing; sealing it again is a duplicate |
//! | rename of a download | the old name, the new one, both or neither | indexes the pack and removes the old name; without the new name, the body is downloaded again |
//! | download | a prefix of the frames | keeps it; the next download continues after the last intact frame |
//!
//! Recovery never truncates a pack before an intact entry. If entries are lost
//! nevertheless, because a file was deleted or damaged, the catalogue database
//! still contains the last Seq: new entries get higher ones, and the generation
//! of the archive changes, so that derived structures are rebuilt.
//!
//! # Without a crash
//!
//! After a failed write to a pack, such as on a full disk, the pack is truncated
//! to its former length, the callers get the error, and the store accepts
//! further writes. 16 MiB of the disk stay free for the pack indexes and the
//! catalogue.
//!
//! After a failed sync, or a failed write to a pack index or the catalogue, the
//! store rejects all writes until it is reopened
//! ([`Poisoned`](crate::StoreError::Poisoned)): the content of the disk is
//! unknown.

pub(crate) mod active_pack;
pub(crate) mod catalogue_db;
pub(crate) mod download;
pub(crate) mod group_commit;
pub(crate) mod hashing;
pub(crate) mod partial_download;
pub(crate) mod preconditions;
pub(crate) mod queue;
pub(crate) mod recover;
pub(crate) mod sealing;
#[allow(clippy::module_inception)]
pub(crate) mod store;
pub(crate) mod store_core;
