//! The segment being filled, in memory: distinct lines, chunks of them, and
//! the documents that are made of chunks.
//!
//! **Memory**: the distinct text (bounded by the segment's limits), 12 bytes a
//! line and 8-16 for its table entry, 4 bytes a line of each distinct chunk,
//! 4 bytes a chunk of each document.

use hashbrown::HashTable;

use crate::codec::line_hash::{Hasher, border, spread};
use crate::writer::line_dictionary::{Dictionary, Lines, Mark};
use evidence::{Layer, Sha256};
use std::sync::Arc;

/// **Units**: bytes. Chunks are cut where the content says so, about every
/// 2 KiB: small enough that a passage around one volatile line still repeats,
/// large enough that a document is few of them.
const CHUNK_AIM: u64 = 2 << 10;
const CHUNK_MIN: u32 = 512;
const CHUNK_MAX: u32 = 8 << 10;

/// An extracted text, or the piece of it that this segment holds.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) content: Sha256,
    /// `output` or `errors` of a transcript.
    pub(crate) part: Option<Layer>,
    /// Where this piece begins in the whole text: bytes and lines before it.
    pub(crate) offset: u64,
    pub(crate) line: u64,
    /// Its chunks, as a range of `OpenText::document_chunks`.
    pub(crate) chunks: (usize, usize),
}

/// What a chunk adds to a document.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extent {
    pub(crate) bytes: u32,
    pub(crate) lines: u32,
}

/// Distinct runs of lines.
#[derive(Default)]
pub(crate) struct Chunks {
    pub(crate) lines: Vec<u32>,
    pub(crate) starts: Vec<u32>,
    pub(crate) extents: Vec<Extent>,
    table: HashTable<(u32, u32)>,
}

impl Chunks {
    pub(crate) fn len(&self) -> usize {
        self.extents.len()
    }

    pub(crate) fn get(&self, chunk: u32) -> &[u32] {
        let chunk = chunk as usize;
        let end = self
            .starts
            .get(chunk + 1)
            .map_or(self.lines.len(), |end| *end as usize);
        &self.lines[self.starts[chunk] as usize..end]
    }

    fn hash(lines: &[u32]) -> u32 {
        let mixed = lines.iter().fold(lines.len() as u64, |state, line| {
            (state ^ u64::from(*line))
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(29)
        });
        (mixed ^ mixed >> 32) as u32
    }

    fn add(&mut self, lines: &[u32], extent: Extent) -> u32 {
        let hash = Self::hash(lines);
        let known = self
            .table
            .find(spread(hash), |(other, chunk)| {
                *other == hash && self.get(*chunk) == lines
            })
            .map(|(_, chunk)| *chunk);
        if let Some(chunk) = known {
            return chunk;
        }
        let chunk = self.len() as u32;
        self.starts.push(self.lines.len() as u32);
        self.lines.extend_from_slice(lines);
        self.extents.push(extent);
        self.table
            .insert_unique(spread(hash), (hash, chunk), |(hash, _)| spread(*hash));
        chunk
    }

    fn truncate(&mut self, len: usize) {
        for chunk in len..self.len() {
            let hash = Self::hash(self.get(chunk as u32));
            if let Ok(entry) = self
                .table
                .find_entry(spread(hash), |(_, other)| *other == chunk as u32)
            {
                entry.remove();
            }
        }
        if let Some(&start) = self.starts.get(len) {
            self.lines.truncate(start as usize);
            self.starts.truncate(len);
            self.extents.truncate(len);
        }
    }
}

/// How much there was before a document began: where its abandoning returns to.
#[derive(Clone, Copy)]
struct Before {
    lines: usize,
    chunks: usize,
    document_chunks: usize,
}

/// What one segment will hold.
pub(crate) struct OpenText {
    dictionary: Dictionary,
    pub(crate) chunks: Chunks,
    pub(crate) documents: Vec<Document>,
    pub(crate) document_chunks: Vec<u32>,
    /// **Units**: bytes of all documents.
    pub(crate) text_bytes: u64,
    pub(crate) line_count: u64,
    current: Vec<u32>,
    extent: Extent,
    before: Before,
    begun: Extent64,
}

/// Bytes and lines of the document in progress.
#[derive(Clone, Copy, Default)]
struct Extent64 {
    bytes: u64,
    lines: u64,
}

impl OpenText {
    pub(crate) fn new(hasher: Hasher) -> Self {
        Self {
            dictionary: Dictionary::new(hasher),
            chunks: Chunks::default(),
            documents: Vec::new(),
            document_chunks: Vec::new(),
            text_bytes: 0,
            line_count: 0,
            current: Vec::new(),
            extent: Extent::default(),
            before: Before {
                lines: 0,
                chunks: 0,
                document_chunks: 0,
            },
            begun: Extent64::default(),
        }
    }

    pub(crate) fn lines(&self) -> &Lines {
        self.dictionary.lines()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// Bytes of the document in progress.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.begun.bytes
    }

    pub(crate) fn begin(&mut self) {
        self.before = Before {
            lines: self.dictionary.lines().len(),
            chunks: self.chunks.len(),
            document_chunks: self.document_chunks.len(),
        };
        self.begun = Extent64::default();
    }

    /// Adds a line without its terminator, or a marked part of one.
    pub(crate) fn line(&mut self, bytes: &[u8], mark: Option<Mark>) {
        let line = self.dictionary.add(bytes, mark);
        let (own, ended) = match mark {
            None => (bytes.len() as u32 + 1, 1),
            Some(mark) => (mark.own_bytes(), u32::from(mark.last)),
        };
        self.current.push(line);
        self.extent.bytes += own;
        self.extent.lines += ended;
        let draw = (u64::from(border(bytes)) * (CHUNK_AIM - u64::from(CHUNK_MIN))) >> 32;
        let cut = self.extent.bytes >= CHUNK_MIN && draw < u64::from(own);
        if cut || self.extent.bytes >= CHUNK_MAX {
            self.end_chunk();
        }
    }

    fn end_chunk(&mut self) {
        if self.current.is_empty() {
            return;
        }
        let chunk = self.chunks.add(&self.current, self.extent);
        self.document_chunks.push(chunk);
        self.begun.bytes += u64::from(self.extent.bytes);
        self.begun.lines += u64::from(self.extent.lines);
        self.current.clear();
        self.extent = Extent::default();
    }

    /// Ends the document; `offset` and `line` say where it began in the whole.
    /// Returns the bytes and lines it had.
    pub(crate) fn end(
        &mut self,
        content: Sha256,
        part: Option<Layer>,
        offset: u64,
        line: u64,
    ) -> (u64, u64) {
        self.end_chunk();
        let Extent64 { bytes, lines } = self.begun;
        self.text_bytes += bytes;
        self.line_count += lines;
        self.documents.push(Document {
            content,
            part,
            offset,
            line,
            chunks: (self.before.document_chunks, self.document_chunks.len()),
        });
        self.begun = Extent64::default();
        (bytes, lines)
    }

    /// Takes back everything since `begin`.
    pub(crate) fn abandon(&mut self) {
        self.current.clear();
        self.extent = Extent::default();
        self.begun = Extent64::default();
        self.document_chunks.truncate(self.before.document_chunks);
        self.chunks.truncate(self.before.chunks);
        self.dictionary.truncate(self.before.lines);
    }

    /// What a finished segment is written from; the tables go.
    pub(crate) fn freeze(self) -> FrozenText {
        FrozenText {
            lines: self.dictionary.freeze(),
            chunks: Chunks {
                table: HashTable::new(),
                ..self.chunks
            },
            documents: self.documents,
            document_chunks: self.document_chunks,
            text_bytes: self.text_bytes,
            line_count: self.line_count,
        }
    }
}

/// A closed segment before it is written.
pub(crate) struct FrozenText {
    pub(crate) lines: Arc<Lines>,
    pub(crate) chunks: Chunks,
    pub(crate) documents: Vec<Document>,
    pub(crate) document_chunks: Vec<u32>,
    pub(crate) text_bytes: u64,
    pub(crate) line_count: u64,
}
