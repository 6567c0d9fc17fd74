//! Writes the texts that are extracted from one content to the index.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::Path;

use evidence::{Problem, ProblemKind, ResultKind, Sha256};
use extract::{ContentHint, DocumentHead, ExtractSettings, TranscriptFacts};
use index::IndexWriter;

use crate::app::decode_settings::layer_of;
use crate::app::error::Failure;
use crate::app::visit::{TextVisitor, extract_texts};

/// Problems of one member that are kept. The rest is counted in one more.
const MEMBER_PROBLEMS_MAX: usize = 100;

/// Result of an extraction, besides the text.
#[derive(Default)]
pub(super) struct Extraction {
    pub(super) problems: Vec<Problem>,
    pub(super) transcript: Option<TranscriptFacts>,
    /// **Units**: bytes of decoded text.
    pub(super) text_bytes: u64,
}

/// Writes the texts of one content to the index.
pub(super) struct TextSink<'a> {
    writer: &'a mut IndexWriter,
    content: Option<Sha256>,
    /// The text of the content is indexed already: only problems and facts are
    /// read.
    is_indexed: bool,
    /// The writer has an open document.
    is_writing: bool,
    /// Extraction stopped at a second part, because the hash of the content is
    /// not known yet.
    pub(super) has_more_parts: bool,
    extraction: Extraction,
    /// Problems that are not kept.
    more_problems: u64,
}

impl<'a> TextSink<'a> {
    pub(super) fn new(
        writer: &'a mut IndexWriter,
        content: Option<Sha256>,
        is_indexed: bool,
    ) -> Self {
        Self {
            writer,
            content,
            is_indexed,
            is_writing: false,
            has_more_parts: false,
            extraction: Extraction::default(),
            more_problems: 0,
        }
    }

    /// Extracts the texts of a content.
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
        extract_texts(archive, bytes, hint, settings, self)
    }

    /// Finishes the last document, once the hash of its content is known.
    pub(super) fn finish(&mut self, content: Sha256) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_writing) {
            self.writer.finish(content)?;
        }
        Ok(())
    }

    /// Ends the extraction. A document that is not finished is discarded.
    pub(super) fn into_extraction(mut self) -> Extraction {
        if self.is_writing {
            self.writer.abandon();
        }
        if self.more_problems > 0 {
            self.extraction.problems.push(Problem::new(
                ProblemKind::LimitReached,
                format!(
                    "{} more problems in this member, limit of {MEMBER_PROBLEMS_MAX} reached",
                    self.more_problems
                ),
            ));
        }
        self.extraction
    }

    fn finish_part(&mut self) -> Result<ControlFlow<()>, Failure> {
        if !std::mem::take(&mut self.is_writing) {
            return Ok(ControlFlow::Continue(()));
        }
        let Some(content) = self.content else {
            self.has_more_parts = true;
            self.writer.abandon();
            return Ok(ControlFlow::Break(()));
        };
        self.writer.finish(content)?;
        Ok(ControlFlow::Continue(()))
    }
}

impl TextVisitor for TextSink<'_> {
    fn document(&mut self, head: DocumentHead) -> Result<ControlFlow<()>, Failure> {
        if self.is_indexed {
            return Ok(ControlFlow::Continue(()));
        }
        if self.finish_part()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        self.writer.begin(layer_of(head.part));
        self.is_writing = true;
        Ok(ControlFlow::Continue(()))
    }

    fn text(&mut self, piece: &str) -> Result<ControlFlow<()>, Failure> {
        if self.is_writing {
            self.extraction.text_bytes += piece.len() as u64;
            self.writer.text(piece)?;
        }
        Ok(ControlFlow::Continue(()))
    }

    fn transcript(&mut self, facts: &TranscriptFacts) -> Result<(), Failure> {
        self.extraction.transcript = Some(facts.clone());
        Ok(())
    }

    fn problem(&mut self, problem: Problem) -> Result<(), Failure> {
        if self.extraction.problems.len() < MEMBER_PROBLEMS_MAX {
            self.extraction.problems.push(problem);
        } else {
            self.more_problems += 1;
        }
        Ok(())
    }
}
