//! What the service says before a plan is made: its machines, its library and
//! what the token holds. Reads only.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use url::Url;

use crate::clock::Clock;
use crate::error::clean;
use crate::fetch::counters::Tally;
use crate::fleet::plan::device_selector;
use crate::fleet::{Machine, Survey};
use crate::service::api::{Api, Ask, CallError};
use crate::service::auth::jwt;
use crate::service::auth::jwt::TO_LIST;
use crate::service::list;
use crate::service::list::PAGES_MAX;
use crate::{ApiCall, CollectError, CollectSettings, Events};

/// More machines, files or actions of one machine than there are; a list that
/// goes on holds some hundred bytes of each.
const ENTITIES_MAX: usize = 300_000;

/// A permission, and those that hold it as well.
const NEEDED: [&[&str]; 3] = [&["Machine.LiveResponse"], TO_LIST, &["Library.Manage"]];

/// Looks before the first call that changes anything.
pub async fn survey(settings: &CollectSettings, events: Events) -> Result<Survey, CollectError> {
    settings.validate()?;
    let clock = Clock::new(settings.pace.time_scale);
    let api = Api::open(settings, clock, Arc::new(Tally::new(events))).await?;
    look(&api).await
}

pub(crate) async fn look(api: &Api) -> Result<Survey, CollectError> {
    let missing_permissions = missing_permissions(api).await?;
    let (machines, now) = machines(api, None).await?;
    Ok(Survey {
        machines,
        library: library_names(api).await?,
        missing_permissions,
        now,
    })
}

async fn missing_permissions(api: &Api) -> Result<Vec<String>, CollectError> {
    let token = api.signer.bearer().await?;
    let Some(claims) = jwt::claims(&token) else {
        return Ok(Vec::new());
    };
    let missing = NEEDED.iter().filter(|any| !claims.hold_any(any));
    Ok(missing
        .filter_map(|any| any.first())
        .map(ToString::to_string)
        .collect())
}

/// Every machine, or those `filter` takes, and the service's clock.
pub(crate) async fn machines(
    api: &Api,
    filter: Option<&str>,
) -> Result<(Vec<Machine>, Option<Timestamp>), CollectError> {
    let mut url = api.url("machines");
    if let Some(filter) = filter {
        url.set_query(Some(&format!("$filter={filter}")));
    }
    let (mut machines, mut seen) = (Vec::new(), HashSet::new());
    let date = each_entity(api, ApiCall::Machines, url, |value| {
        let machine = Machine::from_value(&value);
        machines.extend(machine.filter(|m| seen.insert(m.id.clone())));
    });
    let date = date.await?;
    Ok((machines, date))
}

/// The id of the one machine that is called that.
pub(crate) async fn resolve_one(api: &Api, device: &str) -> Result<String, CollectError> {
    let (machines, _) = machines(api, None).await?;
    let (places, wrong) = device_selector::resolve(&[device.to_string()], &machines);
    let why = match (places.as_slice(), wrong.first()) {
        ([place], _) => match machines.get(*place) {
            Some(machine) => return Ok(machine.id.clone()),
            None => "it is gone".to_string(),
        },
        (_, Some(wrong)) => wrong.to_string(),
        (many, None) => format!("{} machines are meant", many.len()),
    };
    Err(CollectError::Setting {
        setting: "the device",
        why,
    })
}

/// `None` where the service refuses to show the library.
async fn library_names(api: &Api) -> Result<Option<Vec<String>>, CollectError> {
    match entities(api, ApiCall::Library, api.url("libraryfiles")).await {
        Ok((values, _)) => Ok(Some(
            values
                .iter()
                .filter_map(|file| file["fileName"].as_str())
                .map(str::to_string)
                .collect(),
        )),
        Err(CollectError::Service { service, .. }) if service.status == 403 => Ok(None),
        Err(error) => Err(error),
    }
}

/// All entities of a list, and the service's clock when it answered first.
pub(crate) async fn entities(
    api: &Api,
    call: ApiCall,
    first: Url,
) -> Result<(Vec<Value>, Option<Timestamp>), CollectError> {
    let mut values = Vec::new();
    let date = each_entity(api, call, first, |value| values.push(value)).await?;
    Ok((values, date))
}

/// Reads a list to its end, page by page.
///
/// **Errors**: also where it has none: what would stand there may be what is
/// looked for.
async fn each_entity(
    api: &Api,
    call: ApiCall,
    first: Url,
    mut take: impl FnMut(Value),
) -> Result<Option<Timestamp>, CollectError> {
    let (mut date, mut taken) = (None, 0);
    let mut next = Some(first);
    let mut visited = HashSet::new();
    while let Some(url) = next.take() {
        let goes_on = taken > ENTITIES_MAX || visited.len() >= PAGES_MAX;
        if goes_on || !visited.insert(url.clone()) {
            return Err(CollectError::Answer {
                call: call.doing(),
                why: format!(
                    "the list does not end: {taken} entries on {} pages",
                    visited.len()
                ),
            });
        }
        let fatal = |error: CallError| error.into_fatal(call, &api.host);
        let answer = api
            .call_patiently(&Ask::get(call, url))
            .await
            .map_err(fatal)?;
        date = date.or(answer.date);
        let page = read_page(&answer.body).map_err(|why| CollectError::Answer {
            call: call.doing(),
            why,
        })?;
        taken += page.0.len();
        page.0.into_iter().for_each(&mut take);
        next = page.1.and_then(|next| list::next_page(&api.base, &next));
    }
    Ok(date)
}

fn read_page(body: &[u8]) -> Result<(Vec<Value>, Option<String>), String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut page: Value = serde_json::from_slice(body).map_err(|e| clean(&e.to_string()))?;
    // What is no object has no list either.
    let Some(Value::Array(values)) = page.get_mut("value").map(Value::take) else {
        return Err("it holds no list".into());
    };
    let next = page["@odata.nextLink"].as_str().map(str::to_string);
    Ok((values, next.filter(|next| !next.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_no_object_holds_no_list() {
        for body in ["[]", "\"busy\"", "7", "null", "{}", "{\"value\":{}}"] {
            let read = read_page(body.as_bytes());
            assert_eq!(read, Err("it holds no list".into()), "{body}");
        }
        let page = br#"{"value":[1],"@odata.nextLink":"x"}"#;
        assert_eq!(read_page(page), Ok((vec![1.into()], Some("x".into()))));
    }
}
