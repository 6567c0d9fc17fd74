//! Observes actions in lists, and derives the states of the devices.

use jiff::Timestamp;

use crate::clock::WallTime;
use crate::fleet::device::{CancelReason, DeviceState, Outcome, StartAttempt};
use crate::fleet::run_id::AttemptMark;
use crate::fleet::schedule::{Schedule, ScheduledDevice};
use evidence::{Action, ActionId, Command};

impl Schedule {
    /// Event: an action was observed, in a list or by its id.
    pub fn observe_action(&mut self, action: &Action, now: WallTime) {
        let Some(index) = self.find_device(action) else {
            return self.observe_foreign(action);
        };
        self.not_found_in_a_row = 0;
        self.link_session(index, action, now);
        if self.is_current_session(index, action.id) {
            self.update_session(index, action, now);
        } else {
            // An earlier session that was given up: it still counts.
            self.observe_foreign(action);
        }
    }

    fn observe_foreign(&mut self, action: &Action) {
        if !action.is_final() && action.kind.eq_ignore_ascii_case("LiveResponse") {
            let machine = action.machine_id.clone().unwrap_or_default();
            self.foreign_in_list.insert(action.id, machine);
        }
    }

    /// The device of an action, by the action's id or the mark in its comment.
    pub(super) fn find_device(&self, action: &Action) -> Option<u32> {
        if let Some(index) = self.by_action.get(&action.id) {
            return Some(*index);
        }
        let mark = AttemptMark::find(action.comment.as_deref()?)?;
        let planned = &self.device(mark.device)?.record.planned;
        let machine = action.machine_id.as_deref();
        let is_machine = machine.is_none_or(|id| id.eq_ignore_ascii_case(&planned.machine_id));
        (mark.run == self.id && is_machine).then_some(mark.device)
    }

    /// Links an action to the attempt that created it.
    pub(super) fn link_session(&mut self, index: u32, action: &Action, now: WallTime) {
        if self.by_action.insert(action.id, index).is_some() {
            return;
        }
        let marked = action.comment.as_deref().and_then(AttemptMark::find);
        let marked = marked.map(|mark| mark.attempt);
        let Some(device) = self.device_mut(index) else {
            return;
        };
        let name = device.record.planned.name.clone();
        if let Some(number) = marked
            && device.was_undone(number)
        {
            device.record.attempts.push(StartAttempt::new(number, now));
        }
        let last = device.record.attempts.last().map(|a| a.number);
        let number = marked.or(last).unwrap_or(0);
        let mut attempts = device.record.attempts.iter_mut();
        let attempt = attempts.find(|attempt| attempt.number == number);
        let Some(attempt) = attempt.filter(|attempt| attempt.action.is_none()) else {
            return self.notices.push(format!(
                "action {} on {name} has a mark of this run but was not started by it",
                action.id
            ));
        };
        attempt.action = Some(action.id);
        attempt.created.clone_from(&action.created);
        let is_last = last == Some(attempt.number);
        device.last_shown = now;
        self.changed.insert(index);
        if is_last && self.awaits_session(index) {
            self.set_state(index, DeviceState::Open { since: now });
        } else {
            self.notices.push(format!(
                "a start on {name} that was given up created a session after all, action {}",
                action.id
            ));
        }
    }

    /// Whether the last attempt of a device may still turn out to have created
    /// a session.
    fn awaits_session(&self, index: u32) -> bool {
        self.device(index).is_some_and(|device| {
            let is_unsettled = matches!(
                device.record.state,
                DeviceState::Starting | DeviceState::InDoubt { .. } | DeviceState::Queued { .. }
            );
            is_unsettled || device.is_refused() || device.record.is_settled_in_doubt()
        })
    }

    pub(super) fn is_current_session(&self, index: u32, action: ActionId) -> bool {
        let attempt = self.current_attempt(index);
        attempt.is_some_and(|attempt| attempt.action == Some(action))
    }

    /// Whether the current session of a device was given up; observing it now
    /// means that it was found.
    fn was_given_up(&self, index: u32) -> bool {
        let attempt = self.current_attempt(index);
        let is_cancelled = attempt.is_some_and(|a| a.cancelling.is_some());
        self.device(index).is_some_and(|device| {
            let record = &device.record;
            match record.state {
                DeviceState::InDoubt { .. } => true,
                DeviceState::Queued { .. } => !is_cancelled,
                _ => record.is_settled_in_doubt(),
            }
        })
    }

    /// Updates a device from its current session.
    pub(super) fn update_session(&mut self, index: u32, action: &Action, now: WallTime) {
        if !self.is_current_session(index, action.id) {
            return;
        }
        if self.was_given_up(index) {
            self.set_state(index, DeviceState::Open { since: now });
        }
        let Some(device) = self.device_mut(index) else {
            return;
        };
        if !device.record.is_open() {
            return;
        }
        device.last_shown = now;
        device.not_found_count = 0;
        device.is_pending = action.status.eq_ignore_ascii_case("Pending");
        if let DeviceState::Open { since } = device.record.state
            && is_taken_up(action)
        {
            self.latest_taken_up = self.latest_taken_up.max(since);
        }
        if action.is_final() && !self.may_be_incomplete(index, action, now) {
            self.settle_session(index, action, now);
        }
    }

    /// Whether a succeeded session with uncompleted commands should be
    /// observed again: for a short time, a list may show a new status and old
    /// commands.
    fn may_be_incomplete(&mut self, index: u32, action: &Action, now: WallTime) -> bool {
        let wait = self.limits.recheck_every;
        if !has_status(action, "Succeeded") || self.uncompleted_commands(index, action) == 0 {
            return false;
        }
        let Some(device) = self.device_mut(index) else {
            return false;
        };
        let since = *device.incomplete_since.get_or_insert(now);
        first_failure(action).is_none() && now.since(since) < wait
    }

    /// Whether a session is observed again for that reason.
    pub fn is_incomplete(&self, action: ActionId) -> bool {
        self.device_of(action)
            .is_some_and(|device| device.record.is_open() && device.incomplete_since.is_some())
    }

    /// Number of planned commands that the session does not show as completed.
    fn uncompleted_commands(&self, index: u32, action: &Action) -> usize {
        let device = self.device(index);
        let planned = device.map_or(0, |d| d.record.planned.steps.len());
        let completed = action.commands.iter().filter(|c| c.is_completed()).count();
        planned.saturating_sub(completed)
    }

    /// Settles the device of a final session, or parks it.
    fn settle_session(&mut self, index: u32, action: &Action, now: WallTime) {
        let cancelling = self.current_attempt(index).and_then(|a| a.cancelling);
        let cancel_requested = self.device(index).is_some_and(|d| d.cancel_requested);
        let was_parked = cancelling == Some(CancelReason::Parked) && !cancel_requested;
        let (outcome, detail) = if has_status(action, "Succeeded") {
            match (
                first_failure(action),
                self.uncompleted_commands(index, action),
            ) {
                (None, 0) => (Outcome::Done, String::new()),
                (None, n) => (
                    Outcome::Failed,
                    format!("the service reports Succeeded, but {n} commands did not complete"),
                ),
                (Some(failure), _) => (Outcome::Failed, failure),
            }
        } else if has_status(action, "Cancelled") {
            if was_parked && is_untouched(action) {
                return self.park(index, now);
            }
            let detail = if was_parked {
                PARKED_TOO_LATE
            } else if is_untouched(action) {
                "before its first command"
            } else {
                "after its first command: the results of completed commands are collected"
            };
            (Outcome::Cancelled, detail.to_string())
        } else if has_status(action, "TimeOut") {
            if is_untouched(action) {
                let detail = "the session timed out before the device took it up";
                (Outcome::Away, detail.to_string())
            } else {
                (Outcome::TimedOut, first_failure(action).unwrap_or_default())
            }
        } else {
            let failure = first_failure(action);
            let detail = failure.unwrap_or_else(|| "no command reports an error".into());
            (Outcome::Failed, detail)
        };
        self.settle(index, outcome, detail, now);
    }

    /// Event: a list was read to its end, after its actions were observed. It
    /// began at `began`, which was `date` by the service's clock.
    pub fn complete_list(&mut self, date: Option<Timestamp>, began: WallTime, now: WallTime) {
        self.foreign_sessions = std::mem::take(&mut self.foreign_in_list);
        self.has_listed = true;
        self.last_list_began = began;
        self.last_list_time = date.or(self.last_list_time);
        let open: Vec<u32> = self.open.iter().copied().collect();
        for index in open {
            self.count_list_without_session(index, began);
        }
        let parked: Vec<u32> = self.parked.iter().copied().collect();
        for index in parked {
            if self.is_away_too_long(index, now) {
                let detail = "the device was not seen again";
                self.settle(index, Outcome::Away, detail, now);
            }
        }
    }
}

const PARKED_TOO_LATE: &str = "the device took the session up as it was parked: the results of completed commands are collected";

impl ScheduledDevice {
    fn is_refused(&self) -> bool {
        matches!(
            self.record.state,
            DeviceState::Settled {
                outcome: Outcome::Refused,
                ..
            }
        )
    }

    /// Whether the attempt was undone because it seemed not to have reached
    /// the service. The mark of its session proves that it did.
    fn was_undone(&self, number: u32) -> bool {
        let last = self.record.attempts.last().map_or(0, |a| a.number);
        let is_next = last.checked_add(1) == Some(number);
        let is_queued = matches!(self.record.state, DeviceState::Queued { .. });
        is_next && (is_queued || self.is_refused())
    }
}

fn has_status(action: &Action, status: &str) -> bool {
    action.status.eq_ignore_ascii_case(status)
}

/// Whether the device has begun to work on the session.
fn is_taken_up(action: &Action) -> bool {
    has_status(action, "InProgress") || has_status(action, "Succeeded") || !is_untouched(action)
}

/// Whether no command was begun.
fn is_untouched(action: &Action) -> bool {
    let is_untouched = |command: &Command| {
        let unstarted = ["Created", "Pending", "Cancelled", ""];
        command.started.is_none()
            && unstarted
                .iter()
                .any(|status| status.eq_ignore_ascii_case(&command.status))
    };
    action.commands.iter().all(is_untouched)
}

/// Describes the first failed command.
fn first_failure(action: &Action) -> Option<String> {
    let failed = action.commands.iter().find(|c| c.is_failed())?;
    let errors = crate::error::clean(&failed.errors.join("; "));
    let reason = if errors.is_empty() {
        "no reason given"
    } else {
        &errors
    };
    Some(format!("{} {}: {reason}", failed.kind, failed.index))
}
