//! Writing a closed segment: text frames, lists, terms, facts, in one file.

use std::sync::Arc;

use crate::IndexError;
use crate::codec::directory::Folder;
use crate::codec::mask;
use crate::codec::section_file::SectionWriter;
use crate::codec::varint::{put, put_runs};
use crate::segment::metadata::{FactSections, Facts, Rows};
use crate::segment::ngrams;
use crate::segment::ngrams::GROUPS_AT_ONCE;
use crate::segment::postings::Inverse;
use crate::segment::tag;
use crate::segment::terms;
use crate::writer::line_dictionary::Lines;
use crate::writer::manifest::{SegmentMeta, segment_name};
use crate::writer::segment_buffer::{Extent, FrozenText};
use evidence::Sha256;

/// **Units**: bytes of text in a frame. Larger ones compress little better and
/// make every look-up inflate more.
const FRAME: usize = 16 << 10;
/// **Units**: bytes of text in a group: what the 4-grams tell apart. A frame
/// is a few whole groups.
const GROUP: usize = 4 << 10;
/// Level 3 gains under 4 % and takes twice the time.
const LEVEL: i32 = 1;
/// **Units**: bytes of distinct text whose terms are indexed together. Bounds
/// the memory of a term writer (about three times this); parts of 64 MiB take
/// 3 % less room and a fifth more time, for want of the processor's cache.
const TERMS_AT_ONCE: u64 = 16 << 20;
/// Parts of terms indexed at the same time, whatever the cores.
const TERM_THREADS: usize = 3;
/// Lines between two entries of the table of line lengths.
pub(crate) const LENGTHS_BLOCK: usize = 64;

/// Writes a segment and syncs it; it counts once a manifest names it.
pub(crate) fn write_segment(
    folder: &Folder,
    number: u64,
    text: FrozenText,
    facts: &Facts,
    key: Option<&mask::Key>,
) -> Result<SegmentMeta, IndexError> {
    let mut out = SectionWriter::create(folder, &segment_name(number))?;
    write_chunks(&mut out, &text)?;
    write_documents(&mut out, &text)?;
    let (documents, lines) = (text.documents.len(), text.lines);
    // Terms and 4-grams take the most memory and need the lines alone.
    drop((text.chunks, text.documents, text.document_chunks));
    if lines.len() > 0 {
        let groups = write_frames(&mut out, folder, &lines, number, key)?;
        write_lengths(&mut out, &lines)?;
        write_terms(&mut out, &lines)?;
        write_grams(&mut out, &lines, &groups)?;
    }
    write_facts(&mut out, facts)?;
    Ok(SegmentMeta {
        number,
        text_bytes: text.text_bytes,
        distinct_bytes: lines.bytes(),
        distinct_lines: lines.len() as u64,
        lines: text.line_count,
        documents: documents as u64,
        rows: facts.occurrences.len() as u64,
        file_bytes: out.finish()?,
    })
}

/// Returns the first line of each group.
fn write_frames(
    out: &mut SectionWriter,
    folder: &Folder,
    lines: &Lines,
    number: u64,
    key: Option<&mask::Key>,
) -> Result<Vec<u32>, IndexError> {
    let failed = || folder.failed("compress text of", &segment_name(number));
    let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(failed())?;
    let mut table = Vec::new();
    let mut raw = Vec::with_capacity(FRAME * 2);
    let mut first = 0u32;
    let (mut groups, mut group_end) = (Vec::new(), 0);
    out.begin(tag::FRAMES);
    for line in 0..lines.len() as u32 {
        if raw.len() >= group_end {
            groups.push(line);
            group_end = raw.len() + GROUP;
        }
        raw.extend_from_slice(lines.get(line));
        raw.push(b'\n');
        if raw.len() < FRAME && line as usize + 1 < lines.len() {
            continue;
        }
        let mut packed = compressor.compress(&raw).map_err(failed())?;
        let position = out.position();
        if let Some(key) = key {
            key.apply(number, position, &mut packed);
        }
        table.extend(position.to_le_bytes());
        table.extend(first.to_le_bytes());
        table.extend((packed.len() as u32).to_le_bytes());
        table.extend((raw.len() as u32).to_le_bytes());
        out.write(&packed)?;
        raw.clear();
        (first, group_end) = (line + 1, 0);
    }
    out.section(tag::FRAME_TABLE, &table)?;
    Ok(groups)
}

fn write_lengths(out: &mut SectionWriter, lines: &Lines) -> Result<(), IndexError> {
    let mut lengths = Vec::with_capacity(lines.len() * 2);
    let mut blocks = Vec::new();
    for line in 0..lines.len() {
        if line % LENGTHS_BLOCK == 0 {
            blocks.extend((lengths.len() as u32).to_le_bytes());
        }
        put(&mut lengths, lines.get(line as u32).len() as u64);
    }
    out.section(tag::LENGTHS, &lengths)?;
    out.section(tag::LENGTH_BLOCKS, &blocks)?;
    let mut marked: Vec<_> = lines.marks.iter().collect();
    marked.sort_unstable_by_key(|(line, _)| **line);
    let mut marks = Vec::with_capacity(marked.len() * 13);
    for (line, mark) in marked {
        marks.extend(line.to_le_bytes());
        marks.extend(mark.own_start.to_le_bytes());
        marks.extend(mark.own_end.to_le_bytes());
        marks
            .push(u8::from(mark.first) | u8::from(mark.last) << 1 | u8::from(mark.terminated) << 2);
    }
    out.section(tag::MARKS, &marks)
}

/// Terms are indexed in parts, each by a thread and as many at a time as there
/// are threads; they are written in their order.
fn write_terms(out: &mut SectionWriter, lines: &Arc<Lines>) -> Result<(), IndexError> {
    let mut table = Vec::new();
    out.begin(tag::TERMS);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(TERM_THREADS));
    for parts in term_parts(lines).chunks(threads) {
        let built: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = parts
                .iter()
                .map(|part| scope.spawn(|| terms::build(lines, part.clone())))
                .collect();
            workers.into_iter().map(|worker| worker.join()).collect()
        });
        for (part, files) in parts.iter().zip(built) {
            let files = files.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            for (name, bytes) in files {
                put(&mut table, out.position());
                put(&mut table, bytes.len() as u64);
                put(&mut table, u64::from(part.start));
                put(&mut table, name.len() as u64);
                table.extend(name.as_bytes());
                out.write(&bytes)?;
            }
        }
    }
    out.section(tag::TERM_TABLE, &table)
}

/// The lists of some thousand groups are built at a time, as the terms are.
fn write_grams(out: &mut SectionWriter, lines: &Lines, groups: &[u32]) -> Result<(), IndexError> {
    let mut table = Vec::new();
    out.begin(tag::GRAMS);
    let runs: Vec<(usize, usize)> = (0..groups.len())
        .step_by(GROUPS_AT_ONCE)
        .map(|first| (first, (first + GROUPS_AT_ONCE).min(groups.len())))
        .collect();
    let lines_of = |group: usize| {
        let end = groups.get(group + 1).map_or(lines.len() as u32, |end| *end);
        (groups[group]..end).map(|line| lines.get(line))
    };
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(TERM_THREADS));
    for runs in runs.chunks(threads) {
        let built: Vec<_> = std::thread::scope(|scope| {
            let workers: Vec<_> = runs
                .iter()
                .map(|(first, end)| scope.spawn(|| ngrams::build((*first..*end).map(lines_of))))
                .collect();
            workers.into_iter().map(|worker| worker.join()).collect()
        });
        for ((first, _), lists) in runs.iter().zip(built) {
            let lists = lists.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            put(&mut table, *first as u64);
            put(&mut table, out.position());
            put(&mut table, lists.len() as u64);
            out.write(&lists)?;
        }
    }
    out.section(tag::GRAM_TABLE, &table)?;
    let firsts: Vec<u8> = groups.iter().flat_map(|line| line.to_le_bytes()).collect();
    out.section(tag::GROUPS, &firsts)
}

/// Cuts the lines into runs of about `TERMS_AT_ONCE` bytes.
fn term_parts(lines: &Lines) -> Vec<std::ops::Range<u32>> {
    let mut parts = Vec::new();
    let (mut from, mut bytes) = (0, 0);
    for line in 0..lines.len() as u32 {
        bytes += lines.get(line).len() as u64 + 1;
        if bytes >= TERMS_AT_ONCE {
            parts.push(from..line + 1);
            (from, bytes) = (line + 1, 0);
        }
    }
    if bytes > 0 {
        parts.push(from..lines.len() as u32);
    }
    parts
}

fn write_chunks(out: &mut SectionWriter, text: &FrozenText) -> Result<(), IndexError> {
    let chunks = &text.chunks;
    let mut records = Vec::new();
    let mut offsets = Vec::new();
    for (chunk, Extent { bytes, lines }) in chunks.extents.iter().enumerate() {
        let ids = chunks.get(chunk as u32);
        offsets.extend((records.len() as u32).to_le_bytes());
        put(&mut records, u64::from(*bytes));
        put(&mut records, u64::from(*lines));
        put(&mut records, ids.len() as u64);
        put_runs(&mut records, ids);
    }
    out.section(tag::CHUNKS, &records)?;
    out.section(tag::CHUNK_TABLE, &offsets)?;
    let inverse = Inverse::build(
        text.lines.len(),
        (0..chunks.len()).map(|chunk| chunks.get(chunk as u32)),
    );
    out.section(tag::LINE_OWNERS, &inverse.records)?;
    out.section(tag::LINE_OWNER_TABLE, &inverse.offsets)
}

fn write_documents(out: &mut SectionWriter, text: &FrozenText) -> Result<(), IndexError> {
    let documents = &text.documents;
    let mut by_content: Vec<(Sha256, u32)> = documents
        .iter()
        .enumerate()
        .map(|(n, document)| (document.content, n as u32))
        .collect();
    by_content.sort_unstable();
    let mut contents = Vec::new();
    let mut starts = Vec::new();
    let mut content_documents = Vec::new();
    let mut content_of = vec![0u64; documents.len()];
    for (place, (content, document)) in by_content.iter().enumerate() {
        if place == 0 || by_content[place - 1].0 != *content {
            contents.extend(content.0);
            starts.extend((place as u32).to_le_bytes());
        }
        content_of[*document as usize] = (contents.len() / 32 - 1) as u64;
        content_documents.extend(document.to_le_bytes());
    }
    starts.extend((by_content.len() as u32).to_le_bytes());
    let mut records = Vec::new();
    let mut offsets = Vec::new();
    for (document, content) in documents.iter().zip(&content_of) {
        let chunks = &text.document_chunks[document.chunks.0..document.chunks.1];
        let part = document.part.as_ref().map_or("", |part| part.as_str());
        offsets.extend((records.len() as u32).to_le_bytes());
        for number in [*content, document.offset, document.line, part.len() as u64] {
            put(&mut records, number);
        }
        records.extend(part.as_bytes());
        put(&mut records, chunks.len() as u64);
        put_runs(&mut records, chunks);
    }
    out.section(tag::DOCUMENTS, &records)?;
    out.section(tag::DOCUMENT_TABLE, &offsets)?;
    out.section(tag::CONTENTS, &contents)?;
    out.section(tag::CONTENT_STARTS, &starts)?;
    out.section(tag::CONTENT_DOCUMENTS, &content_documents)?;
    let inverse = Inverse::build(
        text.chunks.len(),
        documents
            .iter()
            .map(|document| &text.document_chunks[document.chunks.0..document.chunks.1]),
    );
    out.section(tag::CHUNK_OWNERS, &inverse.records)?;
    out.section(tag::CHUNK_OWNER_TABLE, &inverse.offsets)
}

fn write_facts(out: &mut SectionWriter, facts: &Facts) -> Result<(), IndexError> {
    if facts.is_empty() {
        return Ok(());
    }
    let sections = FactSections::build(facts);
    let mut rows = |tags: (&_, &_), rows: &Rows| {
        out.section(tags.0, &rows.bytes)?;
        out.section(tags.1, &rows.offsets)
    };
    rows((tag::RESULTS, tag::RESULT_TABLE), &sections.results)?;
    rows(
        (tag::OCCURRENCES, tag::OCCURRENCE_TABLE),
        &sections.occurrences,
    )?;
    rows((tag::PROBLEMS, tag::PROBLEM_TABLE), &sections.problems)?;
    out.section(tag::STRINGS, &sections.strings)?;
    out.section(tag::STRING_TABLE, &sections.string_offsets)?;
    out.section(tag::PLACES, &sections.contents)?;
    out.section(tag::PLACE_STARTS, &sections.content_starts)?;
    out.section(tag::PLACE_ROWS, &sections.content_rows)
}
