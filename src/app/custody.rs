//! Opening an archive, and the custody events that record who used it.

use std::path::Path;

use jiff::Timestamp;

use evidence::Time;
use store::{Catalogue, CustodyEvent, OpenOptions, Store, StoreError};

use crate::app::error::{Failure, FailureKind};

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let kind = failure_kind(&error);
        let hint = error.hint();
        let failure = Self::caused(kind, String::new(), error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

pub(super) fn failure_kind(error: &StoreError) -> FailureKind {
    match error {
        StoreError::NoArchive { .. } | StoreError::Unknown { .. } => FailureKind::NotFound,
        StoreError::Locked { .. } | StoreError::Busy { .. } => FailureKind::Busy,
        StoreError::Damaged { .. } => FailureKind::Damaged,
        _ => FailureKind::Environment,
    }
}

/// Opens an archive for writing, and creates it if it does not exist.
pub(super) fn open_to_write(archive: &Path, command: &str) -> Result<Store, Failure> {
    let options = OpenOptions {
        create: true,
        command: command.to_string(),
    };
    Ok(Store::open(archive, options)?)
}

/// Opens an archive for reading: takes no lock and writes nothing.
pub(super) fn open_to_read(archive: &Path) -> Result<Catalogue, Failure> {
    Ok(Catalogue::open(archive)?)
}

/// Records a use of the archive in its custody log.
pub(super) fn note(store: &Store, what: &str) -> Result<(), Failure> {
    store.note_custody(&event(what))?;
    Ok(())
}

/// A custody event: this user and host, this version, now.
pub(super) fn event(what: &str) -> CustodyEvent {
    let variable = |names: &[&str]| {
        names
            .iter()
            .filter_map(|name| std::env::var(name).ok())
            .find(|value| !value.is_empty())
            .unwrap_or_else(|| "unknown".into())
    };
    CustodyEvent {
        who: variable(&["USER", "USERNAME", "LOGNAME"]),
        host: host_name().unwrap_or_else(|| variable(&["HOSTNAME", "COMPUTERNAME"])),
        version: env!("CARGO_PKG_VERSION").into(),
        at: Time::from_instant(Timestamp::now()),
        what: what.to_string(),
    }
}

/// The host name as Linux reports it; `None` on other systems.
fn host_name() -> Option<String> {
    let file = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    let name = file.trim();
    (!name.is_empty()).then(|| name.to_string())
}
