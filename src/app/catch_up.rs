//! Pump 2: what is sealed and not indexed yet is read, peeled, turned into
//! text and put into the index. The same code builds an index anew.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::evidence::{Layer, Problem, Record, ResultId, ResultKind, Seq, Sha256, Sha256Sum};
use crate::extract::{self, EXTRACTOR_VERSION, Head, Part, Sink, TranscriptFacts};
use crate::index::{
    Identity, IndexError, Occurrence, PlacedProblem, ResultFacts, Searcher, Writer,
};
use crate::members::{self, Hint, Member, MembersError, Visitor};
use crate::store::{Catalogue, EntryKind, Scratch, StoreError};

use super::custody;
use super::failure::{Failure, Kind};

/// What catching up came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Caught {
    pub results: u64,
    pub members: u64,
    /// **Units**: bytes of decoded text, of contents not known before.
    pub text_bytes: u64,
    pub problems: u64,
    /// Why the index was built anew.
    pub rebuilt: Option<String>,
}

/// Members up to this size are hashed before they are read as text, so that
/// content known already costs a hash and nothing more. Most members are
/// smaller.
const KNOWN_FIRST_BYTES_MAX: usize = 8 << 20;
/// Text taken between publishings: what a crash may make us read again, and
/// about one segment.
const PUBLISH_BYTES: u64 = 256 << 20;
/// Results noted between publishings where they hold little text.
const PUBLISH_RESULTS: u64 = 20_000;
/// Setting of the archive: passwords to try on locked members.
const PASSWORDS: &str = "passwords";
/// More passwords than this would make every locked member a brute force.
const PASSWORDS_MAX: usize = 1_000;

/// Where an archive keeps its index.
pub(super) fn index_dir(archive: &Path) -> PathBuf {
    archive.join("index")
}

/// What an index of this archive is made from.
pub(super) fn identity(catalogue: &Catalogue) -> Identity {
    Identity {
        archive: catalogue.archive_id(),
        generation: catalogue.generation(),
        extractor_version: EXTRACTOR_VERSION,
    }
}

impl From<IndexError> for Failure {
    fn from(error: IndexError) -> Self {
        let hint = error.hint().map(str::to_string);
        let failure = Self::caused(Kind::World, String::new(), error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

impl From<MembersError> for Failure {
    fn from(error: MembersError) -> Self {
        let kind = match &error {
            MembersError::NoSuchMember { .. } | MembersError::Unreadable { .. } => Kind::NotThere,
            _ => Kind::World,
        };
        Self::caused(kind, String::new(), error)
    }
}

/// Brings the index up to the journal's end.
///
/// **Errors**: what was published until then stays; catching up again goes on.
pub fn catch_up(
    archive: &Path,
    rebuild: bool,
    on_progress: &mut dyn FnMut(u64, u64),
) -> Result<Caught, Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let dir = index_dir(archive);
    let (identity, settings) = (identity(&catalogue), index_settings(&catalogue));
    let rebuilt = (!rebuild).then(|| foreign(&dir, &catalogue)).flatten();
    let mut writer = if rebuild {
        Writer::rebuild(&dir, identity, settings)?
    } else {
        Writer::open(&dir, identity, settings)?
    };
    let from = writer.watermark();
    let (_, total) = results_since(&catalogue, from);
    let mut indexer = Indexer::new(archive, &catalogue, &mut writer)?;
    let (mut done, mut unpublished, mut seen) = (0, 0, from);
    for entry in catalogue.entries_since(from) {
        let entry = entry?;
        if let EntryKind::Result(record) = &entry.kind {
            on_progress(done, total);
            indexer.read(record)?;
            done += record.bytes;
            unpublished += 1;
        }
        seen = entry.seq;
        if indexer.writer.unpublished_bytes() >= PUBLISH_BYTES || unpublished >= PUBLISH_RESULTS {
            indexer.writer.publish(seen)?;
            unpublished = 0;
        }
    }
    let mut caught = indexer.caught;
    if seen > from || rebuilt.is_some() || rebuild {
        writer.publish(seen)?;
    }
    on_progress(total, total);
    caught.rebuilt = rebuilt;
    Ok(caught)
}

/// Why the index that is there cannot be gone on with.
fn foreign(dir: &Path, catalogue: &Catalogue) -> Option<String> {
    match Searcher::open(dir, Some(&identity(catalogue)), Some(text_key(catalogue))) {
        Ok(_) | Err(IndexError::Missing { .. }) => None,
        Err(error) => Some(error.to_string()),
    }
}

/// Count and bytes of the results sealed behind `from`.
pub(super) fn results_since(catalogue: &Catalogue, from: Seq) -> (u64, u64) {
    let results = catalogue.results_since(from);
    let bytes = results.iter().map(|(_, len)| len).sum();
    (results.len() as u64, bytes)
}

/// Opens the index to search; `None` where there is none of this archive yet.
pub(super) fn open_searcher(
    archive: &Path,
    catalogue: &Catalogue,
) -> Result<Option<Searcher>, Failure> {
    let identity = identity(catalogue);
    match Searcher::open(
        &index_dir(archive),
        Some(&identity),
        Some(text_key(catalogue)),
    ) {
        Ok(searcher) => Ok(Some(searcher)),
        Err(IndexError::Missing { .. } | IndexError::Foreign { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Masks the text in the index, so that an antivirus does not take it for what
/// it tells about. No secret: whoever has the archive has the key.
fn text_key(catalogue: &Catalogue) -> [u8; 32] {
    blake3::derive_key("afteraction 2026 index text", &catalogue.archive_id())
}

fn index_settings(catalogue: &Catalogue) -> crate::index::Settings {
    crate::index::Settings {
        key: Some(text_key(catalogue)),
        ..crate::index::Settings::default()
    }
}

/// What decides how evidence is read: facts of the archive, so that reading it
/// again gives the same.
#[derive(Clone, Default)]
pub(super) struct Reading {
    pub members: members::Settings,
    pub extract: extract::Settings,
}

pub(super) fn reading(catalogue: &Catalogue) -> Result<Reading, Failure> {
    let mut reading = Reading::default();
    reading
        .members
        .passwords
        .extend(noted_passwords(catalogue)?);
    Ok(reading)
}

fn noted_passwords(catalogue: &Catalogue) -> Result<Vec<String>, Failure> {
    let noted = catalogue.settings()?.remove(PASSWORDS);
    Ok(noted
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default())
}

/// Adds the passwords in `file`, one a line, to those that are tried. Only
/// results with locked members are read again.
pub fn add_passwords(archive: &Path, file: &Path) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        Failure::caused(Kind::World, format!("could not read {}", file.display()), e)
    })?;
    let catalogue = custody::open_to_read(archive)?;
    let mut passwords = noted_passwords(&catalogue)?;
    let before = passwords.len();
    for word in text
        .lines()
        .map(|l| l.trim_end_matches('\r'))
        .filter(|l| !l.is_empty())
    {
        if word != members::DEFAULT_PASSWORD && !passwords.iter().any(|p| p == word) {
            passwords.push(word.to_string());
        }
    }
    if passwords.len() > PASSWORDS_MAX {
        return Err(Failure::asked(format!(
            "{} passwords are more than the {PASSWORDS_MAX} an archive tries",
            passwords.len()
        )));
    }
    let added = passwords.len() - before;
    if added == 0 {
        return Ok(0);
    }
    let store = custody::open_to_write(archive, "index --passwords")?;
    custody::note(
        &store,
        &format!("add {added} passwords to try on locked members"),
    )?;
    store.note_setting(PASSWORDS, serde_json::json!(passwords))?;
    store.close()?;
    drop(store);
    read_locked_again(archive)?;
    Ok(added as u64)
}

/// Reads anew the results that have locked members.
fn read_locked_again(archive: &Path) -> Result<(), Failure> {
    let catalogue = custody::open_to_read(archive)?;
    let Some(searcher) = open_searcher(archive, &catalogue)? else {
        return Ok(());
    };
    let locked = super::listing::locked_results(&searcher);
    drop(searcher);
    if locked.is_empty() {
        return Ok(());
    }
    let (identity, settings) = (identity(&catalogue), index_settings(&catalogue));
    let mut writer = Writer::open(&index_dir(archive), identity, settings)?;
    let watermark = writer.watermark();
    let mut indexer = Indexer::new(archive, &catalogue, &mut writer)?;
    for id in locked {
        indexer.writer.forget(id);
        indexer.read(&record_of(&catalogue, id)?)?;
    }
    Ok(writer.publish(watermark)?)
}

/// Reads results into the index, one after the other.
struct Indexer<'a> {
    archive: &'a Path,
    catalogue: &'a Catalogue,
    writer: &'a mut Writer,
    reading: Reading,
    caught: Caught,
    /// The member at hand; goes round, so that it is not allocated for each.
    head: Vec<u8>,
}

impl<'a> Indexer<'a> {
    fn new(
        archive: &'a Path,
        catalogue: &'a Catalogue,
        writer: &'a mut Writer,
    ) -> Result<Self, Failure> {
        Ok(Self {
            archive,
            catalogue,
            writer,
            reading: reading(catalogue)?,
            caught: Caught::default(),
            head: Vec::new(),
        })
    }

    fn read(&mut self, record: &Record) -> Result<(), Failure> {
        let (archive, settings) = (self.archive, self.reading.members.clone());
        let hint = Hint {
            name: record.facts.header("content-disposition"),
        };
        let mut source = self.catalogue.reader(record.id)?;
        let mut scratch = scratch_factory(archive);
        let mut result = ResultReader {
            indexer: self,
            record,
            facts: result_facts(record),
            again: Vec::new(),
            text_bytes: 0,
            failed: None,
        };
        let summary = members::walk(&mut source, hint, &settings, &mut scratch, &mut result)?;
        if let Some(failed) = result.failed.take() {
            return Err(failed);
        }
        for (layers, name) in std::mem::take(&mut result.again) {
            result.read_large(&layers, &name, hint)?;
        }
        let ResultReader {
            mut facts,
            text_bytes,
            ..
        } = result;
        facts.members = summary.members;
        self.caught.results += 1;
        self.caught.members += summary.members;
        self.caught.problems += facts.problems;
        self.caught.text_bytes += text_bytes;
        self.writer.result(facts);
        Ok(())
    }
}

/// Scratch files stand inside the archive, which is where there is room for
/// evidence; a system's temp may be memory.
pub(super) fn scratch_factory(
    archive: &Path,
) -> impl FnMut() -> io::Result<Box<dyn members::Scratch>> + '_ {
    move || {
        let scratch = Scratch::create(archive, members::Limits::default().scratch_bytes_max)?;
        Ok(Box::new(scratch) as Box<dyn members::Scratch>)
    }
}

fn result_facts(record: &Record) -> ResultFacts {
    let facts = &record.facts;
    ResultFacts {
        device: facts.device.clone(),
        machine_id: facts.machine_id.clone(),
        script: facts.script.clone(),
        path: facts.path.clone(),
        time: facts.time().cloned(),
        requestor: facts.requestor.clone(),
        comment: facts.comment.clone(),
        bytes: record.bytes,
        ..ResultFacts::new(record.id, record.seq, facts.kind)
    }
}

/// One result on its way into the index: takes its members.
struct ResultReader<'r, 'a> {
    indexer: &'r mut Indexer<'a>,
    record: &'r Record,
    facts: ResultFacts,
    /// Large members of several parts: their hash must be known before their
    /// text is taken, so they are opened again.
    again: Vec<(Vec<Layer>, String)>,
    text_bytes: u64,
    failed: Option<Failure>,
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
            self.occurs(member.layers, member.name, content, head.len() as u64);
            self.read_known(member.layers, member.name, content, &mut head.as_slice())
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
    fn read_known(
        &mut self,
        layers: &[Layer],
        name: &str,
        content: Sha256,
        bytes: &mut dyn Read,
    ) -> Result<(), Failure> {
        let known = self.indexer.writer.holds(&content);
        let mut sink = TextSink::new(self.indexer.writer, Some(content), known);
        sink.read(
            bytes,
            name,
            self.record.facts.kind,
            self.indexer.reading.extract,
        )?;
        sink.end(content)?;
        let found = sink.into_found();
        self.keep(layers, found);
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
            &mut hashed,
            member.name,
            self.record.facts.kind,
            self.indexer.reading.extract,
        )?;
        let (content, len) = hashed.finish()?;
        let again = sink.has_more_parts;
        if !again {
            sink.end(content)?;
        }
        let found = sink.into_found();
        self.occurs(member.layers, member.name, content, len);
        if again {
            self.again
                .push((member.layers.to_vec(), member.name.to_string()));
        } else {
            self.keep(member.layers, found);
        }
        Ok(())
    }

    fn read_large(&mut self, layers: &[Layer], name: &str, hint: Hint<'_>) -> Result<(), Failure> {
        let (kind, id) = (self.record.facts.kind, self.record.id);
        let Indexer {
            archive,
            catalogue,
            writer,
            reading,
            ..
        } = &mut *self.indexer;
        let open = |take: &mut dyn FnMut(&mut dyn Read) -> Result<(), Failure>| {
            let mut source = catalogue.reader(id)?;
            let mut scratch = scratch_factory(archive);
            let mut taken = Ok(());
            members::open(
                &mut source,
                hint,
                layers,
                &reading.members,
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
            return Ok(());
        };
        let known = writer.holds(&content);
        let mut found = None;
        open(&mut |bytes| {
            let mut sink = TextSink::new(writer, Some(content), known);
            sink.read(bytes, name, kind, reading.extract)?;
            sink.end(content)?;
            found = Some(sink.into_found());
            Ok(())
        })?;
        if let Some(found) = found {
            self.keep(layers, found);
        }
        Ok(())
    }

    fn occurs(&mut self, layers: &[Layer], name: &str, content: Sha256, bytes: u64) {
        self.indexer.writer.occurrence(Occurrence {
            id: self.record.id,
            layers: layers.to_vec(),
            member: name.to_string(),
            content,
            bytes,
        });
    }

    fn keep(&mut self, layers: &[Layer], found: Found) {
        self.text_bytes += found.text_bytes;
        for problem in found.problems {
            self.note_problem(layers, problem);
        }
        if let Some(facts) = found.transcript.filter(|_| self.facts.exit_code.is_none()) {
            self.facts.exit_code = facts.exit_code;
            self.facts.transcript_id = facts.transcript_id;
            if self.facts.script.is_none() {
                self.facts.script = facts.script_name;
            }
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

/// What an extraction brought besides text.
struct Found {
    problems: Vec<Problem>,
    transcript: Option<TranscriptFacts>,
    text_bytes: u64,
}

/// Problems of one member kept; the rest is counted in one more.
const MEMBER_PROBLEMS_MAX: usize = 100;

/// Hands the texts of one content to the index.
struct TextSink<'a> {
    writer: &'a mut Writer,
    content: Option<Sha256>,
    /// The content's text is in the index: only its facts are wanted.
    known: bool,
    /// A document is open in the writer.
    writing: bool,
    has_more_parts: bool,
    found: Found,
    failed: Option<IndexError>,
}

impl<'a> TextSink<'a> {
    fn new(writer: &'a mut Writer, content: Option<Sha256>, known: bool) -> Self {
        Self {
            writer,
            content,
            known,
            writing: false,
            has_more_parts: false,
            found: Found {
                problems: Vec::new(),
                transcript: None,
                text_bytes: 0,
            },
            failed: None,
        }
    }

    fn read(
        &mut self,
        bytes: &mut dyn Read,
        name: &str,
        kind: ResultKind,
        settings: extract::Settings,
    ) -> Result<(), Failure> {
        let hint = extract::Hint {
            name: Some(name),
            kind,
        };
        extract::extract(bytes, hint, settings, self)?;
        match self.failed.take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Ends the last document, now that its content is known.
    fn end(&mut self, content: Sha256) -> Result<(), Failure> {
        if std::mem::take(&mut self.writing) {
            self.writer.finish(content)?;
        }
        Ok(())
    }

    fn into_found(self) -> Found {
        if self.writing {
            self.writer.abandon();
        }
        self.found
    }

    fn end_part(&mut self) -> Result<ControlFlow<()>, IndexError> {
        if !std::mem::take(&mut self.writing) {
            return Ok(ControlFlow::Continue(()));
        }
        match self.content {
            Some(content) => {
                self.writer.finish(content)?;
                Ok(ControlFlow::Continue(()))
            }
            None => {
                self.has_more_parts = true;
                self.writer.abandon();
                Ok(ControlFlow::Break(()))
            }
        }
    }

    fn or_stop<T>(&mut self, done: Result<T, IndexError>) -> ControlFlow<(), T> {
        match done {
            Ok(value) => ControlFlow::Continue(value),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

/// The layer a part of a content is printed with.
pub(super) fn layer_of(part: Part) -> Option<Layer> {
    match part {
        Part::Whole => None,
        Part::Output => Some(Layer::output()),
        Part::Errors => Some(Layer::errors()),
        Part::Other => Some(Layer::named("other", 0)),
    }
}

impl Sink for TextSink<'_> {
    fn document(&mut self, head: Head) -> ControlFlow<()> {
        if self.known {
            return ControlFlow::Continue(());
        }
        let ended = self.end_part();
        self.or_stop(ended)??;
        self.writer.begin(layer_of(head.part));
        self.writing = true;
        ControlFlow::Continue(())
    }

    fn text(&mut self, piece: &str) -> ControlFlow<()> {
        if !self.writing {
            return ControlFlow::Continue(());
        }
        self.found.text_bytes += piece.len() as u64;
        let taken = self.writer.text(piece);
        self.or_stop(taken)
    }

    fn transcript(&mut self, facts: &TranscriptFacts) {
        self.found.transcript = Some(facts.clone());
    }

    fn problem(&mut self, problem: Problem) {
        if self.found.problems.len() < MEMBER_PROBLEMS_MAX {
            self.found.problems.push(problem);
        }
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

/// A result that was asked for by its identity.
pub(super) fn record_of(catalogue: &Catalogue, id: ResultId) -> Result<Record, Failure> {
    Ok(catalogue.record(id)?.ok_or(StoreError::Unknown { id })?)
}
