//! What lists show, and what it means for the devices of the run.

use jiff::Timestamp;

use super::{DeviceState, Moment, Outcome, Schedule};
use crate::collect::fleet::device::Cancelling;
use crate::collect::fleet::run_id::Mark;
use crate::evidence::{Action, ActionId, Command};

impl Schedule {
    /// An action as a list showed it, whoever asked for it.
    pub fn saw(&mut self, action: &Action, now: Moment) {
        match self.place_of(action) {
            Some(place) => {
                self.adopt(place, action, now);
                self.follow(place, action, now);
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
    pub(super) fn place_of(&self, action: &Action) -> Option<u32> {
        if let Some(place) = self.by_action.get(&action.id) {
            return Some(*place);
        }
        let mark = Mark::find(action.comment.as_deref()?)?;
        let planned = &self.device(mark.place)?.record.planned;
        let machine = action.machine_id.as_deref();
        let is_machine = machine.is_none_or(|id| id.eq_ignore_ascii_case(&planned.machine_id));
        (mark.run == self.id && is_machine).then_some(mark.place)
    }

    /// Links an action to the attempt that led to it.
    pub(super) fn adopt(&mut self, place: u32, action: &Action, now: Moment) {
        if self.by_action.insert(action.id, place).is_some() {
            return;
        }
        let number = action.comment.as_deref().and_then(Mark::find);
        let number = number.map(|mark| mark.attempt);
        let Some(device) = self.device_mut(place) else {
            return;
        };
        let name = device.record.planned.name.clone();
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
                DeviceState::Sending | DeviceState::Lost { .. } | DeviceState::Waiting { .. }
            );
            waits || device.record.is_unresolved()
        })
    }

    /// Takes over what the service says of a device's current session.
    pub(super) fn follow(&mut self, place: u32, action: &Action, now: Moment) {
        let is_current = self
            .attempt(place)
            .is_some_and(|a| a.action == Some(action.id));
        let Some(device) = self.device_mut(place) else {
            return;
        };
        if !is_current || !device.record.is_open() {
            return;
        }
        device.shown = now;
        device.is_pending = action.status.eq_ignore_ascii_case("Pending");
        if action.is_final() {
            self.end(place, action, now);
        }
    }

    fn end(&mut self, place: u32, action: &Action, now: Moment) {
        let cancelling = self.attempt(place).and_then(|attempt| attempt.cancelling);
        let asked = self.device(place).is_some_and(|d| d.cancel_asked);
        let parked = cancelling == Some(Cancelling::Parked) && !asked;
        let said = |word: &str| action.status.eq_ignore_ascii_case(word);
        let (outcome, detail) = if said("Succeeded") {
            match first_failed(action) {
                None => (Outcome::Done, String::new()),
                Some(detail) => (Outcome::Failed, detail),
            }
        } else if said("Cancelled") && parked && is_untouched(action) {
            return self.park(place, now);
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
    pub fn listed(&mut self, date: Option<Timestamp>, began: Moment, now: Moment) {
        self.others = std::mem::take(&mut self.others_listing);
        self.has_listed = true;
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

    /// Sessions no list has shown for long: to be asked for by their ids.
    pub fn take_unseen(&mut self, now: Moment) -> Vec<(u32, ActionId)> {
        let unseen_for = self.times.unseen_for;
        let open: Vec<u32> = self.open.iter().copied().collect();
        let mut unseen = Vec::new();
        for place in open {
            let Some(device) = self.device_mut(place) else {
                continue;
            };
            let DeviceState::Open { since } = device.record.state else {
                continue;
            };
            let action = device.record.attempts.last().and_then(|a| a.action);
            if let Some(action) = action
                && now.since(device.shown.max(since)) >= unseen_for
            {
                // Not again before as long.
                device.shown = now;
                unseen.push((place, action));
            }
        }
        unseen
    }

    /// The service no longer knows a session of ours.
    pub fn forgotten(&mut self, place: u32, now: Moment) {
        let is_open = self.device(place).is_some_and(|d| d.record.is_open());
        if is_open {
            self.settle(
                place,
                Outcome::Failed,
                "the service no longer knows its session",
                now,
            );
        }
    }
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
    let errors = crate::collect::error::clean(&failed.errors.join("; "));
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
