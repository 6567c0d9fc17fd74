//! Reads results into the index: opens their containers and extracts the text
//! of each distinct content once.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Serialize;

use evidence::{Layer, Problem, ProblemKind, Record, ResultKind, Sha256, Sha256Sum};
use extract::TranscriptFacts;
use index::{IndexWriter, Occurrence, PlacedProblem, ResultMetadata};
use members::{Member, ResultHint};
use store::{Catalogue, SealedResult, StoreError};

use crate::app::decode_settings::{DecodeSettings, scratch_factory};
use crate::app::error::Failure;
use crate::app::text_sink::{Extraction, TextSink};
use crate::app::visit::{MemberVisitor, read_member, walk_members};

/// Members up to this size are hashed before their text is extracted, so that
/// content that is indexed already costs a hash only. Most members are smaller.
const HASH_FIRST_BYTES_MAX: usize = 8 << 20;

/// Characters of a member path that are indexed. Real paths are shorter, and a
/// hostile archive can give each of a million members a name of 64 KiB.
const PATH_CHARS_MAX: usize = 1024;

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
pub(super) struct ResultIndexer<'a> {
    archive: &'a Path,
    catalogue: &'a Catalogue,
    pub(super) writer: &'a mut IndexWriter,
    settings: DecodeSettings,
    pub(super) report: IndexReport,
    /// Buffer for the first bytes of a member, used for all members.
    head: Vec<u8>,
}

impl<'a> ResultIndexer<'a> {
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

    /// Indexes one result. If the copy in the archive is damaged, its readable
    /// part is indexed, and the rest becomes a problem of the result.
    pub(super) fn read(&mut self, record: &Record) -> Result<(), Failure> {
        let (archive, settings) = (self.archive, self.settings.members.clone());
        let hint = ResultHint {
            name: record.facts.header("content-disposition"),
        };
        let damage = CopyDamage::default();
        let mut scratch = scratch_factory(archive);
        let source = damage.unless_damaged(self.catalogue.reader(record.id))?;
        let mut result = ResultReader {
            indexer: self,
            record,
            metadata: result_metadata(record),
            transcripts: 0,
            postponed: Vec::new(),
            text_bytes: 0,
            damage: &damage,
        };
        if let Some(source) = source {
            let mut source = damage.watch(source);
            let walked = walk_members(&mut source, hint, &settings, &mut scratch, &mut result);
            if let Some(summary) = damage.excuse(walked)? {
                result.metadata.members = summary.members;
            }
            for member in std::mem::take(&mut result.postponed) {
                let read = result.read_postponed(&member, hint);
                let extraction = damage.excuse(read)?.flatten();
                result.add_occurrence(member, extraction);
            }
        }
        if let Some(message) = damage.take() {
            result.indexer.writer.abandon();
            result.note_problem(&[], Problem::new(ProblemKind::Damaged, message));
        }
        let ResultReader {
            metadata,
            text_bytes,
            ..
        } = result;
        self.report.results += 1;
        self.report.members += metadata.members;
        self.report.problems += metadata.problems;
        self.report.text_bytes += text_bytes;
        self.writer.result(metadata);
        Ok(())
    }

    /// Indexes a result whose record cannot be read.
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

const COPY_DAMAGED: &str = "the copy in the archive is damaged, its readable part is indexed";

/// Distinguishes damage of the copy in the archive from other failures: one bad
/// sector must not prevent the rest from being indexed.
#[derive(Default)]
struct CopyDamage(RefCell<Option<String>>);

impl CopyDamage {
    /// Keeps the first message.
    fn note(&self, error: &dyn Display) {
        self.0
            .borrow_mut()
            .get_or_insert_with(|| format!("{COPY_DAMAGED}: {error}"));
    }

    fn is_noted(&self) -> bool {
        self.0.borrow().is_some()
    }

    fn take(&self) -> Option<String> {
        self.0.take()
    }

    /// `None` if the copy is damaged.
    fn unless_damaged<T>(&self, opened: Result<T, StoreError>) -> Result<Option<T>, Failure> {
        match opened {
            Ok(opened) => Ok(Some(opened)),
            Err(error @ StoreError::Damaged { .. }) => {
                self.note(&error);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn watch<R>(&self, inner: R) -> DamageReader<'_, R> {
        DamageReader {
            inner,
            damage: self,
        }
    }

    /// Ignores a failure after damage, because the damage caused it.
    fn excuse<T>(&self, done: Result<T, Failure>) -> Result<Option<T>, Failure> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(_) if self.is_noted() => Ok(None),
            Err(failure) => Err(failure),
        }
    }
}

/// A reader that notes bytes that differ from those that were sealed.
struct DamageReader<'d, R> {
    inner: R,
    damage: &'d CopyDamage,
}

impl<R: Read> Read for DamageReader<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).inspect_err(|error| {
            if error.kind() == io::ErrorKind::InvalidData {
                self.damage.note(error);
            }
        })
    }
}

impl<R: Seek> Seek for DamageReader<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

fn result_metadata(record: &Record) -> ResultMetadata {
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

/// Indexes the members of one result.
struct ResultReader<'r, 'a> {
    indexer: &'r mut ResultIndexer<'a>,
    record: &'r Record,
    metadata: ResultMetadata,
    /// Members so far that are transcripts.
    transcripts: u64,
    /// Large members with several texts. Their hash must be known before their
    /// text is extracted, so they are read again.
    postponed: Vec<MemberContent>,
    text_bytes: u64,
    damage: &'r CopyDamage,
}

/// A member and its content.
struct MemberContent {
    layers: Vec<Layer>,
    name: String,
    content: Sha256,
    /// **Units**: bytes of the content.
    bytes: u64,
}

impl MemberContent {
    fn new(member: &Member<'_>, content: Sha256, bytes: u64) -> Self {
        Self {
            layers: member.layers.to_vec(),
            name: member.name.to_string(),
            content,
            bytes,
        }
    }
}

impl MemberVisitor for ResultReader<'_, '_> {
    fn member(
        &mut self,
        member: &Member<'_>,
        mut bytes: &mut dyn Read,
    ) -> Result<ControlFlow<()>, Failure> {
        let mut head = std::mem::take(&mut self.indexer.head);
        head.clear();
        Read::take(&mut bytes, HASH_FIRST_BYTES_MAX as u64 + 1).read_to_end(&mut head)?;
        let done = if head.len() <= HASH_FIRST_BYTES_MAX {
            let content = self.content_of(member, &head);
            let member = MemberContent::new(member, content, head.len() as u64);
            self.read_hashed(member, &mut head.as_slice())
        } else {
            self.read_large(member, &head, bytes)
        };
        self.indexer.head = head;
        done.map(ControlFlow::Continue)
    }

    fn problem(&mut self, layers: &[Layer], problem: Problem) -> Result<(), Failure> {
        self.note_problem(layers, problem);
        Ok(())
    }
}

impl ResultReader<'_, '_> {
    /// The hash of a member. A result that is not a container was hashed when
    /// it was sealed.
    fn content_of(&self, member: &Member<'_>, bytes: &[u8]) -> Sha256 {
        if member.layers.is_empty() && bytes.len() as u64 == self.record.bytes {
            self.record.sha256
        } else {
            Sha256::of(bytes)
        }
    }

    /// Indexes a member whose hash is known.
    fn read_hashed(&mut self, member: MemberContent, bytes: &mut dyn Read) -> Result<(), Failure> {
        let content = member.content;
        let is_indexed = self.indexer.writer.holds(&content);
        let mut sink = TextSink::new(self.indexer.writer, Some(content), is_indexed);
        sink.read(
            self.indexer.archive,
            bytes,
            &member.name,
            self.record.facts.kind,
            self.indexer.settings.extract,
        )?;
        sink.finish(content)?;
        let extraction = sink.into_extraction();
        self.add_occurrence(member, Some(extraction));
        Ok(())
    }

    /// Indexes and hashes a large member in one pass; postpones it if it has
    /// several texts.
    fn read_large(
        &mut self,
        member: &Member<'_>,
        head: &[u8],
        rest: &mut dyn Read,
    ) -> Result<(), Failure> {
        let mut hashed = HashingReader::new(head.chain(rest));
        let mut sink = TextSink::new(self.indexer.writer, None, false);
        sink.read(
            self.indexer.archive,
            &mut hashed,
            member.name,
            self.record.facts.kind,
            self.indexer.settings.extract,
        )?;
        let (content, len) = hashed.finish()?;
        let is_postponed = sink.has_more_parts;
        if !is_postponed {
            sink.finish(content)?;
        }
        let extraction = sink.into_extraction();
        let member = MemberContent::new(member, content, len);
        if is_postponed {
            self.postponed.push(member);
        } else {
            self.add_occurrence(member, Some(extraction));
        }
        Ok(())
    }

    /// Reads a postponed member twice: for its hash, and for its texts. `None`
    /// if it cannot be opened any more.
    fn read_postponed(
        &mut self,
        member: &MemberContent,
        hint: ResultHint<'_>,
    ) -> Result<Option<Extraction>, Failure> {
        let hash = |bytes: &mut dyn Read| Ok(HashingReader::new(bytes).finish()?.0);
        let Some(content) = self.reopen(member, hint, |_, bytes| hash(bytes))? else {
            return Ok(None);
        };
        let kind = self.record.facts.kind;
        self.reopen(member, hint, |indexer, bytes| {
            let is_indexed = indexer.writer.holds(&content);
            let mut sink = TextSink::new(indexer.writer, Some(content), is_indexed);
            sink.read(
                indexer.archive,
                bytes,
                &member.name,
                kind,
                indexer.settings.extract,
            )?;
            sink.finish(content)?;
            Ok(sink.into_extraction())
        })
    }

    /// Opens a member again. `None` if the copy in the archive is damaged.
    fn reopen<T>(
        &mut self,
        member: &MemberContent,
        hint: ResultHint<'_>,
        mut read: impl FnMut(&mut ResultIndexer<'_>, &mut dyn Read) -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let opened = self.indexer.catalogue.reader(self.record.id);
        let Some(source) = self.damage.unless_damaged(opened)? else {
            return Ok(None);
        };
        let mut source = self.damage.watch(source);
        let mut scratch = scratch_factory(self.indexer.archive);
        let settings = self.indexer.settings.members.clone();
        let indexer = &mut *self.indexer;
        let (value, _) = read_member(
            &mut source,
            hint,
            &member.layers,
            &settings,
            &mut scratch,
            |_, bytes| read(indexer, bytes),
        )?;
        Ok(Some(value))
    }

    fn add_occurrence(&mut self, member: MemberContent, extraction: Option<Extraction>) {
        let mut occurrence = Occurrence {
            member: indexed_path(&member.name),
            ..Occurrence::new(self.record.id, member.layers, member.content, member.bytes)
        };
        if let Some(extraction) = extraction {
            self.text_bytes += extraction.text_bytes;
            for problem in extraction.problems {
                self.note_problem(&occurrence.layers, problem);
            }
            if let Some(facts) = extraction.transcript {
                occurrence.script = facts.script_name.clone();
                occurrence.exit_code = facts.exit_code;
                self.note_transcript(facts);
            }
        }
        self.indexer.writer.occurrence(occurrence);
    }

    /// Adds the facts of a transcript to the result: of several transcripts,
    /// those they agree on.
    fn note_transcript(&mut self, facts: TranscriptFacts) {
        self.transcripts += 1;
        let metadata = &mut self.metadata;
        let has_script = self.record.facts.script.is_some();
        if self.transcripts == 1 {
            metadata.exit_code = facts.exit_code;
            metadata.transcript_id = facts.transcript_id;
            if !has_script {
                metadata.script = facts.script_name;
            }
            return;
        }
        metadata.exit_code = metadata
            .exit_code
            .filter(|known| Some(*known) == facts.exit_code);
        metadata.transcript_id = metadata
            .transcript_id
            .take()
            .filter(|known| Some(known) == facts.transcript_id.as_ref());
        if !has_script {
            metadata.script = metadata
                .script
                .take()
                .filter(|known| Some(known) == facts.script_name.as_ref());
        }
    }

    fn note_problem(&mut self, layers: &[Layer], problem: Problem) {
        self.metadata.problems += 1;
        self.indexer.writer.problem(PlacedProblem {
            id: self.record.id,
            layers: layers.to_vec(),
            problem,
        });
    }
}

/// The path of a member as it is indexed.
fn indexed_path(name: &str) -> String {
    match name.char_indices().nth(PATH_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name.to_string(),
    }
}

/// Computes the hash of what is read through it.
struct HashingReader<R> {
    inner: R,
    hasher: Sha256Sum,
    len: u64,
}

impl<R: Read> HashingReader<R> {
    fn new(inner: R) -> Self {
        Self {
            inner,
            hasher: Sha256Sum::default(),
            len: 0,
        }
    }

    /// Reads the rest, and returns hash and length of everything.
    fn finish(mut self) -> io::Result<(Sha256, u64)> {
        io::copy(&mut self, &mut io::sink())?;
        Ok((self.hasher.finish(), self.len))
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.hasher.update(&buf[..n]);
        self.len += n as u64;
        Ok(n)
    }
}
