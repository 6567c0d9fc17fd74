use std::fmt;
use std::str::FromStr;

use ring::rand::SecureRandom;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::CollectError;

/// What our part of a comment begins with.
const MARK: &str = "[afteraction ";

/// Names a fleet run: random, so that no two runs of a tenant share a mark in
/// their comments.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId([u8; 8]);

impl RunId {
    /// **Errors**: where the system has no randomness.
    pub fn random() -> Result<Self, CollectError> {
        let mut bytes = [0; 8];
        ring::rand::SystemRandom::new()
            .fill(&mut bytes)
            .map_err(|_| CollectError::Worker("the system gives no randomness".into()))?;
        Ok(Self(bytes))
    }

    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }

    /// What every comment of the run holds.
    pub(crate) fn mark(&self) -> String {
        format!("{MARK}{self}-")
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
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
        let refuse = || format!("`{text}` is not a fleet run: expected 16 hexadecimal digits");
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        u64::from_str_radix(text, 16)
            .map(|number| Self(number.to_be_bytes()))
            .map_err(|_| refuse())
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

/// One try to start a session on one device of a run: what an action is
/// recognised by when the answer to its start was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AttemptMark {
    pub run: RunId,
    /// From 1 on, as in the record.
    pub place: u32,
    /// From 1 on.
    pub attempt: u32,
}

impl AttemptMark {
    /// The comment that is sent: a person's, then ours.
    pub fn comment(&self, comment: &str) -> String {
        format!(
            "{comment} {MARK}{}-{}.{}]",
            self.run, self.place, self.attempt
        )
    }

    /// Finds the last one in a comment as the service gives it back.
    pub fn find(comment: &str) -> Option<Self> {
        let (_, behind) = comment.rsplit_once(MARK)?;
        let (mark, _) = behind.split_once(']')?;
        let (run, rest) = mark.split_once('-')?;
        let (place, attempt) = rest.split_once('.')?;
        Some(Self {
            run: run.parse().ok()?,
            place: place.parse().ok()?,
            attempt: attempt.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_found_again_in_its_comment() {
        let mark = AttemptMark {
            run: RunId([0x1f, 2, 3, 4, 5, 6, 7, 8]),
            place: 17,
            attempt: 2,
        };
        let comment = mark.comment("CASE-42 [afteraction x]");
        assert_eq!(
            comment,
            "CASE-42 [afteraction x] [afteraction 1f02030405060708-17.2]"
        );
        assert!(comment.contains(&mark.run.mark()));
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
    fn a_run_is_named_by_its_digits_alone() {
        let id: RunId = "1f02030405060708".parse().unwrap();
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "1f", "+f02030405060708", "1f0203040506070g"] {
            let parsed = text.parse::<RunId>();
            assert!(parsed.is_err(), "{text}");
        }
        assert_ne!(RunId::random().unwrap(), RunId::random().unwrap());
    }
}
