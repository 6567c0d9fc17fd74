//! The manifest: which segments count. Renaming it into place is the only
//! commit of the index.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::IndexError;
use crate::codec::directory::Folder;
use evidence::{ResultKey, Seq, Sha256};

/// Written into every manifest; another number means another layout.
pub const SCHEMA: u32 = 7;

/// What letters, digits and cases are changes with Unicode's version, and the
/// index keeps what they were: a build that knows another one writes it anew.
const UNICODE: (u8, u8, u8) = char::UNICODE_VERSION;

const NAME: &str = "manifest";
const NEW_NAME: &str = "manifest.new";

/// What an index was made from. Where any of it differs, the index is of
/// something else and is built anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexId {
    pub archive: [u8; 16],
    pub generation: u64,
    /// What decides an extraction: a rebuild with another gives other answers.
    pub extractor_version: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    schema: u32,
    unicode: (u8, u8, u8),
    pub(crate) identity: IndexId,
    pub(crate) watermark: Seq,
    /// Number of the next segment; never used twice.
    pub(crate) next: u64,
    /// Oldest first.
    pub(crate) segments: Vec<SegmentMeta>,
    pub(crate) forgotten: Vec<Forgotten>,
    pub(crate) spans: Vec<Span>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentMeta {
    pub(crate) number: u64,
    pub(crate) file_bytes: u64,
    pub(crate) text_bytes: u64,
    pub(crate) distinct_bytes: u64,
    pub(crate) distinct_lines: u64,
    pub(crate) lines: u64,
    pub(crate) documents: u64,
    pub(crate) rows: u64,
}

impl SegmentMeta {
    pub(crate) fn file_name(&self) -> String {
        segment_name(self.number)
    }
}

pub(crate) fn segment_name(number: u64) -> String {
    format!("{number:08x}.segment")
}

/// A result whose rows in segments below `before` no longer count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Forgotten {
    pub(crate) key: ResultKey,
    pub(crate) version: u32,
    pub(crate) before: u64,
}

/// A text larger than a segment: its first pieces were written before its
/// hash was known, under a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) ticket: Sha256,
    pub(crate) content: Sha256,
}

impl Manifest {
    pub(crate) fn new(identity: IndexId, next: u64) -> Self {
        Self {
            schema: SCHEMA,
            unicode: UNICODE,
            identity,
            watermark: Seq::ZERO,
            next,
            segments: Vec::new(),
            forgotten: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// `None` where there is no manifest.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, IndexError> {
        let path = folder.join(NAME);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(IndexError::Io {
                    action: "read",
                    path,
                    source,
                });
            }
        };
        let damaged = |what: &str| IndexError::Damaged {
            path: folder.to_path_buf(),
            what: what.to_string(),
        };
        let (json, checksum) = bytes
            .split_last_chunk::<9>()
            .ok_or_else(|| damaged("its manifest is too short"))?;
        if *checksum != seal(json) {
            return Err(damaged("its manifest does not match its checksum"));
        }
        #[derive(Deserialize)]
        struct Head {
            schema: u32,
            #[serde(default)]
            unicode: (u8, u8, u8),
        }
        let head: Head =
            serde_json::from_slice(json).map_err(|error| damaged(&error.to_string()))?;
        let found = (head.schema, head.unicode);
        if found != (SCHEMA, UNICODE) {
            let said = |(schema, unicode): (u32, (u8, u8, u8))| match unicode {
                (0, 0, 0) => schema.to_string(),
                (a, b, c) => format!("{schema} with Unicode {a}.{b}.{c}"),
            };
            return Err(IndexError::Schema {
                path: folder.to_path_buf(),
                found: said(found),
                wanted: said((SCHEMA, UNICODE)),
            });
        }
        serde_json::from_slice(json)
            .map(Some)
            .map_err(|error| damaged(&error.to_string()))
    }

    /// The commit. Everything it names must be synced before.
    pub(crate) fn write(&self, folder: &Folder) -> Result<(), IndexError> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(io::Error::other)
            .map_err(folder.failed("write", NAME))?;
        let checksum = seal(&bytes);
        bytes.extend(checksum);
        let mut file = folder.create(NEW_NAME)?;
        file.write(&bytes)?;
        file.finish()?;
        folder.rename(NEW_NAME, NAME)
    }

    /// Whether a file in the folder is named here.
    pub(crate) fn names(&self, file: &str) -> bool {
        file == NAME || self.segments.iter().any(|s| s.file_name() == file)
    }
}

/// A line feed and eight hex digits: the file stays readable for a person.
fn seal(json: &[u8]) -> [u8; 9] {
    let mut seal = *b"\n00000000";
    let text = format!("{:08x}", crc32fast::hash(json));
    seal[1..].copy_from_slice(text.as_bytes());
    seal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_of_another_schema_or_unicode_is_said_to_be_one() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        let identity = IndexId {
            archive: [1; 16],
            generation: 0,
            extractor_version: 1,
        };
        let mut manifest = Manifest::new(identity, 0);
        manifest.write(&folder).unwrap();
        assert!(Manifest::read(temp.path()).unwrap().is_some());
        let (a, b, c) = UNICODE;
        let here = format!("this build reads {SCHEMA} with Unicode {a}.{b}.{c}");
        for (schema, unicode, said) in [
            (SCHEMA, (1, 2, 3), format!("{SCHEMA} with Unicode 1.2.3")),
            (SCHEMA - 1, (0, 0, 0), (SCHEMA - 1).to_string()),
        ] {
            (manifest.schema, manifest.unicode) = (schema, unicode);
            manifest.write(&folder).unwrap();
            let error = Manifest::read(temp.path()).unwrap_err().to_string();
            let told = format!("by schema {said}, {here}");
            assert!(error.ends_with(&told), "{error}");
        }
    }
}
