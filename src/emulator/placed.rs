//! An action on the emulator's clock: what of it can be seen when, and how far
//! its commands have come.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::body::Body;
use super::clock::{api_time, earlier, later};
use super::fleet::{Action, Created, Progress};
use crate::evidence::ActionId;

/// An action placed on the emulator's clock.
#[derive(Debug)]
pub(super) struct Placed {
    pub id: ActionId,
    pub bodies: BTreeMap<u32, Body>,
    /// Place of its first result among all of the fleet.
    pub first_ordinal: u64,
    created: Timestamp,
    json: Map<String, Value>,
    progress: Option<Progress>,
}

/// How far one command has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Done,
}

impl Placed {
    pub(super) fn place(action: Action, start: Timestamp, first_ordinal: u64) -> Option<Self> {
        let mut json = action.json;
        let created = match action.created {
            Created::Given => json
                .get("creationDateTimeUtc")
                .and_then(Value::as_str)
                .and_then(|text| text.parse().ok())
                .unwrap_or(Timestamp::UNIX_EPOCH),
            Created::At(at) => at,
            Created::BeforeStart(by) => earlier(start, by),
            Created::AfterStart(by) => later(start, by),
        };
        if !matches!(action.created, Created::Given) {
            json.insert("creationDateTimeUtc".into(), api_time(created).into());
        }
        let mut placed = Self {
            id: action.id?,
            bodies: action.bodies,
            first_ordinal,
            created,
            json,
            progress: action.progress,
        };
        if !matches!(action.created, Created::Given) && placed.progress.is_none() {
            let finished = Progress::default();
            placed.date_commands(finished, Timestamp::MAX);
        }
        Some(placed)
    }

    pub(super) fn created(&self) -> Timestamp {
        self.created
    }

    /// Whether get and list know it yet.
    pub(super) fn is_visible(&self, now: Timestamp) -> bool {
        let hidden = self.progress.map_or(Duration::ZERO, |p| p.hidden);
        later(self.created, hidden) <= now
    }

    /// Its JSON as of `now`.
    pub(super) fn json(&self, now: Timestamp) -> Cow<'_, Map<String, Value>> {
        let Some(progress) = self.progress else {
            return Cow::Borrowed(&self.json);
        };
        let mut dated = Self {
            id: self.id,
            bodies: BTreeMap::new(),
            first_ordinal: 0,
            created: self.created,
            json: self.json.clone(),
            progress: None,
        };
        dated.date_commands(progress, now);
        Cow::Owned(dated.json)
    }

    pub(super) fn command(&self, index: u32) -> Option<&Map<String, Value>> {
        let commands = self.json.get("commands")?.as_array()?;
        let by_index = commands.iter().enumerate().find(|(place, command)| {
            let own = command.get("index").and_then(Value::as_u64);
            own.unwrap_or(*place as u64) == u64::from(index)
        });
        by_index?.1.as_object()
    }

    /// The indexes of its commands, in their order.
    pub(super) fn indexes(&self) -> Vec<u32> {
        let commands = self.json.get("commands").and_then(Value::as_array);
        let places = commands.into_iter().flatten().enumerate();
        places
            .map(|(place, command)| {
                let own = command.get("index").and_then(Value::as_u64);
                own.unwrap_or(place as u64) as u32
            })
            .collect()
    }

    /// The indexes of those that leave a result, in their order.
    pub(super) fn results(&self) -> Vec<u32> {
        let mut indexes = self.indexes();
        indexes.retain(|index| {
            let command = self.command(*index).and_then(|c| c.get("command"));
            command.and_then(|c| c.get("type")?.as_str()) != Some("PutFile")
        });
        indexes
    }

    /// Place of a result among all of the fleet.
    pub(super) fn ordinal(&self, index: u32) -> u64 {
        let place = self.results().iter().position(|own| *own == index);
        self.first_ordinal + place.unwrap_or(0) as u64
    }

    /// Whether its status will not change any more.
    pub(super) fn is_final(&self, now: Timestamp) -> bool {
        let json = self.json(now);
        let status = json.get("status").and_then(Value::as_str);
        !matches!(status, Some("Pending" | "InProgress"))
    }

    fn command_count(&self) -> usize {
        let commands = self.json.get("commands").and_then(Value::as_array);
        commands.map_or(0, Vec::len)
    }

    /// Whether a command has ended by `now`.
    pub(super) fn stage(&self, index: u32, now: Timestamp) -> Stage {
        let Some(progress) = self.progress else {
            return Stage::Done;
        };
        let place = self.place_of(index).unwrap_or(u32::MAX);
        if self.command_end(progress, place) <= now {
            Stage::Done
        } else {
            Stage::Waiting
        }
    }

    fn place_of(&self, index: u32) -> Option<u32> {
        let commands = self.json.get("commands")?.as_array()?;
        let place = commands.iter().enumerate().position(|(place, command)| {
            let own = command.get("index").and_then(Value::as_u64);
            own.unwrap_or(place as u64) == u64::from(index)
        });
        place.map(|place| place as u32)
    }

    fn command_end(&self, progress: Progress, place: u32) -> Timestamp {
        let running = progress
            .each_command
            .saturating_mul(place.saturating_add(1));
        later(later(self.created, progress.queued), running)
    }

    /// Writes what `progress` has come to at `now` into the JSON.
    fn date_commands(&mut self, progress: Progress, now: Timestamp) {
        let taken_up = later(self.created, progress.queued);
        let ends: Vec<_> = (0..self.command_count() as u32)
            .map(|place| self.command_end(progress, place))
            .collect();
        let last_end = ends.last().copied().unwrap_or(taken_up);
        let settled = later(last_end, progress.settling);
        let mut updated = self.created;
        if let Some(Value::Array(commands)) = self.json.get_mut("commands") {
            let mut begin = taken_up;
            for (command, end) in commands.iter_mut().zip(ends) {
                let Some(command) = command.as_object_mut() else {
                    continue;
                };
                if begin <= now {
                    command.insert("startTime".into(), api_time(begin).into());
                    updated = begin;
                }
                if end <= now {
                    command.insert("endTime".into(), api_time(end).into());
                    updated = end;
                } else {
                    command.insert("commandStatus".into(), "Created".into());
                    command.insert("errors".into(), json!([]));
                }
                begin = end;
            }
        }
        if settled <= now {
            updated = settled;
        } else if taken_up <= now {
            self.json.insert("status".into(), "InProgress".into());
        } else {
            self.json.insert("status".into(), "Pending".into());
        }
        let updated = api_time(updated).into();
        self.json.insert("lastUpdateDateTimeUtc".into(), updated);
    }
}

#[cfg(test)]
mod tests {
    use super::super::fleet::{Command, Fleet};
    use super::*;

    fn second(n: u64) -> Timestamp {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        later(start, Duration::from_secs(n))
    }

    fn placed(action: Action) -> Placed {
        let mut fleet = Fleet::new().action(action);
        Placed::place(fleet.actions.remove(0), second(0), 0).unwrap()
    }

    #[test]
    fn an_action_proceeds_command_by_command() {
        let progress = Progress {
            hidden: Duration::from_secs(20),
            queued: Duration::from_secs(60),
            each_command: Duration::from_secs(10),
            settling: Duration::from_secs(30),
        };
        let action = placed(
            Action::on("ws")
                .created_after_start(Duration::from_secs(100))
                .progress(progress)
                .run_script("a.ps1", "", "{}")
                .command(Command::get_file("C:/x").failed("not found")),
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
        assert_eq!(action.stage(0, second(169)), Stage::Waiting);
        assert_eq!(action.stage(0, second(170)), Stage::Done);
    }

    #[test]
    fn a_finished_action_is_dated_whole() {
        let action = placed(Action::on("ws").run_script("a.ps1", "-x", "{}"));
        let json = action.json(second(0));
        assert_eq!(json["status"], "Succeeded");
        assert!(json["commands"][0]["endTime"].is_string());
        assert_eq!(json["creationDateTimeUtc"], "2025-12-31T23:00:00.0000000Z");
    }
}
