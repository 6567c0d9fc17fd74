/// Errors of the analyzers.
#[derive(Debug, thiserror::Error)]
pub enum AnalyzeError {
    #[error("no template rule named `{name}`")]
    NoRule { name: String },
    #[error("could not parse the pattern of the template rule `{name}`")]
    Pattern {
        name: String,
        source: Box<regex::Error>,
    },
    #[error("the baseline is damaged: {what}")]
    Baseline { what: String },
    #[error("unsupported baseline format {found}: this build reads format {wanted}")]
    BaselineFormat { found: u32, wanted: u32 },
    #[error(
        "could not use a baseline learned with version {found} of the rules, this build has {wanted}"
    )]
    BaselineRules { found: u32, wanted: u32 },
    #[error("could not learn the baseline: its templates exceed {limit} bytes")]
    BaselineTooLarge { limit: usize },
}

impl AnalyzeError {
    /// What the user can do next.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoRule { .. } => Some("`templates` lists the rules"),
            Self::Pattern { .. } => Some("`[templates]` of the config file holds it"),
            Self::Baseline { .. } => Some("learn it again, or import an export of it"),
            Self::BaselineFormat { .. } => Some("it was written by another version of afteraction"),
            Self::BaselineRules { .. } => Some("learn it again with this version"),
            Self::BaselineTooLarge { .. } => Some("learn from fewer scripts or devices at a time"),
        }
    }
}
