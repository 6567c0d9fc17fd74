//! Baselines on disk: `baselines/VVVV-NAME.zst`, one file for each version.
//!
//! Baselines are a judgement of the analyst, which may be wrong and can be
//! withdrawn, and not evidence: they are not stored in packs, and changing them
//! does not take the writer's lock. A version is written to a new file, synced
//! and renamed under a lock of the directory. Reading takes no lock.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use analyze::{Baseline, BaselineFacts, HEAD_MAX, PAGE_MAX};

use crate::app::error::{Failure, FailureKind};
use crate::app::system::sync_folder;

const FOLDER: &str = "baselines";
const LOCK: &str = "lock";
/// Extension of the file of a version.
const VERSION_EXTENSION: &str = "zst";
/// Extension of the empty file that reserves the number of a deleted version.
const DELETED_EXTENSION: &str = "gone";
/// Name of the file that is being written. A crash can leave one; the next
/// write replaces it.
const TEMPORARY: &str = "new";
/// **Units**: characters of a name.
const NAME_MAX: usize = 64;
const COMPRESSION_LEVEL: i32 = 3;

/// The baselines of an archive, for reading.
pub(super) struct BaselineStore<'a> {
    archive: &'a Path,
}

/// A name as it is typed: `NAME`, or `NAME@VERSION`.
struct BaselineName<'n> {
    name: &'n str,
    version: Option<u32>,
}

impl BaselineName<'_> {
    fn matches(&self, name: &str, version: u32) -> bool {
        self.name == name && self.version.is_none_or(|wanted| wanted == version)
    }
}

impl<'a> BaselineStore<'a> {
    pub(super) fn new(archive: &'a Path) -> Self {
        Self { archive }
    }

    /// Reads a baseline: its newest version, or the version in `NAME@VERSION`.
    pub(super) fn load(&self, name: &str) -> Result<Baseline, Failure> {
        let wanted = parse_name(name)?;
        let newest = self
            .versions()?
            .into_iter()
            .filter(|(name, version)| wanted.matches(name, *version))
            .max_by_key(|(_, version)| *version);
        let Some((name, version)) = newest else {
            return Err(self.not_found(name));
        };
        let mut page = Vec::new();
        self.open(&name, version)?
            .take(PAGE_MAX as u64 + 1)
            .read_to_end(&mut page)
            .map_err(read_failed(&name))?;
        Baseline::read(&page).map_err(|e| {
            let message = format!("could not use the baseline {name}@{version}");
            Failure::caused(FailureKind::Environment, message, e)
        })
    }

    /// Name and version of every baseline, in order.
    pub(super) fn versions(&self) -> Result<Vec<(String, u32)>, Failure> {
        self.files_with(VERSION_EXTENSION)
    }

    /// Facts and number of lines of a version, without its lines.
    pub(super) fn facts(&self, name: &str, version: u32) -> Result<(BaselineFacts, u64), Failure> {
        let mut head = Vec::new();
        self.open(name, version)?
            .take(HEAD_MAX as u64)
            .read_to_end(&mut head)
            .map_err(read_failed(name))?;
        Ok(Baseline::read_facts(&head)?)
    }

    /// Locks the directory against other processes, and creates it.
    pub(super) fn lock(self) -> Result<LockedBaselines<'a>, Failure> {
        let folder = self.folder();
        let lock = || {
            fs::create_dir_all(&folder)?;
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(folder.join(LOCK))?;
            lock.lock()?;
            Ok(lock)
        };
        let lock = lock().map_err(write_failed(FOLDER))?;
        Ok(LockedBaselines {
            store: self,
            _lock: lock,
        })
    }

    fn folder(&self) -> PathBuf {
        self.archive.join(FOLDER)
    }

    /// The version comes first: some names, such as `con`, are not valid file
    /// names on Windows.
    fn path_of(&self, name: &str, version: u32) -> PathBuf {
        self.folder()
            .join(format!("{version:04}-{name}.{VERSION_EXTENSION}"))
    }

    fn files_with(&self, extension: &str) -> Result<Vec<(String, u32)>, Failure> {
        let entries = match fs::read_dir(self.folder()) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(read_failed(FOLDER)(e)),
        };
        let mut files: Vec<(String, u32)> = entries
            .filter_map(|entry| {
                let file = entry.ok()?.file_name().into_string().ok()?;
                let stem = file.strip_suffix(extension)?.strip_suffix('.')?;
                let (version, name) = stem.split_once('-')?;
                Some((name.to_string(), version.parse().ok()?))
            })
            .collect();
        files.sort();
        Ok(files)
    }

    fn open(&self, name: &str, version: u32) -> Result<impl Read + use<>, Failure> {
        let file = File::open(self.path_of(name, version)).map_err(read_failed(name))?;
        zstd::stream::read::Decoder::new(file).map_err(read_failed(name))
    }

    fn not_found(&self, name: &str) -> Failure {
        let message = format!("no baseline named `{name}`");
        let failure = Failure::new(FailureKind::NotFound, message);
        let mut names: Vec<String> = self
            .versions()
            .unwrap_or_default()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        names.dedup();
        if names.is_empty() {
            failure.hint("create one with `baseline learn NAME`")
        } else {
            failure.hint(format!("existing baselines: {}", names.join(", ")))
        }
    }
}

/// The baselines of an archive, locked for writing.
pub(super) struct LockedBaselines<'a> {
    store: BaselineStore<'a>,
    _lock: File,
}

impl LockedBaselines<'_> {
    /// The number of the next version of a name. The number of a deleted
    /// version is not used again, because reports and custody name it.
    pub(super) fn next_version(&self, name: &str) -> Result<u32, Failure> {
        let deleted = self.store.files_with(DELETED_EXTENSION)?;
        let last = self
            .store
            .versions()?
            .into_iter()
            .chain(deleted)
            .filter(|(known, _)| known == name)
            .map(|(_, version)| version)
            .max();
        Ok(last.unwrap_or(0).saturating_add(1))
    }

    /// Writes a version. It is synced before it gets its name.
    pub(super) fn write(&self, baseline: &Baseline) -> Result<(), Failure> {
        let facts = baseline.facts();
        let folder = self.store.folder();
        let temporary = folder.join(TEMPORARY);
        let write = || {
            let packed = zstd::bulk::compress(&baseline.page(), COMPRESSION_LEVEL)?;
            let mut file = File::create(&temporary)?;
            file.write_all(&packed)?;
            file.sync_all()?;
            fs::rename(&temporary, self.store.path_of(&facts.name, facts.version))?;
            sync_folder(&folder)
        };
        write().map_err(write_failed(&facts.name))
    }

    /// Deletes one version (`NAME@VERSION`) or all versions of a name. Returns
    /// how many.
    pub(super) fn delete(&self, name: &str) -> Result<u64, Failure> {
        let wanted = parse_name(name)?;
        let mut versions = self.store.versions()?;
        versions.retain(|(name, version)| wanted.matches(name, *version));
        for (name, version) in &versions {
            self.delete_version(name, *version)
                .map_err(write_failed(name))?;
        }
        if versions.is_empty() {
            return Err(self.store.not_found(name));
        }
        Ok(versions.len() as u64)
    }

    fn delete_version(&self, name: &str, version: u32) -> io::Result<()> {
        let path = self.store.path_of(name, version);
        File::create(path.with_extension(DELETED_EXTENSION))?;
        // The number is reserved before the version is deleted.
        sync_folder(&self.store.folder())?;
        fs::remove_file(&path)
    }
}

fn parse_name(name: &str) -> Result<BaselineName<'_>, Failure> {
    let Some((name, version)) = name.split_once('@') else {
        return Ok(BaselineName {
            name,
            version: None,
        });
    };
    let version = version.parse().map_err(|_| {
        Failure::usage(format!("invalid version of a baseline `{version}`"))
            .hint("write NAME, or NAME@2 for its second version")
    })?;
    Ok(BaselineName {
        name,
        version: Some(version),
    })
}

/// Checks that a new name is a valid part of a file name on every system.
pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let fits = (1..=NAME_MAX).contains(&name.len());
    if fits && name.chars().all(is_allowed) && !name.starts_with('.') {
        return Ok(());
    }
    Err(
        Failure::usage(format!("invalid name of a baseline `{name}`")).hint(format!(
            "use lower-case letters, digits, `-`, `_` and `.`, at most {NAME_MAX} characters"
        )),
    )
}

fn read_failed(name: &str) -> impl FnOnce(io::Error) -> Failure {
    let message = format!("could not read the baseline {name}");
    move |error| Failure::caused(FailureKind::Environment, message, error)
}

fn write_failed(name: &str) -> impl FnOnce(io::Error) -> Failure {
    let message = format!("could not write the baseline {name}");
    move |error| Failure::caused(FailureKind::Environment, message, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_is_valid_on_every_system_and_never_a_path() {
        for name in ["golden", "golden-2.1_x", "con"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".hidden",
            "../x",
            "a/b",
            "a\\b",
            "Ä",
            "A",
            "a@1",
            &"x".repeat(65),
        ] {
            assert!(check_name(name).is_err(), "{name}");
        }
        let parsed = parse_name("a@2").unwrap();
        assert_eq!((parsed.name, parsed.version), ("a", Some(2)));
        assert!(parse_name("a@x").is_err());
    }
}
