//! The use cases: collect, import, catch up, search, show, list, verify, demo.
//! The only room that knows several others; it decides, they work.
//!
//! Must never know how an answer is printed or what was typed: it is handed
//! settings and answers with rows.

mod baseline_filter;
mod baseline_store;
mod certificate;
mod collect;
mod collect_events;
pub(crate) mod columns;
mod compare;
mod cursor;
mod custody;
mod decode_settings;
#[cfg(feature = "emulator")]
mod demo;
#[cfg(feature = "emulator")]
mod emulate;
mod error;
mod fleet;
mod gaps;
mod generate;
mod hit_rows;
mod import;
mod import_plan;
mod index_files;
mod index_lock;
mod index_options;
mod index_update;
mod indexer;
mod list;
mod missing_times;
mod notes;
mod parse_args;
mod problems;
mod rows;
mod search;
mod search_request;
mod service;
mod service_settings;
mod session;
mod show;
mod show_line;
mod status;
mod system;
mod text_sink;
mod verify;
mod visit;
mod wait_for_index;

pub use crate::app::collect::{CollectReport, check_collect, collect};
pub use crate::app::collect_events::{
    CollectEvent, CollectEvents, FleetCounts, RunControl, StopSignal,
};
pub use crate::app::columns::Columns;
pub use crate::app::compare::{
    ANALYZERS, BaselineList, BaselineRow, By, CompareRequest, CompareSummary, DiffKind,
    DiffRequest, DiffRow, LearnRequest, RULES, RawRow, RuleSet, SideRow, Sides, StackRequest,
    StackRow, TwinLine, TwinRow, TwinsRequest, VARIANTS_COUNTED, delete_baseline, diff,
    export_baseline, import_baseline, learn_baseline, list_baselines, show_baseline, stack,
    template_of, twins,
};
pub use crate::app::cursor::HitCursor;
#[cfg(feature = "emulator")]
pub use crate::app::demo::{DemoRun, DemoView};
#[cfg(feature = "emulator")]
pub use crate::app::emulate::{
    EmulateRequest, FAULT_SYNTAX, MadeUpFleet, RunningEmulator, emulate, fault_names,
};
pub use crate::app::error::{Failure, FailureKind};
pub use crate::app::fleet::{
    Cell, CellState, CoverageRequest, Covered, FleetEnded, FleetOrder, FleetPlan, FleetRequest,
    FleetRow, FleetRules, FleetStep, Ordered, PlanDiagnostic, PlannedCall, Playbook, RunRow,
    TYPICAL_SESSION_TIME, coverage, describe_config_error, fleet_runs, fleet_status, in_seconds,
    order_fleet, plan_fleet, plan_missing, read_config, read_devices, read_playbook, resume_fleet,
    start_fleet, unreadable_runs,
};
pub use crate::app::gaps::gaps;
pub use crate::app::generate::{GenerateReport, GenerateRequest, generate};
pub use crate::app::import::{DeviceFrom, ImportReport, import};
pub use crate::app::import_plan::LeftOut;
pub use crate::app::index_options::{add_passwords, set_code_page};
pub use crate::app::index_update::{update_index, update_index_unless_busy};
pub use crate::app::indexer::IndexReport;
pub use crate::app::list::{ListFilter, list};
pub use crate::app::notes::{Note, Verdict};
pub use crate::app::parse_args::{parse_action, parse_reference, parse_time};
pub use crate::app::problems::{count_problems, problems};
pub use crate::app::rows::{
    CountRow, GapRow, HitRow, ListRow, MemberRow, ProblemRow, ResultPlace, ResultState,
};
pub use crate::app::search::{Search, SearchExplanation, SearchSummary, TextAccess};
pub use crate::app::search_request::{SearchRequest, Sort};
pub use crate::app::service::{
    LibraryRow, PackageReport, UploadOptions, action_as_sent, collect_package, delete_from_library,
    list_library, secret_from_command, start_package, upload_to_library,
};
pub use crate::app::service_settings::{
    CollectPolling, CollectRequest, ServiceSettings, default_state_dir,
};
pub use crate::app::session::{ArchivePosition, ArchiveSession};
pub use crate::app::show::{View, ViewMember, show, show_raw};
pub use crate::app::show_line::{LineOutput, LineTarget, show_at};
pub use crate::app::status::{ArchiveStatus, IndexLag, IndexPartSize, IndexStatus, status};
pub use crate::app::verify::{DamageRow, VerifyReport, verify};
pub use crate::app::wait_for_index::IndexWait;

/// Plain values of the connection: who signs in and where, and the lines of a
/// check. `Secret` never prints its text.
pub use ::collect::{CheckLine, CheckState, Cloud, Secret, SignIn, TokenSource};
