//! How often each kind of trouble is met again, and how long it is waited for.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// What may pass by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ErrorClass {
    /// 429; the budget's schedule moved, so the call itself hardly waits.
    Throttled,
    /// 400: the result is not there yet. Uploads were seen to take a minute.
    NotReady,
    /// 404 of the API: seen up to two minutes after creation.
    NotFound,
    /// 5xx, or an answer nobody foresaw.
    Server,
    /// The connection broke, or the body ended early.
    Interrupted,
    /// No connection at all; the outage's own schedule comes on top.
    NoConnection,
    /// The link's time was over.
    LinkExpired,
    /// The blob became another while it was read.
    BlobChanged,
    /// Hash or length differ from what the server gave.
    Damaged,
    /// 404 of the blob host.
    BlobMissing,
    /// The login host did not answer or answered 5xx.
    SignIn,
}

/// **Units**: service time.
struct RetryPolicy {
    tries: u32,
    first: Duration,
    most: Duration,
}

const fn policy(tries: u32, first_ms: u64, most_s: u64) -> RetryPolicy {
    RetryPolicy {
        tries,
        first: Duration::from_millis(first_ms),
        most: Duration::from_secs(most_s),
    }
}

impl ErrorClass {
    /// Whether the service has surely not done what it was asked.
    pub fn is_surely_unprocessed(self) -> bool {
        matches!(self, Self::Throttled | Self::NoConnection)
    }

    /// No pause is longer, but for the jitter.
    pub fn max_delay(self) -> Duration {
        self.policy().most
    }

    fn policy(self) -> RetryPolicy {
        match self {
            Self::Throttled => policy(60, 100, 5),
            // 5 + 10 + … + 160 + 160: eight minutes in all.
            Self::NotReady => policy(7, 5_000, 160),
            // 15 + 45 + 120 would do; doubling from 12 s waits 180 s.
            Self::NotFound => policy(4, 12_000, 96),
            Self::Server => policy(8, 1_000, 60),
            // Without progress: any new byte starts the count anew.
            Self::Interrupted => policy(8, 250, 30),
            Self::NoConnection => policy(60, 1_000, 60),
            Self::LinkExpired => policy(8, 250, 30),
            Self::BlobChanged => policy(5, 250, 5),
            Self::Damaged => policy(3, 500, 5),
            Self::BlobMissing => policy(3, 5_000, 30),
            Self::SignIn => policy(6, 1_000, 30),
        }
    }
}

/// Uploads were seen to take a minute: so long pauses may be even.
const EVEN_FOR: Duration = Duration::from_secs(60);
/// The longest pause after that, and of all together: as long as doubling ones
/// are waited for.
const EVEN_LONGEST: Duration = Duration::from_secs(160);
const EVEN_IN_ALL: Duration = Duration::from_secs(475);

/// How often what has been met so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct RetryState {
    met: HashMap<ErrorClass, u32>,
    /// All even pauses together.
    waited: Duration,
}

impl RetryState {
    /// The pause before trying again, with jitter so that slots part ways;
    /// `None` when policy is at its end.
    ///
    /// **Units**: service time.
    pub fn next_delay(&mut self, trouble: ErrorClass) -> Option<Duration> {
        let met = self.met.entry(trouble).or_insert(0);
        *met = met.saturating_add(1);
        wait(trouble.policy(), *met, jitter())
    }

    /// The same, without end where `endless` says so.
    pub fn next_delay_or_longest(
        &mut self,
        trouble: ErrorClass,
        endless: bool,
    ) -> Option<Duration> {
        let longest = endless.then(|| trouble.max_delay());
        self.next_delay(trouble).or(longest)
    }

    /// The next of even pauses of `step`, which double when a minute of them
    /// was in vain; `None` when policy is at its end.
    ///
    /// **Units**: service time.
    pub fn next_even_delay(&mut self, step: Duration) -> Option<Duration> {
        let wait = even(step, self.waited)?;
        self.waited += wait;
        Some(wait)
    }

    pub fn reset(&mut self, trouble: ErrorClass) {
        self.met.remove(&trouble);
    }
}

/// Doubling, bounded, between the full pause and a quarter more: never less,
/// since what waits for the service's clock must not wake before it.
fn wait(policy: RetryPolicy, nth: u32, jitter: f64) -> Option<Duration> {
    if nth > policy.tries {
        return None;
    }
    let doubled = policy.first.saturating_mul(1 << (nth - 1).min(20));
    Some(doubled.min(policy.most).mul_f64(1.0 + jitter / 4.0))
}

fn even(step: Duration, waited: Duration) -> Option<Duration> {
    if waited >= EVEN_IN_ALL {
        None
    } else if waited < EVEN_FOR {
        Some(step)
    } else {
        Some(waited.min(EVEN_LONGEST).max(step))
    }
}

/// From 0 to 1; the standard library's hasher keys are random enough for it.
fn jitter() -> f64 {
    let random = RandomState::new().hash_one(0u8);
    f64::from(random as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_a_bound_and_end() {
        let pauses: Vec<_> = (1..)
            .map_while(|n| wait(ErrorClass::NotReady.policy(), n, 0.0))
            .map(|d| d.as_secs())
            .collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 160]);
        let jittered = wait(ErrorClass::NotReady.policy(), 1, 1.0).unwrap();
        assert_eq!(jittered, Duration::from_millis(6_250));
    }

    #[test]
    fn even_pauses_double_after_a_minute_and_end_as_late_as_the_others() {
        let pauses = |step| {
            let mut tries = RetryState::default();
            let next = || tries.next_even_delay(Duration::from_secs(step));
            let all = std::iter::from_fn(next).map(|wait| wait.as_secs());
            all.collect::<Vec<_>>()
        };
        assert_eq!(pauses(20), [20, 20, 20, 60, 120, 160, 160]);
        assert_eq!(pauses(5)[11..], [5, 60, 120, 160, 160]);
        assert_eq!(pauses(200), [200, 200, 200]);
    }

    #[test]
    fn a_fresh_action_is_looked_for_longer_than_it_stays_invisible() {
        let mut tries = RetryState::default();
        let whole: Duration = std::iter::from_fn(|| tries.next_delay(ErrorClass::NotFound)).sum();
        assert!(whole > Duration::from_secs(150), "{whole:?}");
    }

    #[test]
    fn every_trouble_ends() {
        use ErrorClass::*;
        for trouble in [
            Throttled,
            NotReady,
            NotFound,
            Server,
            Interrupted,
            NoConnection,
            LinkExpired,
            BlobChanged,
            Damaged,
            BlobMissing,
            SignIn,
        ] {
            let mut tries = RetryState::default();
            let met = (0..1_000)
                .take_while(|_| tries.next_delay_or_longest(trouble, false).is_some())
                .count();
            assert!(met < 100, "{trouble:?}");
            let longest = tries.next_delay_or_longest(trouble, true);
            assert_eq!(longest, Some(trouble.policy().most));
        }
    }
}
