//! Live response on a fleet: what a person asks for becomes a plan, the plan a
//! run, the run a record that survives any kill.
//!
//! `plan` and `schedule` are pure: no tokio, no clock, no disk. `schedule` is
//! handed events with their time and answers with decisions, so that days of a
//! fleet of thousands are played through in milliseconds.
//!
//! **Must never know**: how the record is kept, the terminal, the environment.
//!
//! **Invariants**: the intention to start a session is in the record before
//! the request leaves; a start whose answer was lost is looked for and never
//! sent again while it may still show; never more sessions than the service
//! allows, Pending ones and those of others counted.

mod device;
pub(crate) mod plan;
mod record;
mod report;
mod run_id;
mod runner;
mod schedule;
mod sessions;

pub use crate::fleet::device::{CancelReason, DeviceRecord, DeviceState, Outcome, StartAttempt};
pub use crate::fleet::plan::device_selector::DeviceSelector;
pub use crate::fleet::plan::diagnostic::Diagnostic;
pub use crate::fleet::plan::inventory::read_inventory;
pub(crate) use crate::fleet::plan::inventory::resolve_machine_id;
pub use crate::fleet::plan::lower_bound::{LowerBound, TYPICAL_SESSION_TIME, Workload};
pub use crate::fleet::plan::machine::{FleetInventory, MachineInfo};
pub use crate::fleet::plan::playbook::{PLAYBOOK_BYTES_MAX, Playbook, describe_toml_error};
pub use crate::fleet::plan::fleet_plan::{FleetPlan, PlannedCall, PlannedDevice};
pub use crate::fleet::plan::request::FleetRequest;
pub use crate::fleet::plan::step::SessionStep;
pub use crate::fleet::plan::variables::Variables;
pub use crate::fleet::record::{FleetOrder, FleetRecord, RunRecord, RunState};
pub use crate::fleet::report::FleetReport;
pub use crate::fleet::run_id::RunId;
pub use crate::fleet::runner::run_fleet;
pub use crate::fleet::schedule::{FleetCounts, FleetRules};
