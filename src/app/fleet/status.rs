//! Where runs stand, read from their records beside whatever is at them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::app::columns::columns;
use crate::app::error::Failure;
use crate::app::fleet::cell::{Brought, Cell};
use crate::app::fleet::run::is_at_run;
use crate::app::fleet::runs::{UnreadableRecord, every_run, find_run, heads};
use crate::app::notes::Note;
use crate::app::session::ArchiveSession;
use collect::fleet::{
    DeviceRecord, DeviceState, LowerBound, RunId, RunState, TYPICAL_SESSION_TIME, Workload,
};
use evidence::{Action, Time};
use jiff::Timestamp;
use store::{Catalogue, writer_command};

columns! {
    /// A run in a list of them, and at the head of its status.
    #[derive(Clone, Debug)]
    pub struct RunRow {
        pub run: RunId,
        pub comment: String,
        pub created: Option<Time>,
        pub host: String,
        pub devices: u32,
        /// `running`; `paused`; `cancelled`, while its sessions end; `collecting`,
        /// while only results are still to come; `left`, where somebody must go on
        /// with it; `over`; `unreadable`.
        pub state: &'static str,
        /// Why it cannot be read, where it cannot.
        pub why: Option<String>,
        /// Devices by where they stand.
        pub counts: BTreeMap<&'static str, u64>,
        /// Results that are here, and those of all its commands.
        pub results: u64,
        pub results_expected: u64,
        /// Of commands that are over, and neither here nor given up.
        pub results_to_come: u64,
        /// The least time to its end, had it all the service allows.
        ///
        /// **Units**: seconds of service time from now; none where nothing goes on.
        pub left_s: Option<u64>,
    }
}

columns! {
    /// A command on a device of a run.
    #[derive(Clone, Debug)]
    pub struct FleetRow {
        pub cell: Cell as flatten,
        pub run: RunId,
        /// Where its device stands.
        pub device_state: &'static str,
        /// What it waits for, where it waits.
        pub waits_for: Option<String>,
        /// Starts so far.
        pub attempts: usize,
    }
}

/// Every run of the archive, oldest first; those that cannot be read behind
/// them, saying why.
pub fn fleet_runs(session: &ArchiveSession) -> Result<Vec<RunRow>, Failure> {
    let attended = Attended::look(session.archive());
    let catalogue = session.catalogue()?;
    let (runs, unreadable) = every_run(&catalogue)?;
    let rows = runs
        .iter()
        .map(|run| Ok(status_of(&catalogue, run, &attended)?.0));
    let lost = unreadable.into_iter().map(|lost| Ok(RunRow::of(lost)));
    rows.chain(lost).collect()
}

/// A note for each run whose record cannot be read at all.
///
/// **Cost**: a read a run.
pub fn unreadable_runs(session: &ArchiveSession) -> Result<Vec<Note>, Failure> {
    let catalogue = session.catalogue()?;
    let (_, unreadable) = heads(&catalogue)?;
    Ok(unreadable.iter().map(UnreadableRecord::note).collect())
}

impl RunRow {
    pub(super) fn of(lost: UnreadableRecord) -> Self {
        Self {
            run: lost.run,
            comment: String::new(),
            created: None,
            host: String::new(),
            devices: 0,
            state: "unreadable",
            why: Some(lost.why),
            counts: BTreeMap::new(),
            results: 0,
            results_expected: 0,
            results_to_come: 0,
            left_s: None,
        }
    }
}

/// A run and each command on each of its devices.
pub fn fleet_status(
    session: &ArchiveSession,
    run: Option<&str>,
) -> Result<(RunRow, Vec<FleetRow>), Failure> {
    let attended = Attended::look(session.archive());
    let catalogue = session.catalogue()?;
    let state = find_run(&catalogue, run)?;
    status_of(&catalogue, &state, &attended)
}

/// What the process at the archive does. Looked at before the records are
/// read: a run that ends in between has its end in them.
struct Attended(Option<String>);

impl Attended {
    fn look(archive: &std::path::Path) -> Self {
        Self(writer_command(archive))
    }

    fn is(&self, run: RunId) -> bool {
        self.0.as_ref().is_some_and(|doing| is_at_run(doing, run))
    }
}

fn status_of(
    catalogue: &Catalogue,
    state: &RunState,
    attended: &Attended,
) -> Result<(RunRow, Vec<FleetRow>), Failure> {
    let cells = run_cells(catalogue, state)?;
    let row = row_of(state, &cells, attended.is(state.run.id));
    let mut rows = Vec::new();
    let mut before = 0;
    for (device, cells) in state.devices.iter().zip(cells) {
        let waits_for = match row.state {
            LEFT => Some("`fleet resume`: nobody is at the run".into()),
            _ => waits_for(device, before),
        };
        before += u64::from(matches!(device.state, DeviceState::Queued { .. }));
        add_rows(&mut rows, &row, device, cells, waits_for);
    }
    Ok((row, rows))
}

fn row_of(state: &RunState, cells: &[DeviceCells], is_attended: bool) -> RunRow {
    let run = &state.run;
    let mut counts = BTreeMap::new();
    for (device, cells) in state.devices.iter().zip(cells) {
        let word = word(&device.state, cells.action.as_ref());
        *counts.entry(word).or_insert(0) += 1;
    }
    let count = |brought: &[Brought]| {
        let all = cells.iter().flat_map(|device| &device.cells);
        all.filter(|cell| brought.contains(&cell.result)).count() as u64
    };
    let to_come = count(&[Brought::ToCome]);
    let word = run_word(state, to_come, is_attended);
    let goes_on = [RUNNING, CANCELLED, COLLECTING].contains(&word);
    RunRow {
        run: run.id,
        comment: run.comment.clone(),
        created: Some(run.created.clone()),
        host: run.host.clone(),
        devices: run.devices,
        state: word,
        why: None,
        counts,
        results: count(&[Brought::Here]),
        results_expected: count(&[Brought::Here, Brought::ToCome, Brought::NotHere]),
        results_to_come: to_come,
        left_s: goes_on.then(|| left(&state.devices, cells).as_secs()),
    }
}

const RUNNING: &str = "running";
const CANCELLED: &str = "cancelled";
const COLLECTING: &str = "collecting";
const LEFT: &str = "left";

fn run_word(state: &RunState, to_come: u64, is_attended: bool) -> &'static str {
    let is_settled = state.devices.iter().all(DeviceRecord::is_settled);
    let is_under_way = to_come > 0 || state.devices.iter().any(DeviceRecord::is_open);
    let run = &state.run;
    if is_settled && to_come == 0 {
        "over"
    } else if !is_attended && (is_under_way || !run.is_paused) {
        LEFT
    } else if is_settled {
        COLLECTING
    } else if run.is_cancelled {
        CANCELLED
    } else if run.is_paused {
        "paused"
    } else {
        RUNNING
    }
}

/// A row a command.
fn add_rows(
    rows: &mut Vec<FleetRow>,
    run: &RunRow,
    device: &DeviceRecord,
    cells: DeviceCells,
    waits_for: Option<String>,
) {
    let device_state = word(&device.state, cells.action.as_ref());
    let is_running = device_state == RUNNING && run.state != LEFT;
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
            run: run.run,
            device_state,
            attempts: device.attempts.len(),
        });
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

fn word(state: &DeviceState, action: Option<&Action>) -> &'static str {
    match state {
        DeviceState::Queued { .. } => "waiting",
        DeviceState::Parked { .. } => "away",
        DeviceState::Starting => "starting",
        DeviceState::InDoubt { .. } => "looked for",
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
        DeviceState::Queued {
            not_before: Some(at),
            why,
        } => {
            let why = why.as_deref().unwrap_or("held back");
            format!("{why}; tried again at {:.0}", at.timestamp())
        }
        DeviceState::Queued { .. } => format!("its turn, {before} before it"),
        DeviceState::Parked { last_seen, .. } => match last_seen {
            Some(seen) => format!("the device, last seen {seen}"),
            None => "the device, parked".into(),
        },
        DeviceState::Starting => "the answer to its start".into(),
        DeviceState::InDoubt { .. } => "a list that shows its session: the answer was lost".into(),
        DeviceState::Open { .. } => "the device to take it up".into(),
        DeviceState::Settled { .. } => "its result".into(),
    })
}

/// The least time the rest takes, service time.
fn left(devices: &[DeviceRecord], cells: &[DeviceCells]) -> Duration {
    let mut needs = Workload::default();
    let mut last = Duration::ZERO;
    for (device, cells) in devices.iter().zip(cells) {
        let is_settled = device.is_settled();
        let may_come = |cell: &&Cell| match cell.result {
            Brought::ToCome => true,
            Brought::NotHere => !is_settled,
            Brought::Nothing | Brought::Here => false,
        };
        needs.links += cells.cells.iter().filter(may_come).count() as u64;
        if !is_settled {
            let session = session_left(device);
            needs.starts += u64::from(!device.is_open());
            needs.session_time += session;
            last = last.max(session);
        }
    }
    LowerBound::new(needs).longest().max(last)
}

/// What is left of a usual session.
fn session_left(device: &DeviceRecord) -> Duration {
    let sent = device.attempts.last().filter(|_| device.is_open());
    let since = sent.map(|attempt| Timestamp::now().duration_since(attempt.sent.timestamp()));
    let past = since.and_then(|since| Duration::try_from(since).ok());
    TYPICAL_SESSION_TIME.saturating_sub(past.unwrap_or_default())
}

/// The instant so many seconds from now.
pub fn in_seconds(seconds: u64) -> Timestamp {
    Timestamp::now()
        .checked_add(Duration::from_secs(seconds))
        .unwrap_or(Timestamp::MAX)
}
