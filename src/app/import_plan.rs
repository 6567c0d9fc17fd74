//! What an import will take in, decided from names and action JSON alone,
//! before a byte of evidence is read.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use evidence::{Action, ActionId, CommandIndex, ResultKey};
use store;

use crate::app::error::{Failure, FailureKind};

/// Largest JSON file read to see whether it describes actions. A list of the
/// 10,000 actions that one page may hold is some 20 MB.
const ACTION_JSON_BYTES_MAX: u64 = 64 << 20;

/// What an import will do.
#[derive(Debug, Default)]
pub struct Plan {
    /// Actions found, each with its JSON as it stood in the file.
    pub actions: BTreeMap<ActionId, (Action, Vec<u8>)>,
    pub results: Vec<Found>,
    pub left_out: Vec<LeftOut>,
}

/// What stands below a path that was named and is not taken.
#[derive(Debug, Serialize)]
pub struct LeftOut {
    /// As far as it is Unicode.
    pub path: String,
    pub reason: String,
    /// It may hold evidence and could not be read; else it is none.
    pub unreadable: bool,
}

impl LeftOut {
    fn no_evidence(path: &Path, reason: &str) -> Self {
        Self {
            path: path.display().to_string(),
            reason: reason.into(),
            unreadable: false,
        }
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self {
            path: path.display().to_string(),
            reason: format!("could not be read: {error}"),
            unreadable: true,
        }
    }
}

/// One file that holds a result.
#[derive(Debug)]
pub struct Found {
    pub file: PathBuf,
    /// `/`-joined path below the folder that was named: the same wherever that
    /// folder is mounted.
    pub below: String,
    pub key: Keyed,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Keyed {
    /// `ACTION_ID/INDEX.*`.
    Exactly(ResultKey),
    /// Anything else: keyed by content and path once its bytes are known.
    ByContent,
}

impl Plan {
    /// Reads names below `paths`, and the JSON files that may describe actions.
    /// Links are not followed: a link in evidence points where its author
    /// wished.
    ///
    /// **Errors**: where one of `paths` itself cannot be read. What cannot be
    /// read below is left out.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Failure> {
        let mut files = Vec::new();
        let mut plan = Self::default();
        for path in paths {
            plan.list(path, &mut files)
                .map_err(|e| unreadable(path, e))?;
        }
        let mut rest = Vec::new();
        for (file, below) in files {
            match plan.take_actions(&file, &below) {
                Ok(true) => {}
                Ok(false) => rest.push((file, below)),
                Err(e) => plan.left_out.push(LeftOut::unreadable(&file, &e)),
            }
        }
        let in_layout = !plan.actions.is_empty();
        for (file, below) in rest {
            if in_layout
                && matches!(
                    below.as_str(),
                    "machines.json" | "answers.json" | "README.md"
                )
            {
                plan.left_out.push(LeftOut::no_evidence(
                    &file,
                    "tells about the collection, is no result",
                ));
                continue;
            }
            let key = key_of(&file).map_or(Keyed::ByContent, Keyed::Exactly);
            plan.results.push(Found { file, below, key });
        }
        plan.results.sort_by(|a, b| a.below.cmp(&b.below));
        Ok(plan)
    }

    /// Files at and below `root`.
    ///
    /// **Errors**: where `root` itself cannot be read.
    fn list(&mut self, root: &Path, files: &mut Vec<(PathBuf, String)>) -> io::Result<()> {
        let kind = fs::metadata(root)?.file_type();
        if kind.is_dir() && store::is_archive(root) {
            return Err(io::Error::other(
                "it is an archive, whose files are no results",
            ));
        }
        if kind.is_dir() {
            return self.list_folder(root, root, files);
        }
        if !kind.is_file() {
            return Err(io::Error::other("it is neither a file nor a folder"));
        }
        File::open(root)?;
        files.push((root.to_path_buf(), below(root, root)));
        Ok(())
    }

    fn list_folder(
        &mut self,
        root: &Path,
        folder: &Path,
        files: &mut Vec<(PathBuf, String)>,
    ) -> io::Result<()> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder)? {
            match entry {
                Ok(entry) => entries.push(entry.path()),
                Err(e) => self.left_out.push(LeftOut::unreadable(folder, &e)),
            }
        }
        entries.sort();
        for path in entries {
            if let Err(e) = self.list_entry(root, &path, files) {
                self.left_out.push(LeftOut::unreadable(&path, &e));
            }
        }
        Ok(())
    }

    fn list_entry(
        &mut self,
        root: &Path,
        path: &Path,
        files: &mut Vec<(PathBuf, String)>,
    ) -> io::Result<()> {
        let kind = fs::symlink_metadata(path)?.file_type();
        if kind.is_dir() && store::is_archive(path) {
            let why = "an archive, whose files are no results";
            self.left_out.push(LeftOut::no_evidence(path, why));
            return Ok(());
        }
        if kind.is_dir() {
            return self.list_folder(root, path, files);
        }
        if kind.is_file() {
            files.push((path.to_path_buf(), below(root, path)));
        } else {
            let why = if kind.is_symlink() {
                "a link, not followed"
            } else {
                "no plain file"
            };
            self.left_out.push(LeftOut::no_evidence(path, why));
        }
        Ok(())
    }

    /// Takes `file` as action JSON where its name and content say so:
    /// `ACTION_ID.json`, `ACTION_ID/action.json`, or a saved list of actions.
    fn take_actions(&mut self, file: &Path, below: &str) -> io::Result<bool> {
        if !may_hold_actions(file, below) || fs::metadata(file)?.len() > ACTION_JSON_BYTES_MAX {
            return Ok(false);
        }
        let json = fs::read(file)?;
        if let Ok(action) = Action::from_json(&json) {
            self.actions.insert(action.id, (action, json));
            return Ok(true);
        }
        let list = read_list(&json);
        let any = !list.is_empty();
        self.actions
            .extend(list.into_iter().map(|(a, json)| (a.id, (a, json))));
        Ok(any)
    }
}

/// A path that was named and cannot be read.
pub(super) fn unreadable(path: &Path, error: io::Error) -> Failure {
    let what = format!("could not read {}", path.display());
    Failure::caused(FailureKind::NotFound, what, error)
        .hint("name files or folders that exist and that you may read")
}

/// `{"value": [action…]}` or `[action…]`, each with its own text.
fn read_list(json: &[u8]) -> Vec<(Action, Vec<u8>)> {
    #[derive(serde::Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        value: Vec<&'a serde_json::value::RawValue>,
    }
    let json = json.strip_prefix(b"\xef\xbb\xbf").unwrap_or(json);
    let raws = match serde_json::from_slice::<Page<'_>>(json) {
        Ok(page) => page.value,
        Err(_) => serde_json::from_slice(json).unwrap_or_default(),
    };
    raws.into_iter()
        .filter_map(|raw| {
            let action = Action::from_json(raw.get().as_bytes()).ok()?;
            Some((action, raw.get().as_bytes().to_vec()))
        })
        .filter(|(action, _)| !action.commands.is_empty())
        .collect()
}

fn may_hold_actions(file: &Path, below: &str) -> bool {
    let is_json = file
        .extension()
        .is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let stem = file.file_stem().and_then(|s| s.to_str()).unwrap_or("");
    is_json
        && key_of(file).is_none()
        && (stem.parse::<ActionId>().is_ok()
            || stem.eq_ignore_ascii_case("action")
            || stem.to_ascii_lowercase().contains("actions")
            || !below.contains('/') && stem.to_ascii_lowercase().contains("machineaction"))
}

/// The key of a file that stands at `ACTION_ID/INDEX.*`.
fn key_of(file: &Path) -> Option<ResultKey> {
    let action = file.parent()?.file_name()?.to_str()?.parse().ok()?;
    let name = file.file_name()?.to_str()?;
    let stem = name.split('.').next()?;
    let plain = !stem.is_empty() && stem.bytes().all(|b| b.is_ascii_digit());
    plain
        .then(|| stem.parse().ok())
        .flatten()
        .map(|index| ResultKey::new(action, CommandIndex(index)))
}

/// Path below `root`, `/`-joined; of a file named itself, its name.
fn below(root: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let relative = if relative.as_os_str().is_empty() {
        Path::new(path.file_name().unwrap_or_default())
    } else {
        relative
    };
    relative
        .components()
        .map(|part| part.as_os_str().to_string_lossy())
        .collect::<Vec<_>>()
        .join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5382f7ea-7557-4ab7-9782-d50480024a4e";

    fn write(root: &Path, name: &str, text: &str) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_layout_is_keyed_exactly_and_the_rest_by_content() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        write(
            root,
            &format!("{ID}.json"),
            &format!(r#"{{"id":"{ID}","commands":[{{}}]}}"#),
        );
        write(root, &format!("{ID}/0.json"), "{}");
        write(root, &format!("{ID}/12.zip.gz"), "x");
        write(root, &format!("{ID}/notes.txt"), "x");
        write(root, "pc-1/log.gz", "x");
        write(root, "machines.json", "{}");
        let plan = Plan::read(&[root.to_path_buf()]).unwrap();
        assert_eq!(plan.actions.len(), 1);
        assert_eq!(plan.left_out.len(), 1);
        let keyed: Vec<_> = plan
            .results
            .iter()
            .map(|f| match f.key {
                Keyed::Exactly(key) => format!("{key}"),
                Keyed::ByContent => f.below.clone(),
            })
            .collect();
        assert_eq!(
            keyed,
            [
                format!("{ID}/0"),
                format!("{ID}/12"),
                format!("{ID}/notes.txt"),
                "pc-1/log.gz".into()
            ]
        );
    }

    #[test]
    fn a_saved_list_of_actions_gives_each_its_own_json() {
        let dir = tempfile::tempdir().unwrap();
        let json = format!(r#"{{"value":[ {{"id":"{ID}", "commands":[{{}}]}} ]}}"#);
        write(dir.path(), "machineactions.json", &json);
        let plan = Plan::read(&[dir.path().to_path_buf()]).unwrap();
        let (_, text) = &plan.actions[&ID.parse().unwrap()];
        assert_eq!(
            text,
            format!(r#"{{"id":"{ID}", "commands":[{{}}]}}"#).as_bytes()
        );
    }

    #[test]
    fn a_file_named_itself_is_below_by_its_name_alone() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "a/b.gz", "x");
        let plan = Plan::read(&[dir.path().join("a/b.gz")]).unwrap();
        assert_eq!(plan.results[0].below, "b.gz");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_there_says_so() {
        let failure = Plan::read(&[PathBuf::from("/nowhere/at/all")]).unwrap_err();
        assert!(failure.chain().contains("/nowhere/at/all"));
    }
}
