//! Investigation packages: started on a machine, linked to once they are
//! there, fetched from a host that takes no signature in the query but a token.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::json;

use crate::http::api;
use crate::http::request::{Reply, RequestContext};
use crate::http::run_request;
use crate::state::fleet_state::FleetState;
use crate::state::sessions::{action_json, barred, read_body};
use crate::synthetic::body::ResultBody;
use crate::synthetic::fleet::{guid_of, key};
use crate::synthetic::seeded_rng::SeededRng;
use crate::synthetic::synthetic_results::SyntheticResult;
use crate::timeline::clock::later;
use crate::timeline::timeline_view::TimedAction;

const KIND: &str = "CollectInvestigationPackage";

pub(crate) fn start(asked: &RequestContext<'_>, machine: &str, body: &[u8]) -> Reply {
    let comment = match read_body(asked, body, run_request::comment_alone) {
        Ok(comment) => comment,
        Err(reply) => return *reply,
    };
    let service = asked.service;
    let mut stock = service.stock_mut();
    let now = service.clock.now();
    if let Some(refused) = barred(asked, &stock, machine) {
        return refused;
    }
    let machine = machine.to_ascii_lowercase();
    let under_way = |action: &Arc<TimedAction>| {
        action.text("type") == Some(KIND)
            && action.text("machineId") == Some(&machine)
            && !action.is_over(now)
    };
    // Packages are few beside runs, and asked for by the hundred at most.
    if stock.actions.iter().any(under_way) {
        let why = "A collection of an investigation package is already running.";
        return api::error(asked, 400, "ActiveRequestAlreadyExists", why);
    }
    let package = make(asked, &mut stock, &machine, &comment);
    let package = stock.start(package, &service.signer);
    let json = package.json(now);
    api::entity(asked, StatusCode::CREATED, "MachineActions", &json)
}

fn make(
    asked: &RequestContext<'_>,
    stock: &mut FleetState,
    machine: &str,
    comment: &str,
) -> TimedAction {
    let service = asked.service;
    let now = service.clock.now();
    let number = stock.sessions.next_on(machine).to_string();
    let mut lots = SeededRng::of(service.seed, &["package", machine, &number]);
    let found = stock.machine(machine);
    let table = found.and_then(|machine| machine.table.as_ref());
    let plan = service.latency.package(&mut lots, now, table);
    let device = found.and_then(|machine| machine.text("computerDnsName"));
    let device = device.unwrap_or_default();
    let told = SyntheticResult::Package {
        seed: service.seed,
        device: device.to_string(),
    };
    let is_made = plan.status == "Succeeded";
    let bodies = is_made.then(|| (0, ResultBody::told(told)));
    let id = guid_of(&format!("package {machine} {number} {now}"));
    let mut json = action_json(asked, KIND, (machine, device), comment, now);
    json.insert("id".into(), id.to_string().into());
    json.insert("status".into(), plan.status.into());
    let bodies: BTreeMap<u32, ResultBody> = bodies.into_iter().collect();
    TimedAction::started(id, now, json, bodies, plan.course)
}

/// The link to a package: a quoted string inside the string.
pub(crate) fn link(asked: &RequestContext<'_>, id: &str) -> Reply {
    let service = asked.service;
    let found = service.stock().action(id);
    let Some(action) = found.filter(|action| api::is_visible(asked, action)) else {
        return api::not_found(asked, id);
    };
    if action.text("type") != Some(KIND) {
        let why = "The action collects no investigation package.";
        return api::error(asked, 400, "BadRequest", why);
    }
    if !action.is_complete(asked.now) {
        return api::not_found(asked, &format!("package of {id}"));
    }
    let blob = service.signer.blob_name(key(action.id, 0));
    let ends = later(asked.now, service.link_life);
    let link = service.signer.package_link(&blob, ends);
    service.journal.issue(&link.signature);
    let url = format!("\"{}{}\"", asked.base, link.path_and_query);
    let value = json!({"@odata.context": api::context(asked, "Edm.String"), "value": url});
    api::json(StatusCode::OK, &value)
}
