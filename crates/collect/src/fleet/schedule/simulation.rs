//! A service and a driver in simulated time: the judge of the schedule. The
//! service counts starts by its own window, sessions by its own list, and how
//! often each device was worked on; it loses answers, holds back, fails, hides
//! fresh actions and has devices that are away.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ApiCall;
use crate::clock::{Clock, WallTime};
use crate::fleet::plan::lower_bound::{LowerBound, SESSIONS_MAX, Workload};
use crate::fleet::record::{RunState, to_value};
use crate::fleet::schedule::{
    DeviceState, FleetRules, Outcome, Schedule, SessionStart, StartResponse,
};
use crate::fleet::{FleetPlan, MachineInfo, PlannedDevice, RunId, SessionStep};
use crate::service::call_log::{CallHistory, LoggedCall};
use crate::service::rate_limit::{CallTiming, earliest};
use evidence::{Action, ActionId, Time};

/// Seconds between lists.
const LIST_EVERY: u64 = 10;
const BEGIN: u64 = 1_770_000_000;

/// Small and repeatable.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n.max(1)
    }

    pub fn percent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }
}

/// How a device behaves.
#[derive(Clone, Copy, Debug)]
pub struct Nature {
    /// Cannot be reached in these seconds of the run.
    pub away: (u64, u64),
    pub looks_away: bool,
    pub fails: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Percent of starts whose answer is lost; half of them never arrived.
    pub lost: u64,
    /// Percent of starts refused with 429 for no reason of ours.
    pub throttled: u64,
    /// Seconds a fresh action stays invisible, at most.
    pub invisible: u64,
    /// Percent of entries a list leaves out.
    pub left_out: u64,
    /// Percent of cancellations without effect.
    pub deaf: u64,
    /// Sessions of others: listed ones and hidden ones.
    pub others: (u64, u64),
    /// Chance in ten thousand, each second, that the process is killed.
    pub kills: u64,
    /// Percent of starts at which it is killed between intention and request.
    pub kills_at_start: u64,
}

struct Session {
    id: ActionId,
    device: usize,
    comment: String,
    created: u64,
    visible: u64,
    begins: Option<u64>,
    ends: u64,
    status: &'static str,
}

pub struct World {
    pub natures: Vec<Nature>,
    pub faults: Faults,
    random: Random,
    now: u64,
    sessions: Vec<Session>,
    /// Sessions before this one are over and were so for long.
    settled_before: usize,
    open_on: BTreeMap<usize, usize>,
    starts: Vec<u64>,
    /// How often each device's commands were begun.
    pub worked: Vec<u32>,
    pub most_sessions: usize,
    marks: std::collections::HashSet<String>,
    pub session_seconds: u64,
    // the driver
    schedule: Schedule,
    notes: BTreeMap<u32, Value>,
    ledger: CallHistory,
    answers: Vec<(u64, u32, u64, StartResponse)>,
    next_id: u64,
    pub kills: u32,
    /// Starts that a person decided to send again.
    pub reposted: u32,
    pub done_at: Vec<u64>,
    pub notices: Vec<String>,
}

fn at(second: u64) -> WallTime {
    WallTime((BEGIN + second) * 1_000_000)
}

fn stamp(second: u64) -> Timestamp {
    Timestamp::from_second((BEGIN + second) as i64).unwrap()
}

fn plan(natures: &[Nature]) -> FleetPlan {
    let devices = natures.iter().enumerate().map(|(n, nature)| PlannedDevice {
        machine_id: format!("{n:040x}"),
        name: format!("ws-{n}.contoso.example"),
        steps: vec![SessionStep::Get {
            path: "C:\\a".into(),
        }],
        likely_away: nature.looks_away,
        last_seen: None,
    });
    FleetPlan {
        id: RunId::from_bytes([7; 8]),
        comment: "CASE-42".into(),
        devices: devices.collect(),
        bound: LowerBound::new(Workload::default()),
        warnings: Vec::new(),
    }
}

impl World {
    pub fn new(seed: u64, natures: Vec<Nature>, faults: Faults) -> Self {
        let rules = FleetRules {
            away_max: Duration::from_secs(4 * 3_600),
            ..FleetRules::default()
        };
        let created = Time::from_instant(stamp(0));
        let state = RunState::new(plan(&natures), rules, "host".into(), created);
        let clock = Clock::new(1.0);
        Self {
            notes: state.notes().into_iter().collect(),
            schedule: Schedule::new(&state.run, state.devices, clock, at(0)),
            worked: vec![0; natures.len()],
            done_at: vec![0; natures.len()],
            natures,
            faults,
            random: Random::new(seed),
            now: 0,
            sessions: Vec::new(),
            settled_before: 0,
            open_on: BTreeMap::new(),
            starts: Vec::new(),
            most_sessions: 0,
            marks: Default::default(),
            session_seconds: 0,
            ledger: CallHistory::default(),
            answers: Vec::new(),
            next_id: 1,
            kills: 0,
            reposted: 0,
            notices: Vec::new(),
        }
    }

    /// Plays until the run is over; returns its seconds.
    pub fn play(&mut self, most_seconds: u64) -> u64 {
        loop {
            while !self.schedule.is_over() {
                assert!(self.now < most_seconds, "{:?}", self.schedule.counts());
                self.second();
                self.now += 1;
            }
            if !self.decide() {
                return self.now;
            }
        }
    }

    /// A person goes on with the run and has what is unresolved started
    /// again. Nothing may be unresolved that ever reached the service.
    fn decide(&mut self) -> bool {
        let unresolved: Vec<usize> = self
            .schedule
            .devices()
            .enumerate()
            .filter(|(_, record)| record.is_in_doubt())
            .map(|(n, _)| n)
            .collect();
        for device in &unresolved {
            let mut sessions = self.sessions.iter();
            assert!(
                !sessions.any(|s| s.device == *device && s.status != "Cancelled"),
                "device {device} has a session that was not found"
            );
        }
        if unresolved.is_empty() {
            return false;
        }
        self.reposted += unresolved.len() as u32;
        self.restart();
        assert_eq!(self.schedule.repost_lost(), unresolved.len());
        true
    }

    fn second(&mut self) {
        self.sessions_go_on();
        self.deliver();
        if self.random.below(10_000) < self.faults.kills {
            self.kill();
        }
        if self.now.is_multiple_of(LIST_EVERY) {
            self.list();
            self.cancel();
            self.look_for_lost();
        }
        if self.now.is_multiple_of(60) {
            self.look_at_machines();
        }
        self.start();
        self.note();
    }

    /// Forgets all but the record and the call log.
    fn kill(&mut self) {
        self.kills += 1;
        self.restart();
    }

    fn restart(&mut self) {
        self.answers.clear();
        let state = RunState::read(self.notes.clone().into_iter().collect()).unwrap();
        self.schedule = Schedule::new(&state.run, state.devices, Clock::new(1.0), at(self.now));
    }

    fn note(&mut self) {
        for (place, record) in self.schedule.take_changed() {
            if record.is_settled() {
                self.done_at[place as usize - 1] = self.now;
            }
            self.notes.insert(place, to_value(&record));
        }
        self.notices.extend(self.schedule.take_notices());
    }

    fn is_away(&self, device: usize) -> bool {
        let (from, to) = self.natures[device].away;
        (from..to).contains(&self.now)
    }

    fn sessions_go_on(&mut self) {
        let open: Vec<(usize, usize)> = self.open_on.iter().map(|(d, s)| (*d, *s)).collect();
        for (device, n) in open {
            let away = self.is_away(device);
            let (queue, work) = (5 + self.random.below(60), 20 + self.random.below(60));
            let now = self.now;
            let session = &mut self.sessions[n];
            match session.begins {
                None if session.status == "Pending" && !away => session.begins = Some(now + queue),
                Some(begins) if session.status == "Pending" && now >= begins && !away => {
                    session.status = "InProgress";
                    session.ends = now + work;
                    self.worked[device] += 1;
                    assert_eq!(
                        self.worked[device], 1,
                        "device {device} was worked on twice"
                    );
                }
                _ => {}
            }
            let session = &mut self.sessions[n];
            if session.status == "InProgress" && now >= session.ends {
                session.status = if self.natures[device].fails {
                    "Failed"
                } else {
                    "Succeeded"
                };
                self.session_seconds += now - session.created;
                self.open_on.remove(&device);
            }
        }
    }

    fn hidden(&self) -> usize {
        // Others come and go.
        let swing = self.now / 600 % 3;
        (self.faults.others.1 * swing / 2) as usize
    }

    fn start(&mut self) {
        let pace = CallTiming {
            clock: Clock::new(1.0),
            call_timeout: Duration::from_secs(120),
        };
        let now = at(self.now);
        while earliest(&self.ledger, ApiCall::Run, now, pace) <= now {
            let Some(start) = self.schedule.next_start(now) else {
                return;
            };
            self.note();
            if self.random.percent(self.faults.kills_at_start) {
                return self.kill();
            }
            self.next_id += 1;
            self.ledger
                .calls
                .retain(|c| now.since(c.sent) < Duration::from_secs(400));
            self.ledger.calls.push(LoggedCall {
                id: self.next_id,
                call: ApiCall::Run,
                sent: now,
                answered: None,
            });
            self.post(&start, self.next_id);
        }
    }

    /// The service's side of a start.
    fn post(&mut self, start: &SessionStart, call: u64) {
        let late = 1 + self.random.below(3);
        let answer = |world: &mut Self, late: u64, answer: StartResponse| {
            world
                .answers
                .push((world.now + late, start.place, call, answer));
        };
        let is_lost = self.random.percent(self.faults.lost);
        if is_lost && self.random.percent(50) {
            return answer(self, 120, StartResponse::Missing);
        }
        self.starts.retain(|sent| self.now - sent < 60);
        self.starts.push(self.now);
        assert!(self.starts.len() <= 10, "more than 10 starts a minute");
        let comment = start.body["Comment"].as_str().unwrap().to_string();
        let device = start.place as usize - 1;
        let others = self.faults.others.0 as usize + self.hidden();
        if self.random.percent(self.faults.throttled) || self.open_on.len() + others >= SESSIONS_MAX
        {
            return answer(self, late, StartResponse::Throttled);
        }
        if self.open_on.contains_key(&device) {
            return answer(self, late, StartResponse::DeviceBusy);
        }
        assert!(
            self.marks.insert(comment.clone()),
            "{comment} was posted twice"
        );
        let mut id = [0; 16];
        id[..8].copy_from_slice(&call.to_be_bytes());
        let visible = self.now + self.random.below(self.faults.invisible + 1);
        self.open_on.insert(device, self.sessions.len());
        self.sessions.push(Session {
            id: ActionId::from_bytes(id),
            device,
            comment,
            created: self.now,
            visible,
            begins: None,
            ends: 0,
            status: "Pending",
        });
        self.most_sessions = self.most_sessions.max(self.open_on.len());
        if is_lost {
            return answer(self, 120, StartResponse::Missing);
        }
        let action = self.action(self.sessions.len() - 1);
        answer(self, late, StartResponse::Created(Box::new(action)));
    }

    fn deliver(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.answers)
            .into_iter()
            .partition(|(when, ..)| *when <= now);
        self.answers = later;
        let due: Vec<(u64, u32, u64, StartResponse)> = due;
        for (_, place, call, answer) in due {
            if let Some(logged) = self.ledger.calls.iter_mut().find(|c| c.id == call) {
                logged.answered = Some(at(now));
            }
            self.schedule.answered(place, answer, at(now));
        }
    }

    fn action(&self, n: usize) -> Action {
        let session = &self.sessions[n];
        let (command, started) = match session.status {
            "Succeeded" => ("Completed", Some(stamp(session.created + 1).to_string())),
            "Failed" => ("Failed", Some(stamp(session.created + 1).to_string())),
            "InProgress" => ("Created", Some(stamp(session.created + 1).to_string())),
            _ => ("Created", None),
        };
        Action::from_value(&json!({
            "id": session.id.to_string(), "type": "LiveResponse", "status": session.status,
            "machineId": format!("{:040x}", session.device), "requestorComment": session.comment,
            "creationDateTimeUtc": stamp(session.created).to_string(),
            "commands": [{"index": 0, "commandStatus": command, "startTime": started,
                "command": {"type": "GetFile", "params": []}}]
        }))
        .unwrap()
    }

    fn list(&mut self) {
        let from = self
            .schedule
            .look_from(std::iter::empty())
            .map_or(0, |from| {
                (from.as_second() - BEGIN as i64 - 600).max(0) as u64
            });
        while self
            .sessions
            .get(self.settled_before)
            .is_some_and(|s| s.created < from && !self.open_on.contains_key(&s.device))
        {
            self.settled_before += 1;
        }
        for n in self.settled_before..self.sessions.len() {
            let session = &self.sessions[n];
            let is_open = self.open_on.get(&session.device) == Some(&n);
            let is_listed = session.visible <= self.now && (session.created >= from || is_open);
            if is_listed && !self.random.percent(self.faults.left_out) {
                let action = self.action(n);
                self.schedule.saw(&action, at(self.now));
            }
        }
        for other in 0..self.faults.others.0 {
            let action = Action::from_value(&json!({"id": format!("{other:032x}"),
                "type": "LiveResponse", "status": "InProgress", "machineId": "other"}));
            self.schedule.saw(&action.unwrap(), at(self.now));
        }
        self.schedule
            .listed(Some(stamp(self.now)), at(self.now), at(self.now));
        self.note();
    }

    /// The machine's own list, of which paging hides nothing; what is fresh
    /// stays invisible there, too.
    fn look_for_lost(&mut self) {
        for look in self.schedule.due_to_look(at(self.now)) {
            let device = look.place as usize - 1;
            let from = look.from.map_or(0, |from| {
                (from.as_second() - BEGIN as i64 - 600).max(0) as u64
            });
            for n in 0..self.sessions.len() {
                let session = &self.sessions[n];
                let is_listed = session.visible <= self.now && session.created >= from;
                if session.device == device && is_listed {
                    let action = self.action(n);
                    self.schedule.saw(&action, at(self.now));
                }
            }
            let now = at(self.now);
            self.schedule.looked(look.place, now, now);
        }
    }

    fn cancel(&mut self) {
        let due = self.schedule.due_to_cancel(at(self.now));
        self.note();
        for cancel in due {
            let deaf = self.random.percent(self.faults.deaf);
            let found = self
                .sessions
                .iter_mut()
                .rev()
                .find(|s| s.id == cancel.action);
            if let Some(session) = found
                && session.status == "Pending"
                && !deaf
            {
                session.status = "Cancelled";
                let device = session.device;
                self.open_on.remove(&device);
            }
        }
    }

    fn look_at_machines(&mut self) {
        let machines: Vec<MachineInfo> = self
            .schedule
            .parked()
            .iter()
            .filter_map(|id| {
                let device = usize::from_str_radix(id, 16).ok()?;
                let (from, _) = self.natures[device].away;
                let seen = if self.is_away(device) { from } else { self.now };
                // No machine was seen before the run and never since.
                let seen = stamp(seen).to_string();
                MachineInfo::from_value(&json!({"id": id, "lastSeen": seen}))
            })
            .collect();
        self.schedule.saw_machines(&machines);
    }

    /// Every device came to the end its nature has for it.
    pub fn assert_ends(&self) {
        for (n, record) in self.schedule.devices().enumerate() {
            let nature = self.natures[n];
            let expected = if nature.away.1 == u64::MAX {
                Outcome::Away
            } else if nature.fails {
                Outcome::Failed
            } else {
                Outcome::Done
            };
            let DeviceState::Settled { outcome, .. } = record.state else {
                panic!("device {n} is not settled");
            };
            assert_eq!(outcome, expected, "device {n}: {record:?}");
            let worked = u32::from(expected != Outcome::Away);
            assert_eq!(self.worked[n], worked, "device {n}");
        }
        assert!(self.most_sessions <= SESSIONS_MAX);
    }

    /// The least seconds the starts and sessions there were could take.
    pub fn bound(&self, starts: u64) -> u64 {
        let needs = Workload {
            starts,
            links: starts,
            session_time: Duration::from_secs(self.session_seconds),
        };
        LowerBound::new(needs).longest().as_secs()
    }
}
