//! Partial download of a large body: one file under `incoming/`.
//!
//! It survives restarts and becomes a single-body pack when its trailer is
//! appended. Parallel downloads therefore do not interleave.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::disk::{Disk, DiskFile, read_small, replace};
use crate::error::IoContext;
use crate::format::archive_file::Archive;
use crate::format::frame::{Digest32, FRAME, HEAD, digest, encode_masked, merge};
use crate::format::header::{FILE_HEADER_LEN, FileHeader, FileKind};
use crate::format::mask::Mask;
use crate::format::{layout, pack_scan};
use crate::write::hashing::{BodyHasher, Md5Sum};
use crate::write::preconditions::{Poison, check_free_space};
use evidence::{ResultKey, Sha256};

/// **Units**: bytes between two syncs, the most that a power loss costs a
/// download.
const SYNC_EVERY: u64 = 64 << 20;
/// **Units**: bytes of the response headers.
const HEADERS_MAX: usize = 64 << 10;

/// The response headers of a download that matter for resuming it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResponseHeaders {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
    /// **Units**: bytes of the complete body.
    pub total: Option<u64>,
    /// Compute the MD5, for [`IncomingBody::md5`](crate::IncomingBody::md5).
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
    hasher: BodyHasher,
    digests: Vec<Digest32>,
    /// **Units**: bytes of the body in frames.
    bytes: u64,
    /// **Units**: bytes of the file.
    end: u64,
    unsynced: u64,
    /// Whether the response headers and the file names are durable. They are not
    /// synced before the first frames are: until then there is nothing to resume.
    names_synced: bool,
    masked: Vec<u8>,
}

/// A complete body in its own file, without a trailer.
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

    pub(crate) fn remove_headers(&self, disk: &dyn Disk) {
        // Best effort: the next download of the key overwrites the file.
        let _ = disk.remove(&headers_path(self.key));
    }
}

/// Removes the partial download of a key. Best effort: the next download of the
/// key truncates or overwrites remaining files.
pub(crate) fn remove(disk: &dyn Disk, key: ResultKey) {
    let _ = disk.remove(&layout::partial(key));
    let _ = disk.remove(&headers_path(key));
    let _ = disk.sync_folder(layout::INCOMING);
}

fn headers_path(key: ResultKey) -> String {
    format!("{}/{}", layout::INCOMING, layout::partial_headers(key))
}

impl PartialDownload {
    pub(crate) fn create(
        disk: Arc<dyn Disk>,
        archive: &Archive,
        poison: Poison,
        key: ResultKey,
        headers: &ResponseHeaders,
    ) -> Result<Self, StoreError> {
        poison.check()?;
        check_free_space(&*disk, SYNC_EVERY)?;
        let headers_name = headers_path(key);
        let attempt = || format!("create {headers_name}");
        let headers_file = disk.create(&headers_name).attempt(attempt)?;
        headers_file
            .write_at(&to_json(headers), 0)
            .attempt(attempt)?;
        let name = layout::partial(key);
        let attempt = || format!("create {name}");
        let file_header = archive.new_header(FileKind::Single)?;
        let file = disk.create(&name).attempt(attempt)?;
        file.write_at(&file_header.to_bytes(), 0).attempt(attempt)?;
        Self::with_file(disk, poison, key, file, file_header.mask, headers.md5)
    }

    fn with_file(
        disk: Arc<dyn Disk>,
        poison: Poison,
        key: ResultKey,
        file: Arc<dyn DiskFile>,
        mask: Mask,
        md5: bool,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            hasher: BodyHasher::start(md5)?,
            disk,
            poison,
            key,
            file,
            mask,
            digests: Vec::new(),
            bytes: 0,
            end: FILE_HEADER_LEN,
            unsynced: 0,
            names_synced: false,
            masked: Vec::with_capacity(HEAD + FRAME),
        })
    }

    /// Opens the partial download of an earlier process; `None` if there is
    /// none, or if its header or response headers are damaged.
    ///
    /// **Cost**: reads and hashes the frames.
    pub(crate) fn resume(
        disk: Arc<dyn Disk>,
        archive: &Archive,
        poison: Poison,
        key: ResultKey,
    ) -> Result<Option<(Self, ResponseHeaders)>, StoreError> {
        let name = layout::partial(key);
        let file = match disk.open_writable(&name) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StoreError::io(format!("open {name}"), e)),
        };
        let file_header = FileHeader::read(&*file, &name)
            .ok()
            .filter(|header| header.kind == FileKind::Single && header.archive == archive.id);
        let headers = read_small(&*disk, &headers_path(key), HEADERS_MAX)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<ResponseHeaders>(&bytes).ok());
        let (Some(file_header), Some(headers)) = (file_header, headers) else {
            remove(&*disk, key);
            return Ok(None);
        };
        let mask = file_header.mask;
        let mut partial = Self::with_file(disk, poison, key, file, mask, headers.md5)?;
        partial.read_frames(headers.total)?;
        tracing::debug!(
            target: "store",
            %key,
            bytes = partial.bytes,
            total = headers.total,
            "download resumed"
        );
        Ok(Some((partial, headers)))
    }

    /// Reads the intact frames and truncates the file after them.
    ///
    /// The frame that completes the body is downloaded again: only a response
    /// with bytes contains the MD5 of the body.
    fn read_frames(&mut self, total: Option<u64>) -> Result<(), StoreError> {
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
            self.hasher.push(&mut frame)?;
        }
        self.file
            .set_len(self.end)
            .attempt(|| format!("truncate {name}"))
    }

    fn count(&mut self, frame: &[u8], stored: u64) {
        let index = self.digests.len() as u64;
        // Not an only frame: a body of one frame is a small body.
        self.digests.push(digest(frame, index, false));
        self.bytes += frame.len() as u64;
        self.end += stored;
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Replaces the response headers.
    pub(crate) fn write_headers(&self, headers: &ResponseHeaders) -> Result<(), StoreError> {
        let name = layout::partial_headers(self.key);
        replace(&*self.disk, layout::INCOMING, &name, &to_json(headers))
            .attempt(|| format!("write {name}"))
    }

    /// Writes one frame and leaves an empty buffer in its place. If the write
    /// fails, the frame stays in the buffer.
    pub(crate) fn write_frame(&mut self, frame: &mut Vec<u8>) -> Result<(), StoreError> {
        self.poison.check()?;
        if self.unsynced >= SYNC_EVERY {
            self.sync()?;
            check_free_space(&*self.disk, SYNC_EVERY)?;
        }
        encode_masked(frame, &self.mask, self.end, &mut self.masked);
        self.file
            .write_at(&self.masked, self.end)
            .attempt(|| format!("write {}", layout::partial(self.key)))?;
        let stored = self.masked.len() as u64;
        self.count(frame, stored);
        self.unsynced += stored;
        self.hasher.push(frame)
    }

    /// Makes the written frames durable, so that a later process can resume
    /// after them.
    pub(crate) fn sync(&mut self) -> Result<(), StoreError> {
        self.sync_frames()?;
        if !self.names_synced {
            self.sync_names()
                .attempt(|| format!("sync {}", layout::INCOMING))
                .map_err(|e| self.poison.set(e))?;
            self.names_synced = true;
        }
        Ok(())
    }

    fn sync_names(&self) -> std::io::Result<()> {
        self.disk.open_writable(&headers_path(self.key))?.sync()?;
        self.disk.sync_folder(layout::INCOMING)
    }

    fn sync_frames(&mut self) -> Result<(), StoreError> {
        self.file
            .sync()
            .attempt(|| format!("sync {}", layout::partial(self.key)))
            .map_err(|e| self.poison.set(e))?;
        tracing::trace!(target: "store", key = %self.key, bytes = self.unsynced, "download synced");
        self.unsynced = 0;
        Ok(())
    }

    pub(crate) fn md5_with(&self, rest: &[u8]) -> Option<Md5Sum> {
        self.hasher.md5_with(rest)
    }

    /// Ends the download of a complete body. All but the trailer is durable.
    pub(crate) fn finish(mut self) -> Result<FinishedBody, StoreError> {
        self.poison.check()?;
        self.sync_frames()?;
        Ok(FinishedBody {
            name: layout::partial(self.key),
            key: self.key,
            blake3: merge(&self.digests, self.bytes),
            sha256: self.hasher.finish()?,
            file: self.file,
            mask: self.mask,
            end: self.end,
            bytes: self.bytes,
            digests: self.digests,
        })
    }
}

fn to_json(headers: &ResponseHeaders) -> Vec<u8> {
    // Cannot fail: plain data with text keys.
    serde_json::to_vec(headers).unwrap_or_default()
}
