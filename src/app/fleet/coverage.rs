//! What has been run where, and what became of it: of a fleet run or of the
//! whole archive. Its holes can be made into a new run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::app::error::Failure;
use crate::app::fleet::cell::{Brought, Cell, CellState, brought, judge};
use crate::app::fleet::runs::{UnreadableRecord, every_run, find_run};
use crate::app::fleet::status::run_cells;
use crate::app::notes::Note;
use crate::app::service_settings::ServiceSettings;
use crate::app::session::ArchiveSession;
use collect::fleet;
use collect::fleet::{Diagnostic, FleetPlan, SessionStep};
use evidence::{Action, Command, CommandIndex, CommandKind, GapReason, ResultKey, Time};
use store::Catalogue;

/// What coverage is asked of.
#[derive(Clone, Debug, Default)]
pub struct CoverageRequest {
    /// A fleet run; the whole archive where none is named.
    pub run: Option<String>,
    /// What is older than this counts as old.
    pub older_than: Option<SignedDuration>,
}

/// What has been run where.
#[derive(Debug, Default)]
pub struct Covered {
    /// Every command on every device, ordered by device and command.
    pub cells: Vec<Cell>,
    /// Runs that cannot be read, whose planned commands are not among the cells.
    pub notes: Vec<Note>,
}

pub fn coverage(session: &ArchiveSession, request: &CoverageRequest) -> Result<Covered, Failure> {
    let catalogue = session.catalogue()?;
    let mut covered = match &request.run {
        Some(run) => {
            let state = find_run(&catalogue, Some(run))?;
            let devices = run_cells(&catalogue, &state)?.into_iter();
            Covered {
                cells: devices.flat_map(|device| device.cells).collect(),
                notes: Vec::new(),
            }
        }
        None => archive_cells(&catalogue)?,
    };
    if let Some(age) = request.older_than {
        let before = Timestamp::now().checked_sub(age).unwrap_or(Timestamp::MIN);
        let cells = covered.cells.iter_mut();
        cells.for_each(|cell| mark_old(cell, before));
    }
    Ok(covered)
}

fn mark_old(cell: &mut Cell, before: Timestamp) {
    let ended = cell.time.as_ref().and_then(Time::instant);
    if cell.state == CellState::Done && ended.is_some_and(|ended| ended < before) {
        cell.state = CellState::Old;
    }
}

/// A device by its id, else its name; what was run on it, and for the how
/// manieth time in its session.
type Place = (String, SessionStep, u32);

/// Where a command stands among those of its device: sessions in the order of
/// their creation, what is planned behind them, and each in its own order.
type Order = (usize, u32);

/// The latest of each command.
type Latest = BTreeMap<Place, (Order, Cell)>;

fn place_of(cell: &Cell) -> Place {
    (cell.machine_id.clone(), cell.step.clone(), cell.repeats)
}

/// The latest of each command on each device, and what runs have planned and
/// not started.
fn archive_cells(catalogue: &Catalogue) -> Result<Covered, Failure> {
    let gaps: BTreeMap<ResultKey, GapReason> = catalogue
        .gaps()?
        .into_iter()
        .map(|gap| (gap.key, gap.reason))
        .collect();
    let mut actions = catalogue.actions()?;
    actions.sort_by(|a, b| a.created.cmp(&b.created));
    let mut latest = Latest::new();
    for (nth, action) in actions.iter().enumerate() {
        for cell in cells_of(action, &gaps, catalogue) {
            add_run(&mut latest, nth, cell);
        }
    }
    let (runs, unreadable) = every_run(catalogue)?;
    for (nth, run) in runs.iter().enumerate() {
        for device in run_cells(catalogue, run)? {
            let not_run = device.cells.into_iter();
            let not_run = not_run.filter(|c| c.action_id.is_none() || is_open(c));
            not_run.for_each(|cell| add_planned(&mut latest, actions.len() + nth, cell));
        }
    }
    Ok(Covered {
        cells: with_never_run(latest),
        notes: unreadable.iter().map(UnreadableRecord::note).collect(),
    })
}

/// What was done once is done, whatever was tried later.
fn add_run(latest: &mut Latest, nth: usize, cell: Cell) {
    let place = place_of(&cell);
    let is_done = |cell: &Cell| cell.state == CellState::Done;
    let known = latest.get(&place);
    if known.is_none_or(|(_, known)| !is_done(known)) || is_done(&cell) {
        latest.insert(place, ((nth, cell.command_index.0), cell));
    }
}

fn is_open(cell: &Cell) -> bool {
    matches!(cell.state, CellState::Pending | CellState::Unresolved)
}

/// What is still to be started, or may have been, says more than how an
/// earlier try ended.
fn add_planned(latest: &mut Latest, nth: usize, cell: Cell) {
    let place = place_of(&cell);
    let adds = match latest.get(&place) {
        None => true,
        Some((_, known)) => is_open(&cell) && known.state.is_hole(),
    };
    if adds {
        latest.insert(place, ((nth, cell.command_index.0), cell));
    }
}

/// An action's commands, in its order.
fn cells_of(
    action: &Action,
    gaps: &BTreeMap<ResultKey, GapReason>,
    catalogue: &Catalogue,
) -> Vec<Cell> {
    let mut met: BTreeMap<SessionStep, u32> = BTreeMap::new();
    let cells = action.commands.iter().filter_map(|command| {
        let mut cell = cell_of(action, command, gaps, catalogue)?;
        let met = met.entry(cell.step.clone()).or_default();
        cell.repeats = *met;
        *met += 1;
        Some(cell)
    });
    cells.collect()
}

fn cell_of(
    action: &Action,
    command: &Command,
    gaps: &BTreeMap<ResultKey, GapReason>,
    catalogue: &Catalogue,
) -> Option<Cell> {
    let step = step_of(command)?;
    let has_result = |key| catalogue.has_result(key);
    let (state, detail) = judge(action, command, gaps, &has_result);
    let name = action.device.as_ref().or(action.machine_id.as_ref())?;
    Some(Cell {
        device: name.clone(),
        machine_id: action.machine_id.as_ref().unwrap_or(name).clone(),
        action_id: Some(action.id),
        command_index: command.index,
        command: step.to_string(),
        state,
        detail,
        time: command.ended.clone(),
        result: brought(action, command, gaps, &has_result),
        is_meant: true,
        step,
        repeats: 0,
    })
}

fn step_of(command: &Command) -> Option<SessionStep> {
    Some(match command.kind {
        CommandKind::PutFile => SessionStep::Put {
            file: command.param("FileName")?,
        },
        CommandKind::RunScript => SessionStep::Run {
            script: command.param("ScriptName")?,
            args: command.param("Args").filter(|args| !args.is_empty()),
        },
        CommandKind::GetFile => SessionStep::Get {
            path: command.param("Path")?,
        },
        CommandKind::Other(_) => return None,
    })
}

/// Adds each command that at least two devices share to the others, as never
/// run. One that a single device had alone, such as with values of its own, is
/// no gap of the rest; so the cells stay few.
fn with_never_run(mut latest: Latest) -> Vec<Cell> {
    let devices: BTreeMap<String, String> = latest
        .values()
        .map(|(_, cell)| (cell.machine_id.clone(), cell.device.clone()))
        .collect();
    let mut shared: BTreeMap<(SessionStep, u32), u32> = BTreeMap::new();
    for (_, step, repeats) in latest.keys() {
        *shared.entry((step.clone(), *repeats)).or_default() += 1;
    }
    shared.retain(|_, devices| *devices > 1);
    for (machine_id, device) in devices {
        for ((step, repeats), index) in shared.keys().zip(0..) {
            let place = (machine_id.clone(), step.clone(), *repeats);
            let never_run = || Cell {
                device: device.clone(),
                machine_id: machine_id.clone(),
                action_id: None,
                command_index: CommandIndex(index),
                command: step.to_string(),
                state: CellState::NeverRun,
                detail: String::new(),
                time: None,
                result: Brought::not_run(step),
                is_meant: false,
                step: step.clone(),
                repeats: *repeats,
            };
            let behind_all = (usize::MAX, index);
            latest
                .entry(place)
                .or_insert_with(|| (behind_all, never_run()));
        }
    }
    in_order(latest)
}

/// By device, and of each in the order in which it was run: scripts may rely
/// on those before them.
fn in_order(latest: Latest) -> Vec<Cell> {
    let mut cells: Vec<(Order, Cell)> = latest.into_values().collect();
    cells.sort_by(|(a, one), (b, other)| (&one.machine_id, a).cmp(&(&other.machine_id, b)));
    cells.into_iter().map(|(_, cell)| cell).collect()
}

/// A run of what is missing: of each device with holes those commands, and the
/// files put before them. Changes nothing.
pub async fn plan_missing(
    service: &ServiceSettings,
    cells: &[Cell],
    comment: &str,
) -> Result<Result<FleetPlan, Vec<Diagnostic>>, Failure> {
    let read_inventory = fleet::read_inventory(&service.to_collect()?, Arc::new(|_| ())).await?;
    Ok(FleetPlan::of_steps(
        comment,
        &missing_steps(cells),
        &read_inventory,
    ))
}

/// By machine, in the order the service wants.
fn missing_steps(cells: &[Cell]) -> Vec<(String, Vec<SessionStep>)> {
    let mut by_device: BTreeMap<&str, Vec<&Cell>> = BTreeMap::new();
    for cell in cells {
        by_device.entry(&cell.machine_id).or_default().push(cell);
    }
    let is_hole = |cell: &&Cell| cell.is_meant && cell.state.is_hole();
    let with_holes = by_device
        .into_iter()
        .filter(|(_, cells)| cells.iter().any(is_hole));
    let steps = |cells: Vec<&Cell>| {
        let holes = cells.iter().filter(|cell| is_hole(cell));
        let actions: BTreeSet<_> = holes.map(|cell| cell.action_id).collect();
        // Files put for what is missing, not those of other sessions.
        let is_needed = |cell: &&Cell| {
            let is_put = cell.is_meant && cell.result == Brought::Nothing;
            let is_put = is_put && actions.contains(&cell.action_id);
            is_hole(cell) || is_put
        };
        let mut steps: Vec<SessionStep> = cells
            .into_iter()
            .filter(is_needed)
            .map(|cell| cell.step.clone())
            .collect();
        steps.sort_by_key(SessionStep::rank);
        steps
    };
    with_holes
        .map(|(id, cells)| (id.to_string(), steps(cells)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(machine: &str, step: SessionStep, state: CellState) -> Cell {
        Cell {
            device: format!("{machine}.example"),
            machine_id: machine.into(),
            action_id: None,
            command_index: CommandIndex(0),
            command: step.to_string(),
            state,
            detail: String::new(),
            time: Some(Time::from_text("2026-01-01T00:00:00Z")),
            result: Brought::not_run(&step),
            is_meant: true,
            step,
            repeats: 0,
        }
    }

    fn get(path: &str) -> SessionStep {
        SessionStep::Get { path: path.into() }
    }

    fn put() -> SessionStep {
        SessionStep::Put { file: "k".into() }
    }

    #[test]
    fn holes_become_a_run_with_the_files_they_need() {
        let cells = [
            cell("a", get("/done"), CellState::Done),
            cell("a", get("/gone"), CellState::Expired),
            cell("a", put(), CellState::Done),
            cell("b", get("/done"), CellState::Done),
            cell("b", put(), CellState::Done),
            cell("c", get("/soon"), CellState::Pending),
        ];
        let steps = missing_steps(&cells);
        assert_eq!(steps, [("a".to_string(), vec![put(), get("/gone")])]);
    }

    #[test]
    fn what_another_device_alone_has_had_is_nobodys_hole() {
        let cells = [
            cell("a", get("/shared"), CellState::Done),
            cell("b", get("/shared"), CellState::Failed),
            cell("c", get("/c.zip"), CellState::Done),
        ];
        let latest = cells.map(|c| (place_of(&c), ((0, 0), c)));
        let cells = with_never_run(latest.into_iter().collect());
        let states: Vec<_> = cells
            .iter()
            .map(|c| (c.machine_id.as_str(), c.state))
            .collect();
        use CellState::*;
        let c = [("c", Done), ("c", NeverRun)];
        assert_eq!(states[..2], [("a", Done), ("b", Failed)]);
        assert!(c.iter().all(|cell| states.contains(cell)), "{states:?}");
        assert_eq!(states.len(), 4);
        // Shown, and no work for a retry: nobody wanted it there.
        assert_eq!(
            missing_steps(&cells),
            [("b".to_string(), vec![get("/shared")])]
        );
    }

    #[test]
    fn files_of_other_sessions_and_what_is_unresolved_are_not_sent_again() {
        let mut old = cell(
            "a",
            SessionStep::Put { file: "old".into() },
            CellState::Done,
        );
        old.action_id = Some(evidence::ActionId::from_bytes([1; 16]));
        let cells = [
            old,
            cell("a", put(), CellState::Done),
            cell("a", get("/gone"), CellState::Failed),
            cell("b", get("/x"), CellState::Unresolved),
        ];
        let steps = missing_steps(&cells);
        assert_eq!(steps, [("a".to_string(), vec![put(), get("/gone")])]);
    }

    /// Not in the alphabet's order, and one of them twice.
    #[test]
    fn what_is_missing_is_run_again_in_the_order_of_its_sessions() {
        let run = |script: &str| SessionStep::Run {
            script: script.into(),
            args: None,
        };
        let mut latest = Latest::new();
        for (nth, script) in ["stop", "collect", "stop"].into_iter().enumerate() {
            let mut failed = cell("a", run(script), CellState::CutOff);
            failed.command_index = CommandIndex(nth as u32);
            failed.repeats = u32::from(nth == 2);
            add_run(&mut latest, 7, failed);
        }
        // An older session's comes first, whatever its place was there.
        let mut older = cell("a", run("inventory"), CellState::Failed);
        older.command_index = CommandIndex(9);
        add_run(&mut latest, 3, older);
        let steps = missing_steps(&with_never_run(latest));
        let scripts = ["inventory", "stop", "collect", "stop"].map(run);
        assert_eq!(steps, [("a".to_string(), scripts.to_vec())]);
    }

    #[test]
    fn what_was_done_long_ago_is_old() {
        let mut old = cell("a", get("/x"), CellState::Done);
        mark_old(&mut old, "2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(old.state, CellState::Done);
        mark_old(&mut old, "2026-01-02T00:00:00Z".parse().unwrap());
        assert_eq!(old.state, CellState::Old);
    }
}
