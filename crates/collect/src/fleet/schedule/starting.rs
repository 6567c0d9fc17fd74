//! Which device is next, and what the answer to its start means.

use crate::fleet::plan::lower_bound::SESSIONS_MAX;
use crate::fleet::plan::step::start_body;
use crate::fleet::run_id::AttemptMark;
use crate::fleet::schedule::{
    BUSY_DOUBLINGS_MAX, DeviceState, WallTime, Outcome, Schedule, StartAttempt,
};
use evidence::{Action, Time};

/// A session to be started.
#[derive(Clone, Debug)]
pub(crate) struct SessionStart {
    pub place: u32,
    pub machine_id: String,
    /// The request's body.
    pub body: serde_json::Value,
}

/// What came of a start.
#[derive(Clone, Debug)]
pub(crate) enum StartResponse {
    Created(Box<Action>),
    /// 429: nothing was done.
    Throttled,
    /// No connection, or a token that was spent: nothing was done.
    NotSent,
    /// Another session is on that device.
    DeviceBusy,
    /// The service does not want it.
    Rejected(String),
    /// Sent, and no telling what came of it.
    Missing,
}

impl Schedule {
    /// Whether a device could be started now, budgets aside.
    pub fn could_start(&mut self, now: WallTime) -> bool {
        self.next_place(now).is_some()
    }

    /// The next session to start. Its intention must be in the record before
    /// it leaves.
    pub fn next_start(&mut self, now: WallTime) -> Option<SessionStart> {
        let place = self.next_place(now)?;
        let listed_before = self.listed_at.map(Time::from_instant);
        let device = self.device_mut(place)?;
        let number = device.record.attempts.last().map_or(0, |a| a.number) + 1;
        device.record.attempts.push(StartAttempt {
            listed_before,
            ..StartAttempt::new(number, now)
        });
        device.is_pending = true;
        device.lists = 0;
        self.set(place, DeviceState::Starting);
        let mark = AttemptMark {
            run: self.id,
            device: place,
            attempt: number,
        };
        let comment = mark.append_to(&self.comment);
        let planned = &self.device(place)?.record.planned;
        Some(SessionStart {
            place,
            machine_id: planned.machine_id.clone(),
            body: start_body(&planned.steps, &comment),
        })
    }

    fn next_place(&mut self, now: WallTime) -> Option<u32> {
        self.wake(now);
        let has_room = self.sessions.has_room(self.sessions_open(), now);
        if self.is_paused || !self.has_listed || !has_room || now < self.hold_until {
            return None;
        }
        let has_room_for_away = self.waiting_away() < self.times.parked_max;
        // Few are held by others at a time: they have 25 sessions at most.
        let mut candidates = self.ready.iter();
        let found = candidates.find(|(likely_away, place)| {
            (!likely_away || has_room_for_away) && !self.is_held_by_others(*place)
        });
        let place = found.map(|(_, place)| *place)?;
        if self.is_blind() {
            self.tell_blind();
            return None;
        }
        Some(place)
    }

    fn tell_blind(&mut self) {
        if !std::mem::replace(&mut self.is_blind_told, true) {
            let why = "lists of the service leave out sessions that were started: \
                few more are started until they show them";
            self.notices.push(why.into());
        }
    }

    /// Devices whose time has come are ready.
    fn wake(&mut self, now: WallTime) {
        while let Some((at, place)) = self.later.first().copied() {
            if at > now {
                return;
            }
            self.wait(place, None, None);
        }
    }

    /// Open sessions on devices that look away.
    fn waiting_away(&self) -> usize {
        let open = self.open.iter().filter_map(|place| self.device(*place));
        open.filter(|device| device.likely_away && device.is_pending)
            .count()
    }

    fn is_held_by_others(&self, place: u32) -> bool {
        let machine = self.device(place).map(|d| &d.record.planned.machine_id);
        machine.is_some_and(|id| self.others.values().any(|m| m.eq_ignore_ascii_case(id)))
    }

    pub fn answered(&mut self, place: u32, answer: StartResponse, now: WallTime) {
        let is_sending = self
            .device(place)
            .is_some_and(|d| d.record.state == DeviceState::Starting);
        if !matches!(answer, StartResponse::Missing | StartResponse::NotSent) {
            self.lost_in_a_row = 0;
        }
        match answer {
            StartResponse::Created(action) => {
                self.adopt(place, &action, now);
                self.sessions.taken(self.sessions_open());
                self.follow(place, &action, now);
            }
            // A list that was faster than the answer knows more.
            _ if !is_sending => {}
            StartResponse::Throttled => self.throttled(place, now),
            StartResponse::NotSent => self.unsend(place, None, None, now),
            StartResponse::DeviceBusy => self.busy(place, now),
            StartResponse::Rejected(why) => self.settle(place, Outcome::Refused, why, now),
            StartResponse::Missing => self.lose(place, now),
        }
    }

    /// Nothing has reached the service: as if it had never been tried.
    fn unsend(&mut self, place: u32, not_before: Option<WallTime>, why: Option<String>, now: WallTime) {
        let cancelled = self.device(place).is_some_and(|d| d.cancel_asked);
        if let Some(device) = self.device_mut(place) {
            device.record.attempts.pop();
        }
        if cancelled {
            return self.settle(place, Outcome::Cancelled, "before it was started", now);
        }
        self.wait(place, not_before, why);
    }

    fn throttled(&mut self, place: u32, now: WallTime) {
        self.unsend(place, None, None, now);
        let (ours, others) = (self.open.len(), self.others.len());
        let open = ours + others;
        if self.sessions.refused(open, now) && open < SESSIONS_MAX {
            self.notices.push(format!(
                "the service held a start back (429) with {ours} of our sessions and {others} of others open: others hold sessions that are not listed, or share the 10 starts a minute; going on with {} at a time and trying for more",
                self.sessions.fit()
            ));
        }
    }

    fn busy(&mut self, place: u32, now: WallTime) {
        let (again_after, at_most) = (self.times.again_after, self.times.away_max);
        let Some(device) = self.device_mut(place) else {
            return;
        };
        let doublings = device.busy.min(BUSY_DOUBLINGS_MAX);
        device.busy = device.busy.saturating_add(1);
        let at = now.after(again_after * 2u32.pow(doublings));
        let since = *device.busy_since.get_or_insert(now);
        let why = "another live response session is on this device".to_string();
        self.unsend(place, Some(at), Some(why.clone()), now);
        let is_waiting = self.device(place).is_some_and(|d| !d.record.is_settled());
        if is_waiting && now.since(since) >= at_most {
            self.settle(place, Outcome::Refused, why, now);
        }
    }
}
