//! Taking in one extracted text, in whatever pieces it comes: cutting it into
//! lines, very long lines into overlapping parts, and very long texts over
//! several segments.

use crate::IndexError;
use crate::codec::char_boundary;
use crate::writer::IndexWriter;
use crate::writer::line_dictionary::Mark;
use crate::writer::manifest::Span;
use evidence::{Layer, Sha256};

/// **Units**: bytes. A longer line is stored in parts of this size.
pub(crate) const LINE_MAX: usize = 1 << 20;
/// **Units**: bytes that neighbouring parts share. What may match over more is
/// looked for in the line put together again.
const OVERLAP: usize = 64 << 10;
/// **Units**: bytes of context a part keeps before its own text, so that what
/// looks behind sees what was there.
const MARGIN: usize = 1 << 10;
/// **Units**: bytes of the longest match that is surely found in one part.
pub(crate) const REACH: usize = OVERLAP - MARGIN;

/// One extracted text on its way into the index.
pub(crate) struct OpenDocument {
    part: Option<Layer>,
    /// The line, or part of one, that has not ended yet.
    carry: String,
    /// The carry goes on from an earlier part of its line.
    continues: bool,
    /// Bytes and lines of this text in segments closed meanwhile.
    offset: u64,
    line: u64,
    ticket: Option<Sha256>,
    /// How many closed segments there were when this text began.
    closed_before: usize,
}

impl OpenDocument {
    pub(crate) fn begin(writer: &mut IndexWriter, part: Option<Layer>) -> Self {
        writer.open.begin();
        Self {
            closed_before: writer.closed.len(),
            part,
            carry: String::new(),
            continues: false,
            offset: 0,
            line: 0,
            ticket: None,
        }
    }

    /// Takes the next piece of the text, cut anywhere.
    ///
    /// **Errors**: where a full segment could not be written.
    pub(crate) fn text(&mut self, writer: &mut IndexWriter, text: &str) -> Result<(), IndexError> {
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', text.as_bytes()) {
            let line = &text[from..end];
            if self.carry.is_empty() && !self.continues && line.len() <= LINE_MAX {
                writer.open.line(line.as_bytes(), None);
                self.split_when_full(writer)?;
            } else {
                self.carry_on(writer, line)?;
                self.end_line(writer, true)?;
            }
            from = end + 1;
        }
        self.carry_on(writer, &text[from..])
    }

    /// Ends the text. Where this part of `content` is known already, it is
    /// taken back instead and `false` is returned.
    pub(crate) fn finish(
        mut self,
        writer: &mut IndexWriter,
        content: Sha256,
    ) -> Result<bool, IndexError> {
        if writer.holds_part(&content, &self.part) {
            self.take_back(writer);
            return Ok(false);
        }
        if !self.carry.is_empty() || self.continues {
            self.end_line(writer, false)?;
        }
        let part = self.part.take();
        writer
            .open
            .end(content, part.clone(), self.offset, self.line);
        if let Some(ticket) = self.ticket {
            writer.spans.push(Span { ticket, content });
        }
        writer.held.entry(content).or_default().push(part);
        Ok(true)
    }

    /// Takes the text back: nothing of it will be found.
    pub(crate) fn take_back(&self, writer: &mut IndexWriter) {
        writer.open.abandon();
        let closed = writer.closed.split_off(self.closed_before);
        for segment in closed {
            if segment.documents == 1 {
                writer.folder.remove(&segment.file_name());
            } else {
                writer.closed.push(segment);
            }
        }
    }

    fn carry_on(&mut self, writer: &mut IndexWriter, mut text: &str) -> Result<(), IndexError> {
        while self.carry.len() + text.len() > LINE_MAX {
            let room = LINE_MAX.saturating_sub(self.carry.len());
            let (head, rest) = text.split_at(char_boundary::floor(text, room));
            self.carry.push_str(head);
            text = rest;
            self.end_part(writer)?;
        }
        self.carry.push_str(text);
        Ok(())
    }

    fn end_part(&mut self, writer: &mut IndexWriter) -> Result<(), IndexError> {
        let next = char_boundary::floor(&self.carry, self.carry.len().saturating_sub(OVERLAP));
        let mark = Mark {
            own_start: self.own_start(),
            own_end: (next + MARGIN) as u32,
            first: !self.continues,
            last: false,
            terminated: false,
        };
        writer.open.line(self.carry.as_bytes(), Some(mark));
        self.carry.drain(..next);
        self.continues = true;
        self.split_when_full(writer)
    }

    fn end_line(&mut self, writer: &mut IndexWriter, terminated: bool) -> Result<(), IndexError> {
        let mark = Mark {
            own_start: self.own_start(),
            own_end: self.carry.len() as u32,
            first: !self.continues,
            last: true,
            terminated,
        };
        let usual = terminated && !self.continues;
        let mark = (!usual).then_some(mark);
        writer.open.line(self.carry.as_bytes(), mark);
        self.carry.clear();
        self.continues = false;
        self.split_when_full(writer)
    }

    fn own_start(&self) -> u32 {
        if self.continues { MARGIN as u32 } else { 0 }
    }

    /// A full segment is closed in the middle of the text, which goes on in
    /// the next one.
    fn split_when_full(&mut self, writer: &mut IndexWriter) -> Result<(), IndexError> {
        if !writer.is_full() {
            return Ok(());
        }
        let number = writer.next;
        let ticket = *self.ticket.get_or_insert_with(|| ticket(number));
        let part = self.part.clone();
        let (bytes, lines) = writer.open.end(ticket, part, self.offset, self.line);
        self.offset += bytes;
        self.line += lines;
        let closed = writer.close();
        writer.open.begin();
        closed
    }
}

/// Stands for a hash that is not known yet. Nobody finds bytes that hash to
/// this.
fn ticket(segment: u64) -> Sha256 {
    let mut ticket = [0u8; 32];
    ticket[..24].copy_from_slice(TICKET);
    ticket[24..].copy_from_slice(&segment.to_be_bytes());
    Sha256(ticket)
}

const TICKET: &[u8; 24] = b"afteraction ticket for  ";

pub(crate) fn is_ticket(name: &Sha256) -> bool {
    name.0.starts_with(TICKET)
}
