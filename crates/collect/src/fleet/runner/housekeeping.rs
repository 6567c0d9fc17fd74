//! Everything except starting sessions: executes orders, writes the record,
//! reports progress, cancels and reconciles.

use std::sync::Arc;

use crate::fetch::session::CollectSession;
use crate::fleet::device::FleetCounts;
use crate::fleet::runner::cancellations::run_cancellations;
use crate::fleet::runner::fleet_runner::FleetRunner;
use crate::fleet::runner::orders;
use crate::fleet::runner::reconcile::run_reconciliation;
use crate::{CollectError, CollectProgress};
use evidence::Time;

/// Runs until the session stops or the run is finished.
pub(crate) async fn run_housekeeping(session: Arc<CollectSession>, fleet: Arc<FleetRunner>) {
    let housekeeping = run_tasks(&session, &fleet);
    if let Some(Err(error)) = session.shutdown.unless_stopped(housekeeping).await {
        session.shutdown.fail(error);
    }
}

/// The tasks are concurrent, so that orders are executed and the record is
/// written while calls wait for the rate limit.
async fn run_tasks(
    session: &Arc<CollectSession>,
    fleet: &Arc<FleetRunner>,
) -> Result<(), CollectError> {
    fleet.check_owner(session).await?;
    tokio::select! {
        ended = update_until_finished(session, fleet) => ended,
        failed = run_cancellations(session, fleet) => failed,
        () = run_reconciliation(session, fleet) => Ok(()),
    }
}

/// Executes orders, writes the record and reports progress, until no session
/// will be started any more.
async fn update_until_finished(
    session: &CollectSession,
    fleet: &Arc<FleetRunner>,
) -> Result<(), CollectError> {
    let counters = &session.api.counters;
    let mut reported = FleetCounts::default();
    loop {
        orders::execute_pending(session, fleet).await?;
        fleet.write_changes(session).await?;
        record_end(session, fleet).await?;
        orders::update_acceptance(fleet).await?;
        let (notices, counts) = {
            let mut schedule = fleet.lock();
            (schedule.take_notices(), schedule.counts())
        };
        for notice in notices {
            counters.notify(notice);
        }
        if counts != reported {
            reported = counts;
            counters.emit(CollectProgress::Fleet(counts));
        }
        if session.queue.is_closed() {
            return Ok(());
        }
        fleet.wait(session.api.clock).await;
    }
}

/// Records the end of the run when the last device is settled, and removes it
/// when a settled session is found to be open.
async fn record_end(
    session: &CollectSession,
    fleet: &Arc<FleetRunner>,
) -> Result<(), CollectError> {
    let is_over = fleet.lock().is_over();
    if fleet.lock_header().over.is_some() == is_over {
        return Ok(());
    }
    let now = Time::from_instant(session.api.clock.now().timestamp());
    fleet.lock_header().over = is_over.then_some(now);
    fleet.write_header(session).await
}
