//! What is different: stack, diff, twins, baselines. Brings the index's
//! distinct lines to the analyzers, and their answers back to their places.

mod aggregate;
mod baseline;
mod diff;
mod line_templates;
mod normalizer;
mod outliers;
mod rows;
mod scope;
mod stack;
mod template_cache;
#[cfg(test)]
mod tests;

pub use crate::app::compare::baseline::{
    BaselineList, BaselineRow, LearnRequest, delete_baseline, export_baseline, import_baseline,
    learn_baseline, list_baselines, show_baseline,
};
pub use crate::app::compare::diff::{DiffRequest, Sides, diff};
pub use crate::app::compare::outliers::{TwinsRequest, twins};
pub use crate::app::compare::rows::{
    DiffKind, DiffRow, RawRow, SideRow, StackRow, TwinLine, TwinRow,
};
pub use crate::app::compare::scope::{CompareRequest, CompareSummary};
pub use crate::app::compare::stack::{By, StackRequest, stack};

use analyze::AnalyzeError;

use crate::app::error::{Failure, FailureKind};

pub use analyze::{ANALYZERS, RULES, RuleSet, VARIANTS_COUNTED};

impl From<AnalyzeError> for Failure {
    fn from(error: AnalyzeError) -> Self {
        let hint = error.hint();
        let failure = Self::caused(FailureKind::Usage, String::new(), error);
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// The template of a line, for whoever tries the rules.
pub fn template_of(rules: &RuleSet, line: &str) -> Result<String, Failure> {
    Ok(analyze::Templates::new(rules)?.of(line, None))
}
