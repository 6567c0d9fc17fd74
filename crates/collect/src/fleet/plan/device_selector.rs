//! Which devices are meant, by what a person typed.

use std::collections::{BTreeSet, HashMap};

use crate::fleet::{Diagnostic, MachineInfo};

/// Machines named when a name fits several, and values when none is the one.
const SHOWN_MAX: usize = 5;

/// A word that means devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceSelector {
    /// Machine id, full or short name.
    Named(String),
    Tagged(String),
    Grouped(String),
    Health(String),
}

impl DeviceSelector {
    pub fn read(text: &str) -> Self {
        let text = text.trim();
        match text.split_once(':') {
            Some((field, value)) => {
                let value = value.trim().to_string();
                match field.to_ascii_lowercase().as_str() {
                    "tag" => Self::Tagged(value),
                    "group" => Self::Grouped(value),
                    "health" => Self::Health(value),
                    _ => Self::Named(text.to_string()),
                }
            }
            None => Self::Named(text.to_string()),
        }
    }

    /// What is looked at, and the value it is to have.
    fn field(&self) -> (&'static str, &str) {
        match self {
            Self::Named(name) => ("name", name),
            Self::Tagged(tag) => ("tag", tag),
            Self::Grouped(group) => ("group", group),
            Self::Health(health) => ("health", health),
        }
    }

    /// What a machine has in that field.
    fn values<'a>(&self, machine: &'a MachineInfo) -> Vec<&'a str> {
        match self {
            Self::Named(_) => Vec::new(),
            Self::Tagged(_) => machine.tags.iter().map(String::as_str).collect(),
            Self::Grouped(_) => vec![&machine.group],
            Self::Health(_) => vec![&machine.health],
        }
    }

    fn takes(&self, machine: &MachineInfo) -> bool {
        let (_, wanted) = self.field();
        let mut values = self.values(machine).into_iter();
        values.any(|value| value.eq_ignore_ascii_case(wanted))
    }
}

/// Machines by everything they can be called.
struct Names<'a> {
    machines: &'a [MachineInfo],
    by_name: HashMap<String, Vec<usize>>,
}

impl<'a> Names<'a> {
    fn new(machines: &'a [MachineInfo]) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (place, machine) in machines.iter().enumerate() {
            let names: BTreeSet<String> = [machine.id.as_str(), machine.label(), machine.short()]
                .into_iter()
                .map(str::to_lowercase)
                .collect();
            for name in names {
                by_name.entry(name).or_default().push(place);
            }
        }
        Self { machines, by_name }
    }

    fn find(&self, name: &str) -> Result<usize, Diagnostic> {
        let places = self.by_name.get(&name.to_lowercase());
        match places.map_or(&[][..], Vec::as_slice) {
            [place] => Ok(*place),
            [] => Err(Diagnostic::new(
                format!("device {name}"),
                "the service knows no such machine",
            )
            .hint("by id, full or short name, or tag:T, group:G, health:H")),
            places => Err(Diagnostic::new(
                format!("device {name}"),
                format!(
                    "{} machines are called that: {}",
                    places.len(),
                    self.list(places)
                ),
            )
            .hint("name the one that is meant by its id")),
        }
    }

    fn list(&self, places: &[usize]) -> String {
        let shown: Vec<String> = places
            .iter()
            .take(SHOWN_MAX)
            .filter_map(|place| self.machines.get(*place))
            .map(|machine| {
                let seen = machine.last_seen.as_ref().map_or("never", |t| t.text());
                format!("{} ({}, last seen {seen})", machine.id, machine.health)
            })
            .collect();
        shown.join(", ")
    }
}

/// The places of the machines that are meant, each once, in the order they
/// were named; and every word that means none, or more than one where one was
/// meant.
pub(crate) fn resolve(typed: &[String], machines: &[MachineInfo]) -> (Vec<usize>, Vec<Diagnostic>) {
    let names = Names::new(machines);
    let (mut meant, mut wrong) = (Vec::new(), Vec::new());
    let mut taken = BTreeSet::new();
    for text in typed {
        match find(&names, &DeviceSelector::read(text)) {
            Ok(places) => meant.extend(places.into_iter().filter(|place| taken.insert(*place))),
            Err(why) => wrong.push(why),
        }
    }
    (meant, wrong)
}

fn find(names: &Names<'_>, wanted: &DeviceSelector) -> Result<Vec<usize>, Diagnostic> {
    if let DeviceSelector::Named(name) = wanted {
        return names.find(name).map(|place| vec![place]);
    }
    let (field, value) = wanted.field();
    if value.is_empty() {
        // A variable of the shell that is not set must not mean all machines
        // that have no group.
        return Err(Diagnostic::new(
            format!("devices {field}:"),
            format!("names no {field}"),
        ));
    }
    let machines = names.machines.iter().enumerate();
    let places: Vec<usize> = machines
        .filter(|(_, machine)| wanted.takes(machine))
        .map(|(place, _)| place)
        .collect();
    if places.is_empty() {
        return Err(Diagnostic::new(
            format!("devices {field}:{value}"),
            format!("no machine has that {field}"),
        )
        .hint(there_are(names.machines, wanted)));
    }
    Ok(places)
}

/// What stands there instead.
fn there_are(machines: &[MachineInfo], wanted: &DeviceSelector) -> String {
    let values: BTreeSet<&str> = machines
        .iter()
        .flat_map(|machine| wanted.values(machine))
        .filter(|value| !value.is_empty())
        .collect();
    let shown: Vec<&str> = values.iter().take(SHOWN_MAX).copied().collect();
    let more = match values.len().saturating_sub(SHOWN_MAX) {
        0 => String::new(),
        n => format!(" and {n} others"),
    };
    match shown.is_empty() {
        true => "no machine has any".into(),
        false => format!("there are {}{more}", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(id: &str, name: &str, tag: &str) -> MachineInfo {
        let json = serde_json::json!({"id": id, "computerDnsName": name, "machineTags": [tag],
            "healthStatus": "Active", "rbacGroupName": "Servers"});
        MachineInfo::from_value(&json).unwrap()
    }

    fn fleet() -> Vec<MachineInfo> {
        vec![
            machine("aa", "ws-1.contoso.example", "vip"),
            machine("bb", "ws-2.contoso.example", "vip"),
            machine("cc", "ws-2.fabrikam.example", ""),
        ]
    }

    fn resolved(typed: &[&str]) -> (Vec<usize>, Vec<String>) {
        let typed: Vec<_> = typed.iter().map(ToString::to_string).collect();
        let (meant, wrong) = resolve(&typed, &fleet());
        (meant, wrong.into_iter().map(|w| w.to_string()).collect())
    }

    #[test]
    fn devices_are_found_by_any_name_and_counted_once() {
        assert_eq!(resolved(&["WS-1", "aa", "ws-2.fabrikam.example"]).0, [0, 2]);
        assert_eq!(resolved(&["cc", "tag:VIP"]).0, [2, 0, 1]);
        assert_eq!(resolved(&["health:active"]).0, [0, 1, 2]);
        assert_eq!(resolved(&["group: servers"]).0.len(), 3);
    }

    #[test]
    fn a_name_of_two_machines_means_neither() {
        let (meant, wrong) = resolved(&["ws-2", "ws-9", "tag:none"]);
        assert!(meant.is_empty());
        assert!(
            wrong[0].contains("2 machines") && wrong[0].contains("bb"),
            "{wrong:?}"
        );
        assert!(wrong[1].contains("no such machine"), "{wrong:?}");
        assert!(wrong[2].contains("tag:none"), "{wrong:?}");
    }

    #[test]
    fn who_misspells_a_tag_reads_those_there_are() {
        let hint = |typed: &str| resolve(&[typed.into()], &fleet()).1.remove(0).hint;
        assert_eq!(hint("tag:incident").as_deref(), Some("there are vip"));
        assert_eq!(hint("health:gone").as_deref(), Some("there are Active"));
    }
}
