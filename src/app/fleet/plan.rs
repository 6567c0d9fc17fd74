//! Plans a fleet run from a playbook and a selection of devices.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use collect::fleet;
use collect::fleet::{Diagnostic, FleetPlan, FleetRequest, PLAYBOOK_BYTES_MAX, Playbook};

use crate::app::error::{Failure, FailureKind};
use crate::app::service_settings::ServiceSettings;

/// A file with the names of some hundred thousand devices; a longer one is a
/// mistyped path.
const DEVICES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads machines, library and permissions from the service and makes a plan.
/// Changes nothing.
///
/// The inner error contains everything that is wrong with the request.
pub async fn plan_fleet(
    service: &ServiceSettings,
    request: &FleetRequest,
) -> Result<Result<FleetPlan, Vec<Diagnostic>>, Failure> {
    let read_inventory = fleet::read_inventory(&service.to_collect()?, Arc::new(|_| ())).await?;
    Ok(FleetPlan::new(request, &read_inventory))
}

/// Reads a playbook.
pub fn read_playbook(path: &Path) -> Result<Playbook, Failure> {
    let text = read_text(path, PLAYBOOK_BYTES_MAX)?;
    Playbook::read(&text).map_err(|error| {
        Failure::caused(FailureKind::Usage, path.display().to_string(), error)
            .hint("see `help run` for a playbook; write paths in 'single quotes'")
    })
}

/// Reads a list of devices. A word that names a file stands for the lines of
/// the file, without empty lines and text after `#`.
pub fn read_devices(words: &[String]) -> Result<Vec<String>, Failure> {
    let mut devices = Vec::new();
    for word in words {
        let path = Path::new(word);
        if !path.is_file() {
            devices.push(word.clone());
            continue;
        }
        let text = read_text(path, DEVICES_BYTES_MAX)?;
        let names = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or("").trim())
            .filter(|name| !name.is_empty());
        devices.extend(names.map(str::to_string));
    }
    Ok(devices)
}

/// Reads a configuration file.
pub fn read_config(path: &Path) -> Result<String, Failure> {
    read_text(path, PLAYBOOK_BYTES_MAX)
}

/// Describes an error in a configuration file by its line, without a quote of
/// the line, which may contain a secret.
pub fn describe_config_error(text: &str, error: &toml::de::Error) -> String {
    fleet::describe_toml_error(text, error)
}

fn read_text(path: &Path, max: u64) -> Result<String, Failure> {
    let attempt = || format!("could not read {}", path.display());
    let failed = |e| Failure::caused(FailureKind::Usage, attempt(), e);
    let mut text = String::new();
    File::open(path)
        .map_err(failed)?
        .take(max + 1)
        .read_to_string(&mut text)
        .map_err(failed)?;
    if text.len() as u64 > max {
        return Err(Failure::usage(format!(
            "{}: longer than {max} bytes",
            attempt()
        )));
    }
    Ok(text.trim_start_matches('\u{feff}').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_stands_for_the_devices_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("devices.txt");
        std::fs::write(
            &path,
            "\u{feff}ws-1\r\n\n# all of them\nws-2  # the other\n",
        )
        .unwrap();
        let words = ["srv-1".to_string(), path.display().to_string()];
        assert_eq!(read_devices(&words).unwrap(), ["srv-1", "ws-1", "ws-2"]);
    }

    #[test]
    fn error_in_a_playbook_names_the_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.toml");
        std::fs::write(&path, "[[step]]\nget = \"C:\\Temp\"").unwrap();
        let failure = read_playbook(&path).unwrap_err();
        assert!(failure.chain().contains("line 2"), "{}", failure.chain());
    }
}
