//! The clock of the emulator. Every time that the service would report (`se`,
//! `Date`, `Retry-After`, expiry of tokens, rate limits, progress of actions)
//! comes from it. Connections and delays of faults use real time.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Mapping of real time to emulated time. Kept across restarts, so that a
/// restarted emulator continues the same clock, including its downtime.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockOrigin {
    #[serde(with = "as_text")]
    pub real: Timestamp,
    #[serde(with = "as_text")]
    pub emulated: Timestamp,
    /// Emulated seconds per real second.
    pub scale: f64,
}

impl ClockOrigin {
    /// Both times are equal now.
    pub fn fresh(scale: f64) -> Self {
        let now = Timestamp::now();
        Self {
            real: now,
            emulated: now,
            scale,
        }
    }

    /// The emulated time at a real time.
    pub fn emulated_at(&self, real: Timestamp) -> Timestamp {
        let elapsed = real.as_nanosecond() - self.real.as_nanosecond();
        let scaled = (elapsed as f64 * self.scale) as i128;
        Timestamp::from_nanosecond(self.emulated.as_nanosecond() + scaled).unwrap_or(Timestamp::MAX)
    }

    /// Changes the speed; the current emulated time stays the same.
    pub fn at_scale(self, scale: f64) -> Self {
        if scale == self.scale {
            return self;
        }
        let real = Timestamp::now();
        Self {
            real,
            emulated: self.emulated_at(real),
            scale,
        }
    }
}

/// A running clock. It reads the wall clock once and is monotonic after that.
#[derive(Clone, Copy, Debug)]
pub struct ServiceClock {
    origin: ClockOrigin,
    started_real: Timestamp,
    started: Instant,
}

impl ServiceClock {
    pub fn start(origin: ClockOrigin) -> Self {
        Self {
            origin,
            started_real: Timestamp::now(),
            started: Instant::now(),
        }
    }

    pub fn origin(&self) -> ClockOrigin {
        self.origin
    }

    /// The current emulated time.
    pub fn now(&self) -> Timestamp {
        self.origin
            .emulated_at(later(self.started_real, self.started.elapsed()))
    }

    /// The real duration of an emulated duration.
    pub fn real(&self, emulated: Duration) -> Duration {
        emulated.div_f64(self.origin.scale)
    }
}

/// `at + span`, saturating.
pub(crate) fn later(at: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span)
        .ok()
        .and_then(|span| at.checked_add(span).ok())
        .unwrap_or(Timestamp::MAX)
}

/// `at - span`, saturating.
pub(crate) fn earlier(at: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span)
        .ok()
        .and_then(|span| at.checked_sub(span).ok())
        .unwrap_or(Timestamp::MIN)
}

/// HTTP date, such as `Wed, 04 Feb 2026 15:36:52 GMT`. Times before 1970, which
/// `httpdate` does not support, become 1970.
pub(crate) fn http_date(at: Timestamp) -> String {
    // HTTP dates and `Timestamp` both end in the year 9999.
    httpdate::fmt_http_date(at.max(Timestamp::UNIX_EPOCH).into())
}

/// Time format of the API: seven fraction digits.
pub(crate) fn api_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.7fZ").to_string()
}

/// Time format of signed links: whole seconds.
pub(crate) fn link_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Serde format of times in the state file.
pub(crate) mod as_text {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(at: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(at)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn scale_100_turns_a_real_second_into_100_emulated_seconds() {
        let origin = ClockOrigin {
            real: at("2026-01-01T00:00:00Z"),
            emulated: at("2026-02-01T00:00:00Z"),
            scale: 100.0,
        };
        assert_eq!(
            origin.emulated_at(at("2026-01-01T00:00:01.5Z")),
            at("2026-02-01T00:02:30Z")
        );
    }

    #[test]
    fn changing_the_scale_keeps_the_emulated_time() {
        let slow = ClockOrigin::fresh(1.0);
        let fast = slow.at_scale(100.0);
        assert_eq!(fast.emulated, slow.emulated_at(fast.real));
        assert_eq!(slow.at_scale(1.0), slow);
    }

    #[test]
    fn times_have_the_formats_of_the_service() {
        let time = at("2026-02-04T15:36:52.7788848Z");
        assert_eq!(api_time(time), "2026-02-04T15:36:52.7788848Z");
        assert_eq!(link_time(time), "2026-02-04T15:36:52Z");
        assert_eq!(http_date(time), "Wed, 04 Feb 2026 15:36:52 GMT");
        let empty = http_date(at("0001-01-01T00:00:00Z"));
        assert_eq!(empty, "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
