//! Identifiers. Each kind is a separate type, so one cannot be passed as
//! another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// GUID of a live response action. The 16 bytes are in the order of the printed
/// form, so both have the same sort order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId([u8; 16]);

/// The text is not a GUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid action id `{0}`: expected a GUID such as 5382f7ea-7557-4ab7-9782-d50480024a4e")]
pub struct MalformedId(pub String);

impl ActionId {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The first eight digits, for display only.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Uuid::encode_buffer();
        f.write_str(
            Uuid::from_bytes(self.0)
                .hyphenated()
                .encode_lower(&mut text),
        )
    }
}

impl fmt::Debug for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ActionId {
    type Err = MalformedId;

    /// Parses a GUID in any case, with or without braces and hyphens.
    fn from_str(text: &str) -> Result<Self, MalformedId> {
        Uuid::try_parse(text.trim())
            .map(|guid| Self(guid.into_bytes()))
            .map_err(|_| MalformedId(text.chars().take(80).collect()))
    }
}

/// Zero-based index of a command within its action.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct CommandIndex(pub u32);

impl fmt::Display for CommandIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Version of a result, from 1. A later download of the same key whose bytes
/// differ is the next version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u32);

impl Version {
    pub const FIRST: Self = Self(1);

    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Key of a result: action id and command index. The byte form is big-endian,
/// so its sort order is that of the printed form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultKey {
    pub action: ActionId,
    pub index: CommandIndex,
}

/// The text does not name a result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid result `{0}`: expected ACTION_ID/INDEX, such as 5382f7ea-7557-4ab7-9782-d50480024a4e/0"
)]
pub struct MalformedKey(pub String);

impl ResultKey {
    pub const LEN: usize = 20;

    pub const fn new(action: ActionId, index: CommandIndex) -> Self {
        Self { action, index }
    }

    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0u8; Self::LEN];
        bytes[..16].copy_from_slice(self.action.as_bytes());
        bytes[16..].copy_from_slice(&self.index.0.to_be_bytes());
        bytes
    }

    pub fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let mut action = [0u8; 16];
        action.copy_from_slice(&bytes[..16]);
        let mut index = [0u8; 4];
        index.copy_from_slice(&bytes[16..]);
        Self {
            action: ActionId(action),
            index: CommandIndex(u32::from_be_bytes(index)),
        }
    }
}

impl fmt::Display for ResultKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.action, self.index)
    }
}

impl FromStr for ResultKey {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<Self, MalformedKey> {
        let malformed = || MalformedKey(text.chars().take(80).collect());
        let (action, index) = text.split_once('/').ok_or_else(malformed)?;
        Ok(Self {
            action: action.parse().map_err(|_| malformed())?,
            index: CommandIndex(index.parse().map_err(|_| malformed())?),
        })
    }
}

/// One version of one result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultId {
    pub key: ResultKey,
    pub version: Version,
}

impl ResultId {
    pub const fn new(key: ResultKey, version: Version) -> Self {
        Self { key, version }
    }
}

impl fmt::Display for ResultId {
    /// `ACTION_ID/INDEX`, followed by `@VERSION` from version 2 on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.key, f)?;
        if self.version > Version::FIRST {
            write!(f, "@{}", self.version)?;
        }
        Ok(())
    }
}

/// Sequence number in the journal of the store, assigned when a fact is
/// committed. Increasing; gaps between numbers are allowed.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    pub const ZERO: Self = Self(0);

    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! serde_as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
pub(crate) use serde_as_text;
serde_as_text!(ActionId, ResultKey);

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &str = "5382f7ea-7557-4ab7-9782-d50480024a4e";

    #[test]
    fn guid_is_parsed_in_every_spelling_and_printed_in_one() {
        for spelling in [
            GUID.to_string(),
            GUID.to_uppercase(),
            format!("{{{GUID}}}"),
            GUID.replace('-', ""),
        ] {
            assert_eq!(spelling.parse::<ActionId>().unwrap().to_string(), GUID);
        }
    }

    #[test]
    fn invalid_guid_is_rejected() {
        for text in [
            "",
            "5382f7ea",
            "5382f7ea-7557-4ab7-9782-d50480024a4g",
            "5382f7ea7557-4ab7-9782-d50480024a4e0",
            "../../../../../../../../../etc/passwd",
            "ä382f7ea-7557-4ab7-9782-d50480024a4",
        ] {
            assert!(text.parse::<ActionId>().is_err(), "{text}");
        }
    }

    #[test]
    fn keys_and_their_bytes_have_the_same_order() {
        let key =
            |action: &str, index| ResultKey::new(action.parse().unwrap(), CommandIndex(index));
        let mut keys = vec![
            key("ffffffff-0000-0000-0000-000000000000", 0),
            key(GUID, 256),
            key(GUID, 2),
            key("00000000-0000-0000-0000-000000000001", 9),
        ];
        keys.sort();
        let mut bytes: Vec<_> = keys.iter().map(|k| k.to_bytes()).collect();
        bytes.sort();
        assert_eq!(
            bytes
                .into_iter()
                .map(ResultKey::from_bytes)
                .collect::<Vec<_>>(),
            keys
        );
    }

    #[test]
    fn key_round_trips_through_its_text() {
        let key: ResultKey = format!("{GUID}/12").parse().unwrap();
        assert_eq!(key.to_string(), format!("{GUID}/12"));
        assert!("5382f7ea/1".parse::<ResultKey>().is_err());
        assert!(format!("{GUID}/-1").parse::<ResultKey>().is_err());
    }
}
