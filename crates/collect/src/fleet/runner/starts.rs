//! Starts sessions as the schedule and the rate limit permit, and classifies
//! the responses.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::fetch::session::CollectSession;
use crate::fleet::plan::step::start_path;
use crate::fleet::runner::fleet_runner::FleetRunner;
use crate::fleet::schedule::{SessionStart, StartResponse};
use crate::service::api::{ApiRequest, CallError};
use crate::service::rate_limit::{CallPermit, STARTS_PER_MINUTE};
use crate::{ApiCall, CollectError, Secret, ServiceError};
use evidence::Action;

/// Starts in flight at a time; no more may be sent within a minute.
const IN_FLIGHT_MAX: usize = STARTS_PER_MINUTE;
/// Time to wait for responses after a stop. A start without a response by then
/// is in doubt until the run is resumed.
///
/// **Units**: real time.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Tokens rejected in a row before the run fails.
const REJECTED_TOKENS_MAX: u32 = 3;

/// Starts sessions until the run stops or is finished.
pub(crate) async fn start_sessions(session: Arc<CollectSession>, fleet: Arc<FleetRunner>) {
    let starter = SessionStarter {
        session: session.clone(),
        fleet: fleet.clone(),
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        rejections: Arc::default(),
    };
    let started = session.shutdown.unless_stopped(starter.run()).await;
    if let Some(Err(error)) = started {
        session.shutdown.fail(error);
    }
    // Starts in flight end by themselves, at the latest after `STOP_GRACE`.
    let _ = starter.in_flight.acquire_many(IN_FLIGHT_MAX as u32).await;
    if let Err(error) = fleet.write_changes(&session).await {
        session.shutdown.fail(error);
    }
}

#[derive(Clone)]
struct SessionStarter {
    session: Arc<CollectSession>,
    fleet: Arc<FleetRunner>,
    in_flight: Arc<Semaphore>,
    rejections: Arc<Mutex<TokenRejections>>,
}

/// Tokens rejected since the last accepted one.
#[derive(Default)]
struct TokenRejections {
    last: Option<Secret>,
    in_a_row: u32,
}

impl TokenRejections {
    /// Counts a rejected token once, although several starts may have been
    /// sent with it. If it was renewed to the same token, it is counted again.
    /// Returns the number of rejections in a row.
    fn count(&mut self, rejected: &Secret, renewed: &Secret) -> u32 {
        if self.last.as_ref() != Some(rejected) || renewed == rejected {
            self.last = Some(rejected.clone());
            self.in_a_row += 1;
        }
        self.in_a_row
    }
}

/// A start whose intent is in the schedule but whose request is not sent.
/// Dropping it undoes the start, so that it is not in doubt.
struct UnsentStart<'a> {
    starter: &'a SessionStarter,
    /// Index of the device.
    index: u32,
    permit: Option<CallPermit>,
}

impl UnsentStart<'_> {
    /// Takes the permit to send the request. `None` if recording the intent
    /// took so long that the rate limit no longer counts the permit.
    fn into_permit(mut self) -> Option<CallPermit> {
        self.permit.take_if(|permit| permit.is_valid())
    }
}

impl Drop for UnsentStart<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            permit.release_unused();
            self.starter
                .handle_response(self.index, StartResponse::NotSent);
        }
    }
}

impl SessionStarter {
    async fn run(&self) -> Result<(), CollectError> {
        let (session, fleet) = (&self.session, &self.fleet);
        fleet.check_owner(session).await?;
        while !session.queue.is_closed() {
            if !fleet.lock().can_start(session.api.clock.now()) {
                fleet.wait(session.api.clock).await;
                continue;
            }
            let slot = self.in_flight.clone().acquire_owned().await;
            let (permit, token) = session
                .api
                .acquire(ApiCall::Run)
                .await
                .map_err(|e| e.into_fatal(ApiCall::Run, &session.api.host))?;
            // Choose the device only now: the schedule may have changed while
            // waiting.
            let Some(start) = fleet.lock().next_start(session.api.clock.now()) else {
                permit.release_unused();
                continue;
            };
            let unsent = UnsentStart {
                starter: self,
                index: start.index,
                permit: Some(permit),
            };
            fleet.write_changes(session).await?;
            tracing::debug!(device = start.index, "start intent recorded");
            let Some(permit) = unsent.into_permit() else {
                continue;
            };
            let starter = self.clone();
            tokio::spawn(async move {
                let _slot = slot;
                tokio::select! {
                    () = starter.start(start, permit, &token) => {}
                    () = starter.session.shutdown.stopped_for(STOP_GRACE) => {}
                }
            });
        }
        Ok(())
    }

    /// Sends a start and reports the response to the schedule.
    async fn start(&self, start: SessionStart, permit: CallPermit, token: &Secret) {
        let session = &self.session;
        let response = match self.send(&start, permit, token).await {
            Ok(body) => match Action::from_json(&body) {
                Ok(action) => {
                    // The response is the first version of the action.
                    let discovered = &self.fleet.discovered;
                    discovered.store(session, &action, body).await;
                    StartResponse::Created(Box::new(action))
                }
                Err(_) => StartResponse::Missing,
            },
            Err(error) => self.classify(error, token).await,
        };
        self.handle_response(start.index, response);
        if let Err(error) = self.fleet.write_changes(session).await {
            session.shutdown.fail(error);
        }
        self.fleet.changed.notify_waiters();
    }

    fn handle_response(&self, index: u32, response: StartResponse) {
        tracing::debug!(device = index, response = response.name(), "start response");
        let now = self.session.api.clock.now();
        let mut schedule = self.fleet.lock();
        schedule.handle_start_response(index, response, now);
    }

    async fn send(
        &self,
        start: &SessionStart,
        permit: CallPermit,
        token: &Secret,
    ) -> Result<Vec<u8>, CallError> {
        let api = &self.session.api;
        let body = start.body.to_string().into_bytes();
        let url = api.url(&start_path(&start.machine_id));
        tracing::debug!(device = start.index, "start sent");
        let request = ApiRequest::post(ApiCall::Run, url, body);
        let answer = api.send(&request, permit, token).await?;
        *self.lock_rejections() = TokenRejections::default();
        Ok(answer.body)
    }

    /// The effect of a failed start. Errors that would reject every further
    /// start end the session.
    async fn classify(&self, error: CallError, token: &Secret) -> StartResponse {
        let fail = |error: CollectError, response: StartResponse| {
            self.session.shutdown.fail(error);
            response
        };
        let service = match error {
            CallError::Throttled => return StartResponse::Throttled,
            CallError::NoConnection(_) => return StartResponse::NotSent,
            CallError::Interrupted(_) | CallError::Unexpected(_) | CallError::InvalidLink(_) => {
                return StartResponse::Missing;
            }
            CallError::Fatal(error) => return fail(error, StartResponse::NotSent),
            CallError::Service(service) => service,
        };
        match service.status {
            401 => match self.renew(token).await {
                Ok(()) => StartResponse::NotSent,
                Err(error) => fail(error, StartResponse::NotSent),
            },
            408 | 500.. => StartResponse::Missing,
            // Without an error code, the response may come from a proxy that
            // has forwarded the start.
            403 if service.code.is_empty() => fail(self.rejected(service), StartResponse::Missing),
            _ if service.code.is_empty() => StartResponse::Missing,
            _ if is_device_busy(&service) => StartResponse::DeviceBusy,
            // Only `DisallowedOperation` concerns the device. Every other 403
            // concerns the application and would reject every start.
            403 if !is_about_device(&service) => {
                fail(self.rejected(service), StartResponse::NotSent)
            }
            _ => StartResponse::Rejected(service.to_string()),
        }
    }

    /// Renews a rejected token.
    ///
    /// **Errors**: too many tokens were rejected in a row.
    async fn renew(&self, rejected: &Secret) -> Result<(), CollectError> {
        let renewed = self.session.api.tokens.renew(rejected).await?;
        if self.lock_rejections().count(rejected, &renewed) > REJECTED_TOKENS_MAX {
            return Err(CollectError::TokenSpent);
        }
        Ok(())
    }

    fn rejected(&self, service: ServiceError) -> CollectError {
        CollectError::Service {
            call: ApiCall::Run,
            host: self.session.api.host.clone(),
            service,
        }
    }

    fn lock_rejections(&self) -> std::sync::MutexGuard<'_, TokenRejections> {
        self.rejections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_device_busy(service: &ServiceError) -> bool {
    service
        .code
        .eq_ignore_ascii_case("ActiveRequestAlreadyExists")
}

fn is_about_device(service: &ServiceError) -> bool {
    service.code.eq_ignore_ascii_case("DisallowedOperation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejected_token_is_counted_once_unless_renewal_returns_it_again() {
        let [a, b, c] = ["a", "b", "c"].map(Secret::new);
        let mut rejections = TokenRejections::default();
        assert_eq!((0..10).map(|_| rejections.count(&a, &b)).max(), Some(1));
        assert_eq!(rejections.count(&b, &c), 2);
        let same = (0..3).map(|_| rejections.count(&c, &c));
        assert_eq!(same.collect::<Vec<_>>(), [3, 4, 5]);
    }
}
