//! A run and its record in the archive.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::app::collect::{StoreVault, runtime_until_interrupted};
use crate::app::custody;
use crate::app::error::Failure;
use crate::app::fleet::commands;
use crate::app::fleet::runs::find_run;
use collect::fleet;
use collect::fleet::{
    FleetOrder, FleetPlan, FleetRecord, FleetReport, FleetRules, RunId, RunState,
};
use collect::{CollectSettings, Events, SinkError};
use evidence::{Action, ActionId, Time};
use store::{FleetNote, Store, StoreError};

/// Devices of one name that are listed.
const SHOWN_MAX: usize = 5;

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
    settings: CollectSettings,
    plan: FleetPlan,
    rules: FleetRules,
    events: Events,
) -> Result<FleetEnded, Failure> {
    let store = Arc::new(custody::open_to_write(
        archive,
        &at_run("fleet run", plan.id),
    )?);
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
    record.write(state.run.id, &state.entries())?;
    go_on(store, settings, state, record, events)
}

/// Goes on with a run where its record stands; `order` is obeyed first.
pub fn resume_fleet(
    archive: &Path,
    settings: CollectSettings,
    run: Option<&str>,
    order: FleetOrder,
    events: Events,
) -> Result<FleetEnded, Failure> {
    let id = find_run(&custody::open_to_read(archive)?, run)?.run.id;
    let store = Arc::new(custody::open_to_write(
        archive,
        &at_run("fleet resume", id),
    )?);
    // Read again: nobody else writes from here on.
    let catalogue = custody::open_to_read(archive)?;
    let mut state = find_run(&catalogue, Some(&id.to_string()))?;
    drop(catalogue);
    let host = settings.api_base.host_str().unwrap_or("?");
    if host != state.run.host {
        return Err(Failure::asked(format!(
            "run {} is on {}, not on {host}",
            state.run.id, state.run.host
        ))
        .hint("one host of the service does not show what another started; name the same one"));
    }
    let order = by_id(&state, order)?;
    custody::note(&store, &format!("fleet resume {}", state.run.id))?;
    match &order {
        FleetOrder::Cancel => state.run.is_cancelled = true,
        // To leave one device out is no word to start the others.
        FleetOrder::CancelDevice(_) => state.run.is_paused = true,
        _ => state.run.is_paused = false,
    }
    let record = StoreRecord::new(&store, archive);
    record.write(id, &[state.header()])?;
    commands::hear(archive, id, true)?;
    // What else was left by a process that ended before it was heard stands.
    commands::overrule(archive, id)?;
    if order != FleetOrder::Resume {
        commands::leave(archive, id, order)?;
    }
    go_on(store, settings, state, record, events)
}

fn go_on(
    store: Arc<Store>,
    settings: CollectSettings,
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

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ordered {
    /// The process that is at the run was told.
    Told,
    /// No process is at it: a pause stands in the record, and all else is for
    /// [`resume_fleet`].
    Nobody,
    /// It is paused already.
    Already,
}

/// Tells a run something: the process that is at it, where there is one.
///
/// **Errors**: also where the archive is held by something else than this run,
/// and where the process that is at it starts nothing more.
pub fn order_fleet(
    archive: &Path,
    run: Option<&str>,
    order: FleetOrder,
) -> Result<Ordered, Failure> {
    let id = find_run(&custody::open_to_read(archive)?, run)?.run.id;
    let store = match custody::open_to_write(archive, "fleet order") {
        Ok(store) => Some(Arc::new(store)),
        Err(failure) if is_at(&failure, id) => None,
        Err(failure) => return Err(failure),
    };
    let catalogue = custody::open_to_read(archive)?;
    let mut state = find_run(&catalogue, Some(&id.to_string()))?;
    let order = by_id(&state, order)?;
    let is_pause = order == FleetOrder::Pause;
    let Some(store) = store else {
        // Going on may have been ordered and not been heard yet.
        if is_pause && state.run.is_paused && commands::read(archive, id)?.is_empty() {
            return Ok(Ordered::Already);
        }
        commands::leave(archive, id, order)?;
        return Ok(Ordered::Told);
    };
    // Going on fetches what is still missing of a run whose sessions are over.
    let goes_on = matches!(order, FleetOrder::Resume | FleetOrder::Repost);
    if state.run.over.is_some() && !goes_on {
        return Err(Failure::asked(format!("run {id} is over"))
            .hint("`fleet resume` fetches what is still missing"));
    }
    let is_paused = is_pause && state.run.is_paused;
    if is_pause && !is_paused {
        state.run.is_paused = true;
        StoreRecord::new(&store, archive).write(id, &[state.header()])?;
    }
    store.close()?;
    Ok(match is_paused {
        true => Ordered::Already,
        false => Ordered::Nobody,
    })
}

/// What a process that is at a run says it is doing: others find it by that.
fn at_run(doing: &str, run: RunId) -> String {
    format!("{doing} {run}")
}

/// Whether it does: see [`at_run`].
pub(super) fn is_at_run(doing: &str, run: RunId) -> bool {
    doing.ends_with(&run.to_string())
}

/// Whether the archive is held by a process that is at this run.
fn is_at(failure: &Failure, run: RunId) -> bool {
    let cause = std::error::Error::source(failure);
    let error = cause.and_then(|cause| cause.downcast_ref::<StoreError>());
    matches!(error, Some(StoreError::Locked { command, .. }) if is_at_run(command, run))
}

/// The order with its device by id: as in planning, a name of two devices
/// means neither.
fn by_id(state: &RunState, order: FleetOrder) -> Result<FleetOrder, Failure> {
    let FleetOrder::CancelDevice(name) = &order else {
        return Ok(order);
    };
    let devices = state.devices.iter().map(|device| &device.planned);
    let called: Vec<_> = devices.filter(|device| device.has_name(name)).collect();
    match called.as_slice() {
        [device] => Ok(FleetOrder::CancelDevice(device.machine_id.clone())),
        [] => {
            let message = format!("run {} has no device {name}", state.run.id);
            Err(Failure::asked(message).hint("`fleet status` lists them"))
        }
        many => {
            let shown = many.iter().take(SHOWN_MAX);
            let shown = shown.map(|device| format!("{} ({})", device.name, device.machine_id));
            let shown = shown.collect::<Vec<_>>().join(", ");
            let message = format!("{} devices are called {name}: {shown}", many.len());
            Err(Failure::asked(message).hint("name the one that is meant by its id"))
        }
    }
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
    fn write_entries(&self, run: RunId, notes: &[(u32, Value)]) -> Result<(), SinkError> {
        let notes: Vec<_> = notes.iter().map(|note| fleet_note(run, note)).collect();
        self.store
            .note_fleet(&notes)
            .map_err(crate::app::collect::refused)
    }

    fn pending_orders(&self, run: RunId) -> Result<Vec<FleetOrder>, SinkError> {
        commands::read(&self.dir, run).map_err(SinkError::failed)
    }

    fn accept_orders(&self, run: RunId, hears: bool) -> Result<bool, SinkError> {
        commands::hear(&self.dir, run, hears).map_err(SinkError::failed)
    }

    fn remove_orders(&self, run: RunId, count: usize) -> Result<(), SinkError> {
        commands::remove(&self.dir, run, count).map_err(SinkError::failed)
    }

    fn find_action(&self, id: ActionId) -> Result<Option<Action>, SinkError> {
        match self.store.action(id) {
            // The service's list shows it again; `verify` names the damage.
            Err(error) if error.is_unreadable() => Ok(None),
            action => action.map_err(crate::app::collect::refused),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use collect::fleet::PlannedDevice;

    fn state(names: &[&str]) -> RunState {
        let planned = |name: &&str| PlannedDevice {
            machine_id: format!("id-of-{name}"),
            name: name.to_string(),
            steps: Vec::new(),
            likely_away: false,
            last_seen: None,
        };
        let plan = FleetPlan {
            id: RunId::from_bytes([1; 8]),
            comment: "c".into(),
            devices: names.iter().map(planned).collect(),
            bound: fleet::LowerBound::new(fleet::Workload::default()),
            warnings: Vec::new(),
        };
        let created = Time::from_text("2026-02-04T12:00:00Z");
        RunState::new(plan, FleetRules::default(), "h".into(), created)
    }

    #[test]
    fn a_name_of_two_devices_cancels_neither_and_lists_both() {
        let state = state(&["ws-1.a.example", "ws-1.b.example", "ws-2.a.example"]);
        let cancel = |name: &str| by_id(&state, FleetOrder::CancelDevice(name.into()));
        let refused = cancel("ws-1").unwrap_err().chain();
        for name in ["ws-1.a.example (id-of-ws-1.a.example)", "ws-1.b.example"] {
            assert!(refused.contains(name), "{refused}");
        }
        for (name, id) in [
            ("WS-1.b.example", "id-of-ws-1.b.example"),
            ("ws-2", "id-of-ws-2.a.example"),
        ] {
            assert_eq!(cancel(name).unwrap(), FleetOrder::CancelDevice(id.into()));
        }
        assert!(cancel("ws-3").unwrap_err().chain().contains("no device"));
    }
}
