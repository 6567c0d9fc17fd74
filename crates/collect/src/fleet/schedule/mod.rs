//! What to do next, decided from what happened: the pure heart of a run. It is
//! handed events with their time and asked for decisions; it has no clock, no
//! network and no disk.
//!
//! Whoever drives it keeps two promises: what [`Schedule::take_changed`] gives
//! is in the record before a start or a cancellation that was decided leaves;
//! and a start leaves only when its budget has room.
//!
//! **Order**: devices that look present first, as they were named; those that
//! look away last. **Cost** of each event: logarithmic in the devices, but for
//! `listed` and `due_to_cancel`, which look at the open sessions.

mod in_doubt;
mod parking;
#[cfg(test)]
mod simulation;
mod starting;
#[cfg(test)]
mod tests;
mod watching;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::{Clock, WallTime, between};
use crate::fleet::device::{CancelReason, DeviceRecord, DeviceState, Outcome, StartAttempt};
use crate::fleet::sessions::SessionLimit;
use crate::fleet::{RunId, RunRecord};
use evidence::{ActionId, Time};

pub(crate) use crate::fleet::schedule::in_doubt::ReconcileQuery;
pub(crate) use crate::fleet::schedule::parking::SessionCancel;
pub(crate) use crate::fleet::schedule::starting::{SessionStart, StartResponse};

/// How devices that are away are treated, service time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FleetRules {
    /// A session Pending for so long is cancelled and its device parked;
    /// `None` leaves it the service's own three days.
    pub park_after: Option<Duration>,
    /// Sessions that may wait for their devices at a time.
    pub parked_max: usize,
    /// A device away for so long is given up.
    pub away_max: Duration,
    /// A start that no list has shown for so long since its answer was lost
    /// is for a person to decide. Fresh actions were seen to stay invisible
    /// for two minutes.
    pub lost_for: Duration,
}

impl Default for FleetRules {
    fn default() -> Self {
        Self {
            park_after: Some(Duration::from_secs(15 * 60)),
            parked_max: 5,
            away_max: Duration::from_secs(3 * 24 * 3_600),
            lost_for: Duration::from_secs(10 * 60),
        }
    }
}

/// The same and what else takes its time, in real time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScheduleLimits {
    pub park_after: Option<Duration>,
    pub parked_max: usize,
    pub away_max: Duration,
    /// Pending for longer than the usual queue: waiting for its device.
    pub waits_after: Duration,
    pub lost_for: Duration,
    /// The list of a lost start's machine is asked for this often until
    /// then, and after that once in `lost_for`.
    pub look_every: Duration,
    /// A session no list has shown for so long is asked for by its id.
    pub unseen_for: Duration,
    /// One that is not known by its id either for so long is for a person to
    /// decide.
    pub unknown_for: Duration,
    /// Lists reach back to starts that are no older.
    pub listed_for: Duration,
    /// A device that was busy, and a cancellation without effect, are tried
    /// again after this long.
    pub again_after: Duration,
}

/// Lists that must not have shown a lost start, besides the time and the
/// machine's own list.
const LISTS_MIN: u32 = 3;
/// Times the service must not have known a session by its id.
const UNKNOWN_MIN: u32 = 4;
/// So many sessions that lists do not show hold starts back: what is started
/// then would not be seen either.
const UNSEEN_MAX: usize = 3;
/// Older sessions are listed while they are open, and asked for by their ids
/// when they no longer are: one that waits for days is not to make every list
/// reach back for days.
const LISTED_FOR: Duration = Duration::from_secs(3_600);
/// A device held by others is tried again after a minute, then two, four…
const BUSY_DOUBLINGS_MAX: u32 = 4;
/// So are starts while one answer after the other is lost: an hour's outage
/// leaves a dozen or so in doubt.
const LOST_DOUBLINGS_MAX: u32 = 2;

impl ScheduleLimits {
    pub fn new(rules: FleetRules, clock: Clock) -> Self {
        let minutes = |m: u64| clock.real(Duration::from_secs(m * 60));
        Self {
            park_after: rules.park_after.map(|after| clock.real(after)),
            parked_max: rules.parked_max,
            away_max: clock.real(rules.away_max),
            waits_after: minutes(5),
            lost_for: clock.real(rules.lost_for),
            look_every: minutes(2),
            unseen_for: minutes(10),
            unknown_for: minutes(30),
            listed_for: clock.real(LISTED_FOR),
            again_after: minutes(1),
        }
    }
}

/// A device while its run is going on.
struct ScheduledDevice {
    record: DeviceRecord,
    /// Not seen by the service for long: waits behind the others.
    likely_away: bool,
    /// The service's word for its open session.
    is_pending: bool,
    /// When a list or an answer last showed its session.
    shown: WallTime,
    /// Times since then that the service did not know it by its id.
    unknown: u32,
    /// First shown as succeeded with commands that are not completed.
    half_since: Option<WallTime>,
    /// When it is asked for by its id next.
    ask_again_at: WallTime,
    /// Lists that might have shown a lost start.
    lists: u32,
    /// When its machine's own list is asked for next.
    look_again_at: WallTime,
    cancel_again_at: WallTime,
    /// Starts met with another session on the device.
    busy: u32,
    /// The first of them in a row.
    busy_since: Option<WallTime>,
    cancel_asked: bool,
}

pub(crate) struct Schedule {
    pub id: RunId,
    comment: String,
    times: ScheduleLimits,
    /// Device `place` of the record at `place - 1`.
    devices: Vec<ScheduledDevice>,
    by_action: HashMap<ActionId, u32>,
    ready: BTreeSet<(bool, u32)>,
    later: BTreeSet<(WallTime, u32)>,
    open: BTreeSet<u32>,
    away: BTreeSet<u32>,
    unresolved: BTreeSet<u32>,
    settled: usize,
    /// Open sessions of others with their machines, as last listed.
    others: HashMap<ActionId, String>,
    others_listing: HashMap<ActionId, String>,
    sessions: SessionLimit,
    /// Answers to starts lost in a row, and until when that holds others back.
    lost_in_a_row: u32,
    last_lost: WallTime,
    hold_until: WallTime,
    /// Sessions given up in a row as not known to the service.
    unknown_in_a_row: usize,
    /// That lists leave out our sessions is told once.
    is_blind_told: bool,
    /// Before the first list nobody knows who holds sessions.
    has_listed: bool,
    /// When the latest session began that its device took up.
    taken_up: WallTime,
    /// When the last list began.
    list_began: WallTime,
    /// The service's clock at the last list.
    listed_at: Option<Timestamp>,
    pub is_paused: bool,
    pub is_cancelled: bool,
    changed: BTreeSet<u32>,
    notices: Vec<String>,
}

impl Schedule {
    /// A fresh run or one that is gone on with: what was being sent when its
    /// process ended is looked for, and what was unresolved once more.
    pub fn new(run: &RunRecord, devices: Vec<DeviceRecord>, clock: Clock, now: WallTime) -> Self {
        let times = ScheduleLimits::new(run.rules, clock);
        let mut schedule = Self {
            id: run.id,
            comment: run.comment.clone(),
            times,
            devices: Vec::with_capacity(devices.len()),
            by_action: HashMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
            open: BTreeSet::new(),
            away: BTreeSet::new(),
            unresolved: BTreeSet::new(),
            settled: 0,
            others: HashMap::new(),
            others_listing: HashMap::new(),
            sessions: SessionLimit::new(times.again_after),
            lost_in_a_row: 0,
            last_lost: WallTime::default(),
            hold_until: WallTime::default(),
            unknown_in_a_row: 0,
            is_blind_told: false,
            has_listed: false,
            taken_up: WallTime::default(),
            list_began: WallTime::default(),
            listed_at: None,
            is_paused: run.is_paused,
            is_cancelled: false,
            changed: BTreeSet::new(),
            notices: Vec::new(),
        };
        for (record, place) in devices.into_iter().zip(1..) {
            schedule.add(place, record);
        }
        if run.is_cancelled {
            schedule.cancel_all(now);
        }
        schedule
    }

    fn add(&mut self, place: u32, mut record: DeviceRecord) {
        if record.state == DeviceState::Starting || record.is_in_doubt() {
            let since = record.attempts.last().map_or(WallTime::default(), |a| a.sent);
            record.state = DeviceState::InDoubt { since };
        }
        for action in record.actions() {
            self.by_action.insert(action, place);
        }
        let cancelling = record.attempts.last().and_then(|a| a.cancelling);
        self.devices.push(ScheduledDevice {
            likely_away: record.planned.likely_away,
            record,
            is_pending: false,
            shown: WallTime::default(),
            unknown: 0,
            half_since: None,
            ask_again_at: WallTime::default(),
            lists: 0,
            look_again_at: WallTime::default(),
            cancel_again_at: WallTime::default(),
            busy: 0,
            busy_since: None,
            cancel_asked: cancelling == Some(CancelReason::Requested),
        });
        self.list_as(place, true);
    }

    /// Puts a device into the list its state belongs to, or takes it out.
    fn list_as(&mut self, place: u32, is_in: bool) {
        let Some(device) = self.device(place) else {
            return;
        };
        let likely_away = device.likely_away;
        match &device.record.state {
            DeviceState::Queued {
                not_before: Some(at),
                ..
            } => {
                let at = *at;
                put(&mut self.later, (at, place), is_in);
            }
            DeviceState::Queued { .. } => put(&mut self.ready, (likely_away, place), is_in),
            DeviceState::Parked { .. } => put(&mut self.away, place, is_in),
            DeviceState::Settled { outcome, .. } => {
                let is_in_doubt = *outcome == Outcome::InDoubt;
                if is_in {
                    self.settled += 1;
                } else {
                    self.settled -= 1;
                }
                put(&mut self.unresolved, place, is_in && is_in_doubt);
            }
            _ => put(&mut self.open, place, is_in),
        }
    }

    /// Every change of state goes through here: it will be in the record.
    fn set(&mut self, place: u32, state: DeviceState) {
        self.list_as(place, false);
        if let Some(device) = self.device_mut(place) {
            device.record.state = state;
        }
        self.list_as(place, true);
        self.changed.insert(place);
    }

    fn settle(&mut self, place: u32, outcome: Outcome, detail: impl Into<String>, at: WallTime) {
        let detail = detail.into();
        self.set(
            place,
            DeviceState::Settled {
                outcome,
                detail,
                at,
            },
        );
    }

    fn wait(&mut self, place: u32, not_before: Option<WallTime>, why: Option<String>) {
        self.set(place, DeviceState::Queued { not_before, why });
    }

    fn device(&self, place: u32) -> Option<&ScheduledDevice> {
        self.devices
            .get(usize::try_from(place).ok()?.checked_sub(1)?)
    }

    fn device_mut(&mut self, place: u32) -> Option<&mut ScheduledDevice> {
        self.devices
            .get_mut(usize::try_from(place).ok()?.checked_sub(1)?)
    }

    fn attempt(&self, place: u32) -> Option<&StartAttempt> {
        self.device(place)?.record.attempts.last()
    }

    /// What is not in the record yet.
    pub fn take_changed(&mut self) -> Vec<(u32, DeviceRecord)> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .filter_map(|place| Some((place, self.device(place)?.record.clone())))
            .collect()
    }

    /// They could not be kept: they are in what is taken next.
    pub fn put_changed_back(&mut self, places: impl Iterator<Item = u32>) {
        self.changed.extend(places);
    }

    /// What a person should know, said once.
    pub fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Nothing will follow.
    pub fn is_over(&self) -> bool {
        self.settled == self.devices.len()
    }

    /// Nothing is under way and nothing may be started.
    pub fn is_at_rest(&self) -> bool {
        self.is_over() || (self.is_paused && self.open.is_empty())
    }

    /// Sessions open, ours and those of others that are listed; among those
    /// are earlier ones of ours whose devices have another by now.
    pub fn sessions_open(&self) -> usize {
        self.open.len() + self.others.len()
    }

    /// By its id or its mark.
    pub fn is_ours(&self, action: &evidence::Action) -> bool {
        self.place_of(action).is_some()
    }

    pub fn owns(&self, action: ActionId) -> bool {
        self.by_action.contains_key(&action)
    }

    pub fn devices(&self) -> impl Iterator<Item = &DeviceRecord> {
        self.devices.iter().map(|device| &device.record)
    }

    pub fn counts(&self) -> FleetCounts {
        FleetCounts {
            waiting: self.ready.len() + self.later.len(),
            open: self.open.len(),
            away: self.away.len(),
            settled: self.settled,
            others: self.others.len(),
        }
    }

    /// Devices that are not over, and how many results they may still bring.
    pub fn to_come(&self) -> (u64, u64) {
        let coming = self.devices().filter(|device| !device.is_settled());
        let results = coming.map(|device| {
            let steps = device.planned.steps.iter();
            steps.filter(|step| step.has_result()).count() as u64
        });
        results.fold((0, 0), |(devices, all), results| {
            (devices + 1, all + results)
        })
    }

    /// The last sessions of devices that are over.
    pub fn sessions_over(&self) -> impl Iterator<Item = ActionId> {
        let over = self.devices().filter(|device| device.is_settled());
        over.filter_map(|device| device.actions().last())
    }

    /// How many devices have come to each end.
    pub fn outcomes(&self) -> BTreeMap<Outcome, u64> {
        let mut outcomes = BTreeMap::new();
        for record in self.devices() {
            if let DeviceState::Settled { outcome, .. } = record.state {
                *outcomes.entry(outcome).or_default() += 1;
            }
        }
        outcomes
    }

    /// From when on lists must reach back: before the oldest start that may
    /// still change, by the service's clock, but for old ones once a list was
    /// read. `open`: sessions known to be open. `None` before the first list.
    pub fn look_from(&self, open: impl Iterator<Item = Timestamp>) -> Option<Timestamp> {
        let starts = self.open.iter().filter_map(|place| {
            let attempt = self.attempt(*place)?;
            let known = attempt.listed_before.as_ref().or(attempt.created.as_ref());
            known.and_then(Time::instant)
        });
        let Some(listed_at) = self.listed_at else {
            return starts.min();
        };
        let is_young =
            |start: &Timestamp| between(*start, listed_at).is_none_or(|age| age < LISTED_FOR);
        let young = starts.chain(open).filter(is_young);
        young.chain([listed_at]).min()
    }
}

fn put<T: Ord>(list: &mut BTreeSet<T>, entry: T, is_in: bool) {
    if is_in {
        list.insert(entry);
    } else {
        list.remove(&entry);
    }
}

/// Devices by where they stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FleetCounts {
    pub waiting: usize,
    pub open: usize,
    pub away: usize,
    pub settled: usize,
    /// Open sessions of others.
    pub others: usize,
}
