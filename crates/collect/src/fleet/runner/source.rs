//! A fleet run as a source of results: its sessions are collected, and every
//! list that the collector reads updates the schedule.

use std::sync::atomic::Ordering;

use jiff::Timestamp;

use crate::SinkError;
use crate::clock::WallTime;
use crate::fetch::poll_interval::ExpectedResults;
use crate::fetch::poller::LIST_OVERLAP;
use crate::fetch::source::{ResultSource, Unmatched};
use crate::fleet::plan::lower_bound::{SESSIONS_MAX, TYPICAL_SESSION_TIME};
use crate::fleet::runner::fleet_runner::FleetRunner;
use crate::service::list::{ListWindow, ListedActions};
use evidence::{Action, ActionId};

impl ResultSource for FleetRunner {
    /// The sessions of the run, and every open session of the tenant, because
    /// foreign sessions count towards the limit.
    fn next_window(&self, _: Option<Timestamp>, listed: &ListedActions) -> ListWindow {
        let created_since = self.lock().list_since(listed.open_created());
        ListWindow {
            created_since: created_since.and_then(|from| from.checked_sub(LIST_OVERLAP).ok()),
            include_open: true,
        }
    }

    /// The recorded actions of all devices: their results may still be missing.
    ///
    /// **Cost**: one look-up per action.
    fn recorded_actions(&self) -> Result<Vec<Action>, SinkError> {
        let ids: Vec<ActionId> = self
            .lock()
            .devices()
            .flat_map(|device| device.actions().collect::<Vec<_>>())
            .collect();
        ids.into_iter()
            .filter_map(|id| self.record.find_action(id).transpose())
            .collect()
    }

    fn owns(&self, action: ActionId) -> bool {
        self.lock().owns(action)
    }

    fn seen(&self, actions: &mut dyn Iterator<Item = &Action>, now: WallTime) {
        let mut schedule = self.lock();
        actions.for_each(|action| schedule.observe_action(action, now));
    }

    fn list_completed(
        &self,
        server_time: Option<Timestamp>,
        began: WallTime,
        now: WallTime,
    ) -> Vec<Action> {
        self.lock().complete_list(server_time, began, now);
        self.changed.notify_waiters();
        self.discovered.take()
    }

    /// Whether a session has ended but not its work: its device was parked and
    /// gets another session, or the lists do not show all of its commands yet.
    fn is_deferred(&self, action: ActionId) -> bool {
        let schedule = self.lock();
        schedule.was_parked(action) || schedule.is_incomplete(action)
    }

    fn expected_results(&self, queued: u64) -> Option<ExpectedResults> {
        let (devices, results) = self.lock().remaining_work();
        let sessions_per_minute = SESSIONS_MAX as f64 * 60.0 / TYPICAL_SESSION_TIME.as_secs_f64();
        Some(ExpectedResults {
            queued,
            later: results,
            per_minute_max: sessions_per_minute * results as f64 / devices.max(1) as f64,
        })
    }

    /// Whether no session is open, none will be started, whatever a person
    /// orders, and the collector has planned every action that was found.
    fn is_finished(&self) -> bool {
        // A discovered action is stored before the schedule observes it, so
        // `discovered` is checked last.
        let is_idle = !self.accepts_orders.load(Ordering::Acquire) && self.lock().is_idle();
        is_idle && self.discovered.is_empty()
    }

    /// The sessions of settled devices that no list has shown.
    fn unmatched(&self, listed: &ListedActions) -> Unmatched {
        let schedule = self.lock();
        let unlisted = schedule
            .settled_sessions()
            .filter(|id| listed.get(*id).is_none());
        Unmatched {
            names: unlisted.map(|id| id.to_string()).collect(),
            notices: Vec::new(),
        }
    }
}
