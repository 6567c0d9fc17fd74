//! The interface of an extractor, tested with one for a made-up binary format:
//! records, seeking, limits and failures.

use std::cell::Cell;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::ops::ControlFlow;

use afteraction_extract::{
    ContentHint, DocumentHead, EXTRACTORS, EventRecord, ExtractSettings, Extractor, ExtractorError,
    ExtractorResult, FieldName, FieldValue, Input, RecordPosition, Scratch, Sink, SpoolLimits,
    TextForm, TextPart, TimeMeaning, TranscriptFacts, extract_with,
};
use evidence::{Problem, ProblemKind, ResultKind, Time};

// ---- the format ----------------------------------------------------------
//
// `DIARY`, the offset of a table of record offsets at the end (u32), records.
// A record: event id (u16), whether it is deleted (u8), time (20 characters),
// length of the text (u16), text. All numbers are little-endian.

const MAGIC: &[u8] = b"DIARY";
const TIME_BYTES: usize = 20;

struct Entry {
    id: u16,
    is_deleted: bool,
    time: &'static str,
    text: &'static str,
}

const ENTRIES: [Entry; 3] = [
    Entry {
        id: 7045,
        is_deleted: false,
        time: "2026-02-04T15:36:52Z",
        text: "service psexesvc installed",
    },
    Entry {
        id: 1102,
        is_deleted: true,
        time: "2026-02-04T15:40:00Z",
        text: "log cleared\nby CONTOSO\\anna\n",
    },
    Entry {
        id: 4624,
        is_deleted: false,
        time: "2026-02-04T16:00:00Z",
        text: "logon",
    },
];

/// Writes a file, with `padding` bytes before the records.
fn diary(padding: usize) -> Vec<u8> {
    let mut bytes = [MAGIC, &[0; 4]].concat();
    bytes.resize(bytes.len() + padding, 0xee);
    let mut table = Vec::new();
    for entry in &ENTRIES {
        table.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&entry.id.to_le_bytes());
        bytes.push(entry.is_deleted.into());
        bytes.extend_from_slice(entry.time.as_bytes());
        bytes.extend_from_slice(&(entry.text.len() as u16).to_le_bytes());
        bytes.extend_from_slice(entry.text.as_bytes());
    }
    let table_at = bytes.len() as u32;
    bytes[MAGIC.len()..][..4].copy_from_slice(&table_at.to_le_bytes());
    bytes.extend_from_slice(&table);
    bytes
}

// ---- the extractor -------------------------------------------------------

const DIARY: Extractor = Extractor {
    name: "diary",
    recognizes: |input| input.head().starts_with(MAGIC),
    run: run_diary,
};

fn run_diary(input: &mut Input<'_>, sink: &mut dyn Sink) -> ExtractorResult {
    let head = DocumentHead {
        part: TextPart::Whole,
        encoding: "diary",
        form: TextForm::Records,
    };
    if sink.document(head).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let mut file = input.seekable(sink)?;
    let table_at = u32::from_le_bytes(read_array(&mut file, MAGIC.len() as u64, 0)?);
    let table_end = file.seek(SeekFrom::End(0))?;
    let count = table_end.saturating_sub(table_at.into()) / 4;
    for number in 0..count {
        let row_at = u64::from(table_at) + 4 * number;
        let offset = u32::from_le_bytes(read_array(&mut file, row_at, number)?);
        let record = read_record(&mut file, number, offset.into())?;
        if sink.record(&record).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    if count < ENTRIES.len() as u64 {
        sink.problem(Problem::new(
            ProblemKind::Damaged,
            format!("table of records is truncated; {count} records kept"),
        ));
    }
    Ok(ControlFlow::Continue(()))
}

fn read_record(
    file: &mut (impl Read + Seek),
    number: u64,
    offset: u64,
) -> Result<EventRecord, ExtractorError> {
    let id = u16::from_le_bytes(read_array(file, offset, number)?);
    let [is_deleted] = read_array(file, offset + 2, number)?;
    let time: [u8; TIME_BYTES] = read_array(file, offset + 3, number)?;
    let text_len_at = offset + 3 + TIME_BYTES as u64;
    let text_len = u16::from_le_bytes(read_array(file, text_len_at, number)?);
    let mut text = String::new();
    file.take(text_len.into()).read_to_string(&mut text)?;
    let position = RecordPosition { number, offset };
    let mut record = EventRecord::new(position, text);
    let time = Time::from_text(String::from_utf8_lossy(&time));
    record.time = Some((time, TimeMeaning::Event));
    record.add_field(FieldName::EventId, FieldValue::Unsigned(id.into()));
    record.add_field(FieldName::IsDeleted, FieldValue::Boolean(is_deleted != 0));
    Ok(record)
}

fn read_array<const N: usize>(
    file: &mut (impl Read + Seek),
    at: u64,
    number: u64,
) -> Result<[u8; N], ExtractorError> {
    let mut array = [0; N];
    file.seek(SeekFrom::Start(at))?;
    file.read_exact(&mut array).map_err(|error| {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            ExtractorError::Malformed(format!(
                "record {number} refers to byte {at}, after the end; {number} records kept"
            ))
        } else {
            error.into()
        }
    })?;
    Ok(array)
}

// ---- sinks ---------------------------------------------------------------

/// Records everything.
#[derive(Debug, Default, PartialEq)]
struct RecordSink {
    heads: Vec<DocumentHead>,
    records: Vec<EventRecord>,
    text: String,
    problems: Vec<Problem>,
}

impl Sink for RecordSink {
    fn document(&mut self, head: DocumentHead) -> ControlFlow<()> {
        self.heads.push(head);
        ControlFlow::Continue(())
    }

    fn text(&mut self, piece: &str) -> ControlFlow<()> {
        self.text.push_str(piece);
        ControlFlow::Continue(())
    }

    fn record(&mut self, record: &EventRecord) -> ControlFlow<()> {
        self.records.push(record.clone());
        ControlFlow::Continue(())
    }

    fn transcript(&mut self, _: &TranscriptFacts) {}

    fn problem(&mut self, problem: Problem) {
        self.problems.push(problem);
    }
}

/// Accepts text only, and stops after a number of pieces.
struct TextSink {
    text: String,
    pieces_left: usize,
}

impl Sink for TextSink {
    fn document(&mut self, _: DocumentHead) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn text(&mut self, piece: &str) -> ControlFlow<()> {
        self.text.push_str(piece);
        self.pieces_left -= 1;
        if self.pieces_left == 0 {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn transcript(&mut self, _: &TranscriptFacts) {}

    fn problem(&mut self, problem: Problem) {
        panic!("{problem}");
    }
}

fn hint() -> ContentHint<'static> {
    ContentHint {
        name: None,
        kind: ResultKind::File,
    }
}

fn input(stream: &mut dyn Read) -> Input<'_> {
    Input::new(stream, hint(), ExtractSettings::default())
}

/// The made-up format before the formats of the crate.
fn extractors() -> Vec<Extractor> {
    [&[DIARY], EXTRACTORS].concat()
}

fn extract(mut bytes: &[u8]) -> RecordSink {
    let mut sink = RecordSink::default();
    extract_with(&extractors(), input(&mut bytes), &mut sink).unwrap();
    sink
}

/// Extracts with limits and a scratch factory; returns how many scratch files
/// were created, too.
fn extract_within(mut bytes: &[u8], limits: SpoolLimits) -> (RecordSink, u32) {
    let mut sink = RecordSink::default();
    let scratch_files = Cell::new(0);
    let mut factory = || {
        scratch_files.set(scratch_files.get() + 1);
        Ok(Box::new(Cursor::new(Vec::new())) as Box<dyn Scratch>)
    };
    let input = input(&mut bytes)
        .with_scratch(&mut factory)
        .with_limits(limits);
    extract_with(&extractors(), input, &mut sink).unwrap();
    (sink, scratch_files.get())
}

// ---- records -------------------------------------------------------------

#[test]
fn record_has_time_fields_text_and_position() {
    let bytes = diary(0);
    let sink = extract(&bytes);
    assert_eq!(sink.problems, []);
    assert_eq!(sink.heads.len(), 1);
    assert_eq!(sink.heads[0].form, TextForm::Records);
    assert_eq!(sink.records.len(), ENTRIES.len());
    for (number, (record, entry)) in sink.records.iter().zip(&ENTRIES).enumerate() {
        let time = Time::from_text(entry.time);
        assert_eq!(record.time, Some((time, TimeMeaning::Event)));
        assert_eq!(
            record.fields,
            [
                (FieldName::EventId, FieldValue::Unsigned(entry.id.into())),
                (FieldName::IsDeleted, FieldValue::Boolean(entry.is_deleted)),
            ]
        );
        assert_eq!(record.text, entry.text);
        assert_eq!(record.position.number, number as u64);
        let at = record.position.offset as usize;
        assert_eq!(bytes[at..][..2], entry.id.to_le_bytes());
    }
}

#[test]
fn sink_for_text_gets_the_lines_of_each_record() {
    let mut sink = TextSink {
        text: String::new(),
        pieces_left: 100,
    };
    extract_with(&extractors(), input(&mut &diary(0)[..]), &mut sink).unwrap();
    assert_eq!(
        sink.text,
        "service psexesvc installed\nlog cleared\nby CONTOSO\\anna\nlogon\n"
    );
}

#[test]
fn extraction_ends_when_a_sink_returns_break_in_a_record() {
    let mut sink = TextSink {
        text: String::new(),
        pieces_left: 1,
    };
    extract_with(&extractors(), input(&mut &diary(0)[..]), &mut sink).unwrap();
    assert_eq!(sink.text, ENTRIES[0].text);
}

// ---- seeking -------------------------------------------------------------

#[test]
fn seeking_in_memory_and_in_a_scratch_file_yields_the_same_records() {
    // More than the first window and one step of the spool.
    let bytes = diary(300_000);
    let len = bytes.len() as u64;
    let expected = extract(&bytes);
    assert_eq!(expected.problems, []);
    for (memory_bytes_max, scratch_files) in [(len, 0), (len - 1, 1), (0, 1)] {
        let limits = SpoolLimits {
            memory_bytes_max,
            bytes_max: len,
        };
        let (sink, created) = extract_within(&bytes, limits);
        assert_eq!(sink, expected);
        assert_eq!(created, scratch_files);
    }
}

#[test]
fn input_above_the_limit_is_cut_and_the_problem_hides_text() {
    let bytes = diary(300_000);
    let last_row = bytes.len() as u64 - 4;
    for memory_bytes_max in [0, 1 << 20] {
        let limits = SpoolLimits {
            memory_bytes_max,
            bytes_max: last_row,
        };
        let (sink, _) = extract_within(&bytes, limits);
        assert_eq!(sink.records.len(), 2);
        let [limit, truncated] = &sink.problems[..] else {
            panic!("{:?}", sink.problems);
        };
        assert_eq!(limit.kind, ProblemKind::LimitReached);
        assert!(limit.kind.hides_text());
        assert_eq!(
            limit.message,
            format!("longer than {last_row} bytes (limit): the rest is not read")
        );
        assert_eq!(
            truncated.message,
            "table of records is truncated; 2 records kept"
        );
    }
}

#[test]
fn input_without_scratch_files_is_cut_at_the_memory_limit() {
    let bytes = diary(300_000);
    let mut stream = &bytes[..];
    let limits = SpoolLimits {
        memory_bytes_max: 200_000,
        bytes_max: 1 << 30,
    };
    let mut sink = RecordSink::default();
    let input = input(&mut stream).with_limits(limits);
    extract_with(&extractors(), input, &mut sink).unwrap();
    assert_eq!(sink.records, []);
    assert_eq!(sink.problems[0].kind, ProblemKind::LimitReached);
}

// ---- failures ------------------------------------------------------------

#[test]
fn malformed_input_keeps_its_records_and_does_not_affect_later_inputs() {
    let good = diary(0);
    let mut malformed = diary(0);
    let last_row = malformed.len() - 4;
    malformed[last_row..].copy_from_slice(&0x00ff_ffff_u32.to_le_bytes());
    let expected = extract(&good);
    let sink = extract(&malformed);
    assert_eq!(sink.records, expected.records[..2]);
    assert_eq!(
        sink.problems,
        [Problem::new(
            ProblemKind::Damaged,
            "record 2 refers to byte 16777215, after the end; 2 records kept"
        )]
    );
    // The same sink and the same list of extractors, for the next inputs.
    let extractors = extractors();
    let mut sink = RecordSink::default();
    for bytes in [&malformed[..], &good, b"plain text\n"] {
        let mut stream = bytes;
        extract_with(&extractors, input(&mut stream), &mut sink).unwrap();
    }
    assert_eq!(sink.records[2..], expected.records);
    assert_eq!(sink.text, "plain text\n");
    assert_eq!(sink.problems.len(), 1);
}

#[test]
fn failures_of_the_stream_and_of_the_scratch_file_are_errors() {
    struct FailingStream;
    impl Read for FailingStream {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("disk failure"))
        }
    }
    let bytes = diary(300_000);
    let mut sink = RecordSink::default();
    let mut stream = (&bytes[..200_000]).chain(FailingStream);
    let error = extract_with(&extractors(), input(&mut stream), &mut sink).unwrap_err();
    assert_eq!(error.to_string(), "disk failure");

    let mut stream = &bytes[..];
    let mut factory = || Err(io::Error::other("disk full"));
    let limits = SpoolLimits {
        memory_bytes_max: 10,
        bytes_max: 1 << 30,
    };
    let input = input(&mut stream)
        .with_scratch(&mut factory)
        .with_limits(limits);
    let error = extract_with(&extractors(), input, &mut sink).unwrap_err();
    assert_eq!(error.to_string(), "disk full");
    assert_eq!((sink.records.len(), sink.problems.len()), (0, 0));
    assert_eq!(extract(&bytes).records.len(), ENTRIES.len());
}

// ---- the list ------------------------------------------------------------

#[test]
fn first_extractor_that_recognizes_the_input_reads_it() {
    for (bytes, encoding, form) in [
        (diary(0), "diary", TextForm::Records),
        (b"DIAR".to_vec(), "utf-8", TextForm::Text),
        (b"MZ\x90\0\x03\0\xff".to_vec(), "strings", TextForm::Strings),
        (
            br#"{"script_output":"a","exit_code":0}"#.to_vec(),
            "utf-8",
            TextForm::Transcript,
        ),
    ] {
        let sink = extract(&bytes);
        assert_eq!(sink.heads.len(), 1);
        assert_eq!(
            (sink.heads[0].encoding, sink.heads[0].form),
            (encoding, form)
        );
    }
}

#[test]
fn extractors_have_unique_names_and_the_last_one_reads_any_input() {
    let mut names: Vec<&str> = EXTRACTORS.iter().map(|row| row.name).collect();
    assert_eq!(names.last(), Some(&"strings"));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), EXTRACTORS.len());
}

#[test]
fn input_that_no_extractor_recognizes_is_reported() {
    let mut sink = RecordSink::default();
    extract_with(&[DIARY], input(&mut &b"text"[..]), &mut sink).unwrap();
    assert_eq!(sink.heads, []);
    assert_eq!(sink.problems[0].kind, ProblemKind::Unsupported);
    assert!(sink.problems[0].kind.hides_text());
}
