//! What stands where in an archive's folder.
//!
//! ```text
//! archive.json            id, generation, format, key of the keystream
//! lock  writer.json       held by the writer, and who that is
//! packs/NNNNNNNN.pack     entries; shared, or one large body each
//! packs/NNNNNNNN.list     side file of a shared pack
//! packs/adopted.list      side file of all packs with one body
//! incoming/KEY.part .json large bodies on their way in
//! catalogue/NNNN/         sled: derived, the writer's alone
//! custody.notes           what readers noted; the next writer folds it in
//! bookmark.json           where the lists go on behind what is indexed: derived
//! scratch/                files without a name
//! ```

use evidence::ResultKey;

pub(crate) const ARCHIVE: &str = "archive.json";
pub(crate) const PACKS: &str = "packs";
pub(crate) const ADOPTED: &str = "packs/adopted.list";
pub(crate) const INCOMING: &str = "incoming";
pub(crate) const CATALOGUE: &str = "catalogue";
pub(crate) const NOTES: &str = "custody.notes";
pub(crate) const BOOKMARK: &str = "bookmark.json";
pub(crate) const SCRATCH: &str = "scratch";

pub(crate) fn pack(number: u32) -> String {
    format!("{PACKS}/{number:08}.pack")
}

pub(crate) fn list(number: u32) -> String {
    format!("{PACKS}/{number:08}.list")
}

/// Number of a pack or list by the name it has in its folder.
pub(crate) fn number(name: &str, extension: &str) -> Option<u32> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 8)
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|number| *number > 0)
}

pub(crate) fn partial(key: ResultKey) -> String {
    format!("{INCOMING}/{}-{}.part", key.action, key.index)
}

pub(crate) fn partial_facts(key: ResultKey) -> String {
    format!("{}-{}.json", key.action, key.index)
}
