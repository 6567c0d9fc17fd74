//! One command on one device: what became of it, in one word.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::app::columns::columns;
use collect::fleet::{DeviceRecord, DeviceState, Outcome, SessionStep};
use evidence::{Action, ActionId, Command, CommandIndex, GapReason, ResultKey, Time};

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CellState {
    /// Completed, its result here where it has one.
    Done,
    /// Under way, or to come.
    Pending,
    Failed,
    /// Not run, since a command before it failed.
    CutOff,
    TimedOut,
    Cancelled,
    /// Completed, but its result was gone.
    Expired,
    /// Completed, but its result is not here for another reason.
    Missing,
    NeverRun,
    /// The answer to its start was lost and no list has shown the session.
    Unresolved,
    /// Done longer ago than was asked for.
    Old,
}

impl CellState {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Pending => "pending",
            Self::Failed => "failed",
            Self::CutOff => "cut off",
            Self::TimedOut => "timed out",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Missing => "missing",
            Self::NeverRun => "never run",
            Self::Unresolved => "unresolved",
            Self::Old => "old",
        }
    }

    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Pending,
        Self::Failed,
        Self::CutOff,
        Self::TimedOut,
        Self::Cancelled,
        Self::Expired,
        Self::Missing,
        Self::NeverRun,
        Self::Unresolved,
        Self::Old,
    ];
    /// The longest word.
    pub const WIDTH: usize = 10;

    /// In place of the word where there is no room for it.
    pub fn letter(self) -> &'static str {
        match self {
            Self::Done => ".",
            Self::Pending => "p",
            Self::Failed => "F",
            Self::CutOff => "C",
            Self::TimedOut => "T",
            Self::Cancelled => "X",
            Self::Expired => "E",
            Self::Missing => "M",
            Self::NeverRun => "-",
            Self::Unresolved => "?",
            Self::Old => "o",
        }
    }

    pub fn is_end(self) -> bool {
        self != Self::Pending
    }

    /// Worth another run. What is unresolved may have run: it is started again
    /// by a person's word alone.
    pub fn is_hole(self) -> bool {
        !matches!(self, Self::Done | Self::Pending | Self::Unresolved)
    }
}

/// Where the result of a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Brought {
    /// Nothing comes of it by nature: a file was put.
    Nothing,
    Here,
    /// The command is over, and its result neither here nor given up.
    ToCome,
    /// The command is not over, or its result was given up.
    NotHere,
}

impl Brought {
    /// Of a step that no session has run.
    pub(super) fn not_run(step: &SessionStep) -> Self {
        match step.has_result() {
            true => Self::NotHere,
            false => Self::Nothing,
        }
    }

    /// Of a session that was parked nothing comes: another follows it.
    fn on(self, device: &DeviceState) -> Self {
        let is_current = matches!(
            device,
            DeviceState::Open { .. } | DeviceState::Settled { .. }
        );
        match self {
            Self::ToCome if !is_current => Self::NotHere,
            _ => self,
        }
    }
}

columns! {
    /// A command on a device.
    #[derive(Clone, Debug)]
    pub struct Cell {
        pub device: String,
        pub machine_id: String,
        pub action_id: Option<ActionId>,
        pub command_index: CommandIndex,
        pub command: String,
        pub state: CellState,
        /// Why, where somebody said so.
        pub detail: String,
        /// When the command ended.
        pub time: Option<Time>,
        pub result: Brought as hidden,
        /// Somebody wanted it there: an action or a run names it.
        pub is_meant: bool as hidden,
        pub step: SessionStep as hidden,
        /// How many of this step stand before it in its session.
        pub repeats: u32 as hidden,
    }
}

impl Cell {
    /// Of a step of a run; its action is the latest of its device.
    pub(super) fn of_step(
        device: &DeviceRecord,
        step: &SessionStep,
        index: u32,
        action: Option<&Action>,
        gaps: &BTreeMap<ResultKey, GapReason>,
        has_result: impl Fn(ResultKey) -> bool,
    ) -> Self {
        let index = CommandIndex(index);
        let command = action.and_then(|a| a.commands.iter().find(|c| c.index == index));
        let (state, detail) = match (action, command) {
            (Some(action), Some(command)) => judge(action, command, gaps, &has_result),
            _ => (CellState::NeverRun, String::new()),
        };
        let result = match (action, command) {
            (Some(action), Some(command)) => brought(action, command, gaps, &has_result),
            _ => Brought::not_run(step),
        };
        let (state, detail) = without_session(device, state, detail);
        Self {
            device: device.planned.name.clone(),
            machine_id: device.planned.machine_id.clone(),
            action_id: action.map(|action| action.id),
            command_index: index,
            command: step.to_string(),
            state,
            detail,
            time: command.and_then(|c| c.ended.clone()),
            result: result.on(&device.state),
            is_meant: true,
            step: step.clone(),
            repeats: repeats(&device.planned.steps, index),
        }
    }
}

fn repeats(steps: &[SessionStep], index: CommandIndex) -> u32 {
    let at = index.0 as usize;
    let before = steps.iter().take(at);
    let same = before.filter(|before| steps.get(at) == Some(*before));
    u32::try_from(same.count()).unwrap_or(u32::MAX)
}

/// What the device's own state says of a command no session has run.
fn without_session(device: &DeviceRecord, state: CellState, detail: String) -> (CellState, String) {
    let was_run = !matches!(
        state,
        CellState::NeverRun | CellState::Pending | CellState::Cancelled
    );
    match &device.state {
        DeviceState::Settled {
            outcome,
            detail: why,
            ..
        } if !was_run => match outcome {
            Outcome::Cancelled => (CellState::Cancelled, why.clone()),
            Outcome::Done | Outcome::Failed | Outcome::TimedOut => (state, detail),
            Outcome::Refused | Outcome::Away => (CellState::NeverRun, why.clone()),
            Outcome::InDoubt => (CellState::Unresolved, why.clone()),
        },
        _ if !was_run => (CellState::Pending, detail),
        _ => (state, detail),
    }
}

/// Where a command's result is. That of a failed script is worth having, too.
pub(super) fn brought(
    action: &Action,
    command: &Command,
    gaps: &BTreeMap<ResultKey, GapReason>,
    has_result: &impl Fn(ResultKey) -> bool,
) -> Brought {
    let key = action.key(command);
    let is_over = command.is_completed() || action.is_final();
    if !command.has_result() {
        Brought::Nothing
    } else if has_result(key) {
        Brought::Here
    } else if is_over && !gaps.contains_key(&key) {
        Brought::ToCome
    } else {
        Brought::NotHere
    }
}

/// What became of a command, by what the service said and what is here.
pub(super) fn judge(
    action: &Action,
    command: &Command,
    gaps: &BTreeMap<ResultKey, GapReason>,
    has_result: &impl Fn(ResultKey) -> bool,
) -> (CellState, String) {
    let key = action.key(command);
    let said = |word: &str| action.status.eq_ignore_ascii_case(word);
    let errors = command.errors.join("; ");
    if command.is_failed() {
        return (CellState::Failed, errors);
    }
    if command.is_completed() {
        if !command.has_result() || has_result(key) {
            return (CellState::Done, String::new());
        }
        return match gaps.get(&key) {
            None => (CellState::Pending, String::new()),
            Some(GapReason::Expired) => (CellState::Expired, String::new()),
            Some(reason) => (CellState::Missing, reason.to_string()),
        };
    }
    let failed_before = |c: &Command| c.index < command.index && c.is_failed();
    let state = if action.commands.iter().any(failed_before) {
        CellState::CutOff
    } else if !action.is_final() {
        CellState::Pending
    } else if said("TimeOut") {
        CellState::TimedOut
    } else if said("Cancelled") {
        CellState::Cancelled
    } else {
        CellState::Failed
    };
    (state, errors)
}
