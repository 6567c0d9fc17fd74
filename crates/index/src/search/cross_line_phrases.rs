//! Where phrases cross line ends: from lines that end with a phrase's
//! beginning, over the lists of chunks and documents, to lines that go on
//! with it. A chunk's inside is looked at once, whatever holds it.

use std::collections::{BTreeMap, HashMap};

use crate::IndexError;
use crate::codec::tokenizer::fold_text;
use crate::matcher::phrase::Crossing;
use crate::search::searcher::Searcher;
use crate::search::verify::{Way, nth_line};
use crate::segment::Segment;

/// A line in which a phrase begins that goes on behind the line's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Crossed {
    /// Which line of the chunk.
    pub(crate) place: u32,
    /// Which of the query's phrases that cross line ends.
    pub(crate) phrase: usize,
    /// At which of the phrase's blanks the line ends.
    pub(crate) cut: usize,
}

/// Where phrases begin in one segment.
#[derive(Default)]
pub(crate) struct Crossings {
    /// By chunk, where the phrase also ends in the chunk.
    pub(crate) inside: BTreeMap<u32, Vec<Crossed>>,
    /// By document and which of its chunks, where it does not.
    pub(crate) between: BTreeMap<(u32, u32), Vec<Crossed>>,
    /// How the lines were looked for that end with the beginning of a phrase,
    /// with the text of the query it is.
    pub(crate) ways: Vec<(usize, Way)>,
}

/// One that reaches the end of a document, which may go on in a later segment.
#[derive(Clone, Copy)]
pub(crate) struct Dangling {
    pub(crate) segment: u32,
    pub(crate) document: u32,
    pub(crate) nth: u32,
    pub(crate) crossed: Crossed,
    reached: Reached,
}

/// How far a phrase is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Reached {
    cut: usize,
    /// In a line of which all parts so far are blank.
    in_blanks: bool,
}

impl Reached {
    /// At the beginning of a line.
    fn line(cut: usize) -> Self {
        Self {
            cut,
            in_blanks: false,
        }
    }
}

/// What reading on comes to.
#[derive(Clone, Copy, PartialEq)]
enum Step {
    Ends,
    Goes(Reached),
    Fails,
}

/// **Units**: bytes of lines in lower case kept for the next look, about.
const LINES_MAX: usize = 16 << 20;
/// What is known of chunks, kept for the next document: 16 MB.
const CHUNKS_MAX: usize = 1 << 19;

/// Follows one phrase through a segment.
pub(crate) struct Follower<'a> {
    segment: &'a Segment,
    crossing: &'a Crossing,
    phrase: usize,
    lines: HashMap<u32, String>,
    line_bytes: usize,
    frame: Option<(usize, String)>,
    chunks: HashMap<(u32, Reached), Step>,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(segment: &'a Segment, crossing: &'a Crossing, phrase: usize) -> Self {
        Self {
            segment,
            crossing,
            phrase,
            lines: HashMap::new(),
            line_bytes: 0,
            frame: None,
            chunks: HashMap::new(),
        }
    }

    /// Finds every place where the phrase begins in one of `heads`, which are
    /// ascending lines that end with its beginning.
    ///
    /// **Memory**: 16 MiB of such lines and those behind them, and what
    /// `chunks` of them lead to.
    pub(crate) fn find(
        &mut self,
        number: u32,
        heads: &[u32],
        crossings: &mut Crossings,
        dangling: &mut Vec<Dangling>,
    ) -> Result<(), IndexError> {
        let mut chunks = BTreeMap::new();
        for line in heads {
            let ends_line = self.segment.mark(*line).is_none_or(|mark| mark.last);
            if ends_line {
                self.segment.chunks_of_line(*line, |chunk| {
                    chunks.insert(chunk, ());
                })?;
            }
        }
        let mut open = Vec::new();
        for chunk in chunks.into_keys() {
            let inside = self.find_in(chunk, heads, &mut open)?;
            if !inside.is_empty() {
                crossings.inside.entry(chunk).or_default().extend(inside);
            }
            if !open.is_empty() {
                self.follow_documents(number, chunk, &mut open, crossings, dangling)?;
            }
        }
        Ok(())
    }

    /// Phrases within a chunk; those that reach its end become `open`.
    fn find_in(
        &mut self,
        chunk: u32,
        heads: &[u32],
        open: &mut Vec<(Crossed, Reached)>,
    ) -> Result<Vec<Crossed>, IndexError> {
        let lines = self.segment.chunk_lines(chunk)?;
        let mut inside = Vec::new();
        for (place, line) in lines.iter().enumerate() {
            if heads.binary_search(line).is_err() {
                continue;
            }
            let cuts = self.crossing.heads(self.line(*line)?);
            let mut ended = false;
            // The longest beginning first: it begins first.
            for cut in (0..64).rev().filter(|cut| cuts >> cut & 1 == 1) {
                let crossed = Crossed {
                    place: place as u32,
                    phrase: self.phrase,
                    cut,
                };
                match self.follow(&lines[place + 1..], Reached::line(cut))? {
                    Step::Ends if !ended => {
                        inside.push(crossed);
                        ended = true;
                    }
                    Step::Goes(reached) if !ended => open.push((crossed, reached)),
                    _ => {}
                }
            }
        }
        Ok(inside)
    }

    /// Goes on from the end of a chunk in every document that holds it.
    fn follow_documents(
        &mut self,
        number: u32,
        chunk: u32,
        open: &mut Vec<(Crossed, Reached)>,
        crossings: &mut Crossings,
        dangling: &mut Vec<Dangling>,
    ) -> Result<(), IndexError> {
        let mut documents = Vec::new();
        self.segment
            .documents_of_chunk(chunk, |document| documents.push(document))?;
        for document in documents {
            let view = self.segment.document(document)?;
            let chunks = self.segment.document_chunks(&view)?;
            let here = chunks.iter().enumerate().filter(|(_, c)| **c == chunk);
            for (nth, _) in here {
                for (crossed, from) in open.iter() {
                    match self.follow_chunks(&chunks[nth + 1..], *from)? {
                        Step::Ends => {
                            let between = crossings.between.entry((document, nth as u32));
                            between.or_default().push(*crossed);
                        }
                        Step::Goes(reached) => dangling.push(Dangling {
                            segment: number,
                            document,
                            nth: nth as u32,
                            crossed: *crossed,
                            reached,
                        }),
                        Step::Fails => {}
                    }
                }
            }
        }
        open.clear();
        Ok(())
    }

    fn follow_chunks(&mut self, chunks: &[u32], mut at: Reached) -> Result<Step, IndexError> {
        for chunk in chunks {
            let known = self.chunks.get(&(*chunk, at)).copied();
            let step = match known {
                Some(step) => step,
                None => {
                    let lines = self.segment.chunk_lines(*chunk)?;
                    let step = self.follow(&lines, at)?;
                    if self.chunks.len() >= CHUNKS_MAX {
                        self.chunks.clear();
                    }
                    self.chunks.insert((*chunk, at), step);
                    step
                }
            };
            match step {
                Step::Goes(reached) => at = reached,
                step => return Ok(step),
            }
        }
        Ok(Step::Goes(at))
    }

    fn follow(&mut self, lines: &[u32], mut at: Reached) -> Result<Step, IndexError> {
        for line in lines {
            match self.step(*line, at)? {
                Step::Goes(reached) => at = reached,
                step => return Ok(step),
            }
        }
        Ok(Step::Goes(at))
    }

    /// How a line, or a part of one that begins in blanks, goes on with the
    /// phrase.
    fn step(&mut self, line: u32, at: Reached) -> Result<Step, IndexError> {
        let mark = self.segment.mark(line);
        if mark.is_none_or(|mark| mark.first) == at.in_blanks {
            return Ok(Step::Fails);
        }
        let crossing = self.crossing;
        let text = self.line(line)?;
        let is_tail = |text| crossing.tails(text) >> at.cut & 1 == 1;
        if mark.is_none_or(|mark| mark.last) {
            return Ok(match crossing.middle(text, at.cut) {
                _ if is_tail(text) => Step::Ends,
                Some(cut) => Step::Goes(Reached::line(cut)),
                None => Step::Fails,
            });
        }
        // Where a part ends a word may go on: the next one shows that. The line
        // feed behind it is none of its own.
        let text = text.strip_suffix('\n').unwrap_or(text);
        let last = text.chars().next_back().map_or(0, char::len_utf8);
        let goes_on = Reached {
            in_blanks: true,
            ..at
        };
        Ok(match is_tail(text) {
            true if is_tail(&text[..text.len() - last]) => Step::Ends,
            is_tail if is_tail || text.trim().is_empty() => Step::Goes(goes_on),
            _ => Step::Fails,
        })
    }

    /// A line's text in lower case.
    fn line(&mut self, line: u32) -> Result<&str, IndexError> {
        if !self.lines.contains_key(&line) {
            let number = self.segment.frame_of(line);
            if self
                .frame
                .as_ref()
                .is_none_or(|(other, _)| *other != number)
            {
                self.frame = Some((number, self.segment.frame(number)?));
            }
            let frame = self.frame.as_ref().map_or("", |(_, text)| text);
            let text = nth_line(frame, line - self.segment.frame_start(number));
            let folded = fold_text(text);
            if self.line_bytes > LINES_MAX {
                self.lines.clear();
                self.line_bytes = 0;
            }
            self.line_bytes += folded.len() + size_of::<String>() * 2;
            self.lines.insert(line, folded);
        }
        Ok(&self.lines[&line])
    }
}

/// Whether a phrase that reached the end of a document ends in the piece of
/// the same text that stands in a later segment.
pub(crate) fn ends_later(
    searcher: &Searcher,
    crossing: &Crossing,
    dangling: &Dangling,
) -> Result<bool, IndexError> {
    let segment = searcher.segment(dangling.segment);
    let document = segment.document(dangling.document)?;
    let Some(content) = searcher.resolve(segment.content(document.content)?) else {
        return Ok(false);
    };
    let mut bytes = document.offset;
    for chunk in segment.document_chunks(&document)? {
        bytes += segment.chunk(chunk)?.bytes;
    }
    let mut at = dangling.reached;
    for (number, other) in searcher.documents_of(&content) {
        let segment = searcher.segment(number);
        let view = segment.document(other)?;
        if view.part != document.part || view.offset != bytes || number <= dangling.segment {
            continue;
        }
        let chunks = segment.document_chunks(&view)?;
        let mut follower = Follower::new(segment, crossing, dangling.crossed.phrase);
        match follower.follow_chunks(&chunks, at)? {
            Step::Goes(reached) => at = reached,
            step => return Ok(step == Step::Ends),
        }
        for chunk in chunks {
            bytes += segment.chunk(chunk)?.bytes;
        }
    }
    Ok(false)
}
