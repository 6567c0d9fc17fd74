//! Starts in doubt: the response was lost, so the session may exist. They are
//! searched and never repeated unless a person orders it.
//!
//! Every list is searched for their marks. A list of the sessions of one
//! machine is searched as well, less often; paging cannot hide a session from
//! it. If the session is not found for long enough, the device is settled as in
//! doubt. It is still searched from time to time while the run continues.

use jiff::Timestamp;

use crate::clock::WallTime;
use crate::fleet::device::{DeviceState, Outcome};
use crate::fleet::schedule::Schedule;
use crate::fleet::schedule::limits::{LISTS_MIN, MISSING_DOUBLINGS_MAX};
use crate::fleet::schedule::unlisted::NOT_FOUND;
use evidence::Time;

/// A search for a session in doubt in the list of its machine.
#[derive(Clone, Debug)]
pub(crate) struct ReconcileQuery {
    /// Index of the device.
    pub index: u32,
    pub machine_id: String,
    /// The service's time of the last list before the start.
    pub created_since: Option<Timestamp>,
}

/// Detail of a device whose start response was lost.
const RESPONSE_LOST: &str =
    "the response to its start was lost and the session was not found; it may have run";

impl Schedule {
    /// The response to a start is missing. Each further one in a row delays
    /// the next start, so that an outage leaves few sessions in doubt. Starts
    /// that were in flight together count once.
    pub(super) fn enter_doubt(&mut self, index: u32, now: WallTime) {
        self.set_state(index, DeviceState::InDoubt { since: now });
        let sent = self.current_attempt(index).map_or(now, |a| a.sent);
        if sent < self.last_missing {
            return;
        }
        self.last_missing = now;
        self.missing_in_a_row += 1;
        let Some(doublings) = self.missing_in_a_row.checked_sub(2) else {
            return;
        };
        let delay = self.limits.retry_after * 2u32.pow(doublings.min(MISSING_DOUBLINGS_MAX));
        self.hold_starts_until = self.hold_starts_until.max(now.after(delay));
        self.notices.push(format!(
            "the responses to {} starts in a row were lost: no session is started until {:.0}",
            self.missing_in_a_row,
            self.hold_starts_until.timestamp()
        ));
    }

    /// A list was completed that could have shown the session in doubt.
    pub(super) fn count_list_without_session(&mut self, index: u32, began: WallTime) {
        if let Some(device) = self.device_mut(index)
            && let DeviceState::InDoubt { since } = device.record.state
            && began > since
        {
            device.lists_without_session += 1;
        }
    }

    /// Returns the machines to list now.
    pub fn due_reconcile_queries(&mut self, now: WallTime) -> Vec<ReconcileQuery> {
        self.maybe_in_doubt()
            .into_iter()
            .filter_map(|index| self.reconcile_query(index, now))
            .collect()
    }

    fn maybe_in_doubt(&self) -> Vec<u32> {
        self.open.union(&self.settled_in_doubt).copied().collect()
    }

    fn reconcile_query(&mut self, index: u32, now: WallTime) -> Option<ReconcileQuery> {
        let limits = self.limits;
        let device = self.device_mut(index)?;
        let interval = match &device.record.state {
            DeviceState::InDoubt { .. } if device.lists_without_session >= LISTS_MIN => {
                limits.recheck_every
            }
            DeviceState::Settled { .. } => limits.in_doubt_after,
            _ => return None,
        };
        if now < device.reconcile_at {
            return None;
        }
        device.reconcile_at = now.after(interval);
        let listed_before = device.record.attempts.last()?.listed_before.as_ref();
        Some(ReconcileQuery {
            index,
            machine_id: device.record.planned.machine_id.clone(),
            created_since: listed_before.and_then(Time::instant),
        })
    }

    /// Event: the list of a machine was read to its end, after its actions were
    /// observed. It began at `began`.
    pub fn complete_reconcile_query(&mut self, index: u32, began: WallTime, now: WallTime) {
        let in_doubt_after = self.limits.in_doubt_after;
        let Some(device) = self.device_mut(index) else {
            return;
        };
        let DeviceState::InDoubt { since } = device.record.state else {
            return;
        };
        if device.lists_without_session < LISTS_MIN || began.since(since) < in_doubt_after {
            return;
        }
        let cancel_requested = device.cancel_requested;
        let name = device.record.planned.name.clone();
        let attempt = device.record.attempts.last();
        let had_session = attempt.is_some_and(|attempt| attempt.action.is_some());
        let is_repost_ordered = attempt.is_some_and(|attempt| attempt.repost);
        if is_repost_ordered && !cancel_requested {
            self.notices.push(format!(
                "{name}: the session in doubt was not found; it is started again, as ordered"
            ));
            return self.queue(index, None, None);
        }
        let why = if had_session {
            NOT_FOUND
        } else {
            RESPONSE_LOST
        };
        let hint = if cancel_requested {
            ""
        } else {
            ". To start it again, use `fleet resume --repost-lost`"
        };
        self.notices
            .push(format!("{name} is in doubt: {why}{hint}"));
        self.settle(index, Outcome::InDoubt, why, now);
        if let Some(device) = self.device_mut(index) {
            device.reconcile_at = now.after(in_doubt_after);
        }
    }

    /// A person ordered to start sessions in doubt again. The order is
    /// recorded; each device is searched once more before. Returns the number
    /// of devices.
    pub fn order_repost(&mut self) -> usize {
        let mut count = 0;
        for index in self.maybe_in_doubt() {
            count += usize::from(self.mark_for_repost(index));
        }
        count
    }

    fn mark_for_repost(&mut self, index: u32) -> bool {
        let Some(device) = self.device_mut(index) else {
            return false;
        };
        let is_settled = device.record.is_settled_in_doubt();
        let is_in_doubt = is_settled || matches!(device.record.state, DeviceState::InDoubt { .. });
        if !is_in_doubt || device.cancel_requested {
            return false;
        }
        device.reconcile_at = WallTime::default();
        device.lists_without_session = 0;
        let Some(attempt) = device.record.attempts.last_mut() else {
            return false;
        };
        attempt.repost = true;
        let since = attempt.sent;
        if is_settled {
            self.set_state(index, DeviceState::InDoubt { since });
        }
        self.changed.insert(index);
        true
    }
}
