//! Collects results from the service into an archive.
//!
//! The functions are futures without a runtime and without a signal handler;
//! the caller provides both. Work that blocks runs on threads for it.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use collect::{
    BodySink, CheckLine, CollectError, ReceivedAction, Report, ResultSink, SealOutcome, SinkError,
    StoredState,
};
use evidence::{ActionId, Facts, Gap, ResultKey, Time};
use store::{IncomingBody, ResponseHeaders, SealReceipt, Store, StoreError};

use crate::app::collect_events::{RunControl, to_collector};
use crate::app::custody;
use crate::app::error::{Failure, FailureKind};
use crate::app::service_settings::{CollectRequest, ServiceSettings};

/// Result of a collection.
#[derive(Debug, Serialize)]
pub struct CollectReport {
    #[serde(flatten)]
    pub report: Report,
    /// Anomalies found when the archive was opened.
    #[serde(rename = "archive_notices")]
    pub notices: Vec<String>,
    /// Problems in the results of the requested actions, new and old; `None` if
    /// they are not known.
    pub problems: Option<u64>,
    /// The requested actions.
    #[serde(skip)]
    pub actions: HashSet<ActionId>,
    /// The failure that ended the run early. What was sealed is kept.
    #[serde(skip)]
    pub failed: Option<Failure>,
}

impl CollectReport {
    /// Whether nothing is missing or pending, and everything could be read.
    pub fn is_complete(&self) -> bool {
        self.report.is_complete() && self.problems.unwrap_or(0) == 0
    }
}

/// Collects into an archive until everything is downloaded, or until stopped.
///
/// **Errors**: the archive could not be opened or closed. A failure of the
/// service ends the run, and is part of the report.
pub async fn collect(
    archive: &Path,
    service: &ServiceSettings,
    request: &CollectRequest,
    control: RunControl,
) -> Result<CollectReport, Failure> {
    let settings = service.to_collecting(request)?;
    let host = settings.api_base.host_str().unwrap_or("?").to_string();
    let store = open_to_write(archive, "collect", format!("collect from {host}")).await?;
    let notices = store.notices().to_vec();
    let sink = Arc::new(ArchiveSink::new(store.clone(), archive));
    let (report, error) = collect::collect(
        settings,
        sink.clone(),
        to_collector(control.events),
        control.stop,
    )
    .await;
    close(store).await?;
    let actions = std::mem::take(&mut *sink.lock_actions());
    Ok(CollectReport {
        report,
        notices,
        problems: None,
        actions,
        failed: error.map(Failure::from),
    })
}

/// Tests what a collection needs, sign-in, permissions, host, clock and disk,
/// and downloads nothing.
pub async fn check_collect(
    archive: &Path,
    service: &ServiceSettings,
    request: &CollectRequest,
) -> Result<Vec<CheckLine>, Failure> {
    let settings = service.to_collecting(request)?;
    let free_bytes = store::free_bytes(existing_dir(archive)).ok();
    Ok(collect::check(&settings, free_bytes).await)
}

/// The directory of an archive, or the one it would be created in.
fn existing_dir(archive: &Path) -> &Path {
    archive
        .ancestors()
        .find(|dir| dir.is_dir())
        .unwrap_or(Path::new("."))
}

/// Opens an archive for writing, and records `custody_event`.
pub(super) async fn open_to_write(
    archive: &Path,
    command: &str,
    custody_event: String,
) -> Result<Arc<Store>, Failure> {
    let (archive, command) = (archive.to_path_buf(), command.to_string());
    blocking(move || {
        let store = custody::open_to_write(&archive, &command)?;
        custody::note(&store, &custody_event)?;
        Ok(Arc::new(store))
    })
    .await
}

pub(super) async fn close(store: Arc<Store>) -> Result<(), Failure> {
    blocking(move || Ok(store.close()?)).await
}

/// Runs work that blocks on a thread for it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(Failure::caused(
                FailureKind::Environment,
                "could not run a task",
                error,
            )),
        },
    }
}

impl From<CollectError> for Failure {
    fn from(error: CollectError) -> Self {
        let of_store = store_error(&error);
        let kind = of_store.map_or_else(|| failure_kind(&error), custody::failure_kind);
        let hint = error.hint().or(of_store.and_then(StoreError::hint));
        let failure = Self::caused(kind, String::new(), error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

fn failure_kind(error: &CollectError) -> FailureKind {
    use CollectError as E;
    match error {
        E::Setting { .. }
        | E::SecretFile { .. }
        | E::Certificate { .. }
        | E::Upload { .. }
        | E::CaFile { .. }
        | E::PlainHttp { .. }
        | E::Playbook { .. } => FailureKind::Usage,
        E::CallLog { .. } | E::Worker(_) | E::Sink { .. } => FailureKind::Environment,
        _ => FailureKind::Refused,
    }
}

/// The error of the archive that stopped the collector, if one did.
fn store_error(error: &CollectError) -> Option<&StoreError> {
    let CollectError::Sink { source, .. } = error else {
        return None;
    };
    let SinkError::Failed(inner) = source.as_ref() else {
        return None;
    };
    inner.downcast_ref()
}

/// An archive as the collector uses it.
pub(super) struct ArchiveSink {
    store: Arc<Store>,
    dir: PathBuf,
    /// The requested actions: all that were noted.
    actions: Mutex<HashSet<ActionId>>,
}

impl ArchiveSink {
    pub(super) fn new(store: Arc<Store>, dir: &Path) -> Self {
        Self {
            store,
            dir: dir.to_path_buf(),
            actions: Mutex::default(),
        }
    }

    fn lock_actions(&self) -> MutexGuard<'_, HashSet<ActionId>> {
        self.actions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResultSink for ArchiveSink {
    fn stored_state(&self, key: ResultKey) -> Result<StoredState, SinkError> {
        if let Some(latest) = self.store.latest(key).map_err(sink_error)? {
            return Ok(StoredState::Sealed {
                version: latest.version,
                sha256: latest.sha256,
            });
        }
        match self.store.gap(key) {
            Ok(Some(gap)) => Ok(StoredState::Gap(gap.reason)),
            Ok(None) => Ok(StoredState::Absent),
            // A damaged gap record must not prevent the download; `verify`
            // reports it.
            Err(error) if error.is_unreadable() => Ok(StoredState::Absent),
            Err(error) => Err(sink_error(error)),
        }
    }

    fn record_actions(&self, actions: &[ReceivedAction]) -> Result<(), SinkError> {
        self.lock_actions()
            .extend(actions.iter().map(|seen| seen.action.id));
        let pages: Vec<_> = actions
            .iter()
            .map(|seen| (&*seen.action, &*seen.json))
            .collect();
        self.store.note_actions(&pages).map_err(sink_error)
    }

    fn record_gaps(&self, gaps: &[Gap]) -> Result<(), SinkError> {
        self.store.note_gaps(gaps).map_err(sink_error)
    }

    fn download(&self, key: ResultKey, _facts: Facts) -> Result<Box<dyn BodySink>, SinkError> {
        let body = self.store.download(key).map_err(sink_error)?;
        Ok(Box::new(ArchiveBody(body)))
    }

    fn free_bytes(&self) -> Result<Option<u64>, SinkError> {
        Ok(store::free_bytes(&self.dir).ok())
    }
}

struct ArchiveBody(IncomingBody);

impl BodySink for ArchiveBody {
    fn offset(&self) -> u64 {
        self.0.offset()
    }

    fn etag(&self) -> Option<String> {
        self.0.etag().map(str::to_string)
    }

    fn begin(&mut self, etag: Option<&str>, total: Option<u64>) -> Result<(), SinkError> {
        let headers = ResponseHeaders {
            etag: etag.map(str::to_string),
            last_modified: None,
            total,
            md5: true,
        };
        self.0.begin(headers).map_err(sink_error)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.0.append(bytes).map_err(sink_error)
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        self.0.restart().map_err(sink_error)
    }

    fn md5(&self) -> Option<[u8; 16]> {
        self.0.md5()
    }

    fn seal(self: Box<Self>, facts: Facts, collected_at: Time) -> Result<SealOutcome, SinkError> {
        let sealing = self.0.seal(&facts, &collected_at).map_err(sink_error)?;
        let already_there = matches!(sealing, SealReceipt::AlreadySealed(_));
        let record = sealing.into_record();
        Ok(SealOutcome {
            version: record.id.version,
            already_there,
            sha256: record.sha256,
            bytes: record.bytes,
        })
    }
}

pub(super) fn sink_error(error: StoreError) -> SinkError {
    if error.is_disk_full() {
        SinkError::DiskFull
    } else {
        SinkError::failed(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::{CommandIndex, GapReason, Origin, ResultKind};

    fn gap(index: u32) -> Gap {
        let action = ActionId::from_bytes([7; 16]);
        Gap {
            key: ResultKey::new(action, CommandIndex(index)),
            reason: GapReason::Expired,
            detail: "410".into(),
            noted_at: Time::from_instant(jiff::Timestamp::UNIX_EPOCH),
            facts: Facts::new(ResultKind::File, Origin::Api { host: "h".into() }),
        }
    }

    #[test]
    fn damaged_gap_record_allows_the_download() {
        let dir = tempfile::tempdir().unwrap();
        let store = custody::open_to_write(dir.path(), "test").unwrap();
        let (damaged, intact) = (gap(0), gap(1));
        store.note_gap(&damaged).unwrap();
        store.note_gap(&intact).unwrap();
        store.close().unwrap();
        let pack = dir.path().join("packs/00000001.pack");
        let mut bytes = std::fs::read(&pack).unwrap();
        bytes[76 + 40] ^= 1;
        std::fs::write(&pack, bytes).unwrap();
        let store = custody::open_to_write(dir.path(), "test").unwrap();
        assert!(store.gap(damaged.key).is_err());
        let sink = ArchiveSink::new(Arc::new(store), dir.path());
        assert_eq!(sink.stored_state(damaged.key).unwrap(), StoredState::Absent);
        let known = StoredState::Gap(GapReason::Expired);
        assert_eq!(sink.stored_state(intact.key).unwrap(), known);
    }
}
