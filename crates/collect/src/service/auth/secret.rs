//! Secrets: client secrets and tokens, whose text appears in no message.

use std::fmt;
use std::io::Read;
use std::path::Path;

use crate::error::CollectError;
use crate::system;

/// Longer than any token or client secret; a larger file is a wrong path.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// A client secret or a token. It implements no `Display`, and its `Debug`
/// text does not contain it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Creates a secret. White space around the text is removed; no secret has
    /// any.
    pub fn new(text: impl AsRef<str>) -> Self {
        Self(text.as_ref().trim().to_string())
    }

    /// Reads a file that contains only the secret.
    ///
    /// **Errors**: the file cannot be read, is empty, or can be read by other
    /// users.
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

    /// The text of the secret, for a request. It must not be put into a
    /// message.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
