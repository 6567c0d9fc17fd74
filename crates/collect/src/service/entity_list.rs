//! Complete lists of entities: every page of a collection such as machines,
//! library files or the actions of one machine.
//!
//! The lists of actions that collecting polls are in `list`; they are large,
//! change while they are read, and are kept byte for byte.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::api_call::ApiCall;
use crate::error::{CollectError, clean};
use crate::service::api::{Api, ApiRequest, CallError};
use crate::service::list;
use crate::service::list::PAGES_MAX;

/// Entities read from one list. More than any tenant has; a list that never
/// ends is stopped here.
const ENTITIES_MAX: usize = 300_000;

/// Reads all entities of a list, and the service's time of the first page.
///
/// **Errors**: see [`for_each_entity`].
pub(crate) async fn read_entities(
    api: &Api,
    call: ApiCall,
    first: Url,
) -> Result<(Vec<Value>, Option<Timestamp>), CollectError> {
    let mut values = Vec::new();
    let date = for_each_entity(api, call, first, |value| values.push(value)).await?;
    Ok((values, date))
}

/// Calls `visit` for each entity of a list, page by page; returns the
/// service's time of the first page.
///
/// **Errors**: the call failed, a page is malformed, or the list does not end.
/// A list that was not read to its end proves nothing about the entities it
/// did not show.
pub(crate) async fn for_each_entity(
    api: &Api,
    call: ApiCall,
    first: Url,
    mut visit: impl FnMut(Value),
) -> Result<Option<Timestamp>, CollectError> {
    let (mut date, mut count) = (None, 0);
    let mut next = Some(first);
    let mut visited = HashSet::new();
    while let Some(url) = next.take() {
        let is_endless = count > ENTITIES_MAX || visited.len() >= PAGES_MAX;
        if is_endless || !visited.insert(url.clone()) {
            return Err(CollectError::Response {
                call,
                why: format!(
                    "the list does not end: {count} entries on {} pages",
                    visited.len()
                ),
            });
        }
        let fatal = |error: CallError| error.into_fatal(call, &api.host);
        let response = api
            .call_with_retries(&ApiRequest::get(call, url))
            .await
            .map_err(fatal)?;
        date = date.or(response.date);
        let (entities, link) =
            parse_page(&response.body).map_err(|why| CollectError::Response { call, why })?;
        count += entities.len();
        entities.into_iter().for_each(&mut visit);
        next = link.and_then(|link| list::next_page_url(&api.base, &link));
    }
    Ok(date)
}

/// The entities of a page and the link to the next one.
fn parse_page(body: &[u8]) -> Result<(Vec<Value>, Option<String>), String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut page: Value = serde_json::from_slice(body).map_err(|e| clean(&e.to_string()))?;
    let Some(Value::Array(entities)) = page.get_mut("value").map(Value::take) else {
        return Err("the page contains no list".into());
    };
    let next = page["@odata.nextLink"].as_str().map(str::to_string);
    Ok((entities, next.filter(|next| !next.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_without_a_value_array_is_an_error() {
        for body in ["[]", "\"busy\"", "7", "null", "{}", "{\"value\":{}}"] {
            let parsed = parse_page(body.as_bytes());
            assert_eq!(parsed, Err("the page contains no list".into()), "{body}");
        }
        let page = br#"{"value":[1],"@odata.nextLink":"x"}"#;
        assert_eq!(parse_page(page), Ok((vec![1.into()], Some("x".into()))));
    }
}
