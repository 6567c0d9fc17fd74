//! The calls that read: machines, actions and the links to results.

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
use crate::synthetic::fleet::key;
use crate::timeline::action_timeline::ResultAvailability;
use crate::timeline::clock::{api_time, earlier, later};
use crate::timeline::timeline_view::TimedAction;

pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    // Texts and numbers by names that are texts: nothing fails to serialize.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    let kind = "application/json; odata.metadata=minimal; odata.streaming=true; charset=utf-8";
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Reply::of(response)
}

pub(crate) fn error(asked: &RequestContext<'_>, status: u16, code: &str, message: &str) -> Reply {
    let error = json!({"error": {
        "code": code,
        "message": message,
        "target": asked.request_id,
    }});
    json(status_of(status), &error)
}

pub(crate) fn sign_in_error(asked: &RequestContext<'_>, error: &SignInError) -> Reply {
    let value = json!({
        "error": error.error,
        "error_description": format!("AADSTS{}: {}", error.code, error.message),
        "error_codes": [error.code],
        "timestamp": api_time(asked.now),
        "trace_id": asked.request_id,
        "correlation_id": asked.request_id,
    });
    json(status_of(error.status), &value)
}

pub(crate) fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

pub(crate) fn not_found(asked: &RequestContext<'_>, what: &str) -> Reply {
    error(
        asked,
        404,
        "ResourceNotFound",
        &format!("Resource {what} was not found."),
    )
}

pub(crate) fn machines(asked: &RequestContext<'_>) -> Reply {
    let stock = asked.service.stock();
    let machines = stock.machines.iter();
    let entities = machines.map(|machine| machine.json(asked.now)).collect();
    list(asked, MACHINES, "machines", "Machines", entities)
}

/// The page asked for of `entities`, which stand below `path` and are named
/// `set` in its metadata.
fn list(
    asked: &RequestContext<'_>,
    schema: Schema,
    path: &str,
    set: &str,
    entities: Vec<Entity<'_>>,
) -> Reply {
    let ask = match ListQuery::parse(asked.query(), schema) {
        Ok(ask) => ask,
        Err(why) => return error(asked, 400, "ODataError", &why),
    };
    let page = Listing {
        ask: &ask,
        schema,
        page_size: asked.service.page_size,
        faults: &asked.service.faults,
        call: asked.service.lists.fetch_add(1, Ordering::Relaxed),
        address: format!("{}/api/{path}", asked.base),
        context: context(asked, set),
    }
    .page(entities);
    json(StatusCode::OK, &page)
}

pub(crate) fn machine(asked: &RequestContext<'_>, id: &str) -> Reply {
    let stock = asked.service.stock();
    match stock.machine(id) {
        Some(machine) => {
            let json = machine.json(asked.now);
            entity(asked, StatusCode::OK, "Machines", &json)
        }
        None => not_found(asked, id),
    }
}

pub(crate) fn actions(asked: &RequestContext<'_>) -> Reply {
    let stock = asked.service.stock();
    // Lists of one machine's actions come by another way.
    let left_out = match asked.query().contains("machineId") {
        true => Fault::NotListedOwn,
        false => Fault::NotListed,
    };
    // Each fault meets every action, so that the first is the first to both.
    let is_listed = |a: &&Arc<TimedAction>| is_visible(asked, a) & !is_hidden(asked, a, left_out);
    let visible = stock.actions.iter().filter(is_listed);
    let entities = visible.map(|action| action.json(asked.now)).collect();
    list(asked, ACTIONS, "machineactions", "MachineActions", entities)
}

pub(crate) fn action(asked: &RequestContext<'_>, id: &str) -> Reply {
    let found = asked.service.stock().action(id);
    match found.filter(|action| is_visible(asked, action)) {
        Some(action) => {
            let json = action.json(asked.now);
            entity(asked, StatusCode::OK, "MachineActions", &json)
        }
        None => not_found(asked, id),
    }
}

/// One of a set, with its metadata.
pub(crate) fn entity(
    asked: &RequestContext<'_>,
    status: StatusCode,
    set: &str,
    entity: &Map<String, Value>,
) -> Reply {
    let mut value = json!({"@odata.context": context(asked, &format!("{set}/$entity"))});
    if let Value::Object(object) = &mut value {
        object.extend(entity.clone());
    }
    json(status, &value)
}

pub(crate) fn context(asked: &RequestContext<'_>, set: &str) -> String {
    format!("{}/api/$metadata#{set}", asked.base)
}

/// A young action is not known everywhere yet.
pub(crate) fn is_visible(asked: &RequestContext<'_>, action: &TimedAction) -> bool {
    action.is_visible(asked.now) && !is_hidden(asked, action, Fault::NotVisible)
}

/// Whether a fault keeps an action from this call, for now.
fn is_hidden(asked: &RequestContext<'_>, action: &TimedAction, fault: Fault) -> bool {
    let service = asked.service;
    let struck = service.faults.affects_action(fault, asked.kind, action.id);
    struck.is_some_and(|struck| {
        let from = action.created().max(service.clock.origin().emulated);
        asked.now < later(from, Duration::from_secs(struck.value_or(120)))
    })
}

/// The link to one command's result, or why there is none.
pub(crate) fn link(asked: &RequestContext<'_>, id: &str, index: u32) -> Reply {
    let service = asked.service;
    let found = service.stock().action(id);
    let Some(action) = found.filter(|action| is_visible(asked, action)) else {
        return not_found(asked, id);
    };
    let Some(command) = action.command(index) else {
        let what = format!("command {index} of {id}");
        return not_found(asked, &what);
    };
    let key = key(action.id, index);
    let status = command.get("commandStatus").and_then(Value::as_str);
    let kind = command.get("command").and_then(|inner| inner.get("type"));
    let not_ready = "The live response result is not available yet.";
    if kind.and_then(Value::as_str) == Some("PutFile") {
        service.journal.violate(Violation::PutFileLink);
        let why = "The command has no downloadable result.";
        return error(asked, 400, "BadRequest", why);
    }
    match action.stage(index, asked.now) {
        ResultAvailability::Done => {}
        ResultAvailability::Waiting => return error(asked, 400, "BadRequest", not_ready),
        ResultAvailability::Never => return not_found(asked, &format!("result {index} of {id}")),
    }
    let ordinal = action.ordinal(index);
    if service.faults.affects_result(Fault::Refuse, key, ordinal) {
        let why = "The application may not read this result.";
        return error(asked, 403, "Forbidden", why).because(Fault::Refuse);
    }
    if service
        .faults
        .fire(Fault::NotReady, asked.kind, Some(key))
        .is_some()
    {
        return error(asked, 400, "BadRequest", not_ready).because(Fault::NotReady);
    }
    if status != Some("Completed") && !action.bodies.contains_key(&index) {
        return match action.is_over(asked.now) {
            true => not_found(asked, &format!("result {index} of {id}")),
            false => error(asked, 400, "BadRequest", not_ready),
        };
    }
    issue(asked, &action, index)
}

fn issue(asked: &RequestContext<'_>, action: &TimedAction, index: u32) -> Reply {
    let service = asked.service;
    let key = key(action.id, index);
    let strikes = |fault| service.faults.fire(fault, asked.kind, Some(key));
    let born_expired = strikes(Fault::BornExpired);
    let dying = match born_expired {
        None => strikes(Fault::ExpireMidway),
        Some(_) => None,
    };
    let seconds = |struck: FaultHit| Duration::from_secs(struck.value_or(2));
    let ends = match (born_expired, dying) {
        (Some(struck), _) => earlier(asked.now, seconds(struck)),
        (_, Some(struck)) => {
            // However fast the clock, a client must get to use it: half a real
            // second. Whole seconds are written, so one more.
            let least = Duration::from_secs_f64(service.clock.origin().scale / 2.0);
            let life = seconds(struck).max(least) + Duration::from_secs(1);
            later(asked.now, life)
        }
        _ => later(asked.now, service.link_life),
    };
    let account = &service.signer.guid("account");
    let link = service
        .signer
        .link(account, &service.signer.blob_name(key), ends);
    service.journal.issue(&link.signature);
    if dying.is_some() {
        service.dying().insert(link.signature);
    }
    let mut url = format!("{}{}", asked.base, link.path_and_query);
    if strikes(Fault::AmpLink).is_some() {
        url = url.replace('&', "&amp;");
    }
    if strikes(Fault::QuotedLink).is_some() {
        url = format!("\"{url}\"");
    }
    let reply = json(
        StatusCode::OK,
        &json!({"@odata.context": context(asked, "Edm.String"), "value": url}),
    );
    match (born_expired, dying) {
        (Some(_), _) => reply.because(Fault::BornExpired),
        (_, Some(_)) => reply.because(Fault::ExpireMidway),
        _ => reply,
    }
}
