//! What a comparison is asked of, and what it went through.

use analyze::{First, RuleSet};
use evidence::{Locator, Time};
use index::{Field, LinePosition, LinePositions, LocatedLine, MemberSet, Query, TEXT_MAX};

use crate::app::baseline_store::BaselineStore;
use crate::app::compare::aggregate::Sweep;
use crate::app::compare::normalizer::Lens;
use crate::app::compare::rows::Example;
use crate::app::error::Failure;
use crate::app::missing_times::undated;
use crate::app::rows::ResultPlace;
use crate::app::search::{Search, Verdict, unheld_fields};
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

/// What a comparison went through.
#[derive(Clone, Debug, Default)]
pub struct CompareSummary {
    /// Rows handed out.
    pub rows: u64,
    /// Different texts that were compared.
    pub texts: u64,
    pub members: u64,
    pub devices: u64,
    /// Texts that a limit left out.
    pub left_out: u64,
    /// Lines that baselines hide, each time one stands somewhere.
    pub hidden: u64,
    /// Results sealed and not indexed yet.
    pub unindexed: u64,
    /// Problems that hide text.
    pub unreadable: u64,
    /// Members left out since they have no time.
    pub undated: u64,
    /// Members left out since their device is not known, where devices are
    /// compared.
    pub deviceless: u64,
    /// Results of a diff left out, since their command was run again later.
    pub older: u64,
    /// There were too many differences of a diff to pair those that are one
    /// line changed.
    pub unpaired: bool,
    /// Lines and texts too long for a pattern without bound: as in a search.
    pub cut: u64,
    /// Words of the query that look like a field and are text.
    pub seeming_fields: Vec<String>,
    /// Fields of the query that no member has. Looked for where there are no
    /// rows.
    pub unheld_fields: Vec<String>,
    /// Texts that both sides of a diff have.
    pub same: u64,
}

impl CompareSummary {
    pub fn verdict(&self) -> Verdict {
        let left_out = [
            self.unindexed,
            self.unreadable,
            self.undated,
            self.deviceless,
            self.cut,
            self.hidden,
        ];
        let is_whole = left_out.iter().all(|count| *count == 0);
        match (self.rows, is_whole) {
            (1.., _) => Verdict::Found,
            (0, true) => Verdict::Nothing,
            (0, false) => Verdict::Incomplete,
        }
    }
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
            search.narrow(Query::Field(Field::Script, script.clone()));
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
        let selection = selected.map_err(|e| self.request.search.refused(e, query))?;
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

    pub(super) fn summary(
        &self,
        selection: Option<&MemberSet<'_>>,
    ) -> Result<CompareSummary, Failure> {
        let known = self.search.summary();
        let mut summary = CompareSummary {
            unindexed: known.unindexed,
            unreadable: known.unreadable,
            seeming_fields: known.seeming_fields.clone(),
            ..CompareSummary::default()
        };
        if let (Some(selection), Some(searcher)) = (selection, &self.search.searcher) {
            summary.members = selection.len() as u64;
            summary.devices = selection.devices().len() as u64;
            summary.cut = selection.cut();
            let undated = undated(searcher, &self.search.query, None)?;
            summary.undated = undated.values().sum();
        }
        Ok(summary)
    }

    /// Fields of the query that no member has, where there are no rows.
    pub(super) fn unheld_fields(&self, rows: u64) -> Result<Vec<String>, Failure> {
        match &self.search.searcher {
            Some(searcher) => unheld_fields(searcher, &self.search.query, rows),
            None => Ok(Vec::new()),
        }
    }

    /// What was asked for, as it was typed.
    pub(super) fn said(&self) -> String {
        format!("{}{}", self.script(), self.request.search.said())
            .trim_end()
            .to_string()
    }

    /// Comparing is part of the custody. `command` ends with a blank.
    pub(super) fn note(&self, command: &str) {
        let rules = self.request.rules.off.iter();
        let kept: String = rules.map(|rule| format!("--keep {rule} ")).collect();
        self.search
            .note_as(&format!("{command}{kept}{}", self.script()));
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
