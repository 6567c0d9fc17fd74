//! Everything besides starting: a person's orders, cancellations, the record,
//! the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::{JoinError, JoinSet};

use crate::clock::WallTime;
use crate::fetch::session::CollectSession;
use crate::fleet::runner::{FleetRunner, reconcile};
use crate::fleet::schedule::{Schedule, SessionCancel};
use crate::fleet::{CancelReason, DeviceState, FleetCounts, FleetOrder, FleetRecord, RunId};
use crate::service::api::{ApiRequest, CallError};
use crate::{ApiCall, CollectError, CollectProgress, SinkError};
use evidence::Time;

/// Cancellations under way at a time: a hundred a minute may leave, and one
/// that hangs takes two minutes.
const CANCELS_MAX: usize = 8;

/// Everything besides starting, until the run halts or is at rest.
pub(crate) async fn tend(session: Arc<CollectSession>, fleet: Arc<FleetRunner>) {
    let tended = session
        .shutdown
        .unless_stopped(tend_all(&session, &fleet))
        .await;
    if let Some(Err(error)) = tended {
        session.shutdown.fail(error);
    }
}

/// A person is heard and the record kept while calls wait for their budgets.
async fn tend_all(
    session: &Arc<CollectSession>,
    fleet: &Arc<FleetRunner>,
) -> Result<(), CollectError> {
    fleet.check_owner(session).await?;
    tokio::select! {
        ended = keep_and_tell(session, fleet) => ended,
        failed = cancel_due(session, fleet) => failed,
        () = look(session, fleet) => Ok(()),
    }
}

/// Ends when nothing more can be started.
async fn keep_and_tell(
    session: &CollectSession,
    fleet: &Arc<FleetRunner>,
) -> Result<(), CollectError> {
    let mut told = FleetCounts::default();
    loop {
        hear(session, fleet).await?;
        fleet.keep(session).await?;
        mark_end(session, fleet).await?;
        hear_on_or_end(fleet).await?;
        let (notices, counts) = {
            let mut schedule = fleet.lock();
            (schedule.take_notices(), schedule.counts())
        };
        notices
            .into_iter()
            .for_each(|text| session.api.counters.notify(text));
        if counts != told {
            told = counts;
            session.api.counters.emit(CollectProgress::Fleet(counts));
        }
        if session.queue.is_closed() {
            return Ok(());
        }
        fleet.pause(session.api.clock).await;
    }
}

/// What lists do not tell, each call waiting for its own budget; never ends by
/// itself.
async fn look(session: &CollectSession, fleet: &Arc<FleetRunner>) {
    let mut machines_at = WallTime::default();
    loop {
        reconcile::look_at_unseen(session, fleet).await;
        reconcile::look_for_lost(session, fleet).await;
        if session.api.clock.now() >= machines_at {
            machines_at = reconcile::look_for_parked(session, fleet).await;
        }
        fleet.pause(session.api.clock).await;
    }
}

/// That the last device is settled, or one is not after all.
async fn mark_end(session: &CollectSession, fleet: &Arc<FleetRunner>) -> Result<(), CollectError> {
    let is_over = fleet.lock().is_over();
    if fleet.lock_head().over.is_some() == is_over {
        return Ok(());
    }
    let now = Time::from_instant(session.api.clock.now().timestamp());
    fleet.lock_head().over = is_over.then_some(now);
    fleet.keep_head(session).await
}

/// Results may be collected for hours after the last session. Nothing is
/// started any more by then, so whoever leaves an order is to be told that
/// nobody hears it.
async fn hear_on_or_end(fleet: &FleetRunner) -> Result<(), CollectError> {
    let hears = !fleet.lock().is_idle();
    if hears == fleet.hears.load(Ordering::Acquire) {
        return Ok(());
    }
    if fleet
        .asked(move |record, id| record.accept_orders(id, hears))
        .await?
    {
        fleet.hears.store(hears, Ordering::Release);
    }
    Ok(())
}

/// Obeys what was ordered. An order goes once what was done about it is in
/// the record: a kill in between has it obeyed again, never forgotten.
async fn hear(session: &CollectSession, fleet: &Arc<FleetRunner>) -> Result<(), CollectError> {
    let orders = fleet.asked(FleetRecord::pending_orders).await?;
    if orders.is_empty() {
        return Ok(());
    }
    let now = session.api.clock.now();
    for order in &orders {
        session.api.counters.notify(fleet.obey(order, now));
    }
    fleet.keep_head(session).await?;
    fleet.keep(session).await?;
    let count = orders.len();
    fleet
        .asked(move |record, id| record.remove_orders(id, count))
        .await?;
    fleet.happened.notify_waiters();
    Ok(())
}

impl FleetRunner {
    /// A verb of the record about what a person ordered, off the async
    /// threads.
    async fn asked<T: Send + 'static>(
        &self,
        verb: impl FnOnce(&dyn FleetRecord, RunId) -> Result<T, SinkError> + Send + 'static,
    ) -> Result<T, CollectError> {
        let (record, id) = (self.record.clone(), self.lock().id);
        tokio::task::spawn_blocking(move || verb(record.as_ref(), id))
            .await
            .map_err(|e| CollectError::Worker(e.to_string()))?
            .map_err(|e| CollectError::sink("hear what was ordered", e))
    }

    /// Does what a person says; returns what is to be told.
    fn obey(&self, order: &FleetOrder, now: WallTime) -> String {
        let (mut schedule, mut head) = (self.lock(), self.lock_head());
        match order {
            FleetOrder::Pause => {
                (schedule.is_paused, head.is_paused) = (true, true);
                "paused: what is under way ends, nothing more is started".into()
            }
            FleetOrder::Resume => {
                (schedule.is_paused, head.is_paused) = (false, false);
                "going on".into()
            }
            FleetOrder::Cancel => {
                head.is_cancelled = true;
                schedule.cancel_all(now);
                "cancelled: sessions under way are being cancelled".into()
            }
            FleetOrder::CancelDevice(id) => cancel_named(&mut schedule, id, now),
            FleetOrder::Repost if head.is_cancelled => {
                "the run is cancelled: nothing is started again".into()
            }
            FleetOrder::Repost => {
                (schedule.is_paused, head.is_paused) = (false, false);
                match schedule.order_repost() {
                    0 => "no start is in doubt: nothing is started again".into(),
                    n => format!("{n} in doubt: started again unless one more look finds them"),
                }
            }
        }
    }
}

/// Cancels the one device of that id; returns what is to be told.
fn cancel_named(schedule: &mut Schedule, id: &str, now: WallTime) -> String {
    let &[place] = schedule.devices_named(id).as_slice() else {
        return format!("no device of this run alone is {id}");
    };
    let mut devices = schedule.devices();
    let device = devices.nth(place.saturating_sub(1) as usize);
    let told = device.map(|device| match &device.state {
        DeviceState::Settled { outcome, .. } => {
            format!("{} is over already: {outcome}", device.planned.name)
        }
        _ => format!("{} is cancelled", device.planned.name),
    });
    drop(devices);
    schedule.cancel_device(place, now);
    told.unwrap_or_default()
}

/// Cancels what is due, a few at a time: a person's word and the sessions that
/// parking frees wait neither for the looking nor behind a call that hangs.
/// Never ends by itself.
async fn cancel_due(
    session: &Arc<CollectSession>,
    fleet: &Arc<FleetRunner>,
) -> Result<(), CollectError> {
    let mut under_way = JoinSet::new();
    loop {
        let due = fleet.lock().due_cancellations(session.api.clock.now());
        if !due.is_empty() {
            fleet.keep(session).await?;
        }
        for due in due {
            while under_way.len() >= CANCELS_MAX {
                done(under_way.join_next().await)?;
            }
            under_way.spawn(cancel(session.clone(), fleet.clone(), due));
        }
        while let Some(ended) = under_way.try_join_next() {
            done(Some(ended))?;
        }
        fleet.pause(session.api.clock).await;
    }
}

fn done(ended: Option<Result<Result<(), CollectError>, JoinError>>) -> Result<(), CollectError> {
    match ended {
        Some(Err(panic)) => Err(CollectError::Worker(panic.to_string())),
        Some(Ok(cancelled)) => cancelled,
        None => Ok(()),
    }
}

/// One call; what fails is due again in a minute.
async fn cancel(
    session: Arc<CollectSession>,
    fleet: Arc<FleetRunner>,
    due: SessionCancel,
) -> Result<(), CollectError> {
    let path = format!("machineactions/{}/cancel", due.action);
    let comment = serde_json::json!({"Comment": fleet.cancel_comment(due.reason)});
    let body = comment.to_string().into_bytes();
    let ask = ApiRequest::post(ApiCall::Cancel, session.api.url(&path), body);
    let answer = match due.reason {
        CancelReason::Requested => session.api.call(&ask).await.map(drop),
        CancelReason::Parked => cancel_if_it_waits(&session, &fleet, due, &ask).await,
    };
    match answer {
        Err(CallError::Fatal(error)) => Err(error),
        Err(CallError::Service(e)) if e.status == 403 => {
            session
                .api
                .counters
                .notify(format!("action {} cannot be cancelled: {e}", due.action));
            fleet.lock().cancellation_forbidden(due.index);
            Ok(())
        }
        // Done, or over already, or to be tried again: the list tells.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// A device may have come while the call waited for its budget or for the host.
async fn cancel_if_it_waits(
    session: &CollectSession,
    fleet: &FleetRunner,
    due: SessionCancel,
    ask: &ApiRequest,
) -> Result<(), CallError> {
    let (ticket, token) = session.api.acquire(ApiCall::Cancel).await?;
    let now = session.api.clock.now();
    if !fleet.lock().is_still_pending(due.index, due.action, now) {
        ticket.release_unused();
        return Ok(());
    }
    match session.api.send(ask, ticket, &token).await {
        Err(CallError::Service(e)) if e.status == 401 => {
            let renewed = session.api.tokens.renew(&token).await;
            renewed.map(drop).map_err(CallError::Fatal)
        }
        answer => answer.map(drop),
    }
}

impl FleetRunner {
    fn cancel_comment(&self, why: CancelReason) -> String {
        let id = self.lock().id;
        match why {
            CancelReason::Parked => format!("afteraction {id}: the device is away"),
            CancelReason::Requested => format!("afteraction {id}: cancelled"),
        }
    }
}
