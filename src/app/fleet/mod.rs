//! Live response on a fleet: planned, run and recorded in the archive.

mod cell;
mod commands;
mod coverage;
mod plan;
mod run;
mod runs;
mod status;

pub use crate::app::fleet::cell::{Cell, CellState};
pub use crate::app::fleet::coverage::{CoverageRequest, Covered, coverage, plan_missing};
pub use crate::app::fleet::plan::{
    describe_config_error, plan_fleet, read_config, read_devices, read_playbook,
};
pub use crate::app::fleet::run::{FleetEnded, Ordered, order_fleet, resume_fleet, start_fleet};
pub use crate::app::fleet::status::{
    FleetRow, RunRow, fleet_runs, fleet_status, in_seconds, unreadable_runs,
};

/// Plain values of the planner and the scheduler: a request and the playbook in
/// it, the plan with its requests and diagnostics, the rules and orders of a
/// run.
pub use collect::fleet::{
    Diagnostic as PlanDiagnostic, FleetOrder, FleetPlan, FleetRequest, FleetRules, PlannedCall,
    Playbook, SessionStep as FleetStep, TYPICAL_SESSION_TIME,
};
