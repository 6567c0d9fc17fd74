//! What a comparison is asked of, and what it went through.

use analyze::{First, RuleSet};
use evidence::{Locator, Time};
use index::{Field, LinePosition, LinePositions, LocatedLine, MemberSet, Query, TEXT_MAX};

use crate::app::baseline_store::BaselineStore;
use crate::app::compare::aggregate::Sweep;
use crate::app::compare::normalizer::Lens;
use crate::app::compare::rows::Example;
use crate::app::error::Failure;
use crate::app::missing_times::count_without_time;
use crate::app::notes::{Note, NoteList, Verdict};
use crate::app::rows::ResultPlace;
use crate::app::search::{Search, unknown_values};
use crate::app::search_request::SearchRequest;
use crate::app::session::ArchiveSession;
use crate::app::wait_for_index::IndexWait;

/// Which members are compared, and how their lines are looked at.
#[derive(Clone, Debug, Default)]
pub struct CompareRequest {
    /// Query, device, times, baselines. What asks for text compares the lines
    /// that match; what asks for fields alone compares all lines.
    pub search: SearchRequest,
    /// Only results of this script.
    pub script: Option<String>,
    pub rules: RuleSet,
}

/// Result of a comparison, besides its rows.
#[derive(Clone, Debug, Default)]
pub struct CompareSummary {
    /// Rows that were listed.
    pub rows: u64,
    /// Distinct texts that were compared.
    pub texts: u64,
    pub members: u64,
    pub devices: u64,
    /// Texts on both sides of a diff.
    pub same: u64,
    pub notes: Vec<Note>,
}

impl CompareSummary {
    pub fn verdict(&self) -> Verdict {
        Verdict::of(self.rows, &self.notes)
    }
}

/// Numbers of a comparison, from which its summary is made.
#[derive(Default)]
pub(super) struct CompareCounts {
    pub(super) rows: u64,
    pub(super) texts: u64,
    pub(super) members: u64,
    pub(super) devices: u64,
    pub(super) same: u64,
    /// Rows beyond the limit.
    pub(super) left_out: u64,
    /// Lines that baselines contain, at each of their places.
    pub(super) hidden: u64,
    /// Members excluded because they have no time.
    pub(super) without_time: u64,
    /// Members excluded because their device is not known.
    pub(super) without_device: u64,
    /// Results of a diff excluded because their command was run again.
    pub(super) older: u64,
    /// Too many differences of a diff to pair changed lines.
    pub(super) unpaired: bool,
    pub(super) longer_than_window: u64,
    pub(super) unknown_values: Vec<String>,
}

/// An archive opened to compare in it.
pub(super) struct Scope<'a> {
    pub(super) search: Search,
    request: &'a CompareRequest,
    archive: std::path::PathBuf,
}

impl<'a> Scope<'a> {
    pub(super) fn open(
        session: &ArchiveSession,
        request: &'a CompareRequest,
        on_wait: &mut dyn FnMut(IndexWait, u64, u64),
    ) -> Result<Self, Failure> {
        let mut search = Search::open(session, &request.search, on_wait)?;
        if let Some(script) = &request.script {
            search.restrict(Query::Field(Field::Script, script.clone()));
        }
        Ok(Self {
            search,
            request,
            archive: session.archive().to_path_buf(),
        })
    }

    /// The members that are compared; `None` where there is no index.
    pub(super) fn select(&self) -> Result<Option<MemberSet<'_>>, Failure> {
        let Some(searcher) = &self.search.searcher else {
            return Ok(None);
        };
        let query = &self.search.query;
        let selected = searcher.select(query);
        let selection = selected.map_err(|e| self.request.search.query_failure(e, query))?;
        Ok(Some(selection))
    }

    /// Devices that were asked, whether or not they have the text that was
    /// asked for.
    pub(super) fn asked(&self, selection: &MemberSet<'_>) -> Result<u64, Failure> {
        let fields = fields_of(&self.search.query);
        let asked = match &self.search.searcher {
            Some(searcher) if fields != self.search.query => {
                searcher.select(&fields)?.devices().len()
            }
            _ => selection.devices().len(),
        };
        Ok(asked as u64)
    }

    /// Of the devices that were asked, those of a query and all others.
    pub(super) fn asked_of(&self, those: Query) -> Result<(u64, u64), Failure> {
        let Some(searcher) = &self.search.searcher else {
            return Ok((0, 0));
        };
        let fields = fields_of(&self.search.query);
        let all = searcher.select(&fields)?.devices().len();
        let own = searcher.select(&fields.and(those))?.devices().len();
        Ok((own as u64, all.saturating_sub(own) as u64))
    }

    pub(super) fn lens(&self, selection: &MemberSet<'_>) -> Result<Lens, Failure> {
        let store = BaselineStore::new(&self.archive);
        let excluded = self.request.search.exclude_baseline.iter();
        let baselines = excluded.map(|name| store.load(name));
        let names = selection.devices().iter();
        let names: Vec<String> = names.filter_map(|device| device.name.clone()).collect();
        let baselines = baselines.collect::<Result<_, _>>()?;
        Lens::new(
            self.request.rules.clone(),
            baselines,
            names,
            self.search.archive_id(),
        )
    }

    /// Looks at what is selected, and keeps what is seen.
    pub(super) fn sweep<'s>(&self, selection: &'s MemberSet<'s>, lens: &'s Lens) -> Sweep<'s> {
        Sweep::new(selection, lens).kept_in(&self.archive)
    }

    /// The numbers that are known before the comparison.
    pub(super) fn counts(&self, selection: &MemberSet<'_>) -> Result<CompareCounts, Failure> {
        let mut counts = CompareCounts {
            members: selection.len() as u64,
            devices: selection.devices().len() as u64,
            longer_than_window: selection.cut(),
            ..CompareCounts::default()
        };
        if let Some(searcher) = &self.search.searcher {
            let without_time = count_without_time(searcher, &self.search.query, None)?;
            counts.without_time = without_time.values().sum();
        }
        Ok(counts)
    }

    pub(super) fn summary(&self, counts: CompareCounts) -> CompareSummary {
        let mut notes = NoteList::default();
        let search = &self.search;
        notes.count(counts.hidden, |hits| Note::HiddenByBaseline { hits });
        notes.count(search.not_indexed, |results| Note::NotIndexed { results });
        notes.count(counts.without_time, |members| Note::WithoutTime { members });
        notes.count(counts.without_device, |members| Note::WithoutDevice {
            members,
        });
        notes.count(counts.older, |results| Note::OlderResults { results });
        notes.count(search.unreadable, |problems| Note::TextUnreadable {
            problems,
        });
        notes.count(counts.longer_than_window, |texts| Note::LongerThanWindow {
            texts,
        });
        notes.count(counts.left_out, |rows| Note::RowsBeyondLimit { rows });
        notes.push_if(counts.unpaired, Note::UnpairedChanges);
        for field in counts.unknown_values {
            notes.push(Note::UnknownValue { field });
        }
        for name in search.unknown_fields.iter().filter(|_| counts.rows == 0) {
            let name = name.clone();
            notes.push(Note::UnknownField { name });
        }
        CompareSummary {
            rows: counts.rows,
            texts: counts.texts,
            members: counts.members,
            devices: counts.devices,
            same: counts.same,
            notes: notes.into_notes(),
        }
    }

    /// Fields of the query that no member has, where there are no rows.
    pub(super) fn unknown_values(&self, rows: u64) -> Result<Vec<String>, Failure> {
        match &self.search.searcher {
            Some(searcher) => unknown_values(searcher, &self.search.query, rows),
            None => Ok(Vec::new()),
        }
    }

    /// What was asked for, as it was typed.
    pub(super) fn said(&self) -> String {
        format!("{}{}", self.script(), self.request.search.command_text())
            .trim_end()
            .to_string()
    }

    /// Comparing is part of the custody. `command` ends with a blank.
    pub(super) fn note(&self, command: &str) {
        let rules = self.request.rules.off.iter();
        let kept: String = rules.map(|rule| format!("--keep {rule} ")).collect();
        self.search
            .note_command(&format!("{command}{kept}{}", self.script()));
    }

    fn script(&self) -> String {
        let script = self.request.script.as_ref();
        script.map_or(String::new(), |script| format!("--script {script} "))
    }
}

/// What a query asks of fields, wherever its texts are.
fn fields_of(query: &Query) -> Query {
    let all = |queries: &[Query]| queries.iter().map(fields_of).collect();
    match query {
        Query::Text(_) => Query::All,
        Query::And(queries) => Query::And(all(queries)),
        Query::Or(queries) => Query::Or(all(queries)),
        Query::Not(inner) if fields_of(inner) != **inner => Query::All,
        other => other.clone(),
    }
}

/// Says where texts stand.
pub(super) struct Places<'s> {
    selection: &'s MemberSet<'s>,
    spots: LinePositions<'s>,
}

impl<'s> Places<'s> {
    pub(super) fn new(selection: &'s MemberSet<'s>) -> Self {
        Self {
            selection,
            spots: selection.spots(),
        }
    }

    /// The line at a place, with the lines around it.
    pub(super) fn example(&mut self, first: First, context: u32) -> Result<Example, Failure> {
        let (segment, document, index) = first.place;
        let spot = LinePosition {
            segment,
            document,
            index,
        };
        let found = self.spots.at(spot)?;
        let (before, after) = match context {
            0 => (Vec::new(), Vec::new()),
            lines => self.spots.around(spot, u64::from(lines))?,
        };
        let mut example = self.member(first.rank, Some(&found))?;
        example.line = Some(found.line);
        example.offset = Some(found.offset);
        example.text = found.text;
        (example.before, example.after) = (before, after);
        Ok(example)
    }

    /// A member, with nothing said of its lines.
    pub(super) fn member(
        &self,
        rank: u32,
        found: Option<&LocatedLine>,
    ) -> Result<Example, Failure> {
        let (result, occurrence) = self.selection.facts(rank)?;
        let mut at = Locator {
            layers: occurrence.layers,
            ..Locator::of_result(result.id)
        };
        at.layers.extend(found.and_then(|found| found.part.clone()));
        Ok(Example {
            place: ResultPlace::of(&at, result.device, result.machine_id),
            script: result.script.or(occurrence.script),
            member: occurrence.member,
            ..Example::default_of()
        })
    }

    pub(super) fn time(&self, rank: Option<u32>) -> Result<Option<Time>, Failure> {
        let timed = rank.filter(|rank| *rank < self.selection.timed());
        let facts = timed.map(|rank| self.selection.facts(rank)).transpose()?;
        Ok(facts.and_then(|(result, _)| result.time))
    }

    /// The name of a device, else its id.
    pub(super) fn device(&self, number: u32) -> Option<String> {
        let device = self.selection.devices().get(number as usize)?;
        device.name.clone().or_else(|| device.machine_id.clone())
    }
}

/// What of a text is shown.
pub(super) fn cut(mut text: String) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

/// What stands for a line that a device said.
pub(super) fn value_at(sweep: &Sweep<'_>, lens: &Lens, text: &str, device: Option<u32>) -> String {
    lens.text(text, sweep.own_of(device))
}
