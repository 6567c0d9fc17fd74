//! TODO-DOC collect/fleet/plan

pub(crate) mod check_request;
pub(crate) mod check_steps;
pub(crate) mod device_selector;
pub(crate) mod diagnostic;
pub(crate) mod expand;
pub(crate) mod inventory;
pub(crate) mod lower_bound;
pub(crate) mod machine;
pub(crate) mod playbook;
pub(crate) mod request;
pub(crate) mod step;
pub(crate) mod variables;
