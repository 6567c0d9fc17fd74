//! A run under way: does what the schedule decides, beside the collecting.
//!
//! Three things go on at once: the lister shows every list to the schedule,
//! [`start_all`] starts sessions, [`tend`] cancels, parks, takes a person's
//! orders and keeps the record.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, watch};

use super::record::to_value;
use super::report::{FleetReport, report};
use super::schedule::{Answer, Schedule, Start};
use super::{Counts, FleetOrder, FleetRecord, RunRecord, RunState, survey};
use crate::collect::api::{Ask, CallError};
use crate::collect::budget::{STARTS_PER_MINUTE, Ticket};
use crate::collect::clock::{Clock, Moment};
use crate::collect::pump::{self, Run};
use crate::collect::{
    Call, CollectError, Events, Progress, SeenAction, Settings, Vault, VaultError,
};
use crate::evidence::{Action, ActionId, Time};

/// Answers waited for at a time: more never leave within a minute.
const IN_FLIGHT_MAX: usize = STARTS_PER_MINUTE;
/// When stopped, answers under way have so long, real time: what has none by
/// then is looked for when the run is gone on with.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// Between two looks at what could be started, service time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Between two looks at parked devices, service time.
const MACHINES_EVERY: Duration = Duration::from_secs(60);
/// The same where they are so many that whole lists are asked for.
const MANY_MACHINES_EVERY: Duration = Duration::from_secs(300);
/// More parked devices than this are not asked for by their ids.
const PARKED_BY_ID_MAX: usize = 100;
/// Machine ids in one filter: the address stays well under 2,000 characters.
const IDS_PER_QUERY: usize = 20;
/// A result was seen to be there about a minute after its command's end;
/// asking before costs a call of the scarcest budget.
const RESULT_USUAL: Duration = Duration::from_secs(60);
/// So many results can each be asked for several times within an hour.
const FEW_RESULTS: usize = 300;
/// Refused tokens in a row after which there is no use.
const REFUSED_TOKENS_MAX: u32 = 3;

/// A run and its record, shared by the parts of the collector.
pub(in crate::collect) struct Fleet {
    schedule: Mutex<Schedule>,
    head: Mutex<RunRecord>,
    record: Arc<dyn FleetRecord>,
    /// Something happened that may let a session start or a cancellation be
    /// due.
    happened: Notify,
    /// Held while the record is written, so that it is written in order.
    writing: tokio::sync::Mutex<()>,
    in_flight: Arc<Semaphore>,
    refused_tokens: AtomicU32,
}

/// Runs a fleet to its end and collects what comes of it; the same for a run
/// that is gone on with. `stop` set to true leaves it as it stands, to be gone
/// on with.
pub async fn run_fleet(
    settings: Settings,
    state: RunState,
    vault: Arc<dyn Vault>,
    record: Arc<dyn FleetRecord>,
    events: Events,
    stop: watch::Receiver<bool>,
) -> (FleetReport, Option<CollectError>) {
    let clock = Clock::new(settings.pace.time_scale);
    let mut settings = settings;
    settings.filter.comment = Some(state.run.id.mark());
    let schedule = Schedule::new(&state.run, state.devices, clock, clock.now());
    let fleet = Arc::new(Fleet {
        schedule: Mutex::new(schedule),
        head: Mutex::new(state.run),
        record,
        happened: Notify::new(),
        writing: tokio::sync::Mutex::default(),
        in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        refused_tokens: AtomicU32::new(0),
    });
    let (collected, failure) = pump::pump(settings, vault, events, stop, Some(fleet.clone())).await;
    let head = fleet.lock_head().clone();
    let report = report(&head, &fleet.lock(), clock, collected);
    (report, failure)
}

impl Fleet {
    pub fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_head(&self) -> MutexGuard<'_, RunRecord> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From when on the next list must reach back, by the service's clock.
    pub fn look_from(&self) -> Option<Timestamp> {
        self.lock().look_from()
    }

    pub fn owns(&self, action: ActionId) -> bool {
        self.lock().owns(action)
    }

    pub fn saw<'a>(&self, actions: impl Iterator<Item = &'a Action>, now: Moment) {
        let mut schedule = self.lock();
        actions.for_each(|action| schedule.saw(action, now));
    }

    pub fn listed(&self, date: Option<Timestamp>, began: Moment, now: Moment) {
        self.lock().listed(date, began, now);
        self.happened.notify_waiters();
    }

    /// Nothing is under way and nothing will be.
    pub fn is_at_rest(&self) -> bool {
        self.lock().is_at_rest()
    }

    /// How long after a command's end its link is asked for: at once, where
    /// the hour has calls to spare.
    pub fn first_ask_after(&self) -> Duration {
        let schedule = self.lock();
        let steps = schedule.devices().flat_map(|device| &device.planned.steps);
        let few = steps
            .filter(|step| step.has_result())
            .take(FEW_RESULTS + 1)
            .count();
        if few <= FEW_RESULTS {
            Duration::ZERO
        } else {
            RESULT_USUAL
        }
    }

    /// Actions of devices that are over: their results may still be missing.
    ///
    /// **Cost**: one look-up an action.
    pub async fn ended_actions(self: &Arc<Self>) -> Result<Vec<Action>, CollectError> {
        let ids: Vec<ActionId> = {
            let schedule = self.lock();
            let devices = schedule.devices();
            devices
                .flat_map(|d| d.actions().collect::<Vec<_>>())
                .collect()
        };
        let record = self.record.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let known = ids
                .into_iter()
                .filter_map(|id| record.action(id).transpose());
            known.collect::<Result<Vec<_>, _>>()
        });
        looked
            .await
            .map_err(|e| CollectError::Worker(e.to_string()))?
            .map_err(|e| CollectError::vault("look up the actions of the run", e))
    }

    /// Writes what has changed; returns once it is durable.
    async fn keep(&self, run: &Run) -> Result<(), CollectError> {
        let _order = self.writing.lock().await;
        let changed = self.lock().take_changed();
        let notes: Vec<_> = changed
            .iter()
            .map(|(place, record)| (*place, to_value(record)))
            .collect();
        self.note(run, notes).await
    }

    async fn keep_head(&self, run: &Run) -> Result<(), CollectError> {
        let _order = self.writing.lock().await;
        let head = to_value(&*self.lock_head());
        self.note(run, vec![(0, head)]).await
    }

    async fn note(
        &self,
        run: &Run,
        notes: Vec<(u32, serde_json::Value)>,
    ) -> Result<(), CollectError> {
        if notes.is_empty() {
            return Ok(());
        }
        let (record, id) = (self.record.clone(), self.lock().id);
        let notes = Arc::new(notes);
        loop {
            let (record, notes) = (record.clone(), notes.clone());
            let noted = tokio::task::spawn_blocking(move || record.note(id, &notes)).await;
            match noted.map_err(|e| CollectError::Worker(e.to_string()))? {
                Ok(()) => return Ok(()),
                Err(VaultError::DiskFull) if !run.is_halted() => run.wait_for_room(0).await,
                Err(error) => {
                    return Err(CollectError::vault(
                        "keep the record of the fleet run",
                        error,
                    ));
                }
            }
        }
    }
}

/// Starts sessions until the run halts or is at rest.
pub(in crate::collect) async fn start_all(run: Arc<Run>, fleet: Arc<Fleet>) {
    let started = run.unless_halted(start_each(&run, &fleet)).await;
    if let Some(Err(error)) = started {
        run.fail(error);
    }
    // What is under way ends by itself, or is left after a while.
    let _ = fleet.in_flight.acquire_many(IN_FLIGHT_MAX as u32).await;
    if let Err(error) = fleet.keep(&run).await {
        run.fail(error);
    }
}

async fn start_each(run: &Arc<Run>, fleet: &Arc<Fleet>) -> Result<(), CollectError> {
    while !run.queue.is_closed() {
        if !fleet.lock().could_start(run.clock.now()) {
            fleet.pause(run.clock).await;
            continue;
        }
        let permit = fleet.in_flight.clone().acquire_owned().await;
        let admitted = run.api.admit(Call::Run).await;
        let ticket = admitted.map_err(|e| e.into_fatal(Call::Run, &run.api.host))?;
        // What could be started when the wait began may not be now.
        let Some(start) = fleet.lock().next_start(run.clock.now()) else {
            ticket.unsent();
            continue;
        };
        fleet.keep(run).await?;
        let (run, fleet) = (run.clone(), fleet.clone());
        tokio::spawn(async move {
            let _permit = permit;
            tokio::select! {
                () = send(&run, &fleet, start, ticket) => {}
                () = run.halted_for(LAST_ANSWERS) => {}
            }
        });
    }
    Ok(())
}

impl Fleet {
    /// Until something happened, or for a moment.
    async fn pause(&self, clock: Clock) {
        tokio::select! {
            () = self.happened.notified() => {}
            () = clock.sleep(LOOK_EVERY) => {}
        }
    }
}

/// Sends one start and tells the schedule what came of it.
async fn send(run: &Run, fleet: &Fleet, start: Start, ticket: Ticket) {
    let path = format!("machines/{}/runliveresponse", start.machine_id);
    let body = start.body.to_string().into_bytes();
    let ask = Ask::post(Call::Run, run.api.url(&path), body);
    let answer = match ask_once(run, fleet, &ask, ticket).await {
        Ok(body) => match Action::from_json(&body) {
            Ok(action) => {
                note_action(run, &action, body).await;
                Answer::Created(Box::new(action))
            }
            Err(_) => Answer::Lost,
        },
        Err(answer) => answer,
    };
    let now = run.clock.now();
    fleet.lock().answered(start.place, answer, now);
    if let Err(error) = fleet.keep(run).await {
        run.fail(error);
    }
    fleet.happened.notify_waiters();
}

async fn ask_once(run: &Run, fleet: &Fleet, ask: &Ask, ticket: Ticket) -> Result<Vec<u8>, Answer> {
    let fatal = |error: CollectError, answer: Answer| {
        run.fail(error);
        answer
    };
    let token = match run.api.signer.bearer().await {
        Ok(token) => token,
        Err(error) => {
            ticket.unsent();
            return Err(fatal(error, Answer::Unsent));
        }
    };
    let error = match run.api.send(ask, ticket, &token).await {
        Ok(answer) => {
            fleet.refused_tokens.store(0, Ordering::Relaxed);
            return Ok(answer.body);
        }
        Err(error) => error,
    };
    Err(match error {
        CallError::Throttled => Answer::Throttled,
        CallError::Lost(_) => Answer::Unsent,
        CallError::Broken(_) | CallError::Odd(_) | CallError::BadLink(_) => Answer::Lost,
        CallError::Fatal(error) => fatal(error, Answer::Unsent),
        CallError::Service(e) if e.status == 401 => {
            let refused = fleet.refused_tokens.fetch_add(1, Ordering::Relaxed);
            match run.api.signer.renew(&token).await {
                Ok(_) if refused < REFUSED_TOKENS_MAX => Answer::Unsent,
                Ok(_) => fatal(CollectError::TokenSpent, Answer::Unsent),
                Err(error) => fatal(error, Answer::Unsent),
            }
        }
        CallError::Service(e) if e.status == 408 || e.status >= 500 => Answer::Lost,
        CallError::Service(e) if e.code.eq_ignore_ascii_case("ActiveRequestAlreadyExists") => {
            Answer::Busy
        }
        CallError::Service(e) => Answer::Refused(e.to_string()),
    })
}

/// The answer to a start is evidence, too.
async fn note_action(run: &Run, action: &Action, json: Vec<u8>) {
    let seen = [SeenAction {
        action: Arc::new(action.clone()),
        json: json.into(),
    }];
    let noted = run.with_vault("keep an action as received", move |vault| {
        vault.note_actions(&seen)
    });
    if let Err(error) = noted.await {
        run.fail(error);
    }
}

/// Everything besides starting, until the run halts or is at rest.
pub(in crate::collect) async fn tend(run: Arc<Run>, fleet: Arc<Fleet>) {
    let tended = run.unless_halted(tend_each(&run, &fleet)).await;
    if let Some(Err(error)) = tended {
        run.fail(error);
    }
}

async fn tend_each(run: &Run, fleet: &Arc<Fleet>) -> Result<(), CollectError> {
    let mut machines_at = Moment::default();
    let mut told = Counts::default();
    while !run.queue.is_closed() {
        take_orders(run, fleet).await?;
        cancel(run, fleet).await?;
        look_at_unseen(run, fleet).await;
        if run.clock.now() >= machines_at {
            machines_at = look_for_parked(run, fleet).await;
        }
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
        fleet.pause(run.clock).await;
    }
    Ok(())
}

async fn end(run: &Run, fleet: &Fleet) -> Result<(), CollectError> {
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
            }
            // Done, or over already, or to be tried again: the list tells.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

impl Fleet {
    fn cancel_comment(&self, why: super::Cancelling) -> String {
        let id = self.lock().id;
        match why {
            super::Cancelling::Parked => format!("afteraction {id}: the device is away"),
            super::Cancelling::Asked => format!("afteraction {id}: cancelled"),
        }
    }
}

async fn look_at_unseen(run: &Run, fleet: &Arc<Fleet>) {
    let unseen = fleet.lock().take_unseen(run.clock.now());
    for (place, id) in unseen {
        let ask = Ask::get(Call::Action, run.api.url(&format!("machineactions/{id}")));
        match run.api.call(&ask).await {
            Ok(answer) => {
                if let Ok(action) = Action::from_json(&answer.body) {
                    note_action(run, &action, answer.body).await;
                    fleet.lock().saw(&action, run.clock.now());
                }
            }
            Err(CallError::Service(e)) if e.status == 404 => {
                fleet.lock().forgotten(place, run.clock.now());
            }
            Err(_) => {}
        }
    }
}

/// Whether parked devices were seen again; returns when to look next.
async fn look_for_parked(run: &Run, fleet: &Arc<Fleet>) -> Moment {
    let parked = fleet.lock().parked();
    let many = parked.len() > PARKED_BY_ID_MAX;
    let filters: Vec<Option<String>> = if many {
        vec![None]
    } else {
        let groups = parked.chunks(IDS_PER_QUERY);
        groups.map(|ids| Some(any_id(ids))).collect()
    };
    for filter in filters {
        // What fails is looked at again next time.
        if let Ok((machines, _)) = survey::machines(&run.api, filter.as_deref()).await {
            fleet.lock().saw_machines(&machines);
        }
    }
    let wait = if many {
        MANY_MACHINES_EVERY
    } else {
        MACHINES_EVERY
    };
    run.clock.now().after(run.clock.real(wait))
}

fn any_id(ids: &[String]) -> String {
    let any: Vec<_> = ids
        .iter()
        .map(|id| format!("id eq '{}'", id.replace('\'', "''")))
        .collect();
    any.join(" or ")
}
