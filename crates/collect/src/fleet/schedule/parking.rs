//! Parks absent devices, and queues them again when they are seen.

use std::collections::HashMap;
use std::time::Duration;

use crate::clock::WallTime;
use crate::fleet::device::{CancelReason, DeviceState, Outcome};
use crate::fleet::plan::machine::MachineInfo;
use crate::fleet::schedule::Schedule;
use evidence::{ActionId, Time};

/// An open session that its device has not taken up.
struct PendingSession {
    /// Index of the device.
    index: u32,
    since: WallTime,
    /// From the start to the last list that showed it as Pending.
    shown_for: Duration,
    likely_away: bool,
}

impl Schedule {
    /// Devices whose sessions have been Pending for too long. If more than
    /// `parked_max` wait for their devices, those that wait longest are
    /// included as well, provided that later sessions were taken up meanwhile.
    ///
    /// Only the time until the last list counts. Later changes, for example
    /// during an hour without network, are unknown.
    pub(super) fn devices_to_park(&self) -> Vec<u32> {
        let Some(park_after) = self.limits.park_after else {
            return Vec::new();
        };
        let min_wait = self.limits.queue_time.min(park_after);
        let mut pending: Vec<PendingSession> = self
            .open
            .iter()
            .filter_map(|index| self.pending_session(*index))
            .filter(|session| session.shown_for >= min_wait)
            .collect();
        pending.sort_unstable_by_key(|session| (session.since, session.index));
        let excess = pending.len().saturating_sub(self.limits.parked_max);
        pending
            .iter()
            .zip(0..)
            .filter(|(session, n)| {
                let is_passed_over = session.likely_away || session.since < self.latest_taken_up;
                (*n < excess && is_passed_over) || session.shown_for >= park_after
            })
            .map(|(session, _)| session.index)
            .collect()
    }

    fn pending_session(&self, index: u32) -> Option<PendingSession> {
        let device = self.device(index)?;
        let DeviceState::Open { since } = device.record.state else {
            return None;
        };
        (device.is_pending && !device.cancel_requested).then(|| PendingSession {
            index,
            since,
            shown_for: device.last_shown.since(since),
            likely_away: device.likely_away,
        })
    }

    /// Whether the session of a device to be parked is still Pending, as far
    /// as is known: the cancellation may have been delayed by the rate limit.
    pub fn is_still_pending(&self, index: u32, action: ActionId, now: WallTime) -> bool {
        let is_recent = self
            .device(index)
            .is_some_and(|device| now.since(device.last_shown) < self.limits.recheck_every);
        is_recent && self.is_current_session(index, action) && self.pending_session(index).is_some()
    }

    /// Parks a device whose session was cancelled for this purpose.
    pub(super) fn park(&mut self, index: u32, now: WallTime) {
        if self.is_away_too_long(index, now) {
            let detail = "the device was seen but took up no session";
            return self.settle(index, Outcome::Away, detail, now);
        }
        self.set_state(
            index,
            DeviceState::Parked {
                since: now,
                last_seen: None,
            },
        );
    }

    /// Whether the session was cancelled to park its device, and another
    /// session follows or has followed. It has no results.
    pub fn was_parked(&self, action: ActionId) -> bool {
        let Some(device) = self.device_of(action) else {
            return false;
        };
        let is_parking = device.record.attempts.iter().any(|attempt| {
            attempt.action == Some(action) && attempt.cancelling == Some(CancelReason::Parked)
        });
        let is_last = device.record.actions().last() == Some(action);
        let is_open_or_settled = matches!(
            device.record.state,
            DeviceState::Open { .. } | DeviceState::Settled { .. }
        );
        is_parking && !(is_last && is_open_or_settled)
    }

    /// Whether the first session of a device was started too long ago. Counted
    /// from the first one, so that a device which is seen but never takes up a
    /// session is given up as well.
    pub(super) fn is_away_too_long(&self, index: u32, now: WallTime) -> bool {
        let first = self.device(index).and_then(|d| d.record.attempts.first());
        first.is_some_and(|first| now.since(first.sent) >= self.limits.away_max)
    }

    /// Machine ids of the parked devices.
    pub fn parked_machines(&self) -> Vec<String> {
        let parked = self.parked.iter().filter_map(|index| self.device(*index));
        parked
            .map(|device| device.record.planned.machine_id.clone())
            .collect()
    }

    /// Event: machines were observed. Parked devices that were seen since they
    /// were parked are queued again.
    pub fn observe_machines(&mut self, machines: &[MachineInfo]) {
        let last_seen: HashMap<String, &Time> = machines
            .iter()
            .filter_map(|machine| {
                Some((machine.id.to_ascii_lowercase(), machine.last_seen.as_ref()?))
            })
            .collect();
        let parked: Vec<u32> = self.parked.iter().copied().collect();
        for index in parked {
            let device = self.device(index);
            let id = device.map(|d| d.record.planned.machine_id.to_ascii_lowercase());
            if let Some(seen) = id.and_then(|id| last_seen.get(&id)) {
                self.observe_parked(index, seen);
            }
        }
    }

    fn observe_parked(&mut self, index: u32, seen: &Time) {
        let Some(device) = self.device_mut(index) else {
            return;
        };
        let DeviceState::Parked { since, last_seen } = &device.record.state else {
            return;
        };
        // The first observation is the one to compare with, unless the device
        // was seen after its session had been created.
        let created = device
            .record
            .attempts
            .last()
            .and_then(|a| a.created.as_ref());
        let before = last_seen.as_ref().or(created).and_then(Time::instant);
        let is_later = before.zip(seen.instant()).is_some_and(|(b, s)| s > b);
        let (since, is_first) = (*since, last_seen.is_none());
        if is_later {
            // If it was seen but took up no session before, it is started
            // after the other devices.
            device.likely_away = device.record.attempts.len() > 1;
            self.queue(index, None, None);
        } else if is_first {
            let last_seen = Some(seen.clone());
            self.set_state(index, DeviceState::Parked { since, last_seen });
        }
    }
}
