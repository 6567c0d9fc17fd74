//! Sources of results: the actions that a filter selects, or the live response
//! sessions of a fleet run.
//!
//! The collector lists, plans and downloads; the source decides which part of
//! the action list to read and is notified of everything that was read.

use jiff::Timestamp;

use crate::SinkError;
use crate::clock::WallTime;
use crate::fetch::poll_interval::ExpectedResults;
use crate::service::list::{ListWindow, ListedActions};
use evidence::{Action, ActionId};

/// A source of results. All methods are called from async tasks and return at
/// once, except [`ResultSource::recorded_actions`].
pub(crate) trait ResultSource: Send + Sync + 'static {
    /// The part of the action list that the next poll reads. `changed_since`
    /// excludes actions that can no longer change; it is `None` if the whole
    /// list is due.
    fn next_window(&self, changed_since: Option<Timestamp>, listed: &ListedActions) -> ListWindow;

    /// Actions recorded by an earlier process. They are planned even if no
    /// list contains them. Blocks; called once, on a worker thread.
    fn recorded_actions(&self) -> Result<Vec<Action>, SinkError> {
        Ok(Vec::new())
    }

    /// Whether an action belongs to the source although the filter of the
    /// settings does not select it.
    fn owns(&self, _action: ActionId) -> bool {
        false
    }

    /// Called with the actions of a page after the sink has stored them:
    /// the selected ones, and open ones of other origin.
    fn seen(&self, _actions: &mut dyn Iterator<Item = &Action>, _now: WallTime) {}

    /// Called when a poll has read the list to its end. Returns actions that
    /// became known outside of lists since the last call.
    ///
    /// `server_time` is the service's clock at the beginning of the list,
    /// `began` and `now` are ours at its beginning and end.
    fn list_completed(
        &self,
        _server_time: Option<Timestamp>,
        _began: WallTime,
        _now: WallTime,
    ) -> Vec<Action> {
        Vec::new()
    }

    /// Whether results of an action must not be planned yet.
    fn is_deferred(&self, _action: ActionId) -> bool {
        false
    }

    /// The results to expect, given `queued` unfinished ones in the queue, to
    /// pace the requests for them. `None`: a result is requested as soon as
    /// its command is listed as completed.
    fn expected_results(&self, _queued: u64) -> Option<ExpectedResults> {
        None
    }

    /// Whether the source will never contribute another result. Polling ends
    /// when this is true before and after a poll.
    fn is_finished(&self) -> bool {
        false
    }

    /// Describes an action that should be listed but is not. New actions stay
    /// invisible for up to two minutes, so the list is read again.
    fn missing(&self, _listed: &ListedActions) -> Option<String> {
        None
    }

    /// The devices and actions of the source that no list has shown.
    fn unmatched(&self, listed: &ListedActions) -> Unmatched;
}

/// Devices and actions without a listed action.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Unmatched {
    /// Device names and action ids, for the report.
    pub names: Vec<String>,
    /// One sentence each, for the user.
    pub notices: Vec<String>,
}
