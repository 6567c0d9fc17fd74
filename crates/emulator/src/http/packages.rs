//! Calls on investigation packages: start, and the link once a package is
//! complete. The link has a token instead of a signed query.

use std::sync::Arc;

use axum::http::StatusCode;
use serde_json::json;

use crate::http::api;
use crate::http::request::{Reply, RequestContext};
use crate::http::run_request;
use crate::http::sessions::{parse_body, reject_machine};
use crate::state::new_actions::{PACKAGE_TYPE, new_package};
use crate::synthetic::ids::result_key;
use crate::timeline::clock::later;
use crate::timeline::timeline_view::TimedAction;

pub(crate) fn start(request: &RequestContext<'_>, machine: &str, body: &[u8]) -> Reply {
    let comment = match parse_body(request, body, run_request::parse_comment) {
        Ok(comment) => comment,
        Err(reply) => return *reply,
    };
    let service = request.service;
    let mut fleet = service.fleet_mut();
    let now = service.clock.now();
    if let Some(reply) = reject_machine(request, &fleet, machine) {
        return reply;
    }
    let machine = machine.to_ascii_lowercase();
    let is_running = |action: &Arc<TimedAction>| {
        action.text("type") == Some(PACKAGE_TYPE)
            && action.text("machineId") == Some(&machine)
            && !action.is_over(now)
    };
    // A scan is fast enough: packages are started a hundred times at most.
    if fleet.actions.iter().any(is_running) {
        let message = "A collection of an investigation package is already running.";
        return api::error(request, 400, "ActiveRequestAlreadyExists", message);
    }
    let package = new_package(service, &mut fleet, &machine, &comment, now);
    let package = fleet.start(package, &service.signer);
    let json = package.json(now);
    api::entity(request, StatusCode::CREATED, "MachineActions", &json)
}

/// The link to a package. As in the service, the URL is quoted inside the JSON
/// string.
pub(crate) fn link(request: &RequestContext<'_>, id: &str) -> Reply {
    let service = request.service;
    let action = service.fleet().action(id);
    let Some(action) = action.filter(|action| api::is_visible(request, action)) else {
        return api::not_found(request, id);
    };
    if action.text("type") != Some(PACKAGE_TYPE) {
        let message = "The action collects no investigation package.";
        return api::error(request, 400, "BadRequest", message);
    }
    if !action.has_succeeded(request.now) {
        return api::not_found(request, &format!("package of {id}"));
    }
    let blob = service.signer.blob_name(result_key(action.id, 0));
    let expiry = later(request.now, service.link_life);
    let link = service.signer.package_link(&blob, expiry);
    service.journal.record_link(&link.signature);
    let url = format!("\"{}{}\"", request.base, link.path_and_query);
    let context = api::context(request, "Edm.String");
    api::json(
        StatusCode::OK,
        &json!({"@odata.context": context, "value": url}),
    )
}
