//! One action by its id: looked at, cancelled, waited for.

use std::sync::Arc;
use std::time::Duration;

use crate::counters::CollectCounters;
use crate::service::api::{Api, ApiRequest, CallError};
use crate::service::package::is_package;
use crate::service::retry::{ErrorClass, RetryState};
use crate::{ApiCall, CollectError, CollectProgress, CollectSettings, Events};
use evidence::{Action, ActionId};

/// Between two looks at a package on its way, service time: it takes minutes.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// The action's JSON as the service sends it.
pub async fn get_action(settings: &CollectSettings, id: ActionId) -> Result<Vec<u8>, CollectError> {
    let api = open(settings).await?;
    let ask = ApiRequest::get(ApiCall::Action, api.url(&format!("machineactions/{id}")));
    let looked = api.call_with_retries(&ask).await;
    looked
        .map(|answer| answer.body)
        .map_err(|error| error.into_fatal(ApiCall::Action, &api.host))
}

/// Cancels an action and returns its JSON as the service answers. Repeating it
/// is harmless.
pub async fn cancel_action(
    settings: &CollectSettings,
    id: ActionId,
    comment: &str,
) -> Result<Vec<u8>, CollectError> {
    let api = open(settings).await?;
    let url = api.url(&format!("machineactions/{id}/cancel"));
    let comment = serde_json::json!({"Comment": comment}).to_string();
    let cancelled = api
        .call_with_retries(&ApiRequest::post(
            ApiCall::Cancel,
            url,
            comment.into_bytes(),
        ))
        .await;
    cancelled
        .map(|answer| answer.body)
        .map_err(|error| error.into_fatal(ApiCall::Cancel, &api.host))
}

/// Waits until a package is over, telling where it stands; returns it as it
/// ended.
///
/// **Errors**: also where the action is none, and where the service still does
/// not know it when a fresh one would be visible.
pub async fn wait_for_package(
    settings: &CollectSettings,
    id: ActionId,
    events: Events,
) -> Result<Action, CollectError> {
    let api = open(settings).await?;
    let ask = ApiRequest::get(ApiCall::Action, api.url(&format!("machineactions/{id}")));
    let fatal = |error: CallError| error.into_fatal(ApiCall::Action, &api.host);
    let (mut tries, mut told) = (RetryState::default(), String::new());
    loop {
        let answer = match api.call_with_retries(&ask).await {
            Ok(answer) => answer,
            Err(error) => match &error {
                CallError::Service(e) if e.status == 404 => {
                    match tries.next_delay(ErrorClass::NotFound) {
                        Some(wait) => {
                            api.clock.sleep(wait).await;
                            continue;
                        }
                        None => return Err(fatal(error)),
                    }
                }
                _ => return Err(fatal(error)),
            },
        };
        let action = Action::from_json(&answer.body).map_err(|error| CollectError::Response {
            call: ApiCall::Action.description(),
            why: crate::error::clean(&error.to_string()),
        })?;
        if !is_package(&action) {
            return Err(CollectError::Setting {
                setting: "the action",
                why: format!("{id} is no investigation package"),
            });
        }
        if action.is_final() {
            return Ok(action);
        }
        if told != action.status {
            told.clone_from(&action.status);
            events(CollectProgress::Notice(format!("package {id} is {told}")));
        }
        api.clock.sleep(LOOK_EVERY).await;
    }
}

pub(crate) async fn open(settings: &CollectSettings) -> Result<Api, CollectError> {
    settings.validate()?;
    Api::open(settings, Arc::new(CollectCounters::new(Arc::new(|_| ())))).await
}
