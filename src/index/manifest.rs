//! The manifest: which segments count. Renaming it into place is the only
//! commit of the index.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::IndexError;
use super::folder::Folder;
use crate::evidence::{ResultKey, Seq, Sha256};

/// Written into every manifest; another number means another layout.
pub const SCHEMA: u32 = 4;

const NAME: &str = "manifest";
const NEW_NAME: &str = "manifest.new";

/// What an index was made from. Where any of it differs, the index is of
/// something else and is built anew.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    pub archive: [u8; 16],
    pub generation: u64,
    /// What decides an extraction: a rebuild with another gives other answers.
    pub extractor_version: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) schema: u32,
    pub(super) identity: Identity,
    pub(super) watermark: Seq,
    /// Number of the next segment; never used twice.
    pub(super) next: u64,
    /// Oldest first.
    pub(super) segments: Vec<SegmentMeta>,
    pub(super) forgotten: Vec<Forgotten>,
    pub(super) spans: Vec<Span>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SegmentMeta {
    pub(super) number: u64,
    pub(super) file_bytes: u64,
    pub(super) text_bytes: u64,
    pub(super) distinct_bytes: u64,
    pub(super) distinct_lines: u64,
    pub(super) lines: u64,
    pub(super) documents: u64,
    pub(super) rows: u64,
}

impl SegmentMeta {
    pub(super) fn file_name(&self) -> String {
        segment_name(self.number)
    }
}

pub(super) fn segment_name(number: u64) -> String {
    format!("{number:08x}.segment")
}

/// A result whose rows in segments below `before` no longer count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Forgotten {
    pub(super) key: ResultKey,
    pub(super) version: u32,
    pub(super) before: u64,
}

/// A text larger than a segment: its first pieces were written before its
/// hash was known, under a ticket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    pub(super) ticket: Sha256,
    pub(super) content: Sha256,
}

impl Manifest {
    pub(super) fn new(identity: Identity, next: u64) -> Self {
        Self {
            schema: SCHEMA,
            identity,
            watermark: Seq::ZERO,
            next,
            segments: Vec::new(),
            forgotten: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// `None` where there is no manifest.
    pub(super) fn read(folder: &Path) -> Result<Option<Self>, IndexError> {
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
        }
        let head: Head =
            serde_json::from_slice(json).map_err(|error| damaged(&error.to_string()))?;
        if head.schema != SCHEMA {
            return Err(IndexError::Schema {
                path: folder.to_path_buf(),
                found: head.schema,
                wanted: SCHEMA,
            });
        }
        serde_json::from_slice(json)
            .map(Some)
            .map_err(|error| damaged(&error.to_string()))
    }

    /// The commit. Everything it names must be synced before.
    pub(super) fn write(&self, folder: &Folder) -> Result<(), IndexError> {
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
    pub(super) fn names(&self, file: &str) -> bool {
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
