//! Lock of the writing process.
//!
//! An archive has at most one writer. The operating system releases the lock
//! when the process ends. `writer.json` describes the writer for the messages
//! of other processes; it is a separate file, because Windows does not allow
//! reading a locked one.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::error::IoContext;

const LOCK: &str = "lock";
const WRITER: &str = "writer.json";
/// Time to wait for a writer that is about to close the archive.
const LOCK_WAIT: Duration = Duration::from_millis(200);

/// Holds the lock until dropped.
pub(crate) struct WriterLock {
    _file: File,
}

#[derive(Serialize, Deserialize)]
struct WriterInfo {
    pid: u32,
    command: String,
}

impl WriterLock {
    /// **Errors**: `Locked` if another writer holds the lock.
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
                Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_WAIT => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let WriterInfo { pid, command } = read_info(dir);
                    return Err(StoreError::Locked { pid, command });
                }
                Err(TryLockError::Error(e)) => return Err(StoreError::io(attempt(), e)),
            }
        }
        let info = WriterInfo {
            pid: std::process::id(),
            command: command.to_string(),
        };
        let text = serde_json::to_vec(&info).unwrap_or_default();
        fs::write(dir.join(WRITER), text).attempt(attempt)?;
        Ok(Self { _file: file })
    }
}

/// Command of the current writer; `None` without a writer, or if the lock
/// cannot be read. A process that tries to become the writer during this call
/// is not rejected, because it waits for the lock.
pub(crate) fn writer_command(dir: &Path) -> Option<String> {
    let file = File::open(dir.join(LOCK)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(read_info(dir).command),
        _ => None,
    }
}

fn read_info(dir: &Path) -> WriterInfo {
    fs::read(dir.join(WRITER))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or(WriterInfo {
            pid: 0,
            command: "unknown command".into(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writer_command_is_visible_while_the_lock_is_held() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(writer_command(dir.path()), None);
        let lock = WriterLock::acquire(dir.path(), "collect").unwrap();
        assert_eq!(writer_command(dir.path()).as_deref(), Some("collect"));
        drop(lock);
        assert_eq!(writer_command(dir.path()), None, "writer.json still exists");
        WriterLock::acquire(dir.path(), "index").unwrap();
    }
}
