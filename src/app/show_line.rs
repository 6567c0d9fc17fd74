//! Shows one line of a result or member again: the original bytes are read,
//! checked by hash and decoded; the index is not used. Lines and offsets are
//! those of hits.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;

use evidence::{Layer, Locator, Problem};
use extract::{ContentHint, DocumentHead, TranscriptFacts};
use index::TEXT_MAX;

use crate::app::decode_settings::layer_of;
use crate::app::error::{Failure, FailureKind};
use crate::app::session::ArchiveSession;
use crate::app::show::OpenResult;
use crate::app::visit::{TextVisitor, extract_texts};

/// The line to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineTarget {
    /// By its number, from 1.
    Line(u64),
    /// The line that contains this byte of the decoded text (UTF-8), from 0.
    Offset(u64),
}

/// Output of [`show_at`]. Lines come in pieces, because a line can be as long
/// as a text.
pub trait LineOutput {
    /// Called first, with the number of the line, and the requested offset or
    /// that of its first byte.
    fn found(&mut self, number: u64, offset: u64) -> io::Result<()>;
    /// Begins a line. `cut`: its beginning is not shown.
    fn begin(&mut self, is_target: bool, cut: bool) -> io::Result<()>;
    /// A piece of the line, without the line feed.
    fn text(&mut self, piece: &str) -> io::Result<()>;
    /// Ends a line. `terminated`: by a line feed. `cut`: its end is not shown.
    fn end(&mut self, terminated: bool, cut: bool) -> io::Result<()>;
    /// Must be kept apart from the evidence.
    fn problem(&mut self, place: &str, message: &str) -> io::Result<()>;
}

/// **Units**: bytes of a context line that are shown, and of the beginning of a
/// line that are kept until the target is reached: as much as a hit shows.
const LINE_BYTES_MAX: usize = TEXT_MAX;
/// **Units**: bytes before an offset that are shown of a longer line.
const BEFORE_BYTES: usize = 16 << 10;
/// **Units**: bytes after an offset that are shown of a longer line.
const AFTER_BYTES: u64 = 48 << 10;

/// Shows one line of a result or member, with context lines.
///
/// **Errors**: `NotFound` if the text ends before the target.
/// **Memory**: 64 KiB for each context line.
pub fn show_at(
    session: &ArchiveSession,
    reference: &Locator,
    target: LineTarget,
    context: u32,
    out: &mut dyn LineOutput,
) -> Result<(), Failure> {
    let result = OpenResult::open(session, reference)?;
    let (layers, part) = result.split_part()?;
    let mut seeker = LineSeeker::new(target, context as usize, part, out);
    let ((), problems) = result.open_member(&layers, |member, bytes| {
        let hint = ContentHint {
            name: Some(member.name),
            kind: result.kind(),
        };
        extract_texts(
            result.archive,
            bytes,
            hint,
            result.settings.extract,
            &mut seeker,
        )
    })?;
    seeker.finish(reference)?;
    let LineSeeker {
        out,
        problems: hiding,
        ..
    } = seeker;
    let place = reference.to_string();
    for problem in hiding.iter().chain(&problems) {
        out.problem(&place, &problem.message)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SeekState {
    /// Before the target line.
    Before,
    /// In the target line.
    Target,
    /// After the target line, with this number of lines to show.
    After(usize),
    Done,
}

/// Counts lines and bytes of a text until it reaches the target.
struct LineSeeker<'v> {
    target: LineTarget,
    context: usize,
    only: Option<Layer>,
    out: &'v mut dyn LineOutput,
    state: SeekState,
    /// In the text that was requested.
    is_inside: bool,
    /// The member is a transcript with parts, and no part was requested.
    has_parts: bool,
    /// Number of the current line, from 1.
    line: u64,
    /// Offset of its first byte.
    start: u64,
    /// Offset of the next byte to come.
    next: u64,
    /// The beginning of the current line.
    head: String,
    /// The last bytes of the current line.
    tail: String,
    before: VecDeque<ContextLine>,
    /// A piece of the current line was not shown.
    is_cut: bool,
    /// Problems that hide text.
    problems: Vec<Problem>,
}

/// A line that may become context of the target.
struct ContextLine {
    text: String,
    cut: bool,
}

impl<'v> LineSeeker<'v> {
    fn new(
        target: LineTarget,
        context: usize,
        only: Option<Layer>,
        out: &'v mut dyn LineOutput,
    ) -> Self {
        Self {
            target,
            context,
            only,
            out,
            state: SeekState::Before,
            is_inside: false,
            has_parts: false,
            line: 1,
            start: 0,
            next: 0,
            head: String::new(),
            tail: String::new(),
            before: VecDeque::new(),
            is_cut: false,
            problems: Vec::new(),
        }
    }

    /// Ends the text, and reports a target that was not reached.
    fn finish(&mut self, reference: &Locator) -> Result<(), Failure> {
        self.end_text()?;
        if self.state != SeekState::Before {
            Ok(())
        } else if self.has_parts {
            Err(
                Failure::usage(format!("{reference} is a transcript with several texts"))
                    .hint(format!("use {reference}!output or {reference}!errors")),
            )
        } else {
            Err(self.not_found(reference))
        }
    }

    fn not_found(&self, reference: &Locator) -> Failure {
        let target = match self.target {
            LineTarget::Line(line) => format!("line {line}"),
            LineTarget::Offset(offset) => format!("offset {offset}"),
        };
        let lines = self.line - u64::from(self.next == self.start);
        let (bytes, s) = (self.next, if lines == 1 { "" } else { "s" });
        Failure::new(
            FailureKind::NotFound,
            format!(
                "{reference} has no {target}: its text ends after {lines} line{s}, {bytes} bytes"
            ),
        )
        .hint(
            "lines count from 1, offsets from 0 in the text as UTF-8; `show` lists the members of a container, which have their own texts",
        )
    }

    /// Adds a piece of the current line, with its line feed.
    fn add(&mut self, piece: &str) -> io::Result<()> {
        let end = self.next + piece.len() as u64;
        match self.state {
            SeekState::Before => {
                let target = match self.target {
                    LineTarget::Line(line) => (self.line == line).then_some(0),
                    LineTarget::Offset(offset) => (offset < end).then(|| offset - self.next),
                };
                let Some(at) = target.and_then(|at| usize::try_from(at).ok()) else {
                    self.keep(piece);
                    return self.advance(piece, end);
                };
                let (before, rest) = piece.split_at(piece.floor_char_boundary(at));
                self.keep(before);
                self.next += before.len() as u64;
                self.begin_target()?;
                self.show(rest)?;
            }
            SeekState::Target => self.show(piece)?,
            SeekState::After(_) => {
                if self.next == self.start {
                    self.out.begin(false, false)?;
                }
                self.show(piece)?;
            }
            SeekState::Done => return Ok(()),
        }
        self.advance(piece, end)
    }

    fn advance(&mut self, piece: &str, end: u64) -> io::Result<()> {
        self.next = end;
        if piece.ends_with('\n') {
            self.end_line(true)?;
        }
        Ok(())
    }

    /// Shows the context before the target, and the kept part of its line.
    fn begin_target(&mut self) -> io::Result<()> {
        let offset = match self.target {
            LineTarget::Line(_) => self.start,
            LineTarget::Offset(offset) => offset,
        };
        self.out.found(self.line, offset)?;
        for line in std::mem::take(&mut self.before) {
            self.out.begin(false, false)?;
            self.out.text(&line.text)?;
            self.out.end(true, line.cut)?;
        }
        let is_whole = self.head.len() as u64 == self.next - self.start;
        self.out.begin(true, !is_whole)?;
        let kept = if is_whole {
            &self.head
        } else {
            let from = self.tail.len().saturating_sub(BEFORE_BYTES);
            &self.tail[self.tail.ceil_char_boundary(from)..]
        };
        self.out.text(kept)?;
        self.state = SeekState::Target;
        Ok(())
    }

    /// The offset up to which the current line is shown; `None` for its end.
    fn shown_to(&self) -> Option<u64> {
        match (self.state, self.target) {
            (SeekState::Target, LineTarget::Line(_)) => None,
            // A line that hits show whole is shown whole here, too.
            (SeekState::Target, LineTarget::Offset(offset)) => {
                let whole = self.start + LINE_BYTES_MAX as u64;
                Some(offset.saturating_add(AFTER_BYTES).max(whole))
            }
            _ => Some(self.start + LINE_BYTES_MAX as u64),
        }
    }

    fn show(&mut self, piece: &str) -> io::Result<()> {
        let text = piece.strip_suffix('\n').unwrap_or(piece);
        let left = self.shown_to().map_or(usize::MAX, |to| {
            usize::try_from(to.saturating_sub(self.next)).unwrap_or(usize::MAX)
        });
        let shown = &text[..text.floor_char_boundary(left)];
        self.is_cut |= shown.len() < text.len();
        self.out.text(shown)
    }

    fn keep(&mut self, piece: &str) {
        let text = piece.strip_suffix('\n').unwrap_or(piece);
        let is_whole = self.head.len() as u64 == self.next - self.start;
        if is_whole {
            let left = LINE_BYTES_MAX.saturating_sub(self.head.len());
            self.head.push_str(&text[..text.floor_char_boundary(left)]);
        }
        if matches!(self.target, LineTarget::Offset(_)) {
            self.tail.push_str(text);
            if self.tail.len() > LINE_BYTES_MAX {
                let from = self.tail.len() - BEFORE_BYTES;
                self.tail.drain(..self.tail.ceil_char_boundary(from));
            }
        }
    }

    fn end_line(&mut self, terminated: bool) -> io::Result<()> {
        match self.state {
            SeekState::Before => {
                let len = self.next - self.start - u64::from(terminated);
                let text = std::mem::take(&mut self.head);
                let cut = (text.len() as u64) < len;
                if self.context > 0 {
                    self.before.push_back(ContextLine { text, cut });
                }
                if self.before.len() > self.context {
                    self.before.pop_front();
                }
                self.tail.clear();
            }
            SeekState::Target => {
                self.out.end(terminated, self.is_cut)?;
                self.state = match self.context {
                    0 => SeekState::Done,
                    more => SeekState::After(more),
                };
            }
            SeekState::After(left) => {
                self.out.end(terminated, self.is_cut)?;
                self.state = match left {
                    0 | 1 => SeekState::Done,
                    more => SeekState::After(more - 1),
                };
            }
            SeekState::Done => {}
        }
        self.line += 1;
        self.start = self.next;
        self.is_cut = false;
        Ok(())
    }

    /// Ends the text. Its last line may have no line feed, and the target may
    /// be its end, as that of an empty match. An empty text has one empty line.
    fn end_text(&mut self) -> io::Result<()> {
        self.is_inside = false;
        let is_open = self.next > self.start || self.next == 0;
        let is_target = match self.target {
            LineTarget::Line(line) => line == self.line && self.next == 0,
            LineTarget::Offset(offset) => offset == self.next,
        };
        if self.state == SeekState::Before && !self.has_parts && is_open && is_target {
            self.begin_target()?;
        }
        match self.state {
            SeekState::Target => self.end_line(false),
            SeekState::After(_) if self.next > self.start => self.end_line(false),
            _ => Ok(()),
        }
    }
}

impl TextVisitor for LineSeeker<'_> {
    fn document(&mut self, head: DocumentHead) -> Result<ControlFlow<()>, Failure> {
        if self.is_inside {
            self.end_text()?;
            return Ok(ControlFlow::Break(()));
        }
        let layer = layer_of(head.part);
        self.is_inside = self.only == layer;
        if self.only.is_none() && layer.is_some() {
            self.has_parts = true;
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn text(&mut self, piece: &str) -> Result<ControlFlow<()>, Failure> {
        if !self.is_inside {
            return Ok(ControlFlow::Continue(()));
        }
        for line in piece.split_inclusive('\n') {
            self.add(line)?;
            if self.state == SeekState::Done {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn transcript(&mut self, _: &TranscriptFacts) -> Result<(), Failure> {
        Ok(())
    }

    /// Keeps problems that hide text; the others are about the whole document.
    fn problem(&mut self, problem: Problem) -> Result<(), Failure> {
        if problem.kind.hides_text() {
            self.problems.push(problem);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::ResultKind;

    #[derive(Default)]
    struct ShownLines {
        at: Option<(u64, u64)>,
        lines: Vec<(bool, String)>,
        cut: bool,
    }

    impl LineOutput for ShownLines {
        fn found(&mut self, number: u64, offset: u64) -> io::Result<()> {
            self.at = Some((number, offset));
            Ok(())
        }

        fn begin(&mut self, is_target: bool, cut: bool) -> io::Result<()> {
            self.lines.push((is_target, String::new()));
            self.cut |= cut;
            Ok(())
        }

        fn text(&mut self, piece: &str) -> io::Result<()> {
            if let Some((_, line)) = self.lines.last_mut() {
                line.push_str(piece);
            }
            Ok(())
        }

        fn end(&mut self, terminated: bool, cut: bool) -> io::Result<()> {
            self.cut |= cut;
            self.text(if terminated { "\n" } else { "" })
        }

        fn problem(&mut self, _: &str, _: &str) -> io::Result<()> {
            Ok(())
        }
    }

    fn seek(text: &str, at: LineTarget, context: usize) -> Result<ShownLines, String> {
        let mut shown = ShownLines::default();
        let mut seeker = LineSeeker::new(at, context, None, &mut shown);
        let hint = ContentHint {
            name: None,
            kind: ResultKind::File,
        };
        let settings = extract::ExtractSettings::default();
        extract_texts(
            std::path::Path::new("."),
            &mut text.as_bytes(),
            hint,
            settings,
            &mut seeker,
        )
        .unwrap();
        let key = "5382f7ea-7557-4ab7-9782-d50480024a4e/3".parse().unwrap();
        seeker.finish(&key).map_err(|e| e.chain())?;
        Ok(shown)
    }

    fn wanted(shown: &ShownLines) -> &str {
        &shown.lines.iter().find(|line| line.0).unwrap().1
    }

    #[test]
    fn every_offset_leads_to_its_line() {
        for text in ["one\r\ntwo\n\nthrée ✓", "a\n", "a", "\n\nx\n"] {
            let mut start = 0;
            for (n, line) in text.split_inclusive('\n').enumerate() {
                let number = n as u64 + 1;
                let shown = seek(text, LineTarget::Line(number), 0).unwrap();
                assert_eq!((wanted(&shown), shown.at), (line, Some((number, start))));
                for offset in start..start + line.len() as u64 {
                    let shown = seek(text, LineTarget::Offset(offset), 0).unwrap();
                    assert_eq!((wanted(&shown), shown.at), (line, Some((number, offset))));
                }
                start += line.len() as u64;
            }
            let lines = text.split_inclusive('\n').count() as u64;
            let error = seek(text, LineTarget::Line(lines + 1), 0).err().unwrap();
            let ending = format!("after {lines} line");
            assert!(
                error.contains(&ending) && error.contains(&format!("{start} bytes")),
                "{error}"
            );
            assert!(seek(text, LineTarget::Offset(start + 1), 0).is_err());
            // An empty match can be after the last character.
            assert_eq!(
                seek(text, LineTarget::Offset(start), 0).is_ok(),
                !text.ends_with('\n')
            );
        }
        assert_eq!(wanted(&seek("", LineTarget::Line(1), 2).unwrap()), "");
        assert!(seek("", LineTarget::Line(2), 0).is_err());
    }

    #[test]
    fn context_contains_the_neighbouring_lines() {
        let text = "1\n2\n3\n4\n5\n6";
        let shown = seek(text, LineTarget::Line(3), 2).unwrap();
        let lines: String = shown.lines.iter().map(|line| line.1.as_str()).collect();
        assert_eq!((lines.as_str(), wanted(&shown)), ("1\n2\n3\n4\n5\n", "3\n"));
        let shown = seek(text, LineTarget::Offset(10), 1).unwrap();
        let lines: String = shown.lines.iter().map(|line| line.1.as_str()).collect();
        assert_eq!(lines, "5\n6");
    }

    #[test]
    fn long_line_is_whole_by_number_and_a_window_by_offset() {
        let text = format!(
            "x\n{}needle{}\ny\n",
            "é".repeat(200_000),
            "z".repeat(200_000)
        );
        let shown = seek(&text, LineTarget::Line(2), 1).unwrap();
        assert_eq!(wanted(&shown).len(), 600_007);
        let at = text.find("needle").unwrap() as u64;
        let shown = seek(&text, LineTarget::Offset(at), 1).unwrap();
        assert!(shown.cut && wanted(&shown).contains("éneedlez"));
        assert!(wanted(&shown).len() <= BEFORE_BYTES + AFTER_BYTES as usize + 1);
        let shown = seek(&text, LineTarget::Line(3), 1).unwrap();
        assert!(shown.cut && shown.lines[0].1.len() <= LINE_BYTES_MAX + 1);
    }
}
