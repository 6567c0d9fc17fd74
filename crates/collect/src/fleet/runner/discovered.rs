//! Actions that became known outside of the poller's lists: from the response
//! to a start, by id, or from the list of one machine.
//!
//! They are stored as received, within the size limits of listed actions, and
//! handed to the poller, which plans the downloads of all actions.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ReceivedAction;
use crate::fetch::session::CollectSession;
use crate::service::list;
use evidence::Action;

/// Stored actions that the poller has not taken yet.
///
/// **Memory**: the actions of the few seconds between two polls.
#[derive(Default)]
pub(crate) struct DiscoveredActions(Mutex<Vec<Action>>);

impl DiscoveredActions {
    /// Stores an action. The schedule must observe it only afterwards, so that
    /// the run does not end before its results are planned.
    ///
    /// If the action is too large, a notice is given and its results are not
    /// collected. If the sink fails, the session ends.
    pub async fn store(&self, session: &CollectSession, action: &Action, json: Vec<u8>) {
        if !list::is_storable(action, &json) {
            return session.api.counters.notify(format!(
                "action {} is too large to store: its results are not collected",
                action.id
            ));
        }
        let received = [ReceivedAction {
            action: Arc::new(action.clone()),
            json: json.into(),
        }];
        let stored = session.sink.call("store an action", move |sink| {
            sink.record_actions(&received)
        });
        match stored.await {
            Ok(()) => self.lock().push(action.clone()),
            Err(error) => session.shutdown.fail(error),
        }
    }

    /// Removes and returns all actions.
    pub fn take(&self) -> Vec<Action> {
        std::mem::take(&mut *self.lock())
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Action>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::Ordering;

    use crate::fetch::session::tests::{EmptySink, action, idle_session};
    use crate::fetch::source::ResultSource;
    use crate::fleet::runner::fleet_runner::tests::fleet;

    #[tokio::test]
    async fn run_is_not_finished_until_discovered_actions_are_taken() {
        let state_dir = tempfile::tempdir().unwrap();
        let session = idle_session(Arc::new(EmptySink::default()), state_dir.path()).await;
        let fleet = fleet();
        fleet.accepts_orders.store(false, Ordering::Release);
        fleet.lock().is_paused = true;
        assert!(fleet.is_finished());
        let json = b"{}".to_vec();
        fleet.discovered.store(&session, &action(1), json).await;
        assert!(!fleet.is_finished(), "the action is not planned yet");
        assert_eq!(fleet.discovered.take(), [action(1)]);
        assert!(fleet.is_finished());
    }

    #[tokio::test]
    async fn oversized_action_is_skipped_with_a_notice() {
        let state_dir = tempfile::tempdir().unwrap();
        let session = idle_session(Arc::new(EmptySink::default()), state_dir.path()).await;
        let fleet = fleet();
        // Small as received, megabytes when parsed.
        let mut oversized = action(2);
        oversized.commands = vec![oversized.commands[0].clone(); 20_000];
        let json = b"{}".to_vec();
        fleet.discovered.store(&session, &oversized, json).await;
        assert!(fleet.discovered.is_empty());
        let notices = session.api.counters.report().notices;
        assert!(notices[0].contains("too large to store"), "{notices:?}");
        assert!(!session.shutdown.is_stopped(), "the run continues");
    }
}
