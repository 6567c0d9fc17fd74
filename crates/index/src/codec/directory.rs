//! The index's folder: the few operations that change it, each one counted so
//! that a test can stop the writer at any of them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::IndexError;
use crate::codec::system;

/// The folder of an index, opened for writing.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Operations left until the simulated end of the process.
    #[cfg(test)]
    pub(crate) operations_left: std::sync::Arc<std::sync::atomic::AtomicI64>,
    /// What was done, from which a test makes what a loss of power leaves.
    #[cfg(test)]
    pub(crate) done: std::sync::Arc<std::sync::Mutex<Vec<Done>>>,
}

/// An operation that was done.
#[cfg(test)]
#[derive(Clone, Debug)]
pub(crate) enum Done {
    Created(String),
    /// With what the file held.
    Synced(String, Vec<u8>),
    Renamed(String, String),
    FolderSynced,
    Removed(String),
}

impl Folder {
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        let folder = Self {
            path: path.to_path_buf(),
            #[cfg(test)]
            operations_left: std::sync::Arc::new(i64::MAX.into()),
            #[cfg(test)]
            done: std::sync::Arc::default(),
        };
        fs::create_dir_all(path).map_err(folder.failed("create", ""))?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn create(&self, name: &str) -> Result<NewFile, IndexError> {
        let path = self.path.join(name);
        let file = self
            .step()
            .and_then(|()| File::create(&path))
            .map_err(self.failed("create", name))?;
        #[cfg(test)]
        self.note(Done::Created(name.into()));
        Ok(NewFile {
            folder: self.clone(),
            name: name.to_string(),
            file: io::BufWriter::with_capacity(WRITE_BUFFER, file),
        })
    }

    /// Gives `from` the name `to`, replacing what had it, and makes it last.
    pub(crate) fn rename(&self, from: &str, to: &str) -> Result<(), IndexError> {
        self.step()
            .and_then(|()| fs::rename(self.path.join(from), self.path.join(to)))
            .map_err(self.failed("rename to", to))?;
        #[cfg(test)]
        self.note(Done::Renamed(from.into(), to.into()));
        self.sync()
    }

    pub(crate) fn sync(&self) -> Result<(), IndexError> {
        self.step()
            .and_then(|()| system::sync_folder(&self.path))
            .map_err(self.failed("sync", ""))?;
        #[cfg(test)]
        self.note(Done::FolderSynced);
        Ok(())
    }

    /// Removes a file nothing names any more. A file that a reader still maps
    /// cannot go on Windows: the next opening tries again.
    pub(crate) fn remove(&self, name: &str) {
        let _ = self
            .step()
            .and_then(|()| fs::remove_file(self.path.join(name)));
        #[cfg(test)]
        self.note(Done::Removed(name.into()));
    }

    #[cfg(test)]
    fn note(&self, done: Done) {
        self.done.lock().unwrap().push(done);
    }

    pub(crate) fn names(&self) -> Result<Vec<String>, IndexError> {
        let entries = fs::read_dir(&self.path).map_err(self.failed("list", ""))?;
        Ok(entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect())
    }

    pub(crate) fn failed(
        &self,
        action: &'static str,
        name: &str,
    ) -> impl FnOnce(io::Error) -> IndexError + use<> {
        let path = if name.is_empty() {
            self.path.clone()
        } else {
            self.path.join(name)
        };
        move |source| IndexError::Io {
            action,
            path,
            source,
        }
    }

    #[cfg(not(test))]
    fn step(&self) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&self) -> io::Result<()> {
        use std::sync::atomic::Ordering;
        if self.operations_left.fetch_sub(1, Ordering::SeqCst) <= 0 {
            return Err(io::Error::other("the process ended here"));
        }
        Ok(())
    }
}

/// Large enough that a frame is one write.
const WRITE_BUFFER: usize = 256 << 10;

/// A file being written; it counts for nothing until the manifest names it.
pub(crate) struct NewFile {
    folder: Folder,
    name: String,
    file: io::BufWriter<File>,
}

impl NewFile {
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        self.folder
            .step()
            .and_then(|()| self.file.write_all(bytes))
            .map_err(self.folder.failed("write", &self.name))
    }

    pub(crate) fn finish(mut self) -> Result<(), IndexError> {
        let folder = self.folder.clone();
        folder
            .step()
            .and_then(|()| self.file.flush())
            .and_then(|()| folder.step())
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(folder.failed("sync", &self.name))?;
        #[cfg(test)]
        folder.note(Done::Synced(
            self.name.clone(),
            fs::read(folder.path.join(&self.name)).unwrap(),
        ));
        Ok(())
    }
}
