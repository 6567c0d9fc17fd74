//! Executes a run: carries out the decisions of the schedule and reports the
//! responses of the service to it.
//!
//! Three tasks work concurrently on one [`FleetRunner`]:
//! - The poller of the collector reads the action lists and shows them to the
//!   schedule (`source`).
//! - `starts` starts sessions.
//! - `housekeeping` executes orders, cancels sessions, searches for sessions
//!   that lists do not show (`reconcile`), and writes the record.

mod cancellations;
mod discovered;
mod fleet_runner;
mod housekeeping;
mod orders;
mod reconcile;
mod source;
mod starts;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::clock::Clock;
use crate::fetch::collector;
use crate::fetch::session::CollectSession;
use crate::fleet::record::{FleetRecord, RunState};
use crate::fleet::report::{FleetReport, report};
use crate::fleet::runner::fleet_runner::FleetRunner;
use crate::fleet::runner::housekeeping::run_housekeeping;
use crate::fleet::runner::starts::start_sessions;
use crate::{CollectError, CollectSettings, Events, ResultSink};

/// Runs a new or resumed fleet run until every device is settled or the run is
/// paused, and collects the results of its sessions.
///
/// Setting `stop` to true ends it earlier. The run can be resumed from its
/// record in every case.
///
/// **Errors**: the report is complete in every case; the error is the reason
/// why the run ended early.
pub async fn run_fleet(
    mut settings: CollectSettings,
    state: RunState,
    sink: Arc<dyn ResultSink>,
    record: Arc<dyn FleetRecord>,
    events: Events,
    stop: watch::Receiver<bool>,
) -> (FleetReport, Option<CollectError>) {
    let clock = Clock::new(settings.pace.time_scale);
    settings.filter.comment = Some(state.run.id.mark_prefix());
    let fleet = Arc::new(FleetRunner::new(state, record, clock));
    let background_tasks = |session: &Arc<CollectSession>| -> Vec<BoxFuture<'static, ()>> {
        vec![
            Box::pin(start_sessions(session.clone(), fleet.clone())),
            Box::pin(run_housekeeping(session.clone(), fleet.clone())),
        ]
    };
    let (collected, failure) = collector::run_session(
        settings,
        sink,
        events,
        stop,
        fleet.clone(),
        background_tasks,
    )
    .await;
    let header = fleet.lock_header().clone();
    let report = report(&header, &fleet.lock(), clock, collected);
    (report, failure)
}
