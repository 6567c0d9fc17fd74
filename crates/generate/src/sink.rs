//! Destinations of a collection.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;

/// Receives complete files by their path below the collection, joined with `/`.
/// Called by several threads; each path occurs once.
pub trait OutputSink: Sync {
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()>;
}

/// A directory, created if missing. Files are not synced, because a collection
/// can be regenerated.
#[derive(Debug)]
pub struct DirectorySink(pub PathBuf);

impl OutputSink for DirectorySink {
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let file = path
            .split('/')
            .fold(self.0.clone(), |at, name| at.join(name));
        match fs::write(&file, bytes) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(file.parent().unwrap_or(&self.0))?;
                fs::write(&file, bytes)
            }
            done => done,
        }
    }
}

/// Files in memory, for tests and small collections.
#[derive(Debug, Default)]
pub struct MemorySink(Mutex<BTreeMap<String, Vec<u8>>>);

impl MemorySink {
    /// The files by their paths.
    pub fn into_files(self) -> BTreeMap<String, Vec<u8>> {
        self.0.into_inner().unwrap_or_else(|e| e.into_inner())
    }
}

impl OutputSink for MemorySink {
    fn put(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.0.lock().unwrap_or_else(|e| e.into_inner());
        files.insert(path.to_string(), bytes.to_vec());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_sink_creates_missing_directories() {
        let scratch = tempfile::tempdir().unwrap();
        let folder = DirectorySink(scratch.path().join("new"));
        folder.put("a/0.json", b"{}").unwrap();
        folder.put("a.json", b"[]").unwrap();
        let read = |path: &str| fs::read(scratch.path().join("new").join(path)).unwrap();
        assert_eq!(read("a/0.json"), b"{}");
        assert_eq!(read("a.json"), b"[]");
    }
}
