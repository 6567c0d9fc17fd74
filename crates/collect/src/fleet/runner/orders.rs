//! Executes the orders of a person: pause, resume, cancel, repost.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::clock::WallTime;
use crate::fetch::session::CollectSession;
use crate::fleet::device::DeviceState;
use crate::fleet::record::{FleetOrder, FleetRecord};
use crate::fleet::run_id::RunId;
use crate::fleet::runner::fleet_runner::FleetRunner;
use crate::fleet::schedule::Schedule;
use crate::{CollectError, SinkError};

/// Executes the pending orders and removes them after their effects are
/// recorded. A kill in between leaves an order that is executed twice, never
/// one that is lost.
pub(super) async fn execute_pending(
    session: &CollectSession,
    fleet: &Arc<FleetRunner>,
) -> Result<(), CollectError> {
    let orders = with_record(fleet, FleetRecord::pending_orders).await?;
    if orders.is_empty() {
        return Ok(());
    }
    let now = session.api.clock.now();
    for order in &orders {
        tracing::info!(?order, "order executed");
        session.api.counters.notify(execute(fleet, order, now));
    }
    fleet.write_header(session).await?;
    fleet.write_changes(session).await?;
    let count = orders.len();
    with_record(fleet, move |record, id| record.remove_orders(id, count)).await?;
    fleet.changed.notify_waiters();
    Ok(())
}

/// Accepts orders while a session is open or may be started. Collecting the
/// results can take hours longer; an order that nothing would execute is
/// rejected when it is given.
pub(super) async fn update_acceptance(fleet: &FleetRunner) -> Result<(), CollectError> {
    let accept = !fleet.lock().is_idle();
    if accept == fleet.accepts_orders.load(Ordering::Acquire) {
        return Ok(());
    }
    if with_record(fleet, move |record, id| record.accept_orders(id, accept)).await? {
        fleet.accepts_orders.store(accept, Ordering::Release);
    }
    Ok(())
}

/// Calls the record on a worker thread.
async fn with_record<T: Send + 'static>(
    fleet: &FleetRunner,
    call: impl FnOnce(&dyn FleetRecord, RunId) -> Result<T, SinkError> + Send + 'static,
) -> Result<T, CollectError> {
    let (record, id) = (fleet.record.clone(), fleet.lock().id);
    tokio::task::spawn_blocking(move || call(record.as_ref(), id))
        .await
        .map_err(|e| CollectError::Worker(e.to_string()))?
        .map_err(|e| CollectError::sink("read the orders to the fleet run", e))
}

/// Executes an order; returns a notice.
fn execute(fleet: &FleetRunner, order: &FleetOrder, now: WallTime) -> String {
    let (mut schedule, mut header) = (fleet.lock(), fleet.lock_header());
    match order {
        FleetOrder::Pause => {
            (schedule.is_paused, header.is_paused) = (true, true);
            "paused: open sessions continue, no session is started".into()
        }
        FleetOrder::Resume => {
            (schedule.is_paused, header.is_paused) = (false, false);
            "resumed".into()
        }
        FleetOrder::Cancel => {
            header.is_cancelled = true;
            schedule.cancel_all(now);
            "cancelled: open sessions are being cancelled".into()
        }
        FleetOrder::CancelDevice(id) => cancel_device(&mut schedule, id, now),
        FleetOrder::Repost if header.is_cancelled => {
            "the run is cancelled: no session is started again".into()
        }
        FleetOrder::Repost => {
            (schedule.is_paused, header.is_paused) = (false, false);
            match schedule.order_repost() {
                0 => "no session is in doubt: none is started again".into(),
                n => format!(
                    "{n} sessions in doubt: each is started again unless one more search finds it"
                ),
            }
        }
    }
}

/// Cancels the only device with this id; returns a notice.
fn cancel_device(schedule: &mut Schedule, id: &str, now: WallTime) -> String {
    let &[index] = schedule.devices_named(id).as_slice() else {
        return format!("could not cancel {id}: not the name of exactly one device of this run");
    };
    let device = schedule.devices().nth(index.saturating_sub(1) as usize);
    let notice = device.map(|device| match &device.state {
        DeviceState::Settled { outcome, .. } => {
            format!("{} is already settled: {outcome}", device.planned.name)
        }
        _ => format!("{} is cancelled", device.planned.name),
    });
    schedule.cancel_device(index, now);
    notice.unwrap_or_default()
}
