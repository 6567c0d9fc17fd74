//! A segment as readers see it: everything is looked up where it stands in
//! the mapped file; damage is an error, never a panic.

pub(crate) mod metadata;
pub(crate) mod ngrams;
pub(crate) mod postings;
pub(crate) mod terms;

use std::cell::RefCell;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::IndexError;
use crate::codec::mask;
use crate::codec::section_file::SectionFile;
use crate::codec::varint::{Bytes, u32_at, u64_at};
use crate::segment::metadata::{FactsView, RowsView, find_content, read_layer};
use crate::segment::ngrams::{GramQuery, Lists};
use crate::segment::postings::Owners;
use crate::segment::terms::TermPart;
use crate::writer::flush::LENGTHS_BLOCK;
use crate::writer::line_dictionary::Mark;
use crate::writer::manifest::SegmentMeta;
use evidence::{Layer, Sha256};

/// Names of the sections.
pub(crate) mod tag {
    use crate::codec::section_file::Tag;

    pub const FRAMES: &Tag = b"frames\0\0";
    pub const FRAME_TABLE: &Tag = b"frameTab";
    pub const LENGTHS: &Tag = b"lengths\0";
    pub const LENGTH_BLOCKS: &Tag = b"lengthTb";
    pub const MARKS: &Tag = b"marks\0\0\0";
    pub const TERMS: &Tag = b"terms\0\0\0";
    pub const TERM_TABLE: &Tag = b"termsTab";
    pub const GRAMS: &Tag = b"grams\0\0\0";
    pub const GRAM_TABLE: &Tag = b"gramsTab";
    pub const GROUPS: &Tag = b"groups\0\0";
    pub const CHUNKS: &Tag = b"chunks\0\0";
    pub const CHUNK_TABLE: &Tag = b"chunkTab";
    pub const LINE_OWNERS: &Tag = b"lineOwn\0";
    pub const LINE_OWNER_TABLE: &Tag = b"lineOwnT";
    pub const DOCUMENTS: &Tag = b"docs\0\0\0\0";
    pub const DOCUMENT_TABLE: &Tag = b"docsTab\0";
    pub const CONTENTS: &Tag = b"contents";
    pub const CONTENT_STARTS: &Tag = b"contentS";
    pub const CONTENT_DOCUMENTS: &Tag = b"contentD";
    pub const CHUNK_OWNERS: &Tag = b"chunkOwn";
    pub const CHUNK_OWNER_TABLE: &Tag = b"chunkOwT";
    pub const RESULTS: &Tag = b"results\0";
    pub const RESULT_TABLE: &Tag = b"resultsT";
    pub const OCCURRENCES: &Tag = b"occurs\0\0";
    pub const OCCURRENCE_TABLE: &Tag = b"occursT\0";
    pub const PROBLEMS: &Tag = b"problems";
    pub const PROBLEM_TABLE: &Tag = b"problemT";
    pub const STRINGS: &Tag = b"strings\0";
    pub const STRING_TABLE: &Tag = b"stringsT";
    pub const PLACES: &Tag = b"places\0\0";
    pub const PLACE_STARTS: &Tag = b"placesS\0";
    pub const PLACE_ROWS: &Tag = b"placesR\0";
}

/// Position, first line, packed and raw length.
const FRAME_ENTRY: usize = 8 + 4 + 4 + 4;
const MARK_ENTRY: usize = 4 + 4 + 4 + 1;
/// No frame is larger: the longest stored line and one frame's fill.
const FRAME_MAX: usize = 8 << 20;
/// **Units**: bytes of frames that one look through a segment maps before the
/// memory of its map is given back: giving back more often would take longer
/// than reading.
const FRAMES_MAPPED_MAX: usize = 7 << 20;
/// The same of frames once a segment was looked through: others follow. A rare
/// text reads less and finds its pages where they were.
const FRAMES_AT_REST: usize = 2 << 20;
/// **Units**: bytes that stay mapped of all segments, for the next search.
const MAPPED_AT_REST: usize = 64 << 20;
/// Of each at least so much: less would be given back with every frame.
const SHARE_MIN: usize = 256 << 10;
/// **Units**: bytes that one look maps of tables beside frames and 4-grams,
/// about: words, chunks, documents, facts.
const TABLES_MAPPED: usize = 1 << 20;
/// **Units**: bytes that Linux maps around a place that was not mapped.
const MAPPED_AROUND: usize = 64 << 10;

pub(crate) struct Segment {
    pub(crate) meta: SegmentMeta,
    file: SectionFile,
    key: Option<mask::Key>,
    parts: OnceLock<Vec<TermPart>>,
    /// Lines that are marked: a bit each. Most are not, and each is asked for.
    marked: OnceLock<Vec<u64>>,
    /// **Units**: bytes of it that may stay mapped.
    share: usize,
    /// **Units**: bytes that were mapped since memory was given back, at most.
    mapped: AtomicUsize,
    /// The same of frames, in this look through it.
    frames_mapped: AtomicUsize,
    /// Where the last frame that was read ends in the file.
    read_to: AtomicUsize,
}

/// A document's record.
pub(crate) struct DocumentView<'a> {
    pub(crate) content: u32,
    pub(crate) part: Option<Layer>,
    pub(crate) offset: u64,
    pub(crate) line: u64,
    chunk_count: u64,
    chunks: Bytes<'a>,
}

/// A chunk's record.
pub(crate) struct ChunkView<'a> {
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) count: u64,
    ids: Bytes<'a>,
}

impl ChunkView<'_> {
    pub(crate) fn line_ids(mut self) -> Option<Vec<u32>> {
        read_ids(&mut self.ids, self.count)
    }
}

/// **Cost**: a decompressor is 150 KB and kept by its thread.
fn inflate(packed: &[u8], raw_len: usize) -> Option<Vec<u8>> {
    thread_local! {
        static INFLATER: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
    }
    INFLATER.with_borrow_mut(|inflater| {
        if inflater.is_none() {
            *inflater = zstd::bulk::Decompressor::new().ok();
        }
        inflater.as_mut()?.decompress(packed, raw_len).ok()
    })
}

/// What a line adds to its document.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) line: u32,
    pub(crate) bytes: u64,
    /// Lines it ends: one, or none where it goes on in another part.
    pub(crate) ended: u64,
}

/// Reads the lengths of lines, which mostly follow each other.
struct Lengths<'a> {
    segment: &'a Segment,
    /// The line whose length comes next in `bytes`.
    next: u32,
    bytes: Option<Bytes<'a>>,
}

impl<'a> Lengths<'a> {
    fn new(segment: &'a Segment) -> Self {
        Self {
            segment,
            next: 0,
            bytes: None,
        }
    }

    fn extent(&mut self, line: u32) -> Result<Extent, IndexError> {
        let segment = self.segment;
        let (bytes, ended) = match segment.mark(line) {
            None => {
                let length = self.length(line);
                let missing = format_args!("line {line} has no length");
                (segment.whole(length, missing)? + 1, 1)
            }
            Some(mark) if mark.own_start > mark.own_end => {
                let what = format!("line {line} ends before it begins");
                return Err(segment.file.damaged(&what));
            }
            Some(mark) => (u64::from(mark.own_bytes()), u64::from(mark.last)),
        };
        Ok(Extent { line, bytes, ended })
    }

    /// **Units**: bytes of a line's stored text, without its line feed.
    fn length(&mut self, line: u32) -> Option<u64> {
        let ahead = line.checked_sub(self.next).map(|ahead| ahead as usize);
        if self.bytes.is_none() || ahead.is_none_or(|ahead| ahead >= LENGTHS_BLOCK) {
            let file = &self.segment.file;
            let block = line as usize / LENGTHS_BLOCK;
            let start = u32_at(file.get(tag::LENGTH_BLOCKS), block)? as usize;
            self.bytes = Some(Bytes::new(file.get(tag::LENGTHS).get(start..)?));
            self.next = (block * LENGTHS_BLOCK) as u32;
        }
        let bytes = self.bytes.as_mut()?;
        bytes.skip((line - self.next) as usize)?;
        self.next = line.saturating_add(1);
        bytes.next()
    }
}

fn read_ids(bytes: &mut Bytes<'_>, count: u64) -> Option<Vec<u32>> {
    let mut ids = Vec::with_capacity(count.min(1 << 20) as usize);
    bytes.runs(count, |start, len| {
        ids.extend(start..start.saturating_add(len));
    })?;
    Some(ids)
}

impl Segment {
    pub(crate) fn open(
        folder: &Path,
        meta: SegmentMeta,
        key: Option<mask::Key>,
    ) -> Result<Self, IndexError> {
        let file = SectionFile::open(&folder.join(meta.file_name()))?;
        Ok(Self {
            meta,
            file,
            key,
            parts: OnceLock::new(),
            marked: OnceLock::new(),
            share: MAPPED_AT_REST,
            mapped: AtomicUsize::new(0),
            frames_mapped: AtomicUsize::new(0),
            read_to: AtomicUsize::new(0),
        })
    }

    /// As one of so many that are read together.
    pub(crate) fn among(mut self, segments: usize) -> Self {
        self.share = (MAPPED_AT_REST / segments.max(1)).max(SHARE_MIN);
        self
    }

    /// Notes that a frame at this place of the file is read. Frames are mostly
    /// read one behind the other; what lies apart maps its neighbourhood too,
    /// and one of the tables that lead there.
    fn note_read(&self, place: Range<usize>) {
        let last = self.read_to.swap(place.end, Ordering::Relaxed);
        let bytes = match place.start.abs_diff(last) < MAPPED_AROUND {
            true => place.len(),
            false => place.len().max(MAPPED_AROUND) + MAPPED_AROUND,
        };
        self.note_mapped(bytes);
        let frames = self.frames_mapped.fetch_add(bytes, Ordering::Relaxed);
        if frames + bytes > FRAMES_MAPPED_MAX.min(self.share) {
            self.release();
        }
    }

    fn note_mapped(&self, bytes: usize) {
        self.mapped.fetch_add(bytes, Ordering::Relaxed);
    }

    /// To be called where a segment was looked through: others follow.
    pub(crate) fn rest(&self) {
        self.note_mapped(TABLES_MAPPED);
        let frames = self.frames_mapped.swap(0, Ordering::Relaxed);
        let mapped = self.mapped.load(Ordering::Relaxed);
        if frames > FRAMES_AT_REST || mapped.min(self.file.map().len()) > self.share {
            self.release();
        }
    }

    /// Gives the memory of the map back.
    pub(crate) fn release(&self) {
        self.mapped.store(0, Ordering::Relaxed);
        self.frames_mapped.store(0, Ordering::Relaxed);
        self.file.release();
    }

    pub(crate) fn file(&self) -> &SectionFile {
        &self.file
    }

    /// Damage is put into words only where there is any: look-ups are many.
    fn whole<T>(&self, found: Option<T>, what: fmt::Arguments<'_>) -> Result<T, IndexError> {
        found.ok_or_else(|| self.file.damaged(&what.to_string()))
    }

    pub(crate) fn line_count(&self) -> u32 {
        self.meta.distinct_lines as u32
    }

    pub(crate) fn frame_count(&self) -> usize {
        self.file.get(tag::FRAME_TABLE).len() / FRAME_ENTRY
    }

    /// First line of a frame; the line count for the frame after the last.
    pub(crate) fn frame_start(&self, frame: usize) -> u32 {
        let entry = self
            .file
            .get(tag::FRAME_TABLE)
            .get(frame * FRAME_ENTRY + 8..);
        entry
            .and_then(|entry| u32_at(entry, 0))
            .unwrap_or(self.line_count())
    }

    /// The frame a line stands in.
    pub(crate) fn frame_of(&self, line: u32) -> usize {
        let (mut low, mut high) = (0, self.frame_count());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.frame_start(middle) <= line {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }

    pub(crate) fn group_count(&self) -> u32 {
        (self.file.get(tag::GROUPS).len() / 4) as u32
    }

    /// First line of a group; the line count for the group after the last.
    pub(crate) fn group_start(&self, group: u32) -> u32 {
        u32_at(self.file.get(tag::GROUPS), group as usize).unwrap_or(self.line_count())
    }

    /// The groups that may hold what is needed, ascending.
    pub(crate) fn groups(&self, needed: &GramQuery) -> Result<Vec<u32>, IndexError> {
        let mut found = Vec::new();
        let mut read = || {
            let mut table = Bytes::new(self.file.get(tag::GRAM_TABLE));
            while let Some(first) = table.next() {
                let start: usize = table.next()?.try_into().ok()?;
                let len: usize = table.next()?.try_into().ok()?;
                let lists = Lists::open(self.file.map().get(start..start.checked_add(len)?)?)?;
                let here = lists.find(needed)?.into_iter();
                self.note_mapped(len.min(lists.looked_up() * MAPPED_AROUND));
                found.extend(here.map(|group| first as u32 + group));
            }
            Some(())
        };
        self.whole(read(), format_args!("the 4-grams cannot be read"))?;
        Ok(found)
    }

    /// The text of a frame: its lines, each followed by a line feed.
    ///
    /// **Cost**: inflates about 16 KiB, more where a line is longer.
    pub(crate) fn frame(&self, frame: usize) -> Result<String, IndexError> {
        let text = || -> Option<String> {
            let entry = self.file.get(tag::FRAME_TABLE).get(frame * FRAME_ENTRY..)?;
            let position = u64_at(entry, 0)?;
            let packed_len = u32_at(entry, 3)? as usize;
            let raw_len = u32_at(entry, 4)? as usize;
            let start: usize = position.try_into().ok()?;
            let place = start..start.checked_add(packed_len)?;
            self.note_read(place.clone());
            let packed = self.file.map().get(place)?;
            if raw_len > FRAME_MAX {
                return None;
            }
            let raw = match &self.key {
                None => inflate(packed, raw_len)?,
                Some(key) => {
                    let mut packed = packed.to_vec();
                    key.apply(self.meta.number, position, &mut packed);
                    inflate(&packed, raw_len)?
                }
            };
            String::from_utf8(raw).ok()
        };
        self.whole(text(), format_args!("frame {frame} cannot be read"))
    }

    pub(crate) fn mark(&self, line: u32) -> Option<Mark> {
        let word = self.marked().get(line as usize / 64)?;
        if word >> (line % 64) & 1 == 0 {
            return None;
        }
        let (found, mark) = self.nth_mark(self.marks_before(line))?;
        (found == line).then_some(mark)
    }

    /// Whether any of these lines is marked.
    pub(crate) fn has_marks(&self, lines: &Range<u32>) -> bool {
        let next = self.nth_mark(self.marks_before(lines.start));
        next.is_some_and(|(line, _)| line < lines.end)
    }

    fn marked(&self) -> &[u64] {
        self.marked.get_or_init(|| {
            let mut marked = vec![0; (self.line_count() as usize).div_ceil(64)];
            for (line, _) in (0..self.mark_count()).filter_map(|n| self.nth_mark(n)) {
                if let Some(word) = marked.get_mut(line as usize / 64) {
                    *word |= 1 << (line % 64);
                }
            }
            marked
        })
    }

    /// How many lines before this one are marked.
    fn marks_before(&self, line: u32) -> usize {
        let (mut low, mut high) = (0, self.mark_count());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.nth_mark(middle) {
                Some((found, _)) if found < line => low = middle + 1,
                _ => high = middle,
            }
        }
        low
    }

    /// Tells which segment this is: its number and the checksums of its parts.
    pub(crate) fn identify(&self, tell: &mut dyn FnMut(&[u8])) {
        tell(&self.meta.number.to_le_bytes());
        self.file
            .checksums()
            .for_each(|sum| tell(&sum.to_le_bytes()));
    }

    /// The stored lines that are parts of longer ones, ascending.
    pub(crate) fn part_lines(&self) -> Vec<u32> {
        let marks = (0..self.mark_count()).filter_map(|n| self.nth_mark(n));
        let parts = marks.filter(|(_, mark)| mark.is_part());
        parts.map(|(line, _)| line).collect()
    }

    fn mark_count(&self) -> usize {
        self.file.get(tag::MARKS).len() / MARK_ENTRY
    }

    fn nth_mark(&self, n: usize) -> Option<(u32, Mark)> {
        let marks = self.file.get(tag::MARKS);
        let entry = marks.get(n * MARK_ENTRY..(n + 1) * MARK_ENTRY)?;
        let flags = entry[12];
        let mark = Mark {
            own_start: u32_at(entry, 1)?,
            own_end: u32_at(entry, 2)?,
            first: flags & 1 != 0,
            last: flags & 2 != 0,
            terminated: flags & 4 != 0,
        };
        Some((u32_at(entry, 0)?, mark))
    }

    /// Calls `each` for every line of a chunk.
    pub(crate) fn chunk_extents(
        &self,
        chunk: u32,
        each: &mut dyn FnMut(Extent) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, IndexError> {
        let mut lengths = Lengths::new(self);
        for line in self.chunk_lines(chunk)? {
            if each(lengths.extent(line)?).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    pub(crate) fn chunk_count(&self) -> u32 {
        (self.file.get(tag::CHUNK_TABLE).len() / 4) as u32
    }

    pub(crate) fn chunk(&self, chunk: u32) -> Result<ChunkView<'_>, IndexError> {
        let view = || {
            let offset = u32_at(self.file.get(tag::CHUNK_TABLE), chunk as usize)? as usize;
            let mut ids = Bytes::new(self.file.get(tag::CHUNKS).get(offset..)?);
            Some(ChunkView {
                bytes: ids.next()?,
                lines: ids.next()?,
                count: ids.next()?,
                ids,
            })
        };
        self.whole(view(), format_args!("chunk {chunk} cannot be read"))
    }

    pub(crate) fn chunk_lines(&self, chunk: u32) -> Result<Vec<u32>, IndexError> {
        self.whole(
            self.chunk(chunk)?.line_ids(),
            format_args!("chunk {chunk} cannot be read"),
        )
    }

    pub(crate) fn document_count(&self) -> u32 {
        (self.file.get(tag::DOCUMENT_TABLE).len() / 4) as u32
    }

    pub(crate) fn document(&self, document: u32) -> Result<DocumentView<'_>, IndexError> {
        let view = || {
            let offset = u32_at(self.file.get(tag::DOCUMENT_TABLE), document as usize)? as usize;
            let mut bytes = Bytes::new(self.file.get(tag::DOCUMENTS).get(offset..)?);
            let content = bytes.next_u32()?;
            let (offset, line) = (bytes.next()?, bytes.next()?);
            let part_len = bytes.next()?.try_into().ok()?;
            let part = std::str::from_utf8(bytes.take(part_len)?).ok()?;
            Some(DocumentView {
                content,
                part: (!part.is_empty()).then(|| read_layer(part)),
                offset,
                line,
                chunk_count: bytes.next()?,
                chunks: bytes,
            })
        };
        self.whole(view(), format_args!("document {document} cannot be read"))
    }

    pub(crate) fn document_chunks(
        &self,
        document: &DocumentView<'_>,
    ) -> Result<Vec<u32>, IndexError> {
        let ids = read_ids(&mut document.chunks.clone(), document.chunk_count);
        self.whole(ids, format_args!("a document's chunks cannot be read"))
    }

    /// The hash of a content by its place in this segment.
    pub(crate) fn content(&self, place: u32) -> Result<Sha256, IndexError> {
        let (rows, _) = self.file.get(tag::CONTENTS).as_chunks::<32>();
        let content = rows.get(place as usize).map(|row| Sha256(*row));
        self.whole(content, format_args!("a document belongs to no content"))
    }

    /// Every content that has documents here.
    pub(crate) fn contents(&self) -> impl Iterator<Item = Sha256> {
        let (rows, _) = self.file.get(tag::CONTENTS).as_chunks::<32>();
        rows.iter().map(|row| Sha256(*row))
    }

    /// The documents of a content here, in the order they were added.
    pub(crate) fn documents_of(&self, content: &Sha256) -> impl Iterator<Item = u32> {
        let starts = self.file.get(tag::CONTENT_STARTS);
        let documents = self.file.get(tag::CONTENT_DOCUMENTS);
        find_content(self.file.get(tag::CONTENTS), content)
            .and_then(|place| Some(u32_at(starts, place)?..u32_at(starts, place + 1)?))
            .unwrap_or(0..0)
            .filter_map(move |place| u32_at(documents, place as usize))
    }

    pub(crate) fn chunks_of_line(
        &self,
        line: u32,
        each: impl FnMut(u32),
    ) -> Result<(), IndexError> {
        self.chunks_of_lines(&[line], each)
    }

    /// The chunks of some lines, which are quickest in ascending order.
    pub(crate) fn chunks_of_lines(
        &self,
        lines: &[u32],
        mut each: impl FnMut(u32),
    ) -> Result<(), IndexError> {
        let file = &self.file;
        let mut owners = Owners::new(file.get(tag::LINE_OWNERS), file.get(tag::LINE_OWNER_TABLE));
        for line in lines {
            let found = owners.each(*line, &mut each);
            let what = format_args!("the chunks of line {line} cannot be read");
            self.whole(found, what)?;
        }
        Ok(())
    }

    pub(crate) fn documents_of_chunk(
        &self,
        chunk: u32,
        mut each: impl FnMut(u32),
    ) -> Result<(), IndexError> {
        self.documents_of_chunks(&[(chunk, ())], |document, ()| each(document))
    }

    /// The documents of some chunks, which are quickest in ascending order, each
    /// with what comes with its chunk.
    pub(crate) fn documents_of_chunks<T: Copy>(
        &self,
        chunks: &[(u32, T)],
        mut each: impl FnMut(u32, T),
    ) -> Result<(), IndexError> {
        let file = &self.file;
        let mut owners = Owners::new(
            file.get(tag::CHUNK_OWNERS),
            file.get(tag::CHUNK_OWNER_TABLE),
        );
        for (chunk, with) in chunks {
            let found = owners.each(*chunk, |document| each(document, *with));
            let what = format_args!("the documents of chunk {chunk} cannot be read");
            self.whole(found, what)?;
        }
        Ok(())
    }

    pub(crate) fn facts(&self) -> FactsView<'_> {
        let rows = |bytes, offsets| RowsView {
            bytes: self.file.get(bytes),
            offsets: self.file.get(offsets),
        };
        FactsView {
            strings: self.file.get(tag::STRINGS),
            string_offsets: self.file.get(tag::STRING_TABLE),
            results: rows(tag::RESULTS, tag::RESULT_TABLE),
            occurrences: rows(tag::OCCURRENCES, tag::OCCURRENCE_TABLE),
            problems: rows(tag::PROBLEMS, tag::PROBLEM_TABLE),
            contents: self.file.get(tag::PLACES),
            content_starts: self.file.get(tag::PLACE_STARTS),
            content_rows: self.file.get(tag::PLACE_ROWS),
        }
    }

    /// The term indexes, opened at the first use.
    pub(crate) fn terms(&self) -> Result<&[TermPart], IndexError> {
        if let Some(parts) = self.parts.get() {
            return Ok(parts);
        }
        let parts = self.open_terms()?;
        Ok(self.parts.get_or_init(|| parts))
    }

    fn open_terms(&self) -> Result<Vec<TermPart>, IndexError> {
        let mut table = Bytes::new(self.file.get(tag::TERM_TABLE));
        let mut parts: Vec<(u32, terms::Files)> = Vec::new();
        while let Some(position) = table.next() {
            let entry = || {
                let len: usize = table.next()?.try_into().ok()?;
                let first = table.next_u32()?;
                let name_len = table.next()?.try_into().ok()?;
                let name = std::str::from_utf8(table.take(name_len)?).ok()?;
                let start: usize = position.try_into().ok()?;
                let end = start.checked_add(len)?;
                (end <= self.file.map().len()).then_some((first, name.to_string(), start..end))
            };
            let mut entry = entry;
            let (first, name, range) =
                self.whole(entry(), format_args!("the table of terms cannot be read"))?;
            if parts.last().is_none_or(|(last, _)| *last != first) {
                parts.push((first, terms::Files::new()));
            }
            if let Some((_, files)) = parts.last_mut() {
                files.insert(name.into(), range);
            }
        }
        parts
            .into_iter()
            .map(|(_, files)| TermPart::open(self.file.map(), files))
            .collect()
    }
}
