//! Simulation of the service and of the runner, second by second, to test the
//! schedule.
//!
//! The simulated service counts starts and sessions itself and panics if a
//! limit is exceeded or a device is run twice. It loses responses, throttles,
//! hides new actions, ignores cancellations and has absent devices.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::ApiCall;
use crate::clock::{Clock, WallTime};
use crate::fleet::plan::lower_bound::{LowerBound, SESSIONS_MAX, Workload};
use crate::fleet::record::{RunState, to_value};
use crate::fleet::schedule::{DeviceState, Outcome, Schedule, SessionStart, StartResponse};
use crate::fleet::{FleetPlan, FleetRules, MachineInfo, PlannedDevice, RunId, SessionStep};
use crate::service::call_log::{CallHistory, LoggedCall};
use crate::service::rate_limit::{CallTiming, earliest};
use evidence::{Action, ActionId, Time};

/// Seconds between lists.
const LIST_EVERY: u64 = 10;
const BEGIN: u64 = 1_770_000_000;

/// A small pseudo-random generator with a seed.
pub struct XorShift(u64);

impl XorShift {
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

/// Behavior of a device.
#[derive(Clone, Copy, Debug)]
pub struct DeviceBehavior {
    /// The seconds of the run in which it is away: from, to.
    pub away: (u64, u64),
    pub likely_away: bool,
    pub fails: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct ServiceFaults {
    /// Percent of starts whose response is lost; half of these starts never
    /// reach the service.
    pub lost: u64,
    /// Percent of starts throttled (429) although below the limits.
    pub throttled: u64,
    /// Longest time that a new action is missing from lists, in seconds.
    pub invisible: u64,
    /// Percent of entries that a list omits.
    pub omitted: u64,
    /// Percent of cancellations without effect.
    pub ignored_cancels: u64,
    /// Foreign sessions: listed and unlisted.
    pub foreign: (u64, u64),
    /// Chance of a kill of the process in each second, in 1/10,000.
    pub kills: u64,
    /// Percent of starts at which the process is killed after recording the
    /// start intent and before sending the request.
    pub kills_at_start: u64,
}

struct SimulatedSession {
    id: ActionId,
    device: usize,
    comment: String,
    created: u64,
    visible: u64,
    begins: Option<u64>,
    ends: u64,
    status: &'static str,
}

pub struct Simulation {
    pub behaviors: Vec<DeviceBehavior>,
    pub faults: ServiceFaults,
    random: XorShift,
    now: u64,
    sessions: Vec<SimulatedSession>,
    /// Earlier sessions are closed and too old to be listed.
    first_listed: usize,
    open_on: BTreeMap<usize, usize>,
    starts: Vec<u64>,
    /// Number of sessions that each device has taken up.
    pub runs: Vec<u32>,
    pub max_sessions: usize,
    marks: std::collections::HashSet<String>,
    pub session_seconds: u64,
    // State of the simulated runner.
    schedule: Schedule,
    record: BTreeMap<u32, Value>,
    ledger: CallHistory,
    /// Responses on their way: arrival, device, call, response.
    responses: Vec<(u64, u32, u64, StartResponse)>,
    next_id: u64,
    pub kills: u32,
    /// Starts in doubt that were ordered again.
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

fn plan(behaviors: &[DeviceBehavior]) -> FleetPlan {
    let devices = behaviors
        .iter()
        .enumerate()
        .map(|(n, behavior)| PlannedDevice {
            machine_id: format!("{n:040x}"),
            name: format!("ws-{n}.contoso.example"),
            steps: vec![SessionStep::Get {
                path: "C:\\a".into(),
            }],
            likely_away: behavior.likely_away,
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

impl Simulation {
    pub fn new(seed: u64, behaviors: Vec<DeviceBehavior>, faults: ServiceFaults) -> Self {
        let rules = FleetRules {
            away_max: Duration::from_secs(4 * 3_600),
            ..FleetRules::default()
        };
        let created = Time::from_instant(stamp(0));
        let state = RunState::new(plan(&behaviors), rules, "host".into(), created);
        let clock = Clock::new(1.0);
        Self {
            record: state.entries().into_iter().collect(),
            schedule: Schedule::new(&state.run, state.devices, clock, at(0)),
            runs: vec![0; behaviors.len()],
            done_at: vec![0; behaviors.len()],
            behaviors,
            faults,
            random: XorShift::new(seed),
            now: 0,
            sessions: Vec::new(),
            first_listed: 0,
            open_on: BTreeMap::new(),
            starts: Vec::new(),
            max_sessions: 0,
            marks: Default::default(),
            session_seconds: 0,
            ledger: CallHistory::default(),
            responses: Vec::new(),
            next_id: 1,
            kills: 0,
            reposted: 0,
            notices: Vec::new(),
        }
    }

    /// Runs until every device is settled; returns the number of seconds.
    pub fn run(&mut self, max_seconds: u64) -> u64 {
        loop {
            while !self.schedule.is_over() {
                assert!(self.now < max_seconds, "{:?}", self.schedule.counts());
                self.run_second();
                self.now += 1;
            }
            if !self.order_repost() {
                return self.now;
            }
        }
    }

    /// Resumes the run and orders that devices in doubt are started again.
    /// Returns whether there were any. A start that reached the service must not
    /// be in doubt.
    fn order_repost(&mut self) -> bool {
        let in_doubt: Vec<usize> = self
            .schedule
            .devices()
            .enumerate()
            .filter(|(_, record)| record.is_settled_in_doubt())
            .map(|(n, _)| n)
            .collect();
        for device in &in_doubt {
            let mut sessions = self.sessions.iter();
            assert!(
                !sessions.any(|s| s.device == *device && s.status != "Cancelled"),
                "device {device} has a session that was not found"
            );
        }
        if in_doubt.is_empty() {
            return false;
        }
        self.reposted += in_doubt.len() as u32;
        self.restart();
        assert_eq!(self.schedule.order_repost(), in_doubt.len());
        true
    }

    fn run_second(&mut self) {
        self.advance_sessions();
        self.deliver_responses();
        if self.random.below(10_000) < self.faults.kills {
            self.kill();
        }
        if self.now.is_multiple_of(LIST_EVERY) {
            self.list();
            self.cancel();
            self.run_reconcile_queries();
        }
        if self.now.is_multiple_of(60) {
            self.check_parked_machines();
        }
        self.start();
        self.record_changes();
    }

    /// Loses everything except the record and the call history.
    fn kill(&mut self) {
        self.kills += 1;
        self.restart();
    }

    fn restart(&mut self) {
        self.responses.clear();
        let state = RunState::from_entries(self.record.clone().into_iter().collect()).unwrap();
        self.schedule = Schedule::new(&state.run, state.devices, Clock::new(1.0), at(self.now));
    }

    fn record_changes(&mut self) {
        for (index, record) in self.schedule.take_changed() {
            if record.is_settled() {
                self.done_at[index as usize - 1] = self.now;
            }
            self.record.insert(index, to_value(&record));
        }
        self.notices.extend(self.schedule.take_notices());
    }

    fn is_away(&self, device: usize) -> bool {
        let (from, to) = self.behaviors[device].away;
        (from..to).contains(&self.now)
    }

    fn advance_sessions(&mut self) {
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
                    self.runs[device] += 1;
                    assert_eq!(self.runs[device], 1, "device {device} was run twice");
                }
                _ => {}
            }
            let session = &mut self.sessions[n];
            if session.status == "InProgress" && now >= session.ends {
                session.status = if self.behaviors[device].fails {
                    "Failed"
                } else {
                    "Succeeded"
                };
                self.session_seconds += now - session.created;
                self.open_on.remove(&device);
            }
        }
    }

    fn unlisted_foreign(&self) -> usize {
        // Foreign sessions open and close.
        let swing = self.now / 600 % 3;
        (self.faults.foreign.1 * swing / 2) as usize
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
            self.record_changes();
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
            self.receive_start(&start, self.next_id);
        }
    }

    /// The service receives a start.
    fn receive_start(&mut self, start: &SessionStart, call: u64) {
        let late = 1 + self.random.below(3);
        let respond = |simulation: &mut Self, late: u64, response: StartResponse| {
            simulation
                .responses
                .push((simulation.now + late, start.index, call, response));
        };
        let is_lost = self.random.percent(self.faults.lost);
        if is_lost && self.random.percent(50) {
            return respond(self, 120, StartResponse::Missing);
        }
        self.starts.retain(|sent| self.now - sent < 60);
        self.starts.push(self.now);
        assert!(self.starts.len() <= 10, "more than 10 starts a minute");
        let comment = start.body["Comment"].as_str().unwrap().to_string();
        let device = start.index as usize - 1;
        let others = self.faults.foreign.0 as usize + self.unlisted_foreign();
        if self.random.percent(self.faults.throttled) || self.open_on.len() + others >= SESSIONS_MAX
        {
            return respond(self, late, StartResponse::Throttled);
        }
        if self.open_on.contains_key(&device) {
            return respond(self, late, StartResponse::DeviceBusy);
        }
        assert!(
            self.marks.insert(comment.clone()),
            "{comment} was started twice"
        );
        let mut id = [0; 16];
        id[..8].copy_from_slice(&call.to_be_bytes());
        let visible = self.now + self.random.below(self.faults.invisible + 1);
        self.open_on.insert(device, self.sessions.len());
        self.sessions.push(SimulatedSession {
            id: ActionId::from_bytes(id),
            device,
            comment,
            created: self.now,
            visible,
            begins: None,
            ends: 0,
            status: "Pending",
        });
        self.max_sessions = self.max_sessions.max(self.open_on.len());
        if is_lost {
            return respond(self, 120, StartResponse::Missing);
        }
        let action = self.action(self.sessions.len() - 1);
        respond(self, late, StartResponse::Created(Box::new(action)));
    }

    fn deliver_responses(&mut self) {
        let now = self.now;
        let (due, later) = std::mem::take(&mut self.responses)
            .into_iter()
            .partition(|(when, ..)| *when <= now);
        self.responses = later;
        let due: Vec<(u64, u32, u64, StartResponse)> = due;
        for (_, index, call, response) in due {
            if let Some(logged) = self.ledger.calls.iter_mut().find(|c| c.id == call) {
                logged.answered = Some(at(now));
            }
            self.schedule
                .handle_start_response(index, response, at(now));
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
            .list_since(std::iter::empty())
            .map_or(0, |from| {
                (from.as_second() - BEGIN as i64 - 600).max(0) as u64
            });
        while self
            .sessions
            .get(self.first_listed)
            .is_some_and(|s| s.created < from && !self.open_on.contains_key(&s.device))
        {
            self.first_listed += 1;
        }
        for n in self.first_listed..self.sessions.len() {
            let session = &self.sessions[n];
            let is_open = self.open_on.get(&session.device) == Some(&n);
            let is_listed = session.visible <= self.now && (session.created >= from || is_open);
            if is_listed && !self.random.percent(self.faults.omitted) {
                let action = self.action(n);
                self.schedule.observe_action(&action, at(self.now));
            }
        }
        for other in 0..self.faults.foreign.0 {
            let action = Action::from_value(&json!({"id": format!("{other:032x}"),
                "type": "LiveResponse", "status": "InProgress", "machineId": "other"}));
            self.schedule.observe_action(&action.unwrap(), at(self.now));
        }
        self.schedule
            .complete_list(Some(stamp(self.now)), at(self.now), at(self.now));
        self.record_changes();
    }

    /// Lists single machines. No entry is omitted, but new actions are missing
    /// from these lists too.
    fn run_reconcile_queries(&mut self) {
        for query in self.schedule.due_reconcile_queries(at(self.now)) {
            let device = query.index as usize - 1;
            let from = query.created_since.map_or(0, |from| {
                (from.as_second() - BEGIN as i64 - 600).max(0) as u64
            });
            for n in 0..self.sessions.len() {
                let session = &self.sessions[n];
                let is_listed = session.visible <= self.now && session.created >= from;
                if session.device == device && is_listed {
                    let action = self.action(n);
                    self.schedule.observe_action(&action, at(self.now));
                }
            }
            let now = at(self.now);
            self.schedule
                .complete_reconcile_query(query.index, now, now);
        }
    }

    fn cancel(&mut self) {
        let due = self.schedule.due_cancellations(at(self.now));
        self.record_changes();
        for cancel in due {
            let is_ignored = self.random.percent(self.faults.ignored_cancels);
            let found = self
                .sessions
                .iter_mut()
                .rev()
                .find(|s| s.id == cancel.action);
            if let Some(session) = found
                && session.status == "Pending"
                && !is_ignored
            {
                session.status = "Cancelled";
                let device = session.device;
                self.open_on.remove(&device);
            }
        }
    }

    fn check_parked_machines(&mut self) {
        let machines: Vec<MachineInfo> = self
            .schedule
            .parked_machines()
            .iter()
            .filter_map(|id| {
                let device = usize::from_str_radix(id, 16).ok()?;
                let (from, _) = self.behaviors[device].away;
                let seen = if self.is_away(device) { from } else { self.now };
                // A machine that is away was last seen when it went away.
                let seen = stamp(seen).to_string();
                MachineInfo::from_value(&json!({"id": id, "lastSeen": seen}))
            })
            .collect();
        self.schedule.observe_machines(&machines);
    }

    /// Asserts that every device has the outcome of its behavior.
    pub fn assert_outcomes(&self) {
        for (n, record) in self.schedule.devices().enumerate() {
            let behavior = self.behaviors[n];
            let expected = if behavior.away.1 == u64::MAX {
                Outcome::Away
            } else if behavior.fails {
                Outcome::Failed
            } else {
                Outcome::Done
            };
            let DeviceState::Settled { outcome, .. } = record.state else {
                panic!("device {n} is not settled");
            };
            assert_eq!(outcome, expected, "device {n}: {record:?}");
            let runs = u32::from(expected != Outcome::Away);
            assert_eq!(self.runs[n], runs, "device {n}");
        }
        assert!(self.max_sessions <= SESSIONS_MAX);
    }

    /// Lower bound of the duration of the starts and sessions of this run.
    ///
    /// **Units**: seconds.
    pub fn lower_bound(&self, starts: u64) -> u64 {
        let needs = Workload {
            starts,
            links: starts,
            session_time: Duration::from_secs(self.session_seconds),
        };
        LowerBound::new(needs).longest().as_secs()
    }
}
