//! A request made into a plan: which device runs what. Pure, so that all that
//! is wrong is known before the first call that changes anything.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::fleet::plan::check_request::{
    check_comment, check_library, check_permissions, check_variables_names, comment,
};
use crate::fleet::plan::check_steps::check_steps;
use crate::fleet::plan::device_selector;
use crate::fleet::plan::expand::Filled;
use crate::fleet::plan::lower_bound::{LowerBound, TYPICAL_SESSION_TIME, Workload};
use crate::fleet::plan::step::{body, start_path};
use crate::fleet::run_id::AttemptMark;
use crate::fleet::{Diagnostic, MachineInfo, Playbook, RunId, SessionStep};
use evidence::Time;

/// What a person asks for.
#[derive(Clone, Debug, Default)]
pub struct FleetRequest {
    pub playbook: Playbook,
    /// Devices besides those the playbook names.
    pub devices: Vec<String>,
    /// In place of the playbook's.
    pub comment: Option<String>,
    /// Send arguments as one base64 word.
    pub encode_args: bool,
}

/// What the service said before the plan was made.
#[derive(Clone, Debug, Default)]
pub struct FleetInventory {
    pub machines: Vec<MachineInfo>,
    /// Names in the library; `None` where it could not be looked at.
    pub library: Option<Vec<String>>,
    /// What the token does not seem to hold.
    pub missing_permissions: Vec<String>,
    /// The service's clock.
    pub now: Option<Timestamp>,
}

/// A device of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDevice {
    pub machine_id: String,
    pub name: String,
    pub steps: Vec<SessionStep>,
    pub likely_away: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen: Option<Time>,
}

impl PlannedDevice {
    /// By id, full or short name, in any case.
    pub fn is_called(&self, name: &str) -> bool {
        let short = self.name.split('.').next().unwrap_or("");
        [self.machine_id.as_str(), self.name.as_str(), short]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// A run, ready to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FleetPlan {
    pub id: RunId,
    pub comment: String,
    pub devices: Vec<PlannedDevice>,
    pub bound: LowerBound,
    /// Said, and no reason not to start.
    pub warnings: Vec<Diagnostic>,
}

/// A request as it will be sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedCall {
    pub device: String,
    pub method: &'static str,
    pub path: String,
    pub body: Value,
}

impl FleetPlan {
    /// **Errors**: all that is wrong, at once.
    ///
    /// **Cost**: well under a second for 20,000 devices.
    pub fn new(request: &FleetRequest, survey: &FleetInventory) -> Result<Self, Vec<Diagnostic>> {
        let mut wrong = check_comment(request);
        let devices = plan_devices(request, survey, &mut wrong);
        wrong.extend(check_library(&devices, request, survey));
        wrong.extend(check_permissions(survey));
        Self::checked(comment(request), devices, wrong)
    }

    /// A plan of these steps on these machines, by their ids.
    ///
    /// **Errors**: all that is wrong, at once.
    pub fn of_steps(
        comment: &str,
        steps: &[(String, Vec<SessionStep>)],
        survey: &FleetInventory,
    ) -> Result<Self, Vec<Diagnostic>> {
        let request = FleetRequest {
            comment: Some(comment.to_string()),
            ..FleetRequest::default()
        };
        let mut wrong = check_comment(&request);
        let known: HashMap<String, &MachineInfo> = survey
            .machines
            .iter()
            .map(|machine| (machine.id.to_lowercase(), machine))
            .collect();
        let mut devices = Vec::new();
        let mut of_steps = BTreeSet::new();
        for (id, steps) in steps {
            of_steps.extend(check_steps(steps));
            match known.get(&id.to_lowercase()) {
                Some(machine) => devices.push(planned(machine, steps.clone(), survey)),
                None => wrong.push(Diagnostic::new(
                    format!("device {id}"),
                    "the service knows no such machine",
                )),
            }
        }
        wrong.extend(of_steps);
        wrong.extend(check_library(&devices, &request, survey));
        wrong.extend(check_permissions(survey));
        Self::checked(comment, devices, wrong)
    }

    fn checked(
        comment: &str,
        devices: Vec<PlannedDevice>,
        mut wrong: Vec<Diagnostic>,
    ) -> Result<Self, Vec<Diagnostic>> {
        let id = RunId::random().unwrap_or_else(|error| {
            wrong.push(Diagnostic::new("run", error.to_string()));
            RunId::from_bytes([0; 8])
        });
        let (warnings, wrong): (Vec<_>, Vec<_>) = wrong.into_iter().partition(|w| w.is_warning);
        if !wrong.is_empty() {
            return Err(wrong.into_iter().chain(warnings).collect());
        }
        Ok(Self {
            id,
            comment: comment.trim().to_string(),
            bound: LowerBound::new(needs(&devices)),
            devices,
            warnings,
        })
    }

    /// Every request of the first attempts, in the order of the devices.
    pub fn calls(&self) -> impl Iterator<Item = PlannedCall> + '_ {
        self.devices.iter().zip(1..).map(|(device, place)| {
            let mark = AttemptMark {
                run: self.id,
                place,
                attempt: 1,
            };
            PlannedCall {
                device: device.name.clone(),
                method: "POST",
                path: format!("/api/{}", start_path(&device.machine_id)),
                body: body(&device.steps, &mark.comment(&self.comment)),
            }
        })
    }
}

/// What a run of these devices needs at least.
pub(crate) fn needs(devices: &[PlannedDevice]) -> Workload {
    let links = devices
        .iter()
        .flat_map(|device| &device.steps)
        .filter(|step| step.has_result())
        .count();
    let starts = devices.len() as u64;
    Workload {
        starts,
        links: links as u64,
        session_time: TYPICAL_SESSION_TIME
            .saturating_mul(u32::try_from(starts).unwrap_or(u32::MAX)),
    }
}

fn plan_devices(
    request: &FleetRequest,
    survey: &FleetInventory,
    wrong: &mut Vec<Diagnostic>,
) -> Vec<PlannedDevice> {
    let playbook = &request.playbook;
    let typed: Vec<String> = playbook
        .devices
        .iter()
        .chain(&request.devices)
        .cloned()
        .collect();
    if typed.is_empty() {
        wrong.push(
            Diagnostic::new("devices", "none was named")
                .hint("add --devices NAME, a file of names, or tag:T, group:G, health:H"),
        );
    }
    let (places, unknown) = device_selector::resolve(&typed, &survey.machines);
    wrong.extend(unknown);
    wrong.extend(check_variables_names(playbook, survey, &places));
    let mut filled = Filled::default();
    let devices: Vec<_> = places
        .iter()
        .filter_map(|place| survey.machines.get(*place))
        .map(|machine| planned(machine, filled.steps_of(machine, request), survey))
        .collect();
    if devices.is_empty() {
        wrong.extend(check_steps(&playbook.steps));
    }
    wrong.extend(filled.wrong());
    devices
}

fn planned(
    machine: &MachineInfo,
    steps: Vec<SessionStep>,
    survey: &FleetInventory,
) -> PlannedDevice {
    PlannedDevice {
        machine_id: machine.id.clone(),
        name: machine.label().to_string(),
        steps,
        likely_away: machine.is_likely_away(survey.now),
        last_seen: machine.last_seen.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(devices: usize) -> FleetInventory {
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

    fn request(page: &str) -> FleetRequest {
        FleetRequest {
            playbook: Playbook::read(page).unwrap(),
            ..FleetRequest::default()
        }
    }

    const PAGE: &str = r#"
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
    fn each_device_gets_its_own_values() {
        let plan = FleetPlan::new(&request(PAGE), &survey(2)).unwrap();
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
        assert_eq!(AttemptMark::find(sent).unwrap().place, 1);
        assert!(sent.starts_with("CASE-42 "));
        assert_eq!(
            plan.bound.longest(),
            2 * crate::fleet::plan::lower_bound::TYPICAL_SESSION_TIME / 25
        );
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let page = r#"
            devices = ["ws-0", "ws-7", "tag:none"]
            [[step]]
            get = 'relative'
            [[step]]
            run = "missing.ps1"
            args = "-A {{nobody}} ; x"
            [device.ws-9]
            out = "x"
        "#;
        let found = FleetPlan::new(&request(page), &survey(3)).unwrap_err();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        for part in [
            "comment: the service wants one",
            "device ws-7: the service knows no such machine",
            "devices tag:none: no machine",
            "[device.ws-9]: has variables",
            "step 1 (GetFile) Path: `relative`",
            "step 2 (RunScript): the service runs PutFile",
            "step 2 Args: no value for the variable `nobody` (on ws-0.contoso.example)",
            "step 2 (RunScript) Args: the service refuses arguments that hold `;`",
            "library: holds no file missing.ps1",
        ] {
            assert!(
                found.iter().any(|w| w.starts_with(part)),
                "{part}: {found:#?}"
            );
        }
        assert_eq!(found.len(), 9, "{found:#?}");
    }

    #[test]
    fn forbidden_arguments_pass_when_encoded() {
        let mut request = request(
            "comment = 'c'\ndevices = ['ws-0']\n[[step]]\nrun = 'collect.ps1'\nargs = 'a;b'",
        );
        assert!(FleetPlan::new(&request, &survey(1)).is_err());
        request.encode_args = true;
        let plan = FleetPlan::new(&request, &survey(1)).unwrap();
        assert_eq!(
            plan.devices[0].steps[0],
            SessionStep::Run {
                script: "collect.ps1".into(),
                args: Some("YQA7AGIA".into())
            }
        );
    }

    #[test]
    fn a_missing_permission_warns_and_stops_nothing() {
        let survey = FleetInventory {
            missing_permissions: vec!["Machine.LiveResponse".into()],
            library: None,
            ..survey(1)
        };
        let request = request("comment = 'c'\ndevices = ['ws-0']\n[[step]]\nrun = 'a.ps1'");
        let plan = FleetPlan::new(&request, &survey).unwrap();
        assert_eq!(plan.warnings.len(), 2, "{:?}", plan.warnings);
    }

    #[test]
    fn twenty_thousand_devices_are_planned_within_a_second() {
        let survey = survey(20_000);
        let begun = std::time::Instant::now();
        let plan = FleetPlan::new(&request(PAGE), &survey).unwrap();
        assert_eq!(plan.calls().count(), 20_000);
        let taken = begun.elapsed();
        // A build for tests, on machines that do other things too.
        let most = if cfg!(debug_assertions) { 5 } else { 1 };
        assert!(taken < std::time::Duration::from_secs(most), "{taken:?}");
    }
}
