//! The devices, actions, results and library of the running emulator.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::auth::signed_links::ServiceSigner;
use crate::state::library::{EmulatedLibrary, UploadedFile};
use crate::state::sessions::SessionTable;
use crate::synthetic::body::ResultBody;
use crate::synthetic::fleet::EmulatedFleet;
use crate::synthetic::ids::result_key;
use crate::synthetic::seeded_rng::SeededRng;
use crate::timeline::clock::api_time;
use crate::timeline::presence::PresenceTimetable;
use crate::timeline::timeline_view::TimedAction;
use evidence::{ActionId, ResultKey};

/// Uploader of the initial library files.
const INITIAL_UPLOADER: &str = "analyst@contoso.example";

#[derive(Default)]
pub(crate) struct FleetState {
    pub machines: Vec<TimedMachine>,
    pub actions: Vec<Arc<TimedAction>>,
    pub library: EmulatedLibrary,
    pub sessions: SessionTable,
    /// Device groups on which actions are not allowed.
    disallowed: HashSet<String>,
    /// Positions in `machines` by id and by name, in lower case.
    machine_positions: HashMap<String, usize>,
    /// Positions in `actions`.
    action_positions: HashMap<ActionId, usize>,
    /// Results by the name of their blob.
    blobs: HashMap<String, ResultKey>,
    result_count: u64,
}

/// A device with its presence on the emulator's clock.
pub(crate) struct TimedMachine {
    json: Map<String, Value>,
    /// `None`: the JSON is constant.
    pub presence: Option<PresenceTimetable>,
}

impl TimedMachine {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.json.get(name).and_then(Value::as_str)
    }

    /// The JSON at `now`.
    pub(crate) fn json(&self, now: Timestamp) -> Cow<'_, Map<String, Value>> {
        let Some(presence) = &self.presence else {
            return Cow::Borrowed(&self.json);
        };
        let mut json = self.json.clone();
        json.insert("healthStatus".into(), presence.health(now).into());
        let last_seen = api_time(presence.last_seen(now));
        json.insert("lastSeen".into(), last_seen.into());
        Cow::Owned(json)
    }
}

impl FleetState {
    /// Adds a fleet; `start` is the time to which its times are relative.
    pub(crate) fn add(
        &mut self,
        mut fleet: EmulatedFleet,
        start: Timestamp,
        signer: &ServiceSigner,
    ) {
        fleet.complete_devices();
        self.disallowed.extend(fleet.disallowed);
        for (name, content) in fleet.library {
            let file = UploadedFile {
                name,
                content,
                ..UploadedFile::default()
            };
            self.library.put(file, INITIAL_UPLOADER, start);
        }
        for device in fleet.devices {
            let json = device.json;
            let text = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
            let id = text("id").to_ascii_lowercase();
            let dns_name = text("computerDnsName").to_ascii_lowercase();
            let phase = SeededRng::new(0, &["report", &id]).next_u64();
            let presence = device
                .presence
                .map(|presence| PresenceTimetable::new(presence, start, phase));
            let position = self.machines.len();
            for name in [id, dns_name].into_iter().filter(|name| !name.is_empty()) {
                self.machine_positions.entry(name).or_insert(position);
            }
            self.machines.push(TimedMachine { json, presence });
        }
        for action in fleet.actions {
            if let Some(action) = TimedAction::scripted(action, start, self.result_count) {
                self.insert(action, signer);
            }
        }
    }

    /// Adds an action that a client started.
    pub(crate) fn start(
        &mut self,
        mut action: TimedAction,
        signer: &ServiceSigner,
    ) -> Arc<TimedAction> {
        action.first_ordinal = self.result_count;
        self.insert(action, signer)
    }

    fn insert(&mut self, action: TimedAction, signer: &ServiceSigner) -> Arc<TimedAction> {
        let mut indexes = action.result_indexes();
        self.result_count += indexes.len() as u64;
        if action.command_indexes().is_empty() {
            // A package has a blob, although it has no commands.
            indexes.extend(action.bodies.keys().copied());
        }
        for index in indexes {
            let key = result_key(action.id, index);
            self.blobs.insert(signer.blob_name(key), key);
        }
        let action = Arc::new(action);
        self.action_positions.insert(action.id, self.actions.len());
        self.actions.push(action.clone());
        action
    }

    /// Finds a machine by id or name.
    pub(crate) fn machine(&self, name: &str) -> Option<&TimedMachine> {
        let position = self.machine_positions.get(&name.to_ascii_lowercase())?;
        self.machines.get(*position)
    }

    /// Finds a machine by id only; calls that start an action accept no name.
    pub(crate) fn machine_by_id(&self, id: &str) -> Option<&TimedMachine> {
        self.machine(id).filter(|machine| {
            let own = machine.text("id").unwrap_or_default();
            own.eq_ignore_ascii_case(id)
        })
    }

    pub(crate) fn is_disallowed(&self, machine: &TimedMachine) -> bool {
        let group = machine.text("rbacGroupName");
        group.is_some_and(|group| self.disallowed.contains(group))
    }

    pub(crate) fn action(&self, id: &str) -> Option<Arc<TimedAction>> {
        let id: ActionId = id.parse().ok()?;
        self.actions.get(*self.action_positions.get(&id)?).cloned()
    }

    pub(crate) fn blob(&self, name: &str) -> Option<(ResultKey, Arc<TimedAction>)> {
        let key = self.blobs.get(name)?;
        let position = self.action_positions.get(&key.action)?;
        Some((*key, self.actions.get(*position)?.clone()))
    }

    /// The results that can be linked to at `now`.
    pub(crate) fn results(&self, now: Timestamp) -> BTreeMap<ResultKey, ResultBody> {
        self.actions
            .iter()
            .flat_map(|action| {
                action
                    .bodies
                    .iter()
                    .filter(move |(index, _)| action.has_result(**index, now))
                    .map(move |(index, body)| (result_key(action.id, *index), body.clone()))
            })
            .collect()
    }
}
