use std::fmt;
use std::io::Read;
use std::path::Path;

use crate::{CollectError, system};

/// No token or client secret is longer; a larger file is a mistaken path.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A client secret or token: cannot be printed, by nobody and nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Blanks and line ends around it are dropped: no secret has any.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().trim().to_string())
    }

    /// Reads a file that holds the secret and nothing else.
    ///
    /// **Errors**: also where others may read it.
    pub fn from_file(path: &Path) -> Result<Self, CollectError> {
        let unreadable = |source| CollectError::SecretFile {
            path: path.to_path_buf(),
            source,
        };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(unreadable)?;
        system::refuse_if_shared(&file).map_err(unreadable)?;
        file.take(SECRET_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        let secret = Self::new(text.trim_start_matches('\u{feff}'));
        if secret.is_empty() {
            return Err(unreadable(std::io::Error::other("the file is empty")));
        }
        Ok(secret)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret itself: for a request, never for a message.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
