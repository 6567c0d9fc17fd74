//! A run under way: does what the schedule decides, beside the collecting.
//!
//! Three things go on at once: the lister shows every list to the schedule,
//! [`start_all`] starts sessions, [`tend`] cancels, parks, looks for what was
//! lost, takes a person's orders and keeps the record.

mod discovered;
mod housekeeping;
mod reconcile;
mod source;
mod starts;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore, watch};

use crate::clock::Clock;
use crate::fetch::collector;
use crate::fetch::session::CollectSession;
use crate::fleet::record::to_value;
use crate::fleet::report::{FleetReport, report};
use crate::fleet::schedule::Schedule;
use crate::fleet::{FleetRecord, RunRecord, RunState};
use crate::service::rate_limit::STARTS_PER_MINUTE;
use crate::{CollectError, CollectSettings, Events, ResultSink, Secret, SinkError};

use crate::fleet::runner::discovered::DiscoveredActions;
use crate::fleet::runner::housekeeping::tend;
use crate::fleet::runner::starts::start_all;

/// Answers waited for at a time: more never leave within a minute.
const IN_FLIGHT_MAX: usize = STARTS_PER_MINUTE;
/// Between two looks at what could be started, service time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A run and its record, shared by the parts of the collector.
pub(crate) struct FleetRunner {
    schedule: Mutex<Schedule>,
    head: Mutex<RunRecord>,
    record: Arc<dyn FleetRecord>,
    /// Something happened that may let a session start or a cancellation be
    /// due.
    happened: Notify,
    /// Held while the record is written, so that it is written in order: by
    /// the thread that writes, which goes on when nobody waits for it any more.
    writing: Mutex<()>,
    /// Found outside of lists, for the lister.
    inbox: DiscoveredActions,
    in_flight: Arc<Semaphore>,
    refused: Mutex<TokenRejections>,
    /// Whether what a person orders is heard: while anything may be started.
    hears: AtomicBool,
    /// Set once the run is known to be of the tenant we are signed in to.
    owned: tokio::sync::OnceCell<()>,
}

/// Tokens the service refused since it took one.
#[derive(Default)]
struct TokenRejections {
    last: Option<Secret>,
    in_a_row: u32,
}

impl TokenRejections {
    /// Counts a token once, of however many starts that left with it; the same
    /// again where `next`, what came instead, is no other. Returns how many
    /// that makes.
    fn count(&mut self, token: &Secret, next: &Secret) -> u32 {
        if self.last.as_ref() != Some(token) || next == token {
            self.last = Some(token.clone());
            self.in_a_row += 1;
        }
        self.in_a_row
    }
}

/// Runs a fleet to its end and collects what comes of it; the same for a run
/// that is gone on with. `stop` set to true leaves it as it stands, to be gone
/// on with.
pub async fn run_fleet(
    settings: CollectSettings,
    state: RunState,
    sink: Arc<dyn ResultSink>,
    record: Arc<dyn FleetRecord>,
    events: Events,
    stop: watch::Receiver<bool>,
) -> (FleetReport, Option<CollectError>) {
    let clock = Clock::new(settings.pace.time_scale);
    let mut settings = settings;
    settings.filter.comment = Some(state.run.id.mark_prefix());
    let fleet = Arc::new(FleetRunner::new(state, record, clock));
    let source = fleet.clone();
    let background_tasks = |session: &Arc<CollectSession>| -> Vec<BoxFuture<'static, ()>> {
        vec![
            Box::pin(start_all(session.clone(), source.clone())),
            Box::pin(tend(session.clone(), source.clone())),
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
    let head = fleet.lock_head().clone();
    let report = report(&head, &fleet.lock(), clock, collected);
    (report, failure)
}

impl FleetRunner {
    fn new(state: RunState, record: Arc<dyn FleetRecord>, clock: Clock) -> Self {
        let schedule = Schedule::new(&state.run, state.devices, clock, clock.now());
        Self {
            schedule: Mutex::new(schedule),
            head: Mutex::new(state.run),
            record,
            happened: Notify::new(),
            writing: Mutex::default(),
            inbox: DiscoveredActions::default(),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            refused: Mutex::default(),
            hears: AtomicBool::new(true),
            owned: tokio::sync::OnceCell::new(),
        }
    }

    fn lock_refused(&self) -> MutexGuard<'_, TokenRejections> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_head(&self) -> MutexGuard<'_, RunRecord> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whose run it is, or refuses one of another tenant or application:
    /// there its sessions would look forgotten and its machines unknown.
    async fn check_owner(self: &Arc<Self>, session: &CollectSession) -> Result<(), CollectError> {
        let check = || async {
            let Some(owner) = owner(session).await? else {
                return Ok(());
            };
            let known = self.lock_head().owner.clone();
            match known {
                Some(known) if known != owner => Err(CollectError::Setting {
                    setting: "the sign-in",
                    why: format!("the run is of {known}, not of {owner}"),
                }),
                Some(_) => Ok(()),
                None => {
                    self.lock_head().owner = Some(owner);
                    self.keep_head(session).await
                }
            }
        };
        self.owned.get_or_try_init(check).await.map(|_| ())
    }

    /// Writes what has changed; returns once it is durable.
    async fn keep(self: &Arc<Self>, session: &CollectSession) -> Result<(), CollectError> {
        self.write(session, Self::write_changed).await
    }

    async fn keep_head(self: &Arc<Self>, session: &CollectSession) -> Result<(), CollectError> {
        self.write(session, Self::write_head).await
    }

    fn write_changed(&self) -> Result<(), SinkError> {
        let _order = self.lock_writing();
        let (id, changed) = {
            let mut schedule = self.lock();
            (schedule.id, schedule.take_changed())
        };
        if changed.is_empty() {
            return Ok(());
        }
        let notes = changed.iter().map(|(place, r)| (*place, to_value(r)));
        let noted = self.record.write_entries(id, &notes.collect::<Vec<_>>());
        if noted.is_err() {
            let places = changed.iter().map(|(place, _)| *place);
            self.lock().mark_changed(places);
        }
        noted
    }

    fn write_head(&self) -> Result<(), SinkError> {
        let _order = self.lock_writing();
        let (id, head) = (self.lock().id, to_value(&*self.lock_head()));
        self.record.write_entries(id, &[(0, head)])
    }

    fn lock_writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes on a thread of its own, waiting while the disk is full.
    async fn write(
        self: &Arc<Self>,
        session: &CollectSession,
        write: fn(&Self) -> Result<(), SinkError>,
    ) -> Result<(), CollectError> {
        loop {
            let fleet = self.clone();
            let written = tokio::task::spawn_blocking(move || write(&fleet)).await;
            match written.map_err(|e| CollectError::Worker(e.to_string()))? {
                Ok(()) => return Ok(()),
                Err(SinkError::DiskFull) if !session.shutdown.is_stopped() => {
                    session.sink.wait_for_space(0).await
                }
                Err(error) => {
                    return Err(CollectError::sink(
                        "keep the record of the fleet run",
                        error,
                    ));
                }
            }
        }
    }
}

impl FleetRunner {
    /// Until something happened, or for a moment.
    async fn pause(&self, clock: Clock) {
        tokio::select! {
            () = self.happened.notified() => {}
            () = clock.sleep(LOOK_EVERY) => {}
        }
    }
}

/// Tenant and application as the token tells them, or as was typed; `None`
/// where neither says.
async fn owner(session: &CollectSession) -> Result<Option<String>, CollectError> {
    let (tenant, application) = session.api.tokens.identity().await?;
    let both = tenant.zip(application);
    Ok(both.map(|(tenant, application)| format!("{tenant} {application}").to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::fetch::source::ResultSource;
    use crate::fleet::schedule::StartResponse;
    use crate::fleet::{
        FleetOrder, FleetPlan, FleetRules, LowerBound, PlannedDevice, RunId, Workload,
    };
    use evidence::{Action, ActionId, Time};

    /// Takes what it is given, unless it is full.
    #[derive(Default)]
    struct Notes {
        is_full: AtomicBool,
        kept: Mutex<Vec<(u32, serde_json::Value)>>,
    }

    impl FleetRecord for Notes {
        fn write_entries(
            &self,
            _: RunId,
            notes: &[(u32, serde_json::Value)],
        ) -> Result<(), SinkError> {
            if self.is_full.load(Ordering::SeqCst) {
                return Err(SinkError::DiskFull);
            }
            self.kept.lock().unwrap().extend_from_slice(notes);
            Ok(())
        }

        fn pending_orders(&self, _: RunId) -> Result<Vec<FleetOrder>, SinkError> {
            Ok(Vec::new())
        }

        fn remove_orders(&self, _: RunId, _: usize) -> Result<(), SinkError> {
            Ok(())
        }

        fn accept_orders(&self, _: RunId, _: bool) -> Result<bool, SinkError> {
            Ok(true)
        }

        fn find_action(&self, _: ActionId) -> Result<Option<Action>, SinkError> {
            Ok(None)
        }
    }

    /// A run of one device, before its first list.
    pub fn fleet() -> Arc<FleetRunner> {
        with_record(Arc::new(Notes::default()))
    }

    fn with_record(record: Arc<Notes>) -> Arc<FleetRunner> {
        let plan = FleetPlan {
            id: RunId::from_bytes([1; 8]),
            comment: "c".into(),
            devices: vec![PlannedDevice {
                machine_id: "m".into(),
                name: "ws".into(),
                steps: Vec::new(),
                likely_away: false,
                last_seen: None,
            }],
            bound: LowerBound::new(Workload::default()),
            warnings: Vec::new(),
        };
        let created = Time::from_text("2026-02-04T12:00:00Z");
        let state = RunState::new(plan, FleetRules::default(), "h".into(), created);
        Arc::new(FleetRunner::new(state, record, Clock::new(1.0)))
    }

    #[test]
    fn a_refused_token_counts_once_however_many_starts_left_with_it() {
        let [a, b, c] = ["a", "b", "c"].map(Secret::new);
        let mut refused = TokenRejections::default();
        assert_eq!((0..10).map(|_| refused.count(&a, &b)).max(), Some(1));
        assert_eq!(refused.count(&b, &c), 2);
        let always = (0..3).map(|_| refused.count(&c, &c));
        assert_eq!(always.collect::<Vec<_>>(), [3, 4, 5], "there is no other");
    }

    #[test]
    fn a_change_that_could_not_be_written_is_written_the_next_time() {
        let (record, clock) = (Arc::new(Notes::default()), Clock::new(1.0));
        let fleet = with_record(record.clone());
        fleet.list_completed(None, clock.now(), clock.now());
        let start = fleet.lock().next_start(clock.now()).unwrap();
        record.is_full.store(true, Ordering::SeqCst);
        assert!(fleet.write_changed().is_err());
        fleet
            .lock()
            .handle_start_response(start.index, StartResponse::Missing, clock.now());
        record.is_full.store(false, Ordering::SeqCst);
        fleet.write_changed().unwrap();
        fleet.write_changed().unwrap();
        let kept = record.kept.lock().unwrap();
        assert_eq!(kept.len(), 1, "what is written is not written again");
        assert_eq!(kept[0].1["state"]["state"], "lost");
    }
}
