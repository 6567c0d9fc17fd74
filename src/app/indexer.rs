//! One result after the other into the index: its members peeled, each
//! distinct content read once.

use std::cell::Cell;
use std::fmt::Display;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use evidence::{Layer, Problem, ProblemKind, Record, ResultKind, Sha256, Sha256Sum};
use extract::TranscriptFacts;
use index::{IndexWriter, Occurrence, PlacedProblem, ResultMetadata};
use members;
use members::{Member, ResultHint, Visitor};
use store::{Catalogue, SealedResult, StoreError};

use crate::app::decode_settings::{DecodeSettings, scratch_factory};
use crate::app::error::Failure;
use crate::app::text_sink::{Found, TextSink};

/// Members up to this size are hashed before they are read as text, so that
/// content known already costs a hash and nothing more. Most members are
/// smaller.
const KNOWN_FIRST_BYTES_MAX: usize = 8 << 20;

/// Of a member's path: no file system has longer ones that people use, and a
/// hostile archive of a million members may give each a name of 64 KiB.
const NAME_CHARS_MAX: usize = 1024;

/// Result of an index update.
#[derive(Clone, Debug, Default, Serialize)]
pub struct IndexReport {
    pub results: u64,
    pub members: u64,
    /// **Units**: bytes of decoded text, of contents that were not indexed yet.
    pub text_bytes: u64,
    pub problems: u64,
    /// Why the index was replaced, if it was.
    pub rebuilt: Option<String>,
}

/// Reads results into the index, one after the other.
pub(super) struct Indexer<'a> {
    archive: &'a Path,
    catalogue: &'a Catalogue,
    pub(super) writer: &'a mut IndexWriter,
    settings: DecodeSettings,
    pub(super) report: IndexReport,
    /// The member at hand; goes round, so that it is not allocated for each.
    head: Vec<u8>,
}

impl<'a> Indexer<'a> {
    pub(super) fn new(
        archive: &'a Path,
        catalogue: &'a Catalogue,
        writer: &'a mut IndexWriter,
    ) -> Result<Self, Failure> {
        Ok(Self {
            archive,
            catalogue,
            writer,
            settings: DecodeSettings::read(catalogue)?,
            report: IndexReport::default(),
            head: Vec::new(),
        })
    }

    /// Reads one result. Where the archive's own copy of it is damaged, what
    /// can be read is kept, and the rest is a problem of this result.
    pub(super) fn read(&mut self, record: &Record) -> Result<(), Failure> {
        let (archive, settings) = (self.archive, self.settings.members.clone());
        let hint = ResultHint {
            name: record.facts.header("content-disposition"),
        };
        let damage = Damage::default();
        let mut scratch = scratch_factory(archive);
        let source = damage.of(self.catalogue.reader(record.id))?;
        let mut result = ResultReader {
            indexer: self,
            record,
            facts: result_facts(record),
            transcripts: 0,
            again: Vec::new(),
            text_bytes: 0,
            failed: None,
            damage: &damage,
        };
        if let Some(source) = source {
            let mut source = damage.watch(source);
            let walked = members::traverse(&mut source, hint, &settings, &mut scratch, &mut result);
            let failed = result.failed.take().map_or(Ok(()), Err);
            let walked = failed.and(walked.map_err(Failure::from));
            if let Some(summary) = damage.excuses(walked)? {
                result.facts.members = summary.members;
            }
            for met in std::mem::take(&mut result.again) {
                let read = result.read_large(&met, hint);
                let found = damage.excuses(read)?.flatten();
                result.keep(met, found);
            }
        }
        if let Some(message) = damage.take() {
            result.indexer.writer.abandon();
            result.note_problem(&[], Problem::new(ProblemKind::Damaged, message));
        }
        let ResultReader {
            facts, text_bytes, ..
        } = result;
        self.report.results += 1;
        self.report.members += facts.members;
        self.report.problems += facts.problems;
        self.report.text_bytes += text_bytes;
        self.writer.result(facts);
        Ok(())
    }

    /// A result of which not even the facts can be read.
    pub(super) fn note_damaged(&mut self, sealed: &SealedResult, error: &StoreError) {
        let message = format!("{COPY_DAMAGED}: {error}");
        self.writer.problem(PlacedProblem {
            id: sealed.id,
            layers: Vec::new(),
            problem: Problem::new(ProblemKind::Damaged, message),
        });
        self.writer.result(ResultMetadata {
            bytes: sealed.bytes,
            problems: 1,
            ..ResultMetadata::new(sealed.id, sealed.seq, ResultKind::File)
        });
        self.report.results += 1;
        self.report.problems += 1;
    }
}

const COPY_DAMAGED: &str = "the archive's copy is damaged, what can be read of it is searched";

/// Tells damage of the archive's own copy from other failures: disks rot, and
/// one bad sector must not keep everything behind it from being indexed.
#[derive(Default)]
struct Damage(Cell<Option<String>>);

impl Damage {
    fn note(&self, what: &dyn Display) {
        let first = self.0.take();
        self.0
            .set(first.or_else(|| Some(format!("{COPY_DAMAGED}: {what}"))));
    }

    fn is_noted(&self) -> bool {
        let noted = self.0.take();
        let is_noted = noted.is_some();
        self.0.set(noted);
        is_noted
    }

    fn take(&self) -> Option<String> {
        self.0.take()
    }

    /// `None` where it is damaged.
    fn of<T>(&self, opened: Result<T, StoreError>) -> Result<Option<T>, Failure> {
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(error @ StoreError::Damaged { .. }) => {
                self.note(&error);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn watch<R>(&self, inner: R) -> Watched<'_, R> {
        Watched {
            inner,
            damage: self,
        }
    }

    /// A failure that came of damage is none.
    fn excuses<T>(&self, done: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(_) if self.is_noted() => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// A source that notes where its bytes are not those that were sealed.
struct Watched<'d, R> {
    inner: R,
    damage: &'d Damage,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buf);
        if let Err(error) = &read
            && error.kind() == io::ErrorKind::InvalidData
        {
            self.damage.note(error);
        }
        read
    }
}

impl<R: Seek> Seek for Watched<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

fn result_facts(record: &Record) -> ResultMetadata {
    let facts = &record.facts;
    ResultMetadata {
        device: facts.device.clone(),
        machine_id: facts.machine_id.clone(),
        script: facts.script.clone(),
        args: facts.args.clone(),
        path: facts.path.clone(),
        time: facts.time().cloned(),
        requestor: facts.requestor.clone(),
        comment: facts.comment.clone(),
        bytes: record.bytes,
        ..ResultMetadata::new(record.id, record.seq, facts.kind)
    }
}

/// One result on its way into the index: takes its members.
struct ResultReader<'r, 'a> {
    indexer: &'r mut Indexer<'a>,
    record: &'r Record,
    facts: ResultMetadata,
    /// Members so far that are transcripts.
    transcripts: u64,
    /// Large members of several parts: their hash must be known before their
    /// text is taken, so they are opened again.
    again: Vec<Met>,
    text_bytes: u64,
    failed: Option<Failure>,
    damage: &'r Damage,
}

/// A member that was met.
struct Met {
    layers: Vec<Layer>,
    name: String,
    content: Sha256,
    /// **Units**: bytes of the content.
    bytes: u64,
}

impl Met {
    fn new(member: &Member<'_>, content: Sha256, bytes: u64) -> Self {
        Self {
            layers: member.layers.to_vec(),
            name: member.name.to_string(),
            content,
            bytes,
        }
    }
}

impl Visitor for ResultReader<'_, '_> {
    fn member(&mut self, member: &Member<'_>, bytes: &mut dyn Read) -> ControlFlow<()> {
        match self.take(member, bytes) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                self.failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    }

    fn problem(&mut self, layers: &[Layer], problem: Problem) {
        self.note_problem(layers, problem);
    }
}

impl ResultReader<'_, '_> {
    fn take(&mut self, member: &Member<'_>, mut bytes: &mut dyn Read) -> Result<(), Failure> {
        let mut head = std::mem::take(&mut self.indexer.head);
        head.clear();
        Read::take(&mut bytes, KNOWN_FIRST_BYTES_MAX as u64 + 1).read_to_end(&mut head)?;
        let taken = if head.len() <= KNOWN_FIRST_BYTES_MAX {
            let content = self.content_of(member, &head);
            self.read_known(
                Met::new(member, content, head.len() as u64),
                &mut head.as_slice(),
            )
        } else {
            self.stream(member, &head, bytes)
        };
        self.indexer.head = head;
        taken
    }

    /// A result that is no container was hashed when it was sealed.
    fn content_of(&self, member: &Member<'_>, bytes: &[u8]) -> Sha256 {
        if member.layers.is_empty() && bytes.len() as u64 == self.record.bytes {
            self.record.sha256
        } else {
            Sha256::of(bytes)
        }
    }

    /// Text of a content whose hash is known.
    fn read_known(&mut self, met: Met, bytes: &mut dyn Read) -> Result<(), Failure> {
        let content = met.content;
        let known = self.indexer.writer.holds(&content);
        let mut sink = TextSink::new(self.indexer.writer, Some(content), known);
        sink.read(
            self.indexer.archive,
            bytes,
            &met.name,
            self.record.facts.kind,
            self.indexer.settings.extract,
        )?;
        sink.end(content)?;
        let found = sink.into_found();
        self.keep(met, Some(found));
        Ok(())
    }

    /// Text and hash of a large member in one pass.
    fn stream(
        &mut self,
        member: &Member<'_>,
        head: &[u8],
        rest: &mut dyn Read,
    ) -> Result<(), Failure> {
        let mut hashed = Hashed::new(head.chain(rest));
        let mut sink = TextSink::new(self.indexer.writer, None, false);
        sink.read(
            self.indexer.archive,
            &mut hashed,
            member.name,
            self.record.facts.kind,
            self.indexer.settings.extract,
        )?;
        let (content, len) = hashed.finish()?;
        let again = sink.has_more_parts;
        if !again {
            sink.end(content)?;
        }
        let found = sink.into_found();
        let met = Met::new(member, content, len);
        if again {
            self.again.push(met);
        } else {
            self.keep(met, Some(found));
        }
        Ok(())
    }

    fn read_large(&mut self, met: &Met, hint: ResultHint<'_>) -> Result<Option<Found>, Failure> {
        let (kind, id, damage) = (self.record.facts.kind, self.record.id, self.damage);
        let Indexer {
            archive,
            catalogue,
            writer,
            settings,
            ..
        } = &mut *self.indexer;
        let open = |take: &mut dyn FnMut(&mut dyn Read) -> Result<(), Failure>| {
            let Some(source) = damage.of(catalogue.reader(id))? else {
                return Ok(());
            };
            let mut source = damage.watch(source);
            let mut scratch = scratch_factory(archive);
            let mut taken = Ok(());
            members::open(
                &mut source,
                hint,
                &met.layers,
                &settings.members,
                &mut scratch,
                &mut |_: &Member<'_>, bytes: &mut dyn Read| taken = take(bytes),
            )?;
            taken
        };
        let mut content = None;
        open(&mut |bytes| {
            content = Some(Hashed::new(bytes).finish()?.0);
            Ok(())
        })?;
        let Some(content) = content else {
            return Ok(None);
        };
        let known = writer.holds(&content);
        let mut found = None;
        open(&mut |bytes| {
            let mut sink = TextSink::new(writer, Some(content), known);
            sink.read(archive, bytes, &met.name, kind, settings.extract)?;
            sink.end(content)?;
            found = Some(sink.into_found());
            Ok(())
        })?;
        Ok(found)
    }

    fn keep(&mut self, met: Met, found: Option<Found>) {
        let mut occurrence = Occurrence {
            member: printed(&met.name),
            ..Occurrence::new(self.record.id, met.layers, met.content, met.bytes)
        };
        if let Some(found) = found {
            self.text_bytes += found.text_bytes;
            for problem in found.problems {
                self.note_problem(&occurrence.layers, problem);
            }
            if let Some(told) = found.transcript {
                occurrence.script = told.script_name.clone();
                occurrence.exit_code = told.exit_code;
                self.note_transcript(told);
            }
        }
        self.indexer.writer.occurrence(occurrence);
    }

    /// What the only transcript of a result says is said of the result; of
    /// several, what they agree on.
    fn note_transcript(&mut self, told: TranscriptFacts) {
        self.transcripts += 1;
        let facts = &mut self.facts;
        let own_script = self.record.facts.script.is_some();
        if self.transcripts == 1 {
            facts.exit_code = told.exit_code;
            facts.transcript_id = told.transcript_id;
            if !own_script {
                facts.script = told.script_name;
            }
            return;
        }
        facts.exit_code = facts
            .exit_code
            .filter(|known| Some(*known) == told.exit_code);
        facts.transcript_id = facts
            .transcript_id
            .take()
            .filter(|known| Some(known) == told.transcript_id.as_ref());
        if !own_script {
            facts.script = facts
                .script
                .take()
                .filter(|known| Some(known) == told.script_name.as_ref());
        }
    }

    fn note_problem(&mut self, layers: &[Layer], problem: Problem) {
        self.facts.problems += 1;
        self.indexer.writer.problem(PlacedProblem {
            id: self.record.id,
            layers: layers.to_vec(),
            problem,
        });
    }
}

/// A member's path as the index keeps it.
fn printed(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_string(),
    }
}

/// Hashes what is read through it.
struct Hashed<R> {
    inner: R,
    hasher: Sha256Sum,
    len: u64,
}

impl<R: Read> Hashed<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256Sum::default(),
            len: 0,
        }
    }

    /// Reads to the end, whatever was read before.
    fn finish(mut self) -> io::Result<(Sha256, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((self.hasher.finish(), self.len))
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        self.len += n as u64;
        Ok(n)
    }
}
