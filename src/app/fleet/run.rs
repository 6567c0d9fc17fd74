//! A run and its record in the archive.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use crate::app::collect::{ArchiveSink, blocking, close, open_to_write};
use crate::app::collect_events::{RunControl, to_collector};
use crate::app::custody;
use crate::app::error::Failure;
use crate::app::fleet::commands;
use crate::app::fleet::runs::find_run;
use crate::app::service_settings::{CollectPolling, ServiceSettings};
use collect::fleet;
use collect::fleet::{
    FleetOrder, FleetPlan, FleetRecord, FleetReport, FleetRules, RunId, RunState,
};
use collect::{CollectSettings, SinkError};
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

/// Starts a planned run and stays with it until it is over, paused or stopped.
pub async fn start_fleet(
    archive: &Path,
    service: &ServiceSettings,
    polling: CollectPolling,
    plan: FleetPlan,
    rules: FleetRules,
    control: RunControl,
) -> Result<FleetEnded, Failure> {
    let settings = service.to_polling(polling)?;
    let host = host_of(&settings);
    let what = format!(
        "fleet run {} on {} devices at {host}: {}",
        plan.id,
        plan.devices.len(),
        plan.comment
    );
    let store = open_to_write(archive, &at_run("fleet run", plan.id), what).await?;
    let state = RunState::new(plan, rules, host, Time::from_instant(Timestamp::now()));
    let record = StoreRecord::new(&store, archive);
    let (id, notes) = (state.run.id, state.entries());
    let record = blocking(move || {
        record.write(id, &notes)?;
        Ok(record)
    })
    .await?;
    go_on(store, settings, state, record, control).await
}

/// Continues a run from its record; `order` is executed first.
pub async fn resume_fleet(
    archive: &Path,
    service: &ServiceSettings,
    polling: CollectPolling,
    run: Option<&str>,
    order: FleetOrder,
    control: RunControl,
) -> Result<FleetEnded, Failure> {
    let settings = service.to_polling(polling)?;
    let (path, host) = (archive.to_path_buf(), host_of(&settings));
    let run = run.map(str::to_string);
    let (store, state, record) =
        blocking(move || reopen(&path, run.as_deref(), &host, order)).await?;
    go_on(store, settings, state, record, control).await
}

/// Opens the archive to continue a run, and executes `order`.
fn reopen(
    archive: &Path,
    run: Option<&str>,
    host: &str,
    order: FleetOrder,
) -> Result<(Arc<Store>, RunState, StoreRecord), Failure> {
    let id = find_run(&custody::open_to_read(archive)?, run)?.run.id;
    let store = Arc::new(custody::open_to_write(
        archive,
        &at_run("fleet resume", id),
    )?);
    // Read again: no other process writes from here on.
    let catalogue = custody::open_to_read(archive)?;
    let mut state = find_run(&catalogue, Some(&id.to_string()))?;
    drop(catalogue);
    if host != state.run.host {
        return Err(Failure::usage(format!(
            "could not resume run {}: it was started on {}, not on {host}",
            state.run.id, state.run.host
        ))
        .hint("use the host the run was started on; other hosts do not list its sessions"));
    }
    let order = by_id(&state, order)?;
    custody::note(&store, &format!("fleet resume {}", state.run.id))?;
    match &order {
        FleetOrder::Cancel => state.run.is_cancelled = true,
        // Cancelling one device does not start the others.
        FleetOrder::CancelDevice(_) => state.run.is_paused = true,
        _ => state.run.is_paused = false,
    }
    let record = StoreRecord::new(&store, archive);
    record.write(id, &[state.header()])?;
    commands::hear(archive, id, true)?;
    // Other orders that an earlier process did not execute stay.
    commands::overrule(archive, id)?;
    if order != FleetOrder::Resume {
        commands::leave(archive, id, order)?;
    }
    Ok((store, state, record))
}

fn host_of(settings: &CollectSettings) -> String {
    settings.api_base.host_str().unwrap_or("?").to_string()
}

async fn go_on(
    store: Arc<Store>,
    settings: CollectSettings,
    state: RunState,
    record: StoreRecord,
    control: RunControl,
) -> Result<FleetEnded, Failure> {
    let archive_notices = store.notices().to_vec();
    let sink = Arc::new(ArchiveSink::new(store.clone(), &record.dir));
    let record = Arc::new(record);
    let events = to_collector(control.events);
    let (report, error) =
        fleet::run_fleet(settings, state, sink, record, events, control.stop).await;
    close(store).await?;
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
        return Err(Failure::usage(format!("run {id} is over"))
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
            Err(Failure::usage(message).hint("`fleet status` lists them"))
        }
        many => {
            let shown = many.iter().take(SHOWN_MAX);
            let shown = shown.map(|device| format!("{} ({})", device.name, device.machine_id));
            let shown = shown.collect::<Vec<_>>().join(", ");
            let message = format!("{} devices are called {name}: {shown}", many.len());
            Err(Failure::usage(message).hint("name the one that is meant by its id"))
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
            .map_err(crate::app::collect::sink_error)
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
            action => action.map_err(crate::app::collect::sink_error),
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
