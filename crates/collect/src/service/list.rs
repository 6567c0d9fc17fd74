//! Lists of actions: the query, the pages, and merging what unstable paging
//! brings. Absence from one list proves nothing.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use crate::error::clean;
use crate::service::package;
use crate::{ActionFilter, ReceivedAction};
use evidence::{Action, ActionId};

/// Ids asked for in one list: the address stays well under 2,000 characters.
pub(crate) const IDS_PER_QUERY: usize = 20;

/// Pages of one list: a service that never ends it is cut off here.
pub(crate) const PAGES_MAX: usize = 10_000;

/// What is kept of one action, as received and as read: thousands of times
/// what the service sends. The vault takes twice as much as a result's facts,
/// which repeat the action's.
///
/// **Units**: bytes of JSON.
pub(crate) const ACTION_BYTES_MAX: usize = 512 * 1024;

/// One page, its actions byte for byte.
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
    pub fn parse(body: &'a [u8]) -> Result<Self, String> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        // Its message quotes what was met.
        serde_json::from_slice(body).map_err(|e| clean(&e.to_string()))
    }
}

/// How far a list reaches beyond what its filter says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ListWindow {
    /// Only what was created since.
    pub created_since: Option<Timestamp>,
    /// Open sessions too, of whatever age; without `from` nothing else.
    pub include_open: bool,
}

/// The first page of each list that covers `filter`.
pub(crate) fn first_page_urls(base: &Url, filter: &ActionFilter, reach: ListWindow) -> Vec<Url> {
    let shared = conditions(filter, reach);
    let id_groups: Vec<&[ActionId]> = filter.actions.chunks(IDS_PER_QUERY).collect();
    let queries: Vec<Vec<String>> = if id_groups.is_empty() {
        vec![shared]
    } else {
        id_groups
            .into_iter()
            .map(|ids| {
                let any: Vec<_> = ids.iter().map(|id| format!("id eq {id}")).collect();
                let mut all = shared.clone();
                all.push(format!("({})", any.join(" or ")));
                all
            })
            .collect()
    };
    queries
        .into_iter()
        .map(|all| {
            let mut url = base.clone();
            let path = base.path().trim_end_matches('/');
            url.set_path(&format!("{path}/api/machineactions"));
            let filter = all.join(" and ");
            url.set_query(Some(&format!("$filter={filter}&$count=true")));
            url
        })
        .collect()
}

fn conditions(filter: &ActionFilter, reach: ListWindow) -> Vec<String> {
    let mut all = vec![format!("type eq '{}'", filter.action_type())];
    let since = filter.since.max(reach.created_since);
    let since = since.map(|since| format!("creationDateTimeUtc ge {since}"));
    if reach.include_open {
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

/// The same list, oldest first.
pub(crate) fn ordered_by_creation(first: &Url) -> Url {
    let mut url = first.clone();
    let query = first.query().unwrap_or("");
    url.set_query(Some(&format!("{query}&$orderby=creationDateTimeUtc asc")));
    url
}

/// The page after: the path and query of `next` on our own host, whatever host
/// it names. The token never follows a link elsewhere.
pub(crate) fn next_page_url(base: &Url, next: &str) -> Option<Url> {
    let next = base.join(next).ok()?;
    let mut url = base.clone();
    url.set_path(next.path());
    url.set_query(next.query());
    Some(url)
}

/// What all lists so far have shown.
#[derive(Default)]
pub(crate) struct ListedActions {
    actions: HashMap<ActionId, ListedAction>,
    /// Of the ids asked for, those met, meant or not.
    met: HashSet<ActionId>,
    hasher: RandomState,
    pub unreadable: u64,
}

struct ListedAction {
    action: Arc<Action>,
    /// Of the JSON as received: a change is noted again.
    digest: u64,
}

/// What a page added.
#[derive(Default)]
pub(crate) struct PageChanges {
    /// Actions new or changed, to be kept as received.
    pub changed: Vec<ReceivedAction>,
    /// Ids never met before, meant or not.
    pub new_ids: u64,
    /// Every action of the page that is meant.
    pub selected: Vec<ActionId>,
    /// Actions that are not meant and not over.
    pub open_others: Vec<Action>,
}

impl ListedActions {
    /// Merges a page by id. What neither `filter` means nor `is_ours` is not
    /// kept.
    pub fn merge(
        &mut self,
        page: &ActionPage<'_>,
        filter: &ActionFilter,
        is_ours: impl Fn(ActionId) -> bool,
        round: &mut ListPass,
    ) -> PageChanges {
        let mut news = PageChanges::default();
        for raw in &page.value {
            let json = raw.get().as_bytes();
            let Ok(mut action) = Action::from_json(json) else {
                round.unreadable += 1;
                continue;
            };
            package::add_command(&mut action);
            if filter.actions.contains(&action.id) {
                self.met.insert(action.id);
            }
            let id = action.id;
            if filter.matches(&action) || is_ours(id) {
                if !self.insert_if_changed(action, json, &mut news) {
                    round.unreadable += 1;
                    continue;
                }
                news.selected.push(id);
            } else if !action.is_final() {
                news.open_others.push(action);
            }
            if round.ids.insert(id) {
                news.new_ids += 1;
            }
        }
        news
    }

    /// `false` where it is too large to be kept.
    fn insert_if_changed(&mut self, action: Action, json: &[u8], news: &mut PageChanges) -> bool {
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
        self.actions.insert(
            action.id,
            ListedAction {
                action: action.clone(),
                digest,
            },
        );
        news.changed.push(ReceivedAction {
            action,
            json: json.into(),
        });
        true
    }

    /// Takes in an action that was kept outside of lists, or by an earlier
    /// process; what is known already may be later.
    pub fn insert_recorded(&mut self, mut action: Action) {
        package::add_command(&mut action);
        let known = self.actions.get(&action.id);
        if known.is_some_and(|known| is_older(&action, &known.action)) {
            return;
        }
        let action = Arc::new(action);
        let changed = ListedAction {
            action: action.clone(),
            digest: 0,
        };
        self.actions.insert(action.id, changed);
    }

    pub fn get(&self, id: ActionId) -> Option<&Action> {
        self.actions.get(&id).map(|changed| &*changed.action)
    }

    pub fn actions(&self) -> impl Iterator<Item = &Arc<Action>> {
        self.actions.values().map(|changed| &changed.action)
    }

    /// Ids of `wanted` that no list has shown.
    pub fn missing(&self, wanted: &[ActionId]) -> impl Iterator<Item = ActionId> {
        wanted.iter().copied().filter(|id| !self.met.contains(id))
    }

    pub fn len(&self) -> u64 {
        self.actions.len() as u64
    }

    pub fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    /// When the oldest action was created that may still change.
    pub fn oldest_open(&self) -> Option<Timestamp> {
        self.open_created().min()
    }

    /// When actions were created that may still change.
    pub fn open_created(&self) -> impl Iterator<Item = Timestamp> {
        let open = self.actions().filter(|action| !action.is_final());
        open.filter_map(|action| action.created.as_ref()?.instant())
    }
}

/// Whether an action can be kept.
pub(crate) fn is_storable(action: &Action, json: &[u8]) -> bool {
    json.len() <= ACTION_BYTES_MAX && parsed_bytes(action) <= ACTION_BYTES_MAX
}

/// A command of two bytes reads as a hundred.
fn parsed_bytes(action: &Action) -> usize {
    serde_json::to_vec(action).map_or(usize::MAX, |json| json.len())
}

/// A text as it stands in `$filter`.
pub(crate) fn odata_string(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A page read late may show an action as it was before.
fn is_older(action: &Action, known: &Action) -> bool {
    match (&action.updated, &known.updated) {
        (Some(update), Some(known)) => update < known,
        _ => known.is_final() && !action.is_final(),
    }
}

/// The ids one list has shown, over all its rounds.
#[derive(Default)]
pub(crate) struct ListPass {
    pub ids: HashSet<ActionId>,
    pub unreadable: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Url {
        Url::parse("http://127.0.0.1:8080").unwrap()
    }

    fn from(time: &str) -> ListWindow {
        ListWindow {
            created_since: time.parse().ok(),
            include_open: false,
        }
    }

    #[test]
    fn open_sessions_are_listed_whatever_their_age() {
        let reach = ListWindow {
            include_open: true,
            ..from("2026-01-02T00:00:00Z")
        };
        let query = |reach| {
            let pages = first_page_urls(&base(), &ActionFilter::default(), reach);
            pages[0]
                .query()
                .unwrap()
                .replace("%20", " ")
                .replace("%27", "'")
        };
        assert_eq!(
            query(reach),
            "$filter=type eq 'LiveResponse' and (creationDateTimeUtc ge 2026-01-02T00:00:00Z or status eq 'Pending' or status eq 'InProgress')&$count=true"
        );
        assert_eq!(
            query(ListWindow {
                created_since: None,
                ..reach
            }),
            "$filter=type eq 'LiveResponse' and (status eq 'Pending' or status eq 'InProgress')&$count=true"
        );
    }

    #[test]
    fn a_query_names_type_time_and_ids() {
        let id: ActionId = "5382f7ea-7557-4ab7-9782-d50480024a4e".parse().unwrap();
        let filter = ActionFilter {
            since: "2026-01-01T00:00:00Z".parse().ok(),
            actions: vec![id; 21],
            ..ActionFilter::default()
        };
        let pages = first_page_urls(&base(), &filter, from("2026-01-02T00:00:00Z"));
        assert_eq!(pages.len(), 2);
        assert_eq!(
            pages[1].as_str(),
            format!(
                "http://127.0.0.1:8080/api/machineactions?$filter=type%20eq%20%27LiveResponse%27%20and%20creationDateTimeUtc%20ge%202026-01-02T00:00:00Z%20and%20(id%20eq%20{id})&$count=true"
            )
        );
    }

    #[test]
    fn the_next_page_is_asked_of_our_own_host() {
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
        let mut known = ListedActions::default();
        let mut round = ListPass::default();
        let news = known.merge(&page, &ActionFilter::default(), |_| false, &mut round);
        assert_eq!(
            (news.changed.len(), news.new_ids, round.unreadable),
            (2, 1, 1)
        );
        assert_eq!(
            &*news.changed[0].json,
            br#"{"id":"5382f7ea-7557-4ab7-9782-d50480024a4e",  "status":"InProgress"}"#
        );
        assert!(known.actions().all(|a| a.is_final()));
        let again = known.merge(&page, &ActionFilter::default(), |_| false, &mut round);
        assert_eq!(again.new_ids, 0);
    }

    #[test]
    fn an_action_too_large_to_keep_is_left_out_and_its_page_is_not() {
        let long = |n: usize| "a".repeat(n);
        for monster in [
            format!(r#""x":"{}""#, long(ACTION_BYTES_MAX)),
            // Small as received, and megabytes as read.
            format!(r#""commands":[{}0]"#, "0,".repeat(20_000)),
        ] {
            let id = "5382f7ea-7557-4ab7-9782-d50480024a4e";
            let body = format!(
                r#"{{"value":[{{"id":"{}",{monster}}},{{"id":"{id}"}}]}}"#,
                id.replace('5', "6")
            );
            let page = ActionPage::parse(body.as_bytes()).unwrap();
            let (mut known, mut round) = (ListedActions::default(), ListPass::default());
            let news = known.merge(&page, &ActionFilter::default(), |_| true, &mut round);
            assert_eq!((news.changed.len(), news.selected.len()), (1, 1));
            assert_eq!((round.unreadable, round.ids.len()), (1, 1));
        }
    }

    #[test]
    fn a_page_that_is_none_is_told_without_what_it_holds() {
        let told = |text: String| {
            let body = serde_json::json!({ "value": text }).to_string();
            ActionPage::parse(body.as_bytes()).err().unwrap()
        };
        assert!(told("x".repeat(10_000)).len() < 400);
        assert!(!told("eyJsecret".into()).contains("eyJ"));
    }
}
