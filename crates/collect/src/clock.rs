//! Wall clock and time scale. Deadlines are wall clock times: a monotonic
//! clock may stop while a laptop sleeps, the service's rate limits do not.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use evidence::Time;

/// Interval at which a sleep reads the wall clock, so that it ends in time
/// after the machine was suspended.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// A wall clock time.
///
/// **Units**: microseconds since 1970, real time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct WallTime(pub u64);

impl WallTime {
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(micros(wait)))
    }

    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(micros(wait)))
    }

    /// Time since `earlier`; zero if it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    pub fn timestamp(self) -> Timestamp {
        i64::try_from(self.0)
            .ok()
            .and_then(|us| Timestamp::from_microsecond(us).ok())
            .unwrap_or(Timestamp::MAX)
    }
}

impl Serialize for WallTime {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(&self.timestamp())
    }
}

impl<'de> Deserialize<'de> for WallTime {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        let at: Timestamp = text.parse().map_err(serde::de::Error::custom)?;
        Ok(Self(u64::try_from(at.as_microsecond()).unwrap_or(0)))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Wall clock, and the number of service seconds in a real second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    scale: f64,
}

impl Clock {
    pub(crate) fn new(scale: f64) -> Self {
        Self {
            scale: scale.max(1.0),
        }
    }

    pub(crate) fn now(self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        WallTime(micros(since.unwrap_or_default()))
    }

    pub(crate) fn is_scaled(self) -> bool {
        self.scale > 1.0
    }

    /// Converts a duration from service time to real time. The service chooses
    /// the duration; one that does not fit becomes [`Duration::MAX`].
    pub(crate) fn real(self, service: Duration) -> Duration {
        Duration::try_from_secs_f64(service.as_secs_f64() / self.scale).unwrap_or(Duration::MAX)
    }

    /// Converts a duration from real time to service time.
    pub(crate) fn service(self, real: Duration) -> Duration {
        Duration::try_from_secs_f64(real.as_secs_f64() * self.scale).unwrap_or(Duration::MAX)
    }

    /// Sleeps until the wall clock reaches `deadline`, but not longer than the
    /// time left at the call: a clock that is set back prolongs no sleep.
    pub(crate) async fn sleep_until(self, deadline: WallTime) {
        let began = Instant::now();
        let longest = deadline.since(self.now());
        loop {
            let left = deadline.since(self.now());
            if left.is_zero() || began.elapsed() >= longest {
                return;
            }
            tokio::time::sleep(left.min(CLOCK_CHECK_INTERVAL)).await;
        }
    }

    /// Sleeps for a duration in service time.
    pub(crate) async fn sleep(self, service: Duration) {
        self.sleep_until(self.now().after(self.real(service))).await;
    }

    /// The current time, as recorded with results and gaps.
    pub(crate) fn stamp(self) -> Time {
        Time::from_instant(self.now().timestamp())
    }
}

/// The duration between two instants; `None` if it is negative.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Option<Duration> {
    Duration::try_from(to.duration_since(from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_the_service_saturate() {
        let clock = Clock::new(1.0);
        let longest = Duration::from_secs(u64::MAX);
        assert_eq!(clock.real(longest), Duration::MAX);
        assert_eq!(Clock::new(100.0).service(longest), Duration::MAX);
        assert_eq!(clock.now().after(clock.real(longest)), WallTime(u64::MAX));
        assert_eq!(
            Clock::new(100.0).real(Duration::from_secs(60)),
            Duration::from_millis(600)
        );
    }
}
