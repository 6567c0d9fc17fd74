//! Search: one query, hits become rows, and what could not be searched is
//! said.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use evidence::{Locator, Seq};
use index::{
    Field, Hit, HitMember, Query, SearchOptions, SearchStats, Searcher, TextPlan, device_key,
};

use crate::app::baseline_filter::BaselineFilter;
use crate::app::cursor::HitCursor;
use crate::app::custody;
use crate::app::error::Failure;
use crate::app::missing_times::{MemberId, member_of, undated};
use crate::app::rows::{CountRow, HitRow, MemberRow, ResultPlace};
use crate::app::search_request::{SearchRequest, Sort, understood};
use crate::app::session::{ArchiveSession, JournalReader};
use crate::app::visit::until_error;
use crate::app::wait_for_index::{IndexWait, wait_for_index};

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
    /// Lines and texts so long that a pattern which knows no bound was looked
    /// for in them window by window: a match longer than one may be missed.
    pub cut: u64,
    /// Hits that a baseline knows, and that were left out.
    pub hidden: u64,
    /// Distinct lines that were read one by one, since neither words nor
    /// 4-grams of the query narrow them down.
    pub scanned_lines: Option<u64>,
    /// Every text was built again: a pattern may match over line ends.
    pub built_texts: bool,
    /// The limit was reached, and there are more.
    pub stopped: bool,
    /// Words of the query that look like a field (`bogus:1`) and are text.
    pub seeming_fields: Vec<String>,
    /// Fields of the query that no member has, as they were understood. Looked
    /// for where nothing was found.
    pub unheld_fields: Vec<String>,
    /// `None` where there is no index.
    pub explained: Option<Explained>,
}

impl SearchSummary {
    /// Everything there is was searched.
    pub fn is_whole(&self) -> bool {
        self.unindexed == 0 && self.unreadable == 0 && self.undated == 0 && self.cut == 0
    }

    pub fn verdict(&self) -> Verdict {
        match (self.hits, self.is_whole()) {
            (1.., _) => Verdict::Found,
            (0, true) if self.hidden == 0 => Verdict::Nothing,
            (0, _) => Verdict::Incomplete,
        }
    }
}

/// What a search came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Found,
    /// Not found in everything there is.
    Nothing,
    /// Not found, but not everything could be searched, or what was found is
    /// hidden by a baseline.
    Incomplete,
}

/// How the answer came about.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Explained {
    pub texts: Vec<TextWay>,
    /// Frames of distinct text inflated to verify candidates.
    pub frames: u64,
    /// **Units**: bytes of those, inflated.
    pub frame_bytes: u64,
    /// Finding lines, and judging members by them.
    pub finding_us: u64,
    /// Listing or counting the hits.
    pub listing_us: u64,
}

/// How one text of a query was looked for.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TextWay {
    pub text: String,
    /// Candidates by the words it holds: distinct lines.
    pub candidate_lines_by_words: u64,
    /// Candidates by its 4-grams: groups of about 4 KiB of distinct lines.
    pub candidate_groups_by_4grams: u64,
    /// Candidates in the members that can match at all, by a rarer text or by
    /// fields: distinct lines.
    pub candidate_lines_in_members: u64,
    /// Distinct lines read one by one.
    pub lines_read: u64,
    /// Every text was built again and searched as a whole.
    pub texts_built: bool,
    /// Distinct lines that match.
    pub lines_matching: u64,
}

/// A search over the archive as it is when it is opened.
pub struct Search {
    pub(super) request: SearchRequest,
    pub(super) query: Query,
    pub(super) began: Timestamp,
    /// The journal's end when the search began.
    pub(super) sealed: Seq,
    pub(super) archive: PathBuf,
    journal: JournalReader,
    pub(super) searcher: Option<Arc<Searcher>>,
    pub(super) summary: SearchSummary,
}

impl Search {
    /// Reads the query, then opens archive and index, and waits for the index
    /// where that is asked for.
    ///
    /// **Errors**: a query that cannot be read; an index that is damaged.
    pub fn open(
        session: &ArchiveSession,
        request: &SearchRequest,
        on_wait: &mut dyn FnMut(IndexWait, u64, u64),
    ) -> Result<Self, Failure> {
        let began = Timestamp::now();
        let query = request.query(began)?;
        if request.wait {
            session.refresh()?;
        }
        let journal = session.journal()?;
        let sealed = journal.last_seq();
        if request.wait {
            wait_for_index(session, on_wait)?;
        }
        let searcher = session.index()?;
        let unindexed = session.not_indexed(&journal, searcher.as_deref())?;
        let summary = SearchSummary {
            unindexed,
            unreadable: searcher.as_deref().map_or(0, hiding_problems),
            seeming_fields: request.seeming_fields(&query),
            ..SearchSummary::default()
        };
        Ok(Self {
            request: request.clone(),
            query,
            began,
            sealed,
            archive: session.archive().to_path_buf(),
            journal,
            searcher,
            summary,
        })
    }

    pub fn summary(&self) -> &SearchSummary {
        &self.summary
    }

    pub(super) fn archive_id(&self) -> [u8; 16] {
        self.journal.archive_id()
    }

    /// Asks for more that must hold.
    pub(super) fn narrow(&mut self, more: Query) {
        let query = std::mem::replace(&mut self.query, Query::All);
        self.query = query.and(more);
    }

    /// Starts the search on a background thread.
    pub fn into_cursor(self) -> Result<HitCursor, Failure> {
        HitCursor::start(self)
    }

    /// Calls `each` for every hit, in order, until it returns an error.
    pub fn hits<E: From<Failure>>(
        &mut self,
        mut each: impl FnMut(HitRow) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(searcher) = self.searcher.clone() else {
            return Ok(self.in_nothing("")?);
        };
        let (request, query) = (&self.request, &self.query);
        let mut filter = BaselineFilter::load(&self.archive, &request.exclude_baseline, &searcher)?;
        let is_filtered = filter.is_some();
        let options = SearchOptions {
            // Hidden hits do not count towards the limit.
            limit: request.limit.filter(|_| !is_filtered),
            context: request.context as usize,
            order: request.sort.into(),
            plain: request.plain,
            ..SearchOptions::default()
        };
        let mut rows = Rows::new(request.sort);
        let (mut hidden, mut given) = (0, 0);
        let ran = until_error(
            |visit| searcher.search(query, &options, visit),
            |hit| {
                if filter.as_mut().is_some_and(|filter| filter.hides(&hit)) {
                    hidden += 1;
                    return Ok(ControlFlow::Continue(()));
                }
                if is_filtered && request.limit == Some(given) {
                    return Ok(ControlFlow::Break(()));
                }
                given += 1;
                each(rows.row(hit)?)?;
                Ok::<_, E>(ControlFlow::Continue(()))
            },
        )?;
        let mut found = ran.map_err(|error| request.refused(error, query))?;
        found.hits = given;
        let undated = undated(&searcher, query, None).map_err(Failure::from)?;
        let limit = request.limit;
        let unheld = unheld_fields(&searcher, query, found.hits)?;
        self.summary.hidden = hidden;
        self.summary.hits = found.hits;
        self.summary.members_hit = rows.members;
        self.summary.devices_hit = Some(rows.devices.len() as u64);
        self.summary.undated = undated.values().sum();
        self.summary.note(&found, limit);
        self.summary.unheld_fields = unheld;
        self.note_custody("");
        Ok(())
    }

    /// How many hits, for each value of a field where one is named.
    pub fn count(&mut self, by: Option<&str>) -> Result<Vec<CountRow>, Failure> {
        let by = by.map(parse_field).transpose()?;
        let (request, query) = (&self.request, &self.query);
        let Some(searcher) = &self.searcher else {
            self.in_nothing("--count ")?;
            return Ok(Vec::new());
        };
        let mut filter = BaselineFilter::load(&self.archive, &request.exclude_baseline, searcher)?;
        let mut hidden = 0;
        let mut is_new = filter.as_mut().map(|filter| {
            |hit: &Hit| {
                let hides = filter.hides(hit);
                hidden += u64::from(hides);
                !hides
            }
        });
        let keep = is_new
            .as_mut()
            .map(|is_new| is_new as &mut dyn FnMut(&Hit) -> bool);
        let (counts, found) = searcher
            .count(query, by, false, keep)
            .map_err(|error| request.refused(error, query))?;
        self.summary.hidden = hidden;
        let mut undated = undated(searcher, query, by)?;
        self.summary.hits = found.hits;
        self.summary.members_hit = found.members;
        self.summary.devices_hit = found.devices;
        self.summary.undated = undated.values().sum();
        self.summary.note(&found, request.limit);
        self.summary.unheld_fields = unheld_fields(searcher, query, found.hits)?;
        self.note_custody("--count ");
        let mut rows: Vec<_> = counts
            .into_iter()
            .map(|count| CountRow {
                by_field: by.is_some(),
                undated: undated.remove(&count.value).unwrap_or(0),
                value: count.value,
                hits: count.hits,
                members: count.members,
            })
            .collect();
        rows.extend(undated.into_iter().map(|(value, undated)| CountRow {
            value,
            by_field: by.is_some(),
            undated,
            ..CountRow::default()
        }));
        if by.is_none() && rows.is_empty() {
            rows.push(CountRow::default());
        }
        Ok(rows)
    }

    /// A search where nothing is indexed: its query must be one all the same.
    fn in_nothing(&self, more: &str) -> Result<(), Failure> {
        let checked = self.query.check();
        checked.map_err(|error| self.request.refused(error, &self.query))?;
        self.note_custody(more);
        Ok(())
    }

    /// The search itself is part of the custody. Where the archive cannot be
    /// written (read-only media) nothing depends on it.
    pub(super) fn note_custody(&self, more: &str) {
        self.note_as(&format!("search {more}"));
    }

    /// The same under another command's name.
    pub(super) fn note_as(&self, command: &str) {
        let what = format!("{command}{}", self.request.said());
        let _ = self.journal.note(&custody::event(&what));
    }
}

fn hiding_problems(searcher: &Searcher) -> u64 {
    searcher
        .problems()
        .filter(|placed| placed.problem.kind.hides_text())
        .count() as u64
}

/// Names are mistyped at night, and nothing found by a wrong name proves
/// nothing.
pub(super) fn unheld_fields(
    searcher: &Searcher,
    query: &Query,
    hits: u64,
) -> Result<Vec<String>, Failure> {
    let mut unheld = Vec::new();
    if hits == 0 {
        for field in fields(query) {
            let (_, found) = searcher.count(field, None, false, None)?;
            if found.members == 0 {
                unheld.push(understood(field));
            }
        }
        unheld.sort();
        unheld.dedup();
    }
    Ok(unheld)
}

/// The named values that a match must have, or one of which; `*` is none.
fn fields(query: &Query) -> Vec<&Query> {
    match query {
        Query::Field(_, value) if value != "*" => vec![query],
        Query::And(queries) | Query::Or(queries) => queries.iter().flat_map(fields).collect(),
        _ => Vec::new(),
    }
}

fn parse_field(word: &str) -> Result<Field, Failure> {
    Field::from_word(word).ok_or_else(|| {
        let known: Vec<_> = Field::ALL.iter().map(|f| f.as_str()).collect();
        Failure::usage(format!("`{word}` is no field to count by"))
            .hint(format!("one of {}", known.join(", ")))
    })
}

impl SearchSummary {
    fn note(&mut self, found: &SearchStats, limit: Option<u64>) {
        self.members = found.searched_members.saturating_sub(self.undated);
        self.cut = found.cut_lines + found.cut_texts;
        self.built_texts = found.texts.iter().any(|text| text.is_whole);
        self.scanned_lines = found
            .texts
            .iter()
            .map(|text| text.scanned_lines)
            .max()
            .filter(|n| *n > 0);
        self.stopped = found.stopped && limit.is_some();
        self.explained = Some(Explained {
            texts: found.texts.iter().map(way).collect(),
            frames: found.frames,
            frame_bytes: found.frame_bytes,
            finding_us: found.finding.as_micros() as u64,
            listing_us: found.listing.as_micros() as u64,
        });
    }
}

fn way(plan: &TextPlan) -> TextWay {
    TextWay {
        text: plan.text.clone(),
        candidate_lines_by_words: plan.term_lines,
        candidate_groups_by_4grams: plan.gram_groups,
        candidate_lines_in_members: plan.within_lines,
        lines_read: plan.scanned_lines,
        texts_built: plan.is_whole,
        lines_matching: plan.lines,
    }
}

/// Makes rows of hits. Those of one member follow each other, but for hits in
/// the order of rarity.
struct Rows {
    last: Option<(Arc<HitMember>, Arc<MemberRow>, Arc<str>)>,
    /// The last member seen: the output and the errors of a transcript are one.
    member: Option<MemberId>,
    members: u64,
    /// All members seen, where they do not follow each other.
    met: Option<HashSet<MemberId>>,
    devices: HashSet<String>,
}

impl Rows {
    fn new(sort: Sort) -> Self {
        Self {
            last: None,
            member: None,
            members: 0,
            met: (sort == Sort::Rarity).then(HashSet::new),
            devices: HashSet::new(),
        }
    }

    fn count(&mut self, member: &HitMember) {
        let whole = member_of(member);
        if self.member.as_ref() == Some(&whole) {
            return;
        }
        let is_new = |met: &mut HashSet<MemberId>| met.insert(whole.clone());
        if self.met.as_mut().is_none_or(is_new) {
            self.members += 1;
            let (id, name) = (&member.machine_id, &member.device);
            let device = device_key(id.as_deref(), name.as_deref());
            self.devices.extend(device);
        }
        self.member = Some(whole);
    }

    fn row(&mut self, hit: Hit) -> Result<HitRow, Failure> {
        let known = self
            .last
            .as_ref()
            .filter(|l| Arc::ptr_eq(&l.0, &hit.member));
        let (member, member_json) = match known {
            Some((_, row, json)) => (Arc::clone(row), Arc::clone(json)),
            None => self.enter(&hit.member)?,
        };
        Ok(HitRow {
            member,
            line: hit.line,
            offset: hit.offset,
            shown: hit.shown,
            before: hit.before,
            after: hit.after,
            member_json,
        })
    }

    fn enter(&mut self, member: &Arc<HitMember>) -> Result<(Arc<MemberRow>, Arc<str>), Failure> {
        self.count(member);
        let row = Arc::new(member_row(member));
        let json: Arc<str> = serde_json::to_string(&*row)
            .map_err(std::io::Error::from)?
            .into();
        self.last = Some((Arc::clone(member), Arc::clone(&row), Arc::clone(&json)));
        Ok((row, json))
    }
}

fn member_row(member: &HitMember) -> MemberRow {
    let at = Locator {
        layers: member.layers.clone(),
        ..Locator::of_result(member.id)
    };
    // A loose file is its own member, and the path of it says which.
    let path = match (member.path.as_str(), &member.result_path) {
        ("", Some(path)) => path.clone(),
        (path, _) => path.to_string(),
    };
    MemberRow {
        place: ResultPlace::of(&at, member.device.clone(), member.machine_id.clone()),
        script: member.script.clone(),
        time: member.time.clone(),
        member: path,
        member_sha256: member.content,
    }
}
