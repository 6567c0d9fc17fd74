//! Live response sessions: a run posted, its course, its end. What the service
//! limits, and what the judge wants to know of it, is decided here under one
//! lock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::http::api;
use crate::http::request::{Reply, RequestContext};
use crate::http::run_request;
use crate::http::run_request::{InvalidRequest, RunRequestBody, SessionCommand};
use crate::state::fleet_state::FleetState;
use crate::state::journal::Violation;
use crate::synthetic::action;
use crate::synthetic::body::ResultBody;
use crate::synthetic::fleet::guid_of;
use crate::synthetic::seeded_rng::SeededRng;
use crate::synthetic::synthetic_results::SyntheticResult;
use crate::timeline::action_timeline::{ActionStatus, Cancelled};
use crate::timeline::clock::api_time;
use crate::timeline::latency::{CommandOutcome, SessionPlan};
use crate::timeline::timeline_view::TimedAction;

/// With every session taken, a client is told to come again so much later.
const AGAIN_S: u64 = 30;

/// The sessions that clients started.
#[derive(Debug, Default)]
pub(crate) struct SessionTable {
    /// Taken by somebody the client does not see.
    pub held: usize,
    /// Not known to be over.
    active: Vec<Arc<TimedAction>>,
    /// The most of the client's own at the same time.
    pub most: usize,
    /// Every run by what it was posted for, in the order they came.
    pub runs: HashMap<[u8; 32], Vec<Arc<TimedAction>>>,
    /// The same by machine and commands alone: a client may mark its comments.
    pub works: HashMap<[u8; 32], Vec<Arc<TimedAction>>>,
    /// How many actions were started on each machine.
    started: HashMap<String, u64>,
}

impl SessionTable {
    /// How many are taken at `now`, those held by others left out.
    pub(crate) fn count(&mut self, now: Timestamp) -> usize {
        self.active.retain(|action| !action.is_over(now));
        self.active.len()
    }

    fn is_on(&self, machine: &str) -> bool {
        let mut active = self.active.iter();
        active.any(|action| action.text("machineId") == Some(machine))
    }

    /// Whether the same was posted before and is under way or succeeded.
    fn is_repeated(&self, digest: &[u8; 32], now: Timestamp) -> bool {
        let before = self.runs.get(digest).into_iter().flatten();
        before
            .filter_map(|run| Some((run.course()?.state(now), run.text("status"))))
            .any(|(state, ends)| match state {
                ActionStatus::Pending | ActionStatus::InProgress => true,
                ActionStatus::Settled => ends == Some("Succeeded"),
                ActionStatus::Cancelled => false,
            })
    }

    fn begin(&mut self, run: Arc<TimedAction>, digest: [u8; 32], work: [u8; 32]) {
        self.active.push(run.clone());
        self.most = self.most.max(self.active.len());
        self.works.entry(work).or_default().push(run.clone());
        self.runs.entry(digest).or_default().push(run);
    }

    /// Numbers what is started on a machine.
    pub(crate) fn next_on(&mut self, machine: &str) -> u64 {
        let count = self.started.entry(machine.to_string()).or_default();
        *count += 1;
        *count
    }
}

/// What a body says; a refusal where it is no JSON or says nothing of use.
pub(crate) fn read_body<T>(
    asked: &RequestContext<'_>,
    body: &[u8],
    read: impl Fn(&[u8]) -> Result<T, InvalidRequest>,
) -> Result<T, Box<Reply>> {
    if let Some(reply) = wrong_media(asked) {
        return Err(Box::new(reply));
    }
    let refuse = |refused: InvalidRequest| api::error(asked, 400, refused.code, &refused.message);
    read(body).map_err(|refused| Box::new(refuse(refused)))
}

/// The service reads nothing but JSON.
fn wrong_media(asked: &RequestContext<'_>) -> Option<Reply> {
    let kind = asked.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    let is_json = kind.eq_ignore_ascii_case("application/json");
    let why = "The request body must be application/json.";
    (!is_json).then(|| api::error(asked, 415, "UnsupportedMediaType", why))
}

pub(crate) fn run(asked: &RequestContext<'_>, machine: &str, body: &[u8]) -> Reply {
    let order = match read_body(asked, body, RunRequestBody::read) {
        Ok(order) => order,
        Err(reply) => return *reply,
    };
    let service = asked.service;
    let mut stock = service.stock_mut();
    let now = service.clock.now();
    let barred = barred(asked, &stock, machine);
    if let Some(refused) = barred.or_else(|| absent(asked, &stock, &order)) {
        return refused;
    }
    let machine = machine.to_ascii_lowercase();
    let (digest, work) = (order.digest(&machine), order.work(&machine));
    if stock.sessions.is_repeated(&digest, now) {
        service.journal.violate(Violation::RunRepeated);
    }
    if let Some(refused) = no_room(asked, &mut stock, &machine, now) {
        return refused;
    }
    let run = make(asked, &mut stock, &machine, order, now);
    let run = stock.start(run, &service.signer);
    stock.sessions.begin(run.clone(), digest, work);
    api::entity(asked, StatusCode::CREATED, "MachineActions", &run.json(now))
}

/// Why nothing can be started on a machine.
pub(crate) fn barred(asked: &RequestContext<'_>, stock: &FleetState, id: &str) -> Option<Reply> {
    let Some(machine) = stock.machine_of_id(id) else {
        return Some(api::not_found(asked, id));
    };
    let why = "The operation is not allowed: the device group has no remediation level.";
    stock
        .is_disallowed(machine)
        .then(|| api::error(asked, 403, "DisallowedOperation", why))
}

/// What an order needs and the library does not hold.
fn absent(asked: &RequestContext<'_>, stock: &FleetState, order: &RunRequestBody) -> Option<Reply> {
    let mut files = order.steps.iter().filter_map(SessionCommand::file);
    let missing = files.find(|file| !stock.library.holds(file))?;
    let why = format!("File {missing} was not found in the library.");
    Some(api::error(asked, 400, "InvalidInput", &why))
}

/// Why no session can begin now.
fn no_room(
    asked: &RequestContext<'_>,
    stock: &mut FleetState,
    machine: &str,
    now: Timestamp,
) -> Option<Reply> {
    let service = asked.service;
    let own = stock.sessions.count(now);
    if stock.sessions.is_on(machine) {
        let why = "An active live response session already exists on this machine.";
        return Some(api::error(asked, 400, "ActiveRequestAlreadyExists", why));
    }
    let limits = service.limits;
    if limits.lifted || own + stock.sessions.held < limits.sessions {
        return None;
    }
    let why = match own < limits.sessions {
        true => "sessions-held",
        false => {
            service.journal.violate(Violation::OverSessions);
            "over-sessions"
        }
    };
    let said = "The limit of concurrent live response sessions was reached.";
    let reply = api::error(asked, 429, "TooManyRequests", said);
    Some(reply.header(RETRY_AFTER, &AGAIN_S.to_string()).why(why))
}

/// Draws the course of a run and what its commands leave.
fn make(
    asked: &RequestContext<'_>,
    stock: &mut FleetState,
    machine: &str,
    order: RunRequestBody,
    now: Timestamp,
) -> TimedAction {
    let service = asked.service;
    let number = stock.sessions.next_on(machine).to_string();
    let mut lots = SeededRng::of(service.seed, &["session", machine, &number]);
    let found = stock.machine(machine);
    let table = found.and_then(|machine| machine.table.as_ref());
    let plan = service.latency.session(&mut lots, now, table, &order.steps);
    let device = found.and_then(|machine| machine.text("computerDnsName"));
    let device = device.unwrap_or_default();
    let bodies = bodies(service.seed, device, &order.steps, &plan.ends);
    let id = guid_of(&format!("run {machine} {number} {now}"));
    let mut json = action_json(
        asked,
        "LiveResponse",
        (machine, device),
        &order.comment,
        now,
    );
    json.insert("id".into(), id.to_string().into());
    json.insert("status".into(), plan.status.into());
    json.insert("commands".into(), commands_json(&order.steps, &plan));
    TimedAction::started(id, now, json, bodies, plan.course)
}

/// A machine action with everything but its id, its end and its commands.
pub(crate) fn action_json(
    asked: &RequestContext<'_>,
    kind: &str,
    (machine, device): (&str, &str),
    comment: &str,
    now: Timestamp,
) -> Map<String, Value> {
    let requestor = asked.service.tokens.client_id();
    let mut json = action::json_of(kind, (machine, device), requestor, comment);
    json.insert("creationDateTimeUtc".into(), api_time(now).into());
    json
}

fn commands_json(steps: &[SessionCommand], plan: &SessionPlan) -> Value {
    let command = |(index, (step, end)): (usize, (&SessionCommand, &CommandOutcome))| {
        let (status, errors) = match end {
            CommandOutcome::Completed => ("Completed", Vec::new()),
            CommandOutcome::Failed => ("Failed", vec![failure(step)]),
            CommandOutcome::TimedOut => {
                ("Failed", vec!["The script ran for longer than 10 minutes."])
            }
            CommandOutcome::NotRun => ("Created", Vec::new()),
        };
        json!({
            "index": index,
            "startTime": null,
            "endTime": null,
            "commandStatus": status,
            "errors": errors,
            "command": step.json(),
        })
    };
    let both = steps.iter().zip(&plan.ends).enumerate();
    Value::Array(both.map(command).collect())
}

fn failure(step: &SessionCommand) -> &'static str {
    match step {
        SessionCommand::Put { .. } => "The file could not be placed on the device.",
        SessionCommand::Script { .. } => "The script ended with exit code 1.",
        SessionCommand::Get { .. } => "The file was not found on the device.",
    }
}

fn bodies(
    seed: u64,
    device: &str,
    steps: &[SessionCommand],
    ends: &[CommandOutcome],
) -> BTreeMap<u32, ResultBody> {
    let told = |step: &SessionCommand, end: &CommandOutcome| match (step, end) {
        (
            SessionCommand::Script { name, args },
            CommandOutcome::Completed | CommandOutcome::Failed,
        ) => Some(SyntheticResult::Transcript {
            seed,
            device: device.to_string(),
            script: name.clone(),
            args: args.clone(),
            exit_code: i32::from(*end == CommandOutcome::Failed),
        }),
        (SessionCommand::Get { path }, CommandOutcome::Completed) => Some(SyntheticResult::File {
            seed,
            device: device.to_string(),
            path: path.clone(),
        }),
        _ => None,
    };
    let both = steps.iter().zip(ends).zip(0..);
    both.filter_map(|((step, end), index)| Some((index, ResultBody::told(told(step, end)?))))
        .collect()
}

pub(crate) fn cancel(asked: &RequestContext<'_>, id: &str, body: &[u8]) -> Reply {
    let comment = match read_body(asked, body, run_request::comment_alone) {
        Ok(comment) => comment,
        Err(reply) => return *reply,
    };
    let service = asked.service;
    // Nobody may see it end otherwise meanwhile.
    let stock = service.stock_mut();
    let found = stock.action(id);
    let Some(action) = found.filter(|action| api::is_visible(asked, action)) else {
        return api::not_found(asked, id);
    };
    let now = service.clock.now();
    let cancelled = Cancelled {
        at: now,
        by: service.tokens.client_id().to_string(),
        comment,
    };
    match action.course().is_some_and(|c| c.cancel(cancelled)) {
        true => api::entity(asked, StatusCode::OK, "MachineActions", &action.json(now)),
        false => {
            let why = "The action is over and cannot be cancelled.";
            api::error(asked, 400, "BadRequest", why)
        }
    }
}
