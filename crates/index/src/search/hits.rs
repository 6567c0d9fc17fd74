//! From a matching member to its hits: what is said of each, and the way back
//! to it.

use std::cmp::Ordering;
use std::ops::{ControlFlow, RangeInclusive};
use std::sync::Arc;

use crate::IndexError;
use crate::search::compiled_query::Plan;
use crate::search::hit_lines::{Finder, Found, part_of};
use crate::search::match_set::Matches;
use crate::search::searcher::Searcher;
use crate::search::snippet::{Cutter, Snippet, window};
use crate::search::{Place, SearchOptions};
use crate::segment::DocumentView;
use crate::segment::metadata::{Occurrence, ResultMetadata};
use evidence::{Layer, ResultId, Sha256, Time};

/// A line that answers a query, and the way back to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Shared by the hits of a member that follow each other.
    pub member: Arc<HitMember>,
    /// From 1, in the decoded text.
    pub line: u64,
    /// Of the first match: bytes in the decoded text (UTF-8), from 0.
    pub offset: u64,
    /// **Units**: bytes of the first match, up to the line's end where a
    /// phrase goes on behind it.
    pub len: u64,
    /// The member is listed by its fields alone; its first line stands for it.
    pub is_bare: bool,
    /// Shared by the hits of the same line.
    pub shown: Arc<Snippet>,
    pub before: Vec<String>,
    pub after: Vec<String>,
}

impl Hit {
    /// **Units**: bytes of the lines it shows.
    pub(crate) fn text_bytes(&self) -> usize {
        let around = self.before.iter().chain(&self.after);
        self.shown.text.len() + around.map(String::len).sum::<usize>()
    }
}

/// The text a hit stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitMember {
    pub id: ResultId,
    /// What is peeled off on the way in, `output` or `errors` last for those
    /// of a transcript.
    pub layers: Vec<Layer>,
    pub content: Sha256,
    pub device: Option<String>,
    pub machine_id: Option<String>,
    pub script: Option<String>,
    pub time: Option<Time>,
    /// The member's path as it is printed; empty where it is the result itself.
    pub path: String,
    /// Where the result was collected or imported from.
    pub result_path: Option<String>,
}

impl HitMember {
    fn of(result: ResultMetadata, occurrence: Occurrence, part: Option<Layer>) -> Arc<Self> {
        let mut layers = occurrence.layers;
        layers.extend(part);
        Arc::new(Self {
            id: result.id,
            layers,
            content: occurrence.content,
            device: result.device,
            machine_id: result.machine_id,
            script: result.script.or(occurrence.script),
            time: result.time,
            path: occurrence.member,
            result_path: result.path,
        })
    }
}

/// Members after which the memory of all maps is given back: in the order of
/// time they lie all over the segments. Four times as often, and mapping what
/// they need again takes a tenth of the time of listing them.
const MEMBERS_A_REST: u32 = 1 << 13;

/// Hands out the hits of members.
pub(crate) struct Lister<'a> {
    finder: Finder<'a>,
    teller: Teller<'a>,
    /// Members since the maps were given back.
    listed: u32,
}

impl<'a> Lister<'a> {
    pub(crate) fn new(
        searcher: &'a Searcher,
        plan: &'a Plan,
        matches: &'a Matches,
        options: &SearchOptions,
    ) -> Self {
        Self {
            finder: Finder::new(searcher, plan, matches),
            teller: Teller {
                searcher,
                cutter: Cutter::new(searcher, plan, options.plain),
                context: options.context,
                last: None,
            },
            listed: 0,
        }
    }

    /// To be called with each member.
    fn pass(&mut self) {
        self.listed += 1;
        if self.listed == MEMBERS_A_REST {
            self.listed = 0;
            self.teller.searcher.release();
        }
    }

    /// Hands out the hits of one member, in the order of its text.
    pub(crate) fn list(
        &mut self,
        place: Place,
        each: &mut dyn FnMut(Hit) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, IndexError> {
        self.pass();
        let Self { finder, teller, .. } = self;
        let content = teller.searcher.content_of(place)?;
        let (mut is_bare, mut failure) = (true, None);
        let flow = finder.each(&content, &mut |found| {
            is_bare = false;
            match teller.hit(place, found) {
                Ok(hit) => each(hit),
                Err(error) => {
                    failure = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        match failure {
            Some(error) => Err(error),
            None if is_bare => Ok(each(teller.bare_hit(place)?)),
            None => Ok(flow),
        }
    }

    /// One hit of a member: at a line, or the member itself.
    pub(crate) fn at(&mut self, place: Place, found: Option<Found>) -> Result<Hit, IndexError> {
        match found {
            Some(found) => self.teller.hit(place, found),
            None => self.teller.bare_hit(place),
        }
    }

    /// The lines of a member's hits.
    pub(crate) fn lines_at(&mut self, place: Place) -> Result<Vec<Found>, IndexError> {
        self.pass();
        let content = self.teller.searcher.content_of(place)?;
        let mut lines = Vec::new();
        let _ = self.finder.each(&content, &mut |found| {
            lines.push(found);
            ControlFlow::Continue(())
        })?;
        Ok(lines)
    }

    pub(crate) fn text_of(&mut self, found: &Found) -> Result<String, IndexError> {
        self.teller.cutter.text(found.segment, found.line_id)
    }

    /// How many hits of a member `keep` is true for.
    pub(crate) fn count_kept(
        &mut self,
        place: Place,
        keep: &mut dyn FnMut(&Hit) -> bool,
    ) -> Result<u64, IndexError> {
        let mut hits = 0;
        let _ = self.list(place, &mut |hit| {
            hits += u64::from(keep(&hit));
            ControlFlow::Continue(())
        })?;
        Ok(hits)
    }

    /// How many hits a content gives at each of its places.
    pub(crate) fn count(&mut self, content: &Sha256) -> Result<u64, IndexError> {
        self.pass();
        Ok(self.finder.count(content)?.max(1))
    }
}

/// Says what is to be said of found lines.
struct Teller<'a> {
    searcher: &'a Searcher,
    cutter: Cutter<'a>,
    context: usize,
    /// The member of the last hit, and the document of it.
    last: Option<(Place, (u32, u32), Arc<HitMember>)>,
}

impl Teller<'_> {
    fn hit(&mut self, place: Place, found: Found) -> Result<Hit, IndexError> {
        let member = self.member(place, &found)?;
        let cut = self.cutter.cut(&found)?;
        let mut shown = cut.shown;
        if cut.is_part {
            let whole = self.line_bytes(&member.content, &found)?;
            Arc::make_mut(&mut shown).line_bytes = Some(whole);
        }
        let (before, after) = match self.context {
            0 => (Vec::new(), Vec::new()),
            lines => self.context(&member.content, &found, lines as u64)?,
        };
        Ok(Hit {
            line: found.line + 1,
            offset: found.offset.saturating_add_signed(cut.start),
            len: cut.len,
            is_bare: false,
            member,
            shown,
            before,
            after,
        })
    }

    /// A member that matches by its fields: its first line stands for it.
    fn bare_hit(&mut self, place: Place) -> Result<Hit, IndexError> {
        let (result, occurrence) = self.searcher.facts_of(place)?;
        let content = occurrence.content;
        let bare = |part, shown| Hit {
            member: HitMember::of(result, occurrence, part),
            line: 1,
            offset: 0,
            len: 0,
            is_bare: true,
            shown: Arc::new(shown),
            before: Vec::new(),
            after: Vec::new(),
        };
        let mut of_empty = None;
        for (number, document) in self.searcher.documents_of(&content) {
            let segment = self.searcher.segment(number);
            let document = segment.document(document)?;
            let chunks = segment.document_chunks(&document)?;
            let Some(chunk) = chunks.first() else {
                of_empty = of_empty.or(document.part);
                continue;
            };
            let Some(line_id) = segment.chunk_lines(*chunk)?.first().copied() else {
                continue;
            };
            let text = self.cutter.text(number, line_id)?;
            let window = window(&text, 0);
            let text_truncated = window.len() < text.len();
            let mut shown = Snippet::of(text[window].to_string());
            shown.text_truncated = text_truncated;
            shown.line_bytes = text_truncated.then_some(text.len() as u64);
            return Ok(bare(document.part, shown));
        }
        Ok(bare(of_empty, Snippet::default()))
    }

    fn member(&mut self, place: Place, found: &Found) -> Result<Arc<HitMember>, IndexError> {
        let document = (found.segment, found.document);
        if let Some((at, of, known)) = &self.last
            && (*at, *of) == (place, document)
        {
            return Ok(Arc::clone(known));
        }
        let (result, occurrence) = self.searcher.facts_of(place)?;
        let part = part_of(self.searcher, found)?;
        let member = HitMember::of(result, occurrence, part);
        self.last = Some((place, document, Arc::clone(&member)));
        Ok(member)
    }

    /// The lines before and behind a found one, each cut to what is shown.
    fn context(
        &mut self,
        content: &Sha256,
        found: &Found,
        lines: u64,
    ) -> Result<(Vec<String>, Vec<String>), IndexError> {
        let part = part_of(self.searcher, found)?;
        let near = found.line.saturating_sub(lines)..=found.line.saturating_add(lines);
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for (number, document) in self.searcher.documents_of(content) {
            let document = self.searcher.segment(number).document(document)?;
            if document.part != part || document.line > *near.end() {
                continue;
            }
            for (line, id) in self.lines_near(number, &document, &near)? {
                let side = match line.cmp(&found.line) {
                    Ordering::Less => &mut before,
                    Ordering::Equal => continue,
                    Ordering::Greater => &mut after,
                };
                let text = self.cutter.text(number, id)?;
                side.push(text[window(&text, 0)].to_string());
            }
        }
        Ok((before, after))
    }

    /// Lines of a document by their number, each with where it is stored: the
    /// first of its parts where there are several.
    fn lines_near(
        &self,
        number: u32,
        document: &DocumentView<'_>,
        near: &RangeInclusive<u64>,
    ) -> Result<Vec<(u64, u32)>, IndexError> {
        let segment = self.searcher.segment(number);
        let (mut line, mut lines) = (document.line, Vec::new());
        for chunk in segment.document_chunks(document)? {
            let here = segment.chunk(chunk)?;
            if line + here.lines < *near.start() || line > *near.end() {
                line += here.lines;
                continue;
            }
            let _ = segment.chunk_extents(chunk, &mut |extent| {
                let begins = segment.mark(extent.line).is_none_or(|mark| mark.first);
                if begins && near.contains(&line) {
                    lines.push((line, extent.line));
                }
                line += extent.ended;
                ControlFlow::Continue(())
            })?;
        }
        Ok(lines)
    }

    /// The length of a line stored in parts, over all of them.
    fn line_bytes(&self, content: &Sha256, found: &Found) -> Result<u64, IndexError> {
        let part = part_of(self.searcher, found)?;
        let mut total = 0;
        for (number, document) in self.searcher.documents_of(content) {
            let document = self.searcher.segment(number).document(document)?;
            if document.part == part {
                total += self.line_bytes_in(number, &document, found.line)?;
            }
        }
        Ok(total)
    }

    fn line_bytes_in(
        &self,
        number: u32,
        document: &DocumentView<'_>,
        wanted: u64,
    ) -> Result<u64, IndexError> {
        let segment = self.searcher.segment(number);
        let (mut line, mut total) = (document.line, 0);
        for chunk in segment.document_chunks(document)? {
            let here = segment.chunk(chunk)?;
            if line + here.lines < wanted || line > wanted {
                line += here.lines;
                continue;
            }
            let _ = segment.chunk_extents(chunk, &mut |extent| {
                if line == wanted {
                    let mark = segment.mark(extent.line);
                    total += extent.bytes - u64::from(mark.is_some_and(|mark| mark.terminated));
                }
                line += extent.ended;
                ControlFlow::Continue(())
            })?;
        }
        Ok(total)
    }
}
