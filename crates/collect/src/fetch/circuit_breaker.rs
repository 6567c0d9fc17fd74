//! A host that cannot be reached is out of reach for every slot: one schedule
//! for all, so that an hour without network costs tens of attempts and no
//! result its patience.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::clock::{Clock, Moment};
use crate::fetch::retry::{Tries, Trouble};

/// Whether a lost connection is waited out however long it takes: what watches
/// outlives a night without network, what collects once tells after an hour.
#[derive(Clone, Default)]
pub(crate) struct Endless(Arc<AtomicBool>);

impl Endless {
    pub fn set(&self, endless: bool) {
        self.0.store(endless, Ordering::Relaxed);
    }

    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(crate) struct Outage {
    endless: Endless,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tries: Tries,
    until: Moment,
}

/// What a lost connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The first slot to notice: worth telling.
    Until(Moment),
    /// Others noticed before, or it was told for an hour.
    KnownUntil(Moment),
    /// Tried long enough.
    ForGood,
}

impl Outage {
    pub fn new(endless: Endless) -> Self {
        Self {
            endless,
            state: Mutex::default(),
        }
    }

    /// A connection failed. Failures of slots that set out together count once.
    pub fn note(&self, clock: Clock) -> Lost {
        let now = clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now < state.until {
            return Lost::KnownUntil(state.until);
        }
        let wait = state.tries.next(Trouble::Lost);
        let is_news = wait.is_some();
        let longest = self.endless.get().then(|| Trouble::Lost.longest());
        match wait.or(longest) {
            Some(wait) => {
                state.until = now.after(clock.real(wait));
                if is_news {
                    Lost::Until(state.until)
                } else {
                    Lost::KnownUntil(state.until)
                }
            }
            None => Lost::ForGood,
        }
    }

    /// A connection came about.
    pub fn over(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::default();
    }

    /// Waits while the host is out of reach.
    pub async fn wait(&self, clock: Clock) {
        let until = self
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .until;
        clock.sleep_until(until).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn slots_that_fail_together_count_once() {
        let outage = Outage::default();
        let clock = Clock::new(1.0);
        let Lost::Until(until) = outage.note(clock) else {
            panic!("the first failure is news");
        };
        assert_eq!(outage.note(clock), Lost::KnownUntil(until));
        outage.over();
        assert!(matches!(outage.note(clock), Lost::Until(_)));
    }

    #[test]
    fn what_watches_waits_on_at_the_longest_pause_and_says_no_more() {
        let endless = Endless::default();
        let outage = Outage::new(endless.clone());
        let clock = Clock::new(1.0);
        let fail = || {
            outage.state.lock().unwrap().until = Moment::default();
            outage.note(clock)
        };
        let told = (0..1_000)
            .take_while(|_| matches!(fail(), Lost::Until(_)))
            .count();
        assert_eq!(fail(), Lost::ForGood);
        endless.set(true);
        for _ in 0..2 * told {
            let Lost::KnownUntil(until) = fail() else {
                panic!("given up, or told once more");
            };
            assert!(until >= clock.now().after(Duration::from_secs(59)));
        }
        endless.set(false);
        assert_eq!(fail(), Lost::ForGood);
    }
}
