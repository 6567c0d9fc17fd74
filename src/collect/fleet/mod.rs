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

mod bound;
mod check_plan;
mod check_steps;
mod device;
mod filled;
mod machine;
mod plan;
mod playbook;
mod record;
mod report;
mod run_id;
mod runner;
mod schedule;
mod sessions;
mod step;
mod survey;
mod variables;
mod wanted;
mod wrong;

pub use bound::{Bound, Needs, SESSION_USUAL};
pub use device::{Attempt, Cancelling, DeviceRecord, DeviceState, Outcome};
pub use machine::Machine;
pub use plan::{FleetPlan, FleetRequest, PlannedCall, PlannedDevice, Survey};
pub use playbook::{PLAYBOOK_BYTES_MAX, Playbook, toml_fault};
pub use record::{FleetOrder, FleetRecord, RunRecord, RunState};
pub use report::FleetReport;
pub use run_id::RunId;
pub use runner::run_fleet;
pub(in crate::collect) use runner::{Fleet, start_all, tend};
pub use schedule::{Counts, FleetRules};
pub use step::Step;
pub use survey::survey;
pub(in crate::collect) use survey::{entities, resolve_one};
pub use variables::Variables;
pub use wanted::Wanted;
pub use wrong::Wrong;
