//! How many calls may leave in the time to come, as far as is known now. Pure.

use std::time::Duration;

use crate::clock::WallTime;
use crate::service::call_log::CallHistory;
use crate::service::rate_limit::{ApiCall, CallLimit, CallTiming, window_starts};

/// Times within which calls to come are counted: a minute, and by steps the
/// hour, since its window may open late.
const HORIZONS: [u64; 13] = [
    60, 300, 600, 900, 1_200, 1_500, 1_800, 2_100, 2_400, 2_700, 3_000, 3_300, 3_600,
];

/// Calls of a kind that may leave within a time from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CallCapacity {
    /// **Units**: service time.
    pub within: Duration,
    pub calls: usize,
}

/// What the windows leave for each of [`HORIZONS`].
pub(crate) fn capacities(
    ledger: &CallHistory,
    call: ApiCall,
    now: WallTime,
    timing: CallTiming,
) -> Vec<CallCapacity> {
    let window_starts = window_starts(ledger, call, now, timing);
    let room = |seconds| {
        let within = Duration::from_secs(seconds);
        let until = now.after(timing.clock.real(within));
        let left = |call_limit: &CallLimit| {
            let span = timing.clock.real(call_limit.span);
            let stored_state = window_starts
                .iter()
                .filter(|end| end.after(span) > until)
                .count();
            let spans = (within.as_secs() / call_limit.span.as_secs()).max(1) as usize;
            (call_limit.calls * spans).saturating_sub(stored_state)
        };
        let mut blocks = ledger.blocks.iter();
        let is_held = blocks.any(|(held, end)| *held == call && *end > until);
        let calls = call.limits().iter().map(left).min();
        CallCapacity {
            within,
            calls: calls.filter(|_| !is_held).unwrap_or(0),
        }
    };
    HORIZONS.map(room).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::rate_limit::tests::{answered, seconds, timing};

    #[test]
    fn room_to_come_counts_what_a_window_loses_until_then() {
        let calls = |ledger: &CallHistory, now| -> Vec<usize> {
            let capacities = capacities(ledger, ApiCall::Link, seconds(now), timing());
            let told = capacities
                .iter()
                .filter(|r| matches!(r.within.as_secs(), 60 | 900 | 1_800 | 2_700 | 3_600));
            told.map(|room| room.calls).collect()
        };
        let fresh = CallHistory::default();
        assert_eq!(calls(&fresh, 0), [100, 1_500, 1_500, 1_500, 1_500]);
        let mut spent = CallHistory {
            calls: (0..1_500).map(|n| answered(n * 2)).collect(),
            blocks: Vec::new(),
        };
        // Those of the first 900 seconds are over at 4,500 s.
        assert_eq!(calls(&spent, 3_600), [31, 451, 901, 1_351, 1_500]);
        assert_eq!(calls(&spent, 3_000), [0, 151, 601, 1_051, 1_500]);
        spent.blocks.push((ApiCall::Link, seconds(4_000)));
        assert_eq!(calls(&spent, 3_600), [0, 451, 901, 1_351, 1_500]);
    }
}
