use std::io;
use std::path::PathBuf;

use crate::SyntaxError;

/// What the index could not do. Everything here is derived: whatever is lost
/// comes back with a rebuild.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("could not {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("there is no index in {}", path.display())]
    Missing { path: PathBuf },
    #[error("the index in {} is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("the index in {} was written by schema {found}, this build reads {wanted}", path.display())]
    Schema {
        path: PathBuf,
        found: String,
        wanted: String,
    },
    #[error("the index in {} belongs to another archive or an earlier extraction", path.display())]
    Foreign { path: PathBuf },
    #[error("could not {action} the terms of a segment")]
    Terms {
        action: &'static str,
        source: Box<tantivy::TantivyError>,
    },
    #[error("the query cannot be read")]
    Query(#[from] SyntaxError),
    #[error("the index refuses writes since an earlier one failed")]
    Poisoned,
}

impl IndexError {
    /// What a person can do about it.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::Missing { .. } => Some("run `index`; it reads the archive from the beginning"),
            Self::Damaged { .. } | Self::Schema { .. } | Self::Foreign { .. } => {
                Some("run `index --rebuild`; the index is derived, nothing is lost")
            }
            Self::Query(error) => error.hint.as_deref(),
            Self::Poisoned => Some("run the command again; it goes on at the last watermark"),
            Self::Io { .. } | Self::Terms { .. } => None,
        }
    }

    pub(crate) fn terms(action: &'static str) -> impl FnOnce(tantivy::TantivyError) -> Self {
        move |source| Self::Terms {
            action,
            source: Box::new(source),
        }
    }
}
