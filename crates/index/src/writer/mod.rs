//! The writer: takes documents and facts, closes segments as they fill, and
//! publishes them together with the watermark.

pub(crate) mod flush;
pub(crate) mod line_dictionary;
pub(crate) mod line_splitter;
pub(crate) mod manifest;
pub(crate) mod merge;
pub(crate) mod segment_buffer;

use std::collections::{HashMap, HashSet};
use std::path::Path;

use crate::IndexError;
use crate::codec::directory::Folder;
use crate::codec::line_hash::Hasher;
use crate::codec::mask;
use crate::segment::Segment;
use crate::segment::metadata::{Facts, Occurrence, PlacedProblem, ResultMetadata};
use crate::writer::flush::write_segment;
use crate::writer::line_splitter::OpenDocument;
use crate::writer::manifest::{Forgotten, IndexId, Manifest, SegmentMeta, Span};
use crate::writer::segment_buffer::OpenText;
use evidence::{Layer, ResultId, Seq, Sha256};

/// How large a segment grows, and with what its text is masked.
#[derive(Clone, Debug)]
pub struct IndexSettings {
    /// **Units**: bytes of text, repeated or not.
    pub text_max: u64,
    /// **Units**: bytes of distinct text: all of it is in memory until the
    /// segment is closed, and its terms twice that for a while.
    pub distinct_max: u64,
    pub lines_max: u64,
    /// The archive's masking key; plain frames without.
    pub key: Option<[u8; 32]>,
}

impl Default for IndexSettings {
    fn default() -> Self {
        Self {
            text_max: 256 << 20,
            distinct_max: 128 << 20,
            lines_max: 2_000_000,
            key: None,
        }
    }
}

/// The one writer of an index.
pub struct IndexWriter {
    pub(crate) folder: Folder,
    pub(crate) settings: IndexSettings,
    manifest: Manifest,
    /// Published segments, opened to look contents up in.
    published: Vec<Segment>,
    /// Written and not yet published.
    pub(crate) closed: Vec<SegmentMeta>,
    pub(crate) open: OpenText,
    /// The text that was begun and not finished.
    document: Option<OpenDocument>,
    facts: Facts,
    forgotten: Vec<Forgotten>,
    pub(crate) spans: Vec<Span>,
    /// Contents with documents that are not published yet, and their parts.
    pub(crate) held: HashMap<Sha256, Vec<Option<Layer>>>,
    pub(crate) next: u64,
    poisoned: bool,
    hasher: Hasher,
}

impl IndexWriter {
    /// Opens the index in `folder` for writing, made where there is none. An
    /// index of another identity or schema, or one that is damaged, counts as
    /// empty: its watermark is zero, and the first publishing replaces it.
    ///
    /// Removes files no manifest names: what a crash left.
    pub fn open(
        folder: &Path,
        identity: IndexId,
        settings: IndexSettings,
    ) -> Result<Self, IndexError> {
        let folder = Folder::open(folder)?;
        let manifest = match Manifest::read(folder.path()) {
            Ok(Some(manifest)) if manifest.identity == identity => Some(manifest),
            Ok(_) | Err(IndexError::Damaged { .. } | IndexError::Schema { .. }) => None,
            Err(error) => return Err(error),
        };
        let key = settings.key.map(mask::Key::new);
        let opened = manifest.map(|manifest| {
            let segments = open_segments(folder.path(), &manifest, key.as_ref())?;
            Ok((manifest, segments))
        });
        match opened {
            Some(Ok((manifest, published))) => {
                let writer = Self::over(folder, settings, manifest, published);
                writer.remove_unnamed()?;
                Ok(writer)
            }
            Some(Err(error @ IndexError::Io { .. })) if !is_missing(&error) => Err(error),
            Some(Err(_)) | None => Self::anew(folder, identity, settings),
        }
    }

    /// Starts from nothing whatever is there. The old index answers until the
    /// first publishing replaces it.
    pub fn rebuild(
        folder: &Path,
        identity: IndexId,
        settings: IndexSettings,
    ) -> Result<Self, IndexError> {
        Self::anew(Folder::open(folder)?, identity, settings)
    }

    fn anew(
        folder: Folder,
        identity: IndexId,
        settings: IndexSettings,
    ) -> Result<Self, IndexError> {
        let used = folder
            .names()?
            .into_iter()
            .filter_map(|name| u64::from_str_radix(name.strip_suffix(".segment")?, 16).ok());
        let next = used.max().map_or(0, |highest| highest + 1);
        let manifest = Manifest::new(identity, next);
        Ok(Self::over(folder, settings, manifest, Vec::new()))
    }

    fn over(
        folder: Folder,
        settings: IndexSettings,
        manifest: Manifest,
        published: Vec<Segment>,
    ) -> Self {
        let hasher = Hasher::new();
        Self {
            folder,
            settings,
            published,
            closed: Vec::new(),
            open: OpenText::new(hasher),
            document: None,
            facts: Facts::default(),
            forgotten: manifest.forgotten.clone(),
            spans: manifest.spans.clone(),
            held: HashMap::new(),
            next: manifest.next,
            manifest,
            poisoned: false,
            hasher,
        }
    }

    /// Everything up to here is searchable.
    pub fn watermark(&self) -> Seq {
        self.manifest.watermark
    }

    /// Whether the text of a content is indexed, published or not.
    pub fn holds(&self, content: &Sha256) -> bool {
        self.held.contains_key(content)
            || self.spans.iter().any(|span| span.content == *content)
            || self
                .published
                .iter()
                .any(|segment| segment.documents_of(content).next().is_some())
    }

    /// Whether this part of a content is indexed.
    pub(crate) fn holds_part(&self, content: &Sha256, part: &Option<Layer>) -> bool {
        if let Some(parts) = self.held.get(content) {
            return parts.contains(part);
        }
        let tickets = self.spans.iter().filter(|span| span.content == *content);
        let names: Vec<Sha256> = tickets.map(|span| span.ticket).chain([*content]).collect();
        self.published.iter().any(|segment| {
            names.iter().any(|name| {
                segment.documents_of(name).any(|document| {
                    segment
                        .document(document)
                        .is_ok_and(|document| document.part == *part)
                })
            })
        })
    }

    /// Begins a text: `part` names which of its content's texts it is. A text
    /// that was begun and not finished is taken back.
    pub fn begin(&mut self, part: Option<Layer>) {
        self.abandon();
        self.document = Some(OpenDocument::begin(self, part));
    }

    /// Takes the next piece of the text that was begun, cut anywhere.
    ///
    /// **Errors**: where a full segment could not be written.
    pub fn text(&mut self, text: &str) -> Result<(), IndexError> {
        self.refuse_after_failure()?;
        let Some(mut document) = self.document.take() else {
            return Ok(());
        };
        let taken = document.text(self, text);
        self.document = Some(document);
        taken
    }

    /// Ends the text that was begun. Where this part of `content` is known
    /// already, it is taken back instead and `false` is returned.
    pub fn finish(&mut self, content: Sha256) -> Result<bool, IndexError> {
        match self.document.take() {
            Some(document) => document.finish(self, content),
            None => Ok(false),
        }
    }

    /// Takes the text that was begun back: nothing of it will be found.
    pub fn abandon(&mut self) {
        if let Some(document) = self.document.take() {
            document.take_back(self);
        }
    }

    /// Notes a place where a content was found.
    pub fn occurrence(&mut self, occurrence: Occurrence) {
        self.facts.occurrences.push(occurrence);
    }

    /// Notes a sealed result, once; twice in a row, the later counts. Its occurrences and problems may be noted before
    /// or after, up to the next publishing.
    pub fn result(&mut self, result: ResultMetadata) {
        let results = &mut self.facts.results;
        if results.last().is_some_and(|last| last.id == result.id) {
            results.pop();
        }
        results.push(result);
    }

    pub fn problem(&mut self, problem: PlacedProblem) {
        self.facts.problems.push(problem);
    }

    /// Takes back every fact of a result, for reading it again. Contents stay.
    pub fn forget(&mut self, id: ResultId) {
        self.facts.forget(id);
        self.forgotten
            .retain(|row| (row.key, row.version) != (id.key, id.version.0));
        self.forgotten.push(Forgotten {
            key: id.key,
            version: id.version.0,
            before: self.next,
        });
    }

    /// **Units**: bytes of text taken since the last publishing: what a crash
    /// now would have to be read again.
    pub fn unpublished_bytes(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|segment| segment.text_bytes).sum();
        closed + self.open.text_bytes
    }

    /// Rows of facts noted since the last publishing: all are in memory.
    pub fn unpublished_rows(&self) -> u64 {
        self.facts.len() as u64
    }

    /// Makes everything added so far searchable and lasting, and `watermark`
    /// with it.
    ///
    /// **Errors**: what was published before stays as it was; the writer
    /// refuses further writes and is to be opened again.
    ///
    /// **Cost**: closes the open segment, however small. Then small ones are
    /// built anew together, so that few remain; still, seldom is better.
    pub fn publish(&mut self, watermark: Seq) -> Result<(), IndexError> {
        self.refuse_after_failure()?;
        self.poisoned = true;
        let result = self.publish_all(watermark);
        self.poisoned = result.is_err();
        result
    }

    fn publish_all(&mut self, watermark: Seq) -> Result<(), IndexError> {
        if !self.open.is_empty() || !self.facts.is_empty() {
            let facts = std::mem::take(&mut self.facts);
            self.close_with(&facts)?;
        }
        let mut manifest = self.manifest.clone();
        manifest.segments.append(&mut self.closed);
        manifest.forgotten = self.forgotten.clone();
        manifest.spans = self.spans.clone();
        manifest.watermark = watermark;
        self.held.clear();
        self.commit(manifest)?;
        self.merge_small()
    }

    /// Makes a manifest the index.
    fn commit(&mut self, mut manifest: Manifest) -> Result<(), IndexError> {
        manifest.next = self.next;
        self.folder.sync()?;
        manifest.write(&self.folder)?;
        self.manifest = manifest;
        self.reopen_published()?;
        self.remove_unnamed()
    }

    /// Builds small segments anew, which are searchable all the while.
    fn merge_small(&mut self) -> Result<(), IndexError> {
        let mut manifest = self.manifest.clone();
        let Some(first) = merge::first_to_merge(&manifest.segments, &self.settings) else {
            return Ok(());
        };
        let small = manifest.segments.split_off(first);
        self.merge(&small, &manifest.forgotten)?;
        manifest.segments.append(&mut self.closed);
        self.commit(manifest)
    }

    fn merge(&mut self, small: &[SegmentMeta], forgotten: &[Forgotten]) -> Result<(), IndexError> {
        let mut facts = Facts::default();
        for meta in small {
            let segment = self.open_segment(meta)?;
            merge::read_facts(&segment, forgotten, &mut facts)?;
            merge::read_documents(&segment, |step| match step {
                merge::Step::Begin => {
                    if self.is_full() {
                        self.close()?;
                    }
                    self.open.begin();
                    Ok(())
                }
                merge::Step::Line(bytes, mark) => {
                    self.open.line(bytes, mark);
                    Ok(())
                }
                merge::Step::End(document) => {
                    self.open
                        .end(document.0, document.1, document.2, document.3);
                    Ok(())
                }
            })?;
        }
        self.close_with(&facts)
    }

    fn open_segment(&self, meta: &SegmentMeta) -> Result<Segment, IndexError> {
        let key = self.settings.key.map(mask::Key::new);
        Segment::open(self.folder.path(), meta.clone(), key)
    }

    fn reopen_published(&mut self) -> Result<(), IndexError> {
        let mut known: HashMap<u64, Segment> = self
            .published
            .drain(..)
            .map(|segment| (segment.meta.number, segment))
            .collect();
        for meta in &self.manifest.segments {
            let segment = match known.remove(&meta.number) {
                Some(segment) => segment,
                None => self.open_segment(meta)?,
            };
            self.published.push(segment);
        }
        Ok(())
    }

    fn remove_unnamed(&self) -> Result<(), IndexError> {
        for name in self.folder.names()? {
            if !self.manifest.names(&name) {
                self.folder.remove(&name);
            }
        }
        Ok(())
    }

    pub(crate) fn is_full(&self) -> bool {
        self.open.text_bytes + self.open.pending_bytes() >= self.settings.text_max
            || self.open.lines().bytes() >= self.settings.distinct_max
            || self.open.lines().len() as u64 >= self.settings.lines_max
    }

    /// Closes the open segment; its facts wait for the publishing.
    pub(crate) fn close(&mut self) -> Result<(), IndexError> {
        self.close_with(&Facts::default())
    }

    fn close_with(&mut self, facts: &Facts) -> Result<(), IndexError> {
        self.poisoned = true;
        let open = std::mem::replace(&mut self.open, OpenText::new(self.hasher));
        let key = self.settings.key.map(mask::Key::new);
        let number = self.next;
        self.next += 1;
        let meta = write_segment(&self.folder, number, open.freeze(), facts, key.as_ref())?;
        self.closed.push(meta);
        self.poisoned = false;
        Ok(())
    }

    fn refuse_after_failure(&self) -> Result<(), IndexError> {
        if self.poisoned {
            return Err(IndexError::Poisoned);
        }
        Ok(())
    }
}

fn is_missing(error: &IndexError) -> bool {
    matches!(error, IndexError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
}

pub(crate) fn open_segments(
    folder: &Path,
    manifest: &Manifest,
    key: Option<&mask::Key>,
) -> Result<Vec<Segment>, IndexError> {
    let open = |meta| {
        let segment = Segment::open(folder, meta, key.cloned())?;
        Ok(segment.among(manifest.segments.len()))
    };
    manifest.segments.iter().cloned().map(open).collect()
}

/// The ids of every forgotten result of a segment.
pub(crate) fn forgotten_in(
    forgotten: &[Forgotten],
    segment: u64,
) -> HashSet<(evidence::ResultKey, u32)> {
    forgotten
        .iter()
        .filter(|row| segment < row.before)
        .map(|row| (row.key, row.version))
        .collect()
}
