//! Lists of actions: the query, the pages, and the merge of pages that move
//! while they are read.
//!
//! An action that one list does not show may still exist.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use crate::error::clean;
use crate::service::package;
use crate::settings::ActionFilter;
use crate::sink::ReceivedAction;
use evidence::{Action, ActionId};

/// Ids in one query: the address stays well below 2,000 characters.
pub(crate) const IDS_PER_QUERY: usize = 20;

/// Pages of one list. A list without an end is truncated here.
pub(crate) const PAGES_MAX: usize = 10_000;

/// Largest action that is stored, both as received and as parsed: thousands of
/// times the usual size. The sink accepts facts of twice this size,
/// and facts repeat their action.
///
/// **Units**: bytes of JSON.
pub(crate) const ACTION_BYTES_MAX: usize = 512 * 1024;

/// A page of actions, each byte for byte as received.
#[derive(Deserialize)]
pub(crate) struct ActionPage<'a> {
    #[serde(borrow)]
    pub value: Vec<&'a RawValue>,
    #[serde(rename = "@odata.nextLink", default)]
    pub next: Option<String>,
    #[serde(rename = "@odata.count", default)]
    pub count: Option<u64>,
}

impl<'a> ActionPage<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Result<Self, String> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        // The parser's message may quote the body.
        serde_json::from_slice(body).map_err(|e| clean(&e.to_string()))
    }
}

/// The part of the action list to read, within the filter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ListWindow {
    /// Actions created since this time.
    pub created_since: Option<Timestamp>,
    /// Open actions of any age as well; without `created_since` only these.
    pub include_open: bool,
}

/// Addresses of the first pages of the lists that cover `filter`.
pub(crate) fn first_page_urls(base: &Url, filter: &ActionFilter, window: ListWindow) -> Vec<Url> {
    let shared = conditions(filter, window);
    let queries: Vec<Vec<String>> = if filter.actions.is_empty() {
        vec![shared]
    } else {
        filter
            .actions
            .chunks(IDS_PER_QUERY)
            .map(|ids| {
                let ids: Vec<_> = ids.iter().map(|id| format!("id eq {id}")).collect();
                let any_id = format!("({})", ids.join(" or "));
                shared.iter().cloned().chain([any_id]).collect()
            })
            .collect()
    };
    queries
        .into_iter()
        .map(|conditions| {
            let mut url = base.clone();
            let path = base.path().trim_end_matches('/');
            url.set_path(&format!("{path}/api/machineactions"));
            let filter = conditions.join(" and ");
            url.set_query(Some(&format!("$filter={filter}&$count=true")));
            url
        })
        .collect()
}

fn conditions(filter: &ActionFilter, window: ListWindow) -> Vec<String> {
    let mut all = vec![format!("type eq '{}'", filter.action_type())];
    let since = filter
        .since
        .max(window.created_since)
        .map(|since| format!("creationDateTimeUtc ge {since}"));
    if window.include_open {
        let open = ["status eq 'Pending'", "status eq 'InProgress'"].map(String::from);
        let any: Vec<_> = since.into_iter().chain(open).collect();
        all.push(format!("({})", any.join(" or ")));
    } else {
        all.extend(since);
    }
    if let Some(until) = filter.until {
        all.push(format!("creationDateTimeUtc lt {until}"));
    }
    all
}

/// The same list, oldest action first.
pub(crate) fn ordered_by_creation(first: &Url) -> Url {
    let mut url = first.clone();
    let query = first.query().unwrap_or("");
    url.set_query(Some(&format!("{query}&$orderby=creationDateTimeUtc asc")));
    url
}

/// Address of the next page: path and query of `next` on the API host,
/// even if `next` names another one, which must not receive the token.
pub(crate) fn next_page_url(base: &Url, next: &str) -> Option<Url> {
    let next = base.join(next).ok()?;
    let mut url = base.clone();
    url.set_path(next.path());
    url.set_query(next.query());
    Some(url)
}

/// All actions that the lists have shown so far.
#[derive(Default)]
pub(crate) struct ListedActions {
    actions: HashMap<ActionId, ListedAction>,
    /// The ids of the filter that were listed, whether or not the action
    /// matches the rest of the filter.
    listed_ids: HashSet<ActionId>,
    hasher: RandomState,
    /// Entries of the last poll that describe no action.
    pub unreadable: u64,
}

struct ListedAction {
    action: Arc<Action>,
    /// Hash of the JSON as received: a change is stored again.
    digest: u64,
}

/// Changes that a page makes to the listed actions.
#[derive(Default)]
pub(crate) struct PageChanges {
    /// New or changed actions, to be stored as received.
    pub changed: Vec<ReceivedAction>,
    /// Number of ids that no page of the pass has shown before.
    pub new_ids: u64,
    /// All selected actions of the page.
    pub selected: Vec<ActionId>,
    /// Open actions that the filter does not select.
    pub open_others: Vec<Action>,
}

impl ListedActions {
    /// Merges a page. An action is kept if the filter selects it or `is_owned`
    /// accepts it.
    pub(crate) fn merge(
        &mut self,
        page: &ActionPage<'_>,
        filter: &ActionFilter,
        is_owned: impl Fn(ActionId) -> bool,
        pass: &mut ListPass,
    ) -> PageChanges {
        let mut changes = PageChanges::default();
        for raw in &page.value {
            let json = raw.get().as_bytes();
            let Ok(mut action) = Action::from_json(json) else {
                pass.unreadable += 1;
                continue;
            };
            package::add_command(&mut action);
            let id = action.id;
            if filter.actions.contains(&id) {
                self.listed_ids.insert(id);
            }
            if filter.matches(&action) || is_owned(id) {
                if !self.insert_if_changed(action, json, &mut changes) {
                    pass.unreadable += 1;
                    continue;
                }
                changes.selected.push(id);
            } else if !action.is_final() {
                changes.open_others.push(action);
            }
            if pass.ids.insert(id) {
                changes.new_ids += 1;
            }
        }
        changes
    }

    /// Returns `false` if the action is too large to store.
    fn insert_if_changed(
        &mut self,
        action: Action,
        json: &[u8],
        changes: &mut PageChanges,
    ) -> bool {
        let digest = self.hasher.hash_one(json);
        if let Some(known) = self.actions.get(&action.id)
            && (known.digest == digest || is_older(&action, &known.action))
        {
            return true;
        }
        if !is_storable(&action, json) {
            return false;
        }
        let action = Arc::new(action);
        let listed = ListedAction {
            action: action.clone(),
            digest,
        };
        self.actions.insert(action.id, listed);
        changes.changed.push(ReceivedAction {
            action,
            json: json.into(),
        });
        true
    }

    /// Inserts an action that was recorded outside of lists or by an earlier
    /// process, unless a later state of it is known.
    pub(crate) fn insert_recorded(&mut self, mut action: Action) {
        package::add_command(&mut action);
        let known = self.actions.get(&action.id);
        if known.is_some_and(|known| is_older(&action, &known.action)) {
            return;
        }
        let listed = ListedAction {
            action: Arc::new(action),
            digest: 0,
        };
        self.actions.insert(listed.action.id, listed);
    }

    pub(crate) fn get(&self, id: ActionId) -> Option<&Action> {
        self.actions.get(&id).map(|listed| &*listed.action)
    }

    pub(crate) fn actions(&self) -> impl Iterator<Item = &Arc<Action>> {
        self.actions.values().map(|listed| &listed.action)
    }

    /// The given ids that no list has shown.
    pub(crate) fn missing(&self, ids: &[ActionId]) -> impl Iterator<Item = ActionId> {
        ids.iter()
            .copied()
            .filter(|id| !self.listed_ids.contains(id))
    }

    pub(crate) fn len(&self) -> u64 {
        self.actions.len() as u64
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// Creation time of the oldest action that may still change.
    pub(crate) fn oldest_open(&self) -> Option<Timestamp> {
        self.open_created().min()
    }

    /// Creation times of the actions that may still change.
    pub(crate) fn open_created(&self) -> impl Iterator<Item = Timestamp> {
        self.actions()
            .filter(|action| !action.is_final())
            .filter_map(|action| action.created.as_ref()?.instant())
    }
}

/// Whether an action is small enough to store.
pub(crate) fn is_storable(action: &Action, json: &[u8]) -> bool {
    json.len() <= ACTION_BYTES_MAX && parsed_bytes(action) <= ACTION_BYTES_MAX
}

/// Length of a parsed action as JSON. A command of two bytes is parsed into a
/// hundred.
fn parsed_bytes(action: &Action) -> usize {
    serde_json::to_vec(action).map_or(usize::MAX, |json| json.len())
}

/// A string literal for `$filter`.
pub(crate) fn odata_string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Whether an action is older than the known state of it: a page that was read
/// late may show an earlier state.
fn is_older(action: &Action, known: &Action) -> bool {
    match (&action.updated, &known.updated) {
        (Some(update), Some(known)) => update < known,
        _ => known.is_final() && !action.is_final(),
    }
}

/// The ids that a list has shown, over all its passes.
#[derive(Default)]
pub(crate) struct ListPass {
    pub ids: HashSet<ActionId>,
    /// Entries of the current pass that describe no action.
    pub unreadable: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Url {
        Url::parse("http://127.0.0.1:8080").unwrap()
    }

    fn created_since(time: &str) -> ListWindow {
        ListWindow {
            created_since: time.parse().ok(),
            include_open: false,
        }
    }

    #[test]
    fn window_with_open_actions_lists_them_at_any_age() {
        let window = ListWindow {
            include_open: true,
            ..created_since("2026-01-02T00:00:00Z")
        };
        let query = |window| {
            let pages = first_page_urls(&base(), &ActionFilter::default(), window);
            pages[0]
                .query()
                .unwrap()
                .replace("%20", " ")
                .replace("%27", "'")
        };
        assert_eq!(
            query(window),
            "$filter=type eq 'LiveResponse' and (creationDateTimeUtc ge 2026-01-02T00:00:00Z or status eq 'Pending' or status eq 'InProgress')&$count=true"
        );
        assert_eq!(
            query(ListWindow {
                created_since: None,
                ..window
            }),
            "$filter=type eq 'LiveResponse' and (status eq 'Pending' or status eq 'InProgress')&$count=true"
        );
    }

    #[test]
    fn query_contains_type_time_and_ids() {
        let id: ActionId = "5382f7ea-7557-4ab7-9782-d50480024a4e".parse().unwrap();
        let filter = ActionFilter {
            since: "2026-01-01T00:00:00Z".parse().ok(),
            actions: vec![id; 21],
            ..ActionFilter::default()
        };
        let pages = first_page_urls(&base(), &filter, created_since("2026-01-02T00:00:00Z"));
        assert_eq!(pages.len(), 2);
        assert_eq!(
            pages[1].as_str(),
            format!(
                "http://127.0.0.1:8080/api/machineactions?$filter=type%20eq%20%27LiveResponse%27%20and%20creationDateTimeUtc%20ge%202026-01-02T00:00:00Z%20and%20(id%20eq%20{id})&$count=true"
            )
        );
    }

    #[test]
    fn next_page_is_requested_from_the_api_host() {
        for next in [
            "https://evil.example/api/machineactions?$skip=2",
            "/api/machineactions?$skip=2",
        ] {
            assert_eq!(
                next_page_url(&base(), next).unwrap().as_str(),
                "http://127.0.0.1:8080/api/machineactions?$skip=2"
            );
        }
    }

    #[test]
    fn actions_are_merged_by_id_and_kept_as_received() {
        let body = br#"{"@odata.count":3,"value":[
            {"id":"5382f7ea-7557-4ab7-9782-d50480024a4e",  "status":"InProgress"},
            {"id":"5382f7ea-7557-4ab7-9782-d50480024a4e","status":"Succeeded"},
            {"id":"5382f7ea-7557-4ab7-9782-d50480024a4e","status":"Pending"}, {"id":7}]}"#;
        let page = ActionPage::parse(body).unwrap();
        let (mut listed, mut pass) = (ListedActions::default(), ListPass::default());
        let mut merge = || listed.merge(&page, &ActionFilter::default(), |_| false, &mut pass);
        let first = merge();
        assert_eq!((first.changed.len(), first.new_ids), (2, 1));
        assert_eq!(
            &*first.changed[0].json,
            br#"{"id":"5382f7ea-7557-4ab7-9782-d50480024a4e",  "status":"InProgress"}"#
        );
        assert_eq!(merge().new_ids, 0);
        assert_eq!(pass.unreadable, 2, "one per merge");
        assert!(listed.actions().all(|action| action.is_final()));
    }

    #[test]
    fn action_too_large_to_store_is_skipped_and_the_rest_of_the_page_kept() {
        let long = |n: usize| "a".repeat(n);
        for too_large in [
            format!(r#""x":"{}""#, long(ACTION_BYTES_MAX)),
            // Small as received, megabytes as parsed.
            format!(r#""commands":[{}0]"#, "0,".repeat(20_000)),
        ] {
            let id = "5382f7ea-7557-4ab7-9782-d50480024a4e";
            let body = format!(
                r#"{{"value":[{{"id":"{}",{too_large}}},{{"id":"{id}"}}]}}"#,
                id.replace('5', "6")
            );
            let page = ActionPage::parse(body.as_bytes()).unwrap();
            let (mut listed, mut pass) = (ListedActions::default(), ListPass::default());
            let changes = listed.merge(&page, &ActionFilter::default(), |_| true, &mut pass);
            assert_eq!((changes.changed.len(), changes.selected.len()), (1, 1));
            assert_eq!((pass.unreadable, pass.ids.len()), (1, 1));
        }
    }

    #[test]
    fn error_for_an_invalid_page_is_short_and_omits_tokens() {
        let error_for = |text: String| {
            let body = serde_json::json!({ "value": text }).to_string();
            ActionPage::parse(body.as_bytes()).err().unwrap()
        };
        assert!(error_for("x".repeat(10_000)).len() < 400);
        assert!(!error_for("eyJsecret".into()).contains("eyJ"));
    }
}
