//! Converts the bytes of a member to text documents, event records and
//! problems.
//!
//! [`extract`] reads an [`Input`] with the first extractor of [`EXTRACTORS`]
//! that recognizes it, and writes to a [`Sink`].
//!
//! # Invariants
//! - The decoded text defines line numbers and offsets permanently. It depends
//!   on the bytes and the [`ExtractSettings`] only, not on how the stream
//!   splits its reads. A change of the text is a new [`EXTRACTOR_VERSION`].
//! - No word is lost: bytes become text, or the strings in them, or a
//!   [`Problem`] names the unread part.
//! - A defect of the evidence is a problem, not an error. The text before it is
//!   kept, and later inputs are not affected.
//! - Memory is bounded: two windows of 64 KiB for a streaming extractor, 8 MiB
//!   for one that seeks (larger inputs use a scratch file).
//!
//! A byte order mark is not part of the text. CRLF is: a line ends with `\n`,
//! and the `\r` belongs to the line. NULs in text are kept.
//!
//! # Dependencies
//! This crate must not depend on archives, the store or the index.
//!
//! # Example
//! ```
//! use std::ops::ControlFlow;
//!
//! use afteraction_extract::{
//!     ContentHint, DocumentHead, ExtractSettings, Input, Sink, TranscriptFacts, extract,
//! };
//! use evidence::{Problem, ResultKind};
//!
//! #[derive(Default)]
//! struct Text(String);
//!
//! impl Sink for Text {
//!     fn document(&mut self, head: DocumentHead) -> ControlFlow<()> {
//!         assert_eq!(head.encoding, "utf-16le");
//!         ControlFlow::Continue(())
//!     }
//!
//!     fn text(&mut self, piece: &str) -> ControlFlow<()> {
//!         self.0.push_str(piece);
//!         ControlFlow::Continue(())
//!     }
//!
//!     fn transcript(&mut self, _: &TranscriptFacts) {}
//!
//!     fn problem(&mut self, problem: Problem) {
//!         panic!("{problem}");
//!     }
//! }
//!
//! let mut bytes = &b"\xff\xfeG\0r\0\xfc\0\xdf\0e\0"[..];
//! let hint = ContentHint { name: Some("a.txt"), kind: ResultKind::File };
//! let mut sink = Text::default();
//! extract(Input::new(&mut bytes, hint, ExtractSettings::default()), &mut sink)?;
//! assert_eq!(sink.0, "Grüße");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Adding a parser
//! A parser is one file with an [`Extractor`], and one row in [`EXTRACTORS`],
//! before the extractors that read any text or any bytes:
//!
//! 1. `recognizes` decides from the first 64 KiB ([`Input::head`]), usually
//!    from a signature. It must not depend on the name alone: the same bytes
//!    are one content regardless of their names.
//! 2. `run` reads the input as a stream, or calls [`Input::seekable`] first if
//!    the format needs seeking. It begins a document, then writes text, or
//!    [`EventRecord`]s with a time, typed fields and a position.
//! 3. If a field is missing in [`FIELDS`], add one row to the list in
//!    `fields.rs`.
//! 4. Defects are reported with [`Sink::problem`]. If the parser cannot
//!    continue, it returns [`ExtractorError::Malformed`].
//! 5. Increase [`EXTRACTOR_VERSION`], because the text of such inputs changes.
//!
//! A complete parser of a log that consists of `LOG1` and event numbers:
//! ```
//! use std::io::Read;
//! use std::ops::ControlFlow;
//!
//! use afteraction_extract::{
//!     DocumentHead, EventRecord, Extractor, ExtractorError, ExtractorResult, FieldName,
//!     FieldValue, Input, RecordPosition, Sink, TextForm, TextPart,
//! };
//!
//! const EVENT_LOG: Extractor = Extractor {
//!     name: "event log",
//!     recognizes: |input| input.head().starts_with(b"LOG1"),
//!     run,
//! };
//!
//! fn run(input: &mut Input<'_>, sink: &mut dyn Sink) -> ExtractorResult {
//!     let head = DocumentHead {
//!         part: TextPart::Whole,
//!         encoding: "event log",
//!         form: TextForm::Records,
//!     };
//!     if sink.document(head).is_break() {
//!         return Ok(ControlFlow::Break(()));
//!     }
//!     let mut file = input.seekable(sink)?;
//!     let mut bytes = Vec::new();
//!     file.read_to_end(&mut bytes)?;
//!     for (number, event) in bytes[4..].chunks(2).enumerate() {
//!         let &[low, high] = event else {
//!             return Err(ExtractorError::Malformed(format!(
//!                 "event log ends inside a record; {number} records kept"
//!             )));
//!         };
//!         let id = u16::from_le_bytes([low, high]);
//!         let position = RecordPosition {
//!             number: number as u64,
//!             offset: 4 + 2 * number as u64,
//!         };
//!         let mut record = EventRecord::new(position, format!("event {id}"));
//!         record.add_field(FieldName::EventId, FieldValue::Unsigned(id.into()));
//!         if sink.record(&record).is_break() {
//!             return Ok(ControlFlow::Break(()));
//!         }
//!     }
//!     Ok(ControlFlow::Continue(()))
//! }
//! # use afteraction_extract::{ContentHint, ExtractSettings, TranscriptFacts, extract_with};
//! # use evidence::{Problem, ResultKind};
//! # #[derive(Default)]
//! # struct Log(String, Vec<Problem>);
//! # impl Sink for Log {
//! #     fn document(&mut self, _: DocumentHead) -> ControlFlow<()> {
//! #         ControlFlow::Continue(())
//! #     }
//! #     fn text(&mut self, piece: &str) -> ControlFlow<()> {
//! #         self.0.push_str(piece);
//! #         ControlFlow::Continue(())
//! #     }
//! #     fn transcript(&mut self, _: &TranscriptFacts) {}
//! #     fn problem(&mut self, problem: Problem) {
//! #         self.1.push(problem);
//! #     }
//! # }
//! # let mut log = Log::default();
//! # let hint = ContentHint { name: None, kind: ResultKind::File };
//! # let mut bytes = &b"LOG1\x10\x12\x11\x12\xff"[..];
//! # let input = Input::new(&mut bytes, hint, ExtractSettings::default());
//! # extract_with(&[EVENT_LOG], input, &mut log).unwrap();
//! # assert_eq!(log.0, "event 4624\nevent 4625\n");
//! # assert_eq!(log.1[0].message, "event log ends inside a record; 2 records kept");
//! ```

mod decode;
mod detect;
mod error;
mod extractor;
mod fields;
mod input;
mod plain_text;
mod sink;
mod strings;
#[cfg(test)]
mod tests;
mod transcript;
mod window;

use std::io;

use evidence::{Problem, ProblemKind};

pub use crate::decode::code_page::CodePage;
pub use crate::error::{ExtractorError, ExtractorResult};
pub use crate::extractor::Extractor;
pub use crate::fields::{FIELDS, FieldDefinition, FieldName, FieldType, FieldValue};
pub use crate::input::{
    ContentHint, ExtractSettings, Input, SEEK_BYTES_MAX, SEEK_MEMORY_BYTES_MAX,
};
pub use crate::sink::{
    DocumentHead, EventRecord, RecordPosition, Sink, TextForm, TextPart, TimeMeaning,
    TranscriptFacts,
};
pub use util::{Scratch, ScratchFactory, Spool, SpoolLimits};

/// Version of the extractors. A version may decode text to other offsets than
/// the previous one.
pub const EXTRACTOR_VERSION: u32 = 3;

/// The extractors, in the order in which they are tried. The last one reads
/// any input.
pub const EXTRACTORS: &[Extractor] = &[
    transcript::TRANSCRIPT,
    plain_text::PLAIN_TEXT,
    strings::STRINGS,
];

/// Extracts the text of `input` with [`EXTRACTORS`].
///
/// The input is read to its end, unless the sink returns `Break` or the input
/// is malformed.
///
/// **Errors**: failures of the environment: the input or a scratch file could
/// not be read or written. The sink then has the text before.
/// **Cost**: one pass; a second one for formats that need seeking.
pub fn extract(input: Input<'_>, sink: &mut dyn Sink) -> io::Result<()> {
    extract_with(EXTRACTORS, input, sink)
}

/// [`extract`] with another list of extractors.
pub fn extract_with(
    extractors: &[Extractor],
    mut input: Input<'_>,
    sink: &mut dyn Sink,
) -> io::Result<()> {
    input.fill_head()?;
    let recognizing = extractors.iter().find(|row| (row.recognizes)(&input));
    let Some(extractor) = recognizing else {
        sink.problem(Problem::new(
            ProblemKind::Unsupported,
            "format is not supported: not read",
        ));
        return Ok(());
    };
    tracing::trace!(
        target: "extract",
        extractor = extractor.name,
        head_bytes = input.head().len(),
        is_complete = input.is_complete(),
        "extractor chosen"
    );
    match (extractor.run)(&mut input, sink) {
        // A sink that returned `Break` needs no more: that is not an error.
        Ok(_) => Ok(()),
        Err(ExtractorError::Io(error)) => Err(error),
        Err(ExtractorError::Malformed(message)) => {
            tracing::debug!(target: "extract", extractor = extractor.name, "malformed input");
            sink.problem(Problem::new(ProblemKind::Damaged, message));
            Ok(())
        }
    }
}
