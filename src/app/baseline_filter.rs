//! Hits of a search that a baseline contains and the answer leaves out.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use analyze::Baseline;
use index::{Hit, HitMember, Searcher, Snippet, device_key};

use crate::app::baseline_store::BaselineStore;
use crate::app::error::Failure;

/// Decides for each hit whether a baseline contains its line.
pub(super) struct BaselineFilter {
    baselines: Vec<Baseline>,
    /// Names of devices by device key.
    names: Arc<HashMap<String, String>>,
    /// The last decision: consecutive hits often share line and member.
    last: Option<FilterDecision>,
}

struct FilterDecision {
    shown: Arc<Snippet>,
    member: Arc<HitMember>,
    hides: bool,
}

impl BaselineFilter {
    /// Loads the named baselines; `None` if no name is given.
    pub(super) fn load(
        archive: &Path,
        names: &[String],
        searcher: &Searcher,
    ) -> Result<Option<Self>, Failure> {
        if names.is_empty() {
            return Ok(None);
        }
        let store = BaselineStore::new(archive);
        let machines = searcher.names();
        let load = |name: &String| {
            let baseline = store.load(name)?;
            Ok(baseline.with_machines(machines.values().map(String::as_str)))
        };
        Ok(Some(Self {
            baselines: names.iter().map(load).collect::<Result<_, Failure>>()?,
            names: machines,
            last: None,
        }))
    }

    /// Whether a baseline contains the line of a hit. A line that is not shown
    /// whole is not compared, and a member found by its fields has no line.
    pub(super) fn hides(&mut self, hit: &Hit) -> bool {
        if hit.is_bare || hit.shown.text_truncated {
            return false;
        }
        if let Some(last) = &self.last
            && Arc::ptr_eq(&last.shown, &hit.shown)
            && Arc::ptr_eq(&last.member, &hit.member)
        {
            return last.hides;
        }
        let (id, name) = (&hit.member.machine_id, &hit.member.device);
        let device = device_key(id.as_deref(), name.as_deref())
            .and_then(|key| self.names.get(&key))
            .map(String::as_str);
        let hides = self
            .baselines
            .iter()
            .any(|baseline| baseline.knows(&hit.shown.text, device));
        self.last = Some(FilterDecision {
            shown: Arc::clone(&hit.shown),
            member: Arc::clone(&hit.member),
            hides,
        });
        hides
    }
}
