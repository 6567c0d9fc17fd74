//! What selected members hold of one segment: its lines, each read once, and
//! who holds which. A passage that stands in hundreds of texts is one run with
//! hundreds of holders.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use crate::IndexError;
use crate::line_sets::line_position::LinePosition;
use crate::line_sets::member_set::MemberSet;
use crate::search::SearchOptions;
use crate::search::hits::Lister;
use crate::search::verify::without_end;
use crate::segment::Segment;
use evidence::Layer;

/// Results of frames and batches that wait for whoever takes them: of a fleet
/// of 20,000 a batch may tell of 6,000 groups with a set of devices each, 15 MB.
const WAITING: usize = 4;
/// Passages that a thread looks at before it hands out what it found.
const BATCH: usize = 1024;

/// Lines that stand behind each other, and the members that hold them.
pub struct ChunkRun<'r> {
    pub lines: Vec<u32>,
    /// By rank, ascending; one that holds the run twice is named twice.
    pub holders: &'r [Holder],
}

/// A member that holds a run, and where in its text the run begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    pub rank: u32,
    pub spot: LinePosition,
}

/// A passage in a text: a chunk at a place of a document.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Passage {
    chunk: u32,
    /// Place in `SegmentHolders::texts`.
    text: u32,
    /// Which of the document's stored lines is the passage's first.
    index: u32,
}

/// A document and the content it is a text of.
#[derive(Clone, Copy)]
struct Text {
    document: u32,
    /// Place in `MemberSet::contents`.
    content: u32,
}

/// A line that matches, in a document.
struct Match {
    line: u32,
    content: u32,
    spot: LinePosition,
}

/// What selected members hold of a segment.
pub struct SegmentHolders<'s> {
    selection: &'s MemberSet<'s>,
    segment: &'s Segment,
    number: u32,
    texts: Vec<Text>,
    /// By chunk.
    passages: Vec<Passage>,
    matches: Vec<Match>,
    /// Lines that are held: a bit each.
    lines: Vec<u64>,
    threads: usize,
}

impl<'s> SegmentHolders<'s> {
    /// **Cost**: reads the lists of chunks and lines, no text.
    ///
    /// **Memory**: a bit a line of the segment, 12 bytes a chunk of each text,
    /// 32 a line that matches.
    pub(crate) fn open(
        selection: &'s MemberSet<'s>,
        number: u32,
        part: Option<&Layer>,
        threads: usize,
    ) -> Result<Self, IndexError> {
        let segment = selection.searcher.segment(number);
        let mut held = Self {
            selection,
            segment,
            number,
            texts: Vec::new(),
            passages: Vec::new(),
            matches: Vec::new(),
            lines: vec![0; (segment.line_count() as usize).div_ceil(64)],
            threads,
        };
        held.add_documents(part)?;
        held.passages.sort_unstable();
        held.mark_passages()?;
        Ok(held)
    }

    fn add_documents(&mut self, part: Option<&Layer>) -> Result<(), IndexError> {
        let selection = self.selection;
        let mut matching = BTreeSet::new();
        for document in 0..self.segment.document_count() {
            let view = self.segment.document(document)?;
            let name = self.segment.content(view.content)?;
            let content = selection.searcher.resolve(name);
            let Some(content) = content.and_then(|name| selection.content(&name)) else {
                continue;
            };
            if part.is_some() && view.part.as_ref() != part {
                continue;
            }
            if selection.has_hits(&selection.contents()[content as usize].content) {
                matching.insert(content);
                continue;
            }
            let text = self.texts.len() as u32;
            self.texts.push(Text { document, content });
            let mut index = 0u32;
            for chunk in self.segment.document_chunks(&view)? {
                self.passages.push(Passage { chunk, text, index });
                let lines = self.segment.chunk(chunk)?.count;
                index = index.saturating_add(lines.min(u64::from(u32::MAX)) as u32);
            }
        }
        self.add_matches(matching, part)
    }

    fn add_matches(
        &mut self,
        contents: BTreeSet<u32>,
        part: Option<&Layer>,
    ) -> Result<(), IndexError> {
        let selection = self.selection;
        let (plan, matches) = (&selection.plan, &selection.matches);
        let mut lister = Lister::new(selection.searcher, plan, matches, &SearchOptions::default());
        for content in contents {
            let ranks = &selection.contents()[content as usize].ranks;
            let Some(first) = ranks.first() else {
                continue;
            };
            for found in lister.lines_at(selection.place(*first))? {
                if found.segment != self.number {
                    continue;
                }
                let of = self.segment.document(found.document)?.part;
                if part.is_some() && of.as_ref() != part {
                    continue;
                }
                mark(&mut self.lines, found.line_id);
                self.matches.push(Match {
                    line: found.line_id,
                    content,
                    spot: LinePosition {
                        segment: self.number,
                        document: found.document,
                        index: found.index,
                    },
                });
            }
        }
        Ok(())
    }

    fn mark_passages(&mut self) -> Result<(), IndexError> {
        let chunks = self.passages.chunk_by(|a, b| a.chunk == b.chunk).count();
        if chunks == self.segment.chunk_count() as usize {
            // Every line stands in one of them.
            self.lines.fill(u64::MAX);
            return Ok(());
        }
        let held = std::mem::take(&mut self.lines).into_iter();
        let lines: Vec<AtomicU64> = held.map(AtomicU64::new).collect();
        let mark = |batch: &&[Passage]| {
            for same in batch.chunk_by(|a, b| a.chunk == b.chunk) {
                for line in self.segment.chunk_lines(same[0].chunk)? {
                    if let Some(word) = lines.get(line as usize / 64) {
                        word.fetch_or(1 << (line % 64), Ordering::Relaxed);
                    }
                }
            }
            Ok(())
        };
        on_threads(self.threads, &self.batches(), &mark, &mut |()| ())?;
        self.lines = lines.into_iter().map(AtomicU64::into_inner).collect();
        Ok(())
    }

    /// Tells which lines of which segment these are: what is true of the lines
    /// is true wherever this is the same.
    pub fn identify(&self, tell: &mut dyn FnMut(&[u8])) {
        self.segment.identify(tell);
        self.lines.iter().for_each(|word| tell(&word.to_le_bytes()));
    }

    /// Lines of the segment, held or not: line ids are below this.
    pub fn line_count(&self) -> u32 {
        self.segment.line_count()
    }

    pub fn is_empty(&self) -> bool {
        self.passages.is_empty() && self.matches.is_empty()
    }

    fn frames(&self) -> Vec<usize> {
        let is_held = |line: u32| self.lines[line as usize / 64] >> (line % 64) & 1 == 1;
        let all = 0..self.segment.frame_count();
        all.filter(|frame| {
            let lines = self.segment.frame_start(*frame)..self.segment.frame_start(frame + 1);
            lines.clone().any(is_held)
        })
        .collect()
    }

    /// Reads every held line once, a frame of them at a time: `work` on
    /// several threads, `take` on this one, in no order.
    ///
    /// **Cost**: inflates the frames that have such lines, on all cores.
    pub fn read<T: Send>(
        &self,
        work: &(dyn Fn(FrameLines<'_>) -> T + Sync),
        take: &mut dyn FnMut(T),
    ) -> Result<(), IndexError> {
        let work = |frame: &usize| {
            let text = self.segment.frame(*frame)?;
            Ok(work(self.lines_of(*frame, &text)))
        };
        on_threads(self.threads, &self.frames(), &work, take)?;
        self.segment.rest();
        Ok(())
    }

    fn lines_of<'f>(&'f self, frame: usize, text: &'f str) -> FrameLines<'f> {
        let lines = self.segment.frame_start(frame)..self.segment.frame_start(frame + 1);
        FrameLines {
            held: self,
            next: lines.start,
            is_plain: !self.segment.has_marks(&lines),
            rest: text,
        }
    }

    /// Who holds which lines: `work` on several threads, which gathers some runs
    /// in one place, `take` on this one, in no order.
    pub fn runs<T: Default + Send>(
        &self,
        work: &(dyn Fn(&mut T, ChunkRun<'_>) + Sync),
        take: &mut dyn FnMut(T),
    ) -> Result<(), IndexError> {
        let of_batch = |batch: &&[Passage]| {
            let (mut holders, mut gathered) = (Vec::new(), T::default());
            for same in batch.chunk_by(|a, b| a.chunk == b.chunk) {
                let lines = self.hold_run(same, &mut holders)?;
                let holders = &holders;
                work(&mut gathered, ChunkRun { lines, holders });
            }
            Ok(gathered)
        };
        on_threads(self.threads, &self.batches(), &of_batch, take)?;
        let of_matches = |found: &&[Match]| {
            let (mut holders, mut gathered) = (Vec::new(), T::default());
            for found in found.iter() {
                holders.clear();
                self.hold(found.content, found.spot, &mut holders);
                let (lines, holders) = (vec![found.line], &holders);
                work(&mut gathered, ChunkRun { lines, holders });
            }
            Ok(gathered)
        };
        let batches: Vec<_> = self.matches.chunks(BATCH).collect();
        on_threads(self.threads, &batches, &of_matches, take)
    }

    /// Passages, those of a chunk together.
    fn batches(&self) -> Vec<&[Passage]> {
        let mut batches = Vec::new();
        let mut rest = self.passages.as_slice();
        while let Some(last) = rest.get(BATCH.min(rest.len()).wrapping_sub(1)) {
            let end = rest.partition_point(|passage| passage.chunk <= last.chunk);
            let (batch, behind) = rest.split_at(end);
            batches.push(batch);
            rest = behind;
        }
        batches
    }

    /// The lines of a chunk, and all that hold it.
    fn hold_run(
        &self,
        same: &[Passage],
        holders: &mut Vec<Holder>,
    ) -> Result<Vec<u32>, IndexError> {
        holders.clear();
        for passage in same {
            let text = self.texts[passage.text as usize];
            let spot = LinePosition {
                segment: self.number,
                document: text.document,
                index: u64::from(passage.index),
            };
            self.hold(text.content, spot, holders);
        }
        holders.sort_unstable();
        match same.first() {
            Some(passage) => self.segment.chunk_lines(passage.chunk),
            None => Ok(Vec::new()),
        }
    }

    fn hold(&self, content: u32, spot: LinePosition, holders: &mut Vec<Holder>) {
        let ranks = &self.selection.contents()[content as usize].ranks;
        holders.extend(ranks.iter().map(|rank| Holder { rank: *rank, spot }));
    }
}

/// Works on each part: `work` on several threads, `take` on this one, in no
/// order.
fn on_threads<P: Sync, T: Send>(
    threads: usize,
    parts: &[P],
    work: &(dyn Fn(&P) -> Result<T, IndexError> + Sync),
    take: &mut dyn FnMut(T),
) -> Result<(), IndexError> {
    let threads = threads.min(parts.len()).max(1);
    let next = AtomicUsize::new(0);
    let (done, results) = sync_channel(WAITING);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (done, next) = (done.clone(), &next);
            scope.spawn(move || {
                while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if done.send(work(part)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        // An error ends the loop and, by the closed channel, the threads.
        let results = results;
        results.iter().try_for_each(|worked| {
            take(worked?);
            Ok(())
        })
    })
}

fn mark(lines: &mut [u64], line: u32) {
    if let Some(word) = lines.get_mut(line as usize / 64) {
        *word |= 1 << (line % 64);
    }
}

/// The held lines of a frame: id and text without its end. A line stored in
/// parts is as many lines.
pub struct FrameLines<'f> {
    held: &'f SegmentHolders<'f>,
    next: u32,
    /// All lines end as most do, and none is a part.
    is_plain: bool,
    rest: &'f str,
}

impl<'f> Iterator for FrameLines<'f> {
    type Item = (u32, &'f str);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let end = memchr::memchr(b'\n', self.rest.as_bytes());
            let (text, rest) = self
                .rest
                .split_at(end.map_or(self.rest.len(), |end| end + 1));
            let line = self.next;
            (self.rest, self.next) = (rest, line.checked_add(1)?);
            let word = self.held.lines.get(line as usize / 64).copied();
            if word.unwrap_or(0) >> (line % 64) & 1 == 1 {
                let own = match self.is_plain {
                    true => without_end(text),
                    false => own_text(self.held.segment, line, text),
                };
                return Some((line, own));
            }
        }
        None
    }
}

/// A stored line's own text, without its end.
pub(crate) fn own_text<'t>(segment: &Segment, line: u32, stored: &'t str) -> &'t str {
    let Some(mark) = segment.mark(line).filter(|mark| mark.is_part()) else {
        return without_end(stored);
    };
    let own = stored.get(mark.own_start as usize..mark.own_end as usize);
    let own = own.unwrap_or("");
    if mark.last { without_end(own) } else { own }
}
