//! Download of a body of any size. A small body ends up in a shared pack; a
//! large one is streamed into its own file, which a later process can resume.

use std::sync::Arc;

use crate::StoreError;
use crate::format::entry::NewEntry;
use crate::format::frame::{FRAME, FramedBody};
use crate::write::partial_download;
use crate::write::partial_download::{PartialDownload, ResponseHeaders};
use crate::write::queue::CommitRequest;
use crate::write::sealing::{PendingCommit, SMALL_MAX, SealReceipt, is_compressible};
use crate::write::store_core::StoreCore;
use evidence::{Facts, ResultKey, Time};

/// A body that is being downloaded. A key has at most one at a time.
///
/// If it is dropped before it is sealed, the archive has no new entry. The
/// frames of a large body stay under `incoming/`, and
/// [`Store::download`](crate::Store::download) resumes after them.
pub struct IncomingBody {
    core: Arc<StoreCore>,
    key: ResultKey,
    headers: ResponseHeaders,
    /// The file of a large body.
    partial: Option<PartialDownload>,
    /// Bytes that are in no frame yet: all bytes of a small body, otherwise
    /// less than a frame.
    buffer: Vec<u8>,
}

impl IncomingBody {
    /// **Cost**: reads and hashes the bytes of an earlier download, about
    /// 200 MB/s.
    pub(crate) fn open(core: Arc<StoreCore>, key: ResultKey) -> Result<Self, StoreError> {
        core.register_download(key)?;
        // From here on, dropping `download` unregisters the key.
        let mut download = Self {
            core,
            key,
            headers: ResponseHeaders::default(),
            partial: None,
            buffer: Vec::new(),
        };
        let core = &download.core;
        let resumed =
            PartialDownload::resume(core.disk.clone(), &core.archive, core.poison.clone(), key)?;
        if let Some((partial, headers)) = resumed {
            download.partial = Some(partial);
            download.headers = headers;
        }
        Ok(download)
    }

    pub fn key(&self) -> ResultKey {
        self.key
    }

    /// Length of the bytes so far, which is the offset to request from.
    ///
    /// **Units**: bytes.
    pub fn offset(&self) -> u64 {
        self.partial.as_ref().map_or(0, PartialDownload::bytes) + self.buffer.len() as u64
    }

    /// Response headers of the body that the bytes so far belong to.
    pub fn response_headers(&self) -> &ResponseHeaders {
        &self.headers
    }

    pub fn etag(&self) -> Option<&str> {
        self.headers.etag.as_deref()
    }

    pub fn last_modified(&self) -> Option<&str> {
        self.headers.last_modified.as_deref()
    }

    /// Stores the response headers. Call it before appending the bytes of the
    /// response. If the response is of another body than the bytes so far, call
    /// [`restart`](Self::restart) first.
    pub fn begin(&mut self, headers: ResponseHeaders) -> Result<(), StoreError> {
        if let Some(partial) = &self.partial
            && headers != self.headers
        {
            partial.write_headers(&headers)?;
        }
        self.headers = headers;
        Ok(())
    }

    /// Appends the next bytes.
    ///
    /// **Errors**: [`offset`](Self::offset) then counts the bytes that were
    /// appended. After `DiskFull`, the call can be repeated with the rest.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        loop {
            self.write_complete_frames()?;
            let limit = if self.partial.is_some() {
                FRAME
            } else {
                SMALL_MAX
            };
            let space = limit.saturating_sub(self.buffer.len());
            let (head, rest) = bytes.split_at(bytes.len().min(space));
            self.buffer.extend_from_slice(head);
            bytes = rest;
            if bytes.is_empty() {
                return self.write_complete_frames();
            }
            if self.partial.is_none() {
                self.partial = Some(self.create_partial()?);
            }
        }
    }

    fn create_partial(&self) -> Result<PartialDownload, StoreError> {
        let core = &self.core;
        PartialDownload::create(
            core.disk.clone(),
            &core.archive,
            core.poison.clone(),
            self.key,
            &self.headers,
        )
    }

    fn write_complete_frames(&mut self) -> Result<(), StoreError> {
        let Some(partial) = &mut self.partial else {
            return Ok(());
        };
        // The buffer contains more than one frame only when the body has just
        // exceeded the limit of small bodies.
        while self.buffer.len() > FRAME {
            let rest = self.buffer.split_off(FRAME);
            let written = partial.write_frame(&mut self.buffer);
            self.buffer.extend_from_slice(&rest);
            written?;
        }
        if self.buffer.len() == FRAME {
            partial.write_frame(&mut self.buffer)?;
        }
        Ok(())
    }

    /// MD5 of the bytes so far; `None` for a large body whose response headers
    /// did not request it.
    pub fn md5(&self) -> Option<[u8; 16]> {
        use md5::Digest;
        match &self.partial {
            Some(partial) => partial.md5_with(&self.buffer),
            None => Some(md5::Md5::digest(&self.buffer).into()),
        }
    }

    /// Discards the bytes so far. Used if the server has another body now or
    /// does not support ranges.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.buffer.clear();
        if self.partial.take().is_some() {
            partial_download::remove(&*self.core.disk, self.key);
        }
        self.headers = ResponseHeaders::default();
        Ok(())
    }

    /// Discards the bytes so far and ends the download.
    pub fn discard(mut self) -> Result<(), StoreError> {
        self.restart()
    }

    /// Seals the complete body and returns when it is durable.
    ///
    /// **Errors**: a large body stays under `incoming/` for the next download
    /// of its key.
    pub fn seal(mut self, facts: &Facts, collected_at: &Time) -> Result<SealReceipt, StoreError> {
        let entry = NewEntry::result(self.key, collected_at, facts);
        let mut rest = std::mem::take(&mut self.buffer);
        let request = match self.partial.take() {
            None => {
                let body = FramedBody::new(&rest, is_compressible(facts, &rest));
                CommitRequest::Entry(entry, body)
            }
            Some(mut partial) => {
                if !rest.is_empty() {
                    partial.write_frame(&mut rest)?;
                }
                CommitRequest::FinishedBody(entry, Box::new(partial.finish()?))
            }
        };
        let reply = self.core.push(request)?;
        PendingCommit { reply }.wait()
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        if let Some(partial) = &mut self.partial {
            // Best effort: bytes lost by a failed sync are downloaded again.
            let _ = partial.sync();
        }
        self.core.unregister_download(self.key);
    }
}
