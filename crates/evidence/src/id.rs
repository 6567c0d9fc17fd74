//! Identities: each kind of id is a type of its own, so that none can be
//! passed where another is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// GUID of a live response action. Its 16 bytes stand in reading order, so
/// byte order is the order of the printed form.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActionId([u8; 16]);

/// A text that is no GUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an action id: expected a GUID such as 5382f7ea-7557-4ab7-9782-d50480024a4e")]
pub struct MalformedId(pub String);

impl ActionId {
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The first eight digits: enough for a person, never a key.
    pub fn short(&self) -> String {
        let mut text = self.to_string();
        text.truncate(8);
        text
    }
}

impl fmt::Display for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'-'; 36];
        for (place, bytes) in [(0, 0..4), (9, 4..6), (14, 6..8), (19, 8..10), (24, 10..16)] {
            put_hex(&mut text[place..], &self.0[bytes]);
        }
        f.write_str(str::from_utf8(&text).unwrap_or_default())
    }
}

/// Lower-case hex, two digits a byte. Ids and hashes stand in every row, and
/// there are millions of rows.
pub(crate) fn put_hex(text: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

impl fmt::Debug for ActionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ActionId {
    type Err = MalformedId;

    /// Reads a GUID in any case, with or without braces and hyphens.
    fn from_str(text: &str) -> Result<Self, MalformedId> {
        let malformed = || MalformedId(text.chars().take(80).collect());
        let bare = text.trim();
        let bare = bare
            .strip_prefix('{')
            .and_then(|t| t.strip_suffix('}'))
            .unwrap_or(bare);
        let hyphens_fit = match bare.len() {
            32 => !bare.contains('-'),
            36 => bare
                .bytes()
                .enumerate()
                .all(|(i, b)| (b == b'-') == matches!(i, 8 | 13 | 18 | 23)),
            _ => false,
        };
        if !hyphens_fit {
            return Err(malformed());
        }
        let mut bytes = [0u8; 16];
        let mut digits = bare.bytes().filter(|b| *b != b'-');
        for byte in &mut bytes {
            let high = digits.next().and_then(hex_digit).ok_or_else(malformed)?;
            let low = digits.next().and_then(hex_digit).ok_or_else(malformed)?;
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

pub(crate) fn hex_digit(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|d| d as u8)
}

/// Zero-based place of a command within its action.
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

/// Which download of a result: 1 for the first; a later, differing download
/// of the same key is the next.
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

/// The key of the store: action and command, big-endian, so that byte order is
/// reading order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResultKey {
    pub action: ActionId,
    pub index: CommandIndex,
}

/// A text that names no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a result: expected ACTION_ID/INDEX, such as 5382f7ea-7557-4ab7-9782-d50480024a4e/0"
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

/// One download of one result.
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
    /// `ACTION_ID/INDEX`, with `@VERSION` from the second on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.key, f)?;
        if self.version > Version::FIRST {
            write!(f, "@{}", self.version)?;
        }
        Ok(())
    }
}

/// Place in the store's journal, given when a fact is committed. Grows; holes
/// are legal.
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
    fn a_guid_reads_in_every_spelling_and_prints_in_one() {
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
    fn what_is_no_guid_is_refused() {
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
    fn key_order_is_byte_order_is_reading_order() {
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
    fn a_key_round_trips_through_its_text() {
        let key: ResultKey = format!("{GUID}/12").parse().unwrap();
        assert_eq!(key.to_string(), format!("{GUID}/12"));
        assert!("5382f7ea/1".parse::<ResultKey>().is_err());
        assert!(format!("{GUID}/-1").parse::<ResultKey>().is_err());
    }
}
