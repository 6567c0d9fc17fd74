//! Settings that decide how evidence is decoded, and helpers shared by
//! everything that decodes it.
//!
//! Passwords and code page are facts of the archive: decoding the same result
//! again, for a rebuild or for `show`, gives the same text.

use std::io;
use std::path::Path;

use evidence::{Layer, Record, ResultId};
use extract::{CodePage, ExtractSettings, TextPart};
use members::{MembersError, TraverseLimits, TraverseSettings};
use store::{Catalogue, Scratch, StoreError};

use crate::app::error::{Failure, FailureKind};

/// Name of the setting with the passwords to try on encrypted members.
pub(super) const PASSWORDS: &str = "passwords";
/// Name of the setting with the code page of text that is not Unicode.
pub(super) const CODE_PAGE: &str = "code_page";

impl From<MembersError> for Failure {
    fn from(error: MembersError) -> Self {
        let kind = match &error {
            MembersError::NoSuchMember { .. } | MembersError::Unreadable { .. } => {
                FailureKind::NotFound
            }
            _ => FailureKind::Environment,
        };
        Self::caused(kind, String::new(), error)
    }
}

/// How containers are opened and text is decoded.
#[derive(Clone, Default)]
pub(super) struct DecodeSettings {
    pub(super) members: TraverseSettings,
    pub(super) extract: ExtractSettings,
}

impl DecodeSettings {
    /// The settings of an archive.
    pub(super) fn read(catalogue: &Catalogue) -> Result<Self, Failure> {
        let mut settings = Self::default();
        settings
            .members
            .passwords
            .extend(stored_passwords(catalogue)?);
        if let Some(page) = stored_code_page(catalogue)? {
            settings.extract.code_page = page;
        }
        Ok(settings)
    }
}

pub(super) fn stored_code_page(catalogue: &Catalogue) -> Result<Option<CodePage>, Failure> {
    let stored = catalogue.settings()?.remove(CODE_PAGE);
    let number = stored.and_then(|value| u16::try_from(value.as_u64()?).ok());
    Ok(number.and_then(CodePage::from_number))
}

pub(super) fn stored_passwords(catalogue: &Catalogue) -> Result<Vec<String>, Failure> {
    let stored = catalogue.settings()?.remove(PASSWORDS);
    Ok(stored
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default())
}

/// Creates scratch files inside the archive: its disk has space for evidence,
/// and the temporary directory of the system may be memory.
pub(super) fn scratch_factory(
    archive: &Path,
) -> impl FnMut() -> io::Result<Box<dyn members::Scratch>> + '_ {
    move || {
        let scratch = Scratch::create(archive, TraverseLimits::default().scratch_bytes_max)?;
        Ok(Box::new(scratch) as Box<dyn members::Scratch>)
    }
}

/// The locator layer of a part of a content; `None` for the content as a whole.
pub(super) fn layer_of(part: TextPart) -> Option<Layer> {
    match part {
        TextPart::Whole => None,
        TextPart::Output => Some(Layer::output()),
        TextPart::Errors => Some(Layer::errors()),
        TextPart::Other => Some(Layer::named("other", 0)),
    }
}

/// The record of a result.
///
/// **Errors**: `NotFound` if the archive does not have the result.
pub(super) fn record_of(catalogue: &Catalogue, id: ResultId) -> Result<Record, Failure> {
    Ok(catalogue.record(id)?.ok_or(StoreError::Unknown { id })?)
}
