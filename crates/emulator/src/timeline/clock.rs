//! The emulator's one clock. Everything the service would date (`se`, `Date`,
//! `Retry-After`, token ends, budgets, an action's progress) is read from it;
//! connections and fault delays run on real time.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How real time maps to emulated time. SavedState across restarts, so that a
/// restarted emulator goes on with the same clock, downtime included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClockOrigin {
    #[serde(with = "as_text")]
    pub real: Timestamp,
    #[serde(with = "as_text")]
    pub emulated: Timestamp,
    /// Emulated seconds for each real one.
    pub scale: f64,
}

impl ClockOrigin {
    /// Both clocks agree now and part from here on.
    pub fn fresh(scale: f64) -> Self {
        let now = Timestamp::now();
        Self {
            real: now,
            emulated: now,
            scale,
        }
    }

    /// The emulated instant at a real one.
    pub fn emulated_at(&self, real: Timestamp) -> Timestamp {
        let passed = real.as_nanosecond() - self.real.as_nanosecond();
        let scaled = (passed as f64 * self.scale) as i128;
        Timestamp::from_nanosecond(self.emulated.as_nanosecond() + scaled).unwrap_or(Timestamp::MAX)
    }

    /// The same emulated now, running at another speed from here on.
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

/// A running clock: wall time read once, then monotonic.
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

    /// The emulated now.
    pub fn now(&self) -> Timestamp {
        self.origin
            .emulated_at(later(self.started_real, self.started.elapsed()))
    }

    /// How long an emulated span takes on the wall.
    pub fn real(&self, emulated: Duration) -> Duration {
        emulated.div_f64(self.origin.scale)
    }
}

/// `at` and `span` after it, saturating.
pub(crate) fn later(at: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span)
        .ok()
        .and_then(|span| at.checked_add(span).ok())
        .unwrap_or(Timestamp::MAX)
}

/// `at` and `span` before it, saturating.
pub(crate) fn earlier(at: Timestamp, span: Duration) -> Timestamp {
    SignedDuration::try_from(span)
        .ok()
        .and_then(|span| at.checked_sub(span).ok())
        .unwrap_or(Timestamp::MIN)
}

/// `Wed, 04 Feb 2026 15:36:52 GMT`; nothing before 1970, which it cannot say.
pub(crate) fn http_date(at: Timestamp) -> String {
    // The calendar of HTTP dates ends in 9999, as the clock's does.
    httpdate::fmt_http_date(at.max(Timestamp::UNIX_EPOCH).into())
}

/// As the API writes times: seven fraction digits.
pub(crate) fn api_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.7fZ").to_string()
}

/// As signed links write their end: whole seconds.
pub(crate) fn link_time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Instants in the state file.
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
    fn a_real_second_is_a_hundred_emulated_ones_at_scale_100() {
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
    fn a_changed_scale_keeps_the_emulated_now() {
        let slow = ClockOrigin::fresh(1.0);
        let fast = slow.at_scale(100.0);
        assert_eq!(fast.emulated, slow.emulated_at(fast.real));
        assert_eq!(slow.at_scale(1.0), slow);
    }

    #[test]
    fn times_print_as_the_service_prints_them() {
        let time = at("2026-02-04T15:36:52.7788848Z");
        assert_eq!(api_time(time), "2026-02-04T15:36:52.7788848Z");
        assert_eq!(link_time(time), "2026-02-04T15:36:52Z");
        assert_eq!(http_date(time), "Wed, 04 Feb 2026 15:36:52 GMT");
        let empty = http_date(at("0001-01-01T00:00:00Z"));
        assert_eq!(empty, "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
