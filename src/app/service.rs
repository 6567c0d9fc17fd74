//! Single calls of the service: its library, one action, an investigation
//! package.

use std::path::Path;

use collect::{LibraryClient, LibraryFile, LibraryUpload, Secret};
use evidence::{Action, ActionId};

use crate::app::collect::{CollectReport, collect};
use crate::app::collect_events::{RunControl, to_collector};
use crate::app::columns::columns;
use crate::app::error::{Failure, FailureKind};
use crate::app::service_settings::{CollectPolling, CollectRequest, ServiceSettings};

columns! {
    /// A file of the library.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LibraryRow {
        pub name: String,
        pub sha256: Option<String>,
        pub description: String,
        pub created_by: String,
        pub updated: String,
    }
}

impl From<LibraryFile> for LibraryRow {
    fn from(file: LibraryFile) -> Self {
        Self {
            name: file.name,
            sha256: file.sha256,
            description: file.description,
            created_by: file.created_by,
            updated: file.updated,
        }
    }
}

/// How a file is added to the library.
#[derive(Clone, Debug, Default)]
pub struct UploadOptions {
    pub description: String,
    /// Description of the parameters of a script; empty if it has none.
    pub parameters: String,
    /// Replace a file with the same name.
    pub replace: bool,
}

/// Lists the library.
pub async fn list_library(service: &ServiceSettings) -> Result<Vec<LibraryRow>, Failure> {
    let client = LibraryClient::open(&service.to_collect()?).await?;
    let files = client.list().await?;
    Ok(files.into_iter().map(LibraryRow::from).collect())
}

/// Adds a file to the library, and checks its hash there.
pub async fn upload_to_library(
    service: &ServiceSettings,
    file: &Path,
    options: &UploadOptions,
) -> Result<LibraryRow, Failure> {
    let upload = LibraryUpload {
        description: options.description.clone(),
        parameters: options.parameters.clone(),
        replace: options.replace,
        ..LibraryUpload::from_file(file)?
    };
    let client = LibraryClient::open(&service.to_collect()?).await?;
    Ok(client.upload(&upload).await?.into())
}

/// Deletes a file from the library.
pub async fn delete_from_library(service: &ServiceSettings, name: &str) -> Result<(), Failure> {
    let client = LibraryClient::open(&service.to_collect()?).await?;
    Ok(client.delete(name).await?)
}

/// The JSON of an action as the service sends it. With `cancel`, the action is
/// cancelled with this comment before.
pub async fn action_as_sent(
    service: &ServiceSettings,
    id: ActionId,
    cancel: Option<&str>,
) -> Result<Vec<u8>, Failure> {
    let settings = service.to_collect()?;
    Ok(match cancel {
        Some(comment) => collect::cancel_action(&settings, id, comment).await?,
        None => collect::get_action(&settings, id).await?,
    })
}

/// Starts the collection of an investigation package on a device, given by
/// machine id, full or short name.
pub async fn start_package(
    service: &ServiceSettings,
    device: &str,
    comment: &str,
) -> Result<ActionId, Failure> {
    Ok(collect::start_package(&service.to_collect()?, device, comment).await?)
}

/// An investigation package that the service has completed.
#[derive(Debug)]
pub struct PackageReport {
    pub collected: CollectReport,
    /// In its final state.
    pub action: Action,
}

/// Waits until a package is complete and collects it. `None` if it was
/// stopped before.
pub async fn collect_package(
    archive: &Path,
    service: &ServiceSettings,
    id: ActionId,
    control: RunControl,
) -> Result<Option<PackageReport>, Failure> {
    let settings = service.to_collect()?;
    let events = to_collector(control.events.clone());
    let mut stop = control.stop.clone();
    let completed = tokio::select! {
        completed = collect::wait_for_package(&settings, id, events) => completed,
        _ = stop.wait_for(|stopped| *stopped) => return Ok(None),
    };
    let action = completed?;
    let request = CollectRequest {
        packages: true,
        actions: vec![id],
        polling: CollectPolling::default(),
        ..CollectRequest::default()
    };
    let collected = collect(archive, service, &request, control).await?;
    Ok(Some(PackageReport { collected, action }))
}

/// Runs a command that prints the client secret.
pub async fn secret_from_command(command: &str) -> Result<Secret, Failure> {
    collect::secret_from_command(command)
        .await
        .map_err(|error| {
            Failure::caused(
                FailureKind::Refused,
                "could not get the client secret",
                error,
            )
        })
}
