//! From matching lines to the contents that hold them.

use std::collections::HashMap;

use crate::IndexError;
use crate::matcher::Matcher;
use crate::search::compiled_query::{Leaf, Plan};
use crate::search::cross_line_phrases::{Crossed, Crossings, Dangling, Follower, ends_later};
use crate::search::long_lines::LongLines;
use crate::search::multiline;
use crate::search::multiline::Starts;
use crate::search::restriction::{FirstLook, Inside, Within};
use crate::search::searcher::Searcher;
use crate::search::verify;
use crate::search::verify::{LineSets, Read, Way};
use crate::segment::Segment;
use evidence::{Layer, Sha256};

/// A content with some of the texts.
#[derive(Default)]
pub(crate) struct Matched {
    /// A bit for each text of the query.
    pub(crate) mask: u64,
    /// Its documents with lines to list: segment and ordinal, ascending.
    pub(crate) documents: Vec<(u32, u32)>,
}

/// Which texts of the query an item of a segment holds: a bit each. Common
/// texts meet the same item thousands of times, rare ones few items of many.
struct Masks {
    masks: Vec<u64>,
    met: Vec<u32>,
}

impl Masks {
    fn new(items: u32) -> Self {
        Self {
            masks: vec![0; items as usize],
            met: Vec::new(),
        }
    }

    /// An item that is not there belongs to a damaged segment; whoever reads
    /// the item finds that out.
    fn add(&mut self, item: u32, mask: u64) {
        if let Some(known) = self.masks.get_mut(item as usize) {
            if *known == 0 && mask != 0 {
                self.met.push(item);
            }
            *known |= mask;
        }
    }

    fn ascending(mut self) -> Vec<(u32, u64)> {
        self.met.sort_unstable();
        let with_mask = |item: u32| (item, self.masks[item as usize]);
        self.met.iter().map(|item| with_mask(*item)).collect()
    }
}

/// What matched in one segment, for listing.
#[derive(Default)]
pub(crate) struct Listed {
    /// Lines that are hits.
    lines: Lines,
    /// Chunks that hold such lines: a bit each.
    chunks: Vec<u64>,
    /// Where phrases begin that cross line ends.
    pub(crate) crossings: Crossings,
}

/// Some lines of a segment.
#[derive(Default)]
struct Lines {
    /// Ascending.
    few: Vec<u32>,
    /// A bit each, where there are many: each line of every chunk that holds
    /// one asks.
    many: Vec<u64>,
}

impl Lines {
    /// More than this are many: the search among them takes longer.
    const FEW: usize = 1_000;

    /// Of ascending lines.
    fn of(lines: Vec<u32>) -> Self {
        let Some(last) = lines.last().filter(|_| lines.len() > Self::FEW) else {
            return Self {
                few: lines,
                many: Vec::new(),
            };
        };
        let mut many = vec![0u64; *last as usize / 64 + 1];
        for line in &lines {
            many[*line as usize / 64] |= 1 << (line % 64);
        }
        Self {
            few: Vec::new(),
            many,
        }
    }

    fn has(&self, line: u32) -> bool {
        match self.many.get(line as usize / 64) {
            Some(word) => word >> (line % 64) & 1 == 1,
            None => self.few.binary_search(&line).is_ok(),
        }
    }
}

impl Listed {
    pub(crate) fn has_line(&self, line: u32) -> bool {
        self.lines.has(line)
    }

    pub(crate) fn has_chunk(&self, chunk: u32) -> bool {
        let word = self.chunks.get(chunk as usize / 64);
        word.is_some_and(|word| word >> (chunk % 64) & 1 == 1)
    }

    /// Whether any phrase goes on behind a line.
    pub(crate) fn has_crossings(&self) -> bool {
        !self.crossings.inside.is_empty() || !self.crossings.between.is_empty()
    }

    /// Phrases that begin in a document's nth chunk and go on behind a line.
    pub(crate) fn crossed(&self, document: u32, nth: u32, chunk: u32) -> Vec<Crossed> {
        if !self.has_crossings() {
            return Vec::new();
        }
        let inside = self.crossings.inside.get(&chunk);
        let between = self.crossings.between.get(&(document, nth));
        inside
            .into_iter()
            .chain(between)
            .flatten()
            .copied()
            .collect()
    }
}

/// Contents by hash, and what to list by segment.
#[derive(Default)]
pub(crate) struct Matches {
    pub(crate) contents: HashMap<Sha256, Matched>,
    pub(crate) listed: Vec<Listed>,
    /// How each text was looked for, segment by segment.
    pub(crate) ways: Vec<Vec<Way>>,
    /// How many distinct lines each text matched.
    pub(crate) lines: Vec<u64>,
    pub(crate) read: Read,
    /// Where matches begin that are hits and no stored line holds: patterns
    /// over line ends, long ones in lines stored in parts.
    pub(crate) whole: multiline::Found,
    /// Lines and texts of which not everything a pattern may match was seen
    /// at once.
    pub(crate) cut_lines: u64,
    pub(crate) cut_texts: u64,
    /// Phrases that reached the end of a piece of a text.
    dangling: Vec<Dangling>,
}

impl Matches {
    /// Where matches begin in a text that no stored line holds.
    pub(crate) fn starts(&self, content: &Sha256, part: Option<&Layer>) -> Option<&Starts> {
        if self.whole.is_empty() {
            return None;
        }
        self.whole.get(&(*content, part.cloned()))
    }

    /// Adds what looking for the rarest text everywhere took, and what it did
    /// not see.
    pub(crate) fn take_first_look(&mut self, first: &FirstLook) {
        for (ways, way) in self.ways.iter_mut().zip(&first.ways) {
            if let Some(known) = ways.get_mut(first.leaf) {
                *known = way.and(*known);
            }
        }
        self.read.frames += first.read.frames;
        self.read.bytes += first.read.bytes;
        self.cut_lines = self.cut_lines.max(first.cut_lines);
        self.cut_texts = self.cut_texts.max(first.cut_texts);
    }

    /// Finds where phrases cross line ends in a segment.
    pub(crate) fn cross(
        &mut self,
        segment: &Segment,
        number: u32,
        plan: &Plan,
        scan: bool,
        within: Option<&[u32]>,
    ) -> Result<Crossings, IndexError> {
        let mut crossings = Crossings::default();
        for (n, phrase) in plan.phrases.iter().enumerate() {
            let head = std::slice::from_ref(&phrase.head);
            let found = verify::find(segment, head, scan, within)?;
            self.read.frames += found.read.frames;
            self.read.bytes += found.read.bytes;
            let mut follower = Follower::new(segment, &phrase.crossing, n);
            for heads in &found.sets {
                follower.find(number, heads, &mut crossings, &mut self.dangling)?;
            }
            for way in found.ways {
                crossings.ways.push((phrase.leaf, way));
            }
        }
        Ok(crossings)
    }

    /// Adds what matched in a segment: lines to chunks, chunks to documents,
    /// documents to contents, of those `inside` where it is given. Text is not
    /// touched.
    pub(crate) fn add(
        &mut self,
        searcher: &Searcher,
        number: u32,
        found: LineSets,
        crossings: Crossings,
        plan: &Plan,
        inside: Option<&Inside>,
    ) -> Result<(), IndexError> {
        let segment = searcher.segment(number);
        let chunks = chunks_of(segment, &found.sets, &crossings, plan, inside)?;
        let documents = documents_of(segment, &chunks, &crossings, plan, inside)?;
        self.add_contents(searcher, number, documents, plan.listed())?;
        self.listed.push(Listed {
            lines: Lines::of(listed_lines(&found.sets, plan)),
            chunks: listed_chunks(segment, &chunks, plan),
            crossings,
        });
        Ok(())
    }

    /// Adds how the texts were looked for in a segment, and how many lines
    /// matched each.
    pub(crate) fn note(&mut self, found: &LineSets, crossings: &Crossings) {
        self.read.frames += found.read.frames;
        self.read.bytes += found.read.bytes;
        let mut ways = found.ways.clone();
        for (leaf, way) in &crossings.ways {
            if let Some(known) = ways.get_mut(*leaf) {
                *known = known.and(*way);
            }
        }
        self.ways.push(ways);
        self.lines.resize(found.sets.len(), 0);
        for (lines, set) in self.lines.iter_mut().zip(&found.sets) {
            *lines += set.len() as u64;
        }
    }

    fn add_contents(
        &mut self,
        searcher: &Searcher,
        number: u32,
        documents: Vec<(u32, u64)>,
        listed: u64,
    ) -> Result<(), IndexError> {
        let segment = searcher.segment(number);
        for (document, mask) in documents {
            let content = segment.content(segment.document(document)?.content)?;
            let Some(content) = searcher.resolve(content) else {
                continue;
            };
            let matched = self.contents.entry(content).or_default();
            matched.mask |= mask;
            if mask & listed != 0 {
                matched.documents.push((number, document));
            }
        }
        Ok(())
    }

    /// Searches whole texts for patterns over line ends.
    pub(crate) fn search_whole(
        &mut self,
        searcher: &Searcher,
        plan: &Plan,
        within: Option<&Within>,
    ) -> Result<(), IndexError> {
        for (n, leaf) in plan.leaves.iter().enumerate() {
            if let Matcher::Whole(pattern) = &leaf.matcher {
                let (found, cut) = multiline::find(searcher, pattern, within)?;
                self.cut_texts = self.cut_texts.max(cut);
                self.begin_at(searcher, n, leaf, found)?;
            }
        }
        Ok(())
    }

    /// Searches lines that are stored in parts for what may match over more
    /// than parts share.
    pub(crate) fn search_long(
        &mut self,
        searcher: &Searcher,
        plan: &Plan,
        scan: bool,
        within: Option<&Within>,
    ) -> Result<(), IndexError> {
        let leaves = plan.leaves.iter().enumerate();
        let mut leaves = leaves
            .filter(|(_, leaf)| !leaf.matcher.fits_a_part())
            .peekable();
        if leaves.peek().is_none() {
            return Ok(());
        }
        let lines = LongLines::read(searcher, within)?;
        for (n, leaf) in leaves {
            let (found, cut) = lines.find(searcher, leaf, scan)?;
            self.cut_lines = self.cut_lines.max(cut);
            self.begin_at(searcher, n, leaf, found)?;
        }
        Ok(())
    }

    /// Adds where matches of a text begin that no stored line holds.
    fn begin_at(
        &mut self,
        searcher: &Searcher,
        n: usize,
        leaf: &Leaf,
        found: multiline::Found,
    ) -> Result<(), IndexError> {
        for ((content, part), starts) in found {
            let matched = self.contents.entry(content).or_default();
            matched.mask |= 1 << n;
            self.lines[n] += starts.len() as u64;
            if !leaf.lists {
                continue;
            }
            for (number, document) in searcher.documents_of(&content) {
                let view = searcher.segment(number).document(document)?;
                let place = (number, document);
                if view.part == part
                    && let Err(at) = matched.documents.binary_search(&place)
                {
                    matched.documents.insert(at, place);
                }
            }
            let known = self.whole.entry((content, part)).or_default();
            for (line, start) in starts {
                let first = known.entry(line).or_insert(start);
                if start.offset < first.offset {
                    *first = start;
                }
            }
        }
        Ok(())
    }

    /// Follows phrases from the end of a segment's piece of a text into the
    /// next one.
    pub(crate) fn join(&mut self, searcher: &Searcher, plan: &Plan) -> Result<(), IndexError> {
        for dangling in std::mem::take(&mut self.dangling) {
            let phrase = &plan.phrases[dangling.crossed.phrase];
            if !ends_later(searcher, &phrase.crossing, &dangling)? {
                continue;
            }
            let segment = searcher.segment(dangling.segment);
            let document = segment.document(dangling.document)?;
            let Some(content) = searcher.resolve(segment.content(document.content)?) else {
                continue;
            };
            let matched = self.contents.entry(content).or_default();
            matched.mask |= 1 << phrase.leaf;
            if plan.listed() >> phrase.leaf & 1 == 1 {
                let place = (dangling.segment, dangling.document);
                if let Err(at) = matched.documents.binary_search(&place) {
                    matched.documents.insert(at, place);
                }
                let listed = &mut self.listed[dangling.segment as usize];
                let place = (dangling.document, dangling.nth);
                let between = listed.crossings.between.entry(place);
                between.or_default().push(dangling.crossed);
            }
        }
        Ok(())
    }
}

/// The chunks that hold matching lines, or in which phrases begin.
fn chunks_of(
    segment: &Segment,
    found: &[Vec<u32>],
    crossings: &Crossings,
    plan: &Plan,
    inside: Option<&Inside>,
) -> Result<Vec<(u32, u64)>, IndexError> {
    let is_inside = |chunk: u32| inside.is_none_or(|inside| inside.has_chunk(chunk));
    let mut chunks = Masks::new(segment.chunk_count());
    for (leaf, lines) in found.iter().enumerate() {
        segment.chunks_of_lines(lines, |chunk| {
            if is_inside(chunk) {
                chunks.add(chunk, 1 << leaf);
            }
        })?;
    }
    let crossed = crossings.inside.iter();
    for (chunk, crossed) in crossed.filter(|(chunk, _)| is_inside(**chunk)) {
        chunks.add(*chunk, plan.mask_of(crossed));
    }
    Ok(chunks.ascending())
}

/// The documents that hold such chunks, or in which phrases go from one to the
/// next.
fn documents_of(
    segment: &Segment,
    chunks: &[(u32, u64)],
    crossings: &Crossings,
    plan: &Plan,
    inside: Option<&Inside>,
) -> Result<Vec<(u32, u64)>, IndexError> {
    let is_inside = |document: u32| inside.is_none_or(|inside| inside.has_document(document));
    let mut documents = Masks::new(segment.document_count());
    let crossed = crossings.between.iter();
    for ((document, _), crossed) in crossed.filter(|((document, _), _)| is_inside(*document)) {
        documents.add(*document, plan.mask_of(crossed));
    }
    segment.documents_of_chunks(chunks, |document, mask| {
        if is_inside(document) {
            documents.add(document, mask);
        }
    })?;
    Ok(documents.ascending())
}

fn by_leaf(found: &[Vec<u32>]) -> impl Iterator<Item = (usize, u32)> {
    let sets = found.iter().enumerate();
    sets.flat_map(|(leaf, set)| set.iter().map(move |line| (leaf, *line)))
}

/// The lines that are hits, ascending.
fn listed_lines(found: &[Vec<u32>], plan: &Plan) -> Vec<u32> {
    let listed = plan.listed();
    let lines = by_leaf(found).filter(|(leaf, _)| listed >> leaf & 1 == 1);
    let mut lines: Vec<u32> = lines.map(|(_, line)| line).collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// The chunks that hold hits: a bit each.
fn listed_chunks(segment: &Segment, chunks: &[(u32, u64)], plan: &Plan) -> Vec<u64> {
    let listed = plan.listed();
    let mut bits = vec![0u64; (segment.chunk_count() as usize).div_ceil(64)];
    for (chunk, _) in chunks.iter().filter(|(_, mask)| mask & listed != 0) {
        if let Some(word) = bits.get_mut(*chunk as usize / 64) {
            *word |= 1 << (chunk % 64);
        }
    }
    bits
}
