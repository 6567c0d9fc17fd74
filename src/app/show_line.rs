//! From a place back to its line: the original bytes read again, checked by
//! hash, and decoded anew, not taken from the index. Lines and offsets count
//! as in hits.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;

use evidence::{Layer, Locator, Problem};
use extract;
use extract::{DocumentHead, Sink, TranscriptFacts};
use index::TEXT_MAX;

use crate::app::decode_settings::layer_of;
use crate::app::error::{Failure, FailureKind};
use crate::app::session::ArchiveSession;
use crate::app::show::Shown;
use crate::app::text_sink::extract_text;

/// Which line of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// From 1.
    Line(u64),
    /// The line that holds this byte of the decoded text (UTF-8), from 0.
    Offset(u64),
}

/// Where the lines go, in pieces: a line may be as long as a text.
pub trait Lines {
    /// Comes first: the line that was asked for, and the offset that was, or
    /// that of its first byte.
    fn found(&mut self, number: u64, offset: u64) -> io::Result<()>;
    /// A line begins; `cut`: not at its own beginning.
    fn begin(&mut self, is_wanted: bool, cut: bool) -> io::Result<()>;
    /// Without the line feed.
    fn text(&mut self, piece: &str) -> io::Result<()>;
    /// `ended`: by a line feed. `cut`: before its end.
    fn end(&mut self, ended: bool, cut: bool) -> io::Result<()>;
    /// No part of the evidence: must stay apart from it.
    fn problem(&mut self, place: &str, message: &str) -> io::Result<()>;
}

/// **Units**: bytes of a line of context, and of what is kept of a line before
/// an offset in it is reached: what a hit shows of a line.
const LINE_BYTES_MAX: usize = TEXT_MAX;
/// **Units**: bytes before an offset that are shown of a longer line.
const BEFORE_BYTES: usize = 16 << 10;
/// **Units**: bytes behind an offset that are shown.
const AFTER_BYTES: u64 = 48 << 10;

/// Shows one line of a result or member again, with lines around it.
///
/// **Errors**: `NotThere` where the text ends before the place.
/// **Memory**: 64 KiB for each line of context.
pub fn show_at(
    session: &ArchiveSession,
    reference: &Locator,
    at: At,
    context: u32,
    lines: &mut dyn Lines,
) -> Result<(), Failure> {
    let shown = Shown::open(session, reference)?;
    let (layers, part) = shown.split_part()?;
    let mut seeker = Seeker::new(at, context as usize, part, lines);
    let mut read = Ok(());
    let problems = shown.open_member(&layers, &mut |member, bytes| {
        let hint = extract::ContentHint {
            name: Some(member.name),
            kind: shown.kind(),
        };
        read = extract_text(
            shown.archive,
            bytes,
            hint,
            shown.settings.extract,
            &mut seeker,
        );
    })?;
    read?;
    seeker.end(reference)?;
    let Seeker { lines, told, .. } = seeker;
    let place = reference.to_string();
    for problem in told.iter().chain(&problems) {
        lines.problem(&place, &problem.message)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Seeking,
    /// In the line that was asked for.
    Wanted,
    /// Behind it, with so many lines to show.
    After(usize),
    Done,
}

/// Counts lines and bytes until it comes to the place.
struct Seeker<'v> {
    at: At,
    context: usize,
    only: Option<Layer>,
    lines: &'v mut dyn Lines,
    state: State,
    /// Within the text that is meant.
    inside: bool,
    /// A part of a transcript came and none was named.
    parts: bool,
    /// The line at hand, from 1.
    line: u64,
    /// Offsets of its first byte, and of the next byte to come.
    start: u64,
    next: u64,
    /// Its beginning, and what came of it last.
    head: String,
    tail: String,
    before: VecDeque<Kept>,
    /// Something of the line at hand was not shown.
    cut: bool,
    told: Vec<Problem>,
    failed: Option<io::Error>,
}

/// The last border of a character at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// The first border of a character at or behind `at`.
fn ceil(text: &str, at: usize) -> usize {
    (at..text.len())
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(text.len())
}

/// A line that may become context.
struct Kept {
    text: String,
    cut: bool,
}

impl<'v> Seeker<'v> {
    fn new(at: At, context: usize, only: Option<Layer>, lines: &'v mut dyn Lines) -> Self {
        Self {
            at,
            context,
            only,
            lines,
            state: State::Seeking,
            inside: false,
            parts: false,
            line: 1,
            start: 0,
            next: 0,
            head: String::new(),
            tail: String::new(),
            before: VecDeque::new(),
            cut: false,
            told: Vec::new(),
            failed: None,
        }
    }

    /// Ends the text, and says where the place is not there.
    fn end(&mut self, reference: &Locator) -> Result<(), Failure> {
        if self.failed.is_none()
            && let Err(error) = self.end_text()
        {
            self.failed = Some(error);
        }
        match self.failed.take() {
            Some(error) => Err(error.into()),
            None if self.state != State::Seeking => Ok(()),
            None if self.parts => Err(Failure::usage(format!(
                "{reference} is a transcript with several texts"
            ))
            .hint(format!(
                "name one: {reference}!output or {reference}!errors"
            ))),
            None => Err(self.beyond(reference)),
        }
    }

    fn beyond(&self, reference: &Locator) -> Failure {
        let place = match self.at {
            At::Line(line) => format!("line {line}"),
            At::Offset(offset) => format!("offset {offset}"),
        };
        let lines = self.line - u64::from(self.next == self.start);
        let (bytes, s) = (self.next, if lines == 1 { "" } else { "s" });
        Failure::new(
            FailureKind::NotFound,
            format!(
                "{reference} has no {place}: its text ends after {lines} line{s}, {bytes} bytes"
            ),
        )
        .hint(
            "lines count from 1, offsets from 0 in the text as UTF-8; of an archive `show` lists the members, which have texts of their own",
        )
    }

    /// A piece of the line at hand, its line feed included.
    fn piece(&mut self, piece: &str) -> io::Result<()> {
        let end = self.next + piece.len() as u64;
        match self.state {
            State::Seeking => {
                let here = match self.at {
                    At::Line(line) => (self.line == line).then_some(0),
                    At::Offset(offset) => (offset < end).then(|| offset - self.next),
                };
                let Some(before) = here.and_then(|here| usize::try_from(here).ok()) else {
                    self.keep(piece);
                    return self.pass(piece, end);
                };
                let (before, rest) = piece.split_at(floor(piece, before));
                self.keep(before);
                self.next += before.len() as u64;
                self.find()?;
                self.show(rest)?;
            }
            State::Wanted => self.show(piece)?,
            State::After(_) => {
                if self.next == self.start {
                    self.lines.begin(false, false)?;
                }
                self.show(piece)?;
            }
            State::Done => return Ok(()),
        }
        self.pass(piece, end)
    }

    /// Goes on behind a piece.
    fn pass(&mut self, piece: &str, end: u64) -> io::Result<()> {
        self.next = end;
        if piece.ends_with('\n') {
            self.end_line(true)?;
        }
        Ok(())
    }

    /// The place is in the line at hand: shows what was kept.
    fn find(&mut self) -> io::Result<()> {
        let offset = match self.at {
            At::Line(_) => self.start,
            At::Offset(offset) => offset,
        };
        self.lines.found(self.line, offset)?;
        for kept in std::mem::take(&mut self.before) {
            self.lines.begin(false, false)?;
            self.lines.text(&kept.text)?;
            self.lines.end(true, kept.cut)?;
        }
        let is_whole = self.head.len() as u64 == self.next - self.start;
        self.lines.begin(true, !is_whole)?;
        let kept = if is_whole {
            &self.head
        } else {
            let from = self.tail.len().saturating_sub(BEFORE_BYTES);
            &self.tail[ceil(&self.tail, from)..]
        };
        self.lines.text(kept)?;
        self.state = State::Wanted;
        Ok(())
    }

    /// **Units**: the offset up to which the line at hand is shown.
    fn shown_to(&self) -> Option<u64> {
        match (self.state, self.at) {
            (State::Wanted, At::Line(_)) => None,
            // A line of the size that hits show whole is whole here too.
            (State::Wanted, At::Offset(offset)) => {
                let whole = self.start + LINE_BYTES_MAX as u64;
                Some(offset.saturating_add(AFTER_BYTES).max(whole))
            }
            _ => Some(self.start + LINE_BYTES_MAX as u64),
        }
    }

    fn show(&mut self, piece: &str) -> io::Result<()> {
        let text = piece.strip_suffix('\n').unwrap_or(piece);
        let room = self.shown_to().map_or(usize::MAX, |to| {
            usize::try_from(to.saturating_sub(self.next)).unwrap_or(usize::MAX)
        });
        let shown = &text[..floor(text, room)];
        self.cut |= shown.len() < text.len();
        self.lines.text(shown)
    }

    fn keep(&mut self, piece: &str) {
        let text = piece.strip_suffix('\n').unwrap_or(piece);
        let is_whole = self.head.len() as u64 == self.next - self.start;
        let room = LINE_BYTES_MAX.saturating_sub(self.head.len());
        if is_whole {
            self.head.push_str(&text[..floor(text, room)]);
        }
        if matches!(self.at, At::Offset(_)) {
            self.tail.push_str(text);
            if self.tail.len() > LINE_BYTES_MAX {
                let from = self.tail.len() - BEFORE_BYTES;
                self.tail.drain(..ceil(&self.tail, from));
            }
        }
    }

    fn end_line(&mut self, ended: bool) -> io::Result<()> {
        match self.state {
            State::Seeking => {
                let len = self.next - self.start - u64::from(ended);
                let text = std::mem::take(&mut self.head);
                let cut = (text.len() as u64) < len;
                if self.context > 0 {
                    self.before.push_back(Kept { text, cut });
                }
                if self.before.len() > self.context {
                    self.before.pop_front();
                }
                self.tail.clear();
            }
            State::Wanted => {
                self.lines.end(ended, self.cut)?;
                self.state = match self.context {
                    0 => State::Done,
                    more => State::After(more),
                };
            }
            State::After(left) => {
                self.lines.end(ended, self.cut)?;
                self.state = match left {
                    0 | 1 => State::Done,
                    more => State::After(more - 1),
                };
            }
            State::Done => {}
        }
        self.line += 1;
        self.start = self.next;
        self.cut = false;
        Ok(())
    }

    /// The last line may have no end; and the place may be just behind it, as
    /// that of an empty match is. An empty text has one empty line.
    fn end_text(&mut self) -> io::Result<()> {
        self.inside = false;
        let is_open = self.next > self.start || self.next == 0;
        let is_here = match self.at {
            At::Line(line) => line == self.line && self.next == 0,
            At::Offset(offset) => offset == self.next,
        };
        if self.state == State::Seeking && !self.parts && is_open && is_here {
            self.find()?;
        }
        match self.state {
            State::Wanted => self.end_line(false),
            State::After(_) if self.next > self.start => self.end_line(false),
            _ => Ok(()),
        }
    }

    fn or_stop(&mut self, done: io::Result<()>) -> ControlFlow<()> {
        match done {
            Ok(()) if self.state == State::Done => ControlFlow::Break(()),
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }
}

impl Sink for Seeker<'_> {
    fn document(&mut self, head: DocumentHead) -> ControlFlow<()> {
        if self.inside {
            let done = self.end_text();
            self.or_stop(done)?;
            return ControlFlow::Break(());
        }
        let layer = layer_of(head.part);
        self.inside = self.only == layer;
        if self.only.is_none() && layer.is_some() {
            self.parts = true;
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    fn text(&mut self, piece: &str) -> ControlFlow<()> {
        if !self.inside {
            return ControlFlow::Continue(());
        }
        for piece in piece.split_inclusive('\n') {
            let done = self.piece(piece);
            self.or_stop(done)?;
        }
        ControlFlow::Continue(())
    }

    fn transcript(&mut self, _: &TranscriptFacts) {}

    /// Only what may be missing from the text: how it was read is told where
    /// the whole is shown.
    fn problem(&mut self, problem: Problem) {
        if problem.kind.hides_text() {
            self.told.push(problem);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use evidence::ResultKind;

    #[derive(Default)]
    struct Seen {
        at: Option<(u64, u64)>,
        lines: Vec<(bool, String)>,
        cut: bool,
    }

    impl Lines for Seen {
        fn found(&mut self, number: u64, offset: u64) -> io::Result<()> {
            self.at = Some((number, offset));
            Ok(())
        }

        fn begin(&mut self, is_wanted: bool, cut: bool) -> io::Result<()> {
            self.lines.push((is_wanted, String::new()));
            self.cut |= cut;
            Ok(())
        }

        fn text(&mut self, piece: &str) -> io::Result<()> {
            if let Some((_, line)) = self.lines.last_mut() {
                line.push_str(piece);
            }
            Ok(())
        }

        fn end(&mut self, ended: bool, cut: bool) -> io::Result<()> {
            self.cut |= cut;
            self.text(if ended { "\n" } else { "" })
        }

        fn problem(&mut self, _: &str, _: &str) -> io::Result<()> {
            Ok(())
        }
    }

    fn seek(text: &str, at: At, context: usize) -> Result<Seen, String> {
        let mut seen = Seen::default();
        let mut seeker = Seeker::new(at, context, None, &mut seen);
        let hint = extract::ContentHint {
            name: None,
            kind: ResultKind::File,
        };
        let settings = extract::ExtractSettings::default();
        let mut bytes = text.as_bytes();
        let input = extract::Input::new(&mut bytes, hint, settings);
        extract::extract(input, &mut seeker).unwrap();
        let key = "5382f7ea-7557-4ab7-9782-d50480024a4e/3".parse().unwrap();
        seeker.end(&key).map_err(|e| e.chain())?;
        Ok(seen)
    }

    fn wanted(seen: &Seen) -> &str {
        &seen.lines.iter().find(|line| line.0).unwrap().1
    }

    #[test]
    fn every_byte_of_a_text_has_its_line() {
        for text in ["one\r\ntwo\n\nthrée ✓", "a\n", "a", "\n\nx\n"] {
            let mut start = 0;
            for (n, line) in text.split_inclusive('\n').enumerate() {
                let number = n as u64 + 1;
                let seen = seek(text, At::Line(number), 0).unwrap();
                assert_eq!((wanted(&seen), seen.at), (line, Some((number, start))));
                for offset in start..start + line.len() as u64 {
                    let seen = seek(text, At::Offset(offset), 0).unwrap();
                    assert_eq!((wanted(&seen), seen.at), (line, Some((number, offset))));
                }
                start += line.len() as u64;
            }
            let lines = text.split_inclusive('\n').count() as u64;
            let error = seek(text, At::Line(lines + 1), 0).err().unwrap();
            let told = format!("after {lines} line");
            assert!(
                error.contains(&told) && error.contains(&format!("{start} bytes")),
                "{error}"
            );
            assert!(seek(text, At::Offset(start + 1), 0).is_err());
            // An empty match may stand behind the last character.
            assert_eq!(
                seek(text, At::Offset(start), 0).is_ok(),
                !text.ends_with('\n')
            );
        }
        assert_eq!(wanted(&seek("", At::Line(1), 2).unwrap()), "");
        assert!(seek("", At::Line(2), 0).is_err());
    }

    #[test]
    fn context_is_the_lines_around() {
        let text = "1\n2\n3\n4\n5\n6";
        let seen = seek(text, At::Line(3), 2).unwrap();
        let lines: String = seen.lines.iter().map(|line| line.1.as_str()).collect();
        assert_eq!((lines.as_str(), wanted(&seen)), ("1\n2\n3\n4\n5\n", "3\n"));
        let seen = seek(text, At::Offset(10), 1).unwrap();
        let lines: String = seen.lines.iter().map(|line| line.1.as_str()).collect();
        assert_eq!(lines, "5\n6");
    }

    #[test]
    fn a_long_line_is_whole_by_its_number_and_a_window_by_an_offset() {
        let text = format!(
            "x\n{}needle{}\ny\n",
            "é".repeat(200_000),
            "z".repeat(200_000)
        );
        let seen = seek(&text, At::Line(2), 1).unwrap();
        assert_eq!(wanted(&seen).len(), 600_007);
        let at = text.find("needle").unwrap() as u64;
        let seen = seek(&text, At::Offset(at), 1).unwrap();
        assert!(seen.cut && wanted(&seen).contains("éneedlez"));
        assert!(wanted(&seen).len() <= BEFORE_BYTES + AFTER_BYTES as usize + 1);
        let seen = seek(&text, At::Line(3), 1).unwrap();
        assert!(seen.cut && seen.lines[0].1.len() <= LINE_BYTES_MAX + 1);
    }
}
