//! From a request to a plan: which device runs which steps.
//!
//! | step | file |
//! |---|---|
//! | parse the TOML of a playbook | `playbook` |
//! | read machines, library and permissions of the tenant | `inventory` |
//! | select machines by name, tag, group or health | `device_selector` |
//! | substitute variables per device | `expand`, `variables` |
//! | check steps and request, report every fault | `check_steps`, `check_request`, `diagnostic` |
//! | assemble the plan and its lower bound | `fleet_plan`, `lower_bound` |
//!
//! **Invariant**: a plan has no faults that can be found without starting a
//! session. All faults of a request are reported at once.
//!
//! Only `inventory` calls the service. All other files are pure.

pub(crate) mod check_request;
pub(crate) mod check_steps;
pub(crate) mod device_selector;
pub(crate) mod diagnostic;
pub(crate) mod expand;
pub(crate) mod fleet_plan;
pub(crate) mod inventory;
pub(crate) mod lower_bound;
pub(crate) mod machine;
pub(crate) mod playbook;
pub(crate) mod request;
pub(crate) mod step;
pub(crate) mod variables;
