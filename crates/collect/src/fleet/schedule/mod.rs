//! The schedule of a run: a pure state machine. It receives events with their
//! time and returns decisions; it has no clock, no network and no disk.
//!
//! | events | decisions | file |
//! |---|---|---|
//! | start response | next session to start | `starts` |
//! | action observed in a list, list completed | – | `observe` |
//! | session not found by id | sessions to request by id | `unlisted` |
//! | list of one machine completed, repost ordered | machines to list | `in_doubt` |
//! | machines observed | sessions to park, machines to check | `parking` |
//! | device or run cancelled | sessions to cancel | `cancel` |
//!
//! States of a device: Queued → Starting → Open → Settled. A device that is
//! away goes from Open to Parked and back to Queued; a start without a response
//! goes from Starting to InDoubt.
//!
//! The caller guarantees two things:
//! - The records from [`Schedule::take_changed`] are durable before the request
//!   of a start or a cancellation is sent.
//! - A start is sent only when the rate limit admits it.
//!
//! **Order** of starts: devices likely present, in plan order; then devices
//! likely away.
//!
//! **Cost** of an event: logarithmic in the number of devices; linear in the
//! number of open sessions for `complete_list` and `due_cancellations`.

mod cancel;
mod in_doubt;
mod limits;
mod observe;
mod parking;
mod session_limit;
#[cfg(test)]
mod simulation;
mod starts;
#[cfg(test)]
mod tests;
mod unlisted;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use crate::clock::{Clock, WallTime, between};
use crate::fleet::device::{
    CancelReason, DeviceRecord, DeviceState, FleetCounts, Outcome, StartAttempt,
};
use crate::fleet::record::RunRecord;
use crate::fleet::run_id::RunId;
use crate::fleet::schedule::limits::{LIST_WINDOW, ScheduleLimits};
use crate::fleet::schedule::session_limit::SessionLimit;
use evidence::{ActionId, Time};

pub(crate) use crate::fleet::schedule::cancel::SessionCancel;
pub(crate) use crate::fleet::schedule::in_doubt::ReconcileQuery;
pub(crate) use crate::fleet::schedule::starts::{SessionStart, StartResponse};

/// A device of the run: its record, and state that a restart may forget.
struct ScheduledDevice {
    record: DeviceRecord,
    /// Scheduled after the other devices.
    likely_away: bool,
    /// The service reports its open session as Pending.
    is_pending: bool,
    /// When a list or a response last showed its session.
    last_shown: WallTime,
    /// Requests by id since then that did not find the session.
    not_found_count: u32,
    /// When the session was first shown as Succeeded with uncompleted commands.
    incomplete_since: Option<WallTime>,
    /// When its session may be requested by id again.
    recheck_at: WallTime,
    /// Complete lists that could have shown the session in doubt.
    lists_without_session: u32,
    /// When the list of its machine may be requested again.
    reconcile_at: WallTime,
    /// When its session may be cancelled again.
    cancel_at: WallTime,
    /// Starts that met another session on the device, since when.
    busy_count: u32,
    busy_since: Option<WallTime>,
    cancel_requested: bool,
}

/// The state of a run. Devices are addressed by their index in the record,
/// from 1.
pub(crate) struct Schedule {
    pub id: RunId,
    comment: String,
    limits: ScheduleLimits,
    session_limit: SessionLimit,
    pub is_paused: bool,

    /// Device `index` is at `index - 1`.
    devices: Vec<ScheduledDevice>,
    by_action: HashMap<ActionId, u32>,
    /// Queued devices that may be started now, those likely away last.
    ready: BTreeSet<(bool, u32)>,
    /// Queued devices that may be started later.
    delayed: BTreeSet<(WallTime, u32)>,
    open: BTreeSet<u32>,
    parked: BTreeSet<u32>,
    settled_in_doubt: BTreeSet<u32>,
    settled: usize,

    /// Foreign sessions, which include earlier sessions of this run, with their
    /// machines: of the last complete list, and of the list being read.
    foreign_sessions: HashMap<ActionId, String>,
    foreign_in_list: HashMap<ActionId, String>,
    /// A list was completed. Before, the sessions of others are unknown and
    /// none is started.
    has_listed: bool,
    /// When the last complete list began.
    last_list_began: WallTime,
    /// The service's time of the last complete list.
    last_list_time: Option<Timestamp>,

    /// Start responses missing in a row, the last of them, and until when no
    /// further session is started because of it.
    missing_in_a_row: u32,
    last_missing: WallTime,
    hold_starts_until: WallTime,
    /// Sessions given up in a row because they were not found by id.
    not_found_in_a_row: usize,
    /// The notice that lists omit sessions was given.
    is_omission_noticed: bool,
    /// The latest start of a session that its device has taken up.
    latest_taken_up: WallTime,

    changed: BTreeSet<u32>,
    notices: Vec<String>,
}

impl Schedule {
    /// Schedules a new run, or resumes one. Sessions whose start intent has no
    /// recorded response are in doubt; those settled in doubt are searched
    /// again.
    pub fn new(run: &RunRecord, devices: Vec<DeviceRecord>, clock: Clock, now: WallTime) -> Self {
        let limits = ScheduleLimits::new(run.rules, clock);
        let mut schedule = Self {
            id: run.id,
            comment: run.comment.clone(),
            limits,
            session_limit: SessionLimit::new(limits.retry_after),
            is_paused: run.is_paused,
            devices: Vec::with_capacity(devices.len()),
            by_action: HashMap::new(),
            ready: BTreeSet::new(),
            delayed: BTreeSet::new(),
            open: BTreeSet::new(),
            parked: BTreeSet::new(),
            settled_in_doubt: BTreeSet::new(),
            settled: 0,
            foreign_sessions: HashMap::new(),
            foreign_in_list: HashMap::new(),
            has_listed: false,
            last_list_began: WallTime::default(),
            last_list_time: None,
            missing_in_a_row: 0,
            last_missing: WallTime::default(),
            hold_starts_until: WallTime::default(),
            not_found_in_a_row: 0,
            is_omission_noticed: false,
            latest_taken_up: WallTime::default(),
            changed: BTreeSet::new(),
            notices: Vec::new(),
        };
        for (record, index) in devices.into_iter().zip(1..) {
            schedule.add_device(index, record);
        }
        if run.is_cancelled {
            schedule.cancel_all(now);
        }
        schedule
    }

    fn add_device(&mut self, index: u32, mut record: DeviceRecord) {
        if record.state == DeviceState::Starting || record.is_settled_in_doubt() {
            let since = record
                .attempts
                .last()
                .map_or(WallTime::default(), |a| a.sent);
            record.state = DeviceState::InDoubt { since };
        }
        for action in record.actions() {
            self.by_action.insert(action, index);
        }
        let cancelling = record.attempts.last().and_then(|a| a.cancelling);
        self.devices.push(ScheduledDevice {
            likely_away: record.planned.likely_away,
            record,
            is_pending: false,
            last_shown: WallTime::default(),
            not_found_count: 0,
            incomplete_since: None,
            recheck_at: WallTime::default(),
            lists_without_session: 0,
            reconcile_at: WallTime::default(),
            cancel_at: WallTime::default(),
            busy_count: 0,
            busy_since: None,
            cancel_requested: cancelling == Some(CancelReason::Requested),
        });
        self.set_membership(index, true);
    }

    /// Adds a device to the set of its state, or removes it.
    fn set_membership(&mut self, index: u32, is_member: bool) {
        let Some(device) = self.device(index) else {
            return;
        };
        let likely_away = device.likely_away;
        match &device.record.state {
            DeviceState::Queued {
                not_before: Some(at),
                ..
            } => {
                let at = *at;
                set_member(&mut self.delayed, (at, index), is_member);
            }
            DeviceState::Queued { .. } => {
                set_member(&mut self.ready, (likely_away, index), is_member);
            }
            DeviceState::Parked { .. } => set_member(&mut self.parked, index, is_member),
            DeviceState::Settled { outcome, .. } => {
                let is_in_doubt = *outcome == Outcome::InDoubt;
                if is_member {
                    self.settled += 1;
                } else {
                    self.settled -= 1;
                }
                set_member(&mut self.settled_in_doubt, index, is_member && is_in_doubt);
            }
            DeviceState::Starting | DeviceState::InDoubt { .. } | DeviceState::Open { .. } => {
                set_member(&mut self.open, index, is_member);
            }
        }
    }

    /// Changes the state of a device; the only way to do so.
    fn set_state(&mut self, index: u32, state: DeviceState) {
        tracing::debug!(run = %self.id, device = index, state = state_name(&state), "device state changed");
        self.set_membership(index, false);
        if let Some(device) = self.device_mut(index) {
            device.record.state = state;
        }
        self.set_membership(index, true);
        self.changed.insert(index);
    }

    fn settle(&mut self, index: u32, outcome: Outcome, detail: impl Into<String>, at: WallTime) {
        let detail = detail.into();
        self.set_state(
            index,
            DeviceState::Settled {
                outcome,
                detail,
                at,
            },
        );
    }

    fn queue(&mut self, index: u32, not_before: Option<WallTime>, why: Option<String>) {
        self.set_state(index, DeviceState::Queued { not_before, why });
    }

    fn device(&self, index: u32) -> Option<&ScheduledDevice> {
        self.devices
            .get(usize::try_from(index).ok()?.checked_sub(1)?)
    }

    fn device_mut(&mut self, index: u32) -> Option<&mut ScheduledDevice> {
        self.devices
            .get_mut(usize::try_from(index).ok()?.checked_sub(1)?)
    }

    fn current_attempt(&self, index: u32) -> Option<&StartAttempt> {
        self.device(index)?.record.attempts.last()
    }

    /// The device that an action belongs to.
    fn device_of(&self, action: ActionId) -> Option<&ScheduledDevice> {
        self.device(*self.by_action.get(&action)?)
    }

    /// The entries that changed since the last call, to be recorded.
    pub fn take_changed(&mut self) -> Vec<(u32, DeviceRecord)> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .filter_map(|index| Some((index, self.device(index)?.record.clone())))
            .collect()
    }

    /// Marks entries as changed again, because recording them failed.
    pub fn mark_changed(&mut self, indexes: impl Iterator<Item = u32>) {
        self.changed.extend(indexes);
    }

    /// Notices for a person, each returned once.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Whether every device is settled.
    pub fn is_over(&self) -> bool {
        self.settled == self.devices.len()
    }

    /// Whether no session is open and none may be started.
    pub fn is_idle(&self) -> bool {
        self.is_over() || (self.is_paused && self.open.is_empty())
    }

    /// Sessions that count towards the limit of the service: those of devices,
    /// and foreign ones. Foreign ones include earlier sessions of this run on
    /// devices that have another session by now.
    pub fn open_sessions(&self) -> usize {
        self.open.len() + self.foreign_sessions.len()
    }

    /// Whether the action belongs to this run, by its id or its mark.
    pub fn is_own(&self, action: &evidence::Action) -> bool {
        self.find_device(action).is_some()
    }

    /// Whether an action with this id is known to belong to this run.
    pub fn owns(&self, action: ActionId) -> bool {
        self.by_action.contains_key(&action)
    }

    pub fn devices(&self) -> impl Iterator<Item = &DeviceRecord> {
        self.devices.iter().map(|device| &device.record)
    }

    pub fn counts(&self) -> FleetCounts {
        FleetCounts {
            waiting: self.ready.len() + self.delayed.len(),
            open: self.open.len(),
            away: self.parked.len(),
            settled: self.settled,
            others: self.foreign_sessions.len(),
        }
    }

    /// Number of unsettled devices, and of the results they may still
    /// produce.
    pub fn remaining_work(&self) -> (u64, u64) {
        self.devices()
            .filter(|device| !device.is_settled())
            .map(|device| {
                let steps = device.planned.steps.iter();
                steps.filter(|step| step.has_result()).count() as u64
            })
            .fold((0, 0), |(devices, all), results| {
                (devices + 1, all + results)
            })
    }

    /// The last session of each settled device.
    pub fn settled_sessions(&self) -> impl Iterator<Item = ActionId> {
        self.devices()
            .filter(|device| device.is_settled())
            .filter_map(|device| device.actions().last())
    }

    /// Number of settled devices by outcome.
    pub fn outcomes(&self) -> BTreeMap<Outcome, u64> {
        let mut outcomes = BTreeMap::new();
        for record in self.devices() {
            if let DeviceState::Settled { outcome, .. } = record.state {
                *outcomes.entry(outcome).or_default() += 1;
            }
        }
        outcomes
    }

    /// The creation time from which the next list must show sessions, by the
    /// service's clock: that of the oldest session that may still change. After
    /// the first list, sessions older than [`LIST_WINDOW`] are left out.
    ///
    /// `open` has the creation times of sessions that lists show as open.
    /// `None` without a list and without a session.
    pub fn list_since(&self, open: impl Iterator<Item = Timestamp>) -> Option<Timestamp> {
        let starts = self.open.iter().filter_map(|index| {
            let attempt = self.current_attempt(*index)?;
            let earliest = attempt.listed_before.as_ref().or(attempt.created.as_ref());
            earliest.and_then(Time::instant)
        });
        let Some(listed_at) = self.last_list_time else {
            return starts.min();
        };
        let is_recent =
            |start: &Timestamp| between(*start, listed_at).is_none_or(|age| age < LIST_WINDOW);
        let recent = starts.chain(open).filter(is_recent);
        recent.chain([listed_at]).min()
    }
}

fn set_member<T: Ord>(set: &mut BTreeSet<T>, entry: T, is_member: bool) {
    if is_member {
        set.insert(entry);
    } else {
        set.remove(&entry);
    }
}

fn state_name(state: &DeviceState) -> &'static str {
    match state {
        DeviceState::Queued { .. } => "queued",
        DeviceState::Parked { .. } => "parked",
        DeviceState::Starting => "starting",
        DeviceState::InDoubt { .. } => "in doubt",
        DeviceState::Open { .. } => "open",
        DeviceState::Settled { outcome, .. } => outcome.as_str(),
    }
}
