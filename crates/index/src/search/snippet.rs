//! What of a line is shown, and where it matches: cut out of the line's frame
//! once and shared by all its hits.

use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use rustc_hash::FxHashMap;

use crate::IndexError;
use crate::codec::char_boundary;
use crate::codec::tokenizer::{fold_text, unfold};
use crate::search::compiled_query::Plan;
use crate::search::cross_line_phrases::Crossed;
use crate::search::hit_lines::Found;
use crate::search::searcher::Searcher;
use crate::search::verify::{first_match, matches_in, without_end};
use crate::writer::line_dictionary::Mark;

/// **Units**: bytes of a line that a hit shows.
pub const TEXT_MAX: usize = 64 << 10;
/// Matches marked within a line: more than anyone looks at.
const SPANS_MAX: usize = 1_000;
/// **Units**: bytes of inflated frames kept for the next hits: the distinct
/// text of a whole segment of a fleet, since hits come in the order of time.
const FRAMES_MAX: usize = 28 << 20;
/// **Units**: bytes of lines kept as they are shown, about.
const LINES_MAX: usize = 16 << 20;

/// A line as a hit shows it.
#[derive(Clone, Debug, Default)]
pub struct Snippet {
    /// The line without its end, or up to 64 KiB of it around the match.
    pub text: String,
    pub text_truncated: bool,
    /// **Units**: bytes of the whole line, where `text` is not all of it.
    pub line_bytes: Option<u64>,
    /// Matches in `text`, for highlighting.
    pub spans: Vec<Range<usize>>,
    json: OnceLock<Box<str>>,
}

/// Whether its JSON was made already says nothing of a line.
impl PartialEq for Snippet {
    fn eq(&self, other: &Self) -> bool {
        let all = |shown: &Self| (shown.text_truncated, shown.line_bytes);
        self.text == other.text && all(self) == all(other) && self.spans == other.spans
    }
}

impl Eq for Snippet {}

impl Snippet {
    /// A whole line without matches.
    pub fn of(text: String) -> Self {
        Self {
            text,
            ..Self::default()
        }
    }

    /// `text` as a JSON string, made at the first use.
    pub fn text_json(&self) -> &str {
        self.json.get_or_init(|| {
            let json = serde_json::Value::from(self.text.as_str());
            json.to_string().into()
        })
    }
}

/// A line, and where it matches.
#[derive(Clone)]
pub(crate) struct Cut {
    /// **Units**: bytes from the line's own first byte to the first match, which
    /// may lie before it in the part of the line it is a part of.
    pub(crate) start: i64,
    /// **Units**: bytes of the first match.
    pub(crate) len: u64,
    /// The line is stored in parts, so that its length is still to be said.
    pub(crate) is_part: bool,
    pub(crate) shown: Arc<Snippet>,
}

/// An inflated frame and where its lines begin.
struct Frame {
    text: String,
    starts: Vec<u32>,
}

impl Frame {
    fn new(text: String) -> Self {
        let feeds = memchr::memchr_iter(b'\n', text.as_bytes());
        let starts = std::iter::once(0).chain(feeds.map(|feed| feed as u32 + 1));
        Self {
            starts: starts.collect(),
            text,
        }
    }

    /// A line with its line feed.
    fn line(&self, n: u32) -> &str {
        let start = |n: u32| self.starts.get(n as usize).map(|start| *start as usize);
        let end = start(n.saturating_add(1)).unwrap_or(self.text.len());
        let line = start(n).and_then(|start| self.text.get(start..end));
        line.unwrap_or("")
    }
}

/// Cuts lines out of frames.
pub(crate) struct Cutter<'a> {
    searcher: &'a Searcher,
    plan: &'a Plan,
    /// Where lines match is left out.
    plain: bool,
    frames: FxHashMap<(u32, usize), Rc<Frame>>,
    frame_bytes: usize,
    /// The frame of the last line, and its lines.
    last: Option<(u32, Range<u32>, Rc<Frame>)>,
    lines: CutLines,
}

/// Lines as they were cut, for the next hits of them.
#[derive(Default)]
struct CutLines {
    lines: FxHashMap<(u32, u32), Cut>,
    bytes: usize,
    /// Lines asked for, and those of them that were there.
    asked: u32,
    known: u32,
}

impl CutLines {
    /// So many are kept before it is judged whether lines come again: on a
    /// fleet most do, of unique text hardly any, and keeping them costs more
    /// than half of what cutting does.
    const TRIAL: u32 = 1 << 13;
    /// Behind so many it is tried again.
    const PERIOD: u32 = 1 << 17;

    fn get(&mut self, line: (u32, u32)) -> Option<Cut> {
        if self.asked == Self::PERIOD {
            (self.asked, self.known) = (0, 0);
        }
        self.asked += 1;
        let cut = self.lines.get(&line)?;
        self.known += 1;
        Some(cut.clone())
    }

    fn keep(&mut self, line: (u32, u32), cut: &Cut) {
        let is_worth = self.asked < Self::TRIAL || self.known >= Self::TRIAL / 8;
        if self.bytes > LINES_MAX || !is_worth {
            self.lines.clear();
            self.bytes = 0;
        }
        if is_worth {
            // Its JSON too.
            self.bytes += size_of::<(Cut, Snippet)>() * 2 + cut.shown.text.len() * 2;
            self.lines.insert(line, cut.clone());
        }
    }
}

impl<'a> Cutter<'a> {
    pub(crate) fn new(searcher: &'a Searcher, plan: &'a Plan, plain: bool) -> Self {
        Self {
            searcher,
            plan,
            plain,
            frames: FxHashMap::default(),
            frame_bytes: 0,
            last: None,
            lines: CutLines::default(),
        }
    }

    pub(crate) fn cut(&mut self, found: &Found) -> Result<Cut, IndexError> {
        // What goes on behind the line's end depends on the place.
        if found.crossed.is_some() || found.start.is_some() {
            return self.cut_anew(found);
        }
        let line = (found.segment, found.line_id);
        if let Some(known) = self.lines.get(line) {
            return Ok(known);
        }
        let cut = self.cut_anew(found)?;
        self.lines.keep(line, &cut);
        Ok(cut)
    }

    fn cut_anew(&mut self, found: &Found) -> Result<Cut, IndexError> {
        let segment = self.searcher.segment(found.segment);
        let (frame, line) = self.line(found.segment, found.line_id)?;
        let stored = frame.line(line);
        let mark = segment.mark(found.line_id);
        let own_start = mark.map_or(0, |mark| mark.own_start as usize);
        let leaves = self.plan.leaves.iter().filter(|leaf| leaf.lists);
        let within = leaves
            .filter_map(|leaf| first_match(segment, &leaf.matcher, found.line_id, stored))
            .min();
        let text = without_own_end(mark, stored);
        let behind = self.goes_on(found, stored, own_start);
        let first = within.into_iter().chain(behind).min();
        let (start, end) = first.unwrap_or((own_start, own_start));
        let window = window(text, start);
        let is_part = mark.is_some_and(|mark| mark.is_part());
        let text_truncated = is_part || window.len() < text.len();
        let spans = match self.plain {
            true => Vec::new(),
            false => self.spans(&text[window.clone()], window.start, start, behind),
        };
        Ok(Cut {
            start: start as i64 - own_start as i64,
            len: (end - start) as u64,
            is_part,
            shown: Arc::new(Snippet {
                line_bytes: (text_truncated && !is_part).then_some(text.len() as u64),
                text: text[window].to_string(),
                text_truncated,
                spans,
                json: OnceLock::new(),
            }),
        })
    }

    /// Where what goes on behind the stored line begins in it, and where its
    /// share of the whole line ends.
    fn goes_on(&self, found: &Found, stored: &str, own_start: usize) -> Option<(usize, usize)> {
        let crossed = found.crossed.and_then(|c| self.crossed_at(c, stored));
        let over = found.start.map(|start| {
            let begin = own_start + start.offset.saturating_sub(found.offset) as usize;
            (begin, begin + start.len as usize)
        });
        crossed.into_iter().chain(over).min()
    }

    /// Where a phrase that goes on behind the line begins in it, and where
    /// the line's words end.
    fn crossed_at(&self, crossed: Crossed, text: &str) -> Option<(usize, usize)> {
        let folded = fold_text(text);
        let crossing = &self.plan.phrases[crossed.phrase].crossing;
        let start = crossing.head_start(&folded, crossed.cut)?;
        Some((unfold(text, &folded, start), text.trim_end().len()))
    }

    /// Matches of every listed text in what is shown, merged. `text` is the
    /// line from `begin` on, its first match stands at `first`.
    fn spans(
        &self,
        text: &str,
        begin: usize,
        first: usize,
        behind: Option<(usize, usize)>,
    ) -> Vec<Range<usize>> {
        let from = first.saturating_sub(begin);
        let behind = behind.map(|(start, end)| {
            let at = |place: usize| place.saturating_sub(begin).min(text.len());
            (at(start), at(end))
        });
        let leaves = self.plan.leaves.iter().filter(|leaf| leaf.lists);
        let mut spans: Vec<(usize, usize)> = leaves
            .flat_map(|leaf| {
                let begin = if leaf.matcher.folds() { 0 } else { from };
                matches_in(&leaf.matcher, text, begin, usize::MAX, SPANS_MAX)
            })
            .chain(behind)
            .filter(|(start, end)| end > start)
            .collect();
        spans.sort_unstable();
        let mut merged: Vec<Range<usize>> = Vec::new();
        for (start, end) in spans {
            match merged.last_mut() {
                Some(last) if start < last.end => last.end = last.end.max(end),
                _ => merged.push(start..end),
            }
        }
        merged
    }

    /// A line as it is stored, with a line feed.
    pub(crate) fn stored(&mut self, number: u32, line: u32) -> Result<String, IndexError> {
        let (frame, line) = self.line(number, line)?;
        Ok(frame.line(line).to_string())
    }

    /// A line as it is stored, without its end.
    pub(crate) fn text(&mut self, number: u32, line: u32) -> Result<String, IndexError> {
        let mark = self.searcher.segment(number).mark(line);
        let (frame, line) = self.line(number, line)?;
        Ok(without_own_end(mark, frame.line(line)).to_string())
    }

    /// A line's frame, and which of its lines it is.
    fn line(&mut self, number: u32, line: u32) -> Result<(Rc<Frame>, u32), IndexError> {
        if let Some((of, lines, frame)) = &self.last
            && *of == number
            && lines.contains(&line)
        {
            return Ok((Rc::clone(frame), line - lines.start));
        }
        let segment = self.searcher.segment(number);
        let nth = segment.frame_of(line);
        let lines = segment.frame_start(nth)..segment.frame_start(nth + 1);
        let frame = self.frame(number, nth)?;
        self.last = Some((number, lines.clone(), Rc::clone(&frame)));
        Ok((frame, line - lines.start))
    }

    fn frame(&mut self, number: u32, nth: usize) -> Result<Rc<Frame>, IndexError> {
        if let Some(known) = self.frames.get(&(number, nth)) {
            return Ok(Rc::clone(known));
        }
        let segment = self.searcher.segment(number);
        let inflated = Rc::new(Frame::new(segment.frame(nth)?));
        if self.frame_bytes > FRAMES_MAX {
            self.frames.clear();
            self.frame_bytes = 0;
        }
        self.frame_bytes += inflated.text.len() + inflated.starts.len() * size_of::<u32>();
        self.frames.insert((number, nth), Rc::clone(&inflated));
        Ok(inflated)
    }
}

/// A stored line without its end. The carriage return that ends a text ends no
/// line.
fn without_own_end(mark: Option<Mark>, stored: &str) -> &str {
    match mark {
        Some(mark) if !mark.terminated => stored.strip_suffix('\n').unwrap_or(stored),
        _ => without_end(stored),
    }
}

/// What of a line is shown around a match.
pub(crate) fn window(text: &str, start: usize) -> Range<usize> {
    if text.len() <= TEXT_MAX {
        return 0..text.len();
    }
    let from = char_boundary::floor(text, start.saturating_sub(TEXT_MAX / 4));
    let to = char_boundary::floor(text, (from + TEXT_MAX).min(text.len()));
    from..to
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(lines: &mut CutLines, line: u32) -> bool {
        let known = lines.get((0, line)).is_some();
        if !known {
            let cut = Cut {
                start: 0,
                len: 1,
                is_part: false,
                shown: Arc::new(Snippet::of("a line".into())),
            };
            lines.keep((0, line), &cut);
        }
        known
    }

    #[test]
    fn lines_are_kept_where_they_come_again_and_only_tried_where_they_do_not() {
        let mut repeated = CutLines::default();
        let known = (0..200_000).filter(|n| ask(&mut repeated, n % 100));
        assert_eq!(known.count(), 199_900);

        let mut unique = CutLines::default();
        let mut most = 0;
        for line in 0..CutLines::PERIOD {
            assert!(!ask(&mut unique, line));
            most = most.max(unique.lines.len() as u32);
        }
        assert_eq!((most, unique.lines.len()), (CutLines::TRIAL - 1, 0));
        // What comes now comes again: that is found out in the next period.
        let known = (0..100_000).filter(|n| ask(&mut unique, n % 100));
        assert_eq!(known.count(), 99_900);
    }
}
