//! Baselines: learned, listed, exported, imported.
//!
//! They stand in the archive's folder `baselines/`, a file a version, and not
//! among the evidence: what is known to be good is a judgement of the analyst,
//! it may be wrong, and it can be taken back, while packs are written once and
//! by one writer. So learning takes no writer's lock and waits for nobody: it
//! writes a new file beside the others (whole, synced, then renamed), holding
//! a lock of this folder alone. Using one only reads. That a baseline was
//! learned, imported or deleted stands in the custody like a search does.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use analyze::{Baseline, BaselineFacts, HEAD_MAX, Learner, PAGE_MAX};
use evidence::Time;
use store::JournalTail;

use crate::app::compare::scope::{CompareRequest, CompareSummary, Scope};
use crate::app::custody;
use crate::app::error::{Failure, FailureKind};
use crate::app::system::sync_folder;
use crate::app::wait_for_index::Waiting;

const FOLDER: &str = "baselines";
const LOCK: &str = "lock";
/// The end of a version's file, and of what stands for a deleted one.
const KEPT: &str = "zst";
const GONE: &str = "gone";
/// What is written and not named yet; a crash may leave some.
const NEW: &str = "new";
/// **Units**: characters of a name.
const NAME_MAX: usize = 64;

/// What to learn, and from what.
#[derive(Clone, Debug, Default)]
pub struct LearnRequest {
    pub compare: CompareRequest,
    pub name: String,
    /// Only what stands on so many of the devices.
    pub devices_min: u32,
    /// Keep what the newest version knows.
    pub more: bool,
}

/// A version of a baseline.
#[derive(Clone, Debug, Serialize)]
pub struct BaselineRow {
    pub name: String,
    pub version: u32,
    pub lines: u64,
    pub devices: u64,
    pub members: u64,
    pub learned_at: Time,
    pub learned_by: String,
    pub learned_from: String,
    /// Rules that were switched off.
    pub rules_off: Vec<String>,
    /// Names of the user's own rules.
    pub rules_more: Vec<String>,
}

impl BaselineRow {
    fn of(facts: &BaselineFacts, lines: u64) -> Self {
        Self {
            name: facts.name.clone(),
            version: facts.version,
            lines,
            devices: facts.devices,
            members: facts.members,
            learned_at: facts.learned_at.clone(),
            learned_by: facts.learned_by.clone(),
            learned_from: facts.learned_from.clone(),
            rules_off: facts.rules.off.clone(),
            rules_more: facts
                .rules
                .more
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }
}

/// Learns what selected members hold; says what was left out of that, too.
///
/// **Memory**: the groups of a pass and the templates learned, 128 MiB each.
pub fn learn_baseline(
    archive: &Path,
    request: &LearnRequest,
    on_wait: &mut dyn FnMut(Waiting, u64, u64),
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<(BaselineRow, CompareSummary), Failure> {
    check_name(&request.name)?;
    let scope = Scope::open(archive, &request.compare, on_wait)?;
    let Some(selection) = scope.select()?.filter(|selection| !selection.is_empty()) else {
        return Err(
            Failure::new(FailureKind::NotFound, "nothing is selected to learn from")
                .hint("ask as in `search`; `index` brings the index up to date"),
        );
    };
    let lens = scope.lens(&selection)?;
    let sweep = scope.sweep(&selection, &lens);
    let mut learner = Learner::default();
    // Then what stands on no known device is learned, too.
    let is_one_enough = request.devices_min <= 1;
    sweep.each(on_progress, &mut |groups| {
        for number in groups.numbers() {
            if groups.held(number, 0).devices.len() >= request.devices_min || is_one_enough {
                learner.add(groups.text(number))?;
            }
        }
        Ok(())
    })?;
    let shelf = Shelf::lock(archive)?;
    let rules = request.compare.rules.clone();
    let mut from = vec![scope.said()];
    if request.devices_min > 1 {
        from[0].push_str(&format!(" --min-devices {}", request.devices_min));
    }
    let (mut devices, mut members) = (selection.devices().len() as u64, selection.len() as u64);
    if request.more {
        let before = load(archive, &request.name)?;
        let facts = before.facts();
        devices += facts.devices;
        members += facts.members;
        from.push(format!("added to {}@{}", facts.name, facts.version));
        if facts.rules != rules {
            return Err(Failure::usage(format!(
                "{} was learned with other rules for volatile parts",
                request.name
            ))
            .hint("use the same --keep, --raw and config file, or learn it under another name"));
        }
        for template in before.templates() {
            learner.add(template)?;
        }
    }
    // Everything there is has no words.
    from.retain(|said| !said.is_empty());
    let event = custody::event("");
    let facts = BaselineFacts {
        name: request.name.clone(),
        version: shelf.next(&request.name)?,
        learned_at: Time::from_instant(Timestamp::now()),
        learned_by: format!("{} on {}", event.who, event.host),
        learned_from: from.join(", ").trim_start().to_string(),
        devices,
        members,
        rules,
    };
    let mut summary = scope.summary(Some(&selection))?;
    summary.hidden = sweep.hidden();
    let row = shelf.put(&learner.learned(facts)?)?;
    summary.rows = row.lines;
    let what = format!("baseline learn {} {}", named(&row), row.learned_from);
    note(archive, &what);
    Ok((row, summary))
}

fn named(row: &BaselineRow) -> String {
    format!("{}@{}", row.name, row.version)
}

/// Every version of every baseline, by name; `broken` is told those that cannot
/// be read.
pub fn list_baselines(
    archive: &Path,
    broken: &mut dyn FnMut(&str, Failure),
) -> Result<Vec<BaselineRow>, Failure> {
    custody::open_to_read(archive)?;
    let mut rows = Vec::new();
    for (name, version) in versions(archive)? {
        match head_of(archive, &name, version) {
            Ok((facts, lines)) => rows.push(BaselineRow::of(&facts, lines)),
            Err(failure) => broken(&format!("{name}@{version}"), failure),
        }
    }
    Ok(rows)
}

fn head_of(archive: &Path, name: &str, version: u32) -> Result<(BaselineFacts, u64), Failure> {
    let mut head = Vec::new();
    let mut page = open(archive, name, version)?.take(HEAD_MAX as u64);
    page.read_to_end(&mut head).map_err(unreadable(name))?;
    Ok(Baseline::read_facts(&head)?)
}

/// A baseline as it is exported: text that can be read and imported.
pub fn baseline_page(archive: &Path, name: &str) -> Result<Vec<u8>, Failure> {
    Ok(load(archive, name)?.page())
}

/// What is known of a baseline, then its templates.
pub fn baseline_templates(
    archive: &Path,
    name: &str,
    take: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<BaselineRow, Failure> {
    let baseline = load(archive, name)?;
    baseline.templates().try_for_each(take)?;
    Ok(BaselineRow::of(baseline.facts(), baseline.lines()))
}

/// Takes in an export, under its own name or another.
pub fn import_baseline(
    archive: &Path,
    file: &Path,
    name: Option<&str>,
) -> Result<BaselineRow, Failure> {
    let unreadable = |e| {
        let what = format!("could not read {}", file.display());
        Failure::caused(FailureKind::Environment, what, e)
    };
    let mut page = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    let mut limited = opened.take(PAGE_MAX as u64 + 1);
    limited.read_to_end(&mut page).map_err(unreadable)?;
    let baseline = Baseline::read(&page)?;
    let name = name.unwrap_or(&baseline.facts().name).to_string();
    check_name(&name)?;
    let shelf = Shelf::lock(archive)?;
    let version = shelf.next(&name)?;
    let row = shelf.put(&baseline.as_of(&name, version))?;
    note(
        archive,
        &format!("baseline import {} {}", named(&row), file.display()),
    );
    Ok(row)
}

/// Deletes a version (`NAME@V`), or all of a name. Returns how many.
pub fn delete_baseline(archive: &Path, name: &str) -> Result<u64, Failure> {
    let (wanted, version) = parse(name)?;
    let _shelf = Shelf::lock(archive)?;
    let all = versions(archive)?.into_iter();
    let all = all.filter(|(name, v)| *name == wanted && version.is_none_or(|wanted| wanted == *v));
    let mut deleted = 0;
    for (name, version) in all {
        let path = path_of(archive, &name, version);
        let gone = path.with_extension(GONE);
        let delete = || {
            File::create(&gone)?;
            // The number is taken before its lines go.
            sync_folder(&archive.join(FOLDER))?;
            fs::remove_file(&path)
        };
        delete().map_err(unwritable(&name))?;
        deleted += 1;
    }
    if deleted == 0 {
        return Err(missing(archive, name));
    }
    note(archive, &format!("baseline delete {name}"));
    Ok(deleted)
}

/// Reads a baseline: its newest version, or the one named (`NAME@V`).
pub(super) fn load(archive: &Path, name: &str) -> Result<Baseline, Failure> {
    let (wanted, version) = parse(name)?;
    let all = versions(archive)?.into_iter();
    let found = all
        .filter(|(name, v)| *name == wanted && version.is_none_or(|wanted| wanted == *v))
        .max_by_key(|(_, version)| *version);
    let Some((name, version)) = found else {
        return Err(missing(archive, name));
    };
    let mut page = Vec::new();
    let mut limited = open(archive, &name, version)?.take(PAGE_MAX as u64 + 1);
    limited.read_to_end(&mut page).map_err(unreadable(&name))?;
    let called = format!("{name}@{version}");
    Baseline::read(&page).map_err(|e| {
        Failure::caused(
            FailureKind::Environment,
            format!("could not use the baseline {called}"),
            e,
        )
    })
}

fn missing(archive: &Path, name: &str) -> Failure {
    let failure = Failure::new(
        FailureKind::NotFound,
        format!("there is no baseline {name}"),
    );
    let known = versions(archive).unwrap_or_default();
    let mut known: Vec<String> = known.into_iter().map(|(name, _)| name).collect();
    known.dedup();
    match known.is_empty() {
        true => failure.hint("`baseline learn NAME` makes one"),
        false => failure.hint(format!("there are {}", known.join(", "))),
    }
}

fn parse(name: &str) -> Result<(String, Option<u32>), Failure> {
    let Some((name, version)) = name.split_once('@') else {
        return Ok((name.to_string(), None));
    };
    let version = version.parse().map_err(|_| {
        Failure::usage(format!("`{version}` is no version of a baseline"))
            .hint("write NAME, or NAME@2 for its second version")
    })?;
    Ok((name.to_string(), Some(version)))
}

/// Names become names of files on every system.
fn check_name(name: &str) -> Result<(), Failure> {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    let fits = (1..=NAME_MAX).contains(&name.len());
    if fits && name.chars().all(is_plain) && !name.starts_with('.') {
        return Ok(());
    }
    Err(Failure::usage(format!("`{name}` cannot name a baseline"))
        .hint("use small letters, digits, `-`, `_` and `.`, up to 64 of them"))
}

/// The version goes first: some words are no names of files on Windows.
fn path_of(archive: &Path, name: &str, version: u32) -> PathBuf {
    archive
        .join(FOLDER)
        .join(format!("{version:04}-{name}.{KEPT}"))
}

fn versions(archive: &Path) -> Result<Vec<(String, u32)>, Failure> {
    versions_that_are(archive, KEPT)
}

fn versions_that_are(archive: &Path, end: &str) -> Result<Vec<(String, u32)>, Failure> {
    let entries = match fs::read_dir(archive.join(FOLDER)) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(unreadable(FOLDER)(e)),
    };
    let mut found: Vec<(String, u32)> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let name = name.strip_suffix(end)?.strip_suffix('.')?;
            let (version, name) = name.split_once('-')?;
            Some((name.to_string(), version.parse().ok()?))
        })
        .collect();
    found.sort();
    Ok(found)
}

fn open(archive: &Path, name: &str, version: u32) -> Result<impl Read + use<>, Failure> {
    let file = File::open(path_of(archive, name, version)).map_err(unreadable(name))?;
    zstd::stream::read::Decoder::new(file).map_err(unreadable(name))
}

fn unreadable(name: &str) -> impl FnOnce(io::Error) -> Failure {
    let what = format!("could not read the baseline {name}");
    move |error| Failure::caused(FailureKind::Environment, what, error)
}

fn unwritable(name: &str) -> impl FnOnce(io::Error) -> Failure {
    let what = format!("could not write the baseline {name}");
    move |error| Failure::caused(FailureKind::Environment, what, error)
}

fn note(archive: &Path, what: &str) {
    // On media that cannot be written nothing depends on it.
    if let Ok(tail) = JournalTail::open(archive) {
        let _ = tail.note(&custody::event(what));
    }
}

/// The folder, held by one process that writes to it.
struct Shelf {
    archive: PathBuf,
    _lock: File,
}

impl Shelf {
    fn lock(archive: &Path) -> Result<Self, Failure> {
        // Only into an archive.
        custody::open_to_read(archive)?;
        let folder = archive.join(FOLDER);
        let locked = || {
            fs::create_dir_all(&folder)?;
            let mut options = File::options();
            let options = options.create(true).truncate(false).write(true);
            let lock = options.open(folder.join(LOCK))?;
            lock.lock()?;
            Ok(lock)
        };
        Ok(Self {
            archive: archive.to_path_buf(),
            _lock: locked().map_err(unwritable(FOLDER))?,
        })
    }

    fn next(&self, name: &str) -> Result<u32, Failure> {
        // A version that was deleted is named in custody and reports.
        let gone = versions_that_are(&self.archive, GONE)?;
        let all = versions(&self.archive)?.into_iter().chain(gone);
        let last = all
            .filter(|(known, _)| known == name)
            .map(|(_, version)| version);
        Ok(last.max().unwrap_or(0).saturating_add(1))
    }

    /// Writes a version: whole and synced before it has its name, which lasts.
    fn put(&self, baseline: &Baseline) -> Result<BaselineRow, Failure> {
        let facts = baseline.facts();
        let folder = self.archive.join(FOLDER);
        let new = folder.join(NEW);
        let target = path_of(&self.archive, &facts.name, facts.version);
        let write = || {
            let packed = zstd::bulk::compress(&baseline.page(), 3)?;
            let mut file = File::create(&new)?;
            file.write_all(&packed)?;
            file.sync_all()?;
            fs::rename(&new, &target)?;
            sync_folder(&folder)
        };
        write().map_err(unwritable(&facts.name))?;
        Ok(BaselineRow::of(facts, baseline.lines()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_on_every_system_and_never_a_path() {
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
        assert_eq!(parse("a@2").unwrap(), ("a".into(), Some(2)));
        assert!(parse("a@x").is_err());
    }
}
