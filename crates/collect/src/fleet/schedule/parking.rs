//! Devices that are away, and sessions to be cancelled.

use std::collections::HashMap;
use std::time::Duration;

use crate::fleet::MachineInfo;
use crate::fleet::device::CancelReason;
use crate::fleet::schedule::{DeviceState, WallTime, Outcome, Schedule};
use evidence::{ActionId, Time};

/// A session to be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionCancel {
    pub place: u32,
    pub action: ActionId,
    pub why: CancelReason,
}

/// An open session that its device has not taken up.
struct PendingSession {
    place: u32,
    since: WallTime,
    /// From its start to when it was last shown to wait.
    seen_for: Duration,
    likely_away: bool,
}

impl Schedule {
    /// Sessions to be cancelled now. That they are must be in the record
    /// before the requests leave.
    pub fn due_to_cancel(&mut self, now: WallTime) -> Vec<SessionCancel> {
        let mut places = self.overdue();
        places.extend(self.asked());
        places
            .into_iter()
            .filter_map(|(place, why)| self.cancel_one(place, why, now))
            .collect()
    }

    fn cancel_one(&mut self, place: u32, why: CancelReason, now: WallTime) -> Option<SessionCancel> {
        let again_at = now.after(self.times.again_after);
        let device = self.device_mut(place)?;
        if now < device.cancel_again_at {
            return None;
        }
        let attempt = device.record.attempts.last_mut()?;
        let action = attempt.action?;
        attempt.cancelling = Some(why);
        device.cancel_again_at = again_at;
        self.changed.insert(place);
        Some(SessionCancel { place, action, why })
    }

    /// Sessions a person wants cancelled.
    fn asked(&self) -> Vec<(u32, CancelReason)> {
        let open = self.open.iter().copied();
        open.filter(|place| self.device(*place).is_some_and(|d| d.cancel_asked))
            .map(|place| (place, CancelReason::Requested))
            .collect()
    }

    /// Sessions that wait for their devices too long, or in too great number:
    /// then those that have waited longest, while later ones were taken up. It
    /// counts for how long they were seen to wait: whatever happened since the
    /// last list, an hour without network too, is not known.
    fn overdue(&self) -> Vec<(u32, CancelReason)> {
        let Some(park_after) = self.times.park_after else {
            return Vec::new();
        };
        let mut waiting: Vec<PendingSession> = self
            .open
            .iter()
            .filter_map(|place| self.waiting(*place))
            .filter(|waiting| waiting.seen_for >= self.times.waits_after.min(park_after))
            .collect();
        waiting.sort_unstable_by_key(|waiting| (waiting.since, waiting.place));
        let too_many = waiting.len().saturating_sub(self.times.parked_max);
        let late = waiting.iter().enumerate().filter(|(n, waiting)| {
            let is_passed_over = waiting.likely_away || waiting.since < self.taken_up;
            (*n < too_many && is_passed_over) || waiting.seen_for >= park_after
        });
        late.map(|(_, waiting)| (waiting.place, CancelReason::Parked))
            .collect()
    }

    /// Whether a session that was to be cancelled for its device's sake still
    /// waits, as far as is known: the call may have been held up for long.
    pub fn still_waits(&self, place: u32, action: ActionId, now: WallTime) -> bool {
        let is_current = self
            .attempt(place)
            .is_some_and(|a| a.action == Some(action));
        let shown = self.device(place).map(|device| device.shown);
        let is_fresh = shown.is_some_and(|shown| now.since(shown) < self.times.look_every);
        is_current && is_fresh && self.waiting(place).is_some()
    }

    /// The session of a device that is away is gone.
    pub(crate) fn park(&mut self, place: u32, now: WallTime) {
        if self.is_given_up(place, now) {
            let why = "seen now and then, and took up no session";
            return self.settle(place, Outcome::Away, why, now);
        }
        let last_seen = None;
        let since = now;
        self.set(place, DeviceState::Parked { since, last_seen });
    }

    /// A session given up for its device's sake, and over without having run.
    pub fn is_parked(&self, action: ActionId) -> bool {
        let device = self.by_action.get(&action).and_then(|p| self.device(*p));
        let Some(device) = device else {
            return false;
        };
        let mut attempts = device.record.attempts.iter();
        let parked = Some(CancelReason::Parked);
        let was_parked = attempts.any(|a| a.action == Some(action) && a.cancelling == parked);
        let is_last = device.record.actions().last() == Some(action);
        let is_its_end = matches!(
            device.record.state,
            DeviceState::Open { .. } | DeviceState::Settled { .. }
        );
        was_parked && !(is_last && is_its_end)
    }

    /// Counted from its first session: one that is seen but never takes a
    /// session up must have an end, too.
    pub(crate) fn is_given_up(&self, place: u32, now: WallTime) -> bool {
        let first = self.device(place).and_then(|d| d.record.attempts.first());
        first.is_some_and(|first| now.since(first.sent) >= self.times.away_max)
    }

    /// The service does not let us cancel the session of this device: not
    /// asked for again, unless a person does.
    pub fn cancel_refused(&mut self, place: u32) {
        if let Some(device) = self.device_mut(place) {
            device.cancel_again_at = WallTime(u64::MAX);
        }
    }

    fn waiting(&self, place: u32) -> Option<PendingSession> {
        let device = self.device(place)?;
        let DeviceState::Open { since } = device.record.state else {
            return None;
        };
        let waiting = PendingSession {
            place,
            since,
            seen_for: device.shown.since(since),
            likely_away: device.likely_away,
        };
        (device.is_pending && !device.cancel_asked).then_some(waiting)
    }

    /// Machine ids of the devices that are parked.
    pub fn parked(&self) -> Vec<String> {
        let away = self.away.iter().filter_map(|place| self.device(*place));
        away.map(|device| device.record.planned.machine_id.clone())
            .collect()
    }

    /// Machines as the service describes them now: who was seen since it was
    /// parked is queued again.
    pub fn saw_machines(&mut self, machines: &[MachineInfo]) {
        let seen = |machine: &MachineInfo| {
            Some((machine.id.to_ascii_lowercase(), machine.last_seen.clone()?))
        };
        let seen: HashMap<String, Time> = machines.iter().filter_map(seen).collect();
        let away: Vec<u32> = self.away.iter().copied().collect();
        for place in away {
            let id = self.device(place).map(|d| &d.record.planned.machine_id);
            let seen = id.and_then(|id| seen.get(&id.to_ascii_lowercase()));
            if let Some(seen) = seen.cloned() {
                self.saw_parked(place, seen);
            }
        }
    }

    fn saw_parked(&mut self, place: u32, seen: Time) {
        let created = self.attempt(place).and_then(|a| a.created.clone());
        let state = self.device(place).map(|d| d.record.state.clone());
        let Some(DeviceState::Parked { since, last_seen }) = state else {
            return;
        };
        // The first look tells what "moved" will be measured by, unless the
        // device was seen after its session had been queued.
        let before = last_seen.as_ref().or(created.as_ref());
        let before = before.and_then(Time::instant);
        let is_later = before.zip(seen.instant()).is_some_and(|(b, s)| s > b);
        if is_later {
            if let Some(device) = self.device_mut(place) {
                // Seen, and yet it took up no session: behind the others.
                device.likely_away = device.record.attempts.len() > 1;
            }
            self.wait(place, None, None);
        } else if last_seen.is_none() {
            let last_seen = Some(seen);
            self.set(place, DeviceState::Parked { since, last_seen });
        }
    }

    /// A person wants one device left out.
    pub fn cancel_device(&mut self, place: u32, now: WallTime) {
        let Some(device) = self.device_mut(place) else {
            return;
        };
        device.cancel_asked = true;
        device.cancel_again_at = WallTime::default();
        if device.record.is_open() {
            if let Some(attempt) = device.record.attempts.last_mut() {
                attempt.cancelling = Some(CancelReason::Requested);
            }
            self.changed.insert(place);
            return;
        }
        if !device.record.is_settled() {
            self.settle(place, Outcome::Cancelled, "before it was started", now);
        }
    }

    /// A person wants it all to end.
    pub fn cancel_all(&mut self, now: WallTime) {
        self.is_cancelled = true;
        for place in (1..).take(self.devices.len()) {
            self.cancel_device(place, now);
        }
    }

    /// Places of the devices a person names.
    pub fn places_of(&self, name: &str) -> Vec<u32> {
        let named = |place: &u32| {
            self.device(*place)
                .is_some_and(|device| device.record.planned.has_name(name))
        };
        (1..).take(self.devices.len()).filter(named).collect()
    }
}
