//! The writer's side of an archive.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;

use crate::disk::Disk;
use crate::disk::fs::FsDisk;
use crate::disk::lock::WriterLock;
use crate::disk::system;
use crate::format::archive_file::Archive;
use crate::format::entry::{
    CustodyEvent, EntryType, FleetNote, NewEntry, Setting, read_entry, read_record, setting_key,
};
use crate::format::entry::{EntryHeader, EntryKind, EntryLocation};
use crate::format::frame::FramedBody;
use crate::format::pack::read_json;
use crate::read::pending_custody;
use crate::write::catalogue_db::CatalogueDb;
use crate::write::download::IncomingBody;
use crate::write::group_commit::{GroupCommit, Poison, refuse_if_full, refuse_if_poisoned};
use crate::write::queue::{CommitQueue, CommitReceipt, CommitRequest, PendingReply};
use crate::write::recover::recover;
use crate::{Scratch, StoreError};
use evidence::{
    Action, ActionId, CommandIndex, Facts, Gap, Record, ResultKey, ResultKind, Seq, Sha256, Time,
    Version,
};

/// **Units**: bytes. A larger body gets a file of its own.
pub const SMALL_MAX: usize = 1 << 20;
/// **Units**: bytes of an action's JSON as received.
pub const ACTION_JSON_MAX: usize = 16 << 20;
/// **Units**: bytes of the facts of one entry, as JSON.
pub(crate) const FACT_BYTES_MAX: usize = 1 << 20;

/// Facts noted by one caller that wait for their commit together: a commit's
/// worth.
pub(crate) const NOTES_AT_ONCE: usize = 1_000;

/// How to open an archive for writing.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// Create the archive where there is none.
    pub create: bool,
    /// What this process is doing, for whoever else wants to write. Holds no
    /// secret.
    pub command: String,
}

/// What sealing a result came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SealOutcome {
    Sealed(Record),
    /// These very bytes were sealed under this key before.
    AlreadySealed(Record),
}

impl SealOutcome {
    pub fn record(&self) -> &Record {
        match self {
            Self::Sealed(record) | Self::AlreadySealed(record) => record,
        }
    }

    pub fn into_record(self) -> Record {
        match self {
            Self::Sealed(record) | Self::AlreadySealed(record) => record,
        }
    }
}

/// What the catalogue says of a result without reading a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LatestVersion {
    pub version: Version,
    pub seq: Seq,
    pub sha256: Sha256,
    /// **Units**: bytes as downloaded.
    pub bytes: u64,
}

/// An archive opened for writing. One per archive; shared between threads by
/// reference or `Arc`.
pub struct Store {
    shared: Arc<StoreCore>,
    committer: Mutex<Option<JoinHandle<()>>>,
    notices: Vec<String>,
}

/// What downloads need of the store.
pub(crate) struct StoreCore {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) archive: Archive,
    pub(crate) poison: Poison,
    queue: Arc<CommitQueue>,
    keyed: RwLock<Option<Arc<CatalogueDb>>>,
    downloading: Mutex<HashSet<ResultKey>>,
    lock: Mutex<Option<WriterLock>>,
}

impl Store {
    /// Opens the archive in `dir` for writing.
    ///
    /// **Errors**: `NoArchive` where there is none and none may be created,
    /// `Locked` where another writer has it.
    ///
    /// **Cost**: reads the side files, and of packs only what they lack.
    pub fn open(dir: &Path, options: OpenOptions) -> Result<Self, StoreError> {
        let disk = Arc::new(FsDisk::new(dir));
        if !options.create {
            Archive::read(&*disk, dir)?;
        } else {
            system::create_private_folder(dir)
                .map_err(|e| StoreError::io(format!("create {}", dir.display()), e))?;
            // Where the folder above cannot be synced, this one is there
            // already or as durable as can be.
            let _ = dir.parent().map(system::sync_folder);
        }
        let lock = WriterLock::acquire(dir, &options.command)?;
        let mut store = Self::open_on(disk, dir, options.create, Some(lock))?;
        let damaged =
            pending_custody::merge(dir, store.archive(), |events| store.note_custodies(events))?;
        store
            .notices
            .extend(damaged.iter().map(|damage| format!("{damage}; kept")));
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
        // What was derived from entries that are gone must not stay.
        let mut bump_generation = || archive.bump_generation(&*disk);
        let opened = CatalogueDb::open(disk.clone(), &recovered.slots, &mut bump_generation)?;
        if let Some(why) = opened.rebuilt {
            notices.push(format!("catalogue was rebuilt from the packs: {why}"));
        }
        let extent = opened.extent;
        // A Seq that was ever given is not given to anything else.
        let last = opened.beyond.unwrap_or_default().max(extent.last);
        let keyed = Arc::new(opened.keyed);
        let poison: Poison = Arc::new(OnceLock::new());
        let shared = Arc::new(StoreCore {
            disk: disk.clone(),
            archive: archive.clone(),
            poison: poison.clone(),
            queue: Arc::default(),
            keyed: RwLock::new(Some(keyed.clone())),
            downloading: Mutex::default(),
            lock: Mutex::new(lock),
        });
        let committer = GroupCommit {
            disk,
            archive,
            keyed,
            next_seq: last.next(),
            extent,
            next_pack: recovered.next_pack,
            active: recovered.active,
            adopted: recovered.adopted,
            poison,
        };
        let of_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("commit".into())
            .spawn(move || committer.run(&of_thread.queue))
            .map_err(|e| StoreError::io("start a thread", e))?;
        Ok(Self {
            shared,
            committer: Mutex::new(Some(thread)),
            notices,
        })
    }

    /// What was found amiss while opening, for a person.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    pub fn archive_id(&self) -> [u8; 16] {
        self.shared.archive.id
    }

    pub(crate) fn archive(&self) -> &Archive {
        &self.shared.archive
    }

    /// The latest version sealed under `key`.
    ///
    /// **Cost**: one look-up in memory or in sled.
    pub fn latest(&self, key: ResultKey) -> Result<Option<LatestVersion>, StoreError> {
        let latest = self.shared.keyed()?.latest(key)?;
        Ok(latest.map(|(card, _)| LatestVersion {
            version: Version(card.version),
            seq: card.seq,
            sha256: card.sha256,
            bytes: card.bytes,
        }))
    }

    /// The gap that stands for `key`: none where there is a result.
    ///
    /// **Cost**: two look-ups, and a small read where there is one.
    pub fn gap(&self, key: ResultKey) -> Result<Option<Gap>, StoreError> {
        if self.latest(key)?.is_some() {
            return Ok(None);
        }
        match self.find(EntryType::Gap, key)? {
            Some(EntryKind::Gap(gap)) => Ok(Some(gap)),
            _ => Ok(None),
        }
    }

    /// The action as last noted.
    pub fn action(&self, id: ActionId) -> Result<Option<Action>, StoreError> {
        match self.find(EntryType::Action, ResultKey::new(id, CommandIndex(0)))? {
            Some(EntryKind::Action(action)) => Ok(Some(action)),
            _ => Ok(None),
        }
    }

    /// The setting as last noted.
    pub fn setting(&self, name: &str) -> Result<Option<serde_json::Value>, StoreError> {
        match self.find(EntryType::Setting, setting_key(name))? {
            Some(EntryKind::Setting(setting)) => Ok(Some(setting.value)),
            _ => Ok(None),
        }
    }

    fn find(&self, kind: EntryType, key: ResultKey) -> Result<Option<EntryKind>, StoreError> {
        let mut ident = vec![kind as u8];
        ident.extend_from_slice(&key.to_bytes());
        let Some((card, place)) = self.shared.keyed()?.find(&ident)? else {
            return Ok(None);
        };
        self.read(&card, &place).map(Some)
    }

    fn read(&self, card: &EntryHeader, place: &EntryLocation) -> Result<EntryKind, StoreError> {
        let json = read_json(&*self.shared.disk, self.archive().key(), card, place)?;
        Ok(read_entry(card, &json)?.kind)
    }

    /// Seals a small body and returns once it is durable. Concurrent callers
    /// share one commit.
    ///
    /// **Errors**: `TooLarge` above [`SMALL_MAX`] bytes: see
    /// [`download`](Self::download).
    pub fn seal(
        &self,
        key: ResultKey,
        facts: &Facts,
        collected_at: &Time,
        body: &[u8],
    ) -> Result<SealOutcome, StoreError> {
        self.submit(key, facts, collected_at, body)?.wait()
    }

    /// The same without waiting, so that one thread can fill a commit, which
    /// begins when it is worth it or a ticket is waited for. Waits only while
    /// the queue is full.
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
        let fact = NewEntry::result(key, collected_at, facts);
        let body = FramedBody::new(body, compresses(facts, body));
        let pending = self.shared.push(CommitRequest::Entry(fact, body))?;
        Ok(PendingCommit { pending })
    }

    /// Streams a body of any size, going on with what an earlier run left.
    ///
    /// **Errors**: `Busy` while another download of the key is open, `DiskFull`
    /// where not even a small body would find room.
    ///
    /// **Cost**: reads and hashes what is there already: call it before asking
    /// for a link that lives for minutes.
    pub fn download(&self, key: ResultKey) -> Result<IncomingBody, StoreError> {
        refuse_if_poisoned(&self.shared.poison)?;
        refuse_if_full(&*self.shared.disk, SMALL_MAX as u64)?;
        IncomingBody::open(self.shared.clone(), key)
    }

    /// Notes an action and its JSON as received. The same JSON as the latest
    /// noted adds nothing.
    pub fn note_action(&self, action: &Action, json: &[u8]) -> Result<Seq, StoreError> {
        check_action_json(action, json)?;
        self.note(NewEntry::action(action), FramedBody::new(json, true))
    }

    /// Notes a page of actions in one commit.
    pub fn note_actions(&self, actions: &[(&Action, &[u8])]) -> Result<(), StoreError> {
        for page in actions.chunks(NOTES_AT_ONCE) {
            let facts = page.iter().map(|(action, json)| {
                check_action_json(action, json)?;
                Ok((NewEntry::action(action), FramedBody::new(json, true)))
            });
            self.note_all(facts)?;
        }
        Ok(())
    }

    /// Notes several gaps in one commit.
    pub fn note_gaps(&self, gaps: &[Gap]) -> Result<(), StoreError> {
        for page in gaps.chunks(NOTES_AT_ONCE) {
            self.note_all(
                page.iter()
                    .map(|gap| Ok((NewEntry::gap(gap), FramedBody::none()))),
            )?;
        }
        Ok(())
    }

    fn note_all(
        &self,
        facts: impl Iterator<Item = Result<(NewEntry, FramedBody), StoreError>>,
    ) -> Result<(), StoreError> {
        let answers = facts
            .map(|fact| {
                let (fact, body) = fact?;
                self.shared.push(CommitRequest::Entry(fact, body))
            })
            .collect::<Result<Vec<_>, _>>()?;
        answers
            .into_iter()
            .try_for_each(|answer| answer.wait().map(|_| ()))
    }

    /// Notes that a result is not there. A later seal of the same key
    /// supersedes it; the same reason and detail again add nothing.
    pub fn note_gap(&self, gap: &Gap) -> Result<Seq, StoreError> {
        self.note(NewEntry::gap(gap), FramedBody::none())
    }

    /// Notes who did what. The very same event again adds nothing.
    pub fn note_custody(&self, event: &CustodyEvent) -> Result<Seq, StoreError> {
        self.note(NewEntry::custody(event), FramedBody::none())
    }

    /// Notes several events in one commit.
    pub(crate) fn note_custodies(&self, events: &[CustodyEvent]) -> Result<(), StoreError> {
        for page in events.chunks(NOTES_AT_ONCE) {
            self.note_all(
                page.iter()
                    .map(|event| Ok((NewEntry::custody(event), FramedBody::none()))),
            )?;
        }
        Ok(())
    }

    /// Notes a setting that decides what is found. The value it has already
    /// adds nothing.
    pub fn note_setting(&self, name: &str, value: serde_json::Value) -> Result<Seq, StoreError> {
        let setting = Setting {
            name: name.to_string(),
            value,
        };
        self.note(NewEntry::setting(&setting), FramedBody::none())
    }

    /// Notes steps of fleet runs, a commit's worth at a time. What a place says
    /// already adds nothing.
    pub fn note_fleet(&self, notes: &[FleetNote]) -> Result<(), StoreError> {
        for page in notes.chunks(NOTES_AT_ONCE) {
            self.note_all(
                page.iter()
                    .map(|note| Ok((NewEntry::fleet(note), FramedBody::none()))),
            )?;
        }
        Ok(())
    }

    fn note(&self, fact: NewEntry, body: FramedBody) -> Result<Seq, StoreError> {
        let done = self.shared.push(CommitRequest::Entry(fact, body))?.wait()?;
        Ok(done.card.seq)
    }

    /// Commits what is queued and lets go of the archive.
    ///
    /// **Errors**: `Poisoned` where a sync has failed since it was opened.
    pub fn close(&self) -> Result<(), StoreError> {
        self.shared.queue.close();
        if let Some(thread) = lock(&self.committer).take() {
            thread.join().map_err(|_| StoreError::Catalogue {
                detail: "the committer has panicked".into(),
            })?;
        }
        *self
            .shared
            .keyed
            .write()
            .unwrap_or_else(PoisonError::into_inner) = None;
        *lock(&self.shared.lock) = None;
        refuse_if_poisoned(&self.shared.poison)
    }
}

fn check_action_json(action: &Action, json: &[u8]) -> Result<(), StoreError> {
    if json.len() > ACTION_JSON_MAX {
        return Err(StoreError::FactTooLarge {
            what: format!("action {}", action.id),
            bytes: json.len() as u64,
            limit: ACTION_JSON_MAX as u64,
        });
    }
    Ok(())
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.close();
    }
}

/// A body on its way to being sealed.
#[must_use = "a body is sealed once `wait` says so"]
pub struct PendingCommit {
    pending: PendingReply,
}

impl PendingCommit {
    /// Returns once the body is durable.
    pub fn wait(self) -> Result<SealOutcome, StoreError> {
        wait_sealing(self.pending)
    }
}

impl StoreCore {
    pub(crate) fn push(&self, work: CommitRequest) -> Result<PendingReply, StoreError> {
        let (CommitRequest::Entry(fact, _) | CommitRequest::Adopt(fact, _)) = &work;
        if fact.json.len() > FACT_BYTES_MAX {
            return Err(StoreError::FactTooLarge {
                what: format!("facts of {}", fact.key),
                bytes: fact.json.len() as u64,
                limit: FACT_BYTES_MAX as u64,
            });
        }
        refuse_if_poisoned(&self.poison)?;
        self.queue.push(work)
    }

    fn keyed(&self) -> Result<Arc<CatalogueDb>, StoreError> {
        self.keyed
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
            .ok_or(StoreError::Closed)
    }

    pub(crate) fn claim(&self, key: ResultKey) -> Result<(), StoreError> {
        if lock(&self.downloading).insert(key) {
            Ok(())
        } else {
            Err(StoreError::Busy { key })
        }
    }

    pub(crate) fn release(&self, key: ResultKey) {
        lock(&self.downloading).remove(&key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn wait_sealing(pending: PendingReply) -> Result<SealOutcome, StoreError> {
    let CommitReceipt { card, json, fresh } = pending.wait()?;
    let record = read_record(&card, &json)?;
    Ok(if fresh {
        SealOutcome::Sealed(record)
    } else {
        SealOutcome::AlreadySealed(record)
    })
}

/// Only transcripts shrink much; what is packed already does not.
pub(crate) fn compresses(facts: &Facts, body: &[u8]) -> bool {
    let packed = body.starts_with(b"\x1f\x8b") || body.starts_with(b"PK");
    facts.kind == ResultKind::Transcript && !packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_and_its_downloads_cross_threads() {
        fn crosses<T: Send + Sync>() {}
        fn moves<T: Send>() {}
        crosses::<Store>();
        moves::<IncomingBody>();
        moves::<PendingCommit>();
    }

    #[test]
    fn only_transcripts_that_are_not_packed_are_compressed() {
        let origin = evidence::Origin::Import { path: "a".into() };
        let transcript = Facts::new(ResultKind::Transcript, origin.clone());
        let file = Facts::new(ResultKind::File, origin);
        assert!(compresses(&transcript, b"{}"));
        assert!(!compresses(&transcript, b"\x1f\x8b\x08"));
        assert!(!compresses(&transcript, b"PK\x03\x04"));
        assert!(!compresses(&file, b"{}"));
    }
}
