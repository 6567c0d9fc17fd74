//! The library and single actions of the service.

use std::path::Path;

use crate::app::collect::{CollectReport, collect_into, runtime, runtime_until_interrupted};
use crate::app::error::{Failure, Kind};
use collect;
use collect::{CollectSettings, Events, LibraryClient, LibraryFile, LibraryUpload};
use evidence::{Action, ActionId};

pub fn list_library(settings: &CollectSettings) -> Result<Vec<LibraryFile>, Failure> {
    Ok(runtime()?.block_on(async { LibraryClient::open(settings).await?.list().await })?)
}

/// Puts a file into the library, checked by its hash.
pub fn upload_to_library(
    settings: &CollectSettings,
    path: &Path,
    description: &str,
    parameters: &str,
    replace: bool,
) -> Result<LibraryFile, Failure> {
    let upload = LibraryUpload {
        description: description.to_string(),
        parameters: parameters.to_string(),
        replace,
        ..LibraryUpload::from_file(path)?
    };
    Ok(
        runtime()?
            .block_on(async { LibraryClient::open(settings).await?.upload(&upload).await })?,
    )
}

pub fn delete_from_library(settings: &CollectSettings, name: &str) -> Result<(), Failure> {
    Ok(runtime()?.block_on(async { LibraryClient::open(settings).await?.delete(name).await })?)
}

/// An action's JSON as the service sends it, cancelled first where a comment
/// says why.
pub fn action_as_sent(
    settings: &CollectSettings,
    id: ActionId,
    cancel: Option<&str>,
) -> Result<Vec<u8>, Failure> {
    let runtime = runtime()?;
    Ok(match cancel {
        Some(comment) => runtime.block_on(collect::cancel_action(settings, id, comment))?,
        None => runtime.block_on(collect::get_action(settings, id))?,
    })
}

/// Has an investigation package collected on a device, by id, full or short
/// name.
pub fn start_package(
    settings: &CollectSettings,
    device: &str,
    comment: &str,
) -> Result<ActionId, Failure> {
    Ok(runtime()?.block_on(collect::start_package(settings, device, comment))?)
}

/// What became of a package.
#[derive(Debug)]
pub struct PackageEnded {
    pub collected: CollectReport,
    /// As the service ended it.
    pub action: Action,
}

/// Waits until a package is over and archives it. `None` where a person
/// stopped the waiting.
pub fn finish_package(
    archive: &Path,
    mut settings: CollectSettings,
    id: ActionId,
    events: Events,
) -> Result<Option<PackageEnded>, Failure> {
    let waited = runtime_until_interrupted(|mut stopped| {
        let (settings, events) = (settings.clone(), events.clone());
        async move {
            tokio::select! {
                waited = collect::wait_for_package(&settings, id, events) => Some(waited),
                _ = stopped.wait_for(|stopped| *stopped) => None,
            }
        }
    })?;
    let Some(waited) = waited else {
        return Ok(None);
    };
    let action = waited?;
    settings.filter.packages = true;
    settings.filter.actions = vec![id];
    let collected = collect_into(archive, settings, events)?;
    Ok(Some(PackageEnded { collected, action }))
}

/// What a command prints as the client secret.
pub fn secret_from_command(line: &str) -> Result<collect::Secret, Failure> {
    let printed = runtime()?.block_on(collect::secret_from_command(line));
    printed
        .map_err(|error| Failure::caused(Kind::Refused, "could not get the client secret", error))
}
