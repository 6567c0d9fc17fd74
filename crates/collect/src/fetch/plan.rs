//! What can be fetched, decided command by command. Pure.
//!
//! **Order**: oldest first. How long the service keeps results is documented
//! nowhere, so the oldest are most at risk when the hour's budget binds and
//! not all can be had today; results that failed in an earlier run come after
//! those never tried.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::StoredState;
use crate::clock::{Clock, WallTime, between};
use crate::error::clean;
use crate::fetch::claimed::ClaimedResults;
use crate::fetch::queue::{DownloadRank, PendingResult};
use evidence::{Action, Command, CommandKind, GapReason, ResultKey};

/// Command states that say there is and will be nothing, once the action is
/// final. Unknown words are tried: the service's answer tells.
const STATES_WITHOUT_RESULT: [&str; 7] = [
    "Created",
    "Failed",
    "Pending",
    "InProgress",
    "Cancelled",
    "TimeOut",
    "Skipped",
];

/// What a command promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// No result by nature.
    NoResult,
    /// The service may still finish it.
    Later,
    /// There never will be one.
    Never,
    Fetch,
}

pub(crate) fn availability_of(action: &Action, command: &Command) -> Availability {
    let said = |words: &[&str]| {
        words
            .iter()
            .any(|w| w.eq_ignore_ascii_case(&command.status))
    };
    if !command.has_result() {
        Availability::NoResult
    } else if command.is_completed() {
        Availability::Fetch
    } else if !action.is_final() {
        Availability::Later
    } else if command.is_failed() && command.kind == CommandKind::RunScript {
        // A failed script usually leaves a transcript, and one worth reading.
        Availability::Fetch
    } else if said(&STATES_WITHOUT_RESULT) {
        Availability::Never
    } else {
        Availability::Fetch
    }
}

/// Why nothing came of a command, for a person.
pub(crate) fn never_detail(action: &Action, command: &Command) -> String {
    let reached = if command.status.is_empty() {
        "in no state"
    } else {
        &command.status
    };
    let errors = match command.errors.first() {
        Some(first) => format!(": {}", clean(first)),
        None => String::new(),
    };
    format!(
        "the action ended as {} with this command {}{errors}",
        clean(&action.status),
        clean(reached)
    )
}

/// When the first link is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstRequest {
    /// The service's clock, and ours at that moment.
    pub listed: Timestamp,
    pub now: WallTime,
    pub clock: Clock,
    /// So long after a command's end, service time.
    pub after: Duration,
}

impl FirstRequest {
    /// When a command ended, by our clock. Nothing where it does not say, or
    /// says a time to come: whose clock that was nobody knows.
    fn end_time_of(self, command: &Command) -> Option<WallTime> {
        let ended = command.ended.as_ref()?.instant()?;
        let since = between(ended, self.listed)?;
        Some(self.now.before(self.clock.real(since)))
    }

    /// A want that waits for its time; one whose end is unknown is asked for
    /// at once.
    fn schedule(self, pending: PendingResult) -> PendingResult {
        let ended = pending
            .command()
            .and_then(|command| self.end_time_of(command));
        match ended {
            Some(ended) => pending.with_end(ended, ended.after(self.clock.real(self.after))),
            None => pending,
        }
    }
}

/// The results of an action, sorted by what is to be done about them.
#[derive(Default)]
pub(crate) struct DownloadPlan {
    pub pending_results: Vec<PendingResult>,
    /// Nothing will come of them, and the vault does not know yet.
    pub never: Vec<(Arc<Action>, usize)>,
    /// Known gaps that asking again would not fill.
    pub known_gaps: Vec<ResultKey>,
    pub already_there: u64,
    pub pending: u64,
    /// `None` asks at once.
    pub first_ask: Option<FirstRequest>,
    /// Only commands in these places, where there are any.
    pub indexes: Vec<u32>,
    /// What is sealed is wanted once more.
    pub again: bool,
}

impl DownloadPlan {
    /// Adds the commands of `action` that `claimed` does not hold yet. A key
    /// told twice by the service counts once.
    pub fn add(
        &mut self,
        action: &Arc<Action>,
        claimed: &mut ClaimedResults,
        mut stored_state: impl FnMut(ResultKey) -> Result<StoredState, crate::SinkError>,
    ) -> Result<(), crate::SinkError> {
        for (place, command) in action.commands.iter().enumerate() {
            let key = action.key(command);
            let promise = availability_of(action, command);
            let is_meant = self.indexes.is_empty() || self.indexes.contains(&key.index.0);
            if promise == Availability::NoResult || !is_meant || claimed.contains(key) {
                continue;
            }
            if promise == Availability::Later {
                self.pending += 1;
                continue;
            }
            claimed.claim(key);
            match (stored_state(key)?, promise) {
                (StoredState::Sealed { .. }, _) if !self.again => self.already_there += 1,
                (StoredState::Gap(GapReason::NeverProduced), Availability::Never) => {
                    self.known_gaps.push(key)
                }
                (_, Availability::Never) => self.never.push((action.clone(), place)),
                (known, _) => {
                    let known_gap = match known {
                        StoredState::Gap(reason) => Some(reason),
                        _ => None,
                    };
                    let rank = DownloadRank {
                        failed_before: known_gap.is_some(),
                        time: time_of(action, command),
                        key,
                    };
                    let pending = PendingResult::new(action.clone(), place, rank, known_gap);
                    self.pending_results.push(match self.first_ask {
                        Some(first_ask) => first_ask.schedule(pending),
                        None => pending,
                    });
                }
            }
        }
        Ok(())
    }
}

/// The command's end, else its start, else the action's creation, as
/// nanoseconds; what has no time at all counts as oldest.
fn time_of(action: &Action, command: &Command) -> i64 {
    [&command.ended, &command.started, &action.created]
        .into_iter()
        .flatten()
        .find_map(|time| time.nanoseconds())
        .unwrap_or(i64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::fetch::queue::DownloadQueue;

    fn action(status: &str, commands: &[(&str, &str, &str)]) -> Arc<Action> {
        let commands: Vec<_> = commands
            .iter()
            .enumerate()
            .map(|(i, (kind, state, ended))| {
                serde_json::json!({"index": i, "commandStatus": state, "endTime": ended,
                    "command": {"type": kind, "params": []}})
            })
            .collect();
        let json = serde_json::json!({"id": "5382f7ea-7557-4ab7-9782-d50480024a4e",
            "type": "LiveResponse", "status": status, "commands": commands});
        Arc::new(Action::from_value(&json).unwrap())
    }

    fn promises(status: &str, commands: &[(&str, &str, &str)]) -> Vec<Availability> {
        let action = action(status, commands);
        action
            .commands
            .iter()
            .map(|c| availability_of(&action, c))
            .collect()
    }

    #[test]
    fn each_command_is_judged_by_itself() {
        use Availability::*;
        let done = "2026-01-01T00:00:00Z";
        let commands = [
            ("PutFile", "Completed", done),
            ("RunScript", "Completed", done),
            ("RunScript", "Failed", done),
            ("GetFile", "Failed", done),
            ("GetFile", "Created", done),
            ("GetFile", "Odd", done),
        ];
        for status in ["Cancelled", "TimeOut", "Failed", "Succeeded"] {
            assert_eq!(
                promises(status, &commands),
                [NoResult, Fetch, Fetch, Never, Never, Fetch],
                "{status}"
            );
        }
        assert_eq!(
            promises("InProgress", &commands),
            [NoResult, Fetch, Later, Later, Later, Later]
        );
    }

    #[test]
    fn a_result_is_asked_for_when_it_is_likely_there() {
        let action = action(
            "Succeeded",
            &[("GetFile", "Completed", "2026-01-01T00:00:00Z")],
        );
        let delay_of = |listed: &str| {
            let now = WallTime(1_000_000_000);
            let mut plan = DownloadPlan {
                first_ask: Some(FirstRequest {
                    listed: listed.parse().unwrap(),
                    now,
                    clock: Clock::new(10.0),
                    after: Duration::from_secs(60),
                }),
                ..DownloadPlan::default()
            };
            let absent = |_| Ok(StoredState::Absent);
            plan.add(&action, &mut ClaimedResults::default(), absent)
                .unwrap();
            let pending = plan.pending_results.remove(0);
            pending.not_before.map(|at| at.since(now).as_millis())
        };
        assert_eq!(delay_of("2026-01-01T00:00:50Z"), Some(1_000));
        assert_eq!(delay_of("2026-01-01T00:00:00Z"), Some(6_000));
        assert_eq!(delay_of("2026-01-01T00:01:00Z"), Some(0));
        // Ended in the future, by another clock.
        assert_eq!(delay_of("2025-12-31T23:59:59Z"), None);
    }

    #[tokio::test]
    async fn what_is_sealed_is_not_wanted_and_a_known_gap_comes_last() {
        let action = action(
            "Succeeded",
            &[
                ("RunScript", "Completed", "2026-01-03T00:00:00Z"),
                ("RunScript", "Completed", "2026-01-01T00:00:00Z"),
                ("RunScript", "Completed", "2026-01-02T00:00:00Z"),
                ("RunScript", "Completed", "2026-01-04T00:00:00Z"),
                ("GetFile", "Created", ""),
            ],
        );
        let mut plan = DownloadPlan::default();
        let mut claimed = ClaimedResults::default();
        for _ in 0..2 {
            plan.add(&action, &mut claimed, |key| {
                Ok(match key.index.0 {
                    1 => StoredState::Gap(GapReason::Unreachable),
                    3 => StoredState::Sealed {
                        version: evidence::Version::FIRST,
                        sha256: evidence::Sha256([0; 32]),
                    },
                    _ => StoredState::Absent,
                })
            })
            .unwrap();
        }
        let queue = DownloadQueue::new(Clock::new(1.0));
        queue.add(std::mem::take(&mut plan.pending_results));
        queue.close();
        let mut order = Vec::new();
        while let Some(pending) = queue.take().await {
            order.push(pending.key().index.0);
            queue.settle(pending.key());
        }
        assert_eq!(order, [2, 0, 1]);
        assert_eq!((plan.already_there, plan.never.len()), (1, 1));
    }
}
