//! What baselines know of the hits of a search.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use analyze::Baseline;
use index::{Hit, HitMember, Searcher, Snippet, device_key};

use crate::app::compare::baseline::load;
use crate::app::error::Failure;
use crate::app::search_request::SearchRequest;

pub(crate) struct Known {
    baselines: Vec<Baseline>,
    /// Of machines, by what tells them apart.
    names: Arc<HashMap<String, String>>,
    /// The last line and member: hits that follow each other share them.
    last: RefCell<Option<Last>>,
}

struct Last {
    shown: Arc<Snippet>,
    member: Arc<HitMember>,
    is_known: bool,
}

impl Known {
    /// `None` where no baseline is asked for.
    pub(crate) fn open(
        archive: &Path,
        request: &SearchRequest,
        searcher: &Searcher,
    ) -> Result<Option<Self>, Failure> {
        if request.exclude_baseline.is_empty() {
            return Ok(None);
        }
        let names = searcher.names();
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
    pub(crate) fn knows(&self, hit: &Hit) -> bool {
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
