//! Group commit: one thread assigns versions and Seqs, writes, syncs and
//! replies, for one group of requests at a time.
//!
//! **Invariant**: frames and trailers are synced before the pack index is
//! written, the pack index is synced before the catalogue is written, and the
//! catalogue is synced before the reply. Entries become visible in the order of
//! their Seqs.

use std::collections::HashMap;
use std::sync::Arc;

use crate::StoreError;
use crate::disk::Disk;
use crate::error::IoContext;
use crate::format::archive_file::Archive;
use crate::format::entry::{
    ENTRY_HEADER_LEN, EntryHeader, EntryLocation, EntryType, NewEntry, PackEntry,
};
use crate::format::frame::FramedBody;
use crate::format::header::FILE_HEADER_LEN;
use crate::format::pack;
use crate::format::pack::read_json;
use crate::format::pack_index::PackIndex;
use crate::format::{layout, trailer};
use crate::read::verify;
use crate::write::active_pack::ActivePack;
use crate::write::catalogue_db::{CatalogueCheckpoint, CatalogueDb, entry_key};
use crate::write::partial_download::FinishedBody;
use crate::write::preconditions::{Poison, check_free_space};
use crate::write::queue::{CommitQueue, CommitReceipt, CommitRequest, CommitResult, QueuedRequest};
use evidence::{ResultKey, Seq, Sha256};

/// **Units**: bytes. Upper limit of the fixed parts of a trailer or of an entry
/// of a pack index: lengths, checksums and the digests of a small body.
const OVERHEAD_MAX: u64 = 512;

/// The state of the commit thread.
pub(crate) struct GroupCommit {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) archive: Archive,
    pub(crate) catalogue: Arc<CatalogueDb>,
    pub(crate) checkpoint: CatalogueCheckpoint,
    pub(crate) next_seq: Seq,
    pub(crate) next_pack: u32,
    pub(crate) active: Option<ActivePack>,
    pub(crate) single_body_index: PackIndex,
    pub(crate) poison: Poison,
}

/// An entry with its version and Seq, not written yet.
struct PlannedEntry {
    header: EntryHeader,
    json: Vec<u8>,
}

impl PlannedEntry {
    /// **Units**: bytes on disk, in pack and pack index; an upper limit.
    fn size(&self) -> u64 {
        let description = (self.json.len() + ENTRY_HEADER_LEN) as u64 + OVERHEAD_MAX;
        self.header.stored + 2 * description
    }
}

/// Outcome of the deduplication of one request.
enum Dedup {
    /// The n-th new entry of the group.
    New(usize),
    /// A duplicate of the n-th new entry of the group.
    Duplicate(usize),
    /// A duplicate of a committed entry.
    Existing(EntryHeader, EntryLocation),
}

/// Outcome of the deduplication of a result.
enum ResultDedup {
    NextVersion(u32),
    Duplicate(Dedup),
}

/// The new entries of a group, with the keys to find duplicates.
#[derive(Default)]
struct CommitGroup {
    entries: Vec<PlannedEntry>,
    by_key: HashMap<Vec<u8>, usize>,
    results: HashMap<ResultKey, Vec<usize>>,
}

impl CommitGroup {
    fn push(&mut self, entry: PlannedEntry) -> usize {
        let at = self.entries.len();
        let header = &entry.header;
        self.by_key.insert(entry_key(header), at);
        if header.kind == EntryType::Result {
            self.results.entry(header.key).or_default().push(at);
        }
        self.entries.push(entry);
        at
    }

    /// The new versions of a result.
    fn versions(&self, key: ResultKey) -> impl Iterator<Item = (usize, &EntryHeader)> {
        self.results
            .get(&key)
            .into_iter()
            .flatten()
            .filter_map(|at| Some((*at, &self.entries.get(*at)?.header)))
    }
}

impl GroupCommit {
    /// Commits requests until the queue is closed and empty.
    pub(crate) fn run(mut self, queue: &CommitQueue) {
        let _guard = queue.close_on_drop();
        while let Some(requests) = queue.take() {
            let mut group = Vec::new();
            for queued in requests {
                match queued.request {
                    CommitRequest::Entry(..) => group.push(queued),
                    CommitRequest::FinishedBody(..) => {
                        self.commit_group(std::mem::take(&mut group));
                        self.commit_body(queued);
                    }
                }
            }
            self.commit_group(group);
        }
    }

    fn commit_group(&mut self, requests: Vec<QueuedRequest>) {
        if requests.is_empty() {
            return;
        }
        match self.try_commit_group(&requests) {
            Ok(results) => requests
                .iter()
                .zip(results)
                .for_each(|(queued, result)| queued.reply(result)),
            Err(e) => requests
                .iter()
                .for_each(|queued| queued.reply(Err(e.clone()))),
        }
    }

    fn commit_body(&mut self, queued: QueuedRequest) {
        if let CommitRequest::FinishedBody(entry, body) = &queued.request {
            let result = self.try_commit_body(entry, body);
            queued.reply(result);
        }
    }

    fn try_commit_group(
        &mut self,
        requests: &[QueuedRequest],
    ) -> Result<Vec<CommitResult>, StoreError> {
        self.poison.check()?;
        let mut group = CommitGroup::default();
        let first_seq = self.next_seq;
        let dedups = requests
            .iter()
            .filter_map(|queued| match &queued.request {
                CommitRequest::Entry(entry, body) => Some(self.plan(entry, body, &mut group)),
                CommitRequest::FinishedBody(..) => None,
            })
            .collect::<Result<Vec<_>, _>>()
            .inspect_err(|_| self.next_seq = first_seq)?;
        if !group.entries.is_empty() {
            self.write_group(requests, &dedups, &group.entries)
                .inspect_err(|_| self.next_seq = first_seq)?;
        }
        Ok(dedups
            .iter()
            .map(|dedup| self.receipt(dedup, &group.entries))
            .collect())
    }

    fn receipt(&self, dedup: &Dedup, entries: &[PlannedEntry]) -> CommitResult {
        match dedup {
            Dedup::New(at) | Dedup::Duplicate(at) => {
                let entry = entries.get(*at).ok_or(StoreError::Closed)?;
                Ok(CommitReceipt {
                    header: entry.header,
                    json: entry.json.clone(),
                    is_new: matches!(dedup, Dedup::New(_)),
                })
            }
            Dedup::Existing(header, location) => Ok(CommitReceipt {
                header: *header,
                json: read_json(&*self.disk, self.archive.key(), header, location)?,
                is_new: false,
            }),
        }
    }

    /// Deduplicates an entry. A new one gets its version and Seq and is added
    /// to the group.
    fn plan(
        &mut self,
        entry: &NewEntry,
        body: &FramedBody,
        group: &mut CommitGroup,
    ) -> Result<Dedup, StoreError> {
        let mut header = EntryHeader {
            seq: self.next_seq,
            kind: entry.kind,
            key: entry.key,
            version: 0,
            sha256: body.sha256.unwrap_or(entry.dedup_hash),
            blake3: body.blake3,
            bytes: body.bytes,
            stored: body.frames.len() as u64,
        };
        if entry.kind == EntryType::Result {
            match self.dedup_result(entry.key, header.sha256, group)? {
                ResultDedup::NextVersion(version) => header.version = version,
                ResultDedup::Duplicate(dedup) => return Ok(dedup),
            }
        } else if let Some(dedup) = self.dedup_entry(&header, group)? {
            return Ok(dedup);
        }
        self.next_seq = self.next_seq.next();
        Ok(Dedup::New(group.push(PlannedEntry {
            header,
            json: entry.json.clone(),
        })))
    }

    /// A result is a duplicate if any version of it has the same bytes. A
    /// damaged version does not count: the bytes are sealed again.
    ///
    /// **Cost**: reads and hashes the version with the same SHA-256.
    fn dedup_result(
        &self,
        key: ResultKey,
        sha256: Sha256,
        group: &CommitGroup,
    ) -> Result<ResultDedup, StoreError> {
        let mut latest = 0;
        for (header, location) in self.catalogue.versions(key)? {
            if header.sha256 == sha256 && self.is_intact(&header, &location) {
                return Ok(ResultDedup::Duplicate(Dedup::Existing(header, location)));
            }
            latest = latest.max(header.version);
        }
        for (at, header) in group.versions(key) {
            if header.sha256 == sha256 {
                return Ok(ResultDedup::Duplicate(Dedup::Duplicate(at)));
            }
            latest = latest.max(header.version);
        }
        Ok(ResultDedup::NextVersion(latest + 1))
    }

    fn is_intact(&self, header: &EntryHeader, location: &EntryLocation) -> bool {
        pack::open(&*self.disk, self.archive.key(), header, location)
            .is_ok_and(|pack| verify::find_damage(pack, header, location).is_none())
    }

    /// An entry other than a result is a duplicate if the latest entry of its
    /// key has the same hash.
    fn dedup_entry(
        &self,
        header: &EntryHeader,
        group: &CommitGroup,
    ) -> Result<Option<Dedup>, StoreError> {
        let key = entry_key(header);
        if let Some(at) = group.by_key.get(&key) {
            let is_duplicate = group
                .entries
                .get(*at)
                .is_some_and(|entry| entry.header.sha256 == header.sha256);
            return Ok(is_duplicate.then_some(Dedup::Duplicate(*at)));
        }
        Ok(self
            .catalogue
            .find(&key)?
            .filter(|(existing, _)| existing.sha256 == header.sha256)
            .map(|(existing, location)| Dedup::Existing(existing, location)))
    }

    fn write_group(
        &mut self,
        requests: &[QueuedRequest],
        dedups: &[Dedup],
        entries: &[PlannedEntry],
    ) -> Result<(), StoreError> {
        let size = entries.iter().map(PlannedEntry::size).sum();
        check_free_space(&*self.disk, size)?;
        let mut active = match self.active.take() {
            Some(active) if active.fits(size) => active,
            _ => self.create_pack()?,
        };
        let bodies = requests.iter().zip(dedups).filter_map(|(queued, dedup)| {
            match (&queued.request, dedup) {
                (CommitRequest::Entry(_, body), Dedup::New(_)) => Some(body),
                _ => None,
            }
        });
        let (bytes, encoded) = active.encode(
            entries
                .iter()
                .zip(bodies)
                .map(|(entry, body)| (entry.header, entry.json.as_slice(), body)),
        );
        let written = active.append(&bytes, &encoded, &self.poison);
        let pack = active.number;
        self.active = Some(active);
        written?;
        self.insert_into_catalogue(&encoded)?;
        tracing::debug!(
            target: "store",
            requests = requests.len(),
            entries = encoded.len(),
            bytes = bytes.len(),
            pack,
            last_seq = self.checkpoint.last.0,
            "group committed"
        );
        Ok(())
    }

    fn insert_into_catalogue(&mut self, entries: &[PackEntry]) -> Result<(), StoreError> {
        let entries: Vec<_> = entries
            .iter()
            .map(|entry| (entry.header, entry.location))
            .collect();
        self.checkpoint = self
            .catalogue
            .insert(self.checkpoint, &entries)
            .map_err(|e| self.poison.set(e))?;
        Ok(())
    }

    fn create_pack(&mut self) -> Result<ActivePack, StoreError> {
        let number = self.next_pack;
        self.next_pack += 1;
        ActivePack::create(&*self.disk, &self.archive, number)
    }

    /// Commits a large body as a single-body pack.
    fn try_commit_body(&mut self, entry: &NewEntry, body: &FinishedBody) -> CommitResult {
        self.poison.check()?;
        let group = CommitGroup::default();
        let version = match self.dedup_result(entry.key, body.sha256, &group)? {
            ResultDedup::NextVersion(version) => version,
            ResultDedup::Duplicate(dedup) => {
                body.remove(&*self.disk);
                return self.receipt(&dedup, &group.entries);
            }
        };
        let header = EntryHeader {
            seq: self.next_seq,
            kind: EntryType::Result,
            key: entry.key,
            version,
            sha256: body.sha256,
            blake3: body.blake3,
            bytes: body.bytes,
            stored: body.end - FILE_HEADER_LEN,
        };
        self.write_body(&header, entry, body)?;
        self.next_seq = self.next_seq.next();
        body.remove_headers(&*self.disk);
        Ok(CommitReceipt {
            header,
            json: entry.json.clone(),
            is_new: true,
        })
    }

    fn write_body(
        &mut self,
        header: &EntryHeader,
        entry: &NewEntry,
        body: &FinishedBody,
    ) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        let trailer = trailer::write(
            header,
            &body.digests,
            &entry.json,
            &body.mask,
            body.end,
            &mut bytes,
        );
        check_free_space(&*self.disk, bytes.len() as u64)?;
        let number = self.next_pack;
        let (partial, pack) = (&body.name, layout::pack(number));
        if let Err(e) = body.file.write_at(&bytes, body.end) {
            return Err(self.undo_trailer(body, StoreError::io(format!("write {partial}"), e)));
        }
        body.file
            .sync()
            .attempt(|| format!("sync {partial}"))
            .map_err(|e| self.poison.set(e))?;
        if let Err(e) = self.disk.rename(partial, &pack) {
            return Err(self.undo_trailer(body, StoreError::io(format!("rename {partial}"), e)));
        }
        self.next_pack += 1;
        // A power loss may leave the old name too; recovery removes it.
        self.disk
            .sync_folder(layout::PACKS)
            .attempt(|| format!("sync {}", layout::PACKS))
            .map_err(|e| self.poison.set(e))?;
        let entries = [PackEntry {
            header: *header,
            location: EntryLocation {
                pack: number,
                start: FILE_HEADER_LEN,
                trailer,
            },
            json: entry.json.clone(),
        }];
        self.single_body_index
            .append(&entries)
            .map_err(|e| self.poison.set(e))?;
        self.insert_into_catalogue(&entries)?;
        tracing::debug!(
            target: "store",
            bytes = header.bytes,
            pack = number,
            last_seq = self.checkpoint.last.0,
            "large body committed"
        );
        Ok(())
    }

    /// Truncates the file to the frames, so that the download can be resumed.
    fn undo_trailer(&self, body: &FinishedBody, cause: StoreError) -> StoreError {
        match body.file.set_len(body.end) {
            Ok(()) => cause,
            Err(e) => self
                .poison
                .set(StoreError::io(format!("truncate {}", body.name), e)),
        }
    }
}
