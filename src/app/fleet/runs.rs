//! The fleet runs of an archive, as their records tell. One that cannot be
//! read says why, and hides no other.

use crate::app::error::{Failure, FailureKind};
use crate::app::notes::Note;
use collect::fleet::{RunId, RunRecord, RunState};
use store::{Catalogue, FleetNote};

/// A run whose record cannot be read.
pub(super) struct UnreadableRecord {
    pub run: RunId,
    pub why: String,
}

impl UnreadableRecord {
    pub(super) fn note(&self) -> Note {
        Note::UnreadableRun {
            run: self.run.to_string(),
            why: self.why.clone(),
        }
    }
}

/// Finds a run by the beginning of its id; the newest that can be read where
/// none is named.
pub(super) fn find_run(catalogue: &Catalogue, typed: Option<&str>) -> Result<RunState, Failure> {
    let (heads, unreadable) = heads(catalogue)?;
    let wanted = typed.unwrap_or("").to_ascii_lowercase();
    let is_meant = |id: &RunId| id.to_string().starts_with(&wanted);
    let mut fit: Vec<RunId> = heads.iter().map(|head| head.id).collect();
    fit.retain(is_meant);
    let mut lost = unreadable.iter().filter(|lost| is_meant(&lost.run));
    let lost = (lost.next(), lost.count());
    match (fit.as_slice(), lost, typed) {
        ([id], (None, _), _) | ([.., id], _, None) => read_run(catalogue, *id),
        ([], (None, _), None) => Err(Failure::new(
            FailureKind::NotFound,
            "the archive holds no fleet run",
        )
        .hint("`run --devices … --script …` makes one")),
        ([], (None, _), Some(typed)) => Err(Failure::new(
            FailureKind::NotFound,
            format!("no fleet run is called {typed}"),
        )
        .hint("`fleet status --all` lists them")),
        ([], (Some(lost), 0), _) | ([], (Some(lost), _), None) => {
            Err(Failure::new(FailureKind::Damaged, lost.why.clone()))
        }
        (many, (lost, more), Some(typed)) => {
            let many = many.len() + usize::from(lost.is_some()) + more;
            let message = format!("{many} fleet runs begin with {typed}");
            Err(Failure::usage(message).hint("type more of its id"))
        }
    }
}

/// Every run that can be read, oldest first, and the others.
pub(super) fn every_run(
    catalogue: &Catalogue,
) -> Result<(Vec<RunState>, Vec<UnreadableRecord>), Failure> {
    let (heads, mut unreadable) = heads(catalogue)?;
    let mut runs = Vec::new();
    for head in heads {
        match read_run(catalogue, head.id) {
            Ok(run) => runs.push(run),
            Err(failure) => unreadable.push(UnreadableRecord {
                run: head.id,
                why: failure.chain(),
            }),
        }
    }
    Ok((runs, unreadable))
}

/// Oldest first, and those that cannot be read.
pub(super) fn heads(
    catalogue: &Catalogue,
) -> Result<(Vec<RunRecord>, Vec<UnreadableRecord>), Failure> {
    let (mut heads, mut unreadable) = (Vec::new(), Vec::new());
    for note in catalogue.fleet_runs()? {
        match read_head(note) {
            Ok(head) => heads.push(head),
            Err(lost) => unreadable.push(lost),
        }
    }
    heads.sort_by(|a, b| a.created.cmp(&b.created));
    Ok((heads, unreadable))
}

fn read_head(note: FleetNote) -> Result<RunRecord, UnreadableRecord> {
    let run = RunId::from_bytes(note.run);
    serde_json::from_value(note.value).map_err(|error| UnreadableRecord {
        run,
        why: unread(run, &format!("its head: {error}")),
    })
}

fn read_run(catalogue: &Catalogue, id: RunId) -> Result<RunState, Failure> {
    let notes = catalogue.fleet(*id.as_bytes())?;
    let notes = notes.into_iter().map(|note| (note.place, note.value));
    RunState::from_entries(notes.collect())
        .map_err(|why| Failure::new(FailureKind::Damaged, unread(id, &why)))
}

fn unread(run: RunId, why: &str) -> String {
    format!("could not read fleet run {run}: {why}")
}
