//! Which members a query selects: in order, with their devices and times. Who
//! compares begins here; what the members hold is told segment by segment
//! (`held`), each distinct line once, whoever and however many hold it.

use std::collections::HashMap;

use crate::IndexError;
use crate::line_sets::line_holders::SegmentHolders;
use crate::line_sets::line_position::LinePositions;
use crate::query::ast::Query;
use crate::search::compiled_query::Plan;
use crate::search::match_set::Matches;
use crate::search::searcher::Searcher;
use crate::search::{HitOrder, Place};
use crate::segment::metadata::{Occurrence, ResultMetadata};
use evidence::{Layer, Sha256};

/// What a search calls one device: the machine id, else the name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SelectedDevice {
    pub machine_id: Option<String>,
    /// As the newest of its results has it, whether or not that is selected.
    pub name: Option<String>,
}

impl SelectedDevice {
    /// Whether both are one: the machine id tells, else the name, in any case.
    pub fn is_same(&self, other: &Self) -> bool {
        self.key() == other.key()
    }

    fn key(&self) -> Option<String> {
        device_key(self.machine_id.as_deref(), self.name.as_deref())
    }
}

/// What tells devices apart: the machine id, else the name, in any case; `None`
/// where neither is known.
pub fn device_key(machine_id: Option<&str>, name: Option<&str>) -> Option<String> {
    Some(machine_id.or(name)?.to_lowercase())
}

/// A selected member.
#[derive(Clone, Copy)]
struct Member {
    place: Place,
    device: Option<u32>,
}

/// A content and the members that are one, by rank, ascending.
pub(crate) struct Shared {
    pub(crate) content: Sha256,
    pub(crate) ranks: Vec<u32>,
}

/// The members that a query selects. A member's *rank* is its place in the
/// order of a search: the oldest first, what has no time last.
pub struct MemberSet<'a> {
    pub(crate) searcher: &'a Searcher,
    pub(crate) plan: Plan,
    pub(crate) matches: Matches,
    members: Vec<Member>,
    /// Ranks below this have a time.
    timed: u32,
    devices: Vec<SelectedDevice>,
    contents: Vec<Shared>,
    known: HashMap<Sha256, u32>,
}

impl Searcher {
    /// Selects the members of a query.
    ///
    /// **Memory**: that of a search, 50 bytes a member, 120 a content and 200 a device.
    pub fn select(&self, query: &Query) -> Result<MemberSet<'_>, IndexError> {
        let plan = Plan::compile(query)?;
        let matches = self.matches(&plan, false)?;
        let places = self.places(&plan, &matches, HitOrder::OldestFirst)?;
        let mut selection = MemberSet {
            searcher: self,
            plan,
            matches,
            members: Vec::with_capacity(places.len()),
            timed: 0,
            devices: Vec::new(),
            contents: Vec::new(),
            known: HashMap::new(),
        };
        let mut devices = HashMap::new();
        for (rank, place) in (0u32..).zip(places) {
            let (result, occurrence) = self.facts_of(place)?;
            if result.time.as_ref().is_some_and(|t| t.instant().is_some()) {
                selection.timed = rank + 1;
            }
            let device = selection.device_of(&result, &mut devices);
            selection.members.push(Member { place, device });
            let content = occurrence.content;
            let next = selection.contents.len() as u32;
            let shared = *selection.known.entry(content).or_insert(next);
            if shared == next {
                let ranks = Vec::new();
                selection.contents.push(Shared { content, ranks });
            }
            selection.contents[shared as usize].ranks.push(rank);
        }
        Ok(selection)
    }
}

impl<'a> MemberSet<'a> {
    /// The device of a result: by its machine id, else by its name, in which
    /// case does not count; `None` where neither is known.
    fn device_of(
        &mut self,
        result: &ResultMetadata,
        known: &mut HashMap<String, u32>,
    ) -> Option<u32> {
        let key = device_key(result.machine_id.as_deref(), result.device.as_deref())?;
        if let Some(number) = known.get(&key) {
            return Some(*number);
        }
        let number = self.devices.len() as u32;
        self.devices.push(SelectedDevice {
            machine_id: result.machine_id.clone(),
            name: self.searcher.names().get(&key).cloned(),
        });
        known.insert(key, number);
        Some(number)
    }

    /// Every device, in the order of the first rank.
    pub fn devices(&self) -> &[SelectedDevice] {
        &self.devices
    }

    /// The device of every member, by rank; `None` where it is not known.
    pub fn ranks(&self) -> impl ExactSizeIterator<Item = Option<u32>> + '_ {
        self.members.iter().map(|member| member.device)
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Members of a rank below this have a time.
    pub fn timed(&self) -> u32 {
        self.timed
    }

    /// Lines and texts in which a match longer than a window may be missed.
    pub fn cut(&self) -> u64 {
        self.matches.cut_lines + self.matches.cut_texts
    }

    pub fn facts(&self, rank: u32) -> Result<(ResultMetadata, Occurrence), IndexError> {
        self.searcher.facts_of(self.members[rank as usize].place)
    }

    pub fn segments(&self) -> u32 {
        self.searcher.segments().len() as u32
    }

    /// The lines of a segment that selected members hold: those that match
    /// where the query asks for text, all where it selects by fields. Only
    /// those of one part of the texts (`errors`) where one is named. Read on
    /// several threads.
    pub fn held(
        &self,
        segment: u32,
        part: Option<&Layer>,
        threads: usize,
    ) -> Result<SegmentHolders<'_>, IndexError> {
        SegmentHolders::open(self, segment, part, threads)
    }

    /// Looks places up again.
    pub fn spots(&self) -> LinePositions<'_> {
        LinePositions::new(self)
    }

    pub(crate) fn contents(&self) -> &[Shared] {
        &self.contents
    }

    /// Place of a content in `contents`.
    pub(crate) fn content(&self, content: &Sha256) -> Option<u32> {
        self.known.get(content).copied()
    }

    /// Whether the lines of a content are those that match, not all.
    pub(crate) fn has_hits(&self, content: &Sha256) -> bool {
        let matched = self.matches.contents.get(content);
        matched.is_some_and(|matched| !matched.documents.is_empty())
    }

    pub(crate) fn place(&self, rank: u32) -> Place {
        self.members[rank as usize].place
    }
}
