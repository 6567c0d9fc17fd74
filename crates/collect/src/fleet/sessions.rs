//! How many sessions the service lets us have: its own limit, less where it
//! says no before.

use std::time::Duration;

use crate::clock::WallTime;
use crate::fleet::plan::lower_bound::SESSIONS_MAX;

/// What is believed of the room for sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SessionLimit {
    /// Sessions that are known to fit, [`SESSIONS_MAX`] until told otherwise.
    fit: usize,
    /// When one more is tried.
    try_more_at: WallTime,
    try_more_after: Duration,
}

impl SessionLimit {
    pub fn new(try_more_after: Duration) -> Self {
        Self {
            fit: SESSIONS_MAX,
            try_more_at: WallTime::default(),
            try_more_after,
        }
    }

    /// Whether one more may be started beside `open`, those of others counted.
    pub fn has_room(&self, open: usize, now: WallTime) -> bool {
        let more = usize::from(now >= self.try_more_at);
        open < (self.fit + more).min(SESSIONS_MAX)
    }

    /// A start was refused with a 429 beside `open` sessions. Returns whether
    /// that is news: fewer fit than was believed.
    pub fn refused(&mut self, open: usize, now: WallTime) -> bool {
        self.try_more_at = now.after(self.try_more_after);
        let fit = open.clamp(1, SESSIONS_MAX);
        let is_news = fit < self.fit;
        self.fit = self.fit.min(fit);
        is_news
    }

    /// A start was taken; `open` counts it. Each one that was more than was
    /// known to fit lets the next follow at once.
    pub fn taken(&mut self, open: usize) {
        self.fit = self.fit.max((open + 1).min(SESSIONS_MAX));
    }

    pub fn fit(&self) -> usize {
        self.fit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_below_the_limit_is_believed_and_tried_again_later() {
        let mut sessions = SessionLimit::new(Duration::from_secs(60));
        let at = |s: u64| WallTime(s * 1_000_000);
        assert!(sessions.has_room(24, at(0)) && !sessions.has_room(25, at(0)));
        assert!(sessions.refused(10, at(0)));
        assert!(!sessions.refused(10, at(1)));
        assert!(sessions.has_room(9, at(2)) && !sessions.has_room(10, at(2)));
        assert!(sessions.has_room(10, at(61)), "one more is tried");
        assert!(!sessions.has_room(11, at(61)));
        sessions.taken(11);
        assert!(sessions.has_room(11, at(62)));
        assert!(sessions.refused(0, at(70)));
        assert!(sessions.has_room(0, at(71)), "one always may");
    }
}
