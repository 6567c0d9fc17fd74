//! A vault in memory. It forgets what a real one would: a download let go
//! keeps whole frames only.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use afteraction_collect::{
    BodySink, ReceivedAction, ResultSink, SealOutcome, SinkError, StoredState,
};
use evidence::{Facts, Gap, ResultKey, Sha256, Time, Version};
use md5::{Digest, Md5};

const FRAME: usize = 1024;

#[derive(Clone)]
pub struct TestSink(Arc<Inner>);

struct Inner {
    sealed: Mutex<BTreeMap<ResultKey, Kept>>,
    partial: Mutex<BTreeMap<ResultKey, Partial>>,
    gaps: Mutex<Vec<Gap>>,
    actions: Mutex<Vec<ReceivedAction>>,
    /// Bytes still to be written before the disk is full.
    room: AtomicU64,
    seal_takes: Duration,
}

#[derive(Clone)]
pub struct Kept {
    pub bytes: Vec<u8>,
    pub facts: Facts,
}

#[derive(Clone, Default)]
pub struct Partial {
    pub etag: Option<String>,
    pub bytes: Vec<u8>,
}

impl TestSink {
    pub fn new() -> Self {
        Self::sealing_in(Duration::ZERO)
    }

    /// A vault that groups commits lets a seal wait for its group.
    pub fn sealing_in(seal_takes: Duration) -> Self {
        Self(Arc::new(Inner {
            sealed: Mutex::default(),
            partial: Mutex::default(),
            gaps: Mutex::default(),
            actions: Mutex::default(),
            room: AtomicU64::new(u64::MAX),
            seal_takes,
        }))
    }

    pub fn shared(&self) -> Arc<dyn ResultSink> {
        Arc::new(self.clone())
    }

    pub fn sealed(&self) -> BTreeMap<ResultKey, Kept> {
        self.0.sealed.lock().unwrap().clone()
    }

    pub fn gaps(&self) -> Vec<Gap> {
        self.0.gaps.lock().unwrap().clone()
    }

    pub fn actions(&self) -> Vec<ReceivedAction> {
        self.0.actions.lock().unwrap().clone()
    }

    pub fn partial(&self) -> BTreeMap<ResultKey, Partial> {
        self.0.partial.lock().unwrap().clone()
    }

    pub fn leave_room(&self, bytes: u64) {
        self.0.room.store(bytes, Ordering::SeqCst);
    }

    fn take_room(&self, bytes: u64) -> Result<(), SinkError> {
        self.0
            .room
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |room| {
                if room == u64::MAX {
                    Some(room)
                } else {
                    room.checked_sub(bytes)
                }
            })
            .map(drop)
            .map_err(|_| SinkError::DiskFull)
    }
}

impl ResultSink for TestSink {
    fn stored_state(&self, key: ResultKey) -> Result<StoredState, SinkError> {
        if let Some(kept) = self.0.sealed.lock().unwrap().get(&key) {
            return Ok(StoredState::Sealed {
                version: Version::FIRST,
                sha256: sha256(&kept.bytes),
            });
        }
        let gaps = self.0.gaps.lock().unwrap();
        let gap = gaps.iter().rev().find(|gap| gap.key == key);
        Ok(gap.map_or(StoredState::Absent, |gap| StoredState::Gap(gap.reason)))
    }

    fn record_actions(&self, actions: &[ReceivedAction]) -> Result<(), SinkError> {
        self.0.actions.lock().unwrap().extend_from_slice(actions);
        Ok(())
    }

    fn record_gaps(&self, gaps: &[Gap]) -> Result<(), SinkError> {
        self.0.gaps.lock().unwrap().extend_from_slice(gaps);
        Ok(())
    }

    fn download(&self, key: ResultKey, _: Facts) -> Result<Box<dyn BodySink>, SinkError> {
        if self.0.room.load(Ordering::SeqCst) == 0 {
            return Err(SinkError::DiskFull);
        }
        let partial = self.0.partial.lock().unwrap().remove(&key);
        Ok(Box::new(MemoryDownload {
            sink: self.clone(),
            key,
            held: partial.unwrap_or_default(),
        }))
    }

    fn free_bytes(&self) -> Result<Option<u64>, SinkError> {
        Ok(Some(self.0.room.load(Ordering::SeqCst)))
    }
}

struct MemoryDownload {
    sink: TestSink,
    key: ResultKey,
    held: Partial,
}

impl BodySink for MemoryDownload {
    fn offset(&self) -> u64 {
        self.held.bytes.len() as u64
    }

    fn etag(&self) -> Option<String> {
        self.held.etag.clone()
    }

    fn begin(&mut self, etag: Option<&str>, _: Option<u64>) -> Result<(), SinkError> {
        assert!(self.held.bytes.is_empty(), "begun in the middle");
        self.held.etag = etag.map(str::to_string);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.sink.take_room(bytes.len() as u64)?;
        self.held.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        self.held = Partial::default();
        Ok(())
    }

    fn md5(&self) -> Option<[u8; 16]> {
        Some(Md5::digest(&self.held.bytes).into())
    }

    fn seal(mut self: Box<Self>, facts: Facts, _: Time) -> Result<SealOutcome, SinkError> {
        std::thread::sleep(self.sink.0.seal_takes);
        let bytes = std::mem::take(&mut self.held.bytes);
        let sealed = SealOutcome {
            version: Version::FIRST,
            already_there: false,
            sha256: sha256(&bytes),
            bytes: bytes.len() as u64,
        };
        let kept = Kept { bytes, facts };
        let before = self.sink.0.sealed.lock().unwrap().insert(self.key, kept);
        assert!(before.is_none(), "{} sealed twice", self.key);
        Ok(sealed)
    }
}

impl Drop for MemoryDownload {
    fn drop(&mut self) {
        let whole = self.held.bytes.len() / FRAME * FRAME;
        self.held.bytes.truncate(whole);
        if whole > 0 {
            let mut partial = self.sink.0.partial.lock().unwrap();
            partial.insert(self.key, std::mem::take(&mut self.held));
        }
    }
}

pub fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}
