//! Times in the formats of Windows tools, from seconds since 1970 (UTC).

use std::fmt;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// **Units**: seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct UnixTime(pub i64);

impl UnixTime {
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0 + seconds)
    }

    pub fn minus(self, seconds: u64) -> Self {
        Self(self.0 - seconds as i64)
    }

    pub fn civil(self) -> DateTime {
        let instant = Timestamp::from_second(self.0).unwrap_or(Timestamp::UNIX_EPOCH);
        TimeZone::UTC.to_datetime(instant)
    }

    /// `2026-02-04T15:36:52`, without fraction and zone.
    pub fn iso(self) -> Iso {
        Iso(self.civil(), 'T')
    }

    /// `2026-02-04 15:36:52`.
    pub fn spaced(self) -> Iso {
        Iso(self.civil(), ' ')
    }

    /// `20260204153652`.
    pub fn compact(self) -> Compact {
        Compact(self.civil())
    }

    /// `2/4/2026 3:36:52 PM`.
    pub fn american(self) -> American {
        American(self.civil())
    }
}

pub(crate) struct Compact(DateTime);
pub(crate) struct Iso(DateTime, char);
pub(crate) struct American(DateTime);

impl fmt::Display for Iso {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(t, between) = self;
        write!(
            f,
            "{:04}-{:02}-{:02}{between}{:02}:{:02}:{:02}",
            t.year(),
            t.month(),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        )
    }
}

impl fmt::Display for Compact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.0;
        write!(f, "{:04}{:02}{:02}", t.year(), t.month(), t.day())?;
        write!(f, "{:02}{:02}{:02}", t.hour(), t.minute(), t.second())
    }
}

impl fmt::Display for American {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = self.0;
        let half = if t.hour() < 12 { "AM" } else { "PM" };
        write!(
            f,
            "{}/{}/{} {}:{:02}:{:02} {half}",
            t.month(),
            t.day(),
            t.year(),
            (t.hour() + 11) % 12 + 1,
            t.minute(),
            t.second()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_printed_in_the_format_of_each_tool() {
        let moment = UnixTime(1_770_219_412);
        assert_eq!(moment.iso().to_string(), "2026-02-04T15:36:52");
        assert_eq!(moment.spaced().to_string(), "2026-02-04 15:36:52");
        assert_eq!(moment.compact().to_string(), "20260204153652");
        assert_eq!(moment.american().to_string(), "2/4/2026 3:36:52 PM");
        let midnight = moment.minus(15 * 3600);
        assert_eq!(midnight.american().to_string(), "2/4/2026 12:36:52 AM");
    }
}
