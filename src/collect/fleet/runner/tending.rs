//! Everything besides starting: a person's orders, cancellations, the record,
//! the end.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Fleet, looking};
use crate::collect::api::{Ask, CallError};
use crate::collect::clock::Moment;
use crate::collect::fleet::{Cancelling, Counts, FleetOrder};
use crate::collect::pump::Run;
use crate::collect::{Call, CollectError, Progress};
use crate::evidence::Time;

/// Everything besides starting, until the run halts or is at rest.
pub(in crate::collect) async fn tend(run: Arc<Run>, fleet: Arc<Fleet>) {
    let tended = run.unless_halted(tend_all(&run, &fleet)).await;
    if let Some(Err(error)) = tended {
        run.fail(error);
    }
}

/// A person is heard and the record kept while calls wait for their budgets.
async fn tend_all(run: &Run, fleet: &Arc<Fleet>) -> Result<(), CollectError> {
    fleet.check_owner(run).await?;
    tokio::select! {
        ended = keep_and_tell(run, fleet) => ended,
        failed = act(run, fleet) => failed,
    }
}

/// Ends with the run.
async fn keep_and_tell(run: &Run, fleet: &Arc<Fleet>) -> Result<(), CollectError> {
    let mut told = Counts::default();
    loop {
        take_orders(run, fleet).await?;
        fleet.has_heard.store(true, Ordering::Release);
        fleet.keep(run).await?;
        let (notices, counts) = {
            let mut schedule = fleet.lock();
            (schedule.take_notices(), schedule.counts())
        };
        notices.into_iter().for_each(|text| run.tally.notice(text));
        if counts != told {
            told = counts;
            run.tally.tell(Progress::Fleet(counts));
        }
        if fleet.lock().is_over() {
            return end(run, fleet).await;
        }
        if run.queue.is_closed() {
            return Ok(());
        }
        fleet.pause(run.clock).await;
    }
}

/// Calls that are due, each waiting for its own budget; never ends by itself.
async fn act(run: &Run, fleet: &Arc<Fleet>) -> Result<(), CollectError> {
    let mut machines_at = Moment::default();
    loop {
        cancel(run, fleet).await?;
        looking::look_at_unseen(run, fleet).await;
        looking::look_for_lost(run, fleet).await;
        if run.clock.now() >= machines_at {
            machines_at = looking::look_for_parked(run, fleet).await;
        }
        fleet.pause(run.clock).await;
    }
}

async fn end(run: &Run, fleet: &Arc<Fleet>) -> Result<(), CollectError> {
    let over = Time::from_instant(run.clock.now().timestamp());
    fleet.lock_head().over.get_or_insert(over);
    fleet.keep_head(run).await
}

async fn take_orders(run: &Run, fleet: &Arc<Fleet>) -> Result<(), CollectError> {
    let (record, id) = (fleet.record.clone(), fleet.lock().id);
    let orders = tokio::task::spawn_blocking(move || record.take_orders(id))
        .await
        .map_err(|e| CollectError::Worker(e.to_string()))?
        .map_err(|e| CollectError::vault("read what was ordered", e))?;
    if orders.is_empty() {
        return Ok(());
    }
    let now = run.clock.now();
    for order in &orders {
        run.tally.notice(fleet.obey(order, now));
    }
    fleet.keep_head(run).await?;
    fleet.keep(run).await?;
    fleet.happened.notify_waiters();
    Ok(())
}

impl Fleet {
    /// Does what a person says; returns what is to be told.
    fn obey(&self, order: &FleetOrder, now: Moment) -> String {
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
            FleetOrder::CancelDevice(name) => {
                let places = schedule.places_of(name);
                places
                    .iter()
                    .for_each(|place| schedule.cancel_device(*place, now));
                match places.len() {
                    0 => format!("no device {name} in this run"),
                    _ => format!("{name} is cancelled"),
                }
            }
            FleetOrder::Repost => {
                (schedule.is_paused, head.is_paused) = (false, false);
                match schedule.repost_lost() {
                    0 => "no start is in doubt: nothing is started again".into(),
                    n => format!("{n} in doubt: started again unless one more look finds them"),
                }
            }
        }
    }
}

/// One call each; what fails is due again in a minute.
async fn cancel(run: &Run, fleet: &Arc<Fleet>) -> Result<(), CollectError> {
    let due = fleet.lock().due_to_cancel(run.clock.now());
    if due.is_empty() {
        return Ok(());
    }
    fleet.keep(run).await?;
    for cancel in due {
        let url = run
            .api
            .url(&format!("machineactions/{}/cancel", cancel.action));
        let comment = serde_json::json!({"Comment": fleet.cancel_comment(cancel.why)});
        let ask = Ask::post(Call::Cancel, url, comment.to_string().into_bytes());
        match run.api.call(&ask).await {
            Err(CallError::Fatal(error)) => return Err(error),
            Err(CallError::Service(e)) if e.status == 403 => {
                run.tally
                    .notice(format!("action {} cannot be cancelled: {e}", cancel.action));
                fleet.lock().cancel_refused(cancel.place);
            }
            // Done, or over already, or to be tried again: the list tells.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

impl Fleet {
    fn cancel_comment(&self, why: Cancelling) -> String {
        let id = self.lock().id;
        match why {
            Cancelling::Parked => format!("afteraction {id}: the device is away"),
            Cancelling::Asked => format!("afteraction {id}: cancelled"),
        }
    }
}
