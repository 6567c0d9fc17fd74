//! What is known of one entry: its card. The same bytes stand in the entry's
//! trailer and in the side file.

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::format::frame::Digest32;
use evidence::{
    Action, ActionId, CommandIndex, Facts, Gap, Record, ResultId, ResultKey, Seq, Sha256,
    Sha256Sum, Time, Version,
};

/// What kind of fact an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum EntryType {
    Result = 1,
    Gap = 2,
    Action = 3,
    Custody = 4,
    Setting = 5,
    Fleet = 6,
}

/// Somebody did something with the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustodyEvent {
    pub who: String,
    pub host: String,
    /// Of this program.
    pub version: String,
    pub at: Time,
    /// For a person; may be JSON. Holds no link and no token.
    pub what: String,
}

/// A setting that decides what is found in the archive, so that rebuilding
/// gives the same answers: passwords tried, limits, extractor version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    pub name: String,
    pub value: serde_json::Value,
}

/// A step of a fleet run: where one of its devices, or the run itself, has
/// come to. The latest of its place counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FleetNote {
    pub run: [u8; 8],
    /// 0 for the run itself, its devices from 1 on.
    pub place: u32,
    pub value: serde_json::Value,
}

/// A result of the journal, before its facts are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedResult {
    pub seq: Seq,
    pub id: ResultId,
    /// **Units**: bytes of its body.
    pub bytes: u64,
}

/// One fact of the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub seq: Seq,
    pub kind: EntryKind,
}

/// What the fact is.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryKind {
    Result(Record),
    Gap(Gap),
    Action(Action),
    Custody(CustodyEvent),
    Setting(Setting),
    Fleet(FleetNote),
}

/// The part of a card every entry has.
///
/// **Invariant**: `sha256` is that of the body where there is one; else of
/// what makes two facts the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryHeader {
    pub(crate) seq: Seq,
    pub(crate) kind: EntryType,
    /// Of results and gaps; of an action with index 0; of a setting the head
    /// of its name's hash; of a step of a fleet run the run's id and a place.
    pub(crate) key: ResultKey,
    /// From 1 for results, else 0.
    pub(crate) version: u32,
    pub(crate) sha256: Sha256,
    pub(crate) blake3: Digest32,
    /// **Units**: bytes of the body.
    pub(crate) bytes: u64,
    /// **Units**: bytes of its frames on disk, heads included.
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
            let (here, beyond) = std::mem::take(&mut rest).split_at_mut(field.len());
            here.copy_from_slice(field);
            rest = beyond;
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

    /// `None` where the bytes are no card.
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

/// Takes fixed fields off a slice, one after the other.
pub(crate) struct FieldReader<'a>(pub(crate) &'a [u8]);

impl FieldReader<'_> {
    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryLocation {
    pub(crate) pack: u32,
    /// Of its first frame, or of the trailer where it has none.
    pub(crate) start: u64,
    /// **Units**: bytes of the whole trailer, which stands behind the frames.
    pub(crate) trailer: u32,
}

pub(crate) const ENTRY_LOCATION_LEN: usize = 16;

impl EntryLocation {
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

/// A fact on its way into the archive: what its card will hold beside what
/// the body and the commit add.
#[derive(Clone, Debug)]
pub(crate) struct NewEntry {
    pub(crate) kind: EntryType,
    pub(crate) key: ResultKey,
    /// What makes two facts the same, where there is no body.
    pub(crate) dedup_hash: Sha256,
    pub(crate) json: Vec<u8>,
}

/// What a result's card says in JSON.
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
        let same = [gap.reason.as_str().as_bytes(), b"\0", gap.detail.as_bytes()];
        Self::new(EntryType::Gap, gap.key, &same, json_of(gap))
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
        Self::new(
            EntryType::Setting,
            setting_key(&setting.name),
            &[&json],
            json.clone(),
        )
    }

    pub(crate) fn fleet(note: &FleetNote) -> Self {
        let json = json_of(note);
        let key = fleet_key(note.run, note.place);
        Self::new(EntryType::Fleet, key, &[&json], json.clone())
    }

    fn new(kind: EntryType, key: ResultKey, same: &[&[u8]], json: Vec<u8>) -> Self {
        let mut hash = Sha256Sum::default();
        same.iter().for_each(|part| hash.update(part));
        Self {
            kind,
            key,
            dedup_hash: hash.finish(),
            json,
        }
    }
}

fn json_of<T: Serialize>(value: &T) -> Vec<u8> {
    // Plain data with text keys: there is nothing in it that JSON cannot say.
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

/// Reads an entry from its card.
///
/// **Errors**: damaged where the JSON, whose checksum fits, says something
/// this build cannot read.
pub(crate) fn read_entry(card: &EntryHeader, json: &[u8]) -> Result<Entry, StoreError> {
    let unread = |e: serde_json::Error| {
        StoreError::damaged(format!("entry {}", card.seq), format!("facts: {e}"))
    };
    let kind = match card.kind {
        EntryType::Result => EntryKind::Result(read_record(card, json)?),
        EntryType::Gap => EntryKind::Gap(serde_json::from_slice(json).map_err(unread)?),
        EntryType::Action => EntryKind::Action(serde_json::from_slice(json).map_err(unread)?),
        EntryType::Custody => EntryKind::Custody(serde_json::from_slice(json).map_err(unread)?),
        EntryType::Setting => EntryKind::Setting(serde_json::from_slice(json).map_err(unread)?),
        EntryType::Fleet => EntryKind::Fleet(serde_json::from_slice(json).map_err(unread)?),
    };
    Ok(Entry {
        seq: card.seq,
        kind,
    })
}

pub(crate) fn read_record(card: &EntryHeader, json: &[u8]) -> Result<Record, StoreError> {
    let ResultFacts::<Facts> {
        collected_at,
        facts,
    } = serde_json::from_slice(json)
        .map_err(|e| StoreError::damaged(format!("record {}", card.id()), format!("facts: {e}")))?;
    Ok(Record {
        id: card.id(),
        seq: card.seq,
        bytes: card.bytes,
        sha256: card.sha256,
        collected_at,
        facts,
    })
}
