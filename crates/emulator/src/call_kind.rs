//! The kinds of calls that the service counts, limits and faults separately.

/// Kind of a call: the endpoint it addresses, and with it its rate limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallKind {
    SignIn,
    Machines,
    List,
    Get,
    Link,
    Blob,
    /// Start of a live response session.
    Run,
    Cancel,
    /// Start of an investigation package.
    Package,
    /// Link to an investigation package.
    PackageLink,
    /// List of the library.
    Library,
    Upload,
    Delete,
    /// A path that the service does not have.
    Other,
}

impl CallKind {
    /// Every kind with its name in fault rules, reports and the state file.
    pub(crate) const ALL: [(Self, &'static str); 14] = [
        (Self::SignIn, "token"),
        (Self::Machines, "machines"),
        (Self::List, "list"),
        (Self::Get, "get"),
        (Self::Link, "link"),
        (Self::Blob, "blob"),
        (Self::Run, "run"),
        (Self::Cancel, "cancel"),
        (Self::Package, "package"),
        (Self::PackageLink, "package-link"),
        (Self::Library, "library"),
        (Self::Upload, "upload"),
        (Self::Delete, "delete"),
        (Self::Other, "other"),
    ];

    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("other", |(_, name)| name)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, own)| *own == name)
            .map(|(kind, _)| *kind)
    }
}
