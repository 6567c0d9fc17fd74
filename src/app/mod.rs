//! The use cases: collect, import, catch up, search, show, list, verify, demo.
//! The only room that knows several others; it decides, they work.
//!
//! Must never know how an answer is printed or what was typed: it is handed
//! settings and answers with rows.

mod certificate;
mod collect;
mod compare;
mod custody;
mod decode_settings;
#[cfg(feature = "emulator")]
mod demo;
mod error;
mod fleet;
mod import;
mod import_plan;
mod index_lock;
mod index_update;
mod indexer;
mod list;
mod missing_times;
mod parse_args;
mod rows;
mod search;
mod search_request;
mod service;
mod show;
mod show_line;
mod system;
mod text_sink;
mod verify;
mod wait_for_index;

pub use crate::app::collect::{CollectReport, check_collect, collect_into, until_interrupted};
pub use crate::app::compare::{
    ANALYZERS, BaselineRow, By, CompareRequest, CompareSummary, DiffKind, DiffRequest, DiffRow,
    LearnRequest, RULES, RawRow, RuleSet, SideRow, Sides, StackRequest, StackRow, TwinLine,
    TwinRow, TwinsRequest, VARIANTS_COUNTED, baseline_page, baseline_templates, delete_baseline,
    diff, import_baseline, learn_baseline, list_baselines, stack, template_of, twins,
};
pub use crate::app::decode_settings::{add_passwords, set_code_page};
#[cfg(feature = "emulator")]
pub use crate::app::demo::{DemoView, demo};
pub use crate::app::error::{Failure, FailureKind};
pub use crate::app::fleet::{
    Cell, CellState, CoverageRequest, Covered, FleetEnded, FleetRow, Ordered, RunRow, coverage,
    fleet_runs, fleet_status, in_seconds, order_fleet, plan_fleet, plan_missing, read_config,
    read_devices, read_playbook, resume_fleet, start_fleet, unreadable_runs,
};
pub use crate::app::import::{DeviceFrom, ImportReport, import};
pub use crate::app::import_plan::LeftOut;
pub use crate::app::index_update::{Caught, catch_up, catch_up_unless_busy};
pub use crate::app::list::{
    IndexStatus, Lag, ListFilter, PartSize, Status, gaps, list, problems, standing_problems, status,
};
pub use crate::app::parse_args::{parse_action, parse_reference, parse_time};
pub use crate::app::rows::{
    CountRow, GapRow, HitRow, ListRow, MemberRow, Place, ProblemRow, State,
};
pub use crate::app::search::{Explained, Search, SearchSummary, TextWay, Verdict};
pub use crate::app::search_request::{SearchRequest, Sort};
pub use crate::app::service::{
    PackageEnded, action_as_sent, delete_from_library, finish_package, list_library,
    secret_from_command, start_package, upload_to_library,
};
pub use crate::app::show::{View, ViewMember, show, show_raw};
pub use crate::app::show_line::{At, Lines, show_at};
pub use crate::app::verify::{DamageRow, VerifyReport, verify};
pub use crate::app::wait_for_index::Waiting;
