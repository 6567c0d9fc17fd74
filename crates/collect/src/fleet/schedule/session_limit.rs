//! Estimate of the number of sessions that fit: the limit of the service, less
//! the unlisted sessions of other clients.

use std::time::Duration;

use crate::clock::WallTime;
use crate::fleet::plan::lower_bound::SESSIONS_MAX;

/// Adaptive limit of concurrent sessions. A throttled start lowers it to the
/// number of open sessions; later starts probe whether one more fits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimit {
    /// Sessions known to fit; [`SESSIONS_MAX`] until a start is throttled.
    current: usize,
    /// When the next start may probe for one more session.
    probe_at: WallTime,
    probe_after: Duration,
}

impl SessionLimit {
    pub fn new(probe_after: Duration) -> Self {
        Self {
            current: SESSIONS_MAX,
            probe_at: WallTime::default(),
            probe_after,
        }
    }

    /// Whether one more session may be started while `open` are open, those of
    /// other clients included.
    pub fn allows_another(&self, open: usize, now: WallTime) -> bool {
        let probe = usize::from(now >= self.probe_at);
        open < (self.current + probe).min(SESSIONS_MAX)
    }

    /// A start was throttled (429) while `open` sessions were open. Returns
    /// whether this lowered the limit.
    pub fn lower(&mut self, open: usize, now: WallTime) -> bool {
        self.probe_at = now.after(self.probe_after);
        let fit = open.clamp(1, SESSIONS_MAX);
        let is_lower = fit < self.current;
        self.current = self.current.min(fit);
        is_lower
    }

    /// A start was accepted; `open` includes it. If it exceeded the limit, the
    /// limit is raised so that the next start need not wait for a probe.
    pub fn raise(&mut self, open: usize) {
        self.current = self.current.max((open + 1).min(SESSIONS_MAX));
    }

    pub fn current(&self) -> usize {
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn throttling_lowers_the_limit_and_a_probe_raises_it() {
        let mut limit = SessionLimit::new(Duration::from_secs(60));
        let at = |s: u64| WallTime(s * 1_000_000);
        assert!(limit.allows_another(24, at(0)) && !limit.allows_another(25, at(0)));
        assert!(limit.lower(10, at(0)));
        assert!(!limit.lower(10, at(1)));
        assert!(limit.allows_another(9, at(2)) && !limit.allows_another(10, at(2)));
        assert!(limit.allows_another(10, at(61)), "one probe is allowed");
        assert!(!limit.allows_another(11, at(61)));
        limit.raise(11);
        assert!(limit.allows_another(11, at(62)));
        assert!(limit.lower(0, at(70)));
        assert!(limit.allows_another(0, at(71)), "one session always fits");
    }
}
