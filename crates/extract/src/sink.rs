//! The output of an extraction: documents of text, event records, transcript
//! metadata and problems.

use std::ops::ControlFlow;

use crate::fields::{FieldName, FieldValue};
use evidence::{Problem, Time};

/// Extractors write text in pieces of about this size.
pub(crate) const PIECE_BYTES: usize = 64 << 10;

/// Receives the output of an extraction.
///
/// A document is a head, followed by its text in order. It ends with the next
/// head, or with the extraction. `Break` ends the extraction without an error.
pub trait Sink {
    /// Begins a document. Each part occurs at most once.
    fn document(&mut self, head: DocumentHead) -> ControlFlow<()>;

    /// The next piece of the document, split between any two characters.
    fn text(&mut self, piece: &str) -> ControlFlow<()>;

    /// The next event record of the document.
    ///
    /// By default, the text of the record becomes lines of the document, so
    /// that a sink for text needs no code for records.
    fn record(&mut self, record: &EventRecord) -> ControlFlow<()> {
        self.text(&record.text)?;
        if record.text.ends_with('\n') {
            return ControlFlow::Continue(());
        }
        self.text("\n")
    }

    /// The metadata of a transcript. Called once, at its end.
    fn transcript(&mut self, facts: &TranscriptFacts);

    fn problem(&mut self, problem: Problem);
}

/// The role of a document in its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextPart {
    /// The whole text.
    Whole,
    /// The output of a transcript's script.
    Output,
    /// The error output of a transcript's script.
    Errors,
    /// Of a transcript: unknown keys, repeated keys, data after its end. Of any
    /// text: single-byte words that the decoding consumed.
    Other,
}

/// The kind of text in a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextForm {
    Text,
    /// Printable strings of binary data, one per line.
    Strings,
    /// An unescaped value of a transcript.
    Transcript,
    /// The text of event records, one or more lines each.
    Records,
}

/// The description of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DocumentHead {
    pub part: TextPart,
    /// Name of the encoding of the bytes.
    pub encoding: &'static str,
    pub form: TextForm,
}

/// The metadata in a transcript.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TranscriptFacts {
    pub script_name: Option<String>,
    pub exit_code: Option<i64>,
    /// The GUID in the first line of the output. It is also part of the name
    /// of the script's transcript file on the device.
    pub transcript_id: Option<String>,
}

/// One row of an artifact: an event, a registry value, a run of a program.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    pub time: Option<(Time, TimeMeaning)>,
    /// Typed values. A name may occur more than once.
    pub fields: Vec<(FieldName, FieldValue)>,
    /// Everything of the record that a search should find, in one or more
    /// lines. It includes the searchable fields.
    pub text: String,
    pub position: RecordPosition,
}

impl EventRecord {
    pub fn new(position: RecordPosition, text: impl Into<String>) -> Self {
        Self {
            time: None,
            fields: Vec::new(),
            text: text.into(),
            position,
        }
    }

    /// Adds a field. The value must have the type of the field in
    /// [`FIELDS`](crate::FIELDS).
    pub fn add_field(&mut self, name: FieldName, value: FieldValue) {
        debug_assert_eq!(name.field_type(), value.field_type(), "{name}");
        self.fields.push((name, value));
    }
}

/// The position of a record in the input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RecordPosition {
    /// Zero-based, in the order of extraction.
    pub number: u64,
    /// **Units**: bytes from the start of the input to the record.
    pub offset: u64,
}

/// The event that a record's time belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TimeMeaning {
    /// The event itself happened.
    Event,
    /// An object was created.
    Creation,
    /// The content of an object was changed.
    Modification,
    /// An object was read.
    Access,
    /// The metadata of an object was changed.
    MetadataChange,
    /// An object was deleted.
    Deletion,
    /// A program was started.
    Execution,
}

impl TimeMeaning {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Creation => "creation",
            Self::Modification => "modification",
            Self::Access => "access",
            Self::MetadataChange => "metadata-change",
            Self::Deletion => "deletion",
            Self::Execution => "execution",
        }
    }
}
