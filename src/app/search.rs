//! Search: evaluates a query, and returns hits or counts with the notes that
//! qualify them.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use evidence::Seq;
use index::{Field, Hit, Query, SearchOptions, SearchStats, Searcher, TextPlan};

use crate::app::baseline_filter::BaselineFilter;
use crate::app::cursor::HitCursor;
use crate::app::custody;
use crate::app::error::Failure;
use crate::app::hit_rows::HitRowBuilder;
use crate::app::missing_times::count_without_time;
use crate::app::notes::{Note, NoteList, Verdict};
use crate::app::rows::{CountRow, HitRow};
use crate::app::search_request::{SearchRequest, describe_query};
use crate::app::session::{ArchiveSession, JournalReader};
use crate::app::visit::until_error;
use crate::app::wait_for_index::{IndexWait, wait_for_index};

/// Result of a search, besides its rows.
#[derive(Clone, Debug, Default)]
pub struct SearchSummary {
    pub hits: u64,
    /// Members with hits.
    pub members_hit: u64,
    /// Devices with hits; `None` if devices were not counted.
    pub devices_hit: Option<u64>,
    /// Members that were searched.
    pub members: u64,
    pub notes: Vec<Note>,
    /// `None` if there is no index.
    pub explained: Option<SearchExplanation>,
}

impl SearchSummary {
    pub fn verdict(&self) -> Verdict {
        Verdict::of(self.hits, &self.notes)
    }
}

/// How a search was evaluated.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SearchExplanation {
    pub texts: Vec<TextAccess>,
    /// Frames of distinct text that were decompressed to verify candidates.
    pub frames: u64,
    /// **Units**: decompressed bytes of these frames.
    pub frame_bytes: u64,
    /// Time to find the lines, and the members that match.
    pub finding_us: u64,
    /// Time to list or count the hits.
    pub listing_us: u64,
}

/// Access paths that were used for one text clause of a query.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TextAccess {
    pub text: String,
    /// Distinct lines that contain the terms of the text.
    pub candidate_lines_by_words: u64,
    /// Groups of distinct lines, about 4 KiB each, with its 4-grams.
    pub candidate_groups_by_4grams: u64,
    /// Distinct lines of the members that a rarer text or the fields allow.
    pub candidate_lines_in_members: u64,
    /// Distinct lines that were scanned.
    pub lines_read: u64,
    /// Every text was rebuilt and searched as a whole.
    pub texts_built: bool,
    /// Distinct lines that match.
    pub lines_matching: u64,
}

/// A search over an archive, in the state at the time of [`open`](Self::open).
pub struct Search {
    pub(super) request: SearchRequest,
    pub(super) query: Query,
    pub(super) began: Timestamp,
    /// End of the journal when the search began.
    pub(super) sealed: Seq,
    pub(super) archive: PathBuf,
    journal: JournalReader,
    pub(super) searcher: Option<Arc<Searcher>>,
    /// Sealed results that are not indexed.
    pub(super) not_indexed: u64,
    /// Problems that hide text.
    pub(super) unreadable: u64,
    pub(super) unknown_fields: Vec<String>,
    pub(super) summary: SearchSummary,
}

/// Numbers of one evaluation that become notes.
#[derive(Default)]
struct EvaluationCounts {
    hits: u64,
    members: u64,
    without_time: u64,
    longer_than_window: u64,
    hidden: u64,
    scanned_lines: u64,
    full_text: bool,
    stopped: bool,
    unknown_values: Vec<String>,
}

impl Search {
    /// Parses the query, then opens archive and index, and waits for the index
    /// if the request says so.
    ///
    /// **Errors**: an invalid query; a missing archive; a damaged index.
    pub fn open(
        session: &ArchiveSession,
        request: &SearchRequest,
        on_wait: &mut dyn FnMut(IndexWait, u64, u64),
    ) -> Result<Self, Failure> {
        let began = Timestamp::now();
        let query = request.parse(began)?;
        if request.wait {
            session.refresh()?;
        }
        let journal = session.journal()?;
        let sealed = journal.last_seq();
        if request.wait {
            wait_for_index(session, on_wait)?;
        }
        let searcher = session.index()?;
        Ok(Self {
            request: request.clone(),
            unknown_fields: request.unknown_fields(&query),
            query,
            began,
            sealed,
            archive: session.archive().to_path_buf(),
            not_indexed: session.not_indexed(&journal, searcher.as_deref())?,
            journal,
            unreadable: searcher.as_deref().map_or(0, problems_that_hide_text),
            searcher,
            summary: SearchSummary::default(),
        })
    }

    pub fn summary(&self) -> &SearchSummary {
        &self.summary
    }

    pub(super) fn archive_id(&self) -> [u8; 16] {
        self.journal.archive_id()
    }

    /// Adds a clause that must match.
    pub(super) fn restrict(&mut self, clause: Query) {
        let query = std::mem::replace(&mut self.query, Query::All);
        self.query = query.and(clause);
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
            return Ok(self.finish_without_index("")?);
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
        let mut rows = HitRowBuilder::new(request.sort);
        let (mut hidden, mut listed) = (0, 0);
        let evaluated = until_error(
            |visit| searcher.search(query, &options, visit),
            |hit| {
                if filter.as_mut().is_some_and(|filter| filter.hides(&hit)) {
                    hidden += 1;
                    return Ok(ControlFlow::Continue(()));
                }
                if is_filtered && request.limit == Some(listed) {
                    return Ok(ControlFlow::Break(()));
                }
                listed += 1;
                each(rows.row(hit)?)?;
                Ok::<_, E>(ControlFlow::Continue(()))
            },
        )?;
        let stats = evaluated.map_err(|error| request.query_failure(error, query))?;
        let without_time = count_without_time(&searcher, query, None).map_err(Failure::from)?;
        self.summary.hits = listed;
        self.summary.members_hit = rows.members();
        self.summary.devices_hit = Some(rows.devices());
        self.finish(&searcher, &stats, without_time.values().sum(), hidden)?;
        self.note_custody("");
        Ok(())
    }

    /// Counts the hits, for each value of a field if one is named.
    pub fn count(&mut self, by: Option<&str>) -> Result<Vec<CountRow>, Failure> {
        let by = by.map(parse_field).transpose()?;
        let Some(searcher) = self.searcher.clone() else {
            self.finish_without_index("--count ")?;
            return Ok(Vec::new());
        };
        let (request, query) = (&self.request, &self.query);
        let mut filter = BaselineFilter::load(&self.archive, &request.exclude_baseline, &searcher)?;
        let mut hidden = 0;
        let mut is_counted = filter.as_mut().map(|filter| {
            |hit: &Hit| {
                let hides = filter.hides(hit);
                hidden += u64::from(hides);
                !hides
            }
        });
        let keep = is_counted
            .as_mut()
            .map(|is_counted| is_counted as &mut dyn FnMut(&Hit) -> bool);
        let (counts, stats) = searcher
            .count(query, by, false, keep)
            .map_err(|error| request.query_failure(error, query))?;
        let mut without_time = count_without_time(&searcher, query, by)?;
        self.summary.hits = stats.hits;
        self.summary.members_hit = stats.members;
        self.summary.devices_hit = stats.devices;
        self.finish(&searcher, &stats, without_time.values().sum(), hidden)?;
        self.note_custody("--count ");
        let mut rows: Vec<_> = counts
            .into_iter()
            .map(|count| CountRow {
                by_field: by.is_some(),
                undated: without_time.remove(&count.value).unwrap_or(0),
                value: count.value,
                hits: count.hits,
                members: count.members,
            })
            .collect();
        rows.extend(without_time.into_iter().map(|(value, undated)| CountRow {
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

    /// Adds the rest of the summary.
    fn finish(
        &mut self,
        searcher: &Searcher,
        stats: &SearchStats,
        without_time: u64,
        hidden: u64,
    ) -> Result<(), Failure> {
        let hits = self.summary.hits;
        let counts = EvaluationCounts {
            hits,
            members: stats.searched_members.saturating_sub(without_time),
            without_time,
            longer_than_window: stats.cut_lines + stats.cut_texts,
            hidden,
            scanned_lines: stats
                .texts
                .iter()
                .map(|text| text.scanned_lines)
                .max()
                .unwrap_or(0),
            full_text: stats.texts.iter().any(|text| text.is_whole),
            stopped: stats.stopped && self.request.limit.is_some(),
            unknown_values: unknown_values(searcher, &self.query, hits)?,
        };
        self.summary.members = counts.members;
        self.summary.explained = Some(explanation(stats));
        self.summary.notes = self.notes(counts);
        Ok(())
    }

    /// Ends a search of an archive that has no index. The query is checked all
    /// the same.
    fn finish_without_index(&mut self, options: &str) -> Result<(), Failure> {
        self.query
            .check()
            .map_err(|error| self.request.query_failure(error, &self.query))?;
        self.summary.notes = self.notes(EvaluationCounts::default());
        self.note_custody(options);
        Ok(())
    }

    fn notes(&self, counts: EvaluationCounts) -> Vec<Note> {
        let mut notes = NoteList::default();
        notes.count(self.not_indexed, |results| Note::NotIndexed { results });
        notes.count(self.unreadable, |problems| Note::TextUnreadable {
            problems,
        });
        notes.count(counts.without_time, |members| Note::WithoutTime { members });
        notes.count(counts.longer_than_window, |texts| Note::LongerThanWindow {
            texts,
        });
        notes.count(counts.hidden, |hits| Note::HiddenByBaseline { hits });
        notes.count(counts.scanned_lines, |lines| Note::FullScan { lines });
        for field in counts.unknown_values {
            notes.push(Note::UnknownValue { field });
        }
        let is_empty = counts.members + counts.without_time + self.not_indexed == 0;
        notes.push_if(is_empty, Note::EmptyArchive);
        notes.push_if(counts.full_text, Note::FullTextRead);
        for name in self.unknown_fields.iter().filter(|_| counts.hits == 0) {
            let name = name.clone();
            notes.push(Note::UnknownField { name });
        }
        notes.push_if(counts.stopped, Note::StoppedAtLimit);
        notes.into_notes()
    }

    /// Records the search in the custody log.
    pub(super) fn note_custody(&self, options: &str) {
        self.note_command(&format!("search {options}"));
    }

    /// Records the search in the custody log as another command. On read-only
    /// media nothing is recorded, and no answer depends on it.
    pub(super) fn note_command(&self, command: &str) {
        let what = format!("{command}{}", self.request.command_text());
        let _ = self.journal.note(&custody::event(&what));
    }
}

fn problems_that_hide_text(searcher: &Searcher) -> u64 {
    let hide_text = searcher
        .problems()
        .filter(|placed| placed.problem.kind.hides_text());
    hide_text.count() as u64
}

/// The field clauses of a query that no member matches, if there are no hits:
/// a mistyped name proves nothing.
pub(super) fn unknown_values(
    searcher: &Searcher,
    query: &Query,
    hits: u64,
) -> Result<Vec<String>, Failure> {
    let mut unknown = Vec::new();
    if hits == 0 {
        for clause in field_clauses(query) {
            let (_, stats) = searcher.count(clause, None, false, None)?;
            if stats.members == 0 {
                unknown.push(describe_query(clause));
            }
        }
        unknown.sort();
        unknown.dedup();
    }
    Ok(unknown)
}

/// The field clauses of a query that are not negated; `*` matches any value.
fn field_clauses(query: &Query) -> Vec<&Query> {
    match query {
        Query::Field(_, value) if value != "*" => vec![query],
        Query::And(queries) | Query::Or(queries) => {
            queries.iter().flat_map(field_clauses).collect()
        }
        _ => Vec::new(),
    }
}

fn parse_field(word: &str) -> Result<Field, Failure> {
    Field::from_word(word).ok_or_else(|| {
        let fields: Vec<_> = Field::ALL.iter().map(|field| field.as_str()).collect();
        Failure::usage(format!("could not count by `{word}`: not a field"))
            .hint(format!("fields: {}", fields.join(", ")))
    })
}

fn explanation(stats: &SearchStats) -> SearchExplanation {
    SearchExplanation {
        texts: stats.texts.iter().map(text_access).collect(),
        frames: stats.frames,
        frame_bytes: stats.frame_bytes,
        finding_us: stats.finding.as_micros() as u64,
        listing_us: stats.listing.as_micros() as u64,
    }
}

fn text_access(plan: &TextPlan) -> TextAccess {
    TextAccess {
        text: plan.text.clone(),
        candidate_lines_by_words: plan.term_lines,
        candidate_groups_by_4grams: plan.gram_groups,
        candidate_lines_in_members: plan.within_lines,
        lines_read: plan.scanned_lines,
        texts_built: plan.is_whole,
        lines_matching: plan.lines,
    }
}
