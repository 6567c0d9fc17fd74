//! What the judge has to say of a client: the fullest windows of every budget,
//! sessions, what was run twice. For tests by [`Emulator::judgement`], and as
//! JSON at `/emulator/judgement` for whoever sits at the same machine.
//!
//! [`Emulator::judgement`]: super::Emulator::judgement

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;

use crate::call_kind::CallKind;
use crate::http::api;
use crate::http::request::Reply;
use crate::http::server::Service;
use crate::state::fleet_state::FleetState;
use crate::state::journal::Violation;
use crate::synthetic::fleet::key;
use crate::timeline::action_timeline::{ActionStatus, CommandTimes};
use crate::timeline::clock::api_time;
use crate::timeline::timeline_view::TimedAction;

/// Runs named one by one; more are counted only.
const NAMED_MAX: usize = 100;

/// Everything the judge knows at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct ConformanceReport {
    /// The emulated now.
    pub now: String,
    /// By the name of the call.
    pub calls: BTreeMap<&'static str, CallStats>,
    pub sessions: SessionStats,
    pub runs: RunStats,
    pub results: ResultStats,
    /// Empty for a good client.
    pub violations: BTreeMap<&'static str, u64>,
}

/// The calls of one kind. The windows slide over emulated time and hold every
/// call that arrived, refused ones included.
#[derive(Clone, Debug, Serialize)]
pub struct CallStats {
    pub count: u64,
    /// Answered 429, for whatever reason.
    pub throttled: u64,
    pub most_in_a_minute: usize,
    pub most_in_an_hour: usize,
    /// Nothing where the call has no budget.
    pub limit_per_minute: Option<usize>,
    pub limit_per_hour: Option<usize>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SessionStats {
    /// The client's own.
    pub now: usize,
    /// The most of the client's own at the same time.
    pub most: usize,
    pub limit: usize,
    /// Taken by others.
    pub held: usize,
    /// From creation until over, all together, emulated.
    pub seconds: f64,
    /// When the first was posted and the last one over.
    pub first: Option<String>,
    pub last: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct RunStats {
    /// Actions that came of runs.
    pub started: usize,
    /// Machines with commands and a comment, each counted once.
    pub distinct: usize,
    /// Of those, the ones that came to run more than once.
    pub ran_twice: usize,
    /// Machines that came to run the same commands more than once, whatever
    /// the comments said: where nobody wanted that, a run sent again by mistake.
    pub worked_twice: usize,
    /// By their status now.
    pub by_status: BTreeMap<String, usize>,
    /// Those that were started more than once, a hundred at most.
    pub again: Vec<RepeatedRun>,
}

/// The same commands and comment, started several times on one machine.
#[derive(Clone, Debug, Serialize)]
pub struct RepeatedRun {
    pub device: String,
    pub comment: String,
    pub actions: Vec<String>,
    /// Of these, how many came to run a command.
    pub began: usize,
    pub succeeded: usize,
}

#[derive(Clone, Debug, Serialize)]
pub struct ResultStats {
    /// Can be linked to now.
    pub ready: usize,
    /// Of those, handed out to the last byte at least once.
    pub fetched: usize,
}

impl ConformanceReport {
    pub(crate) fn of(service: &Service) -> Self {
        let now = service.clock.now();
        let mut stock = service.stock_mut();
        let active = stock.sessions.count(now);
        Self {
            now: api_time(now),
            calls: calls(service),
            sessions: sessions(service, &stock, active, now),
            runs: runs(&stock, now),
            results: results(service, &stock, now),
            violations: violations(service),
        }
    }
}

/// Answers whoever asks on the loopback; for others there is no such path.
pub(crate) fn answer(service: &Arc<Service>, peer: Option<SocketAddr>) -> Reply {
    if !peer.is_some_and(|peer| peer.ip().to_canonical().is_loopback()) {
        return api::json(StatusCode::NOT_FOUND, &serde_json::Value::Null);
    }
    api::json(StatusCode::OK, &ConformanceReport::of(service))
}

fn calls(service: &Service) -> BTreeMap<&'static str, CallStats> {
    let journal = &service.journal;
    let seen = |kind: CallKind| {
        let limits = service.limits.of(kind);
        CallStats {
            count: journal.count(kind),
            throttled: journal.answered(kind, 429),
            most_in_a_minute: journal.busiest(kind, Duration::from_secs(60)),
            most_in_an_hour: journal.busiest(kind, Duration::from_secs(3600)),
            limit_per_minute: limits.map(|(minute, _)| minute),
            limit_per_hour: limits.map(|(_, hour)| hour),
        }
    };
    let kinds = CallKind::ALL.into_iter();
    kinds.map(|(kind, name)| (name, seen(kind))).collect()
}

fn every_run(stock: &FleetState) -> impl Iterator<Item = &Arc<TimedAction>> {
    stock.sessions.runs.values().flatten()
}

fn sessions(service: &Service, stock: &FleetState, active: usize, now: Timestamp) -> SessionStats {
    let over = |run: &Arc<TimedAction>| run.course().map(|course| course.over().min(now));
    let lasted = |run: &Arc<TimedAction>| {
        let until = over(run).unwrap_or(now);
        until.duration_since(run.created()).as_secs_f64()
    };
    let first = every_run(stock).map(|run| run.created()).min();
    let last = every_run(stock).filter_map(over).max();
    SessionStats {
        now: active,
        most: stock.sessions.most,
        limit: service.limits.sessions,
        held: stock.sessions.held,
        seconds: every_run(stock).map(lasted).sum(),
        first: first.map(api_time),
        last: last.map(api_time),
    }
}

fn runs(stock: &FleetState, now: Timestamp) -> RunStats {
    let mut seen = RunStats {
        started: 0,
        distinct: stock.sessions.runs.len(),
        ran_twice: 0,
        worked_twice: worked_twice(stock, now),
        by_status: BTreeMap::new(),
        again: Vec::new(),
    };
    for run in every_run(stock) {
        let json = run.json(now);
        let status = json.get("status").and_then(|status| status.as_str());
        let status = status.unwrap_or_default().to_string();
        *seen.by_status.entry(status).or_default() += 1;
        seen.started += 1;
    }
    let several = stock.sessions.runs.values().filter(|runs| runs.len() > 1);
    for again in several.map(|runs| again(runs, now)) {
        seen.ran_twice += usize::from(again.began > 1);
        seen.again.push(again);
    }
    seen.again
        .sort_by(|a, b| (b.began, &a.device).cmp(&(a.began, &b.device)));
    seen.again.truncate(NAMED_MAX);
    seen
}

fn worked_twice(stock: &FleetState, now: Timestamp) -> usize {
    let began = |run: &&Arc<TimedAction>| run.course().is_some_and(|course| course.began(now));
    let works = stock.sessions.works.values();
    works
        .filter(|runs| runs.iter().filter(began).count() > 1)
        .count()
}

/// A session that a client started, as far as it has come.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    pub device: String,
    pub created: Timestamp,
    /// When it was or is to be over.
    pub over: Timestamp,
    /// A command was begun.
    pub began: bool,
}

pub(crate) fn session_records(service: &Service) -> Vec<SessionRecord> {
    let now = service.clock.now();
    let stock = service.stock();
    let ran = |run: &Arc<TimedAction>| {
        let course = run.course()?;
        Some(SessionRecord {
            device: run.text("computerDnsName").unwrap_or_default().to_string(),
            created: run.created(),
            over: course.over(),
            began: course.began(now),
        })
    };
    every_run(&stock).filter_map(ran).collect()
}

/// By result, how long it had been there when its link was first handed out.
pub(crate) fn lateness(service: &Service) -> Vec<Duration> {
    let mut linked = HashMap::new();
    for call in service.journal.calls() {
        if let (CallKind::Link, 200, Some(key)) = (call.kind, call.status, call.key) {
            linked.entry(key).or_insert(call.at);
        }
    }
    let stock = service.stock();
    let of_run = |run: &Arc<TimedAction>| {
        let steps = run.course().map_or(&[][..], |course| &course.steps);
        let of_step = |(index, step): (u32, &Option<CommandTimes>)| {
            let at = linked.get(&key(run.id, index))?;
            Duration::try_from(at.duration_since(step.as_ref()?.ready)).ok()
        };
        let indexes = run.indexes().into_iter();
        indexes.zip(steps).filter_map(of_step).collect::<Vec<_>>()
    };
    every_run(&stock).flat_map(of_run).collect()
}

fn again(runs: &[Arc<TimedAction>], now: Timestamp) -> RepeatedRun {
    let text = |name| {
        let first = runs.first().and_then(|run| run.text(name));
        first.unwrap_or_default().to_string()
    };
    let courses = || runs.iter().filter_map(|run| run.course());
    let succeeded = |run: &&Arc<TimedAction>| {
        let settled = run.course().map(|course| course.state(now)) == Some(ActionStatus::Settled);
        settled && run.text("status") == Some("Succeeded")
    };
    RepeatedRun {
        device: text("computerDnsName"),
        comment: text("requestorComment"),
        actions: runs.iter().map(|run| run.id.to_string()).collect(),
        began: courses().filter(|course| course.began(now)).count(),
        succeeded: runs.iter().filter(succeeded).count(),
    }
}

fn results(service: &Service, stock: &FleetState, now: Timestamp) -> ResultStats {
    let ready = stock.results(now);
    let fetched = |key: &&evidence::ResultKey| service.journal.downloaded_whole(**key) > 0;
    ResultStats {
        ready: ready.len(),
        fetched: ready.keys().filter(fetched).count(),
    }
}

fn violations(service: &Service) -> BTreeMap<&'static str, u64> {
    let all = service.journal.all_violations().into_iter();
    all.map(|(kind, count)| (Violation::name(kind), count))
        .collect()
}
