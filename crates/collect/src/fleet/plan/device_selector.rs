//! Device selectors of a request: names and ids, `tag:`, `group:`, `health:`.

use std::collections::{BTreeSet, HashMap};

use crate::fleet::plan::diagnostic::Diagnostic;
use crate::fleet::plan::machine::MachineInfo;

/// Machines listed for an ambiguous name, and values listed for an unknown
/// tag, group or health.
const LISTED_MAX: usize = 5;

/// A selector of devices, parsed from one word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceSelector {
    /// Machine id, full name or short name. Selects exactly one device.
    Name(String),
    /// `tag:T`
    Tag(String),
    /// `group:G`, the device group.
    Group(String),
    /// `health:H`, the health status.
    Health(String),
}

impl DeviceSelector {
    /// Parses a selector. Every text is one: an unknown prefix is part of a
    /// name.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let Some((field, value)) = text.split_once(':') else {
            return Self::Name(text.to_string());
        };
        let value = value.trim().to_string();
        match field.to_ascii_lowercase().as_str() {
            "tag" => Self::Tag(value),
            "group" => Self::Group(value),
            "health" => Self::Health(value),
            _ => Self::Name(text.to_string()),
        }
    }

    /// The field it compares, and the expected value.
    fn field(&self) -> (&'static str, &str) {
        match self {
            Self::Name(name) => ("name", name),
            Self::Tag(tag) => ("tag", tag),
            Self::Group(group) => ("group", group),
            Self::Health(health) => ("health", health),
        }
    }

    /// The values of that field on a machine.
    fn values<'a>(&self, machine: &'a MachineInfo) -> Vec<&'a str> {
        match self {
            Self::Name(_) => Vec::new(),
            Self::Tag(_) => machine.tags.iter().map(String::as_str).collect(),
            Self::Group(_) => vec![&machine.group],
            Self::Health(_) => vec![&machine.health],
        }
    }

    fn matches(&self, machine: &MachineInfo) -> bool {
        let (_, expected) = self.field();
        let mut values = self.values(machine).into_iter();
        values.any(|value| value.eq_ignore_ascii_case(expected))
    }
}

/// Machines by id, full name and short name, in lower case.
struct MachineNames<'a> {
    machines: &'a [MachineInfo],
    by_name: HashMap<String, Vec<usize>>,
}

impl<'a> MachineNames<'a> {
    fn new(machines: &'a [MachineInfo]) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (n, machine) in machines.iter().enumerate() {
            let names: BTreeSet<String> = [machine.id.as_str(), machine.label(), machine.short()]
                .into_iter()
                .map(str::to_lowercase)
                .collect();
            for name in names {
                by_name.entry(name).or_default().push(n);
            }
        }
        Self { machines, by_name }
    }

    fn find_one(&self, name: &str) -> Result<usize, Diagnostic> {
        let found = self.by_name.get(&name.to_lowercase());
        let fault = |message: String| Diagnostic::new(format!("device {name}"), message);
        match found.map_or(&[][..], Vec::as_slice) {
            [one] => Ok(*one),
            [] => Err(fault("no machine has this name or id".into())
                .hint("use an id, full name or short name, or tag:T, group:G, health:H")),
            several => {
                let message = format!(
                    "{} machines have this name: {}",
                    several.len(),
                    self.describe(several)
                );
                Err(fault(message).hint("use the machine id"))
            }
        }
    }

    fn describe(&self, machines: &[usize]) -> String {
        let listed: Vec<String> = machines
            .iter()
            .take(LISTED_MAX)
            .filter_map(|n| self.machines.get(*n))
            .map(|machine| {
                let seen = machine.last_seen.as_ref().map_or("never", |t| t.text());
                format!("{} ({}, last seen {seen})", machine.id, machine.health)
            })
            .collect();
        listed.join(", ")
    }
}

/// Indexes into `machines` of the selected ones, each once, in the order of
/// the selectors; and a diagnostic for every selector that selects nothing, or
/// several machines by one name.
pub(crate) fn select_machines(
    selectors: &[String],
    machines: &[MachineInfo],
) -> (Vec<usize>, Vec<Diagnostic>) {
    let names = MachineNames::new(machines);
    let (mut selected, mut diagnostics) = (Vec::new(), Vec::new());
    let mut is_selected = BTreeSet::new();
    for text in selectors {
        match select(&names, &DeviceSelector::parse(text)) {
            Ok(found) => selected.extend(found.into_iter().filter(|n| is_selected.insert(*n))),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    }
    (selected, diagnostics)
}

fn select(names: &MachineNames<'_>, selector: &DeviceSelector) -> Result<Vec<usize>, Diagnostic> {
    if let DeviceSelector::Name(name) = selector {
        return names.find_one(name).map(|one| vec![one]);
    }
    let (field, value) = selector.field();
    if value.is_empty() {
        // With an unset shell variable, `group:$G` would select every machine
        // without a group.
        return Err(
            Diagnostic::new(format!("devices {field}:"), format!("the {field} is empty"))
                .hint(format!("write {field}:NAME")),
        );
    }
    let found: Vec<usize> = (names.machines.iter().enumerate())
        .filter(|(_, machine)| selector.matches(machine))
        .map(|(n, _)| n)
        .collect();
    if found.is_empty() {
        return Err(Diagnostic::new(
            format!("devices {field}:{value}"),
            format!("no device has this {field}"),
        )
        .hint(existing_values(names.machines, selector)));
    }
    Ok(found)
}

/// The values that the field of `selector` has on some machine.
fn existing_values(machines: &[MachineInfo], selector: &DeviceSelector) -> String {
    let (field, _) = selector.field();
    let values: BTreeSet<&str> = machines
        .iter()
        .flat_map(|machine| selector.values(machine))
        .filter(|value| !value.is_empty())
        .collect();
    if values.is_empty() {
        return format!("no device has a {field}");
    }
    let listed: Vec<&str> = values.iter().take(LISTED_MAX).copied().collect();
    let more = match values.len().saturating_sub(LISTED_MAX) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    format!("existing values of {field}: {}{more}", listed.join(", "))
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

    fn selected(selectors: &[&str]) -> (Vec<usize>, Vec<String>) {
        let selectors: Vec<_> = selectors.iter().map(ToString::to_string).collect();
        let (selected, diagnostics) = select_machines(&selectors, &fleet());
        let diagnostics = diagnostics.iter().map(ToString::to_string);
        (selected, diagnostics.collect())
    }

    #[test]
    fn device_is_selected_once_by_any_of_its_names() {
        assert_eq!(selected(&["WS-1", "aa", "ws-2.fabrikam.example"]).0, [0, 2]);
        assert_eq!(selected(&["cc", "tag:VIP"]).0, [2, 0, 1]);
        assert_eq!(selected(&["health:active"]).0, [0, 1, 2]);
        assert_eq!(selected(&["group: servers"]).0.len(), 3);
    }

    #[test]
    fn ambiguous_and_unknown_names_select_nothing() {
        let (found, faults) = selected(&["ws-2", "ws-9", "tag:none", "group:"]);
        assert!(found.is_empty());
        assert!(
            faults[0].contains("2 machines") && faults[0].contains("bb"),
            "{faults:?}"
        );
        assert_eq!(faults[1], "device ws-9: no machine has this name or id");
        assert_eq!(faults[2], "devices tag:none: no device has this tag");
        assert_eq!(faults[3], "devices group:: the group is empty");
    }

    #[test]
    fn unknown_tag_error_lists_existing_tags() {
        let hint = |selector: &str| {
            let (_, mut faults) = select_machines(&[selector.into()], &fleet());
            faults.remove(0).hint.unwrap()
        };
        assert_eq!(hint("tag:incident"), "existing values of tag: vip");
        assert_eq!(hint("health:gone"), "existing values of health: Active");
    }
}
