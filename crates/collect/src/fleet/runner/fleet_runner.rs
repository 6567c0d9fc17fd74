//! State of a run, shared by its tasks, and the writes of its record.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OnceCell};

use crate::clock::Clock;
use crate::fetch::session::CollectSession;
use crate::fleet::record::{FleetRecord, RunRecord, RunState, to_value};
use crate::fleet::runner::discovered::DiscoveredActions;
use crate::fleet::schedule::Schedule;
use crate::{CollectError, SinkError};

/// Interval of the checks for due decisions.
///
/// **Units**: service time.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// A run in progress.
pub(crate) struct FleetRunner {
    schedule: Mutex<Schedule>,
    header: Mutex<RunRecord>,
    pub(super) record: Arc<dyn FleetRecord>,
    /// Notified when a start or a cancellation may have become due.
    pub(super) changed: Notify,
    /// Held while entries are taken from the schedule and written, so that an
    /// older version of an entry never replaces a newer one.
    write_order: Mutex<()>,
    /// Actions to be handed to the collector.
    pub(super) discovered: DiscoveredActions,
    /// Whether the record accepts orders: as long as a session may be started.
    pub(super) accepts_orders: AtomicBool,
    /// Set once the sign-in was compared with the owner of the run.
    owner_checked: OnceCell<()>,
}

impl FleetRunner {
    pub fn new(state: RunState, record: Arc<dyn FleetRecord>, clock: Clock) -> Self {
        let schedule = Schedule::new(&state.run, state.devices, clock, clock.now());
        Self {
            schedule: Mutex::new(schedule),
            header: Mutex::new(state.run),
            record,
            changed: Notify::new(),
            write_order: Mutex::default(),
            discovered: DiscoveredActions::default(),
            accepts_orders: AtomicBool::new(true),
            owner_checked: OnceCell::new(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn lock_header(&self) -> MutexGuard<'_, RunRecord> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a decision may be due.
    pub async fn wait(&self, clock: Clock) {
        tokio::select! {
            () = self.changed.notified() => {}
            () = clock.sleep(CHECK_EVERY) => {}
        }
    }

    /// Records the owner of a new run.
    ///
    /// **Errors**: the run belongs to another tenant or application. The
    /// service would not list its sessions, and they would seem lost.
    pub async fn check_owner(
        self: &Arc<Self>,
        session: &CollectSession,
    ) -> Result<(), CollectError> {
        let check = || async {
            let Some(owner) = signed_in_owner(session).await? else {
                return Ok(());
            };
            let recorded = self.lock_header().owner.clone();
            match recorded {
                Some(recorded) if recorded != owner => Err(CollectError::Setting {
                    setting: "sign-in",
                    why: format!("the run belongs to {recorded}, not to {owner}"),
                }),
                Some(_) => Ok(()),
                None => {
                    self.lock_header().owner = Some(owner);
                    self.write_header(session).await
                }
            }
        };
        self.owner_checked.get_or_try_init(check).await.map(|_| ())
    }

    /// Writes the changed entries; they are durable when it returns.
    pub async fn write_changes(
        self: &Arc<Self>,
        session: &CollectSession,
    ) -> Result<(), CollectError> {
        self.write(session, Self::write_changes_blocking).await
    }

    /// Writes the header; it is durable when it returns.
    pub async fn write_header(
        self: &Arc<Self>,
        session: &CollectSession,
    ) -> Result<(), CollectError> {
        self.write(session, Self::write_header_blocking).await
    }

    fn write_changes_blocking(&self) -> Result<(), SinkError> {
        let _order = self.lock_write_order();
        let (id, changed) = {
            let mut schedule = self.lock();
            (schedule.id, schedule.take_changed())
        };
        if changed.is_empty() {
            return Ok(());
        }
        let entries: Vec<_> = changed
            .iter()
            .map(|(index, device)| (*index, to_value(device)))
            .collect();
        let written = self.record.write_entries(id, &entries);
        if written.is_err() {
            let indexes = changed.iter().map(|(index, _)| *index);
            self.lock().mark_changed(indexes);
        }
        written
    }

    fn write_header_blocking(&self) -> Result<(), SinkError> {
        let _order = self.lock_write_order();
        let (id, header) = (self.lock().id, to_value(&*self.lock_header()));
        self.record.write_entries(id, &[(0, header)])
    }

    fn lock_write_order(&self) -> MutexGuard<'_, ()> {
        self.write_order
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes on a worker thread; waits while the disk is full.
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
                    session.sink.wait_for_space(0).await;
                }
                Err(error) => {
                    let doing = "write the record of the fleet run";
                    return Err(CollectError::sink(doing, error));
                }
            }
        }
    }
}

/// Tenant and application of the sign-in; `None` if neither the token nor the
/// settings contain them.
async fn signed_in_owner(session: &CollectSession) -> Result<Option<String>, CollectError> {
    let (tenant, application) = session.api.tokens.identity().await?;
    Ok(tenant
        .zip(application)
        .map(|(tenant, application)| format!("{tenant} {application}").to_ascii_lowercase()))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::atomic::Ordering;

    use super::*;
    use crate::fetch::source::ResultSource;
    use crate::fleet::schedule::StartResponse;
    use crate::fleet::{
        FleetOrder, FleetPlan, FleetRules, LowerBound, PlannedDevice, RunId, Workload,
    };
    use evidence::{Action, ActionId, Time};

    /// A record in memory whose disk can be full.
    #[derive(Default)]
    struct TestRecord {
        is_full: AtomicBool,
        entries: Mutex<Vec<(u32, serde_json::Value)>>,
    }

    impl FleetRecord for TestRecord {
        fn write_entries(
            &self,
            _: RunId,
            entries: &[(u32, serde_json::Value)],
        ) -> Result<(), SinkError> {
            if self.is_full.load(Ordering::SeqCst) {
                return Err(SinkError::DiskFull);
            }
            self.entries.lock().unwrap().extend_from_slice(entries);
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
        with_record(Arc::new(TestRecord::default()))
    }

    fn with_record(record: Arc<TestRecord>) -> Arc<FleetRunner> {
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
    fn entry_whose_write_failed_is_written_by_the_next_write() {
        let (record, clock) = (Arc::new(TestRecord::default()), Clock::new(1.0));
        let fleet = with_record(record.clone());
        fleet.list_completed(None, clock.now(), clock.now());
        let start = fleet.lock().next_start(clock.now()).unwrap();
        record.is_full.store(true, Ordering::SeqCst);
        assert!(fleet.write_changes_blocking().is_err());
        fleet
            .lock()
            .handle_start_response(start.index, StartResponse::Missing, clock.now());
        record.is_full.store(false, Ordering::SeqCst);
        fleet.write_changes_blocking().unwrap();
        fleet.write_changes_blocking().unwrap();
        let entries = record.entries.lock().unwrap();
        assert_eq!(entries.len(), 1, "an unchanged entry is not written again");
        assert_eq!(entries[0].1["state"]["state"], "lost");
    }
}
