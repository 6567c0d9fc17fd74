//! How lines are looked at: which of their parts are volatile, what a baseline
//! knows of them, which are wanted at all.

use rustc_hash::FxHashMap;

use crate::analyze::{Baseline, RuleSet, Templates};

use crate::app::failure::Failure;

/// What becomes of a line that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// What was written stands for it.
    Text,
    /// A baseline knows it.
    Hidden,
    /// Nobody asked for it.
    Unasked,
}

pub(super) struct Lens {
    templates: Templates,
    rules: RuleSet,
    baselines: Vec<Baseline>,
    /// Templates whose raw lines are asked for, by number.
    wanted: Option<FxHashMap<String, u32>>,
}

impl Lens {
    pub(super) fn new(
        rules: RuleSet,
        baselines: Vec<Baseline>,
        machines: &[String],
    ) -> Result<Self, Failure> {
        let names = || machines.iter().map(String::as_str);
        let with_names = |baseline: Baseline| baseline.with_machines(names());
        Ok(Self {
            templates: Templates::new(&rules)?.with_machines(names()),
            rules,
            baselines: baselines.into_iter().map(with_names).collect(),
            wanted: None,
        })
    }

    /// The same for the raw lines of some templates.
    #[must_use]
    pub(super) fn for_raw(mut self, wanted: FxHashMap<String, u32>) -> Self {
        self.wanted = Some(wanted);
        self
    }

    /// The number by which a device's name is noted in lines.
    pub(super) fn machine_of(&self, device: Option<&str>) -> Option<u32> {
        self.templates.machine_of(device?)
    }

    /// Writes behind `out` what stands for a line that `own` said, and notes
    /// the machines it names.
    pub(super) fn look(
        &self,
        line: &str,
        own: Option<u32>,
        named: &mut Vec<u32>,
        out: &mut String,
    ) -> Seen {
        let from = out.len();
        self.templates.write(line, own, named, out);
        let is_known = self.is_known(line, own, named, &out[from..]);
        let Some(wanted) = &self.wanted else {
            return if is_known { Seen::Hidden } else { Seen::Text };
        };
        if is_known {
            return Seen::Unasked;
        }
        let Some(number) = wanted.get(&out[from..]) else {
            return Seen::Unasked;
        };
        out.truncate(from);
        out.push_str(&format!("{number}\n{line}"));
        Seen::Text
    }

    fn is_known(&self, line: &str, own: Option<u32>, named: &mut Vec<u32>, template: &str) -> bool {
        self.baselines.iter().any(|baseline| {
            if baseline.facts().rules == self.rules {
                return baseline.has(template);
            }
            // The same machines have the same numbers under all rules, and some
            // rules tell machines apart where others do not.
            let (mut theirs, mut others) = (String::new(), Vec::new());
            baseline.maker().write(line, own, &mut others, &mut theirs);
            others.retain(|machine| !named.contains(machine));
            named.append(&mut others);
            baseline.has(&theirs)
        })
    }

    /// What stands for a line, on its own.
    pub(super) fn text(&self, line: &str, own: Option<u32>) -> String {
        self.templates.of(line, own)
    }
}
