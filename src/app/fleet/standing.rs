//! Where runs stand, read from their records beside whatever is at them.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::cell::{Cell, CellState};
use crate::app::custody;
use crate::app::failure::{Failure, Kind};
use crate::collect::fleet::{
    Bound, DeviceRecord, DeviceState, Needs, RunId, RunRecord, RunState, SESSION_USUAL,
};
use crate::evidence::{Action, Time};
use crate::store::Catalogue;

/// A run in a list of them, and at the head of its status.
#[derive(Clone, Debug, Serialize)]
pub struct RunRow {
    pub run: RunId,
    pub comment: String,
    pub created: Time,
    pub host: String,
    pub devices: u32,
    /// `running`, `paused`, `cancelled`, `over`; a run nobody is at is
    /// `running` too.
    pub state: &'static str,
    /// Devices by where they stand.
    pub counts: BTreeMap<&'static str, u64>,
    /// Results that are here, and those that are to be.
    pub results: u64,
    pub results_expected: u64,
    /// When it could be over, had it all the service allows.
    ///
    /// **Units**: seconds of service time from now; none where it is over.
    pub left_s: Option<u64>,
}

/// A command on a device of a run.
#[derive(Clone, Debug, Serialize)]
pub struct FleetRow {
    #[serde(flatten)]
    pub cell: Cell,
    pub run: RunId,
    /// Where its device stands.
    pub device_state: &'static str,
    /// What it waits for, where it waits.
    pub waits_for: Option<String>,
    /// Starts so far.
    pub attempts: usize,
}

/// Finds a run by the beginning of its id; the newest where none is named.
pub(super) fn find_run(catalogue: &Catalogue, typed: Option<&str>) -> Result<RunState, Failure> {
    let heads = heads(catalogue)?;
    let wanted = typed.unwrap_or("").to_ascii_lowercase();
    let mut fit: Vec<&RunRecord> = heads
        .iter()
        .filter(|head| head.id.to_string().starts_with(&wanted))
        .collect();
    fit.sort_by(|a, b| a.created.cmp(&b.created));
    let head = match (fit.as_slice(), typed) {
        ([], None) => {
            return Err(
                Failure::new(Kind::NotThere, "the archive holds no fleet run")
                    .hint("`run --devices … --script …` makes one"),
            );
        }
        ([], Some(typed)) => {
            return Err(
                Failure::new(Kind::NotThere, format!("no fleet run is called {typed}"))
                    .hint("`fleet status --all` lists them"),
            );
        }
        ([head], _) => *head,
        ([.., newest], None) => *newest,
        (many, Some(typed)) => {
            let message = format!("{} fleet runs begin with {typed}", many.len());
            return Err(Failure::asked(message).hint("type more of its id"));
        }
    };
    read_run(catalogue, head.id)
}

fn heads(catalogue: &Catalogue) -> Result<Vec<RunRecord>, Failure> {
    let notes = catalogue.fleet_runs()?;
    let read = notes.into_iter().map(|note| {
        serde_json::from_value(note.value)
            .map_err(|e| Failure::caused(Kind::Damaged, "could not read a fleet run", e))
    });
    read.collect()
}

fn read_run(catalogue: &Catalogue, id: RunId) -> Result<RunState, Failure> {
    let notes = catalogue.fleet(*id.as_bytes())?;
    let notes = notes.into_iter().map(|note| (note.place, note.value));
    RunState::read(notes.collect()).map_err(|why| {
        Failure::new(
            Kind::Damaged,
            format!("could not read fleet run {id}: {why}"),
        )
    })
}

/// Every run of the archive, oldest first.
pub fn fleet_runs(archive: &Path) -> Result<Vec<RunRow>, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let runs = every_run(&catalogue)?;
    let rows = runs.iter().map(|run| Ok(status_of(&catalogue, run)?.0));
    rows.collect()
}

/// The same, whole.
pub(super) fn every_run(catalogue: &Catalogue) -> Result<Vec<RunState>, Failure> {
    let mut heads = heads(catalogue)?;
    heads.sort_by(|a, b| a.created.cmp(&b.created));
    let runs = heads.iter().map(|head| read_run(catalogue, head.id));
    runs.collect()
}

/// A run and each command on each of its devices.
pub fn fleet_status(archive: &Path, run: Option<&str>) -> Result<(RunRow, Vec<FleetRow>), Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let state = find_run(&catalogue, run)?;
    status_of(&catalogue, &state)
}

fn status_of(catalogue: &Catalogue, state: &RunState) -> Result<(RunRow, Vec<FleetRow>), Failure> {
    let cells = run_cells(catalogue, state)?;
    let mut counts = BTreeMap::new();
    let mut rows = Vec::new();
    let mut before = 0;
    for (device, cells) in state.devices.iter().zip(cells) {
        let word = word(&device.state, cells.action.as_ref());
        *counts.entry(word).or_insert(0) += 1;
        let waits_for = waits_for(device, before);
        before += u64::from(matches!(device.state, DeviceState::Waiting { .. }));
        let is_running = word == RUNNING;
        let mut under_way: Option<String> = None;
        for cell in cells.cells {
            let waits_for = match (is_running, &under_way) {
                (true, _) if cell.time.is_some() => Some("its result".into()),
                (true, Some(command)) => Some(command.clone()),
                (true, None) => Some("its end".into()),
                (false, _) => waits_for.clone(),
            };
            if is_running && cell.time.is_none() {
                under_way.get_or_insert_with(|| cell.command.clone());
            }
            rows.push(FleetRow {
                waits_for: waits_for.filter(|_| !cell.state.is_end()),
                cell,
                run: state.run.id,
                device_state: word,
                attempts: device.attempts.len(),
            });
        }
    }
    let with_result = rows.iter().filter(|row| row.cell.has_result);
    let row = RunRow {
        run: state.run.id,
        comment: state.run.comment.clone(),
        created: state.run.created.clone(),
        host: state.run.host.clone(),
        devices: state.run.devices,
        state: run_word(&state.run),
        counts,
        results_expected: with_result.clone().count() as u64,
        results: with_result
            .filter(|row| row.cell.state == CellState::Done)
            .count() as u64,
        left_s: state
            .run
            .over
            .is_none()
            .then(|| left(&state.devices).as_secs()),
    };
    Ok((row, rows))
}

fn run_word(run: &RunRecord) -> &'static str {
    if run.over.is_some() {
        "over"
    } else if run.is_cancelled {
        "cancelled"
    } else if run.is_paused {
        "paused"
    } else {
        "running"
    }
}

/// The cells of a device and the action they were read from.
pub(super) struct DeviceCells {
    pub action: Option<Action>,
    pub cells: Vec<Cell>,
}

/// Each command on each device of a run.
pub(super) fn run_cells(
    catalogue: &Catalogue,
    state: &RunState,
) -> Result<Vec<DeviceCells>, Failure> {
    let gaps: BTreeMap<_, _> = catalogue
        .gaps()?
        .into_iter()
        .map(|gap| (gap.key, gap.reason))
        .collect();
    let of_device = |device: &DeviceRecord| {
        let last = device.actions().last();
        let action = match last {
            Some(id) => catalogue.action(id)?,
            None => None,
        };
        let cells = device.planned.steps.iter().zip(0..).map(|(step, index)| {
            Cell::of_step(device, step, index, action.as_ref(), &gaps, |key| {
                catalogue.has_result(key)
            })
        });
        Ok(DeviceCells {
            cells: cells.collect(),
            action,
        })
    };
    state.devices.iter().map(of_device).collect()
}

/// The session of a device is in progress.
const RUNNING: &str = "running";

fn word(state: &DeviceState, action: Option<&Action>) -> &'static str {
    match state {
        DeviceState::Waiting { .. } => "waiting",
        DeviceState::Away { .. } => "away",
        DeviceState::Sending => "starting",
        DeviceState::Lost { .. } => "looked for",
        DeviceState::Open { .. } => match action {
            Some(action) if action.status.eq_ignore_ascii_case("InProgress") => RUNNING,
            _ => "pending",
        },
        DeviceState::Settled { outcome, .. } => outcome.as_str(),
    }
}

/// What all commands of a device wait for that is not running them.
fn waits_for(device: &DeviceRecord, before: u64) -> Option<String> {
    Some(match &device.state {
        DeviceState::Waiting {
            not_before: Some(at),
            why,
        } => {
            let why = why.as_deref().unwrap_or("held back");
            format!("{why}; tried again at {:.0}", at.timestamp())
        }
        DeviceState::Waiting { .. } => format!("its turn, {before} before it"),
        DeviceState::Away { last_seen, .. } => match last_seen {
            Some(seen) => format!("the device, last seen {seen}"),
            None => "the device, parked".into(),
        },
        DeviceState::Sending => "the answer to its start".into(),
        DeviceState::Lost { .. } => "a list that shows its session: the answer was lost".into(),
        DeviceState::Open { .. } => "the device to take it up".into(),
        DeviceState::Settled { .. } => "its result".into(),
    })
}

/// The least time the rest takes, service time.
fn left(devices: &[DeviceRecord]) -> Duration {
    let open = devices.iter().filter(|device| !device.is_settled());
    let mut needs = Needs::default();
    for device in open {
        needs.starts += u64::from(!device.is_open());
        needs.links += device
            .planned
            .steps
            .iter()
            .filter(|s| s.has_result())
            .count() as u64;
        needs.session_time += SESSION_USUAL;
    }
    let last = if needs.session_time.is_zero() {
        Duration::ZERO
    } else {
        SESSION_USUAL
    };
    Bound::of(needs).longest().max(last)
}

/// The instant so many seconds from now.
pub fn in_seconds(seconds: u64) -> Timestamp {
    Timestamp::now()
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
