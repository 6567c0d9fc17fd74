//! What lists show, and what it means for the devices of the run.

use jiff::Timestamp;

use crate::fleet::device::CancelReason;
use crate::fleet::run_id::AttemptMark;
use crate::fleet::schedule::{
    DeviceState, WallTime, Outcome, Schedule, ScheduledDevice, StartAttempt, UNKNOWN_MIN, UNSEEN_MAX,
};
use evidence::{Action, ActionId, Command};

impl Schedule {
    /// An action as a list showed it, whoever asked for it.
    pub fn saw(&mut self, action: &Action, now: WallTime) {
        match self.place_of(action) {
            Some(place) => {
                self.unknown_in_a_row = 0;
                self.adopt(place, action, now);
                if self.is_current(place, action.id) {
                    self.follow(place, action, now);
                } else {
                    // Given up, and there after all: it takes a session.
                    self.saw_other(action);
                }
            }
            None => self.saw_other(action),
        }
    }

    fn saw_other(&mut self, action: &Action) {
        if !action.is_final() && action.kind.eq_ignore_ascii_case("LiveResponse") {
            let machine = action.machine_id.clone().unwrap_or_default();
            self.others_listing.insert(action.id, machine);
        }
    }

    /// By its id, or by our mark in its comment.
    pub(crate) fn place_of(&self, action: &Action) -> Option<u32> {
        if let Some(place) = self.by_action.get(&action.id) {
            return Some(*place);
        }
        let mark = AttemptMark::find(action.comment.as_deref()?)?;
        let planned = &self.device(mark.device)?.record.planned;
        let machine = action.machine_id.as_deref();
        let is_machine = machine.is_none_or(|id| id.eq_ignore_ascii_case(&planned.machine_id));
        (mark.run == self.id && is_machine).then_some(mark.device)
    }

    /// Links an action to the attempt that led to it.
    pub(crate) fn adopt(&mut self, place: u32, action: &Action, now: WallTime) {
        if self.by_action.insert(action.id, place).is_some() {
            return;
        }
        let number = action.comment.as_deref().and_then(AttemptMark::find);
        let number = number.map(|mark| mark.attempt);
        let Some(device) = self.device_mut(place) else {
            return;
        };
        let name = device.record.planned.name.clone();
        if let Some(number) = number
            && device.is_taken_back(number)
        {
            device.record.attempts.push(StartAttempt::new(number, now));
        }
        let last = device.record.attempts.last().map(|a| a.number);
        let mut attempts = device.record.attempts.iter_mut();
        let attempt = attempts.find(|a| a.number == number.or(last).unwrap_or(0));
        let Some(attempt) = attempt.filter(|attempt| attempt.action.is_none()) else {
            return self.notices.push(format!(
                "action {} on {name} bears a mark of this run and was not started by it",
                action.id
            ));
        };
        attempt.action = Some(action.id);
        attempt.created.clone_from(&action.created);
        let is_last = last == Some(attempt.number);
        device.shown = now;
        self.changed.insert(place);
        if is_last && self.awaits_its_action(place) {
            self.set(place, DeviceState::Open { since: now });
        } else {
            self.notices.push(format!(
                "a start on {name} that had been given up came about after all, as action {}",
                action.id
            ));
        }
    }

    fn awaits_its_action(&self, place: u32) -> bool {
        self.device(place).is_some_and(|device| {
            let state = &device.record.state;
            let waits = matches!(
                state,
                DeviceState::Starting | DeviceState::InDoubt { .. } | DeviceState::Queued { .. }
            );
            waits || device.is_refused() || device.record.is_in_doubt()
        })
    }

    fn is_current(&self, place: u32, action: ActionId) -> bool {
        let attempt = self.attempt(place);
        attempt.is_some_and(|attempt| attempt.action == Some(action))
    }

    /// The service knows its session again, which had been given up.
    fn is_back(&self, place: u32) -> bool {
        let parked = self.attempt(place).is_some_and(|a| a.cancelling.is_some());
        self.device(place).is_some_and(|device| {
            let record = &device.record;
            match record.state {
                DeviceState::InDoubt { .. } => true,
                DeviceState::Queued { .. } => !parked,
                _ => record.is_in_doubt(),
            }
        })
    }

    /// Takes over what the service says of a device's current session.
    pub(crate) fn follow(&mut self, place: u32, action: &Action, now: WallTime) {
        if !self.is_current(place, action.id) {
            return;
        }
        if self.is_back(place) {
            self.set(place, DeviceState::Open { since: now });
        }
        let Some(device) = self.device_mut(place) else {
            return;
        };
        if !device.record.is_open() {
            return;
        }
        device.shown = now;
        device.unknown = 0;
        device.is_pending = action.status.eq_ignore_ascii_case("Pending");
        if let DeviceState::Open { since } = device.record.state
            && is_taken_up(action)
        {
            self.taken_up = self.taken_up.max(since);
        }
        if action.is_final() && !self.is_half_told(place, action, now) {
            self.end(place, action, now);
        }
    }

    /// A session that succeeded with commands that did not complete is looked
    /// at again for a while: what a list shows may be half a moment old.
    fn is_half_told(&mut self, place: u32, action: &Action, now: WallTime) -> bool {
        let half_for = self.times.look_every;
        if !action.status.eq_ignore_ascii_case("Succeeded") || self.missing(place, action) == 0 {
            return false;
        }
        let Some(device) = self.device_mut(place) else {
            return false;
        };
        let since = *device.half_since.get_or_insert(now);
        first_failed(action).is_none() && now.since(since) < half_for
    }

    /// A session that is looked at again for that.
    pub fn is_shown_by_half(&self, action: ActionId) -> bool {
        let device = self.by_action.get(&action).and_then(|p| self.device(*p));
        device.is_some_and(|device| device.record.is_open() && device.half_since.is_some())
    }

    /// How many of a device's commands its session does not show completed.
    fn missing(&self, place: u32, action: &Action) -> usize {
        let planned = self
            .device(place)
            .map_or(0, |d| d.record.planned.steps.len());
        let completed = action.commands.iter().filter(|c| c.is_completed()).count();
        planned.saturating_sub(completed)
    }

    fn end(&mut self, place: u32, action: &Action, now: WallTime) {
        let cancelling = self.attempt(place).and_then(|attempt| attempt.cancelling);
        let asked = self.device(place).is_some_and(|d| d.cancel_asked);
        let parked = cancelling == Some(CancelReason::Parked) && !asked;
        let said = |word: &str| action.status.eq_ignore_ascii_case(word);
        let (outcome, detail) = if said("Succeeded") {
            match (first_failed(action), self.missing(place, action)) {
                (None, 0) => (Outcome::Done, String::new()),
                (None, missing) => {
                    let detail = format!(
                        "the service says Succeeded and does not show {missing} of its commands completed"
                    );
                    (Outcome::Failed, detail)
                }
                (Some(detail), _) => (Outcome::Failed, detail),
            }
        } else if said("Cancelled") && parked && is_untouched(action) {
            return self.park(place, now);
        } else if said("Cancelled") && parked {
            (Outcome::Cancelled, PARKED_MIDWAY.into())
        } else if said("Cancelled") {
            (Outcome::Cancelled, cancelled_detail(action))
        } else if said("TimeOut") && is_untouched(action) {
            (Outcome::Away, "the service gave up waiting for it".into())
        } else if said("TimeOut") {
            (Outcome::TimedOut, first_failed(action).unwrap_or_default())
        } else {
            let detail = first_failed(action).unwrap_or_else(|| "no command says why".into());
            (Outcome::Failed, detail)
        };
        self.settle(place, outcome, detail, now);
    }

    /// A list was read to its end; it began at `began`, which was `date` by
    /// the service's clock.
    pub fn listed(&mut self, date: Option<Timestamp>, began: WallTime, now: WallTime) {
        self.others = std::mem::take(&mut self.others_listing);
        self.has_listed = true;
        self.list_began = began;
        self.listed_at = date.or(self.listed_at);
        let open: Vec<u32> = self.open.iter().copied().collect();
        for place in open {
            self.count_list(place, began);
        }
        let away: Vec<u32> = self.away.iter().copied().collect();
        for place in away {
            if self.is_given_up(place, now) {
                self.settle(place, Outcome::Away, "not seen again", now);
            }
        }
    }

    /// Sessions that lists do not show: to be asked for by their ids. What is
    /// too old to be listed once it is over is asked for as soon as a list
    /// leaves it out.
    pub fn take_unseen(&mut self, now: WallTime) -> Vec<(u32, ActionId)> {
        let open: Vec<u32> = self.open.iter().copied().collect();
        let due = open.into_iter().filter_map(|place| {
            let is_old = self.is_old(place, now) && self.shown(place)? < self.list_began;
            let look_every = self.times.look_every;
            if !is_old && !self.is_unseen(place, now) {
                return None;
            }
            let device = self.device_mut(place)?;
            let action = device.record.attempts.last()?.action?;
            (now >= device.ask_again_at).then(|| {
                device.ask_again_at = now.after(look_every);
                (place, action)
            })
        });
        due.collect()
    }

    /// When an open session was last known to be there.
    fn shown(&self, place: u32) -> Option<WallTime> {
        let device = self.device(place)?;
        match device.record.state {
            DeviceState::Open { since } => Some(device.shown.max(since)),
            _ => None,
        }
    }

    fn is_unseen(&self, place: u32, now: WallTime) -> bool {
        let shown = self.shown(place);
        shown.is_some_and(|shown| now.since(shown) >= self.times.unseen_for)
    }

    fn is_old(&self, place: u32, now: WallTime) -> bool {
        let attempt = self.attempt(place);
        attempt.is_some_and(|attempt| now.since(attempt.sent) >= self.times.listed_for)
    }

    /// Whether lists leave out too many of our sessions for another to be
    /// started. Where many were given up for it, one at a time is tried.
    pub(crate) fn is_blind(&self) -> bool {
        // Where no list was read none left anything out.
        let open = self.open.iter();
        let unseen = open
            .filter(|place| self.is_unseen(**place, self.list_began))
            .count();
        unseen >= UNSEEN_MAX || (self.unknown_in_a_row >= UNSEEN_MAX && !self.open.is_empty())
    }

    /// The service does not know a session of ours by its id. A fresh one is
    /// known to nobody for minutes, so it takes several looks, long after it
    /// was last there, until it is a person's to decide.
    pub fn unknown(&mut self, place: u32, now: WallTime) {
        let Some(shown) = self.shown(place) else {
            return;
        };
        let (unknown_for, lost_for) = (self.times.unknown_for, self.times.lost_for);
        let Some(device) = self.device_mut(place) else {
            return;
        };
        device.unknown += 1;
        if device.unknown < UNKNOWN_MIN || now.since(shown) < unknown_for {
            return;
        }
        device.look_again_at = now.after(lost_for);
        let name = device.record.planned.name.clone();
        self.unknown_in_a_row += 1;
        self.notices.push(format!(
            "{name} is unresolved: {UNKNOWN}; `fleet resume` looks for it again"
        ));
        self.settle(place, Outcome::InDoubt, UNKNOWN, now);
    }
}

/// What a person reads of a session that is gone.
pub(crate) const UNKNOWN: &str = "the service does not show its session: it may have run";
const PARKED_MIDWAY: &str =
    "its device was away and began just as it was parked: what was completed is collected";

impl ScheduledDevice {
    fn is_refused(&self) -> bool {
        matches!(&self.record.state, DeviceState::Settled { outcome, .. } if *outcome == Outcome::Refused)
    }

    /// A start that was taken back as one that never reached the service, and
    /// did: its mark says so.
    fn is_taken_back(&self, number: u32) -> bool {
        let last = self.record.attempts.last().map_or(0, |a| a.number);
        let is_next = last.checked_add(1) == Some(number);
        let waits = matches!(self.record.state, DeviceState::Queued { .. });
        is_next && (waits || self.is_refused())
    }
}

/// The device has begun with its session.
fn is_taken_up(action: &Action) -> bool {
    let said = |word: &str| action.status.eq_ignore_ascii_case(word);
    said("InProgress") || said("Succeeded") || !is_untouched(action)
}

/// No command was begun.
fn is_untouched(action: &Action) -> bool {
    let untouched = |command: &Command| {
        let waits = ["Created", "Pending", "Cancelled", ""];
        command.started.is_none()
            && waits
                .iter()
                .any(|w| w.eq_ignore_ascii_case(&command.status))
    };
    action.commands.iter().all(untouched)
}

/// What the first command that did not complete says.
fn first_failed(action: &Action) -> Option<String> {
    let failed = action.commands.iter().find(|c| c.is_failed())?;
    let errors = crate::error::clean(&failed.errors.join("; "));
    let said = if errors.is_empty() {
        "no reason given"
    } else {
        &errors
    };
    Some(format!("{} {}: {said}", failed.kind, failed.index))
}

fn cancelled_detail(action: &Action) -> String {
    if is_untouched(action) {
        "before its first command".into()
    } else {
        "midway: what was completed is collected".into()
    }
}
