//! Live response on a fleet: planned, run, recorded in the archive.

mod planning;

pub use planning::{plan_fleet, read_devices, read_playbook};
