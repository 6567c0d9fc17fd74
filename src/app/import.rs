//! Import: results that others saved, taken into the archive. Repeating it
//! adds nothing.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Serialize;

use evidence::{
    ActionId, CommandIndex, Facts, Gap, GapReason, Origin, ResultId, ResultKey, ResultKind, Sha256,
    Sha256Sum, Time,
};
use store::{Catalogue, PendingCommit, ResponseHeaders, SMALL_MAX, SealReceipt, Store, StoreError};

use crate::app::custody;
use crate::app::error::{Failure, FailureKind};
use crate::app::import_plan;
use crate::app::import_plan::{Found, Keyed, LeftOut, Plan};
use crate::app::notes::{Note, NoteList};

/// Where the device of an imported result comes from.
#[derive(Debug)]
pub enum DeviceFrom {
    /// Its action's JSON alone.
    Action,
    Name(String),
    /// First folder below the path that was named.
    FirstFolder,
    /// Group `device`, else the first group, else the whole match of the path.
    Pattern(Regex),
}

impl DeviceFrom {
    pub fn pattern(pattern: &str) -> Result<Self, Failure> {
        Regex::new(pattern).map(Self::Pattern).map_err(|e| {
            Failure::usage(format!(
                "`{pattern}` is not a pattern for device names: {e}"
            ))
            .hint("an example: 'hosts/(?<device>[^/]+)/'")
        })
    }

    fn of(&self, below: &str) -> Option<String> {
        match self {
            Self::Action => None,
            Self::Name(name) => Some(name.clone()),
            Self::FirstFolder => below.split_once('/').map(|(first, _)| first.to_string()),
            Self::Pattern(pattern) => {
                let found = pattern.captures(below)?;
                found
                    .name("device")
                    .or_else(|| found.get(1))
                    .or_else(|| found.get(0))
                    .map(|m| m.as_str().to_string())
            }
        }
    }
}

fn without_device(plan: &Plan, device: &DeviceFrom) -> u64 {
    if matches!(device, DeviceFrom::Action) {
        return 0;
    }
    let loose = plan
        .results
        .iter()
        .filter(|found| found.key == Keyed::ByContent);
    loose
        .filter(|found| device.of(&found.below).is_none())
        .count() as u64
}

/// What came of an import.
#[derive(Debug, Default, Serialize)]
pub struct ImportReport {
    pub sealed: u64,
    pub already_there: u64,
    pub actions: u64,
    /// Results of imported actions that are not there, noted now or before.
    pub gaps: u64,
    /// Files whose path names no device, though it was to be read from there.
    pub without_device: u64,
    /// **Units**: bytes sealed.
    pub bytes: u64,
    pub left_out: Vec<LeftOut>,
    /// Inside these results, new and old; `None` where that is not known.
    pub problems: Option<u64>,
    /// Whose results these are: all that was named, taken now or before.
    #[serde(skip)]
    pub of: HashSet<ActionId>,
}

impl ImportReport {
    /// What qualifies the report.
    pub fn notes(&self) -> Vec<Note> {
        let mut notes = NoteList::default();
        notes.count(self.without_device, |files| Note::FilesWithoutDevice {
            files,
        });
        notes.into_notes()
    }

    /// Nothing of what was named is missing, and all of it could be read.
    pub fn is_complete(&self) -> bool {
        self.gaps == 0
            && self.problems.unwrap_or(0) == 0
            && !self.left_out.iter().any(|left| left.unreadable)
    }
}

/// Small results on their way into one grouped commit: enough to fill it, few
/// enough that their bodies (1 MiB each at most) stay a small part of memory.
const IN_FLIGHT_MAX: usize = 1_000;
/// Bytes of small results in flight.
const IN_FLIGHT_BYTES_MAX: usize = 32 << 20;
/// Read from a file at once.
const READ_BYTES: usize = 1 << 20;

/// Takes in what stands at `paths`.
///
/// What cannot be read below them is left out, and said in the report.
///
/// **Errors**: where one of `paths` itself cannot be read or the archive cannot
/// be written; what was taken until then is sealed, and importing again goes
/// on.
pub fn import(
    archive: &Path,
    paths: &[PathBuf],
    device: &DeviceFrom,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<ImportReport, Failure> {
    let mut plan = Plan::read(paths)?;
    let left_out = std::mem::take(&mut plan.left_out);
    let unreadable = left_out.iter().any(|left| left.unreadable);
    if plan.results.is_empty() && plan.actions.is_empty() && !unreadable {
        return Err(
            Failure::new(FailureKind::NotFound, "found no file to import")
                .hint("name a folder of results, or files"),
        );
    }
    let store = custody::open_to_write(archive, "import")?;
    custody::note(&store, &format!("import {}", names(paths)))?;
    let mut import = Import {
        archive,
        store: &store,
        known: None,
        plan: &plan,
        device,
        report: ImportReport {
            left_out,
            without_device: without_device(&plan, device),
            ..ImportReport::default()
        },
        in_flight: VecDeque::new(),
        in_flight_bytes: 0,
        now: Time::from_instant(jiff::Timestamp::now()),
    };
    let pages: Vec<_> = plan
        .actions
        .values()
        .map(|(action, json)| (action, json.as_slice()))
        .collect();
    store.note_actions(&pages)?;
    import.report.actions = plan.actions.len() as u64;
    let total = plan.results.len() as u64;
    for (done, found) in plan.results.iter().enumerate() {
        on_progress(done as u64, total);
        import.take_or_leave(found, paths)?;
    }
    import.land(0, 0)?;
    on_progress(total, total);
    import.note_gaps()?;
    let mut report = import.report;
    report.of.extend(plan.actions.keys());
    store.close()?;
    Ok(report)
}

fn names(paths: &[PathBuf]) -> String {
    let names: Vec<_> = paths.iter().map(|p| p.display().to_string()).collect();
    names.join(" ")
}

struct Import<'a> {
    archive: &'a Path,
    store: &'a Store,
    /// What was there before, opened where it has to be looked at.
    known: Option<Catalogue>,
    plan: &'a Plan,
    device: &'a DeviceFrom,
    report: ImportReport,
    /// Each with its bytes, the oldest first.
    in_flight: VecDeque<(PendingCommit, usize)>,
    in_flight_bytes: usize,
    now: Time,
}

/// Why a file was not taken.
enum NotTaken {
    Unreadable(io::Error),
    Failed(Failure),
}

impl From<io::Error> for NotTaken {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error)
    }
}

impl From<StoreError> for NotTaken {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl Import<'_> {
    fn take_or_leave(&mut self, found: &Found, named: &[PathBuf]) -> Result<(), Failure> {
        match self.take(found) {
            Ok(()) => Ok(()),
            Err(NotTaken::Failed(failure)) => Err(failure),
            Err(NotTaken::Unreadable(e)) if named.contains(&found.file) => {
                Err(import_plan::unreadable(&found.file, e))
            }
            Err(NotTaken::Unreadable(e)) => {
                let left = LeftOut::unreadable(&found.file, &e);
                self.report.left_out.push(left);
                Ok(())
            }
        }
    }

    fn take(&mut self, found: &Found) -> Result<(), NotTaken> {
        let mut file = File::open(&found.file)?;
        let mut head = Vec::new();
        file.by_ref()
            .take(SMALL_MAX as u64 + 1)
            .read_to_end(&mut head)?;
        let is_small = head.len() <= SMALL_MAX;
        let key = match found.key {
            Keyed::Exactly(key) => key,
            Keyed::ByContent => {
                self.key_by_content(hash(&head, &mut file, is_small)?, &found.below)?
            }
        };
        let facts = self.facts(key, found, &head);
        self.report.of.insert(key.action);
        if is_small {
            Ok(self.submit(key, &facts, &head)?)
        } else {
            self.stream(key, &facts, File::open(&found.file)?)
        }
    }

    /// Where no device was part of the key yet, a result stays the one it was
    /// where it is of the same device.
    fn key_by_content(&mut self, sha256: Sha256, below: &str) -> Result<ResultKey, StoreError> {
        let device = self.device.of(below);
        let key = key_by_content(sha256, below, device.as_deref());
        let before = key_by_content(sha256, below, None);
        let is_the_one = key != before && device == self.device_of_sealed(before)?;
        Ok(if is_the_one { before } else { key })
    }

    fn device_of_sealed(&mut self, key: ResultKey) -> Result<Option<String>, StoreError> {
        let Some(latest) = self.store.latest(key)? else {
            return Ok(None);
        };
        let known = match &mut self.known {
            Some(known) => known,
            none => none.insert(Catalogue::open(self.archive)?),
        };
        let record = known.record(ResultId::new(key, latest.version))?;
        Ok(record.and_then(|record| record.facts.device))
    }

    fn submit(&mut self, key: ResultKey, facts: &Facts, body: &[u8]) -> Result<(), StoreError> {
        let ticket = self.store.submit(key, facts, &self.now, body)?;
        self.in_flight.push_back((ticket, body.len()));
        self.in_flight_bytes += body.len();
        self.land(IN_FLIGHT_MAX, IN_FLIGHT_BYTES_MAX)
    }

    /// Waits for the oldest submitted until no more than these are left.
    fn land(&mut self, most: usize, most_bytes: usize) -> Result<(), StoreError> {
        while self.in_flight.len() > most || self.in_flight_bytes > most_bytes {
            let Some((ticket, bytes)) = self.in_flight.pop_front() else {
                break;
            };
            self.in_flight_bytes -= bytes;
            let sealing = ticket.wait()?;
            self.count(&sealing);
        }
        Ok(())
    }

    fn stream(&mut self, key: ResultKey, facts: &Facts, mut file: File) -> Result<(), NotTaken> {
        let mut download = self.store.download(key)?;
        download.restart()?;
        download.begin(ResponseHeaders {
            total: Some(file.metadata()?.len()),
            ..ResponseHeaders::default()
        })?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => download.append(&buffer[..n])?,
                Err(e) => {
                    download.discard()?;
                    return Err(e.into());
                }
            }
        }
        let sealing = download.seal(facts, &self.now)?;
        self.count(&sealing);
        Ok(())
    }

    fn count(&mut self, sealing: &SealReceipt) {
        match sealing {
            SealReceipt::Sealed(record) => {
                self.report.sealed += 1;
                self.report.bytes += record.bytes;
            }
            SealReceipt::AlreadySealed(_) => self.report.already_there += 1,
        }
    }

    fn facts(&self, key: ResultKey, found: &Found, head: &[u8]) -> Facts {
        let origin = Origin::Import {
            path: found.below.clone(),
        };
        let command = self.plan.actions.get(&key.action).and_then(|(action, _)| {
            let command = action.commands.iter().find(|c| c.index == key.index)?;
            Some(action.facts(command, origin.clone()))
        });
        let mut facts = command.unwrap_or_else(|| Facts {
            path: Some(found.below.clone()),
            ..Facts::new(kind_of(head), origin)
        });
        if let Some(device) = self.device.of(&found.below) {
            facts.device = Some(device);
        }
        facts
    }

    /// One that cannot be read is noted again.
    fn has_gap(&self, key: ResultKey) -> Result<bool, Failure> {
        match self.store.gap(key) {
            Err(error) if error.is_unreadable() => Ok(false),
            gap => Ok(gap?.is_some()),
        }
    }

    /// What an imported action completed and no file holds is missing, and
    /// that is said; what it never produced too.
    fn note_gaps(&mut self) -> Result<(), Failure> {
        let mut gaps = Vec::new();
        for (action, _) in self.plan.actions.values().filter(|(a, _)| a.is_final()) {
            for command in action.commands.iter().filter(|c| c.has_result()) {
                let key = action.key(command);
                if self.store.latest(key)?.is_some() {
                    continue;
                }
                self.report.gaps += 1;
                if self.has_gap(key)? {
                    continue;
                }
                let (reason, detail) = if command.is_completed() {
                    (
                        GapReason::NotImported,
                        "completed, but no file among those imported holds its result; collect may still get it".to_string(),
                    )
                } else {
                    (
                        GapReason::NeverProduced,
                        format!(
                            "command is {}, action is {}",
                            or_unknown(&command.status),
                            or_unknown(&action.status)
                        ),
                    )
                };
                gaps.push(Gap {
                    key,
                    reason,
                    detail,
                    noted_at: self.now.clone(),
                    facts: action.facts(
                        command,
                        Origin::Import {
                            path: format!("{}.json", action.id),
                        },
                    ),
                });
            }
        }
        Ok(self.store.note_gaps(&gaps)?)
    }
}

fn or_unknown(word: &str) -> &str {
    if word.is_empty() {
        "of unknown status"
    } else {
        word
    }
}

/// Of the whole file: `head` and what follows it.
fn hash(head: &[u8], rest: &mut File, is_small: bool) -> io::Result<Sha256> {
    let mut hasher = Sha256Sum::default();
    hasher.update(head);
    if !is_small {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            let n = rest.read(&mut buffer)?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
        }
    }
    Ok(hasher.finish())
}

/// The same bytes of the same device at the same path below what was named are
/// the same result, wherever that is mounted.
fn key_by_content(sha256: Sha256, below: &str, device: Option<&str>) -> ResultKey {
    let mut name = Sha256Sum::default();
    name.update(b"afteraction import\0");
    name.update(&sha256.0);
    name.update(below.as_bytes());
    if let Some(device) = device {
        // No path holds this byte.
        name.update(b"\0");
        name.update(device.as_bytes());
    }
    let Sha256(digest) = name.finish();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    // A name-based GUID (version 8), so that it cannot be one of the service's.
    id[6] = id[6] & 0x0f | 0x80;
    id[8] = id[8] & 0x3f | 0x80;
    ResultKey::new(ActionId::from_bytes(id), CommandIndex(0))
}

/// What a loose file looks like: only the result document of a script names a
/// script and its output.
fn kind_of(head: &[u8]) -> ResultKind {
    /// The keys of a result document stand at its beginning or, where the
    /// output comes first, behind it; a gzip's text is not looked into.
    const LOOKED_AT: usize = 64 << 10;
    let head = &head[..head.len().min(LOOKED_AT)];
    let has = |word: &[u8]| memchr::memmem::find(head, word).is_some();
    let is_document = head.iter().find(|b| !b" \t\r\n\xef\xbb\xbf".contains(b)) == Some(&b'{')
        && (has(b"\"script_output\"") || has(b"\"script_name\"") || has(b"\"script_errors\""));
    if is_document {
        ResultKind::Transcript
    } else {
        ResultKind::File
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loose_file_is_keyed_by_its_bytes_and_its_path() {
        let sha256 = Sha256([7; 32]);
        let of = |below| key_by_content(sha256, below, None);
        let key = of("pc-1/a.gz");
        assert_eq!(key, of("pc-1/a.gz"));
        assert_ne!(key, of("pc-2/a.gz"));
        assert_ne!(key, key_by_content(Sha256([8; 32]), "pc-1/a.gz", None));
        assert_eq!(&key.to_string()[14..15], "8");
    }

    #[test]
    fn a_file_of_an_archive_whose_keys_knew_no_device_is_there_for_its_own_device_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, file) = (dir.path().join("case"), dir.path().join("h.txt"));
        std::fs::write(&file, "marker").unwrap();
        let store = custody::open_to_write(&archive, "import").unwrap();
        let key = key_by_content(Sha256::of(b"marker"), "h.txt", None);
        let origin = Origin::Import {
            path: "h.txt".into(),
        };
        let facts = Facts {
            device: Some("pc-1".into()),
            ..Facts::new(ResultKind::File, origin)
        };
        let now = Time::from_instant(jiff::Timestamp::now());
        store.seal(key, &facts, &now, b"marker").unwrap();
        store.close().unwrap();
        drop(store);
        let take = |device: &str| {
            let device = DeviceFrom::Name(device.into());
            let report = import(
                &archive,
                std::slice::from_ref(&file),
                &device,
                &mut |_, _| {},
            )
            .unwrap();
            (report.sealed, report.already_there)
        };
        assert_eq!(take("pc-1"), (0, 1));
        assert_eq!(take("pc-2"), (1, 0));
        assert_eq!(take("pc-2"), (0, 1));
    }

    #[test]
    fn the_device_comes_from_where_it_was_said() {
        let below = "hosts/pc-7/logs/a.gz";
        assert_eq!(DeviceFrom::FirstFolder.of(below).as_deref(), Some("hosts"));
        assert_eq!(DeviceFrom::FirstFolder.of("a.gz"), None);
        let pattern = DeviceFrom::pattern("hosts/(?<device>[^/]+)/").unwrap();
        assert_eq!(pattern.of(below).as_deref(), Some("pc-7"));
        assert!(DeviceFrom::pattern("(").is_err());
    }

    #[test]
    fn only_a_result_document_is_a_transcript() {
        assert_eq!(
            kind_of(b" {\"script_name\":\"a.ps1\""),
            ResultKind::Transcript
        );
        assert_eq!(kind_of(b"{\"settings\":1}"), ResultKind::File);
        assert_eq!(kind_of(b"\x1f\x8b\x08"), ResultKind::File);
    }

    #[test]
    fn a_file_that_vanishes_is_left_out_and_the_rest_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (archive, one, two) = (
            dir.path().join("case"),
            dir.path().join("in/one.txt"),
            dir.path().join("in/two.txt"),
        );
        std::fs::create_dir(dir.path().join("in")).unwrap();
        std::fs::write(&one, "first").unwrap();
        std::fs::write(&two, "second").unwrap();
        let take = |path: PathBuf, vanishing: &Path| {
            import(&archive, &[path], &DeviceFrom::Action, &mut |_, _| {
                let _ = std::fs::remove_file(vanishing);
            })
        };
        let report = take(dir.path().join("in"), &one).unwrap();
        assert_eq!((report.sealed, report.left_out.len()), (1, 1));
        assert!(report.left_out[0].unreadable && !report.is_complete());
        assert!(report.left_out[0].path.ends_with("one.txt"));
        let failure = take(two.clone(), &two).unwrap_err();
        assert!(failure.chain().contains("two.txt"), "{failure}");
    }
}
