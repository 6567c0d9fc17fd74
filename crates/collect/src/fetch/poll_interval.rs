//! How soon after its command's end a result is asked for, and how often. The
//! calls for links are the scarcest: what the hour has left decides. Pure.
//!
//! A result that is asked for every `s` seconds until it is there, `d` seconds
//! after its command's end on average, takes `d / s + 1/2` calls and is had
//! `s / 2` seconds late. So what may be spent on a result says how fine the
//! steps may be.

use std::time::Duration;

use crate::service::rate_limit::CallCapacity;

/// No finer: lists that show a command's end come no faster.
const STEP_LEAST: Duration = Duration::from_secs(5);
/// Uploads were seen to take a minute at most.
const DELAY_USUAL: Duration = Duration::from_secs(30);
/// A result that waited for its budget tells less than it seems to.
const DELAY_MOST: Duration = Duration::from_secs(120);
/// Results whose delays count about as much as all before them.
const DELAY_MEMORY: u32 = 32;

/// Results that may have to be asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpectedResults {
    /// Of commands that are over.
    pub queued: u64,
    /// Of sessions under way and to come.
    pub later: u64,
    /// The most that those bring in a minute.
    pub a_minute: f64,
}

impl ExpectedResults {
    fn within(self, time: Duration) -> f64 {
        let most = self.a_minute * time.as_secs_f64() / 60.0;
        self.queued as f64 + most.min(self.later as f64)
    }
}

/// Between a command's end and the first ask, and between two asks. Where
/// there is less than one call a result, each is asked for once, when most are
/// there.
///
/// **Units**: service time.
pub(crate) fn step(
    capacities: &[CallCapacity],
    to_come: ExpectedResults,
    delay: Duration,
) -> Duration {
    let calls = |room: &CallCapacity| room.calls as f64 / to_come.within(room.within).max(1.0);
    let asks = capacities.iter().map(calls).fold(f64::INFINITY, f64::min);
    delay.div_f64(asks.max(1.0) - 0.5).max(STEP_LEAST)
}

/// How long results take after their command's end, learned by asking.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResultDelay {
    mean: Duration,
}

impl Default for ResultDelay {
    fn default() -> Self {
        Self { mean: DELAY_USUAL }
    }
}

impl ResultDelay {
    pub fn mean(self) -> Duration {
        self.mean
    }

    /// A result was `there` so long after its command's end, and last not yet
    /// at `last_miss`: it came somewhere between.
    pub fn met(&mut self, last_miss: Option<Duration>, there: Duration) {
        let guess = match last_miss {
            Some(last_miss) => (last_miss + there) / 2,
            // It may have been there for long: no reason to ask later.
            None => (there / 2).min(self.mean),
        };
        let others = self.mean * (DELAY_MEMORY - 1);
        self.mean = (others + guess.min(DELAY_MOST)) / DELAY_MEMORY;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, WallTime};
    use crate::service::call_log::{CallHistory, LoggedCall};
    use crate::service::rate_limit::{ApiCall, CallTiming, capacities, earliest};
    use crate::service::retry::RetryState;

    /// A fleet whose sessions end one after the other, as 25 at a time do.
    struct World {
        sessions: u64,
        /// Results of a session.
        each: u64,
        /// Seconds an upload takes, from and to.
        upload: (u64, u64),
        /// Link calls in the half hour before, by others.
        before: u64,
    }

    struct Wanted {
        ended: u64,
        ready: u64,
        ask_at: u64,
        last_miss: Option<u64>,
        tries: RetryState,
    }

    struct Came {
        asks: f64,
        mean: f64,
        p90: u64,
        /// From the last result's being there until it was had.
        last: u64,
    }

    const BEGIN: u64 = 10_000;
    const LIST_EVERY: u64 = 3;

    impl World {
        fn results(&self) -> Vec<Wanted> {
            let mut lot = 7u64;
            let mut draw = |(from, to): (u64, u64)| {
                lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                from + (lot >> 33) % (to - from + 1)
            };
            let of_session = |n: u64| (0..self.each).map(move |nth| BEGIN + n * 64 / 10 + nth * 5);
            let ends = (0..self.sessions).flat_map(of_session);
            ends.map(|ended| Wanted {
                ended,
                ready: ended + draw(self.upload),
                ask_at: u64::MAX,
                last_miss: None,
                tries: RetryState::default(),
            })
            .collect()
        }

        fn play(&self) -> Came {
            let timing = CallTiming {
                clock: Clock::new(1.0),
                call_timeout: Duration::from_secs(120),
            };
            let at = |second: u64| WallTime(second * 1_000_000);
            let call = |id: u64, second: u64| LoggedCall {
                id,
                call: ApiCall::Link,
                sent: at(second),
                answered: Some(at(second)),
            };
            let earlier = (0..self.before).map(|n| call(n, BEGIN - 1_800 + n % 1_800));
            let mut ledger = CallHistory {
                calls: earlier.collect(),
                blocks: Vec::new(),
            };
            let (mut wanted, mut late) = (self.results(), Vec::new());
            let (mut asks, mut delay) = (0, ResultDelay::default());
            let mut asking = STEP_LEAST;
            let seconds = Duration::from_secs;
            for now in BEGIN.. {
                if now % LIST_EVERY == 0 {
                    let queued = wanted.iter().filter(|w| w.ended <= now).count() as u64;
                    let to_come = ExpectedResults {
                        queued,
                        later: wanted.len() as u64 - queued,
                        a_minute: self.each as f64 * 25.0 * 60.0 / 160.0,
                    };
                    ledger
                        .calls
                        .retain(|c| at(now).since(c.sent) < seconds(3_600));
                    asking = step(
                        &capacities(&ledger, ApiCall::Link, at(now), timing),
                        to_come,
                        delay.mean(),
                    );
                    let fresh = |w: &&mut Wanted| w.ended <= now && w.ask_at == u64::MAX;
                    for pending in wanted.iter_mut().filter(fresh) {
                        pending.ask_at = now.max(pending.ended + asking.as_secs());
                    }
                }
                for pending in wanted.iter_mut().filter(|w| w.ask_at <= now) {
                    if earliest(&ledger, ApiCall::Link, at(now), timing) > at(now) {
                        break;
                    }
                    asks += 1;
                    ledger.calls.push(call(asks + 10_000, now));
                    if pending.ready <= now {
                        late.push(now - pending.ready);
                        let last_miss = pending.last_miss.map(|t| seconds(t - pending.ended));
                        delay.met(last_miss, seconds(now - pending.ended));
                        pending.ended = 0;
                    } else {
                        pending.last_miss = Some(now);
                        let wait = pending.tries.next_even_delay(asking).expect("patience");
                        pending.ask_at = now + wait.as_secs();
                    }
                }
                wanted.retain(|pending| pending.ended > 0);
                if wanted.is_empty() {
                    break;
                }
            }
            let last = late.last().copied().unwrap();
            late.sort_unstable();
            let came = Came {
                asks: asks as f64 / late.len() as f64,
                mean: late.iter().sum::<u64>() as f64 / late.len() as f64,
                p90: late[late.len() * 9 / 10],
                last,
            };
            println!(
                "{} sessions of {} results, uploads of {:?} s, {} calls before: {:.1} asks a result, \
                 {:.1} s late on average, p90 {} s, the last one {} s",
                self.sessions,
                self.each,
                self.upload,
                self.before,
                came.asks,
                came.mean,
                came.p90,
                came.last
            );
            came
        }
    }

    const USUAL: World = World {
        sessions: 300,
        each: 1,
        upload: (2, 60),
        before: 0,
    };

    #[test]
    fn few_results_are_had_within_seconds() {
        let came = USUAL.play();
        assert!(came.mean < 6.0 && came.p90 <= 11 && came.asks < 6.0);
    }

    #[test]
    fn many_results_are_had_as_soon_as_the_hours_calls_allow() {
        let one = World {
            sessions: 2_000,
            ..USUAL
        };
        let came = one.play();
        assert!(came.mean < 10.0 && came.p90 <= 20, "{}", came.mean);
        let two = World { each: 2, ..one };
        let came = two.play();
        assert!(came.mean < 25.0 && came.p90 <= 45, "{}", came.mean);
        assert!(came.last < 180, "it holds the end of the run back");
        let spent = World {
            before: 1_100,
            ..USUAL
        };
        let came = spent.play();
        assert!(came.mean < 25.0 && came.p90 <= 45, "{}", came.mean);
    }

    #[test]
    fn where_uploads_are_quick_a_result_costs_one_call() {
        let quick = World {
            sessions: 2_000,
            each: 2,
            upload: (1, 3),
            before: 0,
        };
        let came = quick.play();
        assert!(came.asks < 1.2 && came.mean < 8.0, "{}", came.mean);
    }

    #[test]
    fn without_room_each_result_is_asked_for_once() {
        let none = CallCapacity {
            within: Duration::from_secs(3_600),
            calls: 0,
        };
        let to_come = ExpectedResults {
            queued: 10,
            later: 1_000,
            a_minute: 10.0,
        };
        let s = |calls| step(&[CallCapacity { calls, ..none }], to_come, DELAY_USUAL).as_secs();
        assert_eq!((s(0), s(610), s(1_220), s(100_000)), (60, 60, 20, 5));
    }
}
