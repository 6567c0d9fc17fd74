//! [`Store`]: an archive opened for writing.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::disk::Disk;
use crate::disk::fs::FsDisk;
use crate::disk::lock::WriterLock;
use crate::disk::system;
use crate::format::archive_file::Archive;
use crate::format::entry::{
    CustodyEvent, EntryKind, EntryType, FleetNote, NewEntry, Setting, parse_entry, setting_key,
};
use crate::format::frame::FramedBody;
use crate::format::pack::read_json;
use crate::read::pending_custody;
use crate::write::catalogue_db::{CatalogueDb, lookup_key};
use crate::write::download::IncomingBody;
use crate::write::group_commit::GroupCommit;
use crate::write::preconditions::check_free_space;
use crate::write::queue::{CommitRequest, GROUP_MAX};
use crate::write::recover::recover;
use crate::write::sealing::{PendingCommit, SMALL_MAX, SealReceipt, is_compressible};
use crate::write::store_core::StoreCore;
use crate::{Scratch, StoreError};
use evidence::{Action, ActionId, CommandIndex, Facts, Gap, ResultKey, Seq, Sha256, Time, Version};

/// **Units**: bytes of an action's JSON, as received.
pub const ACTION_JSON_MAX: usize = 16 << 20;

/// How to open an archive for writing.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Create the archive if it does not exist.
    pub create: bool,
    /// The command of this process, shown to other processes that want to
    /// write. Must not contain a secret.
    pub command: String,
}

/// The latest version of a result, from the catalogue database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestVersion {
    pub version: Version,
    pub seq: Seq,
    pub sha256: Sha256,
    /// **Units**: bytes as downloaded.
    pub bytes: u64,
}

/// An archive opened for writing. An archive has at most one; threads share it
/// by reference or `Arc`.
pub struct Store {
    core: Arc<StoreCore>,
    commit_thread: Mutex<Option<JoinHandle<()>>>,
    notices: Vec<String>,
}

impl Store {
    /// Opens the archive in `dir` for writing, recovers it after a crash, and
    /// merges the pending custody events of readers.
    ///
    /// **Errors**: `NoArchive` if there is no archive and `create` is not set;
    /// `Locked` if another process is writing.
    ///
    /// **Cost**: reads the pack indexes, and the parts of packs that no pack
    /// index covers.
    pub fn open(dir: &Path, options: OpenOptions) -> Result<Self, StoreError> {
        let disk = Arc::new(FsDisk::new(dir));
        if options.create {
            system::create_private_folder(dir)
                .map_err(|e| StoreError::io(format!("create {}", dir.display()), e))?;
            // Best effort: the parent may not be readable, or `dir` may exist
            // for a long time already.
            let _ = dir.parent().map(system::sync_folder);
        } else {
            Archive::read(&*disk, dir)?;
        }
        let lock = WriterLock::acquire(dir, &options.command)?;
        let mut store = Self::open_on(disk, dir, options.create, Some(lock))?;
        let damage = pending_custody::merge(dir, &store.core.archive, |events| {
            store.note_custody_events(events)
        })?;
        tracing::debug!(
            target: "store",
            damaged = damage.len(),
            "pending custody events merged"
        );
        store.notices.extend(
            damage
                .iter()
                .map(|damage| format!("{damage}; the line is kept")),
        );
        Scratch::sweep(dir);
        Ok(store)
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        create: bool,
        lock: Option<WriterLock>,
    ) -> Result<Self, StoreError> {
        let mut archive = match Archive::read(&*disk, dir) {
            Err(StoreError::NoArchive { .. }) if create => Archive::create(&*disk)?,
            archive => archive?,
        };
        let recovered = recover(&*disk, &archive)?;
        let mut notices = recovered.notices;
        if archive.generation == 0 {
            archive.bump_generation(&*disk)?;
        }
        let opened = CatalogueDb::open(disk.clone(), &recovered.entries, &mut || {
            archive.bump_generation(&*disk)
        })?;
        if let Some(reason) = opened.rebuild_reason {
            notices.push(format!("catalogue rebuilt from the packs: {reason}"));
        }
        let checkpoint = opened.checkpoint;
        // Do not reuse the Seq of a lost entry.
        let last_seq = opened.lost_up_to.unwrap_or_default().max(checkpoint.last);
        let catalogue = Arc::new(opened.db);
        let core = Arc::new(StoreCore::new(
            disk.clone(),
            archive.clone(),
            catalogue.clone(),
            lock,
        ));
        let group_commit = GroupCommit {
            disk,
            archive,
            catalogue,
            checkpoint,
            next_seq: last_seq.next(),
            next_pack: recovered.next_pack,
            active: recovered.active,
            single_body_index: recovered.single_body_index,
            poison: core.poison.clone(),
        };
        tracing::info!(
            target: "store",
            entries = checkpoint.count,
            last_seq = last_seq.0,
            notices = notices.len(),
            "archive opened for writing"
        );
        let queue = core.queue.clone();
        let commit_thread = std::thread::Builder::new()
            .name("commit".into())
            .spawn(move || group_commit.run(&queue))
            .map_err(|e| StoreError::io("start the commit thread", e))?;
        Ok(Self {
            core,
            commit_thread: Mutex::new(Some(commit_thread)),
            notices,
        })
    }

    /// Problems found and repaired while opening, as text for a person.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    pub fn archive_id(&self) -> [u8; 16] {
        self.core.archive.id
    }

    /// The latest sealed version of a result.
    ///
    /// **Cost**: one look-up in the catalogue database.
    pub fn latest(&self, key: ResultKey) -> Result<Option<LatestVersion>, StoreError> {
        let latest = self.core.catalogue()?.latest(key)?;
        Ok(latest.map(|(header, _)| LatestVersion {
            version: Version(header.version),
            seq: header.seq,
            sha256: header.sha256,
            bytes: header.bytes,
        }))
    }

    /// The gap of a key; `None` if the key has a result.
    ///
    /// **Cost**: two look-ups, and one small read if there is a gap.
    pub fn gap(&self, key: ResultKey) -> Result<Option<Gap>, StoreError> {
        if self.latest(key)?.is_some() {
            return Ok(None);
        }
        match self.find(EntryType::Gap, key)? {
            Some(EntryKind::Gap(gap)) => Ok(Some(gap)),
            _ => Ok(None),
        }
    }

    /// The latest note of an action.
    pub fn action(&self, id: ActionId) -> Result<Option<Action>, StoreError> {
        match self.find(EntryType::Action, ResultKey::new(id, CommandIndex(0)))? {
            Some(EntryKind::Action(action)) => Ok(Some(action)),
            _ => Ok(None),
        }
    }

    /// The latest value of a setting.
    pub fn setting(&self, name: &str) -> Result<Option<serde_json::Value>, StoreError> {
        match self.find(EntryType::Setting, setting_key(name))? {
            Some(EntryKind::Setting(setting)) => Ok(Some(setting.value)),
            _ => Ok(None),
        }
    }

    fn find(&self, kind: EntryType, key: ResultKey) -> Result<Option<EntryKind>, StoreError> {
        let Some((header, location)) = self.core.catalogue()?.find(&lookup_key(kind, key))? else {
            return Ok(None);
        };
        let archive_key = self.core.archive.key();
        let json = read_json(&*self.core.disk, archive_key, &header, &location)?;
        Ok(Some(parse_entry(&header, &json)?.kind))
    }

    /// Seals a small body and returns when it is durable. Concurrent callers
    /// share a commit.
    ///
    /// **Errors**: `TooLarge` above [`SMALL_MAX`] bytes; use
    /// [`download`](Self::download) for such a body.
    pub fn seal(
        &self,
        key: ResultKey,
        facts: &Facts,
        collected_at: &Time,
        body: &[u8],
    ) -> Result<SealReceipt, StoreError> {
        self.submit(key, facts, collected_at, body)?.wait()
    }

    /// Like [`seal`](Self::seal), but returns at once, so that one thread can
    /// fill a commit. The commit starts when the queue contains enough, or when
    /// the caller waits for a pending commit. Blocks while the queue is full.
    pub fn submit(
        &self,
        key: ResultKey,
        facts: &Facts,
        collected_at: &Time,
        body: &[u8],
    ) -> Result<PendingCommit, StoreError> {
        if body.len() > SMALL_MAX {
            return Err(StoreError::TooLarge {
                key,
                bytes: body.len() as u64,
                limit: SMALL_MAX as u64,
            });
        }
        let entry = NewEntry::result(key, collected_at, facts);
        let body = FramedBody::new(body, is_compressible(facts, body));
        let reply = self.core.push(CommitRequest::Entry(entry, body))?;
        Ok(PendingCommit { reply })
    }

    /// Starts or resumes the download of a body of any size.
    ///
    /// **Errors**: `Busy` while another download of the key is open; `DiskFull`
    /// if there is no free space for a small body.
    ///
    /// **Cost**: reads and hashes the bytes of an earlier, partial download. Call
    /// it before requesting a link, which expires after minutes.
    pub fn download(&self, key: ResultKey) -> Result<IncomingBody, StoreError> {
        self.core.poison.check()?;
        check_free_space(&*self.core.disk, SMALL_MAX as u64)?;
        IncomingBody::open(self.core.clone(), key)
    }

    /// Notes an action and its JSON, as received. A note with the same JSON as
    /// the latest one adds nothing.
    pub fn note_action(&self, action: &Action, json: &[u8]) -> Result<Seq, StoreError> {
        let (entry, body) = action_entry(action, json)?;
        self.note(entry, body)
    }

    /// Notes several actions, up to 1,000 in one commit.
    pub fn note_actions(&self, actions: &[(&Action, &[u8])]) -> Result<(), StoreError> {
        self.note_all(actions, |(action, json)| action_entry(action, json))
    }

    /// Notes that a result is missing, with the reason. A note with the same
    /// reason and detail adds nothing. Sealing the result later removes the gap.
    pub fn note_gap(&self, gap: &Gap) -> Result<Seq, StoreError> {
        self.note(NewEntry::gap(gap), FramedBody::empty())
    }

    /// Notes several gaps, up to 1,000 in one commit.
    pub fn note_gaps(&self, gaps: &[Gap]) -> Result<(), StoreError> {
        self.note_all(gaps, |gap| Ok((NewEntry::gap(gap), FramedBody::empty())))
    }

    /// Notes a custody event. A duplicate event adds nothing.
    pub fn note_custody(&self, event: &CustodyEvent) -> Result<Seq, StoreError> {
        self.note(NewEntry::custody(event), FramedBody::empty())
    }

    fn note_custody_events(&self, events: &[CustodyEvent]) -> Result<(), StoreError> {
        self.note_all(events, |event| {
            Ok((NewEntry::custody(event), FramedBody::empty()))
        })
    }

    /// Notes the value of a setting that affects search results. The current
    /// value adds nothing.
    pub fn note_setting(&self, name: &str, value: serde_json::Value) -> Result<Seq, StoreError> {
        let setting = Setting {
            name: name.to_string(),
            value,
        };
        self.note(NewEntry::setting(&setting), FramedBody::empty())
    }

    /// Notes states of fleet runs, up to 1,000 in one commit. The current state
    /// of a place adds nothing.
    pub fn note_fleet(&self, notes: &[FleetNote]) -> Result<(), StoreError> {
        self.note_all(notes, |note| {
            Ok((NewEntry::fleet(note), FramedBody::empty()))
        })
    }

    fn note(&self, entry: NewEntry, body: FramedBody) -> Result<Seq, StoreError> {
        let receipt = self.core.push(CommitRequest::Entry(entry, body))?.wait()?;
        Ok(receipt.header.seq)
    }

    fn note_all<T>(
        &self,
        items: &[T],
        to_entry: impl Fn(&T) -> Result<(NewEntry, FramedBody), StoreError>,
    ) -> Result<(), StoreError> {
        for group in items.chunks(GROUP_MAX) {
            let mut replies = Vec::with_capacity(group.len());
            for item in group {
                let (entry, body) = to_entry(item)?;
                replies.push(self.core.push(CommitRequest::Entry(entry, body))?);
            }
            for reply in replies {
                reply.wait()?;
            }
        }
        Ok(())
    }

    /// Commits the queued entries, closes the catalogue database and releases
    /// the lock.
    ///
    /// **Errors**: `Poisoned` if an earlier operation poisoned the store.
    pub fn close(&self) -> Result<(), StoreError> {
        self.core.queue.close();
        let commit_thread = self
            .commit_thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = commit_thread {
            thread.join().map_err(|_| StoreError::Catalogue {
                detail: "the commit thread panicked".into(),
            })?;
        }
        self.core.close();
        self.core.poison.check()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

fn action_entry(action: &Action, json: &[u8]) -> Result<(NewEntry, FramedBody), StoreError> {
    if json.len() > ACTION_JSON_MAX {
        return Err(StoreError::EntryTooLarge {
            object: format!("action {}", action.id),
            bytes: json.len() as u64,
            limit: ACTION_JSON_MAX as u64,
        });
    }
    Ok((NewEntry::action(action), FramedBody::new(json, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn store_is_shared_and_downloads_move_between_threads() {
        fn is_shareable<T: Send + Sync>() {}
        fn is_movable<T: Send>() {}
        is_shareable::<Store>();
        is_movable::<IncomingBody>();
        is_movable::<PendingCommit>();
    }
}
