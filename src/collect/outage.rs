//! A host that cannot be reached is out of reach for every slot: one schedule
//! for all, so that an hour without network costs tens of attempts and no
//! result its patience.

use std::sync::{Mutex, PoisonError};

use super::backoff::{Tries, Trouble};
use super::clock::{Clock, Moment};

#[derive(Default)]
pub(super) struct Outage {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tries: Tries,
    until: Moment,
}

/// What a lost connection means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// The first slot to notice: worth telling.
    Until(Moment),
    /// Others noticed before.
    KnownUntil(Moment),
    /// Tried long enough.
    ForGood,
}

impl Outage {
    /// A connection failed. Failures of slots that set out together count once.
    pub fn note(&self, clock: Clock) -> Lost {
        let now = clock.now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now < state.until {
            return Lost::KnownUntil(state.until);
        }
        match state.tries.next(Trouble::Lost) {
            Some(wait) => {
                state.until = now.after(clock.real(wait));
                Lost::Until(state.until)
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
}
