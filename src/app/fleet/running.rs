//! A run and its record in the archive.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::orders;
use super::standing::find_run;
use crate::app::collecting::{StoreVault, runtime_until_interrupted};
use crate::app::custody;
use crate::app::failure::{Failure, Kind};
use crate::collect::fleet::{
    self, FleetOrder, FleetPlan, FleetRecord, FleetReport, FleetRules, RunId, RunState,
};
use crate::collect::{Events, Settings, VaultError};
use crate::evidence::{Action, ActionId, Time};
use crate::store::{FleetNote, Store};

/// What a run, or a part of one, came to.
#[derive(Debug, serde::Serialize)]
pub struct FleetEnded {
    #[serde(flatten)]
    pub report: FleetReport,
    /// What was found amiss on opening the archive.
    pub archive_notices: Vec<String>,
    /// What ended it before its end; its record stands.
    #[serde(skip)]
    pub failed: Option<Failure>,
}

/// Starts a planned run and stays with it until it is over, paused or left
/// with Ctrl-C.
pub fn start_fleet(
    archive: &Path,
    settings: Settings,
    plan: FleetPlan,
    rules: FleetRules,
    events: Events,
) -> Result<FleetEnded, Failure> {
    let store = Arc::new(custody::open_to_write(archive, "fleet run")?);
    let host = settings.api_base.host_str().unwrap_or("?").to_string();
    let what = format!(
        "fleet run {} on {} devices at {host}: {}",
        plan.id,
        plan.devices.len(),
        plan.comment
    );
    custody::note(&store, &what)?;
    let state = RunState::new(plan, rules, host, Time::from_instant(Timestamp::now()));
    let record = StoreRecord::new(&store, archive);
    record.write(state.run.id, &state.notes())?;
    go_on(store, settings, state, record, events)
}

/// Goes on with a run where its record stands; `order` is obeyed first.
pub fn resume_fleet(
    archive: &Path,
    settings: Settings,
    run: Option<&str>,
    order: Option<FleetOrder>,
    events: Events,
) -> Result<FleetEnded, Failure> {
    let store = Arc::new(custody::open_to_write(archive, "fleet resume")?);
    let catalogue = custody::open_to_read(archive)?;
    let mut state = find_run(&catalogue, run)?;
    drop(catalogue);
    let host = settings.api_base.host_str().unwrap_or("?");
    if host != state.run.host {
        return Err(Failure::asked(format!(
            "run {} is on {}, not on {host}",
            state.run.id, state.run.host
        ))
        .hint("one host of the service does not show what another started; name the same one"));
    }
    custody::note(&store, &format!("fleet resume {}", state.run.id))?;
    state.run.is_paused = false;
    let record = StoreRecord::new(&store, archive);
    record.write(state.run.id, &state.notes()[..1])?;
    let id = state.run.id;
    let left = orders::take(archive, id)?;
    // What was left while nobody was at it: going on overrules a pause.
    for order in left.into_iter().chain(order).filter(cancels) {
        orders::leave(archive, id, order)?;
    }
    go_on(store, settings, state, record, events)
}

fn cancels(order: &FleetOrder) -> bool {
    matches!(order, FleetOrder::Cancel | FleetOrder::CancelDevice(_))
}

fn go_on(
    store: Arc<Store>,
    settings: Settings,
    state: RunState,
    record: StoreRecord,
    events: Events,
) -> Result<FleetEnded, Failure> {
    let archive_notices = store.notices().to_vec();
    let vault = Arc::new(StoreVault::new(store.clone(), &record.dir));
    let record = Arc::new(record);
    let (report, error) = runtime_until_interrupted(|stopped| {
        fleet::run_fleet(settings, state, vault, record, events, stopped)
    })?;
    store.close()?;
    Ok(FleetEnded {
        report,
        archive_notices,
        failed: error.map(Failure::from),
    })
}

/// Tells a run something: the process that is at it, where there is one.
/// `false` where there is none: then it stands in the record, and cancelling
/// is for [`resume_fleet`].
pub fn order_fleet(archive: &Path, run: Option<&str>, order: FleetOrder) -> Result<bool, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let mut state = find_run(&catalogue, run)?;
    // Going on fetches what is still missing of a run whose sessions are over.
    if state.run.over.is_some() && order != FleetOrder::Resume {
        return Err(Failure::asked(format!("run {} is over", state.run.id)));
    }
    let store = match custody::open_to_write(archive, "fleet order") {
        Ok(store) => Arc::new(store),
        Err(failure) if failure.kind == Kind::Busy => {
            orders::leave(archive, state.run.id, order)?;
            return Ok(true);
        }
        Err(failure) => return Err(failure),
    };
    state.run.is_paused |= order == FleetOrder::Pause;
    let record = StoreRecord::new(&store, archive);
    record.write(state.run.id, &state.notes()[..1])?;
    store.close()?;
    Ok(false)
}

/// The archive as a fleet run sees it.
struct StoreRecord {
    store: Arc<Store>,
    dir: PathBuf,
}

impl StoreRecord {
    fn new(store: &Arc<Store>, dir: &Path) -> Self {
        Self {
            store: store.clone(),
            dir: dir.to_path_buf(),
        }
    }

    fn write(&self, run: RunId, notes: &[(u32, Value)]) -> Result<(), Failure> {
        let notes: Vec<_> = notes.iter().map(|note| fleet_note(run, note)).collect();
        Ok(self.store.note_fleet(&notes)?)
    }
}

fn fleet_note(run: RunId, (place, value): &(u32, Value)) -> FleetNote {
    FleetNote {
        run: *run.as_bytes(),
        place: *place,
        value: value.clone(),
    }
}

impl FleetRecord for StoreRecord {
    fn note(&self, run: RunId, notes: &[(u32, Value)]) -> Result<(), VaultError> {
        let notes: Vec<_> = notes.iter().map(|note| fleet_note(run, note)).collect();
        self.store
            .note_fleet(&notes)
            .map_err(crate::app::collecting::refused)
    }

    fn take_orders(&self, run: RunId) -> Result<Vec<FleetOrder>, VaultError> {
        orders::take(&self.dir, run).map_err(VaultError::failed)
    }

    fn action(&self, id: ActionId) -> Result<Option<Action>, VaultError> {
        self.store
            .action(id)
            .map_err(crate::app::collecting::refused)
    }
}
