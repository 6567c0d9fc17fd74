//! Kinds of API calls. Rate limits, the call log and error messages
//! distinguish calls by their kind.

/// Kind of an API call. Each kind has its own rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApiCall {
    /// List actions.
    List,
    /// Request the link of a result.
    Link,
    /// Start a live response session.
    Run,
    /// List machines.
    Machines,
    /// Read one action.
    Action,
    /// Cancel an action.
    Cancel,
    /// List, add or delete library files.
    Library,
    /// Start the collection of an investigation package.
    Package,
    /// Request the link of an investigation package.
    PackageLink,
}

impl ApiCall {
    pub const ALL: [Self; 9] = [
        Self::List,
        Self::Link,
        Self::Run,
        Self::Machines,
        Self::Action,
        Self::Cancel,
        Self::Library,
        Self::Package,
        Self::PackageLink,
    ];

    /// Position in [`ApiCall::ALL`].
    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Name in the call log.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Link => "link",
            Self::Run => "run",
            Self::Machines => "machines",
            Self::Action => "action",
            Self::Cancel => "cancel",
            Self::Library => "library",
            Self::Package => "package",
            Self::PackageLink => "package-link",
        }
    }

    /// The kind with this name in the call log.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|call| call.as_str() == name)
    }

    /// Completes the sentence "could not …".
    pub fn description(self) -> &'static str {
        match self {
            Self::List => "list actions",
            Self::Link => "request the link of a result",
            Self::Run => "start a live response session",
            Self::Machines => "list machines",
            Self::Action => "read an action",
            Self::Cancel => "cancel an action",
            Self::Library => "access the library",
            Self::Package => "start the collection of a package",
            Self::PackageLink => "request the link of a package",
        }
    }
}
