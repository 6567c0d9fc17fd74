//! How evidence is read: what decides it, and the passwords that open it.

use std::io;
use std::path::Path;

use evidence::{Layer, Record, ResultId, Seq};
use extract;
use extract::{CodePage, TextPart};
use index::IndexWriter;
use members;
use members::MembersError;
use store::{Catalogue, Scratch, StoreError};

use crate::app::custody;
use crate::app::error::{Failure, FailureKind};
use crate::app::index_lock::IndexLock;
use crate::app::index_update::{identity_of, index_dir, index_settings, open_searcher};
use crate::app::indexer::Indexer;
use crate::app::list::locked_results;

/// Setting of the archive: passwords to try on locked members.
const PASSWORDS: &str = "passwords";
/// Setting of the archive: how text that is no Unicode is read.
const CODE_PAGE: &str = "code_page";
/// More passwords than this would make every locked member a brute force.
const PASSWORDS_MAX: usize = 1_000;

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

/// What decides how evidence is read: facts of the archive, so that reading it
/// again gives the same.
#[derive(Clone, Default)]
pub(super) struct Reading {
    pub members: members::TraverseSettings,
    pub extract: extract::ExtractSettings,
}

pub(super) fn reading(catalogue: &Catalogue) -> Result<Reading, Failure> {
    let mut reading = Reading::default();
    reading
        .members
        .passwords
        .extend(noted_passwords(catalogue)?);
    if let Some(page) = noted_code_page(catalogue)? {
        reading.extract.code_page = page;
    }
    Ok(reading)
}

fn noted_code_page(catalogue: &Catalogue) -> Result<Option<CodePage>, Failure> {
    let noted = catalogue.settings()?.remove(CODE_PAGE);
    let number = noted.and_then(|value| u16::try_from(value.as_u64()?).ok());
    Ok(number.and_then(CodePage::from_number))
}

/// Sets how text that is no Unicode is read. Returns whether that is new, so
/// that the index must be built anew: it is emptied before, so that no search
/// is answered from text that was decoded otherwise.
pub fn set_code_page(archive: &Path, number: u16) -> Result<bool, Failure> {
    let page = CodePage::from_number(number).ok_or_else(|| {
        Failure::usage(format!("{number} is no code page this build reads"))
            .hint("one of 437, 850, 866, 874, 932, 936, 949, 950, 1250 to 1258")
    })?;
    let catalogue = custody::open_to_read(archive)?;
    if noted_code_page(&catalogue)? == Some(page) {
        return Ok(false);
    }
    let store = custody::open_to_write(archive, "index --code-page")?;
    empty_index(archive, &catalogue)?;
    custody::note(
        &store,
        &format!("read text that is no Unicode as code page {number}"),
    )?;
    store.note_setting(CODE_PAGE, serde_json::json!(number))?;
    store.close()?;
    Ok(true)
}

/// The index answers from nothing until it is caught up with.
fn empty_index(archive: &Path, catalogue: &Catalogue) -> Result<(), Failure> {
    let _lock = IndexLock::acquire(archive)?;
    let (identity, settings) = (identity_of(catalogue), index_settings(catalogue));
    let mut writer = IndexWriter::rebuild(&index_dir(archive), identity, settings)?;
    Ok(writer.publish(Seq::ZERO)?)
}

fn noted_passwords(catalogue: &Catalogue) -> Result<Vec<String>, Failure> {
    let noted = catalogue.settings()?.remove(PASSWORDS);
    Ok(noted
        .and_then(|value| serde_json::from_value(value).ok())
        .unwrap_or_default())
}

/// Adds the passwords in `file`, one a line, to those that are tried. Results
/// with locked members are read again, new passwords or not: a run that was
/// killed may have noted them and read nothing.
pub fn add_passwords(archive: &Path, file: &Path) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        Failure::caused(
            FailureKind::Environment,
            format!("could not read {}", file.display()),
            e,
        )
    })?;
    let catalogue = custody::open_to_read(archive)?;
    let mut passwords = noted_passwords(&catalogue)?;
    let before = passwords.len();
    for word in text
        .lines()
        .map(|l| l.trim_end_matches('\r'))
        .filter(|l| !l.is_empty())
    {
        if word != members::DEFAULT_PASSWORD && !passwords.iter().any(|p| p == word) {
            passwords.push(word.to_string());
        }
    }
    if passwords.len() > PASSWORDS_MAX {
        return Err(Failure::usage(format!(
            "{} passwords are more than the {PASSWORDS_MAX} an archive tries",
            passwords.len()
        )));
    }
    let added = passwords.len() - before;
    if added > 0 {
        note_passwords(archive, &passwords, added)?;
    }
    read_locked_again(archive)?;
    Ok(added as u64)
}

fn note_passwords(archive: &Path, passwords: &[String], added: usize) -> Result<(), Failure> {
    let store = custody::open_to_write(archive, "index --passwords")?;
    custody::note(
        &store,
        &format!("add {added} passwords to try on locked members"),
    )?;
    store.note_setting(PASSWORDS, serde_json::json!(passwords))?;
    Ok(store.close()?)
}

/// Reads anew the results that have locked members.
fn read_locked_again(archive: &Path) -> Result<(), Failure> {
    // What another process publishes meanwhile is read with its own list.
    let _lock = IndexLock::acquire(archive)?;
    let catalogue = custody::open_to_read(archive)?;
    let Some(searcher) = open_searcher(archive, &catalogue)? else {
        return Ok(());
    };
    let locked = locked_results(&searcher);
    drop(searcher);
    if locked.is_empty() {
        return Ok(());
    }
    let (identity, settings) = (identity_of(&catalogue), index_settings(&catalogue));
    let mut writer = IndexWriter::open(&index_dir(archive), identity, settings)?;
    let watermark = writer.watermark();
    let mut indexer = Indexer::new(archive, &catalogue, &mut writer)?;
    for id in locked {
        indexer.writer.forget(id);
        indexer.read(&record_of(&catalogue, id)?)?;
    }
    Ok(writer.publish(watermark)?)
}

/// Scratch files stand inside the archive, which is where there is room for
/// evidence; a system's temp may be memory.
pub(super) fn scratch_factory(
    archive: &Path,
) -> impl FnMut() -> io::Result<Box<dyn members::Scratch>> + '_ {
    move || {
        let scratch = Scratch::create(
            archive,
            members::TraverseLimits::default().scratch_bytes_max,
        )?;
        Ok(Box::new(scratch) as Box<dyn members::Scratch>)
    }
}

/// The layer a part of a content is printed with.
pub(super) fn layer_of(part: TextPart) -> Option<Layer> {
    match part {
        TextPart::Whole => None,
        TextPart::Output => Some(Layer::output()),
        TextPart::Errors => Some(Layer::errors()),
        TextPart::Other => Some(Layer::named("other", 0)),
    }
}

/// A result that was asked for by its identity.
pub(super) fn record_of(catalogue: &Catalogue, id: ResultId) -> Result<Record, Failure> {
    Ok(catalogue.record(id)?.ok_or(StoreError::Unknown { id })?)
}
