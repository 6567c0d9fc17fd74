//! Starts whose answer was lost: looked for, and never sent again but by a
//! person's word.
//!
//! Every list looks for them by their mark; so does, in longer intervals, a
//! list of what was created on the machine alone, which paging cannot hide.
//! Where looking long enough has shown nothing the device is *unresolved*:
//! said, left alone, and looked for now and then while the run goes on.

use jiff::Timestamp;

use crate::fleet::schedule::watching::UNKNOWN;
use crate::fleet::schedule::{
    DeviceState, LISTS_MIN, LOST_DOUBLINGS_MAX, WallTime, Outcome, Schedule,
};
use evidence::Time;

/// A machine whose own list is to be asked for.
#[derive(Clone, Debug)]
pub(crate) struct ReconcileQuery {
    pub place: u32,
    pub machine_id: String,
    /// The service's clock at the last list before the start.
    pub from: Option<Timestamp>,
}

/// What a person reads of an unresolved device.
const UNRESOLVED: &str =
    "the answer to its start was lost and no list has shown the session: it may have run";

impl Schedule {
    /// The answer to a start is lost. One after the other holds the rest back
    /// for a while: an outage is to leave few in doubt. What was under way
    /// together is lost together and counts once.
    pub(crate) fn lose(&mut self, place: u32, now: WallTime) {
        self.set(place, DeviceState::InDoubt { since: now });
        let sent = self.attempt(place).map_or(now, |attempt| attempt.sent);
        if sent < self.last_lost {
            return;
        }
        self.last_lost = now;
        let doublings = self.lost_in_a_row.checked_sub(1);
        self.lost_in_a_row += 1;
        if let Some(doublings) = doublings {
            let hold = self.times.again_after * 2u32.pow(doublings.min(LOST_DOUBLINGS_MAX));
            self.hold_until = self.hold_until.max(now.after(hold));
            self.notices.push(format!(
                "the answers to {} starts in a row were lost: the next one waits until {:.0}",
                self.lost_in_a_row,
                self.hold_until.timestamp()
            ));
        }
    }

    /// A list that might have shown a lost start was read to its end.
    pub(crate) fn count_list(&mut self, place: u32, began: WallTime) {
        if let Some(device) = self.device_mut(place)
            && let DeviceState::InDoubt { since } = device.record.state
            && began > since
        {
            device.lists += 1;
        }
    }

    /// Machines whose own lists are due.
    pub fn due_to_look(&mut self, now: WallTime) -> Vec<ReconcileQuery> {
        let lost: Vec<u32> = self.open.union(&self.unresolved).copied().collect();
        lost.into_iter()
            .filter_map(|place| self.look_at(place, now))
            .collect()
    }

    fn look_at(&mut self, place: u32, now: WallTime) -> Option<ReconcileQuery> {
        let times = self.times;
        let device = self.device_mut(place)?;
        let wait = match &device.record.state {
            DeviceState::InDoubt { .. } if device.lists >= LISTS_MIN => times.look_every,
            DeviceState::Settled { .. } => times.lost_for,
            _ => return None,
        };
        if now < device.look_again_at {
            return None;
        }
        device.look_again_at = now.after(wait);
        let before = device.record.attempts.last()?.listed_before.as_ref();
        Some(ReconcileQuery {
            place,
            machine_id: device.record.planned.machine_id.clone(),
            from: before.and_then(Time::instant),
        })
    }

    /// A machine's own list was read to its end, and what it showed was told;
    /// it began at `began`.
    pub fn looked(&mut self, place: u32, began: WallTime, now: WallTime) {
        let lost_for = self.times.lost_for;
        let Some(device) = self.device_mut(place) else {
            return;
        };
        let DeviceState::InDoubt { since } = device.record.state else {
            return;
        };
        if device.lists < LISTS_MIN || began.since(since) < lost_for {
            return;
        }
        let name = device.record.planned.name.clone();
        let last = device.record.attempts.last();
        let had_session = last.is_some_and(|attempt| attempt.action.is_some());
        let is_wanted = last.is_some_and(|attempt| attempt.repost);
        let why = if had_session { UNKNOWN } else { UNRESOLVED };
        if is_wanted && !device.cancel_asked {
            self.notices.push(format!(
                "no list shows the session on {name}: it is started again, as asked for"
            ));
            return self.wait(place, None, None);
        }
        let hint = match device.cancel_asked {
            true => "",
            false => "; `fleet resume --repost-lost` starts it again",
        };
        self.notices
            .push(format!("{name} is unresolved: {why}{hint}"));
        self.settle(place, Outcome::InDoubt, why, now);
        let look_again_at = now.after(lost_for);
        if let Some(device) = self.device_mut(place) {
            device.look_again_at = look_again_at;
        }
    }

    /// A person wants what is in doubt started again, should one more look not
    /// show it: that stands in its record. Returns how many devices that are.
    pub fn repost_lost(&mut self) -> usize {
        let places: Vec<u32> = self.open.union(&self.unresolved).copied().collect();
        let in_doubt = places.into_iter().filter(|place| self.doubt(*place));
        // Each is looked at in its turn.
        in_doubt.collect::<Vec<_>>().len()
    }

    fn doubt(&mut self, place: u32) -> bool {
        let Some(device) = self.device_mut(place) else {
            return false;
        };
        let is_in_doubt = device.record.is_in_doubt();
        let is_lost = is_in_doubt || matches!(device.record.state, DeviceState::InDoubt { .. });
        if !is_lost || device.cancel_asked {
            return false;
        }
        device.look_again_at = WallTime::default();
        device.lists = 0;
        let Some(attempt) = device.record.attempts.last_mut() else {
            return false;
        };
        attempt.repost = true;
        let since = attempt.sent;
        if is_in_doubt {
            self.set(place, DeviceState::InDoubt { since });
        }
        self.changed.insert(place);
        true
    }
}
