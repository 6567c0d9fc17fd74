//! A body of any size, streamed in. Small ones end up in a shared pack, large
//! ones in a file of their own that a later run goes on with.

use std::sync::Arc;

use crate::StoreError;
use crate::format::entry::NewEntry;
use crate::format::frame::{FRAME, FramedBody};
use crate::write::partial_download;
use crate::write::partial_download::{PartialDownload, ResponseHeaders};
use crate::write::queue::CommitRequest;
use crate::write::store::{SMALL_MAX, SealOutcome, StoreCore, compresses, wait_sealing};
use evidence::{Facts, ResultKey, Time};

/// A body on its way into the archive. One per key at a time.
///
/// Dropped before it is sealed, it leaves the archive as it was; a large body
/// is kept under `incoming/` and [`Store::download`](super::Store::download)
/// goes on with it.
pub struct IncomingBody {
    shared: Arc<StoreCore>,
    key: ResultKey,
    announced: ResponseHeaders,
    file: Option<PartialDownload>,
    /// What is in no frame yet: all of a small body, else less than a frame.
    pending: Vec<u8>,
}

impl IncomingBody {
    /// **Cost**: reads and hashes what an earlier run left (some 200 MB/s), so
    /// call it before asking for a link that lives for minutes.
    pub(crate) fn open(shared: Arc<StoreCore>, key: ResultKey) -> Result<Self, StoreError> {
        shared.claim(key)?;
        let mut download = Self {
            shared,
            key,
            announced: ResponseHeaders::default(),
            file: None,
            pending: Vec::new(),
        };
        let shared = &download.shared;
        let left = PartialDownload::resume(
            shared.disk.clone(),
            &shared.archive,
            shared.poison.clone(),
            key,
        )?;
        if let Some((file, announced)) = left {
            download.file = Some(file);
            download.announced = announced;
        }
        Ok(download)
    }

    pub fn key(&self) -> ResultKey {
        self.key
    }

    /// **Units**: bytes of the body that are here: ask for those behind them.
    pub fn offset(&self) -> u64 {
        self.file.as_ref().map_or(0, PartialDownload::bytes) + self.pending.len() as u64
    }

    /// What the server said of the body the bytes so far belong to.
    pub fn announced(&self) -> &ResponseHeaders {
        &self.announced
    }

    pub fn etag(&self) -> Option<&str> {
        self.announced.etag.as_deref()
    }

    pub fn last_modified(&self) -> Option<&str> {
        self.announced.last_modified.as_deref()
    }

    /// Keeps what the server says of the body, once its headers are known and
    /// before its bytes are appended. Where it is another body than the one
    /// begun, call [`restart`](Self::restart) before.
    pub fn begin(&mut self, announced: ResponseHeaders) -> Result<(), StoreError> {
        if let Some(file) = &self.file
            && announced != self.announced
        {
            file.announce(&announced)?;
        }
        self.announced = announced;
        Ok(())
    }

    /// Takes in the next bytes.
    ///
    /// **Errors**: what was taken in is what [`offset`](Self::offset) says
    /// then; after a full disk the call may be repeated with the rest.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), StoreError> {
        loop {
            self.write_whole_frames()?;
            let limit = if self.file.is_some() {
                FRAME
            } else {
                SMALL_MAX
            };
            let room = limit.saturating_sub(self.pending.len());
            let (here, rest) = bytes.split_at(bytes.len().min(room));
            self.pending.extend_from_slice(here);
            bytes = rest;
            if bytes.is_empty() {
                return self.write_whole_frames();
            }
            if self.file.is_none() {
                self.file = Some(self.create_file()?);
            }
        }
    }

    fn create_file(&self) -> Result<PartialDownload, StoreError> {
        let shared = &self.shared;
        PartialDownload::create(
            shared.disk.clone(),
            &shared.archive,
            shared.poison.clone(),
            self.key,
            &self.announced,
        )
    }

    fn write_whole_frames(&mut self) -> Result<(), StoreError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        // More than one only when a body has just outgrown the small ones.
        while self.pending.len() > FRAME {
            let rest = self.pending.split_off(FRAME);
            let written = file.write(&mut self.pending);
            self.pending.extend_from_slice(&rest);
            written?;
        }
        if self.pending.len() == FRAME {
            file.write(&mut self.pending)?;
        }
        Ok(())
    }

    /// MD5 of all bytes so far; `None` for a large body of which it was not
    /// asked for when it began.
    pub fn md5(&self) -> Option<[u8; 16]> {
        use md5::Digest;
        match &self.file {
            Some(file) => file.md5_with(&self.pending),
            None => Some(md5::Md5::digest(&self.pending).into()),
        }
    }

    /// Forgets the bytes so far: the server has another body now, or cannot
    /// go on in the middle.
    pub fn restart(&mut self) -> Result<(), StoreError> {
        self.pending.clear();
        if self.file.take().is_some() {
            partial_download::remove(&*self.shared.disk, self.key);
        }
        self.announced = ResponseHeaders::default();
        Ok(())
    }

    /// Forgets the bytes so far and the download.
    pub fn discard(mut self) -> Result<(), StoreError> {
        self.restart()
    }

    /// The body is whole: seals it, and returns once it is durable.
    ///
    /// **Errors**: a large body is then still under `incoming/`, for the next
    /// download of its key.
    pub fn seal(mut self, facts: &Facts, collected_at: &Time) -> Result<SealOutcome, StoreError> {
        let fact = NewEntry::result(self.key, collected_at, facts);
        let mut pending = std::mem::take(&mut self.pending);
        let work = match self.file.take() {
            None => {
                CommitRequest::Entry(fact, FramedBody::new(&pending, compresses(facts, &pending)))
            }
            Some(mut file) => {
                if !pending.is_empty() {
                    file.write(&mut pending)?;
                }
                CommitRequest::Adopt(fact, Box::new(file.finish()?))
            }
        };
        wait_sealing(self.shared.push(work)?)
    }
}

impl Drop for IncomingBody {
    fn drop(&mut self) {
        if let Some(file) = &mut self.file {
            // What is not durable is fetched again.
            let _ = file.sync();
        }
        self.shared.release(self.key);
    }
}
