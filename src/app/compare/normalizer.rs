//! How lines are looked at: which of their parts are volatile, what a baseline
//! knows of them, which are wanted at all.

use rustc_hash::FxHashMap;

use analyze::{Baseline, GroupKeys, RuleSet, Templates};

use crate::app::error::Failure;

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
    /// The machines whose names the templates know.
    machines: Vec<String>,
    baselines: Vec<Baseline>,
    pub(super) keys: GroupKeys,
    /// A line is told by its template alone, and what baselines know by that.
    pub(super) is_plain: bool,
    /// Templates whose raw lines are asked for, by number.
    wanted: Option<FxHashMap<String, u32>>,
}

impl Lens {
    pub(super) fn new(
        rules: RuleSet,
        baselines: Vec<Baseline>,
        machines: Vec<String>,
        seed: [u8; 16],
    ) -> Result<Self, Failure> {
        let names = || machines.iter().map(String::as_str);
        let with_names = |baseline: Baseline| baseline.with_machines(names());
        let has_these_rules = |baseline: &Baseline| baseline.facts().rules == rules;
        let is_plain = baselines.iter().all(has_these_rules);
        Ok(Self {
            templates: Templates::new(&rules)?.with_machines(names()),
            rules,
            baselines: baselines.into_iter().map(with_names).collect(),
            machines,
            keys: GroupKeys::new(seed),
            is_plain,
            wanted: None,
        })
    }

    /// What becomes of lines with a template.
    pub(super) fn seen(&self, template: &str) -> Seen {
        match self.baselines.iter().any(|known| known.has(template)) {
            true => Seen::Hidden,
            false => Seen::Text,
        }
    }

    /// What templates depend on beside their lines.
    pub(super) fn depends_on(&self) -> (&RuleSet, &[String]) {
        (&self.rules, &self.machines)
    }

    /// The same for the raw lines of some templates.
    #[must_use]
    pub(super) fn for_raw(mut self, wanted: FxHashMap<String, u32>) -> Self {
        self.wanted = Some(wanted);
        self.is_plain = false;
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
        if self.is_plain {
            return Seen::Text;
        }
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
