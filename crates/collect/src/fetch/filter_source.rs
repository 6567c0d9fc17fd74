//! The source of a plain collection: the actions that a filter selects.

use jiff::Timestamp;

use crate::ActionFilter;
use crate::fetch::source::{ResultSource, Unmatched};
use crate::service::list::{ListWindow, ListedActions};
use crate::settings::ran_on;

/// The actions that a filter selects.
pub(crate) struct FilterSource {
    filter: ActionFilter,
}

impl FilterSource {
    pub(crate) fn new(filter: ActionFilter) -> Self {
        Self { filter }
    }
}

impl ResultSource for FilterSource {
    fn next_window(&self, changed_since: Option<Timestamp>, _: &ListedActions) -> ListWindow {
        ListWindow {
            created_since: changed_since,
            include_open: false,
        }
    }

    fn missing(&self, listed: &ListedActions) -> Option<String> {
        if listed.is_empty() && self.filter.is_empty() {
            return Some("the service lists no action at all".into());
        }
        let ids: Vec<_> = listed.missing(&self.filter.actions).collect();
        let first = ids.first()?;
        let others = match ids.len() - 1 {
            0 => String::new(),
            n => format!(" and {n} others"),
        };
        Some(format!("the service does not list action {first}{others}"))
    }

    fn unmatched(&self, listed: &ListedActions) -> Unmatched {
        let is_absent = |device: &&String| !listed.actions().any(|action| ran_on(action, device));
        let devices: Vec<String> = self
            .filter
            .devices
            .iter()
            .filter(is_absent)
            .cloned()
            .collect();
        let mut notices: Vec<String> = devices
            .iter()
            .map(|device| format!("no action listed on {device} matches the filter"))
            .collect();
        let actions = listed.missing(&self.filter.actions);
        let names: Vec<String> = devices
            .into_iter()
            .chain(actions.map(|id| id.to_string()))
            .collect();
        if listed.is_empty() && !self.filter.is_empty() && names.is_empty() {
            notices.push("no action listed matches the filter".into());
        }
        Unmatched { names, notices }
    }
}
