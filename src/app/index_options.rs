//! The options of `index` that change how evidence is decoded: code page and
//! passwords.

use std::collections::BTreeSet;
use std::path::Path;

use evidence::{ProblemKind, ResultId, Seq};
use extract::CodePage;
use index::{IndexWriter, Searcher};
use store::Catalogue;

use crate::app::custody;
use crate::app::decode_settings::{
    CODE_PAGE, PASSWORDS, record_of, stored_code_page, stored_passwords,
};
use crate::app::error::{Failure, FailureKind};
use crate::app::index_files::{index_dir, index_id, index_settings, open_index};
use crate::app::index_lock::IndexLock;
use crate::app::indexer::ResultIndexer;

/// Passwords of an archive. With more, each encrypted member would be a
/// brute-force attack.
const PASSWORDS_MAX: usize = 1_000;

/// Sets the code page of text that is not Unicode. Returns whether it changed;
/// then the index must be rebuilt. It is emptied before the change, so that no
/// search answers from text in the old code page.
pub fn set_code_page(archive: &Path, number: u16) -> Result<bool, Failure> {
    let page = CodePage::from_number(number).ok_or_else(|| {
        Failure::usage(format!("unsupported code page {number}"))
            .hint("supported code pages: 437, 850, 866, 874, 932, 936, 949, 950, 1250 to 1258")
    })?;
    let catalogue = custody::open_to_read(archive)?;
    if stored_code_page(&catalogue)? == Some(page) {
        return Ok(false);
    }
    let store = custody::open_to_write(archive, "index --code-page")?;
    empty_index(archive, &catalogue)?;
    custody::note(
        &store,
        &format!("decode text that is not Unicode as code page {number}"),
    )?;
    store.note_setting(CODE_PAGE, serde_json::json!(number))?;
    store.close()?;
    Ok(true)
}

/// Replaces the index by an empty one.
fn empty_index(archive: &Path, catalogue: &Catalogue) -> Result<(), Failure> {
    let _lock = IndexLock::acquire(archive)?;
    let id = index_id(catalogue);
    let settings = index_settings(&id);
    let mut writer = IndexWriter::rebuild(&index_dir(archive), id, settings)?;
    Ok(writer.publish(Seq::ZERO)?)
}

/// Adds the passwords in `file`, one per line, and returns how many are new.
///
/// Results with encrypted members are indexed again even if no password is
/// new: an earlier call may have been killed after it stored the passwords.
pub fn add_passwords(archive: &Path, file: &Path) -> Result<u64, Failure> {
    let text = std::fs::read_to_string(file).map_err(|e| {
        let attempt = format!("could not read {}", file.display());
        Failure::caused(FailureKind::Environment, attempt, e)
    })?;
    let catalogue = custody::open_to_read(archive)?;
    let mut passwords = stored_passwords(&catalogue)?;
    let before = passwords.len();
    for word in text
        .lines()
        .map(|line| line.trim_end_matches('\r'))
        .filter(|line| !line.is_empty())
    {
        if word != members::DEFAULT_PASSWORD && !passwords.iter().any(|p| p == word) {
            passwords.push(word.to_string());
        }
    }
    if passwords.len() > PASSWORDS_MAX {
        return Err(Failure::usage(format!(
            "too many passwords: {}, an archive can have {PASSWORDS_MAX}",
            passwords.len()
        )));
    }
    let added = passwords.len() - before;
    if added > 0 {
        store_passwords(archive, &passwords, added)?;
    }
    index_encrypted_again(archive)?;
    Ok(added as u64)
}

fn store_passwords(archive: &Path, passwords: &[String], added: usize) -> Result<(), Failure> {
    let store = custody::open_to_write(archive, "index --passwords")?;
    custody::note(
        &store,
        &format!("add {added} passwords to try on encrypted members"),
    )?;
    store.note_setting(PASSWORDS, serde_json::json!(passwords))?;
    Ok(store.close()?)
}

/// Indexes the results with encrypted members again.
fn index_encrypted_again(archive: &Path) -> Result<(), Failure> {
    // Results that another process indexes from here on are indexed with the
    // new passwords.
    let _lock = IndexLock::acquire(archive)?;
    let catalogue = custody::open_to_read(archive)?;
    let id = index_id(&catalogue);
    let Some(searcher) = open_index(archive, &id)? else {
        return Ok(());
    };
    let encrypted = encrypted_results(&searcher);
    drop(searcher);
    if encrypted.is_empty() {
        return Ok(());
    }
    let settings = index_settings(&id);
    let mut writer = IndexWriter::open(&index_dir(archive), id, settings)?;
    let watermark = writer.watermark();
    let mut indexer = ResultIndexer::new(archive, &catalogue, &mut writer)?;
    for result in encrypted {
        indexer.writer.forget(result);
        indexer.read(&record_of(&catalogue, result)?)?;
    }
    Ok(writer.publish(watermark)?)
}

/// Results with members that no password opened.
fn encrypted_results(searcher: &Searcher) -> BTreeSet<ResultId> {
    searcher
        .problems()
        .filter(|placed| placed.problem.kind == ProblemKind::Encrypted)
        .map(|placed| placed.id)
        .collect()
}
