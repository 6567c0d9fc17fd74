//! Open sessions that lists do not show. They are requested by their ids, and
//! given up if the service does not find them.

use crate::clock::WallTime;
use crate::fleet::device::{DeviceState, Outcome};
use crate::fleet::schedule::Schedule;
use crate::fleet::schedule::limits::{NOT_FOUND_MIN, UNLISTED_MAX};
use evidence::ActionId;

/// Detail of a device whose session the service does not find.
pub(super) const NOT_FOUND: &str = "the service does not find its session; it may have run";

impl Schedule {
    /// Returns the sessions to request by id now, with their devices: those
    /// that lists have not shown for long, and those older than the window of
    /// the lists as soon as a list does not show them, because they may be
    /// closed.
    pub fn due_session_checks(&mut self, now: WallTime) -> Vec<(u32, ActionId)> {
        let open: Vec<u32> = self.open.iter().copied().collect();
        open.into_iter()
            .filter_map(|index| Some((index, self.due_session_check(index, now)?)))
            .collect()
    }

    fn due_session_check(&mut self, index: u32, now: WallTime) -> Option<ActionId> {
        let last_shown = self.last_shown(index)?;
        let is_missing_from_list =
            self.is_older_than_lists(index, now) && last_shown < self.last_list_began;
        if !is_missing_from_list && !self.is_unlisted(index, now) {
            return None;
        }
        let recheck_every = self.limits.recheck_every;
        let device = self.device_mut(index)?;
        let action = device.record.attempts.last()?.action?;
        if now < device.recheck_at {
            return None;
        }
        device.recheck_at = now.after(recheck_every);
        Some(action)
    }

    /// When an open session was last known to exist.
    fn last_shown(&self, index: u32) -> Option<WallTime> {
        let device = self.device(index)?;
        match device.record.state {
            DeviceState::Open { since } => Some(device.last_shown.max(since)),
            _ => None,
        }
    }

    fn is_unlisted(&self, index: u32, now: WallTime) -> bool {
        let last_shown = self.last_shown(index);
        last_shown.is_some_and(|shown| now.since(shown) >= self.limits.unlisted_after)
    }

    fn is_older_than_lists(&self, index: u32, now: WallTime) -> bool {
        let attempt = self.current_attempt(index);
        attempt.is_some_and(|attempt| now.since(attempt.sent) >= self.limits.list_window)
    }

    /// Whether lists omit so many sessions that no further one is started. If
    /// sessions were given up for this reason, one at a time is tried.
    ///
    /// Measured at the last list, because without lists none is omitted.
    pub(super) fn do_lists_omit_sessions(&self) -> bool {
        let unlisted = (self.open.iter())
            .filter(|index| self.is_unlisted(**index, self.last_list_began))
            .count();
        let are_lists_unreliable = self.not_found_in_a_row >= UNLISTED_MAX;
        unlisted >= UNLISTED_MAX || (are_lists_unreliable && !self.open.is_empty())
    }

    /// Event: the service did not find an open session by its id. A new session
    /// is not found for some minutes, so several requests over a long time must
    /// fail before it is given up.
    pub fn session_not_found(&mut self, index: u32, now: WallTime) {
        let limits = self.limits;
        let Some(last_shown) = self.last_shown(index) else {
            return;
        };
        let Some(device) = self.device_mut(index) else {
            return;
        };
        device.not_found_count += 1;
        if device.not_found_count < NOT_FOUND_MIN || now.since(last_shown) < limits.not_found_after
        {
            return;
        }
        device.reconcile_at = now.after(limits.in_doubt_after);
        let name = device.record.planned.name.clone();
        self.not_found_in_a_row += 1;
        self.notices.push(format!(
            "{name} is in doubt: {NOT_FOUND}. `fleet resume` searches for it again"
        ));
        self.settle(index, Outcome::InDoubt, NOT_FOUND, now);
    }
}
