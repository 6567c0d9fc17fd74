//! Entries of the journal: one fact each, such as a sealed result, a gap or a
//! setting.
//!
//! An entry consists of a header with fixed fields, a JSON text and, for
//! results and actions, a body. Header and JSON are stored twice: in the
//! trailer of the entry in its pack, and in the pack index.

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::format::frame::Digest32;
use evidence::{
    Action, ActionId, CommandIndex, Facts, Gap, Record, ResultId, ResultKey, Seq, Sha256,
    Sha256Sum, Time, Version,
};

/// The type of an entry, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum EntryType {
    Result = 1,
    Gap = 2,
    Action = 3,
    Custody = 4,
    Setting = 5,
    Fleet = 6,
}

/// A custody event: a person used the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustodyEvent {
    pub who: String,
    pub host: String,
    /// Version of this program.
    pub version: String,
    pub at: Time,
    /// Description for a person, possibly JSON. Contains no link and no token.
    pub what: String,
}

/// A setting that affects search results, such as the passwords to try, limits
/// or the extractor version. It is stored so that rebuilding the index gives
/// the same answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub name: String,
    pub value: serde_json::Value,
}

/// The state of a fleet run or of one of its devices. The latest note of a
/// place replaces earlier ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetNote {
    pub run: [u8; 8],
    /// 0 for the run itself, 1 and up for its devices.
    pub place: u32,
    pub value: serde_json::Value,
}

/// A sealed result without its facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedResult {
    pub seq: Seq,
    pub id: ResultId,
    /// **Units**: bytes of its body.
    pub bytes: u64,
}

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub seq: Seq,
    pub kind: EntryKind,
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryKind {
    Result(Record),
    Gap(Gap),
    Action(Action),
    Custody(CustodyEvent),
    Setting(Setting),
    Fleet(FleetNote),
}

/// The fixed fields of an entry.
///
/// **Invariant**: `sha256` is the hash of the body; for an entry without a
/// body it is the dedup hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    pub(crate) seq: Seq,
    pub(crate) kind: EntryType,
    /// Results and gaps: their key. Actions: the id with index 0. Settings: the
    /// first bytes of the hash of the name. Fleet notes: run id and place.
    pub(crate) key: ResultKey,
    /// From 1 for results, otherwise 0.
    pub(crate) version: u32,
    pub(crate) sha256: Sha256,
    pub(crate) blake3: Digest32,
    /// **Units**: bytes of the body.
    pub(crate) bytes: u64,
    /// **Units**: bytes of the frames on disk, including frame heads.
    pub(crate) stored: u64,
}

/// **Units**: bytes.
pub(crate) const ENTRY_HEADER_LEN: usize = 8 + 1 + 20 + 4 + 32 + 32 + 8 + 8;

impl EntryHeader {
    pub(crate) fn id(&self) -> ResultId {
        ResultId::new(self.key, Version(self.version))
    }

    pub(crate) fn to_bytes(self) -> [u8; ENTRY_HEADER_LEN] {
        let mut bytes = [0; ENTRY_HEADER_LEN];
        let mut rest = bytes.as_mut_slice();
        let mut put = |field: &[u8]| {
            let (target, remaining) = std::mem::take(&mut rest).split_at_mut(field.len());
            target.copy_from_slice(field);
            rest = remaining;
        };
        put(&self.seq.0.to_le_bytes());
        put(&[self.kind as u8]);
        put(&self.key.to_bytes());
        put(&self.version.to_le_bytes());
        put(&self.sha256.0);
        put(&self.blake3);
        put(&self.bytes.to_le_bytes());
        put(&self.stored.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are not a valid header.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(bytes.get(..ENTRY_HEADER_LEN)?);
        Some(Self {
            seq: Seq(u64::from_le_bytes(fields.take()?)),
            kind: match fields.take::<1>()? {
                [1] => EntryType::Result,
                [2] => EntryType::Gap,
                [3] => EntryType::Action,
                [4] => EntryType::Custody,
                [5] => EntryType::Setting,
                [6] => EntryType::Fleet,
                _ => return None,
            },
            key: ResultKey::from_bytes(fields.take()?),
            version: u32::from_le_bytes(fields.take()?),
            sha256: Sha256(fields.take()?),
            blake3: fields.take()?,
            bytes: u64::from_le_bytes(fields.take()?),
            stored: u64::from_le_bytes(fields.take()?),
        })
    }
}

/// Reads fixed-size fields from the front of a slice.
pub(crate) struct FieldReader<'a>(pub(crate) &'a [u8]);

impl FieldReader<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

/// The position of an entry: its frames, followed by its trailer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryLocation {
    pub(crate) pack: u32,
    /// Offset of the first frame, or of the trailer if there are no frames.
    pub(crate) start: u64,
    /// **Units**: bytes of the whole trailer.
    pub(crate) trailer: u32,
}

pub(crate) const ENTRY_LOCATION_LEN: usize = 16;

impl EntryLocation {
    /// Offset of the trailer.
    pub(crate) fn trailer_offset(&self, header: &EntryHeader) -> u64 {
        self.start.saturating_add(header.stored)
    }

    /// Offset of the first byte after the trailer.
    pub(crate) fn end(&self, header: &EntryHeader) -> u64 {
        self.trailer_offset(header)
            .saturating_add(u64::from(self.trailer))
    }

    pub(crate) fn to_bytes(self) -> [u8; ENTRY_LOCATION_LEN] {
        let mut bytes = [0; ENTRY_LOCATION_LEN];
        bytes[..4].copy_from_slice(&self.pack.to_le_bytes());
        bytes[4..12].copy_from_slice(&self.start.to_le_bytes());
        bytes[12..].copy_from_slice(&self.trailer.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut fields = FieldReader(bytes);
        Some(Self {
            pack: u32::from_le_bytes(fields.take()?),
            start: u64::from_le_bytes(fields.take()?),
            trailer: u32::from_le_bytes(fields.take()?),
        })
    }
}

/// An entry as it is in its pack, without the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackEntry {
    pub(crate) header: EntryHeader,
    pub(crate) location: EntryLocation,
    pub(crate) json: Vec<u8>,
}

/// An entry to be committed. The body and the commit add the other fields of
/// the header.
#[derive(Clone, Debug)]
pub(crate) struct NewEntry {
    pub(crate) kind: EntryType,
    pub(crate) key: ResultKey,
    /// Two entries without a body are duplicates if their dedup hashes are
    /// equal.
    pub(crate) dedup_hash: Sha256,
    pub(crate) json: Vec<u8>,
}

/// The JSON text of a result's entry.
#[derive(Serialize, Deserialize)]
struct ResultFacts<F> {
    collected_at: Time,
    facts: F,
}

impl NewEntry {
    pub(crate) fn result(key: ResultKey, collected_at: &Time, facts: &Facts) -> Self {
        let json = json_of(&ResultFacts {
            collected_at: collected_at.clone(),
            facts,
        });
        Self::new(EntryType::Result, key, &[], json)
    }

    pub(crate) fn gap(gap: &Gap) -> Self {
        let hashed = [gap.reason.as_str().as_bytes(), b"\0", gap.detail.as_bytes()];
        Self::new(EntryType::Gap, gap.key, &hashed, json_of(gap))
    }

    pub(crate) fn action(action: &Action) -> Self {
        let key = ResultKey::new(action.id, CommandIndex(0));
        Self::new(EntryType::Action, key, &[], json_of(action))
    }

    pub(crate) fn custody(event: &CustodyEvent) -> Self {
        let json = json_of(event);
        let key = ResultKey::new(ActionId::from_bytes([0; 16]), CommandIndex(0));
        Self::new(EntryType::Custody, key, &[&json], json.clone())
    }

    pub(crate) fn setting(setting: &Setting) -> Self {
        let json = json_of(setting);
        let key = setting_key(&setting.name);
        Self::new(EntryType::Setting, key, &[&json], json.clone())
    }

    pub(crate) fn fleet(note: &FleetNote) -> Self {
        let json = json_of(note);
        let key = fleet_key(note.run, note.place);
        Self::new(EntryType::Fleet, key, &[&json], json.clone())
    }

    fn new(kind: EntryType, key: ResultKey, hashed: &[&[u8]], json: Vec<u8>) -> Self {
        let mut hash = Sha256Sum::default();
        hashed.iter().for_each(|part| hash.update(part));
        Self {
            kind,
            key,
            dedup_hash: hash.finish(),
            json,
        }
    }
}

fn json_of<T: Serialize>(value: &T) -> Vec<u8> {
    // Cannot fail: plain data with text keys.
    serde_json::to_vec(value).unwrap_or_default()
}

pub(crate) fn fleet_key(run: [u8; 8], place: u32) -> ResultKey {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&run);
    ResultKey::new(ActionId::from_bytes(id), CommandIndex(place))
}

pub(crate) fn setting_key(name: &str) -> ResultKey {
    let Sha256(hash) = Sha256::of(name.as_bytes());
    let mut key = [0; ResultKey::LEN];
    key.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
    ResultKey::from_bytes(key)
}

/// Parses an entry.
///
/// **Errors**: `Damaged` if the JSON, whose checksum is correct, has a form
/// that this build cannot read.
pub(crate) fn parse_entry(header: &EntryHeader, json: &[u8]) -> Result<Entry, StoreError> {
    let damaged = |e: serde_json::Error| {
        StoreError::damaged(format!("entry {}", header.seq), format!("facts: {e}"))
    };
    let kind = match header.kind {
        EntryType::Result => EntryKind::Result(parse_record(header, json)?),
        EntryType::Gap => EntryKind::Gap(serde_json::from_slice(json).map_err(damaged)?),
        EntryType::Action => EntryKind::Action(serde_json::from_slice(json).map_err(damaged)?),
        EntryType::Custody => EntryKind::Custody(serde_json::from_slice(json).map_err(damaged)?),
        EntryType::Setting => EntryKind::Setting(serde_json::from_slice(json).map_err(damaged)?),
        EntryType::Fleet => EntryKind::Fleet(serde_json::from_slice(json).map_err(damaged)?),
    };
    Ok(Entry {
        seq: header.seq,
        kind,
    })
}

pub(crate) fn parse_record(header: &EntryHeader, json: &[u8]) -> Result<Record, StoreError> {
    let ResultFacts::<Facts> {
        collected_at,
        facts,
    } = serde_json::from_slice(json).map_err(|e| {
        StoreError::damaged(format!("record {}", header.id()), format!("facts: {e}"))
    })?;
    Ok(Record {
        id: header.id(),
        seq: header.seq,
        bytes: header.bytes,
        sha256: header.sha256,
        collected_at,
        facts,
    })
}
