//! The least time a run takes, whatever is done: the greatest of three.

use std::time::Duration;

use serde::Serialize;

use crate::service::rate_limit;

/// The service's own limit on sessions of a tenant, Pending ones counted.
pub(crate) const SESSIONS_MAX: usize = 25;
/// Starts in any minute.
const STARTS_PER_MINUTE: u64 = rate_limit::STARTS_PER_MINUTE as u64;
const LINKS_PER_MINUTE: u64 = rate_limit::CALLS_PER_MINUTE as u64;
const LINKS_PER_HOUR: u64 = rate_limit::CALLS_PER_HOUR as u64;
/// Two minutes in the queue, some seconds of work, 37 s until the service says
/// so: as seen on a tenant.
pub const TYPICAL_SESSION_TIME: Duration = Duration::from_secs(160);

/// What a run needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Workload {
    pub starts: u64,
    pub links: u64,
    /// All sessions one after the other.
    pub session_time: Duration,
}

/// No run is over sooner.
///
/// **Units**: service time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LowerBound {
    /// 100 links a minute and 1,500 an hour.
    pub links: Duration,
    /// 10 starts a minute.
    pub starts: Duration,
    /// 25 sessions at a time.
    pub sessions: Duration,
}

impl LowerBound {
    pub fn new(needs: Workload) -> Self {
        Self {
            links: of_links(needs.links),
            starts: Duration::from_secs(60 * (needs.starts.saturating_sub(1) / STARTS_PER_MINUTE)),
            sessions: needs.session_time / SESSIONS_MAX as u32,
        }
    }

    pub fn longest(&self) -> Duration {
        self.links.max(self.starts).max(self.sessions)
    }

    /// Which of the three it is.
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

/// 3600·⌊(n−1)/1500⌋ + 60·⌊((n−1) mod 1500)/100⌋ seconds.
fn of_links(n: u64) -> Duration {
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
    fn the_greatest_of_three_binds() {
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
