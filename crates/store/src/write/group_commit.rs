//! The one committer: gives versions and Seqs, writes, syncs, publishes,
//! answers; in this order and for one group at a time.
//!
//! **Invariant**: bytes and trailers synced → listed and synced → keyed and
//! synced → answered. Seqs become visible in their order.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use crate::StoreError;
use crate::disk::Disk;
use crate::error::Attempt;
use crate::format::archive_file::Archive;
use crate::format::entry::{ENTRY_HEADER_LEN, EntryHeader, EntryLocation, EntryType, NewEntry};
use crate::format::frame::{Digest32, FramedBody, mask_area};
use crate::format::header::{FILE_HEADER_LEN, FileKind};
use crate::format::pack;
use crate::format::pack::read_json;
use crate::format::pack_index::{Listed, PackIndex};
use crate::format::{layout, trailer};
use crate::read::verify;
use crate::write::catalogue_db::{CatalogueCheckpoint, CatalogueDb, ident};
use crate::write::partial_download::FinishedBody;
use crate::write::queue::{CommitQueue, CommitReceipt, CommitRequest, CommitResult, QueuedRequest};
use crate::write::recover::{ActivePack, PACK_MAX};
use evidence::{ResultKey, Seq, Sha256};

/// **Units**: bytes kept free, so that side file and catalogue never meet a
/// full disk after the packs were written.
pub(crate) const RESERVE: u64 = 16 << 20;

/// **Units**: bytes of a trailer, or of a record of a list, beside what it
/// holds: lengths, checksums and the digests of a small body.
const OVERHEAD: u64 = 512;

/// Set once a sync fails: what was attempted.
pub(crate) type Poison = Arc<OnceLock<String>>;

pub(crate) struct GroupCommit {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) archive: Archive,
    pub(crate) keyed: Arc<CatalogueDb>,
    pub(crate) extent: CatalogueCheckpoint,
    pub(crate) next_seq: Seq,
    pub(crate) next_pack: u32,
    pub(crate) active: Option<ActivePack>,
    pub(crate) adopted: PackIndex,
    pub(crate) poison: Poison,
}

/// A fact that gets an entry.
struct PlannedEntry {
    card: EntryHeader,
    json: Vec<u8>,
}

impl PlannedEntry {
    /// **Units**: bytes on the disk, those in the list too; no fewer.
    fn size(&self) -> u64 {
        let facts = (self.json.len() + ENTRY_HEADER_LEN) as u64 + OVERHEAD;
        self.card.stored + 2 * facts
    }
}

/// What a job turned out to be.
enum Dedup {
    /// The n-th fresh entry of its group.
    New(usize),
    /// The same as the n-th fresh entry of its group.
    Duplicate(usize),
    /// In the archive already.
    Existing(EntryHeader, EntryLocation),
}

/// The part of a group that is not committed yet, by what it is found by.
#[derive(Default)]
struct CommitGroup {
    fresh: Vec<PlannedEntry>,
    by_ident: HashMap<Vec<u8>, usize>,
    results: HashMap<ResultKey, Vec<usize>>,
}

impl GroupCommit {
    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self, queue: &CommitQueue) {
        let _closes = queue.close_at_end();
        while let Some(jobs) = queue.take() {
            let mut group = Vec::new();
            for job in jobs {
                match job.work {
                    CommitRequest::Entry(..) => group.push(job),
                    CommitRequest::Adopt(..) => {
                        self.commit_group(std::mem::take(&mut group));
                        self.commit_parcel(job);
                    }
                }
            }
            self.commit_group(group);
        }
    }

    fn commit_group(&mut self, jobs: Vec<QueuedRequest>) {
        if jobs.is_empty() {
            return;
        }
        match self.try_group(&jobs) {
            Ok(answers) => jobs
                .iter()
                .zip(answers)
                .for_each(|(job, answer)| job.answer(answer)),
            Err(e) => jobs.iter().for_each(|job| job.answer(Err(e.clone()))),
        }
    }

    fn commit_parcel(&mut self, job: QueuedRequest) {
        if let CommitRequest::Adopt(fact, parcel) = &job.work {
            let answer = self.try_parcel(fact, parcel);
            job.answer(answer);
        }
    }

    fn try_group(&mut self, jobs: &[QueuedRequest]) -> Result<Vec<CommitResult>, StoreError> {
        self.refuse_if_poisoned()?;
        let mut group = CommitGroup::default();
        let first_seq = self.next_seq;
        let planned = jobs
            .iter()
            .filter_map(|job| match &job.work {
                CommitRequest::Entry(fact, body) => Some(self.plan(fact, body, &mut group)),
                CommitRequest::Adopt(..) => None,
            })
            .collect::<Result<Vec<_>, _>>()
            .inspect_err(|_| self.next_seq = first_seq)?;
        if !group.fresh.is_empty() {
            self.write_group(jobs, &planned, &group.fresh)
                .inspect_err(|_| self.next_seq = first_seq)?;
        }
        Ok(planned
            .iter()
            .map(|planned| self.answer(planned, &group.fresh))
            .collect())
    }

    fn answer(&self, planned: &Dedup, fresh: &[PlannedEntry]) -> CommitResult {
        let of = |n: usize, is_fresh| {
            fresh
                .get(n)
                .map(|entry| CommitReceipt {
                    card: entry.card,
                    json: entry.json.clone(),
                    fresh: is_fresh,
                })
                .ok_or(StoreError::Closed)
        };
        match planned {
            Dedup::New(n) => of(*n, true),
            Dedup::Duplicate(n) => of(*n, false),
            Dedup::Existing(card, place) => Ok(CommitReceipt {
                card: *card,
                json: read_json(&*self.disk, self.archive.key(), card, place)?,
                fresh: false,
            }),
        }
    }

    /// Decides whether a fact is new, and which version and Seq it gets.
    fn plan(
        &mut self,
        fact: &NewEntry,
        body: &FramedBody,
        group: &mut CommitGroup,
    ) -> Result<Dedup, StoreError> {
        let sha256 = body.sha256.unwrap_or(fact.dedup_hash);
        let mut card = EntryHeader {
            seq: self.next_seq,
            kind: fact.kind,
            key: fact.key,
            version: 0,
            sha256,
            blake3: body.blake3,
            bytes: body.bytes,
            stored: body.area.len() as u64,
        };
        if fact.kind == EntryType::Result {
            match self.plan_version(fact.key, sha256, group)? {
                Ok(version) => card.version = version,
                Err(planned) => return Ok(planned),
            }
        } else if let Some(planned) = self.find_same(&card, group)? {
            return Ok(planned);
        }
        let n = group.fresh.len();
        group.by_ident.insert(ident(&card), n);
        if card.kind == EntryType::Result {
            group.results.entry(card.key).or_default().push(n);
        }
        group.fresh.push(PlannedEntry {
            card,
            json: fact.json.clone(),
        });
        self.next_seq = self.next_seq.next();
        Ok(Dedup::New(n))
    }

    /// The next version of a result, or where the same bytes stand already:
    /// whole, for a damaged copy is what the others are fetched again for.
    ///
    /// **Cost**: reads and hashes the bytes that stand there.
    fn plan_version(
        &self,
        key: ResultKey,
        sha256: Sha256,
        group: &CommitGroup,
    ) -> Result<Result<u32, Dedup>, StoreError> {
        let mut latest = 0;
        for (card, place) in self.keyed.versions(key)? {
            if card.sha256 == sha256 && self.is_whole(&card, &place) {
                return Ok(Err(Dedup::Existing(card, place)));
            }
            latest = latest.max(card.version);
        }
        for n in group.results.get(&key).into_iter().flatten() {
            let Some(fresh) = group.fresh.get(*n) else {
                continue;
            };
            if fresh.card.sha256 == sha256 {
                return Ok(Err(Dedup::Duplicate(*n)));
            }
            latest = latest.max(fresh.card.version);
        }
        Ok(Ok(latest + 1))
    }

    fn is_whole(&self, card: &EntryHeader, place: &EntryLocation) -> bool {
        let opened = pack::open(&*self.disk, self.archive.key(), card, place);
        opened.is_ok_and(|pack| verify::find_damage(pack, card, place).is_none())
    }

    /// Other facts are new where they differ from the latest of their name.
    fn find_same(
        &self,
        card: &EntryHeader,
        group: &CommitGroup,
    ) -> Result<Option<Dedup>, StoreError> {
        let ident = ident(card);
        if let Some(n) = group.by_ident.get(&ident) {
            let same = group
                .fresh
                .get(*n)
                .is_some_and(|fresh| fresh.card.sha256 == card.sha256);
            return Ok(same.then_some(Dedup::Duplicate(*n)));
        }
        Ok(self
            .keyed
            .find(&ident)?
            .filter(|(known, _)| known.sha256 == card.sha256)
            .map(|(known, place)| Dedup::Existing(known, place)))
    }

    fn write_group(
        &mut self,
        jobs: &[QueuedRequest],
        planned: &[Dedup],
        fresh: &[PlannedEntry],
    ) -> Result<(), StoreError> {
        let size = fresh.iter().map(PlannedEntry::size).sum();
        self.refuse_if_full(size)?;
        let mut active = match self.active.take() {
            Some(active) if active.end + size <= PACK_MAX => active,
            _ => self.new_pack()?,
        };
        let bodies =
            jobs.iter()
                .zip(planned)
                .filter_map(|(job, planned)| match (&job.work, planned) {
                    (CommitRequest::Entry(_, body), Dedup::New(_)) => Some(body),
                    _ => None,
                });
        let (bytes, entries) = lay_out(&active, fresh, bodies);
        let written = self.write_entries(&mut active, &bytes, &entries);
        // After a write that failed the pack is as it was before.
        self.active = Some(active);
        written
    }

    fn write_entries(
        &mut self,
        active: &mut ActivePack,
        bytes: &[u8],
        entries: &[Listed],
    ) -> Result<(), StoreError> {
        let name = layout::pack(active.number);
        if let Err(e) = active.file.write_at(bytes, active.end) {
            if let Err(e) = active.file.set_len(active.end) {
                return Err(self.poisoned(StoreError::io(format!("cut back {name}"), e)));
            }
            return Err(StoreError::io(format!("write {name}"), e));
        }
        active
            .file
            .sync()
            .attempt(|| format!("sync {name}"))
            .map_err(|e| self.poisoned(e))?;
        active.end += bytes.len() as u64;
        active.list.append(entries).map_err(|e| self.poisoned(e))?;
        self.key(entries)
    }

    fn key(&mut self, entries: &[Listed]) -> Result<(), StoreError> {
        let keyed: Vec<_> = entries
            .iter()
            .map(|(card, place, _)| (*card, *place))
            .collect();
        self.extent = self
            .keyed
            .insert(self.extent, &keyed)
            .map_err(|e| self.poisoned(e))?;
        Ok(())
    }

    /// Creates a shared pack and its list; both are durable when it returns.
    fn new_pack(&mut self) -> Result<ActivePack, StoreError> {
        let number = self.next_pack;
        self.next_pack += 1;
        let name = layout::pack(number);
        let attempt = || format!("create {name}");
        let header = self.archive.header(FileKind::Shared);
        let file = self.disk.create(&name).attempt(attempt)?;
        file.write_at(&header.to_bytes(), 0).attempt(attempt)?;
        file.sync().attempt(attempt)?;
        let list = PackIndex::create(
            &*self.disk,
            number,
            layout::list(number),
            &self.archive.header(FileKind::PackIndex),
        )?;
        self.disk.sync_folder(layout::PACKS).attempt(attempt)?;
        Ok(ActivePack {
            number,
            file,
            mask: header.mask,
            end: FILE_HEADER_LEN,
            list,
        })
    }

    /// Makes a pack of a body that has a file of its own.
    fn try_parcel(&mut self, fact: &NewEntry, parcel: &FinishedBody) -> CommitResult {
        self.refuse_if_poisoned()?;
        let mut group = CommitGroup::default();
        let version = match self.plan_version(fact.key, parcel.sha256, &group)? {
            Ok(version) => version,
            Err(Dedup::Existing(card, place)) => {
                parcel.remove(&*self.disk);
                return self.answer(&Dedup::Existing(card, place), &[]);
            }
            Err(_) => return Err(StoreError::Closed),
        };
        let card = EntryHeader {
            seq: self.next_seq,
            kind: EntryType::Result,
            key: fact.key,
            version,
            sha256: parcel.sha256,
            blake3: parcel.blake3,
            bytes: parcel.bytes,
            stored: parcel.end - FILE_HEADER_LEN,
        };
        self.adopt(&card, fact, parcel)?;
        self.next_seq = self.next_seq.next();
        parcel.remove_facts(&*self.disk);
        group.fresh.push(PlannedEntry {
            card,
            json: fact.json.clone(),
        });
        self.answer(&Dedup::New(0), &group.fresh)
    }

    fn adopt(
        &mut self,
        card: &EntryHeader,
        fact: &NewEntry,
        parcel: &FinishedBody,
    ) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        let digests: &[Digest32] = &parcel.digests;
        let trailer = trailer::write(
            card,
            digests,
            &fact.json,
            &parcel.mask,
            parcel.end,
            &mut bytes,
        );
        self.refuse_if_full(bytes.len() as u64)?;
        let number = self.next_pack;
        let (from, to) = (&parcel.name, layout::pack(number));
        if let Err(e) = parcel.file.write_at(&bytes, parcel.end) {
            return Err(self.cut_back(parcel, StoreError::io(format!("write {from}"), e)));
        }
        parcel
            .file
            .sync()
            .attempt(|| format!("sync {from}"))
            .map_err(|e| self.poisoned(e))?;
        if let Err(e) = self.disk.rename(from, &to) {
            return Err(self.cut_back(parcel, StoreError::io(format!("rename {from}"), e)));
        }
        self.next_pack += 1;
        // Where the old name outlives a power loss, the next opening drops it.
        self.disk
            .sync_folder(layout::PACKS)
            .attempt(|| format!("sync {}", layout::PACKS))
            .map_err(|e| self.poisoned(e))?;
        let place = EntryLocation {
            pack: number,
            start: FILE_HEADER_LEN,
            trailer,
        };
        let entries = [(*card, place, fact.json.clone())];
        self.adopted
            .append(&entries)
            .map_err(|e| self.poisoned(e))?;
        self.key(&entries)
    }

    fn cut_back(&self, parcel: &FinishedBody, cause: StoreError) -> StoreError {
        match parcel.file.set_len(parcel.end) {
            Ok(()) => cause,
            Err(e) => self.poisoned(StoreError::io(format!("cut back {}", parcel.name), e)),
        }
    }

    fn refuse_if_full(&self, bytes: u64) -> Result<(), StoreError> {
        refuse_if_full(&*self.disk, bytes)
    }

    fn refuse_if_poisoned(&self) -> Result<(), StoreError> {
        refuse_if_poisoned(&self.poison)
    }

    fn poisoned(&self, cause: StoreError) -> StoreError {
        poison(&self.poison, cause)
    }
}

/// Refuses every write from now on: what the disk holds is not known.
pub(crate) fn poison(poison: &Poison, cause: StoreError) -> StoreError {
    let attempt = match cause {
        StoreError::Io { attempt, source } => format!("{attempt}: {source}"),
        StoreError::DiskFull { attempt } => attempt,
        other => other.to_string(),
    };
    StoreError::Poisoned {
        attempt: poison.get_or_init(|| attempt).clone(),
    }
}

/// **Errors**: `Poisoned` once a sync has failed.
pub(crate) fn refuse_if_poisoned(poison: &Poison) -> Result<(), StoreError> {
    match poison.get() {
        None => Ok(()),
        Some(attempt) => Err(StoreError::Poisoned {
            attempt: attempt.clone(),
        }),
    }
}

/// **Errors**: `DiskFull` where `bytes` more would leave less than the reserve.
pub(crate) fn refuse_if_full(disk: &dyn Disk, bytes: u64) -> Result<(), StoreError> {
    let free = disk.free().attempt(|| "ask how much room is left".into())?;
    if free >= bytes.saturating_add(RESERVE) {
        return Ok(());
    }
    Err(StoreError::DiskFull {
        attempt: format!(
            "write {bytes} bytes: {free} are left, of which {RESERVE} stay free for the catalogue"
        ),
    })
}

/// The bytes of a group as they will stand in the pack, masked.
fn lay_out<'a>(
    active: &ActivePack,
    fresh: &[PlannedEntry],
    bodies: impl Iterator<Item = &'a FramedBody>,
) -> (Vec<u8>, Vec<Listed>) {
    let mut bytes = Vec::new();
    let entries = fresh
        .iter()
        .zip(bodies)
        .map(|(entry, body)| {
            let at = bytes.len();
            let start = active.end + at as u64;
            bytes.extend_from_slice(&body.area);
            if let Some(area) = bytes.get_mut(at..) {
                mask_area(area, &active.mask, start);
            }
            let trailer = trailer::write(
                &entry.card,
                &body.digests,
                &entry.json,
                &active.mask,
                start + entry.card.stored,
                &mut bytes,
            );
            let place = EntryLocation {
                pack: active.number,
                start,
                trailer,
            };
            (entry.card, place, entry.json.clone())
        })
        .collect();
    (bytes, entries)
}
