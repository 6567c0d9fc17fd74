//! Reads a fleet from a folder of saved results.
//!
//! Layout: `ACTION_ID.json` or `ACTION_ID/action.json`, or lists of actions
//! (`{"value":[…]}`), next to the results `ACTION_ID/INDEX.*`. Other files are
//! served too: the files of each top-level folder become one action on a device
//! with the name of the folder. Files are served unchanged.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::synthetic::action::{ScriptedAction, ScriptedCommand};
use crate::synthetic::body::ResultBody;
use crate::synthetic::device::EmulatedDevice;
use crate::synthetic::fleet::EmulatedFleet;
use crate::synthetic::ids::guid_from_name;
use evidence::ActionId;

/// Largest JSON file that is parsed. An action list is read into memory; a
/// year of actions is far smaller.
const JSON_MAX: u64 = 256 << 20;
/// Bytes of a JSON file read to distinguish a transcript from another file.
const PEEK: usize = 4096;
/// Maximum depth of nested folders; deeper nesting is a loop or an attack.
const DEPTH_MAX: usize = 32;

impl EmulatedFleet {
    /// Reads a folder of results.
    ///
    /// **Errors**: the folder cannot be listed or contains no result. A single
    /// unreadable file is skipped.
    pub fn from_folder(root: &Path) -> Result<Self> {
        let mut scan = FolderScan::default();
        scan.walk(root, root, 0)?;
        let fleet = scan.into_fleet();
        if fleet.is_empty() {
            let path = root.to_path_buf();
            return Err(Error::EmptyFolder { path });
        }
        Ok(fleet)
    }
}

/// The files of a folder, by their role.
#[derive(Default)]
struct FolderScan {
    actions: BTreeMap<ActionId, ScriptedAction>,
    devices: Vec<EmulatedDevice>,
    /// Results by action and command index.
    results: BTreeMap<(ActionId, u32), PathBuf>,
    /// Other files, by top-level folder and path below it.
    other_files: BTreeMap<String, BTreeMap<String, PathBuf>>,
}

impl FolderScan {
    fn walk(&mut self, root: &Path, folder: &Path, depth: usize) -> Result<()> {
        let unreadable = |source| Error::Read {
            path: folder.to_path_buf(),
            source,
        };
        let entries = fs::read_dir(folder).map_err(unreadable)?;
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<Vec<_>>>()
            .map_err(unreadable)?;
        paths.sort();
        for path in paths {
            let Ok(kind) = fs::symlink_metadata(&path).map(|m| m.file_type()) else {
                continue;
            };
            if kind.is_dir() && depth < DEPTH_MAX {
                self.walk(root, &path, depth + 1)?;
            } else if kind.is_file() && !is_hidden(&path) {
                self.add_file(root, path);
            }
        }
        Ok(())
    }

    fn add_file(&mut self, root: &Path, path: PathBuf) {
        let stem = stem_of(&path);
        let parent = path.parent().and_then(Path::file_name);
        let action = parent.and_then(OsStr::to_str).and_then(|n| n.parse().ok());
        if let (Some(action), Ok(index)) = (action, stem.parse()) {
            self.results.insert((action, index), path);
            return;
        }
        if is_documentation(&path) || (is_json(&path) && self.add_json(&path, action)) {
            return;
        }
        let below = path.strip_prefix(root).unwrap_or(&path);
        let mut parts = below.iter().map(|part| part.to_string_lossy());
        let first = parts.next().unwrap_or_default().into_owned();
        let rest = parts.collect::<Vec<_>>().join("\\");
        let (device, name) = if rest.is_empty() {
            (String::from("unknown"), first)
        } else {
            (first, rest)
        };
        self.other_files
            .entry(device)
            .or_default()
            .insert(name, path);
    }

    /// Adds the actions and devices of a JSON file; returns false if it contains
    /// neither. `folder_action` is the action whose folder contains the file.
    fn add_json(&mut self, path: &Path, folder_action: Option<ActionId>) -> bool {
        if !fs::metadata(path).is_ok_and(|m| m.len() <= JSON_MAX) {
            return false;
        }
        let Ok(bytes) = fs::read(path) else {
            return false;
        };
        let json = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let Ok(value) = serde_json::from_slice(json) else {
            return false;
        };
        let id = folder_action.or_else(|| stem_of(path).parse().ok());
        match value {
            Value::Object(mut object) => match object.remove("value") {
                Some(Value::Array(items)) => self.add_list(items),
                Some(_) => false,
                None => self.add_object(object, id),
            },
            Value::Array(items) => self.add_list(items),
            _ => false,
        }
    }

    fn add_list(&mut self, items: Vec<Value>) -> bool {
        let mut is_any_added = false;
        for item in items {
            if let Value::Object(object) = item {
                is_any_added |= self.add_object(object, None);
            }
        }
        is_any_added
    }

    /// Adds an action, or a device; `id` is the id of an action without one.
    fn add_object(&mut self, mut object: Map<String, Value>, id: Option<ActionId>) -> bool {
        let is_action = object.contains_key("commands") || object.contains_key("requestor");
        if is_action {
            if let Some(id) = id.filter(|_| !object.contains_key("id")) {
                object.insert("id".into(), id.to_string().into());
            }
            let Some(action) = ScriptedAction::from_json(object) else {
                return false;
            };
            if let Some(id) = action.id {
                self.actions.insert(id, action);
            }
            return true;
        }
        let is_machine = object.contains_key("computerDnsName") && object.contains_key("id");
        if is_machine {
            self.devices.push(EmulatedDevice::from_json(object));
        }
        is_machine
    }

    fn into_fleet(mut self) -> EmulatedFleet {
        // Results of actions without a JSON file.
        let mut orphans: BTreeMap<ActionId, Vec<(u32, PathBuf)>> = BTreeMap::new();
        for ((id, index), path) in self.results {
            match self.actions.get_mut(&id) {
                Some(action) => {
                    if let Ok(body) = ResultBody::file(&path) {
                        action.set_body(index, body);
                    }
                }
                None => orphans.entry(id).or_default().push((index, path)),
            }
        }
        let mut fleet = EmulatedFleet {
            devices: self.devices,
            ..EmulatedFleet::default()
        };
        for action in self.actions.into_values() {
            fleet = fleet.action(action);
        }
        for (id, files) in orphans {
            fleet = fleet.action(orphan_action(id, files));
        }
        for (device, files) in self.other_files {
            fleet = fleet.action(folder_action(&device, files));
        }
        fleet
    }
}

/// The action of `ACTION_ID/INDEX.*` without a JSON file: ids and indexes are
/// kept, the other properties are guessed.
fn orphan_action(id: ActionId, files: Vec<(u32, PathBuf)>) -> ScriptedAction {
    let mut action = ScriptedAction::on("unknown").id(id);
    for (index, path) in files {
        if let Ok(body) = ResultBody::file(&path) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            action = action.command_at(index, command_for(&path, &name).body(body));
        }
    }
    action
}

/// The action of the files of a top-level folder.
fn folder_action(device: &str, files: BTreeMap<String, PathBuf>) -> ScriptedAction {
    let action = ScriptedAction::on(device)
        .id(guid_from_name(&format!("folder {device}")))
        .comment("served from a folder");
    files.into_iter().fold(action, |action, (name, path)| {
        match ResultBody::file(&path) {
            Ok(body) => action.command(command_for(&path, &name).body(body)),
            Err(_) => action,
        }
    })
}

fn command_for(path: &Path, name: &str) -> ScriptedCommand {
    if is_json(path) && looks_like_transcript(path) {
        ScriptedCommand::run_script(&format!("{}.ps1", stem_of(path)), "")
    } else {
        ScriptedCommand::get_file(name.strip_suffix(".gz").unwrap_or(name))
    }
}

fn looks_like_transcript(path: &Path) -> bool {
    use std::io::Read;
    let mut head = Vec::with_capacity(PEEK);
    let read = fs::File::open(path).and_then(|f| f.take(PEEK as u64).read_to_end(&mut head));
    let has = |word: &[u8]| memchr::memmem::find(&head, word).is_some();
    read.is_ok() && (has(b"\"script_output\"") || has(b"\"script_name\"") || has(b"\"exit_code\""))
}

fn stem_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_string()
}

fn is_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("json"))
}

fn is_hidden(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// Whether a file documents the data: the readme, or the expected answers of a
/// generated collection.
fn is_documentation(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        name.eq_ignore_ascii_case("readme.md") || name.eq_ignore_ascii_case("answers.json")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5382f7ea-7557-4ab7-9782-d50480024a4e";
    const OTHER: &str = "11111111-7557-4ab7-9782-d50480024a4e";

    fn write(root: &Path, name: &str, bytes: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn results_get_the_ids_and_indexes_of_their_paths() {
        let root = tempfile::tempdir().unwrap();
        let action = format!(
            r#"{{"id":"{ID}","type":"LiveResponse","computerDnsName":"ws","machineId":"m1","commands":[
                {{"command":{{"type":"RunScript"}}}},{{"command":{{"type":"GetFile"}}}}]}}"#
        );
        write(root.path(), &format!("{ID}.json"), &action);
        write(root.path(), &format!("{ID}/1.gz"), "gz bytes");
        write(
            root.path(),
            &format!("{ID}/0.json"),
            "{\"script_output\":\"x\"}",
        );
        write(
            root.path(),
            "list.json",
            &format!(r#"{{"value":[{{"id":"{OTHER}","requestor":"a","commands":[]}}]}}"#),
        );
        write(
            root.path(),
            "machines.json",
            r#"{"value":[{"id":"m1","computerDnsName":"ws","healthStatus":"Inactive"}]}"#,
        );
        write(root.path(), "README.md", "about");
        let mut fleet = EmulatedFleet::from_folder(root.path()).unwrap();
        assert_eq!(fleet.actions.len(), 2);
        let results = fleet.results();
        let keys: Vec<_> = results.iter().map(|(key, _)| key.to_string()).collect();
        assert_eq!(keys, [format!("{ID}/0"), format!("{ID}/1")]);
        assert_eq!(results[1].1.whole().unwrap(), b"gz bytes");
        fleet.complete_devices();
        assert_eq!(fleet.devices.len(), 1);
    }

    #[test]
    fn other_files_become_one_action_per_top_level_folder() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), "ws1/logs/a.evtx.gz", "a");
        write(root.path(), "ws1/out.json", "{\"script_output\":\"x\"}");
        write(root.path(), "ws2/b.bin", "b");
        write(root.path(), "alone.zip", "c");
        let fleet = EmulatedFleet::from_folder(root.path()).unwrap();
        let names: Vec<_> = fleet
            .actions
            .iter()
            .map(|a| a.json["computerDnsName"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["unknown", "ws1", "ws2"]);
        let commands = &fleet.actions[1].json["commands"];
        assert_eq!(commands[0]["command"]["params"][0]["value"], "logs\\a.evtx");
        assert_eq!(commands[1]["command"]["type"], "RunScript");
        assert_eq!(fleet.results().len(), 4);
    }

    #[test]
    fn results_without_an_action_keep_their_ids_and_indexes() {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), &format!("{ID}/3.zip"), "z");
        let fleet = EmulatedFleet::from_folder(root.path()).unwrap();
        assert_eq!(fleet.results()[0].0.to_string(), format!("{ID}/3"));
        assert_eq!(fleet.actions[0].json["commands"][0]["index"], 3);
    }

    #[test]
    fn folder_without_results_is_an_error() {
        let root = tempfile::tempdir().unwrap();
        let error = EmulatedFleet::from_folder(root.path()).unwrap_err();
        assert!(error.hint().is_some());
    }
}
