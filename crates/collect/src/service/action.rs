//! Calls for one action by its id: read, cancel, wait for a package.

use std::sync::Arc;
use std::time::Duration;

use crate::api_call::ApiCall;
use crate::counters::CollectCounters;
use crate::error::{CollectError, clean};
use crate::progress::{CollectProgress, Events};
use crate::service::api::{Api, ApiRequest, ApiResponse, CallError};
use crate::service::package::is_package;
use crate::service::retry::{ErrorClass, RetryState};
use crate::settings::CollectSettings;
use evidence::{Action, ActionId};

/// Interval at which the state of a package is read. Packages take minutes.
///
/// **Units**: service time.
const POLL_INTERVAL: Duration = Duration::from_secs(15);

/// Reads an action; returns its JSON as received.
pub async fn get_action(settings: &CollectSettings, id: ActionId) -> Result<Vec<u8>, CollectError> {
    let api = open_api(settings).await?;
    let response = api.call_with_retries(&request_for(&api, id)).await;
    response
        .map(|response| response.body)
        .map_err(|error| error.into_fatal(ApiCall::Action, &api.host))
}

/// Cancels an action; returns the JSON of the response. Cancelling an action
/// again has no further effect.
pub async fn cancel_action(
    settings: &CollectSettings,
    id: ActionId,
    comment: &str,
) -> Result<Vec<u8>, CollectError> {
    let api = open_api(settings).await?;
    let url = api.url(&format!("machineactions/{id}/cancel"));
    let body = serde_json::json!({"Comment": comment}).to_string();
    let request = ApiRequest::post(ApiCall::Cancel, url, body.into_bytes());
    let response = api.call_with_retries(&request).await;
    response
        .map(|response| response.body)
        .map_err(|error| error.into_fatal(ApiCall::Cancel, &api.host))
}

/// Waits until the collection of a package has ended, and returns its action.
/// Changes of its state are sent as notices.
///
/// **Errors**: the action is not a package, or the service still does not know
/// it after the time in which a new action may be invisible.
pub async fn wait_for_package(
    settings: &CollectSettings,
    id: ActionId,
    events: Events,
) -> Result<Action, CollectError> {
    let api = open_api(settings).await?;
    let mut last_status = String::new();
    loop {
        let response = read_visible_action(&api, id).await?;
        let action = Action::from_json(&response.body).map_err(|error| CollectError::Response {
            call: ApiCall::Action,
            why: clean(&error.to_string()),
        })?;
        if !is_package(&action) {
            return Err(CollectError::Setting {
                setting: "action",
                why: format!("{id} is not an investigation package"),
            });
        }
        if action.is_final() {
            return Ok(action);
        }
        if last_status != action.status {
            last_status.clone_from(&action.status);
            let notice = format!("package {id} is {}", clean(&last_status));
            events(CollectProgress::Notice(notice));
        }
        api.clock.sleep(POLL_INTERVAL).await;
    }
}

/// Reads an action; a new one is retried while it may be invisible (404).
async fn read_visible_action(api: &Api, id: ActionId) -> Result<ApiResponse, CollectError> {
    let request = request_for(api, id);
    let mut retries = RetryState::default();
    loop {
        let error = match api.call_with_retries(&request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let is_not_found = matches!(&error, CallError::Service(e) if e.status == 404);
        let delay = is_not_found
            .then(|| retries.next_delay(ErrorClass::NotFound))
            .flatten();
        match delay {
            Some(delay) => api.clock.sleep(delay).await,
            None => return Err(error.into_fatal(ApiCall::Action, &api.host)),
        }
    }
}

fn request_for(api: &Api, id: ActionId) -> ApiRequest {
    ApiRequest::get(ApiCall::Action, api.url(&format!("machineactions/{id}")))
}

/// Opens the API for a single command, without progress events.
pub(crate) async fn open_api(settings: &CollectSettings) -> Result<Api, CollectError> {
    settings.validate()?;
    let counters = Arc::new(CollectCounters::new(Arc::new(|_| ())));
    Api::open(settings, counters).await
}
