//! A large body on its way in: a file of its own that survives restarts and
//! becomes a pack when its trailer is added. So parallel downloads never
//! interleave.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::disk::{Disk, DiskFile, read_small, replace};
use crate::error::Attempt;
use crate::format::archive_file::Archive;
use crate::format::frame::{Digest32, FRAME, HEAD, digest, merge, pack_masked};
use crate::format::header::{FILE_HEADER_LEN, FileHeader, FileKind};
use crate::format::mask::Mask;
use crate::format::{layout, pack_scan};
use crate::write::group_commit::{Poison, poison, refuse_if_full, refuse_if_poisoned};
use crate::write::hashing::{BodyHasher, Md5Sum};
use evidence::{ResultKey, Sha256};

/// **Units**: bytes between syncs: what a power loss costs a download, at
/// most.
const SYNC_EVERY: u64 = 64 << 20;
/// **Units**: bytes of the facts beside a body.
const FACTS_MAX: usize = 64 << 10;

/// What the server said of a body before its bytes came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHeaders {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// **Units**: bytes of the whole body.
    pub total: Option<u64>,
    /// Whether [`IncomingBody::md5`](super::IncomingBody::md5) will be asked for.
    #[serde(default)]
    pub md5: bool,
}

/// An open file under `incoming/`.
pub(crate) struct PartialDownload {
    disk: Arc<dyn Disk>,
    poison: Poison,
    key: ResultKey,
    file: Arc<dyn DiskFile>,
    mask: Mask,
    hashing: BodyHasher,
    digests: Vec<Digest32>,
    /// **Units**: bytes of the body in frames.
    bytes: u64,
    /// **Units**: bytes of the file.
    end: u64,
    unsynced: u64,
    /// Whether facts and names are durable: not before the first sync, since
    /// what a power loss takes of a short body is fetched again.
    named: bool,
    masked: Vec<u8>,
}

/// A whole body in a file of its own, but for its trailer.
pub(crate) struct FinishedBody {
    pub(crate) name: String,
    pub(crate) key: ResultKey,
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) mask: Mask,
    pub(crate) end: u64,
    pub(crate) bytes: u64,
    pub(crate) sha256: Sha256,
    pub(crate) blake3: Digest32,
    pub(crate) digests: Vec<Digest32>,
}

impl FinishedBody {
    pub(crate) fn remove(&self, disk: &dyn Disk) {
        remove(disk, self.key);
    }

    pub(crate) fn remove_facts(&self, disk: &dyn Disk) {
        // Facts without a body are overwritten by the next download.
        let _ = disk.remove(&facts_path(self.key));
    }
}

/// Removes what stands under `incoming/` for a key. What stays is cut or
/// overwritten by the next download of it.
pub(crate) fn remove(disk: &dyn Disk, key: ResultKey) {
    let _ = disk.remove(&layout::partial(key));
    let _ = disk.remove(&facts_path(key));
    let _ = disk.sync_folder(layout::INCOMING);
}

fn facts_path(key: ResultKey) -> String {
    format!("{}/{}", layout::INCOMING, layout::partial_facts(key))
}

impl PartialDownload {
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        archive: &Archive,
        poison: Poison,
        key: ResultKey,
        announced: &ResponseHeaders,
    ) -> Result<Self, StoreError> {
        refuse_if_poisoned(&poison)?;
        refuse_if_full(&*disk, SYNC_EVERY)?;
        let facts = facts_path(key);
        let attempt = || format!("create {facts}");
        let json = disk.create(&facts).attempt(attempt)?;
        json.write_at(&to_json(announced), 0).attempt(attempt)?;
        let name = layout::partial(key);
        let attempt = || format!("create {name}");
        let header = archive.header(FileKind::Single);
        let file = disk.create(&name).attempt(attempt)?;
        file.write_at(&header.to_bytes(), 0).attempt(attempt)?;
        Self::with(disk, poison, key, file, header.mask, announced.md5)
    }

    fn with(
        disk: Arc<dyn Disk>,
        poison: Poison,
        key: ResultKey,
        file: Arc<dyn DiskFile>,
        mask: Mask,
        md5: bool,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            hashing: BodyHasher::start(md5)?,
            disk,
            poison,
            key,
            file,
            mask,
            digests: Vec::new(),
            bytes: 0,
            end: FILE_HEADER_LEN,
            unsynced: 0,
            named: false,
            masked: Vec::with_capacity(HEAD + FRAME),
        })
    }

    /// Goes on with what an earlier run left of this key; `None` where there
    /// is nothing worth keeping.
    ///
    /// **Cost**: reads and hashes what is there.
    pub(crate) fn resume(
        disk: Arc<dyn Disk>,
        archive: &Archive,
        poison: Poison,
        key: ResultKey,
    ) -> Result<Option<(Self, ResponseHeaders)>, StoreError> {
        let name = layout::partial(key);
        let file = match disk.write(&name) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io(format!("open {name}"), e)),
        };
        let header = FileHeader::read(&*file, &name)
            .ok()
            .filter(|header| header.kind == FileKind::Single && header.archive == archive.id);
        let announced = read_small(&*disk, &facts_path(key), FACTS_MAX)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<ResponseHeaders>(&bytes).ok());
        let (Some(header), Some(announced)) = (header, announced) else {
            remove(&*disk, key);
            return Ok(None);
        };
        let mut incoming = Self::with(disk, poison, key, file, header.mask, announced.md5)?;
        incoming.take_in_whole_frames(announced.total)?;
        Ok(Some((incoming, announced)))
    }

    /// The frame that would make the body whole is fetched again: only an
    /// answer with bytes in it says what the whole one's MD5 should be.
    fn take_in_whole_frames(&mut self, total: Option<u64>) -> Result<(), StoreError> {
        let name = layout::partial(self.key);
        let attempt = || format!("read {name}");
        while let Some(head) = pack_scan::head_at(&*self.file, self.end).attempt(attempt)? {
            if head.raw as usize != FRAME || total == Some(self.bytes + FRAME as u64) {
                break;
            }
            let payload =
                pack_scan::payload_at(&*self.file, &self.mask, self.end, &head).attempt(attempt)?;
            let Ok(mut frame) = payload else { break };
            self.count(&frame, HEAD as u64 + u64::from(head.stored));
            self.hashing.push(&mut frame)?;
        }
        let attempt = || format!("cut {name}");
        self.file.set_len(self.end).attempt(attempt)
    }

    fn count(&mut self, frame: &[u8], stored: u64) {
        let index = self.digests.len() as u64;
        // Never the only frame: such a body would have been a small one.
        self.digests.push(digest(frame, index, false));
        self.bytes += frame.len() as u64;
        self.end += stored;
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn announce(&self, announced: &ResponseHeaders) -> Result<(), StoreError> {
        write_facts(&*self.disk, self.key, announced)
    }

    /// Writes one frame and leaves an empty buffer in its place. What fails
    /// leaves both as they were.
    pub(crate) fn write(&mut self, frame: &mut Vec<u8>) -> Result<(), StoreError> {
        refuse_if_poisoned(&self.poison)?;
        if self.unsynced >= SYNC_EVERY {
            self.sync()?;
            refuse_if_full(&*self.disk, SYNC_EVERY)?;
        }
        pack_masked(frame, &self.mask, self.end, &mut self.masked);
        self.file
            .write_at(&self.masked, self.end)
            .attempt(|| format!("write {}", layout::partial(self.key)))?;
        let stored = self.masked.len() as u64;
        self.count(frame, stored);
        self.unsynced += stored;
        self.hashing.push(frame)
    }

    /// Makes what was written durable, for a later run to go on with.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.sync_bytes()?;
        if !self.named {
            self.sync_names()
                .attempt(|| format!("sync {}", layout::INCOMING))
                .map_err(|e| poison(&self.poison, e))?;
            self.named = true;
        }
        Ok(())
    }

    fn sync_names(&self) -> std::io::Result<()> {
        self.disk.write(&facts_path(self.key))?.sync()?;
        self.disk.sync_folder(layout::INCOMING)
    }

    fn sync_bytes(&mut self) -> Result<(), StoreError> {
        self.file
            .sync()
            .attempt(|| format!("sync {}", layout::partial(self.key)))
            .map_err(|e| poison(&self.poison, e))?;
        self.unsynced = 0;
        Ok(())
    }

    pub(crate) fn md5_with(&self, rest: &[u8]) -> Option<Md5Sum> {
        self.hashing.md5_with(rest)
    }

    /// The body is whole: everything but the trailer is durable.
    pub(crate) fn finish(mut self) -> Result<FinishedBody, StoreError> {
        refuse_if_poisoned(&self.poison)?;
        self.sync_bytes()?;
        Ok(FinishedBody {
            name: layout::partial(self.key),
            key: self.key,
            blake3: merge(&self.digests, self.bytes),
            sha256: self.hashing.finish()?,
            file: self.file,
            mask: self.mask,
            end: self.end,
            bytes: self.bytes,
            digests: self.digests,
        })
    }
}

fn write_facts(
    disk: &dyn Disk,
    key: ResultKey,
    announced: &ResponseHeaders,
) -> Result<(), StoreError> {
    let name = layout::partial_facts(key);
    replace(disk, layout::INCOMING, &name, &to_json(announced)).attempt(|| format!("write {name}"))
}

fn to_json(announced: &ResponseHeaders) -> Vec<u8> {
    // Plain data: there is nothing in it that JSON cannot say.
    serde_json::to_vec(announced).unwrap_or_default()
}
