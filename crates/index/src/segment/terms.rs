//! The term index of distinct lines: tantivy, one small document a line,
//! bundled into the segment's file and read back from the mapped bytes.

use std::collections::HashMap;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tantivy::columnar::Column;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    Directory, DirectoryLock, FileHandle, Lock, OwnedBytes, RamDirectory, WatchCallback,
    WatchHandle, WritePtr,
};
use tantivy::index::{IndexBuilder, SegmentReader};
use tantivy::postings::TermInfo;
use tantivy::schema::document::{Document, ReferenceValue, ReferenceValueLeaf, Value};
use tantivy::schema::{FAST, Field, IndexRecordOption, Schema, TextFieldIndexing, TextOptions};
use tantivy::tokenizer::TokenizerManager;
use tantivy::{DocSet, Index, IndexSettings, TERMINATED, TantivyError};

use crate::IndexError;
use crate::codec::section_file::Map;
use crate::codec::tokenizer::EvidenceTokenizer;
use crate::matcher::prefilter::NeededTerm;
use crate::writer::line_dictionary::Lines;

const TOKENIZER: &str = "evidence";
const LINE: &str = "line";
/// What tantivy sizes its first table by: enough for the text handed to it at
/// once, small enough to stay near the processor.
const HEAP: usize = 32 << 20;
/// With fewer candidates than this it is cheaper to verify them than to read
/// another long list.
const FEW: usize = 32;

/// Files of one bundled term index, by name, as ranges of the segment file.
pub(crate) type Files = HashMap<PathBuf, Range<usize>>;

fn schema() -> (Schema, Field, Field) {
    let mut schema = Schema::builder();
    let indexing = TextFieldIndexing::default()
        .set_tokenizer(TOKENIZER)
        .set_index_option(IndexRecordOption::Basic)
        .set_fieldnorms(false);
    let text = schema.add_text_field(
        "text",
        TextOptions::default().set_indexing_options(indexing),
    );
    let line = schema.add_u64_field(LINE, FAST);
    (schema.build(), text, line)
}

/// A line as tantivy takes it, without copying its text.
struct LineDocument {
    lines: Arc<Lines>,
    line: u32,
    fields: (Field, Field),
}

#[derive(Clone, Debug)]
enum LineValue<'a> {
    Text(&'a str),
    Line(u64),
}

impl<'a> Value<'a> for LineValue<'a> {
    type ArrayIter = std::iter::Empty<Self>;
    type ObjectIter = std::iter::Empty<(&'a str, Self)>;

    fn as_value(&self) -> ReferenceValue<'a, Self> {
        ReferenceValue::Leaf(match self {
            Self::Text(text) => ReferenceValueLeaf::Str(text),
            Self::Line(line) => ReferenceValueLeaf::U64(*line),
        })
    }
}

impl Document for LineDocument {
    type Value<'a> = LineValue<'a>;
    type FieldsValuesIter<'a> = std::array::IntoIter<(Field, LineValue<'a>), 2>;

    fn iter_fields_and_values(&self) -> Self::FieldsValuesIter<'_> {
        let text = LineValue::Text(self.lines.get_str(self.line));
        let line = LineValue::Line(u64::from(self.line));
        [(self.fields.0, text), (self.fields.1, line)].into_iter()
    }
}

/// Indexes the terms of some lines; returns the files of the bundle.
///
/// **Cost**: most of what indexing unique text costs at all.
pub(crate) fn build(
    lines: &Arc<Lines>,
    range: Range<u32>,
) -> Result<Vec<(String, Vec<u8>)>, IndexError> {
    build_bundle(lines, range).map_err(IndexError::terms("index"))
}

fn build_bundle(
    lines: &Arc<Lines>,
    range: Range<u32>,
) -> Result<Vec<(String, Vec<u8>)>, TantivyError> {
    let (schema, text, line) = schema();
    let tokenizers = TokenizerManager::default();
    tokenizers.register(TOKENIZER, EvidenceTokenizer::default());
    let directory = RamDirectory::create();
    let mut writer = IndexBuilder::new()
        .schema(schema)
        .tokenizers(tokenizers)
        .settings(IndexSettings {
            docstore_compress_dedicated_thread: false,
            ..IndexSettings::default()
        })
        .single_segment_index_writer::<LineDocument>(directory.clone(), HEAP)?;
    for id in range {
        writer.add_document(LineDocument {
            lines: Arc::clone(lines),
            line: id,
            fields: (text, line),
        })?;
    }
    let index = writer.finalize()?;
    let mut names: Vec<PathBuf> = index.directory().list_managed_files().into_iter().collect();
    names.push(PathBuf::from("meta.json"));
    names.sort();
    names.dedup();
    let mut files = Vec::new();
    for name in names {
        let mut bytes = directory.atomic_read(&name)?;
        if name
            .extension()
            .is_some_and(|extension| extension == "store")
        {
            keep_footer(&mut bytes);
        }
        files.push((name.to_string_lossy().into_owned(), bytes));
    }
    Ok(files)
}

/// Nothing is stored, and saying so costs tantivy five bytes a document. The
/// file's footer is all that opening looks at: JSON, its length, a number.
fn keep_footer(file: &mut Vec<u8>) {
    const TAIL: usize = 8;
    let body = file.len().checked_sub(TAIL).and_then(|tail| {
        let footer = u32::from_le_bytes(*file[tail..].first_chunk()?) as usize;
        tail.checked_sub(footer)
    });
    if let Some(body) = body {
        file.drain(..body);
    }
}

/// A bundle as a directory nobody can write to.
#[derive(Clone)]
struct Bundle {
    map: Map,
    files: Arc<Files>,
}

impl std::fmt::Debug for Bundle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "bundle of {} files", self.files.len())
    }
}

impl Bundle {
    fn bytes(&self, path: &Path) -> Result<OwnedBytes, OpenReadError> {
        let range = self
            .files
            .get(path)
            .ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_path_buf()))?;
        Ok(OwnedBytes::new(self.map.clone()).slice(range.clone()))
    }
}

fn read_only() -> std::io::Error {
    std::io::Error::new(
        std::io::ErrorKind::PermissionDenied,
        "a segment is never written again",
    )
}

impl Directory for Bundle {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(self.bytes(path)?))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError {
            io_error: Arc::new(read_only()),
            filepath: path.to_path_buf(),
        })
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.files.contains_key(path))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::IoError {
            io_error: Arc::new(read_only()),
            filepath: path.to_path_buf(),
        })
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        Ok(self.bytes(path)?.to_vec())
    }

    fn atomic_write(&self, _path: &Path, _data: &[u8]) -> std::io::Result<()> {
        Err(read_only())
    }

    fn sync_directory(&self) -> std::io::Result<()> {
        Ok(())
    }

    fn acquire_lock(&self, _lock: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

/// An opened term index.
pub(crate) struct TermPart {
    reader: SegmentReader,
    text: Field,
    ids: Column<u64>,
}

impl TermPart {
    pub(crate) fn open(map: &Map, files: Files) -> Result<Self, IndexError> {
        let bundle = Bundle {
            map: map.clone(),
            files: Arc::new(files),
        };
        Self::open_bundle(bundle).map_err(IndexError::terms("open"))
    }

    fn open_bundle(bundle: Bundle) -> Result<Self, TantivyError> {
        let index = Index::open(bundle)?;
        let segments = index.searchable_segments()?;
        let segment = segments
            .first()
            .ok_or_else(|| TantivyError::InternalError("a bundle without a segment".into()))?;
        let reader = SegmentReader::open(segment)?;
        let ids = reader.fast_fields().u64(LINE)?;
        Ok(Self {
            text: index.schema().get_field("text")?,
            reader,
            ids,
        })
    }

    /// Lines that hold every needed term, ascending; none where nothing is
    /// needed, which says nothing of any line.
    pub(crate) fn lines(&self, needed: &[NeededTerm]) -> Result<Vec<u32>, IndexError> {
        self.find(needed).map_err(IndexError::terms("read"))
    }

    /// About how many lines these are: as many as hold the rarest term, and
    /// `most` where it is in no fewer.
    ///
    /// **Cost**: looks into the dictionary, reads no list and keeps nothing; the
    /// terms that begin with a text are counted up to `most`.
    pub(crate) fn frequency(&self, needed: &[NeededTerm], most: u64) -> Result<u64, IndexError> {
        let rarest = needed.iter().try_fold(most, |rarest, needed| {
            let mut total = 0;
            self.each_term(needed, &mut |term| {
                total += u64::from(term.doc_freq);
                match total < rarest {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            })?;
            Ok(rarest.min(total))
        });
        rarest.map_err(IndexError::terms("read"))
    }

    /// The terms that meet each need and how many lines they stand in, the
    /// rarest first; nothing where a need is met by none.
    fn lists(&self, needed: &[NeededTerm]) -> Result<Vec<(u64, Vec<TermInfo>)>, TantivyError> {
        let mut lists = Vec::with_capacity(needed.len());
        for needed in needed {
            let terms = self.terms_of(needed)?;
            if terms.is_empty() {
                return Ok(Vec::new());
            }
            let total = terms.iter().map(|term| u64::from(term.doc_freq)).sum();
            lists.push((total, terms));
        }
        lists.sort_by_key(|(total, _)| *total);
        Ok(lists)
    }

    fn find(&self, needed: &[NeededTerm]) -> Result<Vec<u32>, TantivyError> {
        let index = self.reader.inverted_index(self.text)?;
        let lists = self.lists(needed)?;
        let mut found: Option<Vec<u32>> = None;
        for (_, terms) in &lists {
            let Some(candidates) = found.take() else {
                let mut documents = Vec::new();
                for term in terms {
                    let mut postings =
                        index.read_postings_from_terminfo(term, IndexRecordOption::Basic)?;
                    while postings.doc() != TERMINATED {
                        documents.push(postings.doc());
                        postings.advance();
                    }
                }
                if terms.len() > 1 {
                    documents.sort_unstable();
                    documents.dedup();
                }
                found = Some(documents);
                continue;
            };
            found = Some(candidates);
            if let (Some(candidates), [term]) = (&mut found, terms.as_slice())
                && candidates.len() > FEW
            {
                let mut postings =
                    index.read_postings_from_terminfo(term, IndexRecordOption::Basic)?;
                candidates.retain(|document| {
                    (postings.doc() >= *document || postings.seek(*document) >= *document)
                        && postings.doc() == *document
                });
            }
        }
        let mut lines: Vec<u32> = found
            .unwrap_or_default()
            .into_iter()
            .filter_map(|document| self.ids.first(document)?.try_into().ok())
            .collect();
        lines.sort_unstable();
        Ok(lines)
    }

    fn terms_of(&self, needed: &NeededTerm) -> Result<Vec<TermInfo>, TantivyError> {
        let mut terms = Vec::new();
        self.each_term(needed, &mut |term| {
            terms.push(term.clone());
            ControlFlow::Continue(())
        })?;
        Ok(terms)
    }

    /// Hands out the terms that meet a need.
    fn each_term(
        &self,
        needed: &NeededTerm,
        take: &mut dyn FnMut(&TermInfo) -> ControlFlow<()>,
    ) -> Result<(), TantivyError> {
        let index = self.reader.inverted_index(self.text)?;
        let terms = index.terms();
        let mut known = Vec::new();
        match needed {
            NeededTerm::Term(term) => known.extend(terms.get(term)?),
            NeededTerm::Any(any) => {
                for term in any {
                    known.extend(terms.get(term)?);
                }
            }
            NeededTerm::Prefix(prefix) => {
                let mut stream = terms.range().ge(prefix).into_stream()?;
                while stream.advance() && stream.key().starts_with(prefix.as_bytes()) {
                    if take(stream.value()).is_break() {
                        break;
                    }
                }
            }
            NeededTerm::Alike(alike) => {
                let mut stream = terms.search(alike.clone()).into_stream()?;
                while stream.advance() {
                    let term = std::str::from_utf8(stream.key());
                    if term.is_ok_and(|term| alike.may_be(term)) && take(stream.value()).is_break()
                    {
                        break;
                    }
                }
            }
        }
        let _ = known.iter().try_for_each(take);
        Ok(())
    }
}
