//! What baselines know of the hits of a search.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use crate::analyze::Baseline;
use crate::index::{Hit, HitMember, Searcher, Shown};

use super::baselines::load;
use crate::app::asked::SearchRequest;
use crate::app::failure::Failure;

pub(in crate::app) struct Known {
    baselines: Vec<Baseline>,
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
        let names: Vec<String> = searcher.results().filter_map(|r| r.device).collect();
        let with_names =
            |baseline: Baseline| baseline.with_machines(names.iter().map(String::as_str));
        let names = request.exclude_baseline.iter();
        let baselines = names.map(|name| Ok(with_names(load(archive, name)?)));
        Ok(Some(Self {
            baselines: baselines.collect::<Result<_, Failure>>()?,
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
        let device = hit.member.device.as_deref();
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
