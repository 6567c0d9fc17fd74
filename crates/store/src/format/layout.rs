//! File names in an archive's directory.
//!
//! ```text
//! archive.json            id, generation, format, key of the keystream
//! lock  writer.json       lock of the writing process, and its description
//! packs/NNNNNNNN.pack     shared pack (many entries), or single-body pack
//! packs/NNNNNNNN.list     pack index of a shared pack
//! packs/adopted.list      pack index of all single-body packs
//! incoming/KEY.part .json partial downloads of large bodies
//! catalogue/NNNN/         sled database: derived, used by the writer only
//! custody.notes           custody events of readers, merged by the next writer
//! bookmark.json           checkpoint of the journal tail: derived
//! scratch/                unnamed temporary files
//! ```

use evidence::ResultKey;

pub(crate) const ARCHIVE: &str = "archive.json";
pub(crate) const PACKS: &str = "packs";
pub(crate) const SINGLE_BODY_INDEX: &str = "packs/adopted.list";
pub(crate) const INCOMING: &str = "incoming";
pub(crate) const CATALOGUE: &str = "catalogue";
pub(crate) const PENDING_CUSTODY: &str = "custody.notes";
pub(crate) const CHECKPOINT: &str = "bookmark.json";
pub(crate) const SCRATCH: &str = "scratch";

pub(crate) fn pack(number: u32) -> String {
    format!("{PACKS}/{number:08}.pack")
}

/// Name of the pack index of a shared pack; with number 0, of the one of all
/// single-body packs.
pub(crate) fn pack_index(number: u32) -> String {
    match number {
        0 => SINGLE_BODY_INDEX.to_string(),
        number => format!("{PACKS}/{number:08}.list"),
    }
}

/// Number of a pack or pack index, from its file name without the directory.
pub(crate) fn number(name: &str, extension: &str) -> Option<u32> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 8)
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|number| *number > 0)
}

/// Name of the partial download of a result's body.
pub(crate) fn partial(key: ResultKey) -> String {
    format!("{INCOMING}/{}-{}.part", key.action, key.index)
}

/// Name of the response headers of a partial download, without the directory.
pub(crate) fn partial_headers(key: ResultKey) -> String {
    format!("{}-{}.json", key.action, key.index)
}
