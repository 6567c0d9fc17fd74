//! Opening the archive, and the note of who did so.

use std::path::Path;

use jiff::Timestamp;

use evidence::Time;
use store::{Catalogue, CustodyEvent, OpenOptions, Store, StoreError};

use crate::app::error::{Failure, FailureKind};

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = kind_of(&error);
        let hint = error.hint();
        let failure = Self::caused(kind, String::new(), error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

pub(super) fn kind_of(error: &StoreError) -> FailureKind {
    match error {
        StoreError::NoArchive { .. } | StoreError::Unknown { .. } => FailureKind::NotFound,
        StoreError::Locked { .. } | StoreError::Busy { .. } => FailureKind::Busy,
        StoreError::Damaged { .. } => FailureKind::Damaged,
        _ => FailureKind::Environment,
    }
}

/// Opens the archive to write, creating it where there is none.
pub fn open_to_write(archive: &Path, command: &str) -> Result<Store, Failure> {
    Ok(Store::open(
        archive,
        OpenOptions {
            create: true,
            command: command.to_string(),
        },
    )?)
}

/// Opens the archive to read: no lock, no write.
pub fn open_to_read(archive: &Path) -> Result<Catalogue, Failure> {
    Ok(Catalogue::open(archive)?)
}

/// Notes what this process does with the archive.
pub fn note(store: &Store, what: &str) -> Result<(), Failure> {
    store.note_custody(&event(what))?;
    Ok(())
}

/// Who does what, where, with which version, when.
pub fn event(what: &str) -> CustodyEvent {
    let from = |names: &[&str]| {
        names
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_else(|| "unknown".into())
    };
    CustodyEvent {
        who: from(&["USER", "USERNAME", "LOGNAME"]),
        host: host_name().unwrap_or_else(|| from(&["HOSTNAME", "COMPUTERNAME"])),
        version: env!("CARGO_PKG_VERSION").into(),
        at: Time::from_instant(Timestamp::now()),
        what: what.to_string(),
    }
}

/// Where the kernel says so in a file; elsewhere the environment does.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_string())
}
