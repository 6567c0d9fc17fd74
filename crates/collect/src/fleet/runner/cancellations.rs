//! Sends the cancellations that the schedule decides.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use crate::fetch::session::CollectSession;
use crate::fleet::device::CancelReason;
use crate::fleet::runner::fleet_runner::FleetRunner;
use crate::fleet::schedule::SessionCancel;
use crate::service::api::{ApiRequest, CallError};
use crate::{ApiCall, CollectError};

/// Cancellations in flight at a time. The rate limit admits a hundred a minute,
/// and one that hangs takes two minutes.
const IN_FLIGHT_MAX: usize = 8;

/// Sends cancellations as they become due; returns only with an error.
///
/// A separate task sends each one, so that neither a search for sessions nor a
/// call that hangs delays the others.
pub(super) async fn run_cancellations(
    session: &Arc<CollectSession>,
    fleet: &Arc<FleetRunner>,
) -> Result<(), CollectError> {
    let mut in_flight = JoinSet::new();
    loop {
        let due = fleet.lock().due_cancellations(session.api.clock.now());
        if !due.is_empty() {
            fleet.write_changes(session).await?;
        }
        for cancellation in due {
            while in_flight.len() >= IN_FLIGHT_MAX {
                task_result(in_flight.join_next().await)?;
            }
            in_flight.spawn(cancel(session.clone(), fleet.clone(), cancellation));
        }
        while let Some(ended) = in_flight.try_join_next() {
            task_result(Some(ended))?;
        }
        fleet.wait(session.api.clock).await;
    }
}

fn task_result(
    ended: Option<Result<Result<(), CollectError>, JoinError>>,
) -> Result<(), CollectError> {
    match ended {
        Some(Err(panic)) => Err(CollectError::Worker(panic.to_string())),
        Some(Ok(result)) => result,
        None => Ok(()),
    }
}

/// Sends one cancellation. If it fails or has no effect, it is due again in a
/// minute; lists show whether the session was cancelled.
async fn cancel(
    session: Arc<CollectSession>,
    fleet: Arc<FleetRunner>,
    cancellation: SessionCancel,
) -> Result<(), CollectError> {
    let SessionCancel {
        index,
        action,
        reason,
    } = cancellation;
    tracing::debug!(device = index, %action, ?reason, "cancellation due");
    let run = fleet.lock().id;
    let comment = match reason {
        CancelReason::Parked => format!("afteraction {run}: the device is away"),
        CancelReason::Requested => format!("afteraction {run}: cancelled"),
    };
    let body = serde_json::json!({"Comment": comment}).to_string();
    let url = session.api.url(&format!("machineactions/{action}/cancel"));
    let request = ApiRequest::post(ApiCall::Cancel, url, body.into_bytes());
    let cancelled = match reason {
        CancelReason::Requested => session.api.call(&request).await.map(drop),
        CancelReason::Parked => cancel_if_pending(&session, &fleet, cancellation, &request).await,
    };
    match cancelled {
        Err(CallError::Fatal(error)) => Err(error),
        Err(CallError::Service(error)) if error.status == 403 => {
            let notice = format!("could not cancel action {action}: {error}");
            session.api.counters.notify(notice);
            fleet.lock().cancellation_forbidden(index);
            Ok(())
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Cancels a session to park its device, unless the device has taken the
/// session up while the call waited for the rate limit.
async fn cancel_if_pending(
    session: &CollectSession,
    fleet: &FleetRunner,
    cancellation: SessionCancel,
    request: &ApiRequest,
) -> Result<(), CallError> {
    let (permit, token) = session.api.acquire(ApiCall::Cancel).await?;
    let now = session.api.clock.now();
    let SessionCancel { index, action, .. } = cancellation;
    let is_pending = fleet.lock().is_still_pending(index, action, now);
    if !is_pending {
        permit.release_unused();
        return Ok(());
    }
    match session.api.send(request, permit, &token).await {
        Err(CallError::Service(error)) if error.status == 401 => {
            let renewed = session.api.tokens.renew(&token).await;
            renewed.map(drop).map_err(CallError::Fatal)
        }
        answer => answer.map(drop),
    }
}
