//! What the regular lists cannot tell is asked for by itself: sessions no list
//! shows, starts without an answer, parked devices.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::WallTime;
use crate::fetch::poller::LIST_OVERLAP;
use crate::fetch::session::CollectSession;
use crate::fleet::plan::inventory;
use crate::fleet::runner::FleetRunner;
use crate::fleet::schedule::ReconcileQuery;
use crate::service::api::{ApiRequest, CallError};
use crate::service::entity_list::read_entities;
use crate::service::list::{IDS_PER_QUERY, odata_string};
use crate::{ApiCall, CollectError};
use evidence::Action;

/// Between two looks at parked devices, service time.
const MACHINES_EVERY: Duration = Duration::from_secs(60);
/// The same where they are so many that whole lists are asked for.
const MANY_MACHINES_EVERY: Duration = Duration::from_secs(300);
/// More parked devices than this are not asked for by their ids.
const PARKED_BY_ID_MAX: usize = 100;

pub async fn look_at_unseen(session: &CollectSession, fleet: &Arc<FleetRunner>) {
    let unseen = fleet.lock().due_session_checks(session.api.clock.now());
    for (place, id) in unseen {
        let ask = ApiRequest::get(
            ApiCall::Action,
            session.api.url(&format!("machineactions/{id}")),
        );
        match session.api.call(&ask).await {
            Ok(answer) => {
                if let Ok(action) = Action::from_json(&answer.body) {
                    fleet.keep_found(session, &action, answer.body).await;
                    fleet
                        .lock()
                        .observe_action(&action, session.api.clock.now());
                }
            }
            Err(CallError::Service(e)) if e.status == 404 => {
                fleet
                    .lock()
                    .session_not_found(place, session.api.clock.now());
            }
            Err(_) => {}
        }
    }
}

/// Whether parked devices were seen again; returns when to look next.
pub async fn look_for_parked(session: &CollectSession, fleet: &Arc<FleetRunner>) -> WallTime {
    let parked = fleet.lock().parked_machines();
    let many = parked.len() > PARKED_BY_ID_MAX;
    let filters: Vec<Option<String>> = if many {
        vec![None]
    } else {
        let groups = parked.chunks(IDS_PER_QUERY);
        groups.map(|ids| Some(any_id(ids))).collect()
    };
    for filter in filters {
        // What fails is looked at again next time.
        if let Ok((machines, _)) = inventory::list_machines(&session.api, filter.as_deref()).await {
            fleet.lock().observe_machines(&machines);
        }
    }
    let wait = if many {
        MANY_MACHINES_EVERY
    } else {
        MACHINES_EVERY
    };
    session.api.clock.now().after(session.api.clock.real(wait))
}

fn any_id(ids: &[String]) -> String {
    let any: Vec<_> = ids
        .iter()
        .map(|id| format!("id eq {}", odata_string(id)))
        .collect();
    any.join(" or ")
}

/// Starts whose answer was lost, on the machines they were sent to. What fails
/// is looked for again next time.
pub async fn look_for_lost(session: &CollectSession, fleet: &FleetRunner) {
    let due = fleet.lock().due_reconcile_queries(session.api.clock.now());
    for look in due {
        let began = session.api.clock.now();
        if show_created_on(session, fleet, &look).await.is_ok() {
            fleet
                .lock()
                .complete_reconcile_query(look.index, began, session.api.clock.now());
        }
    }
}

/// Shows the schedule what was created on a machine since shortly before a
/// start.
///
/// **Errors**: also where the list was not read to its end, since what stands
/// behind may be what is looked for.
async fn show_created_on(
    session: &CollectSession,
    fleet: &FleetRunner,
    look: &ReconcileQuery,
) -> Result<(), CollectError> {
    let mut filter = format!("machineId eq {}", odata_string(&look.machine_id));
    let from = look
        .created_since
        .and_then(|from| from.checked_sub(LIST_OVERLAP).ok());
    if let Some(from) = from {
        filter.push_str(&format!(" and creationDateTimeUtc ge {from}"));
    }
    let mut url = session.api.url("machineactions");
    url.set_query(Some(&format!("$filter={filter}")));
    let (values, _) = read_entities(&session.api, ApiCall::List, url).await?;
    for value in values {
        let Ok(action) = Action::from_value(&value) else {
            continue;
        };
        if fleet.lock().is_own(&action) {
            let json = value.to_string().into_bytes();
            fleet.keep_found(session, &action, json).await;
            fleet
                .lock()
                .observe_action(&action, session.api.clock.now());
        }
    }
    Ok(())
}
