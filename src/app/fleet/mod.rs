//! Live response on a fleet: planned, run, recorded in the archive.

mod cell;
mod commands;
mod coverage;
mod plan;
mod run;
mod runs;
mod status;

pub use crate::app::fleet::cell::{Cell, CellState};
pub use crate::app::fleet::coverage::{CoverageRequest, Covered, coverage, plan_missing};
pub use crate::app::fleet::plan::{plan_fleet, read_config, read_devices, read_playbook};
pub use crate::app::fleet::run::{FleetEnded, Ordered, order_fleet, resume_fleet, start_fleet};
pub use crate::app::fleet::status::{
    FleetRow, RunRow, fleet_runs, fleet_status, in_seconds, unreadable_runs,
};
