//! Lower bound of the duration of a run, from the limits of the service.

use std::time::Duration;

use serde::Serialize;

use crate::service::rate_limit;

/// Concurrent sessions of a tenant, Pending ones included; a limit of the
/// service.
pub(crate) const SESSIONS_MAX: usize = 25;
const STARTS_PER_MINUTE: u64 = rate_limit::STARTS_PER_MINUTE as u64;
const LINKS_PER_MINUTE: u64 = rate_limit::CALLS_PER_MINUTE as u64;
const LINKS_PER_HOUR: u64 = rate_limit::CALLS_PER_HOUR as u64;
/// Typical duration of a session: two minutes in the service's queue, some
/// seconds of work, and 37 s until the service reports the end.
///
/// **Source**: measured on a tenant.
pub const TYPICAL_SESSION_TIME: Duration = Duration::from_secs(160);

/// The work of a run, in the units that the service limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Workload {
    /// Sessions to start.
    pub starts: u64,
    /// Download links to request, one per result.
    pub links: u64,
    /// Sum of the durations of all sessions.
    ///
    /// **Units**: service time.
    pub session_time: Duration,
}

/// The shortest possible duration of a run; the longest of three limits
/// decides.
///
/// **Units**: service time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LowerBound {
    /// From 100 links a minute and 1,500 an hour.
    pub links: Duration,
    /// From 10 starts a minute.
    pub starts: Duration,
    /// From 25 concurrent sessions.
    pub sessions: Duration,
}

impl LowerBound {
    pub fn new(workload: Workload) -> Self {
        let full_minutes = workload.starts.saturating_sub(1) / STARTS_PER_MINUTE;
        Self {
            links: time_for_links(workload.links),
            starts: Duration::from_secs(60 * full_minutes),
            sessions: workload.session_time / SESSIONS_MAX as u32,
        }
    }

    pub fn longest(&self) -> Duration {
        self.links.max(self.starts).max(self.sessions)
    }

    /// The limit that decides, as text.
    pub fn reason(&self) -> &'static str {
        if self.longest() == self.links {
            "100 links a minute and 1,500 an hour"
        } else if self.longest() == self.starts {
            "10 starts a minute"
        } else {
            "25 sessions at a time"
        }
    }
}

/// Seconds until link `n` may be requested:
/// 3600·⌊(n−1)/1500⌋ + 60·⌊((n−1) mod 1500)/100⌋.
fn time_for_links(n: u64) -> Duration {
    let before = n.saturating_sub(1);
    let hours = before / LINKS_PER_HOUR;
    let minutes = (before % LINKS_PER_HOUR) / LINKS_PER_MINUTE;
    Duration::from_secs(3_600 * hours + 60 * minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(starts: u64, links: u64, session_s: u64) -> LowerBound {
        LowerBound::new(Workload {
            starts,
            links,
            session_time: Duration::from_secs(session_s),
        })
    }

    #[test]
    fn longest_of_the_three_limits_decides() {
        let fleet = bound(2_000, 4_000, 2_000 * 60);
        assert_eq!(fleet.links.as_secs(), 2 * 3_600 + 60 * 9);
        assert_eq!(fleet.starts.as_secs(), 60 * 199);
        assert_eq!(fleet.sessions.as_secs(), 4_800);
        assert_eq!(fleet.longest(), fleet.starts);
        assert_eq!(fleet.reason(), "10 starts a minute");
        assert_eq!(bound(1, 2, 160).longest().as_millis(), 6_400);
        assert_eq!(bound(0, 0, 0).longest(), Duration::ZERO);
        assert_eq!(bound(10, 1_501, 0).longest().as_secs(), 3_600);
    }
}
