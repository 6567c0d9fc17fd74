//! Where the values of a transcript go.

use std::ops::ControlFlow;

use crate::transcript::{ERROR_KEYS, EXIT_KEYS, NAME_KEYS, OUTPUT_KEYS};
use crate::{DocumentHead, Sink, TextForm, TextPart, TranscriptFacts};
use evidence::{Problem, ProblemKind};

/// Text is handed on in pieces of about this size.
const PIECE_BYTES: usize = 64 << 10;

/// Longest script name kept; paths on Windows end far below.
const NAME_BYTES_MAX: usize = 4 << 10;

/// What is kept of keys this build does not know. Held in memory, for they
/// stand between the documents; the known documents have no such limit.
const OTHER_BYTES_MAX: usize = 4 << 20;

/// The first line holds a path with the GUID; beyond that it says nothing.
const FIRST_LINE_BYTES_MAX: usize = 4 << 10;

/// What a value is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Name,
    Exit,
    Text(TextPart),
    Other,
}

pub(crate) struct Values<'a> {
    sink: &'a mut dyn Sink,
    encoding: &'static str,
    facts: TranscriptFacts,
    /// Parts that have had their value.
    had: Vec<TextPart>,
    /// The document that is open.
    begun: Option<TextPart>,
    piece: String,
    small: String,
    first_line: Option<String>,
    other: String,
    other_cut: u64,
    written: bool,
}

impl<'a> Values<'a> {
    pub fn new(sink: &'a mut dyn Sink, encoding: &'static str) -> Self {
        Self {
            sink,
            encoding,
            facts: TranscriptFacts::default(),
            had: Vec::new(),
            begun: None,
            piece: String::with_capacity(PIECE_BYTES + PIECE_BYTES / 4),
            small: String::new(),
            first_line: Some(String::new()),
            other: String::new(),
            other_cut: 0,
            written: false,
        }
    }

    /// What the value of `key` is for. A second value of a kind goes where
    /// nothing is lost.
    pub fn target(&mut self, key: &str) -> Target {
        let part = if OUTPUT_KEYS.contains(&key) {
            TextPart::Output
        } else if ERROR_KEYS.contains(&key) {
            TextPart::Errors
        } else if NAME_KEYS.contains(&key) && self.facts.script_name.is_none() {
            return Target::Name;
        } else if EXIT_KEYS.contains(&key) && self.facts.exit_code.is_none() {
            return Target::Exit;
        } else {
            return Target::Other;
        };
        if self.had.contains(&part) {
            Target::Other
        } else {
            Target::Text(part)
        }
    }

    /// Begins a value.
    pub fn begin(&mut self, key: &str, target: Target) {
        self.small.clear();
        if target == Target::Other {
            self.push_other(key);
            self.push_other(": ");
        }
    }

    /// The next piece of the value.
    pub fn push(&mut self, target: Target, text: &str) -> ControlFlow<()> {
        match target {
            Target::Other => self.push_other(text),
            Target::Name | Target::Exit => push_bounded(&mut self.small, text, NAME_BYTES_MAX),
            Target::Text(part) => return self.push_text(part, text),
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
        if self.begun == Some(part) {
            return ControlFlow::Continue(());
        }
        self.begun = Some(part);
        self.had.push(part);
        self.written = true;
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
            self.settle_first_line();
        }
    }

    fn settle_first_line(&mut self) {
        if let Some(line) = self.first_line.take() {
            self.facts.transcript_id = find_transcript_id(&line);
        }
    }

    /// Text outside of every value.
    pub fn push_other(&mut self, text: &str) {
        let before = self.other.len();
        push_bounded(&mut self.other, text, OTHER_BYTES_MAX);
        self.other_cut += (text.len() - (self.other.len() - before)) as u64;
    }

    /// Ends a value; `is_text` tells a string from a number or a structure.
    pub fn end(&mut self, target: Target, is_text: bool) -> ControlFlow<()> {
        match target {
            Target::Name if is_text => self.facts.script_name = Some(self.small.clone()),
            Target::Exit => match self.small.trim().parse() {
                Ok(code) => self.facts.exit_code = Some(code),
                Err(_) => self.keep_odd("exit_code"),
            },
            Target::Name => self.keep_odd("script_name"),
            Target::Text(part) => {
                self.flush()?;
                if part == TextPart::Output {
                    self.settle_first_line();
                }
                if !self.had.contains(&part) {
                    self.had.push(part);
                }
                self.begun = None;
            }
            Target::Other => self.push_other("\n"),
        }
        ControlFlow::Continue(())
    }

    /// A value of the wrong type is searchable all the same.
    fn keep_odd(&mut self, key: &str) {
        if self.small.trim() != "null" {
            let line = format!("{key}: {}\n", self.small);
            self.push_other(&line);
        }
    }

    /// Everything is read.
    pub fn finish(&mut self) -> ControlFlow<()> {
        self.flush()?;
        self.settle_first_line();
        if !self
            .other
            .trim_matches(|c: char| c.is_whitespace() || c == '\0')
            .is_empty()
        {
            let other = std::mem::take(&mut self.other);
            self.open(TextPart::Other)?;
            self.sink.text(&other)?;
        }
        if !self.written {
            // a result always has a document, if an empty one
            self.open(TextPart::Output)?;
        }
        if self.other_cut > 0 {
            self.sink.problem(Problem::new(
                ProblemKind::LimitReached,
                format!(
                    "{} bytes of unknown keys beyond {OTHER_BYTES_MAX} (limit) are not read",
                    self.other_cut
                ),
            ));
        }
        self.sink.transcript(&self.facts);
        ControlFlow::Continue(())
    }

    pub fn problem(&mut self, kind: ProblemKind, message: String) {
        self.sink.problem(Problem::new(kind, message));
    }
}

/// Appends what fits, cut between characters.
fn push_bounded(to: &mut String, text: &str, max: usize) {
    let mut room = max.saturating_sub(to.len()).min(text.len());
    while !text.is_char_boundary(room) {
        room -= 1;
    }
    to.push_str(&text[..room]);
}

/// The GUID in `…\PSScript_Transcript_{GUID}.txt`. The sentence around it is
/// in the device's language, the file's name is not.
fn find_transcript_id(line: &str) -> Option<String> {
    const BEFORE: &str = "PSScript_Transcript_";
    let rest = &line[line.find(BEFORE)? + BEFORE.len()..];
    let rest = rest.strip_prefix('{').unwrap_or(rest);
    let id = rest.get(..36)?;
    let fits = id.bytes().enumerate().all(|(i, b)| match i {
        8 | 13 | 18 | 23 => b == b'-',
        _ => b.is_ascii_hexdigit(),
    });
    fits.then(|| id.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guid_is_found_in_any_language() {
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
