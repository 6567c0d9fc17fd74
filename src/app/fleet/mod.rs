//! Live response on a fleet: planned, run, recorded in the archive.

mod cell;
mod coverage;
mod orders;
mod planning;
mod running;
mod runs;
mod standing;

pub use cell::{Cell, CellState};
pub use coverage::{CoverageRequest, Covered, coverage, plan_missing};
pub use planning::{plan_fleet, read_config, read_devices, read_playbook};
pub use running::{FleetEnded, Ordered, order_fleet, resume_fleet, start_fleet};
pub use standing::{FleetRow, RunRow, fleet_runs, fleet_status, in_seconds, unreadable_runs};
