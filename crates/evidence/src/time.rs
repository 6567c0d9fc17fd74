//! Times as they were written, compared as instants.

use std::cmp::Ordering;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A time in its original spelling. The service writes zero to seven fraction
/// digits and sometimes no zone: the text is stored, the instant is compared.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Time {
    text: String,
    instant: Option<Timestamp>,
}

impl Time {
    /// Stores any text. A time without a zone is UTC.
    pub fn from_text(text: impl Into<String>) -> Self {
        let text = text.into();
        let instant = read_instant(&text);
        Self { text, instant }
    }

    pub fn from_instant(instant: Timestamp) -> Self {
        Self {
            text: instant.to_string(),
            instant: Some(instant),
        }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// `None` if the text is not a time; it is shown unchanged.
    pub fn instant(&self) -> Option<Timestamp> {
        self.instant
    }

    /// **Units**: nanoseconds since 1970, saturating in the year 2262.
    pub fn nanoseconds(&self) -> Option<i64> {
        self.instant.map(|i| {
            i64::try_from(i.as_nanosecond()).unwrap_or(if i < Timestamp::UNIX_EPOCH {
                i64::MIN
            } else {
                i64::MAX
            })
        })
    }
}

fn read_instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    text.parse().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil
            .to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|z| z.timestamp())
    })
}

impl Ord for Time {
    /// Orders by instant. Texts that are not times come last, in text order.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.instant, other.instant) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
        .then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Time {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d).map(Self::from_text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_compare_as_instants_and_print_as_written() {
        let short = Time::from_text("2022-02-17T08:20:02Z");
        let long = Time::from_text("2022-02-17T08:20:02.6180466Z");
        let zoneless = Time::from_text("2022-02-17T08:20:02.7");
        assert!(short < long && long < zoneless);
        assert_eq!(long.text(), "2022-02-17T08:20:02.6180466Z");
    }

    #[test]
    fn text_that_is_not_a_time_is_kept_and_sorts_last() {
        let odd = Time::from_text("yesterday");
        assert_eq!(odd.instant(), None);
        assert!(Time::from_text("9999-01-01T00:00:00Z") < odd);
    }
}
