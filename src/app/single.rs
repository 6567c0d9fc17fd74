//! The library and single actions of the service.

use std::path::Path;
use std::time::Duration;

use super::collecting::{CollectReport, collect_into, runtime};
use super::failure::{Failure, Kind};
use crate::collect::{self, Events, Library, LibraryFile, Settings, Upload};
use crate::evidence::{Action, ActionId};

pub fn list_library(settings: &Settings) -> Result<Vec<LibraryFile>, Failure> {
    Ok(runtime()?.block_on(async { Library::open(settings).await?.list().await })?)
}

/// Puts a file into the library, checked by its hash.
pub fn upload_to_library(
    settings: &Settings,
    path: &Path,
    description: &str,
    parameters: &str,
    replace: bool,
) -> Result<LibraryFile, Failure> {
    let upload = Upload {
        description: description.to_string(),
        parameters: parameters.to_string(),
        replace,
        ..Upload::from_file(path)?
    };
    Ok(runtime()?.block_on(async { Library::open(settings).await?.upload(&upload).await })?)
}

pub fn delete_from_library(settings: &Settings, name: &str) -> Result<(), Failure> {
    Ok(runtime()?.block_on(async { Library::open(settings).await?.delete(name).await })?)
}

/// An action's JSON as the service sends it, cancelled first where a comment
/// says why.
pub fn action_as_sent(
    settings: &Settings,
    id: ActionId,
    cancel: Option<&str>,
) -> Result<Vec<u8>, Failure> {
    let runtime = runtime()?;
    Ok(match cancel {
        Some(comment) => runtime.block_on(collect::cancel_action(settings, id, comment))?,
        None => runtime.block_on(collect::look_at_action(settings, id))?,
    })
}

/// Has an investigation package collected on a device, by id, full or short
/// name.
pub fn start_package(
    settings: &Settings,
    device: &str,
    comment: &str,
) -> Result<ActionId, Failure> {
    Ok(runtime()?.block_on(collect::start_package(settings, device, comment))?)
}

/// Between two looks at a package on its way, service time: it takes minutes.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// Waits until a package is ready and archives it.
pub fn finish_package(
    archive: &Path,
    mut settings: Settings,
    id: ActionId,
    events: Events,
) -> Result<CollectReport, Failure> {
    let wait = LOOK_EVERY.div_f64(settings.pace.time_scale.max(1.0));
    loop {
        match action_as_sent(&settings, id, None) {
            Ok(json) if Action::from_json(&json).is_ok_and(|action| action.is_final()) => break,
            // A fresh one stays invisible for minutes.
            Ok(_) => {}
            Err(failure) if failure.is_not_found() => {}
            Err(failure) => return Err(failure),
        }
        std::thread::sleep(wait);
    }
    settings.filter.packages = true;
    settings.filter.actions = vec![id];
    collect_into(archive, settings, events)
}

/// What a command prints as the client secret.
pub fn secret_from_command(line: &str) -> Result<collect::Secret, Failure> {
    let printed = runtime()?.block_on(collect::secret_from_command(line));
    printed
        .map_err(|error| Failure::caused(Kind::Refused, "could not get the client secret", error))
}
