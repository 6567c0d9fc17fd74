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
use crate::clock::{Clock, Moment, between};
use crate::error::clean;
use crate::fetch::claimed::Taken;
use crate::fetch::queue::{Rank, Want};
use evidence::{Action, Command, CommandKind, GapReason, ResultKey};

/// Command states that say there is and will be nothing, once the action is
/// final. Unknown words are tried: the service's answer tells.
const UNPRODUCED: [&str; 7] = [
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
pub(crate) enum Promise {
    /// No result by nature.
    Nothing,
    /// The service may still finish it.
    Later,
    /// There never will be one.
    Never,
    Fetch,
}

pub(crate) fn judge(action: &Action, command: &Command) -> Promise {
    let said = |words: &[&str]| {
        words
            .iter()
            .any(|w| w.eq_ignore_ascii_case(&command.status))
    };
    if !command.has_result() {
        Promise::Nothing
    } else if command.is_completed() {
        Promise::Fetch
    } else if !action.is_final() {
        Promise::Later
    } else if command.is_failed() && command.kind == CommandKind::RunScript {
        // A failed script usually leaves a transcript, and one worth reading.
        Promise::Fetch
    } else if said(&UNPRODUCED) {
        Promise::Never
    } else {
        Promise::Fetch
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
pub(crate) struct FirstAsk {
    /// The service's clock, and ours at that moment.
    pub listed: Timestamp,
    pub now: Moment,
    pub clock: Clock,
    /// So long after a command's end, service time.
    pub after: Duration,
}

impl FirstAsk {
    /// When a command ended, by our clock. Nothing where it does not say, or
    /// says a time to come: whose clock that was nobody knows.
    fn end_of(self, command: &Command) -> Option<Moment> {
        let ended = command.ended.as_ref()?.instant()?;
        let since = between(ended, self.listed)?;
        Some(self.now.before(self.clock.real(since)))
    }

    /// A want that waits for its time; one whose end is unknown is asked for
    /// at once.
    fn put_off(self, want: Want) -> Want {
        let ended = want.command().and_then(|command| self.end_of(command));
        match ended {
            Some(ended) => want.that_ended(ended, ended.after(self.clock.real(self.after))),
            None => want,
        }
    }
}

/// The results of an action, sorted by what is to be done about them.
#[derive(Default)]
pub(crate) struct Plan {
    pub wants: Vec<Want>,
    /// Nothing will come of them, and the vault does not know yet.
    pub never: Vec<(Arc<Action>, usize)>,
    /// Known gaps that asking again would not fill.
    pub known_gaps: Vec<ResultKey>,
    pub already_there: u64,
    pub pending: u64,
    /// `None` asks at once.
    pub first_ask: Option<FirstAsk>,
    /// Only commands in these places, where there are any.
    pub indexes: Vec<u32>,
    /// What is sealed is wanted once more.
    pub again: bool,
}

impl Plan {
    /// Adds the commands of `action` that `taken` does not hold yet. A key
    /// told twice by the service counts once.
    pub fn add(
        &mut self,
        action: &Arc<Action>,
        taken: &mut Taken,
        mut standing: impl FnMut(ResultKey) -> Result<StoredState, crate::SinkError>,
    ) -> Result<(), crate::SinkError> {
        for (place, command) in action.commands.iter().enumerate() {
            let key = action.key(command);
            let promise = judge(action, command);
            let is_meant = self.indexes.is_empty() || self.indexes.contains(&key.index.0);
            if promise == Promise::Nothing || !is_meant || taken.holds(key) {
                continue;
            }
            if promise == Promise::Later {
                self.pending += 1;
                continue;
            }
            taken.take(key);
            match (standing(key)?, promise) {
                (StoredState::Sealed { .. }, _) if !self.again => self.already_there += 1,
                (StoredState::Gap(GapReason::NeverProduced), Promise::Never) => {
                    self.known_gaps.push(key)
                }
                (_, Promise::Never) => self.never.push((action.clone(), place)),
                (known, _) => {
                    let known_gap = match known {
                        StoredState::Gap(reason) => Some(reason),
                        _ => None,
                    };
                    let rank = Rank {
                        failed_before: known_gap.is_some(),
                        time: time_of(action, command),
                        key,
                    };
                    let want = Want::new(action.clone(), place, rank, known_gap);
                    self.wants.push(match self.first_ask {
                        Some(first_ask) => first_ask.put_off(want),
                        None => want,
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
    use crate::fetch::queue::Queue;

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

    fn promises(status: &str, commands: &[(&str, &str, &str)]) -> Vec<Promise> {
        let action = action(status, commands);
        action.commands.iter().map(|c| judge(&action, c)).collect()
    }

    #[test]
    fn each_command_is_judged_by_itself() {
        use Promise::*;
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
                [Nothing, Fetch, Fetch, Never, Never, Fetch],
                "{status}"
            );
        }
        assert_eq!(
            promises("InProgress", &commands),
            [Nothing, Fetch, Later, Later, Later, Later]
        );
    }

    #[test]
    fn a_result_is_asked_for_when_it_is_likely_there() {
        let action = action(
            "Succeeded",
            &[("GetFile", "Completed", "2026-01-01T00:00:00Z")],
        );
        let put_off_for = |listed: &str| {
            let now = Moment(1_000_000_000);
            let mut plan = Plan {
                first_ask: Some(FirstAsk {
                    listed: listed.parse().unwrap(),
                    now,
                    clock: Clock::new(10.0),
                    after: Duration::from_secs(60),
                }),
                ..Plan::default()
            };
            let absent = |_| Ok(StoredState::Absent);
            plan.add(&action, &mut Taken::default(), absent).unwrap();
            let want = plan.wants.remove(0);
            want.not_before.map(|at| at.since(now).as_millis())
        };
        assert_eq!(put_off_for("2026-01-01T00:00:50Z"), Some(1_000));
        assert_eq!(put_off_for("2026-01-01T00:00:00Z"), Some(6_000));
        assert_eq!(put_off_for("2026-01-01T00:01:00Z"), Some(0));
        // Ended in the future, by another clock.
        assert_eq!(put_off_for("2025-12-31T23:59:59Z"), None);
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
        let mut plan = Plan::default();
        let mut taken = Taken::default();
        for _ in 0..2 {
            plan.add(&action, &mut taken, |key| {
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
        let queue = Queue::new(Clock::new(1.0));
        queue.add(std::mem::take(&mut plan.wants));
        queue.close();
        let mut order = Vec::new();
        while let Some(want) = queue.take().await {
            order.push(want.key().index.0);
            queue.settle(want.key());
        }
        assert_eq!(order, [2, 0, 1]);
        assert_eq!((plan.already_there, plan.never.len()), (1, 1));
    }
}
