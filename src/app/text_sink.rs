//! The sink that writes extracted text to the index, and extraction with
//! scratch files of the archive.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use evidence::{Problem, ProblemKind, ResultKind, Sha256};
use extract;
use extract::{ContentHint, DocumentHead, ExtractSettings, Input, Sink, TranscriptFacts};
use index::{IndexError, IndexWriter};

use crate::app::decode_settings::{layer_of, scratch_factory};
use crate::app::error::Failure;

/// Extracts the text of `bytes`. Formats that need seeking use scratch files
/// in the archive if they do not fit in memory.
pub(super) fn extract_text(
    archive: &Path,
    bytes: &mut dyn Read,
    hint: ContentHint<'_>,
    settings: ExtractSettings,
    sink: &mut dyn Sink,
) -> io::Result<()> {
    let mut scratch = scratch_factory(archive);
    extract::extract(
        Input::new(bytes, hint, settings).with_scratch(&mut scratch),
        sink,
    )
}

/// What an extraction brought besides text.
pub(super) struct Found {
    pub(super) problems: Vec<Problem>,
    pub(super) transcript: Option<TranscriptFacts>,
    /// **Units**: bytes of decoded text.
    pub(super) text_bytes: u64,
}

/// Problems of one member kept; the rest is counted in one more.
const MEMBER_PROBLEMS_MAX: usize = 100;

/// Writes the texts of one content to the index. Event records become lines of
/// their document (the default of [`Sink::record`]).
pub(super) struct TextSink<'a> {
    writer: &'a mut IndexWriter,
    content: Option<Sha256>,
    /// The content's text is in the index: only its facts are wanted.
    known: bool,
    /// A document is open in the writer.
    writing: bool,
    /// Stopped at a second part, since the content has no name yet.
    pub(super) has_more_parts: bool,
    found: Found,
    /// Problems beyond those kept.
    uncounted: u64,
    failed: Option<IndexError>,
}

impl<'a> TextSink<'a> {
    pub(super) fn new(writer: &'a mut IndexWriter, content: Option<Sha256>, known: bool) -> Self {
        Self {
            writer,
            content,
            known,
            writing: false,
            has_more_parts: false,
            found: Found {
                problems: Vec::new(),
                transcript: None,
                text_bytes: 0,
            },
            uncounted: 0,
            failed: None,
        }
    }

    pub(super) fn read(
        &mut self,
        archive: &Path,
        bytes: &mut dyn Read,
        name: &str,
        kind: ResultKind,
        settings: ExtractSettings,
    ) -> Result<(), Failure> {
        let hint = ContentHint {
            name: Some(name),
            kind,
        };
        extract_text(archive, bytes, hint, settings, self)?;
        match self.failed.take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Ends the last document, now that its content is known.
    pub(super) fn end(&mut self, content: Sha256) -> Result<(), Failure> {
        if std::mem::take(&mut self.writing) {
            self.writer.finish(content)?;
        }
        Ok(())
    }

    pub(super) fn into_found(mut self) -> Found {
        if self.writing {
            self.writer.abandon();
        }
        if self.uncounted > 0 {
            self.found.problems.push(Problem::new(
                ProblemKind::LimitReached,
                format!(
                    "{} more problems in this member; {MEMBER_PROBLEMS_MAX} are listed",
                    self.uncounted
                ),
            ));
        }
        self.found
    }

    fn end_part(&mut self) -> Result<ControlFlow<()>, IndexError> {
        if !std::mem::take(&mut self.writing) {
            return Ok(ControlFlow::Continue(()));
        }
        match self.content {
            Some(content) => {
                self.writer.finish(content)?;
                Ok(ControlFlow::Continue(()))
            }
            None => {
                self.has_more_parts = true;
                self.writer.abandon();
                Ok(ControlFlow::Break(()))
            }
        }
    }

    fn or_stop<T>(&mut self, done: Result<T, IndexError>) -> ControlFlow<(), T> {
        match done {
            Ok(value) => ControlFlow::Continue(value),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl Sink for TextSink<'_> {
    fn document(&mut self, head: DocumentHead) -> ControlFlow<()> {
        if self.known {
            return ControlFlow::Continue(());
        }
        let ended = self.end_part();
        self.or_stop(ended)??;
        self.writer.begin(layer_of(head.part));
        self.writing = true;
        ControlFlow::Continue(())
    }

    fn text(&mut self, piece: &str) -> ControlFlow<()> {
        if !self.writing {
            return ControlFlow::Continue(());
        }
        self.found.text_bytes += piece.len() as u64;
        let taken = self.writer.text(piece);
        self.or_stop(taken)
    }

    fn transcript(&mut self, facts: &TranscriptFacts) {
        self.found.transcript = Some(facts.clone());
    }

    fn problem(&mut self, problem: Problem) {
        if self.found.problems.len() < MEMBER_PROBLEMS_MAX {
            self.found.problems.push(problem);
        } else {
            self.uncounted += 1;
        }
    }
}
