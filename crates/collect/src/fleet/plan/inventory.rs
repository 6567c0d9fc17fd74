//! Reads the inventory that a plan is made from: machines, library files and
//! permissions of the tenant. Changes nothing.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::counters::CollectCounters;
use crate::fleet::plan::device_selector::select_machines;
use crate::fleet::plan::machine::{FleetInventory, MachineInfo};
use crate::service::api::Api;
use crate::service::auth::jwt;
use crate::service::auth::jwt::LIST_PERMISSIONS;
use crate::service::entity_list::{for_each_entity, read_entities};
use crate::{ApiCall, CollectError, CollectSettings, Events};

/// Permissions of a fleet run; of each group one suffices.
const NEEDED: [&[&str]; 3] = [
    &["Machine.LiveResponse"],
    LIST_PERMISSIONS,
    &["Library.Manage"],
];

/// Reads the inventory of the tenant.
///
/// **Errors**: the sign-in or a list failed. A library that the service refuses
/// to show is no error: [`FleetInventory::library`] is `None` then.
///
/// **Cost**: one list of all machines and one of the library.
pub async fn read_inventory(
    settings: &CollectSettings,
    events: Events,
) -> Result<FleetInventory, CollectError> {
    settings.validate()?;
    let api = Api::open(settings, Arc::new(CollectCounters::new(events))).await?;
    let missing_permissions = missing_permissions(&api).await?;
    let (machines, now) = list_machines(&api, None).await?;
    Ok(FleetInventory {
        machines,
        library: library_names(&api).await?,
        missing_permissions,
        now,
    })
}

async fn missing_permissions(api: &Api) -> Result<Vec<String>, CollectError> {
    let token = api.tokens.token().await?;
    let Some(claims) = jwt::read_claims(&token) else {
        return Ok(Vec::new());
    };
    let missing = NEEDED.iter().filter(|any| !claims.has_any(any));
    Ok(missing
        .filter_map(|any| any.first())
        .map(ToString::to_string)
        .collect())
}

/// Lists the machines that match `filter`, or all; returns the service's time
/// too.
pub(crate) async fn list_machines(
    api: &Api,
    filter: Option<&str>,
) -> Result<(Vec<MachineInfo>, Option<Timestamp>), CollectError> {
    let mut url = api.url("machines");
    if let Some(filter) = filter {
        url.set_query(Some(&format!("$filter={filter}")));
    }
    let (mut machines, mut seen) = (Vec::new(), HashSet::new());
    let date = for_each_entity(api, ApiCall::Machines, url, |value| {
        let machine = MachineInfo::from_value(&value);
        machines.extend(machine.filter(|m| seen.insert(m.id.clone())));
    })
    .await?;
    Ok((machines, date))
}

/// The id of the one machine that `device` selects.
///
/// **Errors**: the list failed, or `device` selects no machine or several.
pub(crate) async fn resolve_machine_id(api: &Api, device: &str) -> Result<String, CollectError> {
    let (machines, _) = list_machines(api, None).await?;
    let (selected, diagnostics) = select_machines(&[device.to_string()], &machines);
    if let [one] = selected.as_slice()
        && let Some(machine) = machines.get(*one)
    {
        return Ok(machine.id.clone());
    }
    let why = match diagnostics.first() {
        Some(diagnostic) => diagnostic.to_string(),
        None => format!("`{device}` selects {} machines", selected.len()),
    };
    Err(CollectError::Setting {
        setting: "device",
        why,
    })
}

/// File names of the library; `None` if the service refuses to show it.
async fn library_names(api: &Api) -> Result<Option<Vec<String>>, CollectError> {
    match read_entities(api, ApiCall::Library, api.url("libraryfiles")).await {
        Ok((files, _)) => Ok(Some(
            files
                .iter()
                .filter_map(|file| file["fileName"].as_str())
                .map(str::to_string)
                .collect(),
        )),
        Err(CollectError::Service { service, .. }) if service.status == 403 => Ok(None),
        Err(error) => Err(error),
    }
}
