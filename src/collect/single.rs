//! One action by its id: looked at, cancelled.

use std::sync::Arc;

use super::api::{Api, Ask};
use super::clock::Clock;
use super::tally::Tally;
use super::{Call, CollectError, Settings};
use crate::evidence::ActionId;

/// The action's JSON as the service sends it.
pub async fn look_at_action(settings: &Settings, id: ActionId) -> Result<Vec<u8>, CollectError> {
    let api = open(settings).await?;
    let ask = Ask::get(Call::Action, api.url(&format!("machineactions/{id}")));
    let looked = api.call_patiently(&ask).await;
    looked
        .map(|answer| answer.body)
        .map_err(|error| error.into_fatal(Call::Action, &api.host))
}

/// Cancels an action and returns its JSON as the service answers. Repeating it
/// is harmless.
pub async fn cancel_action(
    settings: &Settings,
    id: ActionId,
    comment: &str,
) -> Result<Vec<u8>, CollectError> {
    let api = open(settings).await?;
    let url = api.url(&format!("machineactions/{id}/cancel"));
    let comment = serde_json::json!({"Comment": comment}).to_string();
    let cancelled = api
        .call_patiently(&Ask::post(Call::Cancel, url, comment.into_bytes()))
        .await;
    cancelled
        .map(|answer| answer.body)
        .map_err(|error| error.into_fatal(Call::Cancel, &api.host))
}

pub(super) async fn open(settings: &Settings) -> Result<Api, CollectError> {
    settings.validate()?;
    let clock = Clock::new(settings.pace.time_scale);
    Api::open(settings, clock, Arc::new(Tally::new(Arc::new(|_| ())))).await
}
