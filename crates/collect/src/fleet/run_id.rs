//! Run ids, and the marks by which a run recognizes its sessions.

use std::fmt;
use std::str::FromStr;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::CollectError;

/// Start of a mark in a comment.
const MARK_PREFIX: &str = "[afteraction ";

/// Identifies a fleet run. Random, so that two runs of a tenant never share a
/// mark. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId([u8; 8]);

impl RunId {
    /// **Errors**: the system provides no random bytes.
    pub fn random() -> Result<Self, CollectError> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes)
            .map_err(|e| CollectError::Worker(format!("could not get random bytes: {e}")))?;
        Ok(Self(bytes))
    }

    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// The part of a mark that all sessions of the run have in common.
    pub(crate) fn mark_prefix(&self) -> String {
        format!("{MARK_PREFIX}{self}-")
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .map(Self)
            .ok_or_else(|| format!("invalid fleet run id `{text}`: expected 16 hexadecimal digits"))
    }
}

impl Serialize for RunId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Identifies one start attempt on one device of a run. It is part of the
/// session's comment, so that a list shows the session even if the start
/// response was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AttemptMark {
    pub run: RunId,
    /// Index of the device in the record, from 1.
    pub device: u32,
    /// Number of the attempt on this device, from 1.
    pub attempt: u32,
}

impl AttemptMark {
    /// The comment to send: a person's, then the mark.
    pub fn append_to(&self, comment: &str) -> String {
        format!(
            "{comment} {MARK_PREFIX}{}-{}.{}]",
            self.run, self.device, self.attempt
        )
    }

    /// Finds the last mark in a comment.
    pub fn find(comment: &str) -> Option<Self> {
        let (_, after_prefix) = comment.rsplit_once(MARK_PREFIX)?;
        let (mark, _) = after_prefix.split_once(']')?;
        let (run, rest) = mark.split_once('-')?;
        let (device, attempt) = rest.split_once('.')?;
        Some(Self {
            run: run.parse().ok()?,
            device: device.parse().ok()?,
            attempt: attempt.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_is_found_in_its_comment() {
        let mark = AttemptMark {
            run: RunId([0x1f, 2, 3, 4, 5, 6, 7, 8]),
            device: 17,
            attempt: 2,
        };
        let comment = mark.append_to("CASE-42 [afteraction x]");
        assert_eq!(
            comment,
            "CASE-42 [afteraction x] [afteraction 1f02030405060708-17.2]"
        );
        assert!(comment.contains(&mark.run.mark_prefix()));
        assert_eq!(AttemptMark::find(&comment), Some(mark));
        for other in [
            "",
            "CASE-42",
            "[afteraction 1f-1.1]",
            "[afteraction 1f02030405060708-1.1",
        ] {
            assert_eq!(AttemptMark::find(other), None, "{other}");
        }
    }

    #[test]
    fn run_id_parses_from_exactly_16_hex_digits() {
        let id: RunId = "1F02030405060708".parse().unwrap();
        assert_eq!(id.to_string(), "1f02030405060708");
        for text in ["", "1f", "+f02030405060708", "1f0203040506070g"] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
        assert_ne!(RunId::random().unwrap(), RunId::random().unwrap());
    }
}
