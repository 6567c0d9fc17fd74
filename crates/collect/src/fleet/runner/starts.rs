//! Sessions started one after the other, as the budget and the schedule let
//! them, and what the answers mean.

use std::sync::Arc;
use std::time::Duration;

use crate::fetch::session::CollectSession;
use crate::fleet::plan::step::start_path;
use crate::fleet::runner::{FleetRunner, IN_FLIGHT_MAX, TokenRejections};
use crate::fleet::schedule::{SessionStart, StartResponse};
use crate::service::api::{ApiRequest, CallError};
use crate::service::rate_limit::CallPermit;
use crate::{ApiCall, CollectError, Secret, ServiceError};
use evidence::Action;

/// When stopped, answers under way have so long, real time: what has none by
/// then is looked for when the run is gone on with.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Tokens refused in a row after which there is no use.
const REFUSED_TOKENS_MAX: u32 = 3;

/// Starts sessions until the run halts or is at rest.
pub(crate) async fn start_all(session: Arc<CollectSession>, fleet: Arc<FleetRunner>) {
    let started = session
        .shutdown
        .unless_stopped(start_each(&session, &fleet))
        .await;
    if let Some(Err(error)) = started {
        session.shutdown.fail(error);
    }
    // What is under way ends by itself, or is left after a while.
    let _ = fleet.in_flight.acquire_many(IN_FLIGHT_MAX as u32).await;
    if let Err(error) = fleet.keep(&session).await {
        session.shutdown.fail(error);
    }
}

async fn start_each(
    session: &Arc<CollectSession>,
    fleet: &Arc<FleetRunner>,
) -> Result<(), CollectError> {
    fleet.check_owner(session).await?;
    while !session.queue.is_closed() {
        if !fleet.lock().can_start(session.api.clock.now()) {
            fleet.pause(session.api.clock).await;
            continue;
        }
        let permit = fleet.in_flight.clone().acquire_owned().await;
        // The token first: what waits for one keeps no place in the budget,
        // which would be over by the time it leaves.
        let ready = session.api.acquire(ApiCall::Run).await;
        let (ticket, token) = ready.map_err(|e| e.into_fatal(ApiCall::Run, &session.api.host))?;
        // What could be started when the wait began may not be now.
        let Some(start) = fleet.lock().next_start(session.api.clock.now()) else {
            ticket.release_unused();
            continue;
        };
        let held = UnsentStart {
            session: session.clone(),
            fleet: fleet.clone(),
            place: start.index,
            ticket: Some(ticket),
        };
        fleet.keep(session).await?;
        let Some(ticket) = held.leave() else {
            continue;
        };
        let (session, fleet) = (session.clone(), fleet.clone());
        tokio::spawn(async move {
            let _permit = permit;
            tokio::select! {
                () = send(&session, &fleet, start, ticket, &token) => {}
                () = session.shutdown.stopped_for(LAST_ANSWERS) => {}
            }
        });
    }
    Ok(())
}

/// A start between its decision and its request. Where it is dropped before
/// it leaves, it never was sent, and nobody need look for it.
struct UnsentStart {
    session: Arc<CollectSession>,
    fleet: Arc<FleetRunner>,
    place: u32,
    ticket: Option<CallPermit>,
}

impl UnsentStart {
    /// `None` where the record took so long that the budget would no longer
    /// count the request.
    fn leave(mut self) -> Option<CallPermit> {
        self.ticket.take_if(|ticket| ticket.is_valid())
    }
}

impl Drop for UnsentStart {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            ticket.release_unused();
            let now = self.session.api.clock.now();
            self.fleet
                .lock()
                .handle_start_response(self.place, StartResponse::NotSent, now);
        }
    }
}

/// Sends one start and tells the schedule what came of it.
async fn send(
    session: &CollectSession,
    fleet: &Arc<FleetRunner>,
    start: SessionStart,
    ticket: CallPermit,
    token: &Secret,
) {
    let body = start.body.to_string().into_bytes();
    let url = session.api.url(&start_path(&start.machine_id));
    let ask = ApiRequest::post(ApiCall::Run, url, body);
    let answer = match ask_once(session, fleet, &ask, ticket, token).await {
        Ok(body) => match Action::from_json(&body) {
            Ok(action) => {
                // The answer to a start is evidence, too.
                fleet.keep_found(session, &action, body).await;
                StartResponse::Created(Box::new(action))
            }
            Err(_) => StartResponse::Missing,
        },
        Err(answer) => answer,
    };
    let now = session.api.clock.now();
    fleet.lock().handle_start_response(start.index, answer, now);
    if let Err(error) = fleet.keep(session).await {
        session.shutdown.fail(error);
    }
    fleet.happened.notify_waiters();
}

async fn ask_once(
    session: &CollectSession,
    fleet: &FleetRunner,
    ask: &ApiRequest,
    ticket: CallPermit,
    token: &Secret,
) -> Result<Vec<u8>, StartResponse> {
    let fatal = |error: CollectError, answer: StartResponse| {
        session.shutdown.fail(error);
        answer
    };
    let error = match session.api.send(ask, ticket, token).await {
        Ok(answer) => {
            *fleet.lock_refused() = TokenRejections::default();
            return Ok(answer.body);
        }
        Err(error) => error,
    };
    Err(match error {
        CallError::Throttled => StartResponse::Throttled,
        CallError::NoConnection(_) => StartResponse::NotSent,
        CallError::Interrupted(_) | CallError::Unexpected(_) | CallError::InvalidLink(_) => {
            StartResponse::Missing
        }
        CallError::Fatal(error) => fatal(error, StartResponse::NotSent),
        CallError::Service(e) if e.status == 401 => match session.api.tokens.renew(token).await {
            Ok(next) if fleet.lock_refused().count(token, &next) <= REFUSED_TOKENS_MAX => {
                StartResponse::NotSent
            }
            Ok(_) => fatal(CollectError::TokenSpent, StartResponse::NotSent),
            Err(error) => fatal(error, StartResponse::NotSent),
        },
        CallError::Service(e) if e.status == 408 || e.status >= 500 => StartResponse::Missing,
        // Whoever refuses without the service's words may stand between it and
        // us, and have passed the start on.
        CallError::Service(service) if service.code.is_empty() && service.status == 403 => {
            fatal(refused(session, service), StartResponse::Missing)
        }
        CallError::Service(e) if e.code.is_empty() => StartResponse::Missing,
        CallError::Service(e) if e.code.eq_ignore_ascii_case("ActiveRequestAlreadyExists") => {
            StartResponse::DeviceBusy
        }
        // Only this one is about the device; any other is about us, and every
        // further start would be refused as well.
        CallError::Service(service) if service.status == 403 && !is_about_device(&service) => {
            fatal(refused(session, service), StartResponse::NotSent)
        }
        CallError::Service(e) => StartResponse::Rejected(e.to_string()),
    })
}

fn refused(session: &CollectSession, service: ServiceError) -> CollectError {
    CollectError::Service {
        call: ApiCall::Run.description(),
        host: session.api.host.clone(),
        service,
    }
}

fn is_about_device(refused: &ServiceError) -> bool {
    refused.code.eq_ignore_ascii_case("DisallowedOperation")
}
