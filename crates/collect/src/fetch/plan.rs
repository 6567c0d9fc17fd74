//! Download plan: decides for each command whether its result can be
//! downloaded. Pure.
//!
//! **Order**: oldest first. It is not documented how long the service keeps
//! results, so the oldest are most at risk if the hourly limit does not allow
//! all of them today. Results that failed in an earlier collection come after
//! those that were never tried.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::clock::{Clock, WallTime, between};
use crate::error::clean;
use crate::fetch::claimed::ClaimedResults;
use crate::fetch::queue::{DownloadRank, PendingResult};
use crate::{SinkError, StoredState};
use evidence::{Action, Command, CommandKind, GapReason, ResultKey};

/// Command states without a result, once the action is final. A result in an
/// unknown state is requested; the service's response decides.
const STATES_WITHOUT_RESULT: [&str; 7] = [
    "Created",
    "Failed",
    "Pending",
    "InProgress",
    "Cancelled",
    "TimeOut",
    "Skipped",
];

/// Whether the result of a command can be downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// The command has no result by its kind.
    NoResult,
    /// The service may still complete the command.
    Later,
    /// The command ended without a result.
    Never,
    Fetch,
}

pub(crate) fn availability_of(action: &Action, command: &Command) -> Availability {
    let ends_without_result = || {
        STATES_WITHOUT_RESULT
            .iter()
            .any(|state| state.eq_ignore_ascii_case(&command.status))
    };
    if !command.has_result() {
        Availability::NoResult
    } else if command.is_completed() {
        Availability::Fetch
    } else if !action.is_final() {
        Availability::Later
    } else if command.is_failed() && command.kind == CommandKind::RunScript {
        // A failed script usually has a transcript that explains the failure.
        Availability::Fetch
    } else if ends_without_result() {
        Availability::Never
    } else {
        Availability::Fetch
    }
}

/// The reason why a command has no result, for the gap record.
pub(crate) fn never_detail(action: &Action, command: &Command) -> String {
    let state = if command.status.is_empty() {
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
        clean(state)
    )
}

/// Time of the first request for a result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FirstRequest {
    /// The service's clock when the list was read.
    pub listed: Timestamp,
    /// Our clock at the same moment.
    pub now: WallTime,
    pub clock: Clock,
    /// Delay after the end of the command.
    ///
    /// **Units**: service time.
    pub delay: Duration,
}

impl FirstRequest {
    /// End of a command by our clock. `None` if the command has no end time,
    /// or one in the future: it is not known by which clock.
    fn end_of(self, command: &Command) -> Option<WallTime> {
        let ended = command.ended.as_ref()?.instant()?;
        let age = between(ended, self.listed)?;
        Some(self.now.before(self.clock.real(age)))
    }

    /// Schedules the first request. If the end of the command is unknown, the
    /// result is requested at once.
    fn schedule(self, pending: PendingResult) -> PendingResult {
        match pending.command().and_then(|command| self.end_of(command)) {
            Some(ended) => pending.with_end(ended, ended.after(self.clock.real(self.delay))),
            None => pending,
        }
    }
}

/// The results of the listed actions, by the next step for each.
#[derive(Default)]
pub(crate) struct DownloadPlan {
    pub downloads: Vec<PendingResult>,
    /// Commands without a result, by action and position, for which the sink
    /// has no gap yet.
    pub never: Vec<(Arc<Action>, usize)>,
    /// Recorded gaps that another request would not fill.
    pub known_gaps: Vec<ResultKey>,
    pub already_there: u64,
    /// Commands that the service may still complete.
    pub unfinished: u64,
    /// `None`: results are requested at once.
    pub first_request: Option<FirstRequest>,
    /// Restricts the plan to commands with these indexes; empty means all.
    pub indexes: Vec<u32>,
    /// Download sealed results again.
    pub redownload: bool,
}

impl DownloadPlan {
    /// Adds the commands of an action that are not claimed yet, and claims
    /// them. A key that occurs twice in the action counts once.
    pub(crate) fn add(
        &mut self,
        action: &Arc<Action>,
        claimed: &mut ClaimedResults,
        mut stored_state: impl FnMut(ResultKey) -> Result<StoredState, SinkError>,
    ) -> Result<(), SinkError> {
        for (position, command) in action.commands.iter().enumerate() {
            let key = action.key(command);
            let is_selected = self.indexes.is_empty() || self.indexes.contains(&key.index.0);
            if !is_selected || claimed.contains(key) {
                continue;
            }
            let availability = availability_of(action, command);
            match availability {
                Availability::NoResult => continue,
                Availability::Later => {
                    self.unfinished += 1;
                    continue;
                }
                Availability::Never | Availability::Fetch => claimed.claim(key),
            }
            match (stored_state(key)?, availability) {
                (StoredState::Sealed { .. }, _) if !self.redownload => self.already_there += 1,
                (StoredState::Gap(GapReason::NeverProduced), Availability::Never) => {
                    self.known_gaps.push(key);
                }
                (_, Availability::Never) => self.never.push((action.clone(), position)),
                (StoredState::Gap(reason), _) => {
                    self.add_download(action, position, command, Some(reason));
                }
                _ => self.add_download(action, position, command, None),
            }
        }
        Ok(())
    }

    fn add_download(
        &mut self,
        action: &Arc<Action>,
        position: usize,
        command: &Command,
        known_gap: Option<GapReason>,
    ) {
        let rank = DownloadRank {
            failed_before: known_gap.is_some(),
            time: time_of(action, command),
            key: action.key(command),
        };
        let pending = PendingResult::new(action.clone(), position, rank, known_gap);
        self.downloads.push(match self.first_request {
            Some(first_request) => first_request.schedule(pending),
            None => pending,
        });
    }
}

/// End of the command, else its start, else the creation of the action. A
/// command without any time counts as the oldest.
///
/// **Units**: nanoseconds since 1970.
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

    fn availabilities(status: &str, commands: &[(&str, &str, &str)]) -> Vec<Availability> {
        let action = action(status, commands);
        action
            .commands
            .iter()
            .map(|command| availability_of(&action, command))
            .collect()
    }

    #[test]
    fn availability_depends_on_command_and_action_state() {
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
                availabilities(status, &commands),
                [NoResult, Fetch, Fetch, Never, Never, Fetch],
                "{status}"
            );
        }
        assert_eq!(
            availabilities("InProgress", &commands),
            [NoResult, Fetch, Later, Later, Later, Later]
        );
    }

    #[test]
    fn first_request_waits_for_the_delay_after_the_command_end() {
        let action = action(
            "Succeeded",
            &[("GetFile", "Completed", "2026-01-01T00:00:00Z")],
        );
        let wait_ms = |listed: &str| {
            let now = WallTime(1_000_000_000);
            let mut plan = DownloadPlan {
                first_request: Some(FirstRequest {
                    listed: listed.parse().unwrap(),
                    now,
                    clock: Clock::new(10.0),
                    delay: Duration::from_secs(60),
                }),
                ..DownloadPlan::default()
            };
            let absent = |_| Ok(StoredState::Absent);
            plan.add(&action, &mut ClaimedResults::default(), absent)
                .unwrap();
            let pending = plan.downloads.remove(0);
            pending.not_before.map(|at| at.since(now).as_millis())
        };
        assert_eq!(wait_ms("2026-01-01T00:00:50Z"), Some(1_000));
        assert_eq!(wait_ms("2026-01-01T00:00:00Z"), Some(6_000));
        assert_eq!(wait_ms("2026-01-01T00:01:00Z"), Some(0));
        // An end in the future, by the clock of another machine.
        assert_eq!(wait_ms("2025-12-31T23:59:59Z"), None);
    }

    #[tokio::test]
    async fn sealed_results_are_skipped_and_known_gaps_are_downloaded_last() {
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
        queue.add(std::mem::take(&mut plan.downloads));
        queue.close();
        let mut order = Vec::new();
        while let Some(pending) = queue.take().await {
            order.push(pending.key().index.0);
            queue.complete(pending.key());
        }
        assert_eq!(order, [2, 0, 1]);
        assert_eq!((plan.already_there, plan.never.len()), (1, 1));
    }
}
