//! One writer at a time: a lock the system lets go of when the writer dies,
//! and beside it, for the message, who holds it. (On Windows nobody can read
//! a locked file, so the two are not one.)

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::error::Attempt;

const LOCK: &str = "lock";
const WRITER: &str = "writer.json";
/// How long the next writer waits for one that is just closing.
const PATIENCE: Duration = Duration::from_millis(200);

/// Held by the writer, as long as it lives.
pub(crate) struct WriterLock {
    _file: File,
}

#[derive(Serialize, Deserialize)]
struct WriterInfo {
    pid: u32,
    command: String,
}

impl WriterLock {
    /// **Errors**: `Locked` where another writer holds it.
    pub(crate) fn acquire(dir: &Path, command: &str) -> Result<Self, StoreError> {
        let attempt = || "lock the archive".to_string();
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK))
            .attempt(attempt)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => return Err(holder(dir)),
                Err(TryLockError::Error(e)) => return Err(StoreError::io(attempt(), e)),
            }
        }
        let writer = WriterInfo {
            pid: std::process::id(),
            command: command.to_string(),
        };
        let text = serde_json::to_vec(&writer).unwrap_or_default();
        fs::write(dir.join(WRITER), text).attempt(attempt)?;
        Ok(Self { _file: file })
    }
}

/// What the writer says it does; `None` where there is none, or nobody can
/// tell. Only looks: a writer that comes meanwhile has the patience.
pub(crate) fn writer(dir: &Path) -> Option<String> {
    let file = File::open(dir.join(LOCK)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(named(dir).command),
        _ => None,
    }
}

fn holder(dir: &Path) -> StoreError {
    let writer = named(dir);
    StoreError::Locked {
        pid: writer.pid,
        command: writer.command,
    }
}

fn named(dir: &Path) -> WriterInfo {
    fs::read(dir.join(WRITER))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or(WriterInfo {
            pid: 0,
            command: "which has not said what it does".into(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_is_named_while_it_lives_and_looking_stops_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(writer(dir.path()), None);
        let lock = WriterLock::acquire(dir.path(), "collect").unwrap();
        assert_eq!(writer(dir.path()).as_deref(), Some("collect"));
        drop(lock);
        assert_eq!(writer(dir.path()), None, "what it said stays behind");
        WriterLock::acquire(dir.path(), "index").unwrap();
    }
}
