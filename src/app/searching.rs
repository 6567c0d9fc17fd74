//! Search: what was typed becomes one query, hits become rows, and what could
//! not be searched is said.

use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;

use jiff::Timestamp;

use crate::evidence::Locator;
use crate::index::{Field, Hit, Options, Query, ResultFacts, Searcher, Summary, SyntaxError};
use crate::store::Catalogue;

use super::catch_up::open_searcher;
use super::custody;
use super::failure::Failure;
use super::listing::unindexed;
use super::row::{CountRow, HitRow, Place};
use super::typed::parse_time;

/// What to search for, as typed.
#[derive(Clone, Debug, Default)]
pub struct SearchRequest {
    pub query: Option<String>,
    pub regex: Option<String>,
    pub fixed: Option<String>,
    pub ignore_case: bool,
    pub device: Option<String>,
    pub since: Option<String>,
    pub until: Option<String>,
    pub context: u32,
    pub limit: Option<u64>,
}

/// What a search went through.
#[derive(Clone, Debug, Default)]
pub struct SearchSummary {
    pub hits: u64,
    pub members_hit: u64,
    /// `None` where devices were not counted.
    pub devices_hit: Option<u64>,
    /// Members that were searched.
    pub members: u64,
    /// Members that match but for the time asked for, and have none.
    pub undated: u64,
    /// Results sealed and not indexed yet.
    pub unindexed: u64,
    /// Problems that hide text.
    pub unreadable: u64,
    /// Distinct lines that were read one by one, since no word of the query
    /// narrows them down.
    pub scanned_lines: Option<u64>,
    /// The limit was reached, and there are more.
    pub stopped: bool,
}

impl SearchSummary {
    /// Everything there is was searched.
    pub fn is_whole(&self) -> bool {
        self.unindexed == 0 && self.unreadable == 0 && self.undated == 0
    }
}

/// Hands out every hit, in order.
///
/// **Errors**: a query that cannot be read; an index that is damaged.
pub fn search(
    archive: &Path,
    request: &SearchRequest,
    take: &mut dyn FnMut(HitRow) -> Result<(), Failure>,
) -> Result<SearchSummary, Failure> {
    let query = request.query()?;
    let mut open = Open::new(archive)?;
    let Some(searcher) = &open.searcher else {
        return Ok(open.summary);
    };
    let options = Options {
        limit: request.limit,
        context: request.context as usize,
        ..Options::default()
    };
    let mut devices = HashSet::new();
    let mut members = 0;
    let mut last = None;
    let mut failed = None;
    let found = searcher.search(&query, &options, &mut |hit| {
        let place = (hit.id, hit.member.clone());
        if last.as_ref() != Some(&place) {
            members += 1;
            last = Some(place);
        }
        devices.insert(hit.machine_id.clone().or_else(|| hit.device.clone()));
        match take(row(hit)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(failure) => {
                failed = Some(failure);
                ControlFlow::Break(())
            }
        }
    })?;
    if let Some(failure) = failed {
        return Err(failure);
    }
    open.summary.hits = found.hits;
    open.summary.members_hit = members;
    open.summary.devices_hit = Some(devices.len() as u64);
    open.summary.undated = undated(searcher, &query, None)?.values().sum();
    open.summary.note(&found, request);
    open.note_custody(request);
    Ok(open.summary)
}

/// How many hits, for each value of a field where one is named.
pub fn count(
    archive: &Path,
    request: &SearchRequest,
    by: Option<&str>,
) -> Result<(Vec<CountRow>, SearchSummary), Failure> {
    let by = by.map(parse_field).transpose()?;
    let query = request.query()?;
    let mut open = Open::new(archive)?;
    let Some(searcher) = &open.searcher else {
        return Ok((Vec::new(), open.summary));
    };
    let (counts, found) = searcher.count(&query, by, false)?;
    open.summary.hits = found.hits;
    open.summary.members_hit = found.members;
    if by == Some(Field::Device) {
        open.summary.devices_hit = Some(counts.len() as u64);
    }
    let mut undated = undated(searcher, &query, by)?;
    open.summary.undated = undated.values().sum();
    open.summary.note(&found, request);
    open.note_custody(request);
    let mut rows: Vec<_> = counts
        .into_iter()
        .map(|count| CountRow {
            undated: undated.remove(&count.value).unwrap_or(0),
            value: count.value,
            hits: count.hits,
            members: count.members,
        })
        .collect();
    rows.extend(undated.into_iter().map(|(value, undated)| CountRow {
        value,
        undated,
        ..CountRow::default()
    }));
    if by.is_none() && rows.is_empty() {
        rows.push(CountRow::default());
    }
    Ok((rows, open.summary))
}

/// How many members a query leaves out only because they have no time, by the
/// values of a field where one is given.
fn undated(
    searcher: &Searcher,
    query: &Query,
    by: Option<Field>,
) -> Result<BTreeMap<String, u64>, Failure> {
    let mut undated = BTreeMap::new();
    let timeless = timeless(query);
    let has_time = |result: ResultFacts| result.time.is_some_and(|t| t.instant().is_some());
    if timeless == *query || searcher.results().all(has_time) {
        return Ok(undated);
    }
    let (since, until) = (None, None);
    let no_time = Query::Not(Box::new(Query::Time { since, until }));
    for count in searcher.count(&timeless.and(no_time.clone()), by, false)?.0 {
        undated.insert(count.value, count.members);
    }
    // A time beside an OR leaves out less.
    for count in searcher.count(&query.clone().and(no_time), by, false)?.0 {
        if let Some(members) = undated.get_mut(&count.value) {
            *members = members.saturating_sub(count.members);
        }
    }
    undated.retain(|_, members| *members > 0);
    Ok(undated)
}

/// The same query where any time will do. What stands in a NOT stays: there,
/// what has no time is not left out.
fn timeless(query: &Query) -> Query {
    let all = |queries: &[Query]| queries.iter().map(timeless).collect();
    match query {
        Query::Time { .. } => Query::All,
        Query::And(queries) => Query::And(all(queries)),
        Query::Or(queries) => Query::Or(all(queries)),
        other => other.clone(),
    }
}

fn parse_field(word: &str) -> Result<Field, Failure> {
    Field::from_word(word).ok_or_else(|| {
        let known: Vec<_> = Field::ALL.iter().map(|f| f.as_str()).collect();
        Failure::asked(format!("`{word}` is no field to count by"))
            .hint(format!("one of {}", known.join(", ")))
    })
}

/// An index opened for a search, and what is not in it.
struct Open {
    catalogue: Catalogue,
    searcher: Option<Searcher>,
    summary: SearchSummary,
}

impl Open {
    fn new(archive: &Path) -> Result<Self, Failure> {
        let catalogue = custody::open_to_read(archive)?;
        let searcher = open_searcher(archive, &catalogue)?;
        let mut summary = SearchSummary {
            unindexed: unindexed(&catalogue, searcher.as_ref()),
            ..SearchSummary::default()
        };
        if let Some(searcher) = &searcher {
            summary.unreadable = searcher
                .problems()
                .filter(|placed| placed.problem.kind.hides_text())
                .count() as u64;
        }
        Ok(Self {
            catalogue,
            searcher,
            summary,
        })
    }

    /// The search itself is part of the custody. Where the archive cannot be
    /// written (read-only media) nothing depends on it.
    fn note_custody(&self, request: &SearchRequest) {
        let _ = self
            .catalogue
            .note(&custody::event(&format!("search {}", request.said())));
    }
}

impl SearchSummary {
    fn note(&mut self, found: &Summary, request: &SearchRequest) {
        self.members = found.searched_members.saturating_sub(self.undated);
        self.scanned_lines = found.scanned.then_some(found.searched_lines);
        self.stopped = found.stopped && request.limit.is_some();
    }
}

impl SearchRequest {
    /// What was typed as one query: everything given must hold.
    fn query(&self) -> Result<Query, Failure> {
        let now = Timestamp::now();
        let mut query = match &self.query {
            Some(text) => Query::parse(text, now)?,
            None => Query::All,
        };
        if let Some(pattern) = &self.regex {
            query = query.and(Query::regex(pattern, self.ignore_case));
        }
        if let Some(text) = &self.fixed {
            query = query.and(Query::fixed(text, self.ignore_case));
        }
        if let Some(device) = &self.device {
            query = query.and(Query::Field(Field::Device, device.clone()));
        }
        let time = |text: &Option<String>, is_end| {
            let text = text.as_deref();
            text.map(|t| parse_time(t, now, is_end)).transpose()
        };
        let (since, until) = (time(&self.since, false)?, time(&self.until, true)?);
        if since.is_some() || until.is_some() {
            query = query.and(Query::Time { since, until });
        }
        Ok(query)
    }

    /// For the custody log.
    fn said(&self) -> String {
        let flag =
            |name: &str, text: &Option<String>| text.as_ref().map(|t| format!("{name}'{t}'"));
        [
            flag("", &self.query),
            flag("--regex ", &self.regex),
            flag("--fixed ", &self.fixed),
            flag("--device ", &self.device),
            flag("--since ", &self.since),
            flag("--until ", &self.until),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
    }
}

impl From<SyntaxError> for Failure {
    fn from(error: SyntaxError) -> Self {
        let hint = error.hint.clone();
        let failure = Self::asked(format!("could not read the query: {error}"));
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

fn row(hit: Hit) -> HitRow {
    let at = Locator {
        layers: hit.layers,
        ..Locator::of_result(hit.id)
    };
    HitRow {
        place: Place::of(&at, hit.device, hit.machine_id),
        script: hit.script,
        time: hit.time,
        member: hit.member,
        line: hit.line,
        offset: hit.offset,
        text: hit.text,
        text_truncated: hit.text_truncated,
        line_bytes: hit.line_bytes,
        member_sha256: hit.content,
        spans: hit.spans,
        before: hit.before,
        after: hit.after,
    }
}
