//! The certificate of a search: what was asked, of what, and what was not
//! searched and why, by name, so that "it is not there" can be sworn to.
//!
//! One JSON document, written whole or not at all. Long lists are streamed.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::ser::{Error as _, SerializeSeq};
use serde::{Serialize, Serializer};

use evidence::{GapReason, Locator, ProblemKind, Seq, Sha256, Sha256Sum, Time};
use extract::EXTRACTOR_VERSION;
use index::{IndexStats, SCHEMA};
use store::Catalogue;

use crate::app::custody;
use crate::app::error::{Failure, FailureKind};
use crate::app::gaps::missing_results;
use crate::app::missing_times::each_without_time;
use crate::app::notes::{Note, Verdict};
use crate::app::search::{Search, SearchExplanation};
use crate::app::search_request::{SearchRequest, describe_query};
use crate::app::session::ArchiveSession;
use crate::app::system::sync_folder;

/// Changes whenever a name in the document does.
const FORMAT: u32 = 1;

/// How anyone computes the root again.
const ROOT_COMPUTED: &str = "SHA-256 over one line for each sealed result that `list --jsonl` \
    prints with a seq up to the watermark, in its order (by action id, command index, version): \
    action_id/command_index@version, a blank, sha256, a blank, bytes, a line feed";

#[derive(Serialize)]
struct Certificate<'a> {
    certificate: &'static str,
    format: u32,
    verdict: String,
    exit_code: u8,
    /// What a reader of the verdict must know besides.
    caveats: Vec<String>,
    began_at: Time,
    finished_at: Time,
    program: &'static str,
    version: &'static str,
    who: String,
    host: String,
    query: Asked<'a>,
    archive: ArchiveState,
    index: Option<IndexState>,
    searched: Searched,
    found: Found,
    explained: Option<&'a SearchExplanation>,
    not_searched: NotSearched<'a>,
}

#[derive(Serialize)]
struct Asked<'a> {
    #[serde(flatten)]
    typed: &'a SearchRequest,
    /// Hits were counted by this field and not listed; empty for one sum.
    counted_by: Option<&'a str>,
    understood: String,
}

#[derive(Serialize)]
struct ArchiveState {
    id: String,
    generation: u64,
    /// The journal's end when the search began.
    journal: Seq,
    /// Results sealed by then.
    sealed: u64,
}

#[derive(Serialize)]
struct IndexState {
    /// What is sealed up to here is indexed.
    watermark: Seq,
    schema: u32,
    extractor_version: u32,
    /// Every checksum of it was compared; a damaged one gets no certificate.
    checksums: &'static str,
    state_root: StateRoot,
}

#[derive(Serialize)]
struct StateRoot {
    sha256: Sha256,
    /// Results it is over.
    results: u64,
    computed: &'static str,
}

/// What a word was looked for in, and what not.
const SEARCHED_IN: &str = "the decoded text of every member: lines of transcripts, files and \
    files in archives; names of members, devices and scripts only by fields (path:, device:, \
    script:), arguments of scripts not at all";

#[derive(Serialize)]
struct Searched {
    what: &'static str,
    results: u64,
    members: u64,
    contents: u64,
    lines: u64,
    distinct_lines: u64,
    /// **Units**: bytes of decoded text.
    text_bytes: u64,
    distinct_bytes: u64,
}

#[derive(Serialize)]
struct Found {
    hits: u64,
    members: u64,
    devices: Option<u64>,
    /// There are more hits than the limit let be listed.
    stopped_at_limit: bool,
}

#[derive(Serialize)]
struct NotSearched<'a> {
    counts: NotSearchedCounts,
    results_not_indexed: Streamed<Box<dyn Iterator<Item = ResultRow> + 'a>>,
    problems_that_hide_text: Streamed<Box<dyn Iterator<Item = HidingRow> + 'a>>,
    gaps: Vec<MissingRow>,
    pending: Vec<MissingRow>,
    left_out_for_want_of_a_time: Undated<'a>,
}

#[derive(Serialize)]
struct NotSearchedCounts {
    results_not_indexed: u64,
    problems_that_hide_text: u64,
    gaps: u64,
    pending: u64,
    members_without_a_time: u64,
    /// Longer matches than a window may be missed in these.
    texts_searched_by_windows: u64,
}

#[derive(Serialize)]
struct ResultRow {
    #[serde(rename = "ref")]
    reference: String,
    seq: Seq,
    sha256: Sha256,
    bytes: u64,
    reason: &'static str,
}

#[derive(Serialize)]
struct HidingRow {
    #[serde(rename = "ref")]
    reference: String,
    kind: ProblemKind,
    message: String,
}

#[derive(Serialize)]
struct MissingRow {
    #[serde(rename = "ref")]
    reference: String,
    device: Option<String>,
    reason: Option<GapReason>,
    detail: Option<String>,
}

/// An array written as it comes.
struct Streamed<I>(RefCell<I>);

impl<I: Iterator<Item: Serialize>> Serialize for Streamed<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&mut *self.0.borrow_mut())
    }
}

/// Members that match but for the time asked for.
struct Undated<'a>(Option<&'a Search>);

impl Serialize for Undated<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Row<'a> {
            #[serde(rename = "ref")]
            reference: Locator,
            device: Option<&'a str>,
        }
        let mut rows = serializer.serialize_seq(None)?;
        let search = self.0.and_then(|s| Some((s, s.searcher.as_deref()?)));
        let Some((search, searcher)) = search else {
            return rows.end();
        };
        let mut written = Ok(());
        each_without_time(searcher, &search.query, &mut |member, reference| {
            let device = member.device.as_deref();
            written = rows.serialize_element(&Row { reference, device });
            match written {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
        .map_err(S::Error::custom)?;
        written?;
        rows.end()
    }
}

impl Search {
    /// Writes the certificate of the search that was done. Its hash goes into
    /// the custody of the archive.
    ///
    /// **Errors**: then there is no file, or the one that was there before.
    pub fn certify(
        &self,
        session: &ArchiveSession,
        file: &Path,
        counted_by: Option<&str>,
    ) -> Result<(), Failure> {
        let unwritable = |e: io::Error| {
            let what = format!("could not write the certificate {}", file.display());
            Failure::caused(FailureKind::Environment, what, e)
        };
        if let Some(searcher) = &self.searcher {
            searcher.verify()?;
        }
        let lost: Cell<Option<Failure>> = Cell::new(None);
        let catalogue = session.catalogue()?;
        let certificate = self.certificate(&catalogue, counted_by, &lost)?;
        let fresh = Fresh::beside(file).map_err(unwritable)?;
        let mut out = Hashing {
            out: BufWriter::new(&fresh.file),
            sum: Sha256Sum::default(),
        };
        serde_json::to_writer_pretty(&mut out, &certificate).map_err(|e| unwritable(e.into()))?;
        out.write_all(b"\n")
            .and_then(|()| out.flush())
            .map_err(unwritable)?;
        let hash = out.sum.clone().finish();
        drop(out);
        if let Some(failure) = lost.take() {
            return Err(failure);
        }
        fresh.keep(file).map_err(unwritable)?;
        self.note_custody(&format!("certificate with SHA-256 {hash} of "));
        Ok(())
    }

    fn certificate<'a>(
        &'a self,
        catalogue: &'a Catalogue,
        counted_by: Option<&'a str>,
        lost: &'a Cell<Option<Failure>>,
    ) -> Result<Certificate<'a>, Failure> {
        let summary = &self.summary;
        let event = custody::event("");
        let (gaps, pending) = self.missing(catalogue)?;
        let mut notes = summary.notes.clone();
        notes.push(Note::Gaps {
            results: gaps.len() as u64,
        });
        notes.push(Note::Pending {
            results: pending.len() as u64,
        });
        let counts = NotSearchedCounts {
            results_not_indexed: self.not_indexed,
            problems_that_hide_text: self.unreadable,
            gaps: gaps.len() as u64,
            pending: pending.len() as u64,
            members_without_a_time: sum_of(&notes, |note| match note {
                Note::WithoutTime { members } => *members,
                _ => 0,
            }),
            texts_searched_by_windows: sum_of(&notes, |note| match note {
                Note::LongerThanWindow { texts } => *texts,
                _ => 0,
            }),
        };
        let has_undated = counts.members_without_a_time > 0;
        let stats = self.searcher.as_ref().map(|searcher| searcher.stats());
        let watermark = self.watermark();
        Ok(Certificate {
            certificate: "of a search",
            format: FORMAT,
            verdict: self.said_verdict(),
            exit_code: summary.verdict().code(),
            caveats: caveats(&notes),
            began_at: Time::from_instant(self.began),
            finished_at: Time::from_instant(Timestamp::now()),
            program: env!("CARGO_PKG_NAME"),
            version: env!("CARGO_PKG_VERSION"),
            who: event.who,
            host: event.host,
            query: Asked {
                typed: &self.request,
                counted_by,
                understood: describe_query(&self.query),
            },
            archive: ArchiveState {
                id: hex(&catalogue.archive_id()),
                generation: catalogue.generation(),
                journal: self.sealed,
                sealed: self.sealed_results(catalogue),
            },
            index: match &self.searcher {
                Some(searcher) => Some(IndexState {
                    watermark: searcher.watermark(),
                    schema: SCHEMA,
                    extractor_version: EXTRACTOR_VERSION,
                    checksums: "all compared, all as written",
                    state_root: self.state_root(catalogue, watermark)?,
                }),
                None => None,
            },
            searched: searched(stats.unwrap_or_default(), summary.members),
            found: Found {
                hits: summary.hits,
                members: summary.members_hit,
                devices: summary.devices_hit,
                stopped_at_limit: notes.contains(&Note::StoppedAtLimit),
            },
            explained: summary.explained.as_ref(),
            not_searched: NotSearched {
                counts,
                results_not_indexed: Streamed(RefCell::new(self.not_indexed(catalogue, lost))),
                problems_that_hide_text: Streamed(RefCell::new(self.hiding())),
                gaps,
                pending,
                left_out_for_want_of_a_time: Undated(has_undated.then_some(self)),
            },
        })
    }

    fn said_verdict(&self) -> String {
        match self.summary.verdict() {
            Verdict::Found => format!("found {}", self.summary.hits),
            Verdict::Nothing => "not found in everything there is".into(),
            Verdict::Incomplete => "not found, but not everything could be searched".into(),
        }
    }

    fn watermark(&self) -> Seq {
        self.searcher
            .as_ref()
            .map_or(Seq::ZERO, |searcher| searcher.watermark())
    }

    /// Results sealed when the search began.
    fn sealed_results(&self, catalogue: &Catalogue) -> u64 {
        let later = catalogue.results_since(self.sealed).len();
        catalogue.record_count().saturating_sub(later) as u64
    }

    /// See [`ROOT_COMPUTED`].
    fn state_root(&self, catalogue: &Catalogue, watermark: Seq) -> Result<StateRoot, Failure> {
        let mut sum = Sha256Sum::default();
        let mut results = 0;
        for record in catalogue.records() {
            let record = record?;
            if record.seq <= watermark {
                let (key, version) = (record.id.key, record.id.version.0);
                let (sha256, bytes) = (record.sha256, record.bytes);
                sum.update(format!("{key}@{version} {sha256} {bytes}\n").as_bytes());
                results += 1;
            }
        }
        Ok(StateRoot {
            sha256: sum.finish(),
            results,
            computed: ROOT_COMPUTED,
        })
    }

    /// Sealed when the search began and not in the index. A record that
    /// cannot be read ends them and is kept in `lost`.
    fn not_indexed<'a>(
        &'a self,
        catalogue: &'a Catalogue,
        lost: &'a Cell<Option<Failure>>,
    ) -> Box<dyn Iterator<Item = ResultRow> + 'a> {
        if self.not_indexed == 0 {
            return Box::new(std::iter::empty());
        }
        let behind = self.watermark();
        let records = catalogue
            .records()
            .map_while(|record| record.map_err(|e| lost.set(Some(e.into()))).ok());
        let late = records.filter(move |r| r.seq > behind && r.seq <= self.sealed);
        Box::new(late.map(|record| ResultRow {
            reference: record.id.to_string(),
            seq: record.seq,
            sha256: record.sha256,
            bytes: record.bytes,
            reason: "sealed and not indexed yet",
        }))
    }

    fn hiding(&self) -> Box<dyn Iterator<Item = HidingRow> + '_> {
        let problems = self
            .searcher
            .iter()
            .flat_map(|searcher| searcher.problems());
        let hiding = problems.filter(|placed| placed.problem.kind.hides_text());
        Box::new(hiding.map(|placed| {
            let at = Locator {
                layers: placed.layers,
                ..Locator::of_result(placed.id)
            };
            HidingRow {
                reference: at.to_string(),
                kind: placed.problem.kind,
                message: placed.problem.message,
            }
        }))
    }

    /// Results that are not there: why it is known, and those that may come.
    fn missing(
        &self,
        catalogue: &Catalogue,
    ) -> Result<(Vec<MissingRow>, Vec<MissingRow>), Failure> {
        let rows = missing_results(catalogue)?
            .into_iter()
            .map(|(key, missing)| MissingRow {
                reference: key.to_string(),
                device: missing.facts.device.or(missing.facts.machine_id),
                reason: missing.reason,
                detail: missing.detail,
            });
        Ok(rows.partition(|row| row.reason.is_some()))
    }
}

fn searched(stats: IndexStats, members: u64) -> Searched {
    Searched {
        what: SEARCHED_IN,
        results: stats.results,
        members,
        contents: stats.contents,
        lines: stats.lines,
        distinct_lines: stats.distinct_lines,
        text_bytes: stats.text_bytes,
        distinct_bytes: stats.distinct_bytes,
    }
}

/// The notes that qualify the verdict, as text.
fn caveats(notes: &[Note]) -> Vec<String> {
    let mut caveats: Vec<_> = notes.iter().filter_map(caveat).collect();
    caveats.sort_by_key(|(order, _)| *order);
    caveats.into_iter().map(|(_, text)| text).collect()
}

/// The place of a caveat among the others, and its text.
fn caveat(note: &Note) -> Option<(u8, String)> {
    let count =
        |order, count: u64, what: &str| (count > 0).then(|| (order, format!("{what}: {count}")));
    match note {
        Note::UnknownValue { field } => Some((0, format!("no member is of {field}"))),
        Note::NotIndexed { results } => count(
            1,
            *results,
            "results sealed and not indexed, so not searched",
        ),
        Note::TextUnreadable { problems } => count(
            2,
            *problems,
            "problems in the evidence that hide text from any search",
        ),
        Note::WithoutTime { members } => count(
            3,
            *members,
            "members that match but for the time asked for, and have none",
        ),
        Note::LongerThanWindow { texts } => count(
            4,
            *texts,
            "lines or texts so long that they were searched window by window, so that a match \
             longer than a window may be missed",
        ),
        Note::Gaps { results } => count(
            5,
            *results,
            "results that are not in the archive, with the reason (gaps)",
        ),
        Note::Pending { results } => count(6, *results, "results that may still come (pending)"),
        Note::StoppedAtLimit => Some((
            7,
            "the listing stopped at the limit; there are more hits".into(),
        )),
        _ => None,
    }
}

/// The sum of one number over all notes.
fn sum_of(notes: &[Note], number: impl Fn(&Note) -> u64) -> u64 {
    notes.iter().map(number).sum()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file that takes its name once it is whole.
struct Fresh {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Fresh {
    fn beside(target: &Path) -> io::Result<Self> {
        let mut name = target
            .file_name()
            .ok_or_else(|| io::Error::other("it names no file"))?
            .to_os_string();
        name.push(format!(".{}.part", std::process::id()));
        let path = target.with_file_name(name);
        Ok(Self {
            file: File::create_new(&path)?,
            path,
            kept: false,
        })
    }

    fn keep(mut self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        fs::rename(&self.path, target)?;
        self.kept = true;
        let folder = target.parent().filter(|f| !f.as_os_str().is_empty());
        sync_folder(folder.unwrap_or(Path::new(".")))
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.kept {
            let _ = fs::remove_file(&self.path);
        }
    }
}

struct Hashing<W> {
    out: W,
    sum: Sha256Sum,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.sum.update(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_not_finished_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("c.json");
        fs::write(&target, "before").unwrap();
        let fresh = Fresh::beside(&target).unwrap();
        (&fresh.file).write_all(b"half").unwrap();
        drop(fresh);
        assert_eq!(fs::read_to_string(&target).unwrap(), "before");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        let fresh = Fresh::beside(&target).unwrap();
        (&fresh.file).write_all(b"whole").unwrap();
        fresh.keep(&target).unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "whole");
    }
}
