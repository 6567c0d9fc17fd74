//! Distributes the values of a transcript: texts to the sink, name and exit
//! code to the metadata, everything else to the part `Other`.

use std::ops::ControlFlow;

use crate::sink::{DocumentHead, PIECE_BYTES, Sink, TextForm, TextPart, TranscriptFacts};
use crate::transcript::keys::{ERROR_KEYS, EXIT_KEYS, NAME_KEYS, OUTPUT_KEYS};
use evidence::{Problem, ProblemKind};

/// Longest script name kept. Paths on Windows are shorter.
const NAME_BYTES_MAX: usize = 4 << 10;

/// Longest text of unknown keys. It is held in memory, because unknown keys
/// occur between the documents; the documents have no limit.
const OTHER_BYTES_MAX: usize = 4 << 20;

/// Longest part of the first line searched for the GUID.
const FIRST_LINE_BYTES_MAX: usize = 4 << 10;

/// The destination of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ValueTarget {
    Name,
    ExitCode,
    Text(TextPart),
    Other,
}

pub(crate) struct TranscriptValues<'a> {
    sink: &'a mut dyn Sink,
    encoding: &'static str,
    facts: TranscriptFacts,
    /// Parts that already have their value.
    complete_parts: Vec<TextPart>,
    open_part: Option<TextPart>,
    piece: String,
    /// The current name or exit code.
    short_value: String,
    first_line: Option<String>,
    other: String,
    other_dropped_bytes: u64,
    has_document: bool,
}

impl<'a> TranscriptValues<'a> {
    pub fn new(sink: &'a mut dyn Sink, encoding: &'static str) -> Self {
        Self {
            sink,
            encoding,
            facts: TranscriptFacts::default(),
            complete_parts: Vec::new(),
            open_part: None,
            piece: String::with_capacity(PIECE_BYTES + PIECE_BYTES / 4),
            short_value: String::new(),
            first_line: Some(String::new()),
            other: String::new(),
            other_dropped_bytes: 0,
            has_document: false,
        }
    }

    /// The destination of the value of `key`. The second value of a part goes
    /// to `Other`.
    pub fn target(&mut self, key: &str) -> ValueTarget {
        let part = if OUTPUT_KEYS.contains(&key) {
            TextPart::Output
        } else if ERROR_KEYS.contains(&key) {
            TextPart::Errors
        } else if NAME_KEYS.contains(&key) && self.facts.script_name.is_none() {
            return ValueTarget::Name;
        } else if EXIT_KEYS.contains(&key) && self.facts.exit_code.is_none() {
            return ValueTarget::ExitCode;
        } else {
            return ValueTarget::Other;
        };
        if self.complete_parts.contains(&part) {
            ValueTarget::Other
        } else {
            ValueTarget::Text(part)
        }
    }

    /// Begins a value.
    pub fn begin(&mut self, key: &str, target: ValueTarget) {
        self.short_value.clear();
        if target == ValueTarget::Other {
            self.push_other(key);
            self.push_other(": ");
        }
    }

    /// Adds the next piece of the value.
    pub fn push(&mut self, target: ValueTarget, text: &str) -> ControlFlow<()> {
        match target {
            ValueTarget::Other => self.push_other(text),
            ValueTarget::Name | ValueTarget::ExitCode => {
                push_bounded(&mut self.short_value, text, NAME_BYTES_MAX);
            }
            ValueTarget::Text(part) => return self.push_text(part, text),
        }
        ControlFlow::Continue(())
    }

    fn push_text(&mut self, part: TextPart, text: &str) -> ControlFlow<()> {
        if text.is_empty() {
            return ControlFlow::Continue(());
        }
        self.open(part)?;
        if part == TextPart::Output {
            self.push_first_line(text);
        }
        self.piece.push_str(text);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        ControlFlow::Continue(())
    }

    fn open(&mut self, part: TextPart) -> ControlFlow<()> {
        if self.open_part == Some(part) {
            return ControlFlow::Continue(());
        }
        self.open_part = Some(part);
        self.complete_parts.push(part);
        self.has_document = true;
        self.sink.document(DocumentHead {
            part,
            encoding: self.encoding,
            form: TextForm::Transcript,
        })
    }

    fn flush(&mut self) -> ControlFlow<()> {
        if self.piece.is_empty() {
            return ControlFlow::Continue(());
        }
        let flow = self.sink.text(&self.piece);
        self.piece.clear();
        flow
    }

    fn push_first_line(&mut self, text: &str) {
        let Some(line) = &mut self.first_line else {
            return;
        };
        let end = text.find('\n');
        push_bounded(
            line,
            &text[..end.unwrap_or(text.len())],
            FIRST_LINE_BYTES_MAX,
        );
        if end.is_some() || line.len() >= FIRST_LINE_BYTES_MAX {
            self.finish_first_line();
        }
    }

    fn finish_first_line(&mut self) {
        if let Some(line) = self.first_line.take() {
            self.facts.transcript_id = find_transcript_id(&line);
        }
    }

    /// Adds text to the part `Other`.
    pub fn push_other(&mut self, text: &str) {
        let len_before = self.other.len();
        push_bounded(&mut self.other, text, OTHER_BYTES_MAX);
        self.other_dropped_bytes += (text.len() - (self.other.len() - len_before)) as u64;
    }

    /// Ends a value, which is a string or another JSON value.
    pub fn end(&mut self, target: ValueTarget, is_string: bool) -> ControlFlow<()> {
        match target {
            ValueTarget::Name if is_string => {
                self.facts.script_name = Some(self.short_value.clone());
            }
            ValueTarget::ExitCode => match self.short_value.trim().parse() {
                Ok(code) => self.facts.exit_code = Some(code),
                Err(_) => self.keep_as_other("exit_code"),
            },
            ValueTarget::Name => self.keep_as_other("script_name"),
            ValueTarget::Text(part) => {
                self.flush()?;
                if part == TextPart::Output {
                    self.finish_first_line();
                }
                if !self.complete_parts.contains(&part) {
                    self.complete_parts.push(part);
                }
                self.open_part = None;
            }
            ValueTarget::Other => self.push_other("\n"),
        }
        ControlFlow::Continue(())
    }

    /// Keeps a value of the wrong type searchable.
    fn keep_as_other(&mut self, key: &str) {
        if self.short_value.trim() != "null" {
            let line = format!("{key}: {}\n", self.short_value);
            self.push_other(&line);
        }
    }

    /// Ends the transcript.
    pub fn finish(&mut self) -> ControlFlow<()> {
        self.flush()?;
        self.finish_first_line();
        let is_blank = |c: char| c.is_whitespace() || c == '\0';
        if !self.other.chars().all(is_blank) {
            let other = std::mem::take(&mut self.other);
            self.open(TextPart::Other)?;
            self.sink.text(&other)?;
        }
        if !self.has_document {
            // Every result has a document; this one is empty.
            self.open(TextPart::Output)?;
        }
        if self.other_dropped_bytes > 0 {
            self.problem(
                ProblemKind::LimitReached,
                format!(
                    "{} bytes of unknown keys not read, limit of {} MiB reached",
                    self.other_dropped_bytes,
                    OTHER_BYTES_MAX >> 20
                ),
            );
        }
        self.sink.transcript(&self.facts);
        ControlFlow::Continue(())
    }

    pub fn problem(&mut self, kind: ProblemKind, message: String) {
        self.sink.problem(Problem::new(kind, message));
    }
}

/// Appends `text` up to a length of `max`, cut between characters.
fn push_bounded(to: &mut String, text: &str, max: usize) {
    let end = text.floor_char_boundary(max.saturating_sub(to.len()));
    to.push_str(&text[..end]);
}

/// The GUID in `…\PSScript_Transcript_{GUID}.txt`. The sentence around the path
/// is in the language of the device.
fn find_transcript_id(line: &str) -> Option<String> {
    const PREFIX: &str = "PSScript_Transcript_";
    let rest = &line[line.find(PREFIX)? + PREFIX.len()..];
    let id = rest.strip_prefix('{').unwrap_or(rest).get(..36)?;
    let is_guid = id.bytes().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => b == b'-',
        _ => b.is_ascii_hexdigit(),
    });
    is_guid.then(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transcript_id_is_found_in_any_language() {
        let id = Some("0f0f0f0f-1234-5678-9abc-def012345678".to_string());
        for line in [
            r"Transcript started, output file is C:\T\PSScript_Transcript_{0F0F0F0F-1234-5678-9abc-def012345678}.txt",
            r"Aufzeichnung gestartet: C:\T\PSScript_Transcript_0f0f0f0f-1234-5678-9abc-def012345678.txt",
        ] {
            assert_eq!(find_transcript_id(line), id);
        }
        assert_eq!(
            find_transcript_id("PSScript_Transcript_{TRANSCRIPT_ID}.txt"),
            None
        );
    }
}
