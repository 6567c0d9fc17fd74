//! Fleet runs: live response sessions with the same steps on many devices.
//!
//! A run has four stages:
//!
//! 1. **Plan** (`plan`): a [`FleetRequest`] and the [`FleetInventory`] of the
//!    tenant become a [`FleetPlan`], or a list of [`Diagnostic`]s. Nothing is
//!    started.
//! 2. **Schedule** (`schedule`): a state machine chooses which session to start,
//!    cancel or search next.
//! 3. **Runner** (`runner`): executes these decisions while the results are
//!    collected, and reports what the service answered; see [`run_fleet`].
//! 4. **Record** (`record`, `device`): the [`RunState`] that the archive stores.
//!    A run whose process was stopped or killed resumes from it.
//!
//! `plan` (except reading the inventory) and `schedule` are pure: no clock, no
//! network, no disk. The schedule receives events with their time, so a test
//! simulates days of a run with thousands of devices in milliseconds.
//!
//! **Invariants**:
//! - The intent to start a session is durable in the record before the request
//!   is sent.
//! - A start whose response was lost is in doubt. The run searches for its
//!   session and never repeats the start unless a person orders it.
//! - The number of open sessions, Pending and foreign ones included, never
//!   exceeds the limit of the service.
//!
//! **Must not depend on**: the storage of the record ([`FleetRecord`] is its
//! interface), the terminal, the environment.
//!
//! # Example
//!
//! A dry run prints the requests of a plan:
//!
//! ```
//! use afteraction_collect::fleet::{
//!     FleetInventory, FleetPlan, FleetRequest, MachineInfo, Playbook,
//! };
//!
//! let playbook = r#"
//!     comment = "CASE-42"
//!     devices = ["tag:incident"]
//!     [[step]]
//!     get = 'C:\Temp\{{short}}.zip'
//! "#;
//! let request = FleetRequest {
//!     playbook: Playbook::read(playbook)?,
//!     ..FleetRequest::default()
//! };
//! let inventory = FleetInventory {
//!     machines: vec![MachineInfo {
//!         id: "1f02".into(),
//!         name: Some("ws-1.contoso.example".into()),
//!         last_seen: None,
//!         health: "Active".into(),
//!         platform: "Windows11".into(),
//!         group: String::new(),
//!         tags: vec!["incident".into()],
//!     }],
//!     library: Some(Vec::new()),
//!     ..FleetInventory::default()
//! };
//! let plan = FleetPlan::new(&request, &inventory).expect("no faults");
//! let call = plan.calls().next().unwrap();
//! assert_eq!(call.path, "/api/machines/1f02/runliveresponse");
//! assert_eq!(plan.devices[0].steps[0].to_string(), r"get C:\Temp\ws-1.zip");
//! # Ok::<(), afteraction_collect::CollectError>(())
//! ```

mod device;
mod plan;
mod record;
mod report;
mod rules;
mod run_id;
mod runner;
mod schedule;

pub use crate::fleet::device::{
    CancelReason, DeviceRecord, DeviceState, FleetCounts, Outcome, StartAttempt,
};
pub use crate::fleet::plan::device_selector::DeviceSelector;
pub use crate::fleet::plan::diagnostic::Diagnostic;
pub use crate::fleet::plan::fleet_plan::{FleetPlan, PlannedCall, PlannedDevice};
pub use crate::fleet::plan::inventory::read_inventory;
pub(crate) use crate::fleet::plan::inventory::resolve_machine_id;
pub use crate::fleet::plan::lower_bound::{LowerBound, TYPICAL_SESSION_TIME, Workload};
pub use crate::fleet::plan::machine::{FleetInventory, MachineInfo};
pub use crate::fleet::plan::playbook::{PLAYBOOK_BYTES_MAX, Playbook, describe_toml_error};
pub use crate::fleet::plan::request::FleetRequest;
pub use crate::fleet::plan::step::SessionStep;
pub use crate::fleet::plan::variables::Variables;
pub use crate::fleet::record::{FleetOrder, FleetRecord, RunRecord, RunState};
pub use crate::fleet::report::FleetReport;
pub use crate::fleet::rules::FleetRules;
pub use crate::fleet::run_id::RunId;
pub use crate::fleet::runner::run_fleet;
