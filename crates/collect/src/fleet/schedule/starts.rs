//! Chooses the next device, records the start intent, handles the response.

use crate::clock::WallTime;
use crate::fleet::device::{DeviceState, Outcome, StartAttempt};
use crate::fleet::plan::lower_bound::SESSIONS_MAX;
use crate::fleet::plan::step::start_body;
use crate::fleet::run_id::AttemptMark;
use crate::fleet::schedule::Schedule;
use crate::fleet::schedule::limits::BUSY_DOUBLINGS_MAX;
use evidence::{Action, Time};

/// A session to start.
#[derive(Clone, Debug)]
pub(crate) struct SessionStart {
    /// Index of the device.
    pub index: u32,
    pub machine_id: String,
    /// Body of the request.
    pub body: serde_json::Value,
}

/// The response to a start, by its effect.
#[derive(Clone, Debug)]
pub(crate) enum StartResponse {
    Created(Box<Action>),
    /// 429: no session was created.
    Throttled,
    /// No connection, or an expired token: no session was created.
    NotSent,
    /// Another session is open on the device.
    DeviceBusy,
    /// The service rejected the start.
    Rejected(String),
    /// The request was sent and its effect is unknown.
    Missing,
}

impl StartResponse {
    /// The name in log events.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Created(_) => "created",
            Self::Throttled => "throttled",
            Self::NotSent => "not sent",
            Self::DeviceBusy => "device busy",
            Self::Rejected(_) => "rejected",
            Self::Missing => "missing",
        }
    }
}

const CANCELLED_BEFORE_START: &str = "before a session was started";
const BUSY: &str = "another live response session is open on this device";

impl Schedule {
    /// Whether a session could be started now if the rate limit admits it.
    pub fn can_start(&mut self, now: WallTime) -> bool {
        self.next_device(now).is_some()
    }

    /// Chooses the next session to start and adds its start intent, which must
    /// be recorded before the request is sent.
    pub fn next_start(&mut self, now: WallTime) -> Option<SessionStart> {
        let index = self.next_device(now)?;
        let listed_before = self.last_list_time.map(Time::from_instant);
        let device = self.device_mut(index)?;
        let number = device.record.attempts.last().map_or(0, |a| a.number) + 1;
        device.record.attempts.push(StartAttempt {
            listed_before,
            ..StartAttempt::new(number, now)
        });
        device.is_pending = true;
        device.lists_without_session = 0;
        self.set_state(index, DeviceState::Starting);
        let mark = AttemptMark {
            run: self.id,
            device: index,
            attempt: number,
        };
        let comment = mark.append_to(&self.comment);
        let planned = &self.device(index)?.record.planned;
        Some(SessionStart {
            index,
            machine_id: planned.machine_id.clone(),
            body: start_body(&planned.steps, &comment),
        })
    }

    fn next_device(&mut self, now: WallTime) -> Option<u32> {
        self.release_delayed(now);
        let is_below_limit = self.session_limit.allows_another(self.open_sessions(), now);
        if self.is_paused || !self.has_listed || !is_below_limit || now < self.hold_starts_until {
            return None;
        }
        let may_start_away = self.pending_likely_away() < self.limits.parked_max;
        // Passes over few devices: others have 25 sessions at most.
        let (_, index) = self.ready.iter().copied().find(|(likely_away, index)| {
            (!likely_away || may_start_away) && !self.has_foreign_session(*index)
        })?;
        if self.do_lists_omit_sessions() {
            self.notice_omission();
            return None;
        }
        Some(index)
    }

    fn notice_omission(&mut self) {
        if !std::mem::replace(&mut self.is_omission_noticed, true) {
            let notice = "the lists of the service leave out sessions that were started: \
                few more are started until the lists show them";
            self.notices.push(notice.into());
        }
    }

    /// Makes delayed devices ready when their time has come.
    fn release_delayed(&mut self, now: WallTime) {
        while let Some((at, index)) = self.delayed.first().copied() {
            if at > now {
                return;
            }
            self.queue(index, None, None);
        }
    }

    /// Number of Pending sessions on devices likely away.
    fn pending_likely_away(&self) -> usize {
        let open = self.open.iter().filter_map(|index| self.device(*index));
        open.filter(|device| device.likely_away && device.is_pending)
            .count()
    }

    fn has_foreign_session(&self, index: u32) -> bool {
        self.device(index).is_some_and(|device| {
            let id = &device.record.planned.machine_id;
            let mut machines = self.foreign_sessions.values();
            machines.any(|machine| machine.eq_ignore_ascii_case(id))
        })
    }

    /// Event: the response to a start, or its absence.
    pub fn handle_start_response(&mut self, index: u32, response: StartResponse, now: WallTime) {
        let is_starting = self
            .device(index)
            .is_some_and(|d| d.record.state == DeviceState::Starting);
        if !matches!(response, StartResponse::Missing | StartResponse::NotSent) {
            self.missing_in_a_row = 0;
        }
        match response {
            StartResponse::Created(action) => {
                self.link_session(index, &action, now);
                self.session_limit.raise(self.open_sessions());
                self.update_session(index, &action, now);
            }
            // A list showed the session before this response; keep its state.
            _ if !is_starting => {}
            StartResponse::Throttled => self.handle_throttled(index, now),
            StartResponse::NotSent => self.undo_start(index, None, None, now),
            StartResponse::DeviceBusy => self.handle_busy(index, now),
            StartResponse::Rejected(why) => self.settle(index, Outcome::Refused, why, now),
            StartResponse::Missing => self.enter_doubt(index, now),
        }
    }

    /// Removes an attempt that provably did not create a session, and queues
    /// the device again.
    fn undo_start(
        &mut self,
        index: u32,
        not_before: Option<WallTime>,
        why: Option<String>,
        now: WallTime,
    ) {
        let Some(device) = self.device_mut(index) else {
            return;
        };
        device.record.attempts.pop();
        if device.cancel_requested {
            self.settle(index, Outcome::Cancelled, CANCELLED_BEFORE_START, now);
        } else {
            self.queue(index, not_before, why);
        }
    }

    fn handle_throttled(&mut self, index: u32, now: WallTime) {
        self.undo_start(index, None, None, now);
        let (own, foreign) = (self.open.len(), self.foreign_sessions.len());
        let open = own + foreign;
        if self.session_limit.lower(open, now) && open < SESSIONS_MAX {
            self.notices.push(format!(
                "start throttled (429) with {own} sessions of this run and {foreign} others open: other clients have unlisted sessions, or use the 10 starts a minute; continuing with {} sessions at a time and trying for more",
                self.session_limit.current()
            ));
        }
    }

    fn handle_busy(&mut self, index: u32, now: WallTime) {
        let limits = self.limits;
        let Some(device) = self.device_mut(index) else {
            return;
        };
        let doublings = device.busy_count.min(BUSY_DOUBLINGS_MAX);
        device.busy_count = device.busy_count.saturating_add(1);
        let since = *device.busy_since.get_or_insert(now);
        let retry_at = now.after(limits.retry_after * 2u32.pow(doublings));
        self.undo_start(index, Some(retry_at), Some(BUSY.into()), now);
        let is_queued = self.device(index).is_some_and(|d| !d.record.is_settled());
        if is_queued && now.since(since) >= limits.away_max {
            self.settle(index, Outcome::Refused, BUSY, now);
        }
    }
}
