//! Baselines: lines of known-good devices, which other answers leave out.
//!
//! Learning, importing and deleting a baseline is recorded in the custody log,
//! as a search is.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use analyze::{Baseline, BaselineFacts, Learner, PAGE_MAX};
use evidence::Time;
use jiff::Timestamp;

use crate::app::baseline_store::{BaselineStore, check_name};
use crate::app::columns::columns;
use crate::app::compare::scope::{CompareRequest, CompareSummary, Scope};
use crate::app::custody;
use crate::app::error::{Failure, FailureKind};
use crate::app::notes::Note;
use crate::app::session::ArchiveSession;
use crate::app::wait_for_index::IndexWait;

/// A baseline to learn.
#[derive(Clone, Debug, Default)]
pub struct LearnRequest {
    pub compare: CompareRequest,
    pub name: String,
    /// Learn only lines that are on at least this many devices.
    pub devices_min: u32,
    /// Keep the lines of the newest version.
    pub more: bool,
}

columns! {
    /// A version of a baseline.
    #[derive(Clone, Debug)]
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
}

impl BaselineRow {
    fn of(facts: &BaselineFacts, lines: u64) -> Self {
        let own_rules = facts.rules.more.iter();
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
            rules_more: own_rules.map(|(name, _)| name.clone()).collect(),
        }
    }

    fn full_name(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

/// Learns the lines of the selected members.
///
/// **Memory**: the groups of a pass and the learned templates, 128 MiB each.
pub fn learn_baseline(
    session: &ArchiveSession,
    request: &LearnRequest,
    on_wait: &mut dyn FnMut(IndexWait, u64, u64),
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<(BaselineRow, CompareSummary), Failure> {
    check_name(&request.name)?;
    let scope = Scope::open(session, &request.compare, on_wait)?;
    let Some(selection) = scope.select()?.filter(|selection| !selection.is_empty()) else {
        return Err(
            Failure::new(FailureKind::NotFound, "no member is selected to learn from")
                .hint("select members as in `search`; update the index with `index`"),
        );
    };
    let lens = scope.lens(&selection)?;
    let sweep = scope.sweep(&selection, &lens);
    let mut learner = Learner::default();
    // With a minimum of one, lines of unknown devices are learned, too.
    let learns_all = request.devices_min <= 1;
    sweep.each(on_progress, &mut |groups| {
        for number in groups.numbers() {
            if groups.held(number, 0).devices.len() >= request.devices_min || learns_all {
                learner.add(groups.text(number))?;
            }
        }
        Ok(())
    })?;
    let baselines = BaselineStore::new(session.archive()).lock()?;
    let rules = request.compare.rules.clone();
    let mut from = vec![scope.said()];
    if request.devices_min > 1 {
        from[0].push_str(&format!(" --min-devices {}", request.devices_min));
    }
    let (mut devices, mut members) = (selection.devices().len() as u64, selection.len() as u64);
    if request.more {
        let before = BaselineStore::new(session.archive()).load(&request.name)?;
        let facts = before.facts();
        devices += facts.devices;
        members += facts.members;
        from.push(format!("added to {}@{}", facts.name, facts.version));
        if facts.rules != rules {
            return Err(Failure::usage(format!(
                "could not add to {}: it was learned with other rules for volatile parts",
                request.name
            ))
            .hint("use the same --keep, --raw and config file, or another name"));
        }
        for template in before.templates() {
            learner.add(template)?;
        }
    }
    // A selection of everything has no description.
    from.retain(|description| !description.is_empty());
    let event = custody::event("");
    let facts = BaselineFacts {
        name: request.name.clone(),
        version: baselines.next_version(&request.name)?,
        learned_at: Time::from_instant(Timestamp::now()),
        learned_by: format!("{} on {}", event.who, event.host),
        learned_from: from.join(", ").trim_start().to_string(),
        devices,
        members,
        rules,
    };
    let mut counts = scope.counts(&selection)?;
    counts.hidden = sweep.hidden();
    let baseline = learner.learned(facts)?;
    baselines.write(&baseline)?;
    let row = BaselineRow::of(baseline.facts(), baseline.lines());
    counts.rows = row.lines;
    note(
        session,
        &format!("baseline learn {} {}", row.full_name(), row.learned_from),
    );
    Ok((row, scope.summary(counts)))
}

/// The baselines of an archive.
#[derive(Clone, Debug, Default)]
pub struct BaselineList {
    /// Every version, ordered by name.
    pub rows: Vec<BaselineRow>,
    pub notes: Vec<Note>,
}

/// Lists the baselines. A version that cannot be read becomes a note.
pub fn list_baselines(session: &ArchiveSession) -> Result<BaselineList, Failure> {
    session.journal()?;
    let baselines = BaselineStore::new(session.archive());
    let mut list = BaselineList::default();
    for (name, version) in baselines.versions()? {
        match baselines.facts(&name, version) {
            Ok((facts, lines)) => list.rows.push(BaselineRow::of(&facts, lines)),
            Err(failure) => list.notes.push(Note::UnusableBaseline {
                name: format!("{name}@{version}"),
                why: failure.chain(),
            }),
        }
    }
    Ok(list)
}

/// The export of a baseline: text, which `import_baseline` reads.
pub fn export_baseline(session: &ArchiveSession, name: &str) -> Result<Vec<u8>, Failure> {
    let baseline = BaselineStore::new(session.archive()).load(name)?;
    Ok(baseline.page())
}

/// Calls `each` for every template of a baseline. Returns its description.
pub fn show_baseline(
    session: &ArchiveSession,
    name: &str,
    each: &mut dyn FnMut(&str) -> Result<(), Failure>,
) -> Result<BaselineRow, Failure> {
    let baseline = BaselineStore::new(session.archive()).load(name)?;
    baseline.templates().try_for_each(each)?;
    Ok(BaselineRow::of(baseline.facts(), baseline.lines()))
}

/// Imports an export, under its own name or `name`.
pub fn import_baseline(
    session: &ArchiveSession,
    file: &Path,
    name: Option<&str>,
) -> Result<BaselineRow, Failure> {
    let read_failed = |e| {
        let attempt = format!("could not read {}", file.display());
        Failure::caused(FailureKind::Environment, attempt, e)
    };
    let mut page = Vec::new();
    File::open(file)
        .map_err(read_failed)?
        .take(PAGE_MAX as u64 + 1)
        .read_to_end(&mut page)
        .map_err(read_failed)?;
    let baseline = Baseline::read(&page)?;
    let name = name.unwrap_or(&baseline.facts().name).to_string();
    check_name(&name)?;
    session.journal()?;
    let baselines = BaselineStore::new(session.archive()).lock()?;
    let version = baselines.next_version(&name)?;
    let baseline = baseline.as_of(&name, version);
    baselines.write(&baseline)?;
    let row = BaselineRow::of(baseline.facts(), baseline.lines());
    note(
        session,
        &format!("baseline import {} {}", row.full_name(), file.display()),
    );
    Ok(row)
}

/// Deletes one version (`NAME@VERSION`) or all versions of a name. Returns how
/// many.
pub fn delete_baseline(session: &ArchiveSession, name: &str) -> Result<u64, Failure> {
    session.journal()?;
    let deleted = BaselineStore::new(session.archive()).lock()?.delete(name)?;
    note(session, &format!("baseline delete {name}"));
    Ok(deleted)
}

/// Adds to the custody log. On read-only media nothing is added.
fn note(session: &ArchiveSession, what: &str) {
    if let Ok(journal) = session.journal() {
        let _ = journal.note(&custody::event(what));
    }
}
