//! Everything that can be asked for, on the clock and by its id.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::auth::signed_links::ServiceSigner;
use crate::http::library::EmulatedLibrary;
use crate::state::sessions::SessionTable;
use crate::synthetic::body::ResultBody;
use crate::synthetic::fleet::{EmulatedFleet, key};
use crate::synthetic::seeded_rng::SeededRng;
use crate::timeline::clock::api_time;
use crate::timeline::presence::PresenceTimetable;
use crate::timeline::timeline_view::TimedAction;
use evidence::{ActionId, ResultKey};

#[derive(Default)]
pub(crate) struct FleetState {
    pub machines: Vec<TimedMachine>,
    pub actions: Vec<Arc<TimedAction>>,
    pub library: EmulatedLibrary,
    pub sessions: SessionTable,
    /// Groups of machines on which nothing may be done.
    disallowed: HashSet<String>,
    by_machine: HashMap<String, usize>,
    by_id: HashMap<ActionId, usize>,
    blobs: HashMap<String, ResultKey>,
    results: u64,
}

/// A machine on the clock.
pub(crate) struct TimedMachine {
    json: Map<String, Value>,
    /// Nothing where its JSON never changes.
    pub table: Option<PresenceTimetable>,
}

impl TimedMachine {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.json.get(name).and_then(Value::as_str)
    }

    /// Its JSON as of `now`.
    pub(crate) fn json(&self, now: Timestamp) -> Cow<'_, Map<String, Value>> {
        let Some(table) = &self.table else {
            return Cow::Borrowed(&self.json);
        };
        let mut json = self.json.clone();
        json.insert("healthStatus".into(), table.health(now).into());
        json.insert("lastSeen".into(), api_time(table.last_seen(now)).into());
        Cow::Owned(json)
    }
}

impl FleetState {
    pub(crate) fn add(
        &mut self,
        mut fleet: EmulatedFleet,
        start: Timestamp,
        signer: &ServiceSigner,
    ) {
        fleet.complete_devices();
        self.disallowed.extend(fleet.disallowed);
        for (name, content) in fleet.library {
            self.library.stock(name, &content, start);
        }
        for device in fleet.devices {
            let json = device.json;
            let name = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default();
            let id = name("id").to_ascii_lowercase();
            let dns_name = name("computerDnsName").to_ascii_lowercase();
            let phase = SeededRng::of(0, &["report", &id]).number();
            let table = device.presence.map(|p| p.placed(start, phase));
            let place = self.machines.len();
            for name in [id, dns_name].into_iter().filter(|name| !name.is_empty()) {
                self.by_machine.entry(name).or_insert(place);
            }
            self.machines.push(TimedMachine { json, table });
        }
        for action in fleet.actions {
            if let Some(placed) = TimedAction::place(action, start, self.results) {
                self.keep(placed, signer);
            }
        }
    }

    /// Takes in an action that a client started.
    pub(crate) fn start(
        &mut self,
        mut placed: TimedAction,
        signer: &ServiceSigner,
    ) -> Arc<TimedAction> {
        placed.first_ordinal = self.results;
        self.keep(placed, signer)
    }

    fn keep(&mut self, placed: TimedAction, signer: &ServiceSigner) -> Arc<TimedAction> {
        let bodies = placed.bodies.keys().copied();
        let mut indexes = placed.results();
        self.results += indexes.len() as u64;
        // A package is no command's result, yet has a blob.
        indexes.extend(bodies.filter(|_| placed.indexes().is_empty()));
        for index in indexes {
            let key = key(placed.id, index);
            self.blobs.insert(signer.blob_name(key), key);
        }
        let placed = Arc::new(placed);
        self.by_id.insert(placed.id, self.actions.len());
        self.actions.push(placed.clone());
        placed
    }

    /// By id or name.
    pub(crate) fn machine(&self, name: &str) -> Option<&TimedMachine> {
        let place = self.by_machine.get(&name.to_ascii_lowercase())?;
        self.machines.get(*place)
    }

    /// By id alone, as whatever is started on a machine names it.
    pub(crate) fn machine_of_id(&self, id: &str) -> Option<&TimedMachine> {
        let own = |machine: &&TimedMachine| {
            let own = machine.text("id").unwrap_or_default();
            own.eq_ignore_ascii_case(id)
        };
        self.machine(id).filter(own)
    }

    pub(crate) fn is_disallowed(&self, machine: &TimedMachine) -> bool {
        let group = machine.text("rbacGroupName");
        group.is_some_and(|group| self.disallowed.contains(group))
    }

    pub(crate) fn action(&self, id: &str) -> Option<Arc<TimedAction>> {
        let id: ActionId = id.parse().ok()?;
        self.actions.get(*self.by_id.get(&id)?).cloned()
    }

    pub(crate) fn blob(&self, name: &str) -> Option<(ResultKey, Arc<TimedAction>)> {
        let key = self.blobs.get(name)?;
        let place = self.by_id.get(&key.action)?;
        Some((*key, self.actions.get(*place)?.clone()))
    }

    /// The results that can be had at `now`.
    pub(crate) fn results(&self, now: Timestamp) -> BTreeMap<ResultKey, ResultBody> {
        let of_action = |action: &Arc<TimedAction>| {
            let bodies = action.bodies.clone().into_iter();
            let action = action.clone();
            bodies
                .filter(move |(index, _)| action.has_result(*index, now))
                .collect::<Vec<_>>()
        };
        let actions = self.actions.iter();
        actions
            .flat_map(|action| {
                let id = action.id;
                of_action(action)
                    .into_iter()
                    .map(move |(index, body)| (key(id, index), body))
            })
            .collect()
    }
}
