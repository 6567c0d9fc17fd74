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

use crate::evidence::ResultKey;

pub(super) const ARCHIVE: &str = "archive.json";
pub(super) const LOCK: &str = "lock";
pub(super) const WRITER: &str = "writer.json";
pub(super) const PACKS: &str = "packs";
pub(super) const ADOPTED: &str = "packs/adopted.list";
pub(super) const INCOMING: &str = "incoming";
pub(super) const KEYED: &str = "catalogue";
pub(super) const NOTES: &str = "custody.notes";
pub(super) const BOOKMARK: &str = "bookmark.json";
pub(super) const SCRATCH: &str = "scratch";

pub(super) fn pack(number: u32) -> String {
    format!("{PACKS}/{number:08}.pack")
}

pub(super) fn list(number: u32) -> String {
    format!("{PACKS}/{number:08}.list")
}

/// Number of a pack or list by the name it has in its folder.
pub(super) fn number(name: &str, extension: &str) -> Option<u32> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 8)
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|number| *number > 0)
}

pub(super) fn partial(key: ResultKey) -> String {
    format!("{INCOMING}/{}-{}.part", key.action, key.index)
}

pub(super) fn partial_facts(key: ResultKey) -> String {
    format!("{}-{}.json", key.action, key.index)
}
