//! Reconciles the schedule with the service where the poller's lists are not
//! enough: sessions that no list shows, starts in doubt, parked devices.

use std::time::Duration;

use crate::clock::WallTime;
use crate::fetch::poller::LIST_OVERLAP;
use crate::fetch::session::CollectSession;
use crate::fleet::plan::inventory;
use crate::fleet::runner::fleet_runner::FleetRunner;
use crate::fleet::schedule::ReconcileQuery;
use crate::service::api::{ApiRequest, CallError};
use crate::service::entity_list::read_entities;
use crate::service::list::{IDS_PER_QUERY, odata_string};
use crate::{ApiCall, CollectError};
use evidence::{Action, ActionId};

/// Interval of the checks of parked devices.
///
/// **Units**: service time.
const PARKED_EVERY: Duration = Duration::from_secs(60);
/// The same if every machine is listed.
const ALL_MACHINES_EVERY: Duration = Duration::from_secs(300);
/// Parked devices that are listed by their ids; if there are more, every
/// machine is listed.
const PARKED_BY_ID_MAX: usize = 100;

/// Reconciles repeatedly; never returns. Each call waits for its rate limit.
pub(super) async fn run_reconciliation(session: &CollectSession, fleet: &FleetRunner) {
    let clock = session.api.clock;
    let mut next_parked_check = WallTime::default();
    loop {
        check_unlisted_sessions(session, fleet).await;
        search_sessions_in_doubt(session, fleet).await;
        if clock.now() >= next_parked_check {
            let interval = check_parked_devices(session, fleet).await;
            next_parked_check = clock.now().after(clock.real(interval));
        }
        fleet.wait(clock).await;
    }
}

/// Requests sessions that no list shows by their ids.
async fn check_unlisted_sessions(session: &CollectSession, fleet: &FleetRunner) {
    let due = fleet.lock().due_session_checks(session.api.clock.now());
    for (index, id) in due {
        check_session(session, fleet, index, id).await;
    }
}

async fn check_session(session: &CollectSession, fleet: &FleetRunner, index: u32, id: ActionId) {
    let api = &session.api;
    let url = api.url(&format!("machineactions/{id}"));
    match api.call(&ApiRequest::get(ApiCall::Action, url)).await {
        Ok(answer) => {
            tracing::debug!(device = index, action = %id, "unlisted session found by id");
            if let Ok(action) = Action::from_json(&answer.body) {
                discover(session, fleet, &action, answer.body).await;
            }
        }
        Err(CallError::Service(error)) if error.status == 404 => {
            tracing::debug!(device = index, action = %id, "unlisted session not found by id");
            fleet.lock().session_not_found(index, api.clock.now());
        }
        // Requested again later.
        Err(_) => {}
    }
}

/// Stores an action, then shows it to the schedule.
async fn discover(session: &CollectSession, fleet: &FleetRunner, action: &Action, json: Vec<u8>) {
    fleet.discovered.store(session, action, json).await;
    let now = session.api.clock.now();
    fleet.lock().observe_action(action, now);
}

/// Lists the machines of starts in doubt. A failed list is repeated later.
async fn search_sessions_in_doubt(session: &CollectSession, fleet: &FleetRunner) {
    let clock = session.api.clock;
    let due = fleet.lock().due_reconcile_queries(clock.now());
    for query in due {
        let began = clock.now();
        let searched = search_machine(session, fleet, &query).await;
        tracing::debug!(
            device = query.index,
            is_complete = searched.is_ok(),
            "machine searched for a session in doubt"
        );
        if searched.is_ok() {
            let mut schedule = fleet.lock();
            schedule.complete_reconcile_query(query.index, began, clock.now());
        }
    }
}

/// Shows the actions of a machine to the schedule, from shortly before the
/// start in doubt.
///
/// **Errors**: the list was not read to its end; the session may be in the rest.
async fn search_machine(
    session: &CollectSession,
    fleet: &FleetRunner,
    query: &ReconcileQuery,
) -> Result<(), CollectError> {
    let mut filter = format!("machineId eq {}", odata_string(&query.machine_id));
    let since = query
        .created_since
        .and_then(|since| since.checked_sub(LIST_OVERLAP).ok());
    if let Some(since) = since {
        filter.push_str(&format!(" and creationDateTimeUtc ge {since}"));
    }
    let mut url = session.api.url("machineactions");
    url.set_query(Some(&format!("$filter={filter}")));
    let (values, _) = read_entities(&session.api, ApiCall::List, url).await?;
    for value in values {
        let Ok(action) = Action::from_value(&value) else {
            continue;
        };
        let is_own = fleet.lock().is_own(&action);
        if is_own {
            let json = value.to_string().into_bytes();
            discover(session, fleet, &action, json).await;
        }
    }
    Ok(())
}

/// Reads when parked devices were last seen. Returns the time until the next
/// check, in service time.
async fn check_parked_devices(session: &CollectSession, fleet: &FleetRunner) -> Duration {
    let parked = fleet.lock().parked_machines();
    let (filters, interval) = if parked.len() > PARKED_BY_ID_MAX {
        (vec![None], ALL_MACHINES_EVERY)
    } else {
        let groups = parked.chunks(IDS_PER_QUERY);
        (
            groups.map(|ids| Some(id_filter(ids))).collect(),
            PARKED_EVERY,
        )
    };
    for filter in filters {
        // A failed list is repeated with the next check.
        if let Ok((machines, _)) = inventory::list_machines(&session.api, filter.as_deref()).await {
            fleet.lock().observe_machines(&machines);
        }
    }
    interval
}

fn id_filter(ids: &[String]) -> String {
    let conditions: Vec<_> = ids
        .iter()
        .map(|id| format!("id eq {}", odata_string(id)))
        .collect();
    conditions.join(" or ")
}
