//! Wall clock and time scale. Deadlines are wall clock times: a monotonic
//! clock stands still while a laptop sleeps, the service's budgets do not.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use evidence::Time;

/// The wall clock is looked at this often while waiting, so that after sleep
/// a wait ends when it should.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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

    /// Zero where `earlier` is later.
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

/// Real time, and how many service seconds pass in a real one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    scale: f64,
}

impl Clock {
    pub fn new(scale: f64) -> Self {
        Self {
            scale: scale.max(1.0),
        }
    }

    pub fn now(self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        WallTime(micros(since.unwrap_or_default()))
    }

    pub fn is_scaled(self) -> bool {
        self.scale > 1.0
    }

    /// Real time in which `service` passes on the service's clock. The service
    /// says how long, so what is too long for a duration is the longest.
    pub fn real(self, service: Duration) -> Duration {
        Duration::try_from_secs_f64(service.as_secs_f64() / self.scale).unwrap_or(Duration::MAX)
    }

    /// Service time that passes in `real` time.
    pub fn service(self, real: Duration) -> Duration {
        Duration::try_from_secs_f64(real.as_secs_f64() * self.scale).unwrap_or(Duration::MAX)
    }

    /// Until the wall clock says `deadline`, or as long as that seemed to be
    /// when asked: a clock set back prolongs no wait.
    pub async fn sleep_until(self, deadline: WallTime) {
        let asked = Instant::now();
        let whole = deadline.since(self.now());
        loop {
            let left = deadline.since(self.now());
            if left.is_zero() || asked.elapsed() >= whole {
                return;
            }
            tokio::time::sleep(left.min(LOOK_EVERY)).await;
        }
    }

    /// Waits while `service` passes on the service's clock.
    pub async fn sleep(self, service: Duration) {
        self.sleep_until(self.now().after(self.real(service))).await;
    }

    pub fn stamp(self) -> Time {
        Time::from_instant(self.now().timestamp())
    }
}

/// A duration between two instants, `None` where it is negative.
pub(crate) fn between(from: Timestamp, to: Timestamp) -> Option<Duration> {
    Duration::try_from(to.duration_since(from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_time_the_service_names_is_too_long_to_be_counted() {
        let clock = Clock::new(1.0);
        let whole = Duration::from_secs(u64::MAX);
        assert_eq!(clock.real(whole), Duration::MAX);
        assert_eq!(Clock::new(100.0).service(whole), Duration::MAX);
        assert_eq!(clock.now().after(clock.real(whole)), WallTime(u64::MAX));
        assert_eq!(
            Clock::new(100.0).real(Duration::from_secs(60)),
            Duration::from_millis(600)
        );
    }
}
