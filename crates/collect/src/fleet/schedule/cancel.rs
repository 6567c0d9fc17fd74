//! Cancels sessions: on a person's order, and to park absent devices.

use crate::clock::WallTime;
use crate::fleet::device::{CancelReason, Outcome};
use crate::fleet::schedule::Schedule;
use evidence::ActionId;

/// A session to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SessionCancel {
    /// Index of the device.
    pub index: u32,
    pub action: ActionId,
    pub reason: CancelReason,
}

impl Schedule {
    /// Returns the sessions to cancel now. The changed entries must be recorded
    /// before the requests are sent.
    pub fn due_cancellations(&mut self, now: WallTime) -> Vec<SessionCancel> {
        let to_park = self.devices_to_park();
        let requested: Vec<u32> = (self.open.iter().copied())
            .filter(|index| self.device(*index).is_some_and(|d| d.cancel_requested))
            .collect();
        let to_park = to_park.into_iter().map(|n| (n, CancelReason::Parked));
        let requested = requested.into_iter().map(|n| (n, CancelReason::Requested));
        to_park
            .chain(requested)
            .filter_map(|(index, reason)| self.begin_cancellation(index, reason, now))
            .collect()
    }

    fn begin_cancellation(
        &mut self,
        index: u32,
        reason: CancelReason,
        now: WallTime,
    ) -> Option<SessionCancel> {
        let retry_at = now.after(self.limits.retry_after);
        let device = self.device_mut(index)?;
        if now < device.cancel_at {
            return None;
        }
        let attempt = device.record.attempts.last_mut()?;
        let action = attempt.action?;
        attempt.cancelling = Some(reason);
        device.cancel_at = retry_at;
        self.changed.insert(index);
        Some(SessionCancel {
            index,
            action,
            reason,
        })
    }

    /// Event: the service does not permit to cancel the session of a device.
    /// It is not requested again unless a person orders it.
    pub fn cancellation_forbidden(&mut self, index: u32) {
        if let Some(device) = self.device_mut(index) {
            device.cancel_at = WallTime(u64::MAX);
        }
    }

    /// Event: a person cancelled a device.
    pub fn cancel_device(&mut self, index: u32, now: WallTime) {
        let Some(device) = self.device_mut(index) else {
            return;
        };
        device.cancel_requested = true;
        device.cancel_at = WallTime::default();
        if device.record.is_open() {
            if let Some(attempt) = device.record.attempts.last_mut() {
                attempt.cancelling = Some(CancelReason::Requested);
            }
            self.changed.insert(index);
        } else if !device.record.is_settled() {
            let detail = "before a session was started";
            self.settle(index, Outcome::Cancelled, detail, now);
        }
    }

    /// Event: a person cancelled the run.
    pub fn cancel_all(&mut self, now: WallTime) {
        for index in (1..).take(self.devices.len()) {
            self.cancel_device(index, now);
        }
    }

    /// Indexes of the devices with this id or name.
    pub fn devices_named(&self, name: &str) -> Vec<u32> {
        (1..)
            .zip(&self.devices)
            .filter(|(_, device)| device.record.planned.has_name(name))
            .map(|(index, _)| index)
            .collect()
    }
}
