//! Answering a query: lines, then members, then hits in order.

pub(crate) mod candidates;
pub(crate) mod compiled_query;
pub(crate) mod cross_line_phrases;
pub(crate) mod hit_lines;
pub(crate) mod hits;
pub(crate) mod long_lines;
pub(crate) mod match_set;
pub(crate) mod multiline;
pub(crate) mod prefetch;
pub(crate) mod rank_by_rarity;
pub(crate) mod restriction;
pub(crate) mod searcher;
pub(crate) mod snippet;
pub(crate) mod text_window;
pub(crate) mod verify;

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::IndexError;
use crate::query::ast::{Field, Query};
use crate::search::compiled_query::{Plan, value_of};
use crate::search::hits::{Hit, Lister};
use crate::search::match_set::Matches;
use crate::search::restriction::Inside;
use crate::search::searcher::Searcher;
use crate::search::verify::Way;
use evidence::{ResultId, Sha256};

/// How a search is to answer.
#[derive(Clone, Debug, Default)]
pub struct SearchOptions {
    /// Stop after so many hits.
    pub limit: Option<u64>,
    /// Lines to show before and after each hit.
    pub context: usize,
    pub order: HitOrder,
    /// Leave out where lines match (`spans`): nobody looks at it.
    pub plain: bool,
    /// Read every distinct line instead of trusting the terms: slow, and the
    /// same answer.
    pub scan: bool,
}

/// Hits are ordered by time, then key, then place in the text. What has no
/// time comes last either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HitOrder {
    #[default]
    OldestFirst,
    NewestFirst,
    /// Lines on the fewest devices first; among those as many stand on, the
    /// same lines together.
    RarestFirst,
}

/// What a search did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchStats {
    pub hits: u64,
    /// Members that match.
    pub members: u64,
    /// Devices of those, where hits are counted by device.
    pub devices: Option<u64>,
    /// Members that were judged.
    pub searched_members: u64,
    /// Distinct lines that were searched.
    pub searched_lines: u64,
    /// Distinct lines were read one by one: for some text of the query
    /// neither words nor 4-grams narrow them.
    pub scanned: bool,
    /// Stopped at the limit or by the receiver.
    pub stopped: bool,
    /// Lines of more than 4 MiB (patterns: 32 MiB) in which a text of the query
    /// may match over more than was seen of them at once: not finding it there
    /// is no proof. The most for any text.
    pub cut_lines: u64,
    /// The same for texts of more than 32 MiB and patterns over line ends.
    pub cut_texts: u64,
    /// How each text of the query was looked for.
    pub texts: Vec<TextPlan>,
    /// Frames of distinct text that were inflated to verify candidates.
    pub frames: u64,
    /// **Units**: bytes of those.
    pub frame_bytes: u64,
    /// Finding lines, and judging members by them.
    pub finding: Duration,
    /// Listing or counting the hits.
    pub listing: Duration,
}

/// How one text was looked for, over all segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextPlan {
    pub text: String,
    /// Candidates by the words it holds: distinct lines.
    pub term_lines: u64,
    /// Candidates by its 4-grams: groups of about 4 KiB of distinct lines.
    pub gram_groups: u64,
    /// Candidates in the members that can match at all, by a rarer text or by
    /// fields: distinct lines.
    pub within_lines: u64,
    /// Distinct lines read one by one.
    pub scanned_lines: u64,
    /// Every text was built again, since the pattern may match over line ends.
    pub is_whole: bool,
    /// Distinct lines that match.
    pub lines: u64,
}

/// Hits and members for one value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HitCount {
    /// Empty where the member has no such value, or none was asked for.
    pub value: String,
    pub hits: u64,
    pub members: u64,
}

/// A member that matches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// Nanoseconds; the last possible one where there is no time.
    time: i64,
    id: ResultId,
    pub(crate) segment: u32,
    pub(crate) row: u32,
}

impl Searcher {
    /// Finds every hit of a query and hands them out in order.
    ///
    /// **Errors**: a query that cannot be compiled, a damaged segment. A hit
    /// handed out before an error stands.
    ///
    /// **Memory**: 8 bytes a distinct matching line, about 100 a matching
    /// content, 48 a matching member.
    pub fn search(
        &self,
        query: &Query,
        options: &SearchOptions,
        each: &mut dyn FnMut(Hit) -> ControlFlow<()>,
    ) -> Result<SearchStats, IndexError> {
        let began = Instant::now();
        let plan = Plan::compile(query)?;
        let matches = self.matches(&plan, options.scan)?;
        let places = self.places(&plan, &matches, options.order)?;
        let mut summary = self.summary(&plan, &matches, places.len(), began);
        let lister = || Lister::new(self, &plan, &matches, options);
        let mut give = |hit: Hit| {
            if options.limit.is_some_and(|limit| summary.hits >= limit) {
                summary.stopped = true;
                return ControlFlow::Break(());
            }
            summary.hits += 1;
            let flow = each(hit);
            summary.stopped = flow.is_break();
            flow
        };
        if options.order == HitOrder::RarestFirst {
            let mut lister = lister();
            for (place, found) in rank_by_rarity::rank(self, &mut lister, &places)?.hits() {
                if give(lister.at(place, found)?).is_break() {
                    break;
                }
            }
        } else {
            let lines: u64 = matches.lines.iter().sum();
            let most = options.limit.unwrap_or(u64::MAX);
            let expected = most.min(lines + places.len() as u64);
            prefetch::list(&places, expected, lister, &mut give)?;
        }
        summary.listing = began.elapsed() - summary.finding;
        Ok(summary)
    }

    /// Counts hits and members, by the values of a field where one is given:
    /// most hits first; with `keep` those hits it is true for, and the members
    /// that have any.
    ///
    /// **Cost**: text is read to find the lines, and with `keep` each line
    /// that is a hit.
    pub fn count(
        &self,
        query: &Query,
        by: Option<Field>,
        scan: bool,
        mut keep: Option<&mut dyn FnMut(&Hit) -> bool>,
    ) -> Result<(Vec<HitCount>, SearchStats), IndexError> {
        let began = Instant::now();
        let plan = Plan::compile(query)?;
        let matches = self.matches(&plan, scan)?;
        let places = self.places(&plan, &matches, HitOrder::OldestFirst)?;
        let mut summary = self.summary(&plan, &matches, places.len(), began);
        let options = SearchOptions {
            plain: true,
            ..SearchOptions::default()
        };
        let mut lister = Lister::new(self, &plan, &matches, &options);
        let mut by_content: HashMap<Sha256, u64> = HashMap::new();
        let mut counts: HashMap<String, HitCount> = HashMap::new();
        // Several may have one name, and one several.
        let mut devices = (by == Some(Field::Device)).then(HashSet::new);
        for place in places {
            let content = self.content_of(place)?;
            let hits = match (&mut keep, by_content.get(&content)) {
                (Some(keep), _) => lister.count_kept(place, keep)?,
                (None, Some(hits)) => *hits,
                (None, None) => {
                    let hits = lister.count(&content)?;
                    by_content.insert(content, hits);
                    hits
                }
            };
            if hits == 0 {
                summary.members -= 1;
                continue;
            }
            summary.hits += hits;
            if let Some(devices) = &mut devices {
                devices.extend(self.device_of(place)?);
            }
            let value = by.map_or(String::new(), |field| self.value(place, field));
            let count = counts.entry(value.clone()).or_insert(HitCount {
                value,
                hits: 0,
                members: 0,
            });
            count.hits += hits;
            count.members += 1;
        }
        summary.devices = devices.map(|devices| devices.len() as u64);
        let mut counts: Vec<HitCount> = counts.into_values().collect();
        counts.sort_by(|a, b| b.hits.cmp(&a.hits).then_with(|| a.value.cmp(&b.value)));
        summary.listing = began.elapsed() - summary.finding;
        Ok((counts, summary))
    }

    fn summary(
        &self,
        plan: &Plan,
        matches: &Matches,
        members: usize,
        began: Instant,
    ) -> SearchStats {
        let texts = self.text_plans(plan, matches);
        SearchStats {
            members: members as u64,
            searched_members: self.members(),
            searched_lines: self.segments().iter().map(|s| s.meta.distinct_lines).sum(),
            cut_lines: matches.cut_lines,
            cut_texts: matches.cut_texts,
            scanned: texts.iter().any(|text| text.scanned_lines > 0),
            texts,
            frames: matches.read.frames,
            frame_bytes: matches.read.bytes,
            finding: began.elapsed(),
            ..SearchStats::default()
        }
    }

    fn text_plans(&self, plan: &Plan, matches: &Matches) -> Vec<TextPlan> {
        let leaves = plan.leaves.iter().enumerate();
        let plans = leaves.map(|(n, leaf)| {
            let mut text = TextPlan {
                text: leaf.text.clone(),
                lines: matches.lines.get(n).copied().unwrap_or(0),
                ..TextPlan::default()
            };
            for (segment, ways) in self.segments().iter().zip(&matches.ways) {
                match ways.get(n) {
                    Some(Way::Terms { lines }) => text.term_lines += *lines as u64,
                    Some(Way::Grams { groups }) => text.gram_groups += *groups as u64,
                    Some(Way::Within { lines }) => text.within_lines += *lines as u64,
                    Some(Way::Scan) => text.scanned_lines += segment.meta.distinct_lines,
                    Some(Way::Whole) => text.is_whole = true,
                    None => {}
                }
            }
            text
        });
        plans.collect()
    }

    /// Everything the texts of a query match; with `scan` by reading every
    /// distinct line.
    pub(crate) fn matches(&self, plan: &Plan, scan: bool) -> Result<Matches, IndexError> {
        let (within, first) = match scan {
            true => (None, None),
            false => self.within(plan)?,
        };
        let mut matches = Matches::default();
        for (number, segment) in self.segments().iter().enumerate() {
            let inside = match &within {
                Some(within) => Some(within.inside(segment, number)?),
                None => None,
            };
            let lines = inside.as_ref().and_then(Inside::lines);
            let found = verify::find(segment, &plan.leaves, scan, lines)?;
            let crossings = matches.cross(segment, number as u32, plan, scan, lines)?;
            matches.note(&found, &crossings);
            matches.add(self, number as u32, found, crossings, plan, inside.as_ref())?;
        }
        if let Some(first) = first {
            matches.take_first_look(&first);
        }
        matches.join(self, plan)?;
        matches.search_long(self, plan, scan, within.as_ref())?;
        matches.search_whole(self, plan, within.as_ref())?;
        Ok(matches)
    }

    /// Every matching member, in order.
    pub(crate) fn places(
        &self,
        plan: &Plan,
        matches: &Matches,
        order: HitOrder,
    ) -> Result<Vec<Place>, IndexError> {
        let mut places = Vec::new();
        let mut contents: Vec<_> = matches.contents.iter().collect();
        contents.sort_unstable_by_key(|(content, _)| **content);
        for (number, segment) in self.segments().iter().enumerate() {
            let facts = segment.facts();
            let damaged = || segment.file().damaged("a row of facts cannot be read");
            let mut results = FxHashMap::default();
            let mut judge = |row: u32, mask: u64| {
                let occurrence = || facts.occurrence(row as usize);
                let place = facts.occurrence_row(row as usize).ok_or_else(damaged)?;
                let result = results
                    .entry(place.result)
                    .or_insert_with(|| facts.result(place.result));
                let result = result.as_ref().ok_or_else(damaged)?;
                if self.counts(segment, result.id) && plan.judges(mask, result, &occurrence) {
                    places.push(Place {
                        time: order.key(result.time.as_ref().and_then(|time| time.nanoseconds())),
                        id: result.id,
                        segment: number as u32,
                        row,
                    });
                }
                Ok::<(), IndexError>(())
            };
            if plan.may_match_without_text() {
                for row in 0..facts.occurrences.len() as u32 {
                    let content = facts.content_at(row as usize).ok_or_else(damaged)?;
                    let matched = matches.contents.get(&content);
                    judge(row, matched.map_or(0, |matched| matched.mask))?;
                }
            } else {
                let mut from = 0;
                for (content, matched) in &contents {
                    for row in facts.rows_of(content, &mut from) {
                        judge(row, matched.mask)?;
                    }
                }
            }
        }
        places.sort_unstable();
        Ok(places)
    }

    pub(crate) fn content_of(&self, place: Place) -> Result<Sha256, IndexError> {
        let segment = self.segment(place.segment);
        let content = segment.facts().content_at(place.row as usize);
        content.ok_or_else(|| segment.file().damaged("an occurrence cannot be read"))
    }

    fn value(&self, place: Place, field: Field) -> String {
        let facts = self.segment(place.segment).facts();
        let occurrence = facts.occurrence(place.row as usize);
        let row = facts.occurrence_row(place.row as usize);
        let Some(result) = row.and_then(|row| facts.result(row.result)) else {
            return String::new();
        };
        value_of(field, &result, &occurrence).unwrap_or_default()
    }
}

impl HitOrder {
    fn key(self, time: Option<i64>) -> i64 {
        match (self, time) {
            (_, None) => i64::MAX,
            (Self::OldestFirst | Self::RarestFirst, Some(time)) => time.min(i64::MAX - 1),
            (Self::NewestFirst, Some(time)) => (!time).min(i64::MAX - 1),
        }
    }
}
