//! Starts the collection of an investigation package on one device.
//!
//! The device is selected as in a fleet plan; the rest of a package's life is
//! in `service::package` (its command) and `service::action` (waiting for it).

use crate::error::clean;
use crate::fleet::{RunId, resolve_machine_id};
use crate::service::action::open_api;
use crate::service::api::{Api, ApiRequest, CallError};
use crate::service::entity_list::read_entities;
use crate::service::list::odata_string;
use crate::service::retry::{ErrorClass, RetryState};
use crate::settings::PACKAGE_TYPE;
use crate::{ApiCall, CollectError, CollectSettings};
use evidence::{Action, ActionId};

/// Starts the collection of a package on a device; returns the action.
///
/// If the response to the start is lost, the action is searched by its comment,
/// which contains a random id.
///
/// **Errors**: no single device has that name, or the service rejects the
/// start. Nothing was started then.
pub async fn start_package(
    settings: &CollectSettings,
    device: &str,
    comment: &str,
) -> Result<ActionId, CollectError> {
    let api = open_api(settings).await?;
    let machine = resolve_machine_id(&api, device).await?;
    let comment = format!("{comment} [afteraction {}]", RunId::random()?);
    let path = format!("machines/{machine}/collectInvestigationPackage");
    let body = serde_json::json!({"Comment": comment}).to_string();
    let request = ApiRequest::post(ApiCall::Package, api.url(&path), body.into_bytes());
    let error = match api.call_non_idempotent(&request).await {
        Ok(response) => match Action::from_json(&response.body) {
            Ok(action) => return Ok(action.id),
            Err(error) => CallError::Unexpected(clean(&error.to_string())),
        },
        Err(error) => error,
    };
    let may_have_started = error
        .error_class()
        .is_some_and(|class| !class.is_surely_unprocessed());
    if may_have_started && let Some(id) = find_package(&api, &machine, &comment).await? {
        return Ok(id);
    }
    Err(error.into_fatal(ApiCall::Package, &api.host))
}

/// Searches the package with exactly this comment, for as long as a new action
/// can be missing from lists.
async fn find_package(
    api: &Api,
    machine: &str,
    comment: &str,
) -> Result<Option<ActionId>, CollectError> {
    let mut url = api.url("machineactions");
    url.set_query(Some(&format!(
        "$filter=type eq '{PACKAGE_TYPE}' and machineId eq {}",
        odata_string(machine)
    )));
    let mut retries = RetryState::default();
    loop {
        let (values, _) = read_entities(api, ApiCall::List, url.clone()).await?;
        let package = values
            .iter()
            .filter_map(|value| Action::from_value(value).ok())
            .find(|action| action.comment.as_deref() == Some(comment));
        if let Some(action) = package {
            return Ok(Some(action.id));
        }
        match retries.next_delay(ErrorClass::NotFound) {
            Some(delay) => api.clock.sleep(delay).await,
            None => return Ok(None),
        }
    }
}
