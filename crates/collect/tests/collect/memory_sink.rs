//! A sink in memory. Like the store, a dropped download keeps complete frames
//! only.

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
pub struct TestSink(Arc<TestSinkState>);

struct TestSinkState {
    sealed: Mutex<BTreeMap<ResultKey, SealedBody>>,
    partial: Mutex<BTreeMap<ResultKey, PartialBody>>,
    gaps: Mutex<Vec<Gap>>,
    actions: Mutex<Vec<ReceivedAction>>,
    /// Bytes that can be written before the disk is full.
    free_bytes: AtomicU64,
    seal_duration: Duration,
}

#[derive(Clone)]
pub struct SealedBody {
    pub bytes: Vec<u8>,
    pub facts: Facts,
}

#[derive(Clone, Default)]
pub struct PartialBody {
    pub etag: Option<String>,
    pub bytes: Vec<u8>,
}

impl TestSink {
    pub fn new() -> Self {
        Self::sealing_in(Duration::ZERO)
    }

    /// A sink whose seals take a while, as in a store that groups commits.
    pub fn sealing_in(seal_duration: Duration) -> Self {
        Self(Arc::new(TestSinkState {
            sealed: Mutex::default(),
            partial: Mutex::default(),
            gaps: Mutex::default(),
            actions: Mutex::default(),
            free_bytes: AtomicU64::new(u64::MAX),
            seal_duration,
        }))
    }

    pub fn shared(&self) -> Arc<dyn ResultSink> {
        Arc::new(self.clone())
    }

    pub fn sealed(&self) -> BTreeMap<ResultKey, SealedBody> {
        self.0.sealed.lock().unwrap().clone()
    }

    pub fn gaps(&self) -> Vec<Gap> {
        self.0.gaps.lock().unwrap().clone()
    }

    pub fn actions(&self) -> Vec<ReceivedAction> {
        self.0.actions.lock().unwrap().clone()
    }

    pub fn partial(&self) -> BTreeMap<ResultKey, PartialBody> {
        self.0.partial.lock().unwrap().clone()
    }

    pub fn set_free_bytes(&self, bytes: u64) {
        self.0.free_bytes.store(bytes, Ordering::SeqCst);
    }

    fn use_bytes(&self, bytes: u64) -> Result<(), SinkError> {
        self.0
            .free_bytes
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |free| {
                if free == u64::MAX {
                    Some(free)
                } else {
                    free.checked_sub(bytes)
                }
            })
            .map(drop)
            .map_err(|_| SinkError::DiskFull)
    }
}

impl ResultSink for TestSink {
    fn stored_state(&self, key: ResultKey) -> Result<StoredState, SinkError> {
        if let Some(body) = self.0.sealed.lock().unwrap().get(&key) {
            return Ok(StoredState::Sealed {
                version: Version::FIRST,
                sha256: sha256(&body.bytes),
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
        if self.0.free_bytes.load(Ordering::SeqCst) == 0 {
            return Err(SinkError::DiskFull);
        }
        let partial = self.0.partial.lock().unwrap().remove(&key);
        Ok(Box::new(TestDownload {
            sink: self.clone(),
            key,
            body: partial.unwrap_or_default(),
        }))
    }

    fn free_bytes(&self) -> Result<Option<u64>, SinkError> {
        Ok(Some(self.0.free_bytes.load(Ordering::SeqCst)))
    }
}

struct TestDownload {
    sink: TestSink,
    key: ResultKey,
    body: PartialBody,
}

impl BodySink for TestDownload {
    fn offset(&self) -> u64 {
        self.body.bytes.len() as u64
    }

    fn etag(&self) -> Option<String> {
        self.body.etag.clone()
    }

    fn begin(&mut self, etag: Option<&str>, _: Option<u64>) -> Result<(), SinkError> {
        assert!(self.body.bytes.is_empty(), "begin after the first byte");
        self.body.etag = etag.map(str::to_string);
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.sink.use_bytes(bytes.len() as u64)?;
        self.body.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        self.body = PartialBody::default();
        Ok(())
    }

    fn md5(&self) -> Option<[u8; 16]> {
        Some(Md5::digest(&self.body.bytes).into())
    }

    fn seal(mut self: Box<Self>, facts: Facts, _: Time) -> Result<SealOutcome, SinkError> {
        std::thread::sleep(self.sink.0.seal_duration);
        let bytes = std::mem::take(&mut self.body.bytes);
        let outcome = SealOutcome {
            version: Version::FIRST,
            already_there: false,
            sha256: sha256(&bytes),
            bytes: bytes.len() as u64,
        };
        let body = SealedBody { bytes, facts };
        let before = self.sink.0.sealed.lock().unwrap().insert(self.key, body);
        assert!(before.is_none(), "{} sealed twice", self.key);
        Ok(outcome)
    }
}

impl Drop for TestDownload {
    fn drop(&mut self) {
        let complete_frames = self.body.bytes.len() / FRAME * FRAME;
        self.body.bytes.truncate(complete_frames);
        if complete_frames > 0 {
            let mut partial = self.sink.0.partial.lock().unwrap();
            partial.insert(self.key, std::mem::take(&mut self.body));
        }
    }
}

pub fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(sha2::Sha256::digest(bytes).into())
}
