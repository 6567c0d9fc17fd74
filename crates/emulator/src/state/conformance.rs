//! Conformance report: how clients used the service, with the fullest windows
//! of every rate limit, the sessions, and the runs that were executed twice.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::call_kind::CallKind;
use crate::state::fleet_state::FleetState;
use crate::state::journal::Violation;
use crate::state::service::Service;
use crate::synthetic::ids::result_key;
use crate::timeline::action_timeline::ActionStatus;
use crate::timeline::clock::api_time;
use crate::timeline::timeline_view::TimedAction;
use evidence::ResultKey;

/// Maximum number of repeated runs in a report; all are counted.
const REPEATED_RUNS_MAX: usize = 100;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// How clients used the service up to now.
#[derive(Clone, Debug, Serialize)]
pub struct ConformanceReport {
    /// The current emulated time.
    pub now: String,
    /// By name of the call kind.
    pub calls: BTreeMap<&'static str, CallStats>,
    pub sessions: SessionStats,
    pub runs: RunStats,
    pub results: ResultStats,
    /// Number of violations by name; empty for a correct client.
    pub violations: BTreeMap<&'static str, u64>,
}

/// Calls of one kind. The windows slide over emulated time and include rejected
/// calls.
#[derive(Clone, Debug, Serialize)]
pub struct CallStats {
    pub count: u64,
    /// Calls answered 429, for any reason.
    pub throttled: u64,
    pub most_in_a_minute: usize,
    pub most_in_an_hour: usize,
    /// `None` if the kind has no limit.
    pub limit_per_minute: Option<usize>,
    pub limit_per_hour: Option<usize>,
}

/// Live response sessions.
#[derive(Clone, Debug, Serialize)]
pub struct SessionStats {
    /// Active sessions of the clients.
    pub now: usize,
    /// Largest number of active sessions of the clients.
    pub most: usize,
    pub limit: usize,
    /// Sessions occupied by other users.
    pub held: usize,
    /// Total duration of all sessions, from creation to end. **Units**:
    /// emulated seconds.
    pub seconds: f64,
    /// Creation of the first session.
    pub first: Option<String>,
    /// End of the last session.
    pub last: Option<String>,
}

/// Runs that clients started.
#[derive(Clone, Debug, Serialize)]
pub struct RunStats {
    /// Actions created by runs.
    pub started: usize,
    /// Distinct runs by machine, commands and comment.
    pub distinct: usize,
    /// Distinct runs that executed commands more than once.
    pub ran_twice: usize,
    /// Distinct pairs of machine and commands that were executed more than
    /// once, with any comment. Unless intended, a run was repeated by mistake.
    pub worked_twice: usize,
    /// Number of runs by current status.
    pub by_status: BTreeMap<String, usize>,
    /// Runs that were started more than once, at most 100.
    pub again: Vec<RepeatedRun>,
}

/// Runs with the same machine, commands and comment.
#[derive(Clone, Debug, Serialize)]
pub struct RepeatedRun {
    pub device: String,
    pub comment: String,
    pub actions: Vec<String>,
    /// How many of the runs began a command.
    pub began: usize,
    pub succeeded: usize,
}

/// Results of the fleet.
#[derive(Clone, Debug, Serialize)]
pub struct ResultStats {
    /// Results that can be linked to now.
    pub ready: usize,
    /// Results of those that were sent completely at least once.
    pub fetched: usize,
}

impl ConformanceReport {
    pub(crate) fn new(service: &Service) -> Self {
        let now = service.clock.now();
        let mut fleet = service.fleet_mut();
        let active = fleet.sessions.count(now);
        Self {
            now: api_time(now),
            calls: call_stats(service),
            sessions: session_stats(service, &fleet, active, now),
            runs: run_stats(&fleet, now),
            results: result_stats(service, &fleet, now),
            violations: violations(service),
        }
    }
}

fn call_stats(service: &Service) -> BTreeMap<&'static str, CallStats> {
    let journal = &service.journal;
    let stats = |kind: CallKind| {
        let limits = service.limits.of(kind);
        CallStats {
            count: journal.count(kind),
            throttled: journal.answered(kind, 429),
            most_in_a_minute: journal.busiest(kind, MINUTE),
            most_in_an_hour: journal.busiest(kind, HOUR),
            limit_per_minute: limits.map(|(minute, _)| minute),
            limit_per_hour: limits.map(|(_, hour)| hour),
        }
    };
    CallKind::ALL
        .into_iter()
        .map(|(kind, name)| (name, stats(kind)))
        .collect()
}

fn all_sessions(fleet: &FleetState) -> impl Iterator<Item = &Arc<TimedAction>> {
    fleet.sessions.by_digest.values().flatten()
}

fn session_stats(
    service: &Service,
    fleet: &FleetState,
    active: usize,
    now: Timestamp,
) -> SessionStats {
    let end = |session: &Arc<TimedAction>| Some(session.timeline()?.end().min(now));
    let seconds = |session: &Arc<TimedAction>| {
        let until = end(session).unwrap_or(now);
        until.duration_since(session.created()).as_secs_f64()
    };
    let first = all_sessions(fleet).map(|session| session.created()).min();
    let last = all_sessions(fleet).filter_map(end).max();
    SessionStats {
        now: active,
        most: fleet.sessions.most,
        limit: service.limits.sessions,
        held: fleet.sessions.held,
        seconds: all_sessions(fleet).map(seconds).sum(),
        first: first.map(api_time),
        last: last.map(api_time),
    }
}

fn run_stats(fleet: &FleetState, now: Timestamp) -> RunStats {
    let mut stats = RunStats {
        started: 0,
        distinct: fleet.sessions.by_digest.len(),
        ran_twice: 0,
        worked_twice: worked_twice(fleet, now),
        by_status: BTreeMap::new(),
        again: Vec::new(),
    };
    for session in all_sessions(fleet) {
        let json = session.json(now);
        let status = json.get("status").and_then(|status| status.as_str());
        *stats
            .by_status
            .entry(status.unwrap_or_default().to_string())
            .or_default() += 1;
        stats.started += 1;
    }
    let groups = fleet.sessions.by_digest.values();
    for group in groups.filter(|group| group.len() > 1) {
        let repeated = RepeatedRun::new(group, now);
        stats.ran_twice += usize::from(repeated.began > 1);
        stats.again.push(repeated);
    }
    stats
        .again
        .sort_by(|a, b| (b.began, &a.device).cmp(&(a.began, &b.device)));
    stats.again.truncate(REPEATED_RUNS_MAX);
    stats
}

fn worked_twice(fleet: &FleetState, now: Timestamp) -> usize {
    let groups = fleet.sessions.by_command_digest.values();
    groups
        .filter(|group| group.iter().filter(|run| has_begun(run, now)).count() > 1)
        .count()
}

fn has_begun(run: &TimedAction, now: Timestamp) -> bool {
    run.timeline()
        .is_some_and(|timeline| timeline.has_begun(now))
}

impl RepeatedRun {
    fn new(runs: &[Arc<TimedAction>], now: Timestamp) -> Self {
        let text = |name| {
            let text = runs.first().and_then(|run| run.text(name));
            text.unwrap_or_default().to_string()
        };
        let has_succeeded = |run: &&Arc<TimedAction>| {
            let status = run.timeline().map(|timeline| timeline.status(now));
            status == Some(ActionStatus::Finished) && run.text("status") == Some("Succeeded")
        };
        Self {
            device: text("computerDnsName"),
            comment: text("requestorComment"),
            actions: runs.iter().map(|run| run.id.to_string()).collect(),
            began: runs.iter().filter(|run| has_begun(run, now)).count(),
            succeeded: runs.iter().filter(has_succeeded).count(),
        }
    }
}

fn result_stats(service: &Service, fleet: &FleetState, now: Timestamp) -> ResultStats {
    let ready = fleet.results(now);
    let is_fetched = |key: &&ResultKey| service.journal.downloaded_whole(**key) > 0;
    ResultStats {
        ready: ready.len(),
        fetched: ready.keys().filter(is_fetched).count(),
    }
}

fn violations(service: &Service) -> BTreeMap<&'static str, u64> {
    let violations = service.journal.all_violations().into_iter();
    violations
        .map(|(kind, count)| (Violation::name(kind), count))
        .collect()
}

/// A session that a client started.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRecord {
    pub device: String,
    pub created: Timestamp,
    /// End of the session, which can be in the future.
    pub over: Timestamp,
    /// Whether a command has begun.
    pub began: bool,
}

pub(crate) fn session_records(service: &Service) -> Vec<SessionRecord> {
    let now = service.clock.now();
    let fleet = service.fleet();
    let record = |session: &Arc<TimedAction>| {
        let timeline = session.timeline()?;
        let device = session.text("computerDnsName").unwrap_or_default();
        Some(SessionRecord {
            device: device.to_string(),
            created: session.created(),
            over: timeline.end(),
            began: timeline.has_begun(now),
        })
    };
    all_sessions(&fleet).filter_map(record).collect()
}

/// For each linked result, the time from its availability to its first link.
pub(crate) fn lateness(service: &Service) -> Vec<Duration> {
    let mut first_links = HashMap::new();
    for call in service.journal.calls() {
        if let (CallKind::Link, 200, Some(key)) = (call.kind, call.status, call.key) {
            first_links.entry(key).or_insert(call.at);
        }
    }
    let fleet = service.fleet();
    let mut delays = Vec::new();
    for session in all_sessions(&fleet) {
        let Some(timeline) = session.timeline() else {
            continue;
        };
        for (index, times) in session
            .command_indexes()
            .into_iter()
            .zip(&timeline.commands)
        {
            let linked = first_links.get(&result_key(session.id, index));
            if let (Some(at), Some(times)) = (linked, times) {
                // Negative for a link that was issued before the result.
                delays.extend(Duration::try_from(at.duration_since(times.available)).ok());
            }
        }
    }
    delays
}
