//! An action at a point in time: its JSON, its status and the availability of
//! its results.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::synthetic::action::{ActionProgress, CreationTime, ScriptedAction};
use crate::synthetic::body::ResultBody;
use crate::timeline::action_timeline::{
    ActionStatus, ActionTimeline, CommandTimes, ResultAvailability,
};
use crate::timeline::clock::{api_time, earlier, later};
use evidence::ActionId;

/// An action with its times on the emulator's clock.
#[derive(Debug)]
pub(crate) struct TimedAction {
    pub id: ActionId,
    pub bodies: BTreeMap<u32, ResultBody>,
    /// Ordinal of its first result among the results of the fleet.
    pub first_ordinal: u64,
    created: Timestamp,
    /// Final JSON, unless the action is cancelled.
    json: Map<String, Value>,
    /// `None` if the action was over before the emulator started.
    timeline: Option<ActionTimeline>,
    /// JSON after the cancellation. Cached, because a list of thousands of
    /// actions would compute it on each call.
    cancelled_json: OnceLock<Map<String, Value>>,
}

impl TimedAction {
    /// A scripted action; `None` if it has no id.
    pub(crate) fn scripted(
        action: ScriptedAction,
        start: Timestamp,
        first_ordinal: u64,
    ) -> Option<Self> {
        let mut json = action.json;
        let created = match action.created {
            CreationTime::FromJson => json
                .get("creationDateTimeUtc")
                .and_then(Value::as_str)
                .and_then(|text| text.parse().ok())
                .unwrap_or(Timestamp::UNIX_EPOCH),
            CreationTime::At(at) => at,
            CreationTime::BeforeStart(by) => earlier(start, by),
            CreationTime::AfterStart(by) => later(start, by),
        };
        let commands = json.get("commands").and_then(Value::as_array);
        let count = commands.map_or(0, Vec::len) as u32;
        if !matches!(action.created, CreationTime::FromJson) {
            json.insert("creationDateTimeUtc".into(), api_time(created).into());
            let progress = action.progress.unwrap_or_default();
            let timeline = progress.timeline(created, count);
            set_times(&mut json, created, &timeline, Timestamp::MAX);
        }
        let timeline = action
            .progress
            .map(|progress| progress.timeline(created, count));
        Some(Self {
            id: action.id?,
            bodies: action.bodies,
            first_ordinal,
            created,
            json,
            timeline,
            cancelled_json: OnceLock::new(),
        })
    }

    /// An action that a client started. `json` is its final JSON, without
    /// times.
    pub(crate) fn started(
        id: ActionId,
        created: Timestamp,
        mut json: Map<String, Value>,
        bodies: BTreeMap<u32, ResultBody>,
        timeline: ActionTimeline,
    ) -> Self {
        set_times(&mut json, created, &timeline, Timestamp::MAX);
        Self {
            id,
            bodies,
            first_ordinal: 0,
            created,
            json,
            timeline: Some(timeline),
            cancelled_json: OnceLock::new(),
        }
    }

    pub(crate) fn created(&self) -> Timestamp {
        self.created
    }

    pub(crate) fn timeline(&self) -> Option<&ActionTimeline> {
        self.timeline.as_ref()
    }

    /// A text property of the final JSON.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.json.get(name).and_then(Value::as_str)
    }

    /// Whether get and list show the action.
    pub(crate) fn is_visible(&self, now: Timestamp) -> bool {
        let visible_from = self
            .timeline
            .as_ref()
            .map_or(self.created, |timeline| timeline.visible_from);
        visible_from <= now
    }

    /// The JSON at `now`.
    pub(crate) fn json(&self, now: Timestamp) -> Cow<'_, Map<String, Value>> {
        let Some(timeline) = &self.timeline else {
            return Cow::Borrowed(&self.json);
        };
        let json_at_now = || {
            let mut json = self.json.clone();
            set_times(&mut json, self.created, timeline, now);
            json
        };
        match timeline.status(now) {
            ActionStatus::Finished => Cow::Borrowed(&self.json),
            ActionStatus::Cancelled => Cow::Borrowed(self.cancelled_json.get_or_init(json_at_now)),
            ActionStatus::Pending | ActionStatus::InProgress => Cow::Owned(json_at_now()),
        }
    }

    fn commands(&self) -> &[Value] {
        let commands = self.json.get("commands").and_then(Value::as_array);
        commands.map_or(&[], Vec::as_slice)
    }

    /// The final JSON of a command.
    pub(crate) fn command(&self, index: u32) -> Option<&Map<String, Value>> {
        self.commands().get(self.position_of(index)?)?.as_object()
    }

    /// The indexes of its commands, in order.
    pub(crate) fn command_indexes(&self) -> Vec<u32> {
        self.commands()
            .iter()
            .enumerate()
            .map(|(position, command)| {
                let index = command.get("index").and_then(Value::as_u64);
                index.unwrap_or(position as u64) as u32
            })
            .collect()
    }

    fn position_of(&self, index: u32) -> Option<usize> {
        self.command_indexes().iter().position(|own| *own == index)
    }

    /// The indexes of the commands that produce a result, in order.
    pub(crate) fn result_indexes(&self) -> Vec<u32> {
        let mut indexes = self.command_indexes();
        indexes.retain(|index| {
            let command = self.command(*index).and_then(|c| c.get("command"));
            command.and_then(|c| c.get("type")?.as_str()) != Some("PutFile")
        });
        indexes
    }

    /// Ordinal of a result among the results of the fleet.
    pub(crate) fn ordinal(&self, index: u32) -> u64 {
        let position = self.result_indexes().iter().position(|own| *own == index);
        self.first_ordinal + position.unwrap_or(0) as u64
    }

    /// Whether the status is final.
    pub(crate) fn is_over(&self, now: Timestamp) -> bool {
        match &self.timeline {
            Some(timeline) => timeline.is_over(now),
            None => !matches!(self.text("status"), Some("Pending" | "InProgress")),
        }
    }

    /// Whether a result has a body that can be linked to.
    pub(crate) fn has_result(&self, index: u32, now: Timestamp) -> bool {
        let is_available = if self.commands().is_empty() {
            self.has_succeeded(now)
        } else {
            self.availability(index, now) == ResultAvailability::Available
        };
        is_available && self.bodies.contains_key(&index)
    }

    /// Whether the action has ended with status `Succeeded`.
    pub(crate) fn has_succeeded(&self, now: Timestamp) -> bool {
        let is_finished = match &self.timeline {
            Some(timeline) => timeline.status(now) == ActionStatus::Finished,
            None => true,
        };
        is_finished && self.text("status") == Some("Succeeded")
    }

    pub(crate) fn availability(&self, index: u32, now: Timestamp) -> ResultAvailability {
        match (&self.timeline, self.position_of(index)) {
            (None, _) => ResultAvailability::Available,
            (Some(timeline), Some(position)) => timeline.availability(position, now),
            (Some(_), None) => ResultAvailability::Never,
        }
    }
}

impl ActionProgress {
    /// The timeline of an action whose commands take equally long.
    fn timeline(self, created: Timestamp, commands: u32) -> ActionTimeline {
        let started = later(created, self.queued);
        let end_of = |position: u32| later(started, self.each_command.saturating_mul(position));
        let times = |position| {
            let end = end_of(position + 1);
            Some(CommandTimes {
                begin: end_of(position),
                end,
                available: end,
            })
        };
        ActionTimeline::new(
            later(created, self.hidden),
            Some(started),
            (0..commands).map(times).collect(),
            later(end_of(commands), self.settling),
        )
    }
}

/// Writes times and status as of `now` into the final JSON of an action.
fn set_times(
    json: &mut Map<String, Value>,
    created: Timestamp,
    timeline: &ActionTimeline,
    now: Timestamp,
) {
    let ran_until = timeline.ran_until(now);
    let mut updated = timeline.started.filter(|at| *at <= ran_until);
    if let Some(Value::Array(commands)) = json.get_mut("commands") {
        for (command, times) in commands.iter_mut().zip(&timeline.commands) {
            let (Some(command), Some(times)) = (command.as_object_mut(), times) else {
                continue;
            };
            let reached = |at: Timestamp| (at <= ran_until).then_some(at);
            let (begin, end) = (reached(times.begin), reached(times.end));
            updated = end.or(begin).or(updated);
            command.insert("startTime".into(), begin.map(api_time).into());
            command.insert("endTime".into(), end.map(api_time).into());
            if end.is_none() {
                command.insert("commandStatus".into(), "Created".into());
                command.insert("errors".into(), json!([]));
            }
        }
    }
    let mut set_status = |word: &str| json.insert("status".into(), word.into());
    match timeline.status(now) {
        ActionStatus::Pending => _ = set_status("Pending"),
        ActionStatus::InProgress => _ = set_status("InProgress"),
        ActionStatus::Finished => updated = Some(timeline.finished),
        ActionStatus::Cancelled => {
            set_status("Cancelled");
            updated = Some(timeline.end());
            if let Some(cancellation) = timeline.cancellation() {
                let at = api_time(cancellation.at);
                json.insert("cancellationDateTimeUtc".into(), at.into());
                let requestor = cancellation.by.as_str();
                json.insert("cancellationRequestor".into(), requestor.into());
                let comment = cancellation.comment.as_str();
                json.insert("cancellationComment".into(), comment.into());
            }
        }
    }
    let updated = api_time(updated.unwrap_or(created));
    json.insert("lastUpdateDateTimeUtc".into(), updated.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synthetic::action::ScriptedCommand;
    use crate::synthetic::fleet::EmulatedFleet;
    use std::time::Duration;

    fn second(n: u64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        later(start, Duration::from_secs(n))
    }

    fn timed(action: ScriptedAction) -> TimedAction {
        let mut fleet = EmulatedFleet::new().action(action);
        TimedAction::scripted(fleet.actions.remove(0), second(0), 0).unwrap()
    }

    #[test]
    fn json_follows_the_progress_of_the_commands() {
        let progress = ActionProgress {
            hidden: Duration::from_secs(20),
            queued: Duration::from_secs(60),
            each_command: Duration::from_secs(10),
            settling: Duration::from_secs(30),
        };
        let action = timed(
            ScriptedAction::on("ws")
                .created_after_start(Duration::from_secs(100))
                .progress(progress)
                .run_script("a.ps1", "", "{}")
                .command(ScriptedCommand::get_file("C:/x").failed("not found")),
        );
        let shown = |n| {
            let json = action.json(second(n));
            let command = |i: usize| json["commands"][i]["commandStatus"].clone();
            let status = json["status"].as_str().unwrap().to_string();
            (status, command(0).to_string(), command(1).to_string())
        };
        let expect = |status: &str, first: &str, second: &str| {
            let quoted = |word| format!("\"{word}\"");
            (status.to_string(), quoted(first), quoted(second))
        };
        assert!(!action.is_visible(second(119)) && action.is_visible(second(120)));
        assert_eq!(shown(159), expect("Pending", "Created", "Created"));
        assert_eq!(shown(160), expect("InProgress", "Created", "Created"));
        assert_eq!(shown(170), expect("InProgress", "Completed", "Created"));
        assert_eq!(shown(209), expect("InProgress", "Completed", "Failed"));
        assert_eq!(shown(210), expect("Succeeded", "Completed", "Failed"));
        assert_eq!(
            action.availability(0, second(169)),
            ResultAvailability::NotYet
        );
        assert_eq!(
            action.availability(0, second(170)),
            ResultAvailability::Available
        );
    }

    #[test]
    fn finished_action_has_all_times() {
        let action = timed(ScriptedAction::on("ws").run_script("a.ps1", "-x", "{}"));
        let json = action.json(second(0));
        assert_eq!(json["status"], "Succeeded");
        assert!(json["commands"][0]["endTime"].is_string());
        assert_eq!(json["creationDateTimeUtc"], "2025-12-31T23:00:00.0000000Z");
    }
}
