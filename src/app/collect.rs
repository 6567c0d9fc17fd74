//! Pump 1: the collector's view of the archive, and what a run came to.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use collect;
use collect::{
    BodySink, CheckLine, CollectSettings, Events, Report, ResultSink, SealOutcome, ReceivedAction,
    SinkError, StoredState,
};
use evidence::{ActionId, Facts, Gap, ResultKey, Time};
use store;
use store::{ResponseHeaders, Sealing, Store, StoreError};

use crate::app::custody;
use crate::app::error::{Failure, Kind};

/// What a run came to, with what the archive had to say on opening.
#[derive(Debug, Serialize)]
pub struct CollectReport {
    #[serde(flatten)]
    pub report: Report,
    /// What was found amiss on opening the archive.
    #[serde(rename = "archive_notices")]
    pub notices: Vec<String>,
    /// Inside the results of the actions that were meant, new and old; `None`
    /// where that is not known.
    pub problems: Option<u64>,
    /// The actions that were meant.
    #[serde(skip)]
    pub of: HashSet<ActionId>,
    /// What ended the run before its end; what was sealed until then is kept.
    #[serde(skip)]
    pub failed: Option<Failure>,
}

impl CollectReport {
    /// Nothing is missing, nothing is to come, all of it could be read.
    pub fn is_complete(&self) -> bool {
        self.report.is_complete() && self.problems.unwrap_or(0) == 0
    }
}

/// Collects into the archive until everything is taken, or until Ctrl-C.
///
/// **Errors**: where the archive cannot be opened or closed.
pub fn collect_into(
    archive: &Path,
    settings: CollectSettings,
    events: Events,
) -> Result<CollectReport, Failure> {
    let store = Arc::new(custody::open_to_write(archive, "collect")?);
    let notices = store.notices().to_vec();
    let host = settings.api_base.host_str().unwrap_or("?").to_string();
    custody::note(&store, &format!("collect from {host}"))?;
    let vault = Arc::new(StoreVault::new(store.clone(), archive));
    let seen = vault.clone();
    let (report, error) =
        runtime_until_interrupted(|stopped| collect::collect(settings, vault, events, stopped))?;
    store.close()?;
    let of = std::mem::take(&mut *seen.lock_of());
    Ok(CollectReport {
        report,
        notices,
        problems: None,
        of,
        failed: error.map(Failure::from),
    })
}

/// Tries what a run needs, and says what is wrong.
pub fn check_collect(archive: &Path, settings: CollectSettings) -> Result<Vec<CheckLine>, Failure> {
    let room = store::free_bytes(nearest_folder(archive)).ok();
    Ok(runtime()?.block_on(collect::check(&settings, room)))
}

/// The archive's folder, or where it would be made.
fn nearest_folder(archive: &Path) -> &Path {
    archive
        .ancestors()
        .find(|dir| dir.is_dir())
        .unwrap_or(Path::new("."))
}

/// Threads for the network; the blocking work has its own.
const NETWORK_THREADS: usize = 2;

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NETWORK_THREADS)
        .enable_all()
        .build()
        .map_err(|e| Failure::caused(Kind::World, "could not start the network threads", e))
}

/// Runs something that ends by itself, or soon after Ctrl-C. A second Ctrl-C,
/// and one that comes when nothing hears it any more, ends the process: every
/// step outlives a kill.
pub(super) fn runtime_until_interrupted<F: Future>(
    run: impl FnOnce(watch::Receiver<bool>) -> F,
) -> Result<F::Output, Failure> {
    let stop = interrupts();
    stop.send_replace(false);
    let runtime = runtime()?;
    UNDER_WAY.store(true, Ordering::SeqCst);
    let ended = runtime.block_on(run(stop.subscribe()));
    UNDER_WAY.store(false, Ordering::SeqCst);
    Ok(ended)
}

/// Something runs that a first Ctrl-C asks to stop.
static UNDER_WAY: AtomicBool = AtomicBool::new(false);
/// As shells report a process that Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Hears Ctrl-C from the first call on, for as long as the process lives: once
/// somebody listens the system's own answer to it does not come back.
fn interrupts() -> &'static watch::Sender<bool> {
    static STOP: OnceLock<watch::Sender<bool>> = OnceLock::new();
    STOP.get_or_init(|| {
        let stop = watch::Sender::new(false);
        let heard = stop.clone();
        // Where there is no thread to hear it, Ctrl-C ends the process.
        let _ = std::thread::Builder::new()
            .name("interrupts".into())
            .spawn(move || hear(&heard));
        stop
    })
}

fn hear(stop: &watch::Sender<bool>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return;
    };
    runtime.block_on(async {
        while tokio::signal::ctrl_c().await.is_ok() {
            if *stop.borrow() || !UNDER_WAY.load(Ordering::SeqCst) {
                std::process::exit(INTERRUPTED);
            }
            stop.send_replace(true);
        }
    });
}

impl From<collect::CollectError> for Failure {
    fn from(error: collect::CollectError) -> Self {
        let kept = kept_from(&error);
        let kind = kept.map_or_else(|| kind_of(&error), |(kind, _)| kind);
        let hint = error.hint().or(kept.and_then(|(_, hint)| hint));
        let failure = Self::caused(kind, String::new(), error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

fn kind_of(error: &collect::CollectError) -> Kind {
    use collect::CollectError as E;
    match error {
        E::Setting { .. }
        | E::SecretFile { .. }
        | E::Certificate { .. }
        | E::Upload { .. }
        | E::CaFile { .. }
        | E::PlainHttp { .. }
        | E::Playbook { .. } => Kind::Asked,
        E::CallLog { .. } | E::Worker(_) | E::Sink { .. } => Kind::World,
        _ => Kind::Refused,
    }
}

/// What the archive itself would have said, where it stopped the collecting.
fn kept_from(error: &collect::CollectError) -> Option<(Kind, Option<&'static str>)> {
    let collect::CollectError::Sink { source, .. } = error else {
        return None;
    };
    let SinkError::Failed(inner) = source.as_ref() else {
        return None;
    };
    let error = inner.downcast_ref::<StoreError>()?;
    Some((custody::kind_of(error), error.hint()))
}

/// The store as the collector sees it.
pub(super) struct StoreVault {
    store: Arc<Store>,
    dir: PathBuf,
    /// Actions that were noted: those that were meant.
    of: Mutex<HashSet<ActionId>>,
}

impl StoreVault {
    pub(super) fn new(store: Arc<Store>, dir: &Path) -> Self {
        Self {
            store,
            dir: dir.to_path_buf(),
            of: Mutex::default(),
        }
    }

    fn lock_of(&self) -> MutexGuard<'_, HashSet<ActionId>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResultSink for StoreVault {
    fn stored_state(&self, key: ResultKey) -> Result<StoredState, SinkError> {
        if let Some(latest) = self.store.latest(key).map_err(refused)? {
            return Ok(StoredState::Sealed {
                version: latest.version,
                sha256: latest.sha256,
            });
        }
        match self.store.gap(key) {
            Ok(Some(gap)) => Ok(StoredState::Gap(gap.reason)),
            Ok(None) => Ok(StoredState::Absent),
            // A note of what is missing that rotted must not keep the result
            // from being asked for; `verify` names it.
            Err(error) if error.is_unreadable() => Ok(StoredState::Absent),
            Err(error) => Err(refused(error)),
        }
    }

    fn record_actions(&self, actions: &[ReceivedAction]) -> Result<(), SinkError> {
        self.lock_of()
            .extend(actions.iter().map(|seen| seen.action.id));
        let pages: Vec<_> = actions
            .iter()
            .map(|seen| (&*seen.action, &*seen.json))
            .collect();
        self.store.note_actions(&pages).map_err(refused)
    }

    fn record_gaps(&self, gaps: &[Gap]) -> Result<(), SinkError> {
        self.store.note_gaps(gaps).map_err(refused)
    }

    fn download(&self, key: ResultKey, _facts: Facts) -> Result<Box<dyn BodySink>, SinkError> {
        let download = self.store.download(key).map_err(refused)?;
        Ok(Box::new(StoreDownload(download)))
    }

    fn free_bytes(&self) -> Result<Option<u64>, SinkError> {
        Ok(store::free_bytes(&self.dir).ok())
    }
}

struct StoreDownload(store::IncomingBody);

impl BodySink for StoreDownload {
    fn offset(&self) -> u64 {
        self.0.offset()
    }

    fn etag(&self) -> Option<String> {
        self.0.etag().map(str::to_string)
    }

    fn begin(&mut self, etag: Option<&str>, total: Option<u64>) -> Result<(), SinkError> {
        let announced = ResponseHeaders {
            etag: etag.map(str::to_string),
            last_modified: None,
            total,
            md5: true,
        };
        self.0.begin(announced).map_err(refused)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        self.0.append(bytes).map_err(refused)
    }

    fn restart(&mut self) -> Result<(), SinkError> {
        self.0.restart().map_err(refused)
    }

    fn md5(&self) -> Option<[u8; 16]> {
        self.0.md5()
    }

    fn seal(self: Box<Self>, facts: Facts, collected_at: Time) -> Result<SealOutcome, SinkError> {
        let sealing = self.0.seal(&facts, &collected_at).map_err(refused)?;
        let already_there = matches!(sealing, Sealing::AlreadyThere(_));
        let record = sealing.into_record();
        Ok(SealOutcome {
            version: record.id.version,
            already_there,
            sha256: record.sha256,
            bytes: record.bytes,
        })
    }
}

pub(super) fn refused(error: StoreError) -> SinkError {
    if error.is_disk_full() {
        SinkError::DiskFull
    } else {
        SinkError::failed(error)
    }
}

/// Waits for Ctrl-C.
pub fn until_interrupted() -> Result<(), Failure> {
    runtime_until_interrupted(|mut stopped| async move {
        // The sender lives as long as the process.
        let _ = stopped.wait_for(|stopped| *stopped).await;
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::{CommandIndex, Facts, Gap, GapReason, Origin, Time};

    fn gap(index: u32) -> Gap {
        let action = ActionId::from_bytes([7; 16]);
        Gap {
            key: ResultKey::new(action, CommandIndex(index)),
            reason: GapReason::Expired,
            detail: "410".into(),
            noted_at: Time::from_instant(jiff::Timestamp::UNIX_EPOCH),
            facts: Facts::new(evidence::ResultKind::File, Origin::Api { host: "h".into() }),
        }
    }

    #[test]
    fn a_note_of_a_gap_that_rotted_lets_its_result_be_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let store = custody::open_to_write(folder.path(), "test").unwrap();
        let (rotten, sound) = (gap(0), gap(1));
        store.note_gap(&rotten).unwrap();
        store.note_gap(&sound).unwrap();
        store.close().unwrap();
        let pack = folder.path().join("packs/00000001.pack");
        let mut bytes = std::fs::read(&pack).unwrap();
        bytes[76 + 40] ^= 1;
        std::fs::write(&pack, bytes).unwrap();
        let store = custody::open_to_write(folder.path(), "test").unwrap();
        assert!(store.gap(rotten.key).is_err());
        let vault = StoreVault::new(Arc::new(store), folder.path());
        assert_eq!(vault.stored_state(rotten.key).unwrap(), StoredState::Absent);
        let known = StoredState::Gap(GapReason::Expired);
        assert_eq!(vault.stored_state(sound.key).unwrap(), known);
    }
}
