//! Sessions that no list brought: the answer to a start, a look by id, a
//! machine's own list. They are kept as received, within the bounds of what
//! lists bring, and handed to the lister, which alone plans what is fetched.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ReceivedAction;
use crate::fetch::session::CollectSession;
use crate::fleet::runner::FleetRunner;
use crate::service::list;
use evidence::Action;

/// Kept, and not planned from yet.
///
/// **Memory**: what a few seconds of calls bring.
#[derive(Default)]
pub(crate) struct DiscoveredActions(Mutex<Vec<Action>>);

impl DiscoveredActions {
    fn lock(&self) -> MutexGuard<'_, Vec<Action>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

impl FleetRunner {
    /// Keeps an action: what the schedule is told after this is planned from
    /// before the run is at rest. What is too large is told, and its results
    /// are not fetched.
    pub(crate) async fn keep_found(
        &self,
        session: &CollectSession,
        action: &Action,
        json: Vec<u8>,
    ) {
        if !list::is_storable(action, &json) {
            return session.api.counters.notify(format!(
                "what the service says of action {} is too large to keep",
                action.id
            ));
        }
        let seen = [ReceivedAction {
            action: Arc::new(action.clone()),
            json: json.into(),
        }];
        let noted = session
            .sink
            .call("keep an action as received", move |sink| {
                sink.record_actions(&seen)
            });
        match noted.await {
            Ok(()) => self.inbox.lock().push(action.clone()),
            Err(error) => session.shutdown.fail(error),
        }
    }

    /// What was found since the last time.
    pub fn take_found(&self) -> Vec<Action> {
        std::mem::take(&mut *self.inbox.lock())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::fetch::session::tests::{EmptySink, action, idle_session};
    use crate::fetch::source::ResultSource;
    use crate::fleet::runner::tests::fleet;

    #[tokio::test]
    async fn what_is_found_keeps_the_run_from_rest_and_has_the_bounds_of_a_list() {
        let state = tempfile::tempdir().unwrap();
        let session = idle_session(Arc::new(EmptySink::default()), state.path()).await;
        let fleet = fleet();
        fleet
            .hears
            .store(false, std::sync::atomic::Ordering::Release);
        fleet.lock().is_paused = true;
        assert!(fleet.is_finished());
        fleet.keep_found(&session, &action(1), b"{}".to_vec()).await;
        assert!(!fleet.is_finished(), "nothing is planned from it yet");
        assert_eq!(fleet.take_found(), [action(1)]);
        assert!(fleet.is_finished());
        // Small as received, and megabytes as read.
        let mut monster = action(2);
        monster.commands = vec![monster.commands[0].clone(); 20_000];
        fleet.keep_found(&session, &monster, b"{}".to_vec()).await;
        assert!(fleet.take_found().is_empty());
        let notices = session.api.counters.report().notices;
        assert!(notices[0].contains("too large to keep"), "{notices:?}");
        assert!(
            !session.shutdown.is_stopped(),
            "it is no reason to end the run"
        );
    }
}
