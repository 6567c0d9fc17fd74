//! What baselines know of the hits of a search.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use crate::analyze::Baseline;
use crate::evidence::Time;
use crate::index::{Hit, HitMember, Searcher, Shown, device_key};

use super::baselines::load;
use crate::app::asked::SearchRequest;
use crate::app::failure::Failure;

pub(in crate::app) struct Known {
    baselines: Vec<Baseline>,
    names: HashMap<String, String>,
    /// The last line and member: hits that follow each other share them.
    last: RefCell<Option<Last>>,
}

struct Last {
    shown: Arc<Shown>,
    member: Arc<HitMember>,
    is_known: bool,
}

impl Known {
    /// `None` where no baseline is asked for.
    pub(in crate::app) fn open(
        archive: &Path,
        request: &SearchRequest,
        searcher: &Searcher,
    ) -> Result<Option<Self>, Failure> {
        if request.exclude_baseline.is_empty() {
            return Ok(None);
        }
        let names = newest_names(searcher);
        let with_names =
            |baseline: Baseline| baseline.with_machines(names.values().map(String::as_str));
        let asked = request.exclude_baseline.iter();
        let baselines = asked.map(|name| Ok(with_names(load(archive, name)?)));
        Ok(Some(Self {
            baselines: baselines.collect::<Result<_, Failure>>()?,
            names,
            last: RefCell::new(None),
        }))
    }

    /// Whether a baseline knows the line of a hit. What is not shown whole
    /// nobody knows, and a member found by its fields is no line.
    pub(in crate::app) fn knows(&self, hit: &Hit) -> bool {
        if hit.is_bare || hit.shown.text_truncated {
            return false;
        }
        if let Some(last) = &*self.last.borrow()
            && Arc::ptr_eq(&last.shown, &hit.shown)
            && Arc::ptr_eq(&last.member, &hit.member)
        {
            return last.is_known;
        }
        let (id, name) = (&hit.member.machine_id, &hit.member.device);
        let key = device_key(id.as_deref(), name.as_deref());
        let device = key.and_then(|key| self.names.get(&key)).map(String::as_str);
        let knows = |baseline: &Baseline| baseline.knows(&hit.shown.text, device);
        let is_known = self.baselines.iter().any(knows);
        self.last.replace(Some(Last {
            shown: Arc::clone(&hit.shown),
            member: Arc::clone(&hit.member),
            is_known,
        }));
        is_known
    }
}

/// The name of each device, by what tells it apart: that of its newest result
/// that has one, what has no time last, as comparisons have it. A line that a
/// renamed machine says of itself is the same then, whoever asks.
fn newest_names(searcher: &Searcher) -> HashMap<String, String> {
    let mut newest = HashMap::new();
    for result in searcher.results() {
        let key = device_key(result.machine_id.as_deref(), result.device.as_deref());
        let (Some(key), Some(name)) = (key, result.device) else {
            continue;
        };
        let time = result.time.as_ref().and_then(Time::nanoseconds);
        let turn = (time.unwrap_or(i64::MAX), result.id);
        let known = newest.entry(key).or_insert_with(|| (turn, name.clone()));
        if known.0 < turn {
            *known = (turn, name);
        }
    }
    let names = newest.into_iter().map(|(key, (_, name))| (key, name));
    names.collect()
}
