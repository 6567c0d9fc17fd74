//! The use cases: collect, import, catch up, search, show, list, verify, demo.
//! The only room that knows several others; it decides, they work.
//!
//! Must never know how an answer is printed or what was typed: it is handed
//! settings and answers with rows.

mod asked;
mod catch_up;
mod certificate;
mod collecting;
mod compare;
mod custody;
#[cfg(feature = "emulator")]
mod demo;
mod failure;
mod fleet;
mod importing;
mod index_lock;
mod indexer;
mod listing;
mod placed;
mod plan;
mod reading;
mod row;
mod searching;
mod showing;
mod single;
mod system;
mod text_sink;
mod typed;
mod undated;
mod verifying;
mod waiting;

pub use crate::collect;
#[cfg(feature = "emulator")]
pub use crate::emulator;
pub use crate::generate;

pub use asked::{SearchRequest, Sort};
pub use catch_up::{Caught, catch_up, catch_up_unless_busy};
pub use collecting::{CollectReport, check_collect, collect_into, until_interrupted};
pub use compare::{
    ANALYZERS, BaselineRow, By, CompareRequest, CompareSummary, DiffKind, DiffRequest, DiffRow,
    LearnRequest, RULES, RawRow, Rule, RuleSet, SideRow, Sides, StackRequest, StackRow, TwinLine,
    TwinRow, TwinsRequest, baseline_page, baseline_templates, delete_baseline, diff,
    import_baseline, learn_baseline, list_baselines, stack, template_of, twins,
};
#[cfg(feature = "emulator")]
pub use demo::{DemoView, demo};
pub use failure::{Failure, Kind};
pub use fleet::{
    Cell, CellState, CoverageRequest, FleetEnded, FleetRow, RunRow, coverage, fleet_runs,
    fleet_status, in_seconds, order_fleet, plan_fleet, plan_missing, read_config, read_devices,
    read_playbook, resume_fleet, start_fleet,
};
pub use importing::{DeviceFrom, ImportReport, import};
pub use listing::{
    IndexStatus, Lag, ListFilter, PartSize, Status, gaps, list, problems, standing_problems, status,
};
pub use placed::{At, Lines, show_at};
pub use plan::LeftOut;
pub use reading::{add_passwords, set_code_page};
pub use row::{CountRow, GapRow, HitRow, ListRow, MemberRow, Place, ProblemRow, State};
pub use searching::{Explained, Search, SearchSummary, TextWay, Verdict};
pub use showing::{View, ViewMember, show, show_raw};
pub use single::{
    action_as_sent, delete_from_library, finish_package, list_library, secret_from_command,
    start_package, upload_to_library,
};
pub use typed::{parse_action, parse_reference, parse_time};
pub use verifying::{DamageRow, VerifyReport, verify};
pub use waiting::Waiting;
