//! Calls on live response sessions: run and cancel.

use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use jiff::Timestamp;

use crate::http::api;
use crate::http::request::{Reply, RequestContext};
use crate::http::run_request::{self, InvalidRequest};
use crate::state::fleet_state::FleetState;
use crate::state::journal::Violation;
use crate::state::new_actions::new_session;
use crate::state::sessions::SessionRequest;
use crate::synthetic::session_command::SessionCommand;
use crate::timeline::action_timeline::Cancellation;

/// `Retry-After` if all sessions are in use. **Units**: seconds.
const SESSION_RETRY_S: u64 = 30;

/// Parses a JSON body.
///
/// **Errors**: the reply for a body that is not JSON or not valid.
pub(crate) fn parse_body<T>(
    request: &RequestContext<'_>,
    body: &[u8],
    parse: impl Fn(&[u8]) -> Result<T, InvalidRequest>,
) -> Result<T, Box<Reply>> {
    let content_type = request.header("content-type").unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/json") {
        let message = "The request body must be application/json.";
        let reply = api::error(request, 415, "UnsupportedMediaType", message);
        return Err(Box::new(reply));
    }
    parse(body).map_err(|error| Box::new(api::error(request, 400, error.code, &error.message)))
}

pub(crate) fn run(request: &RequestContext<'_>, machine: &str, body: &[u8]) -> Reply {
    let session_request = match parse_body(request, body, run_request::parse) {
        Ok(session_request) => session_request,
        Err(reply) => return *reply,
    };
    let service = request.service;
    let mut fleet = service.fleet_mut();
    let now = service.clock.now();
    if let Some(reply) = reject_machine(request, &fleet, machine) {
        return reply;
    }
    if let Some(reply) = reject_missing_file(request, &fleet, &session_request) {
        return reply;
    }
    let machine = machine.to_ascii_lowercase();
    let digest = session_request.digest(&machine);
    if fleet.sessions.is_repeated(&digest, now) {
        service.journal.record_violation(Violation::RunRepeated);
    }
    if let Some(reply) = reject_session(request, &mut fleet, &machine, now) {
        return reply;
    }
    let session = new_session(service, &mut fleet, &machine, &session_request, now);
    let session = fleet.start(session, &service.signer);
    let command_digest = session_request.command_digest(&machine);
    fleet
        .sessions
        .insert(session.clone(), digest, command_digest);
    let json = session.json(now);
    api::entity(request, StatusCode::CREATED, "MachineActions", &json)
}

/// The reply if no action can be started on a machine.
pub(crate) fn reject_machine(
    request: &RequestContext<'_>,
    fleet: &FleetState,
    id: &str,
) -> Option<Reply> {
    let Some(machine) = fleet.machine_by_id(id) else {
        return Some(api::not_found(request, id));
    };
    let message = "The operation is not allowed: the device group has no remediation level.";
    fleet
        .is_disallowed(machine)
        .then(|| api::error(request, 403, "DisallowedOperation", message))
}

/// The reply if a file that a session needs is not in the library.
fn reject_missing_file(
    request: &RequestContext<'_>,
    fleet: &FleetState,
    session_request: &SessionRequest,
) -> Option<Reply> {
    let missing = session_request
        .commands
        .iter()
        .filter_map(SessionCommand::library_file)
        .find(|file| !fleet.library.contains(file))?;
    let message = format!("File {missing} was not found in the library.");
    Some(api::error(request, 400, "InvalidInput", &message))
}

/// The reply if the machine or all sessions are in use.
fn reject_session(
    request: &RequestContext<'_>,
    fleet: &mut FleetState,
    machine: &str,
    now: Timestamp,
) -> Option<Reply> {
    let service = request.service;
    let active = fleet.sessions.count(now);
    if fleet.sessions.is_on(machine) {
        let message = "An active live response session already exists on this machine.";
        let reply = api::error(request, 400, "ActiveRequestAlreadyExists", message);
        return Some(reply);
    }
    let limits = service.limits;
    if limits.lifted || active + fleet.sessions.held < limits.sessions {
        return None;
    }
    let reason = if active < limits.sessions {
        "sessions-held"
    } else {
        service.journal.record_violation(Violation::OverSessions);
        "over-sessions"
    };
    let message = "The limit of concurrent live response sessions was reached.";
    let reply = api::error(request, 429, "TooManyRequests", message)
        .header(RETRY_AFTER, &SESSION_RETRY_S.to_string())
        .reason(reason);
    Some(reply)
}

pub(crate) fn cancel(request: &RequestContext<'_>, id: &str, body: &[u8]) -> Reply {
    let comment = match parse_body(request, body, run_request::parse_comment) {
        Ok(comment) => comment,
        Err(reply) => return *reply,
    };
    let service = request.service;
    // Locked for writing, so that no other request sees the action change
    // between the check and the cancellation.
    let fleet = service.fleet_mut();
    let action = fleet.action(id);
    let Some(action) = action.filter(|action| api::is_visible(request, action)) else {
        return api::not_found(request, id);
    };
    let now = service.clock.now();
    let cancellation = Cancellation {
        at: now,
        by: service.tokens.client_id().to_string(),
        comment,
    };
    let is_cancelled = action
        .timeline()
        .is_some_and(|timeline| timeline.cancel(cancellation));
    if !is_cancelled {
        let message = "The action is over and cannot be cancelled.";
        return api::error(request, 400, "BadRequest", message);
    }
    api::entity(request, StatusCode::OK, "MachineActions", &action.json(now))
}
