//! What is different: stack, diff, twins, baselines. Brings the index's
//! distinct lines to the analyzers, and their answers back to their places.

mod baselines;
mod diffing;
mod kept;
mod known;
mod lens;
mod looks;
mod rows;
mod scope;
mod stacking;
mod sweep;
#[cfg(test)]
mod tests;
mod twinning;

pub use baselines::{
    BaselineRow, LearnRequest, baseline_page, baseline_templates, delete_baseline, import_baseline,
    learn_baseline, list_baselines,
};
pub use diffing::{DiffRequest, Sides, diff};
pub(super) use known::Known;
pub use rows::{DiffKind, DiffRow, RawRow, SideRow, StackRow, TwinLine, TwinRow};
pub use scope::{CompareRequest, CompareSummary};
pub use stacking::{By, StackRequest, stack};
pub use twinning::{TwinsRequest, twins};

use crate::analyze::AnalyzeError;

use super::failure::{Failure, Kind};

pub use crate::analyze::{ANALYZERS, RULES, Rule, RuleSet, VARIANTS_COUNTED};

impl From<AnalyzeError> for Failure {
    fn from(error: AnalyzeError) -> Self {
        let hint = error.hint();
        let failure = Self::caused(Kind::Asked, String::new(), error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// The template of a line, for whoever tries the rules.
pub fn template_of(rules: &RuleSet, line: &str) -> Result<String, Failure> {
    Ok(crate::analyze::Templates::new(rules)?.of(line, None))
}
