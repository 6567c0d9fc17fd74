//! Responses of the API, and the calls that read: machines, actions, and the
//! links to results.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::auth::tokens::SignInError;
use crate::faults::{Fault, FaultHit};
use crate::http::filter::{ACTIONS, MACHINES, Schema};
use crate::http::list::{Entity, ListQuery, Listing};
use crate::http::request::{Reply, RequestContext};
use crate::state::journal::Violation;
use crate::synthetic::ids::result_key;
use crate::timeline::action_timeline::ResultAvailability;
use crate::timeline::clock::{api_time, earlier, later};
use crate::timeline::timeline_view::TimedAction;

const JSON_TYPE: &str =
    "application/json; odata.metadata=minimal; odata.streaming=true; charset=utf-8";

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    // Serializing texts and numbers with text keys cannot fail.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(JSON_TYPE);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    Reply::new(response)
}

pub(crate) fn error(request: &RequestContext<'_>, status: u16, code: &str, message: &str) -> Reply {
    let error = json!({"error": {
        "code": code,
        "message": message,
        "target": request.request_id,
    }});
    json(status_code(status), &error)
}

pub(crate) fn sign_in_error(request: &RequestContext<'_>, error: &SignInError) -> Reply {
    let value = json!({
        "error": error.error,
        "error_description": format!("AADSTS{}: {}", error.code, error.message),
        "error_codes": [error.code],
        "timestamp": api_time(request.now),
        "trace_id": request.request_id,
        "correlation_id": request.request_id,
    });
    json(status_code(error.status), &value)
}

pub(crate) fn status_code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(crate) fn not_found(request: &RequestContext<'_>, resource: &str) -> Reply {
    let message = format!("Resource {resource} was not found.");
    error(request, 404, "ResourceNotFound", &message)
}

pub(crate) fn machines(request: &RequestContext<'_>) -> Reply {
    let fleet = request.service.fleet();
    let machines = fleet.machines.iter();
    let entities = machines.map(|machine| machine.json(request.now)).collect();
    list(request, MACHINES, "machines", "Machines", entities)
}

/// The requested page of `entities`. `path` is the path of the list, `set` its
/// name in the metadata.
fn list(
    request: &RequestContext<'_>,
    schema: Schema,
    path: &str,
    set: &str,
    entities: Vec<Entity<'_>>,
) -> Reply {
    let query = match ListQuery::parse(request.query(), schema) {
        Ok(query) => query,
        Err(message) => return error(request, 400, "ODataError", &message),
    };
    let page = Listing {
        query: &query,
        schema,
        page_size: request.service.page_size,
        faults: &request.service.faults,
        call: request.service.list_count.fetch_add(1, Ordering::Relaxed),
        address: format!("{}/api/{path}", request.base),
        context: context(request, set),
    }
    .page(entities);
    json(StatusCode::OK, &page)
}

pub(crate) fn machine(request: &RequestContext<'_>, id: &str) -> Reply {
    let fleet = request.service.fleet();
    match fleet.machine(id) {
        Some(machine) => {
            let json = machine.json(request.now);
            entity(request, StatusCode::OK, "Machines", &json)
        }
        None => not_found(request, id),
    }
}

pub(crate) fn actions(request: &RequestContext<'_>) -> Reply {
    let fleet = request.service.fleet();
    let fault = if request.query().contains("machineId") {
        Fault::NotListedOwn
    } else {
        Fault::NotListed
    };
    // `&`, not `&&`: both faults must count every action, so that TIMES means
    // the same first actions for both.
    let is_listed = |action: &&Arc<TimedAction>| {
        is_visible(request, action) & !is_hidden(request, action, fault)
    };
    let entities = fleet
        .actions
        .iter()
        .filter(is_listed)
        .map(|action| action.json(request.now))
        .collect();
    let (path, set) = ("machineactions", "MachineActions");
    list(request, ACTIONS, path, set, entities)
}

pub(crate) fn action(request: &RequestContext<'_>, id: &str) -> Reply {
    let action = request.service.fleet().action(id);
    match action.filter(|action| is_visible(request, action)) {
        Some(action) => {
            let json = action.json(request.now);
            entity(request, StatusCode::OK, "MachineActions", &json)
        }
        None => not_found(request, id),
    }
}

/// An entity of a set, with its metadata.
pub(crate) fn entity(
    request: &RequestContext<'_>,
    status: StatusCode,
    set: &str,
    entity: &Map<String, Value>,
) -> Reply {
    let mut value = json!({"@odata.context": context(request, &format!("{set}/$entity"))});
    if let Value::Object(object) = &mut value {
        object.extend(entity.clone());
    }
    json(status, &value)
}

pub(crate) fn context(request: &RequestContext<'_>, set: &str) -> String {
    format!("{}/api/$metadata#{set}", request.base)
}

/// Whether a call can see an action, which is hidden for a while after its
/// creation.
pub(crate) fn is_visible(request: &RequestContext<'_>, action: &TimedAction) -> bool {
    action.is_visible(request.now) && !is_hidden(request, action, Fault::NotVisible)
}

/// Whether a fault hides an action from this call.
fn is_hidden(request: &RequestContext<'_>, action: &TimedAction, fault: Fault) -> bool {
    let service = request.service;
    let hit = service
        .faults
        .affects_action(fault, request.kind, action.id);
    hit.is_some_and(|hit| {
        let from = action.created().max(service.clock.origin().emulated);
        request.now < later(from, Duration::from_secs(hit.value_or(120)))
    })
}

/// The link to the result of a command.
pub(crate) fn link(request: &RequestContext<'_>, id: &str, index: u32) -> Reply {
    let service = request.service;
    let action = service.fleet().action(id);
    let Some(action) = action.filter(|action| is_visible(request, action)) else {
        return not_found(request, id);
    };
    let Some(command) = action.command(index) else {
        return not_found(request, &format!("command {index} of {id}"));
    };
    let key = result_key(action.id, index);
    let not_ready = || {
        let message = "The live response result is not available yet.";
        error(request, 400, "BadRequest", message)
    };
    let no_result = || not_found(request, &format!("result {index} of {id}"));
    let kind = command.get("command").and_then(|inner| inner.get("type"));
    if kind.and_then(Value::as_str) == Some("PutFile") {
        service.journal.record_violation(Violation::PutFileLink);
        let message = "The command has no downloadable result.";
        return error(request, 400, "BadRequest", message);
    }
    match action.availability(index, request.now) {
        ResultAvailability::Available => {}
        ResultAvailability::NotYet => return not_ready(),
        ResultAvailability::Never => return no_result(),
    }
    let faults = &service.faults;
    if faults.affects_result(Fault::Refuse, key, action.ordinal(index)) {
        let message = "The application may not read this result.";
        return error(request, 403, "Forbidden", message).caused_by(Fault::Refuse);
    }
    let hit = faults.fire(Fault::NotReady, request.kind, Some(key));
    if hit.is_some() {
        return not_ready().caused_by(Fault::NotReady);
    }
    let status = command.get("commandStatus").and_then(Value::as_str);
    if status != Some("Completed") && !action.bodies.contains_key(&index) {
        return if action.is_over(request.now) {
            no_result()
        } else {
            not_ready()
        };
    }
    issue_link(request, &action, index)
}

/// Issues the link to an available result.
fn issue_link(request: &RequestContext<'_>, action: &TimedAction, index: u32) -> Reply {
    let service = request.service;
    let key = result_key(action.id, index);
    let fire = |fault| service.faults.fire(fault, request.kind, Some(key));
    let seconds = |hit: FaultHit| Duration::from_secs(hit.value_or(2));
    let mut fault = None;
    let expiry = if let Some(hit) = fire(Fault::BornExpired) {
        fault = Some(Fault::BornExpired);
        earlier(request.now, seconds(hit))
    } else if let Some(hit) = fire(Fault::ExpireMidway) {
        fault = Some(Fault::ExpireMidway);
        // Valid for at least half a real second, so that a client can use the
        // link at any scale. The expiry has whole seconds: add one.
        let least = Duration::from_secs_f64(service.clock.origin().scale / 2.0);
        let life = seconds(hit).max(least) + Duration::from_secs(1);
        later(request.now, life)
    } else {
        later(request.now, service.link_life)
    };
    let signer = &service.signer;
    let link = signer.link(&signer.guid("account"), &signer.blob_name(key), expiry);
    service.journal.record_link(&link.signature);
    if fault == Some(Fault::ExpireMidway) {
        service.expiring_links().insert(link.signature);
    }
    let mut url = format!("{}{}", request.base, link.path_and_query);
    if fire(Fault::AmpLink).is_some() {
        url = url.replace('&', "&amp;");
    }
    if fire(Fault::QuotedLink).is_some() {
        url = format!("\"{url}\"");
    }
    let context = context(request, "Edm.String");
    let reply = json(
        StatusCode::OK,
        &json!({"@odata.context": context, "value": url}),
    );
    match fault {
        Some(fault) => reply.caused_by(fault),
        None => reply,
    }
}
