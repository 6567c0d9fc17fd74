//! The plan of a fleet run: each device with its steps.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fleet::plan::check_request::{
    check_comment, check_device_names, check_library, check_permissions,
};
use crate::fleet::plan::check_steps::check_steps;
use crate::fleet::plan::device_selector::select_machines;
use crate::fleet::plan::diagnostic::Diagnostic;
use crate::fleet::plan::expand::StepExpander;
use crate::fleet::plan::lower_bound::{LowerBound, TYPICAL_SESSION_TIME, Workload};
use crate::fleet::plan::machine::{FleetInventory, MachineInfo};
use crate::fleet::plan::request::FleetRequest;
use crate::fleet::plan::step::{SessionStep, start_body, start_path};
use crate::fleet::run_id::{AttemptMark, RunId};
use evidence::Time;

/// A device of a plan, with the steps of its session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDevice {
    pub machine_id: String,
    /// Full name, or the machine id if the service knows no name.
    pub name: String,
    /// Steps with all variables substituted.
    pub steps: Vec<SessionStep>,
    /// Probably unreachable when the plan was made; scheduled after the other
    /// devices.
    pub likely_away: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
}

impl PlannedDevice {
    /// Whether `name` is the id, full name or short name, ignoring case.
    pub fn has_name(&self, name: &str) -> bool {
        let short = self.name.split('.').next().unwrap_or("");
        [self.machine_id.as_str(), self.name.as_str(), short]
            .iter()
            .any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// A checked plan, ready to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetPlan {
    pub id: RunId,
    /// Comment of every session, before the run's mark is appended.
    pub comment: String,
    /// In the order of the selectors.
    pub devices: Vec<PlannedDevice>,
    /// The shortest time in which the run can finish.
    pub bound: LowerBound,
    /// Diagnostics that do not prevent the run.
    pub warnings: Vec<Diagnostic>,
}

/// A start request as it will be sent, for a dry run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedCall {
    pub device: String,
    pub method: &'static str,
    pub path: String,
    pub body: Value,
}

impl FleetPlan {
    /// Makes a plan from a request and the inventory of the tenant.
    ///
    /// **Errors**: every fault of the request, warnings last.
    ///
    /// **Cost**: well under a second for 20,000 devices.
    pub fn new(
        request: &FleetRequest,
        inventory: &FleetInventory,
    ) -> Result<Self, Vec<Diagnostic>> {
        let comment = request.effective_comment();
        let mut diagnostics = check_comment(comment);
        let devices = plan_devices(request, inventory, &mut diagnostics);
        // Without a device, check the steps as they are in the playbook.
        let unexpanded = request.playbook.steps.iter().filter(|_| devices.is_empty());
        let steps = devices.iter().flat_map(|device| &device.steps);
        diagnostics.extend(check_library(steps.chain(unexpanded), inventory));
        diagnostics.extend(check_permissions(inventory));
        Self::assemble(comment, devices, diagnostics)
    }

    /// Makes a plan of given steps on given machines, by machine id. Used to
    /// repeat missing steps.
    ///
    /// **Errors**: every fault of the request, warnings last.
    pub fn of_steps(
        comment: &str,
        steps: &[(String, Vec<SessionStep>)],
        inventory: &FleetInventory,
    ) -> Result<Self, Vec<Diagnostic>> {
        let comment = comment.trim();
        let mut diagnostics = check_comment(comment);
        let machines: HashMap<String, &MachineInfo> = inventory
            .machines
            .iter()
            .map(|machine| (machine.id.to_lowercase(), machine))
            .collect();
        let mut devices = Vec::new();
        let mut step_diagnostics = BTreeSet::new();
        for (id, steps) in steps {
            step_diagnostics.extend(check_steps(steps));
            match machines.get(&id.to_lowercase()) {
                Some(machine) => devices.push(plan_device(machine, steps.clone(), inventory)),
                None => diagnostics.push(Diagnostic::new(
                    format!("device {id}"),
                    "no machine has this id",
                )),
            }
        }
        diagnostics.extend(step_diagnostics);
        let steps = devices.iter().flat_map(|device| &device.steps);
        diagnostics.extend(check_library(steps, inventory));
        diagnostics.extend(check_permissions(inventory));
        Self::assemble(comment, devices, diagnostics)
    }

    fn assemble(
        comment: &str,
        devices: Vec<PlannedDevice>,
        mut diagnostics: Vec<Diagnostic>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let id = RunId::random().unwrap_or_else(|error| {
            diagnostics.push(Diagnostic::new("run", error.to_string()));
            RunId::from_bytes([0; 8])
        });
        let (warnings, mut faults): (Vec<_>, Vec<_>) =
            diagnostics.into_iter().partition(|d| d.is_warning);
        if !faults.is_empty() {
            faults.extend(warnings);
            return Err(faults);
        }
        Ok(Self {
            id,
            comment: comment.to_string(),
            bound: LowerBound::new(workload(&devices)),
            devices,
            warnings,
        })
    }

    /// The start request of every device's first attempt.
    pub fn calls(&self) -> impl Iterator<Item = PlannedCall> + '_ {
        self.devices.iter().zip(1..).map(|(device, index)| {
            let mark = AttemptMark {
                run: self.id,
                device: index,
                attempt: 1,
            };
            PlannedCall {
                device: device.name.clone(),
                method: "POST",
                path: format!("/api/{}", start_path(&device.machine_id)),
                body: start_body(&device.steps, &mark.append_to(&self.comment)),
            }
        })
    }
}

/// The work of one session per device, each of typical duration.
fn workload(devices: &[PlannedDevice]) -> Workload {
    let steps = devices.iter().flat_map(|device| &device.steps);
    let links = steps.filter(|step| step.has_result()).count();
    let starts = u32::try_from(devices.len()).unwrap_or(u32::MAX);
    Workload {
        starts: devices.len() as u64,
        links: links as u64,
        session_time: TYPICAL_SESSION_TIME.saturating_mul(starts),
    }
}

fn plan_devices(
    request: &FleetRequest,
    inventory: &FleetInventory,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<PlannedDevice> {
    let playbook = &request.playbook;
    let selectors = [playbook.devices.as_slice(), &request.devices].concat();
    if selectors.is_empty() {
        diagnostics.push(Diagnostic::new("devices", "none given").hint(
            "pass --devices NAME or a file of names, or select with tag:T, group:G, health:H",
        ));
    }
    let (selected, faults) = select_machines(&selectors, &inventory.machines);
    diagnostics.extend(faults);
    let machines = || selected.iter().filter_map(|n| inventory.machines.get(*n));
    diagnostics.extend(check_device_names(playbook, machines()));
    let mut expander = StepExpander::default();
    let devices: Vec<_> = machines()
        .map(|machine| plan_device(machine, expander.expand(machine, request), inventory))
        .collect();
    if devices.is_empty() {
        diagnostics.extend(check_steps(&playbook.steps));
    }
    diagnostics.extend(expander.into_diagnostics());
    devices
}

fn plan_device(
    machine: &MachineInfo,
    steps: Vec<SessionStep>,
    inventory: &FleetInventory,
) -> PlannedDevice {
    PlannedDevice {
        machine_id: machine.id.clone(),
        name: machine.label().to_string(),
        steps,
        likely_away: machine.is_likely_away(inventory.now),
        last_seen: machine.last_seen.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::plan::playbook::Playbook;

    fn inventory(devices: usize) -> FleetInventory {
        let machines = (0..devices).map(|n| {
            MachineInfo::from_value(&serde_json::json!({"id": format!("{n:040x}"),
                "computerDnsName": format!("ws-{n}.contoso.example"), "healthStatus": "Active",
                "lastSeen": "2026-02-04T11:00:00Z", "machineTags": ["all"]}))
        });
        FleetInventory {
            machines: machines.flatten().collect(),
            library: Some(vec!["Collect.ps1".into(), "kape.zip".into()]),
            missing_permissions: Vec::new(),
            now: "2026-02-04T12:00:00Z".parse().ok(),
        }
    }

    fn request(playbook: &str) -> FleetRequest {
        FleetRequest {
            playbook: Playbook::read(playbook).unwrap(),
            ..FleetRequest::default()
        }
    }

    const PLAYBOOK: &str = r#"
        comment = "CASE-42"
        devices = ["tag:all"]
        [variables]
        out = 'C:\Temp'
        [[step]]
        run = "collect.ps1"
        args = "-Out {{out}} -Host {{short}}"
        [[step]]
        get = '{{out}}\{{short}}.zip'
        [device.ws-1]
        out = 'D:\Temp'
    "#;

    #[test]
    fn variables_are_substituted_per_device() {
        let plan = FleetPlan::new(&request(PLAYBOOK), &inventory(2)).unwrap();
        assert_eq!(
            plan.devices[1].steps[1],
            SessionStep::Get {
                path: "D:\\Temp\\ws-1.zip".into()
            }
        );
        let calls: Vec<_> = plan.calls().collect();
        assert_eq!(
            calls[0].path,
            format!("/api/machines/{:040x}/runliveresponse", 0)
        );
        let sent = calls[0].body["Comment"].as_str().unwrap();
        assert_eq!(AttemptMark::find(sent).unwrap().device, 1);
        assert!(sent.starts_with("CASE-42 "));
        assert_eq!(plan.bound.longest(), 2 * TYPICAL_SESSION_TIME / 25);
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        let playbook = r#"
            devices = ["ws-0", "ws-7", "tag:none"]
            [[step]]
            get = 'relative'
            [[step]]
            run = "missing.ps1"
            args = "-A {{nobody}} ; x"
            [device.ws-9]
            out = "x"
        "#;
        let found = FleetPlan::new(&request(playbook), &inventory(3)).unwrap_err();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        for part in [
            "comment: the service requires one",
            "device ws-7: no machine has this name",
            "devices tag:none: no device has this tag",
            "[device.ws-9]: sets variables",
            "step 1 (GetFile) Path: `relative`",
            "step 2 (RunScript): out of order",
            "step 2 Args: no value for the variable `nobody` (on ws-0.contoso.example)",
            "step 2 (RunScript) Args: the service rejects arguments that contain `;`",
            "library: no file `missing.ps1`",
        ] {
            assert!(
                found.iter().any(|w| w.starts_with(part)),
                "{part}: {found:#?}"
            );
        }
        assert_eq!(found.len(), 9, "{found:#?}");
    }

    #[test]
    fn encoded_arguments_may_contain_forbidden_characters() {
        let mut request = request(
            "comment = 'c'\ndevices = ['ws-0']\n[[step]]\nrun = 'collect.ps1'\nargs = 'a;b'",
        );
        assert!(FleetPlan::new(&request, &inventory(1)).is_err());
        request.encode_args = true;
        let plan = FleetPlan::new(&request, &inventory(1)).unwrap();
        assert_eq!(
            plan.devices[0].steps[0],
            SessionStep::Run {
                script: "collect.ps1".into(),
                args: Some("YQA7AGIA".into())
            }
        );
    }

    #[test]
    fn missing_permission_is_a_warning() {
        let inventory = FleetInventory {
            missing_permissions: vec!["Machine.LiveResponse".into()],
            library: None,
            ..inventory(1)
        };
        let request = request("comment = 'c'\ndevices = ['ws-0']\n[[step]]\nrun = 'a.ps1'");
        let plan = FleetPlan::new(&request, &inventory).unwrap();
        assert_eq!(plan.warnings.len(), 2, "{:?}", plan.warnings);
    }

    #[test]
    fn plan_of_20_000_devices_takes_less_than_a_second() {
        let inventory = inventory(20_000);
        let started = std::time::Instant::now();
        let plan = FleetPlan::new(&request(PLAYBOOK), &inventory).unwrap();
        assert_eq!(plan.calls().count(), 20_000);
        let took = started.elapsed();
        // Debug builds are slower, and tests run in parallel.
        let limit = if cfg!(debug_assertions) { 5 } else { 1 };
        assert!(took < std::time::Duration::from_secs(limit), "{took:?}");
    }
}
