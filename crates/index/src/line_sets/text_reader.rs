//! The text of a content as it was taken in.

use std::collections::VecDeque;
use std::io::{self, Read};

use crate::IndexError;
use crate::search::searcher::Searcher;
use crate::search::verify::nth_line;
use evidence::{Layer, Sha256};

impl Searcher {
    /// The parts of a content that have text: none but itself for most,
    /// `output` and `errors` for a transcript.
    pub fn parts(&self, content: &Sha256) -> Result<Vec<Option<Layer>>, IndexError> {
        let mut parts = Vec::new();
        for (segment, document) in self.documents_of(content) {
            let part = self.segment(segment).document(document)?.part;
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
        Ok(parts)
    }

    /// The decoded text of a part of a content; empty where there is none.
    ///
    /// **Memory**: one chunk of lines and one frame.
    pub fn text(
        &self,
        content: &Sha256,
        part: Option<&Layer>,
    ) -> Result<TextReader<'_>, IndexError> {
        let mut chunks = VecDeque::new();
        for (segment, document) in self.documents_of(content) {
            let view = self.segment(segment).document(document)?;
            if view.part.as_ref() == part {
                let ids = self.segment(segment).document_chunks(&view)?;
                chunks.extend(ids.into_iter().map(|chunk| (segment, chunk)));
            }
        }
        Ok(TextReader {
            searcher: self,
            chunks,
            lines: VecDeque::new(),
            frame: None,
            pending: Vec::new(),
            read: 0,
        })
    }

    /// The text of stored lines, one behind the other.
    pub(crate) fn text_of_lines(&self, lines: &[(u32, u32)]) -> TextReader<'_> {
        TextReader {
            searcher: self,
            chunks: VecDeque::new(),
            lines: lines.iter().copied().collect(),
            frame: None,
            pending: Vec::new(),
            read: 0,
        }
    }
}

/// **Units**: bytes of lines decoded ahead, about.
const AHEAD: usize = 64 << 10;

/// Reads a text back from the lines it is made of.
pub struct TextReader<'a> {
    searcher: &'a Searcher,
    /// By segment; the lines before the chunks.
    chunks: VecDeque<(u32, u32)>,
    lines: VecDeque<(u32, u32)>,
    frame: Option<(u32, usize, String)>,
    pending: Vec<u8>,
    read: usize,
}

impl TextReader<'_> {
    fn fill(&mut self) -> Result<(), IndexError> {
        self.pending.clear();
        self.read = 0;
        if self.lines.is_empty()
            && let Some((number, chunk)) = self.chunks.pop_front()
        {
            let lines = self.searcher.segment(number).chunk_lines(chunk)?;
            self.lines
                .extend(lines.into_iter().map(|line| (number, line)));
        }
        while self.pending.len() < AHEAD
            && let Some((number, line)) = self.lines.pop_front()
        {
            self.push_line(number, line)?;
        }
        Ok(())
    }

    fn push_line(&mut self, number: u32, line: u32) -> Result<(), IndexError> {
        let segment = self.searcher.segment(number);
        let frame = segment.frame_of(line);
        if !matches!(&self.frame, Some((n, f, _)) if (*n, *f) == (number, frame)) {
            self.frame = Some((number, frame, segment.frame(frame)?));
        }
        let Some((_, _, text)) = &self.frame else {
            return Ok(());
        };
        let text = nth_line(text, line - segment.frame_start(frame)).as_bytes();
        let Some(mark) = segment.mark(line) else {
            self.pending.extend(text);
            return Ok(());
        };
        let own = text.get(mark.own_start as usize..mark.own_end as usize);
        let own = own.ok_or_else(|| segment.file().damaged("a part of a line ends too early"))?;
        self.pending.extend(own);
        if mark.terminated {
            self.pending.push(b'\n');
        }
        Ok(())
    }
}

impl Read for TextReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.read == self.pending.len() {
            if self.chunks.is_empty() && self.lines.is_empty() {
                return Ok(0);
            }
            self.fill().map_err(io::Error::other)?;
        }
        let len = out.len().min(self.pending.len() - self.read);
        out[..len].copy_from_slice(&self.pending[self.read..self.read + len]);
        self.read += len;
        Ok(len)
    }
}
