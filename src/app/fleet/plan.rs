use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::app::collect::runtime;
use crate::app::error::{Failure, Kind};
use collect::CollectSettings;
use collect::fleet;
use collect::fleet::{Diagnostic, FleetPlan, FleetRequest, PLAYBOOK_BYTES_MAX, Playbook};

/// Names of some hundred thousand devices; a longer file is a mistaken path.
const DEVICES_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Looks at machines, library and permissions and makes the plan, or says all
/// that is wrong. Changes nothing.
pub fn plan_fleet(
    settings: &CollectSettings,
    request: &FleetRequest,
) -> Result<Result<FleetPlan, Vec<Diagnostic>>, Failure> {
    let survey = runtime()?.block_on(fleet::read_inventory(settings, Arc::new(|_| ())))?;
    Ok(FleetPlan::new(request, &survey))
}

/// Reads a playbook.
pub fn read_playbook(path: &Path) -> Result<Playbook, Failure> {
    let text = read_text(path, PLAYBOOK_BYTES_MAX)?;
    let read = Playbook::read(&text);
    read.map_err(|error| {
        Failure::caused(Kind::Asked, format!("{}", path.display()), error)
            .hint("`help run` shows a whole playbook; write paths in 'single quotes'")
    })
}

/// Devices as typed: a word that is a file stands for the lines in it, blank
/// ones and those after `#` left out.
pub fn read_devices(typed: &[String]) -> Result<Vec<String>, Failure> {
    let mut devices = Vec::new();
    for word in typed {
        let path = Path::new(word);
        if !path.is_file() {
            devices.push(word.clone());
            continue;
        }
        let text = read_text(path, DEVICES_BYTES_MAX)?;
        let lines = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or(""));
        let named = lines.map(str::trim).filter(|name| !name.is_empty());
        devices.extend(named.map(str::to_string));
    }
    Ok(devices)
}

/// A config file's text.
pub fn read_config(path: &Path) -> Result<String, Failure> {
    read_text(path, PLAYBOOK_BYTES_MAX)
}

fn read_text(path: &Path, max: u64) -> Result<String, Failure> {
    let doing = || format!("could not read {}", path.display());
    let file = std::fs::File::open(path).map_err(|e| Failure::caused(Kind::Asked, doing(), e))?;
    let mut text = String::new();
    file.take(max + 1)
        .read_to_string(&mut text)
        .map_err(|e| Failure::caused(Kind::Asked, doing(), e))?;
    if text.len() as u64 > max {
        return Err(Failure::asked(format!(
            "{}: longer than {max} bytes",
            doing()
        )));
    }
    Ok(text.trim_start_matches('\u{feff}').to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_stands_for_the_devices_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("devices.txt");
        std::fs::write(
            &path,
            "\u{feff}ws-1\r\n\n# all of them\nws-2  # the other\n",
        )
        .unwrap();
        let typed = ["srv-1".to_string(), path.display().to_string()];
        assert_eq!(read_devices(&typed).unwrap(), ["srv-1", "ws-1", "ws-2"]);
    }

    #[test]
    fn a_playbook_that_cannot_be_read_says_where() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.toml");
        std::fs::write(&path, "[[step]]\nget = \"C:\\Temp\"").unwrap();
        let failure = read_playbook(&path).unwrap_err();
        assert!(failure.chain().contains("line 2"), "{}", failure.chain());
    }
}
