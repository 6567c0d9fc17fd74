//! What can be typed to compare.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::args::Form;

/// Which results are compared, and how their lines are looked at.
#[derive(Debug, Args, Clone, Default)]
pub struct Select {
    /// Only results of this script (wildcards).
    #[arg(long, value_name = "NAME")]
    pub script: Option<String>,
    /// Only results at or after this time (2026-02-01, 2h, 3d).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only results before this time; a day counts whole.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Leave out lines that this baseline knows (NAME, or NAME@VERSION); may be repeated. How many
    /// it hides is said, also with --quiet. A baseline knows lines: not with --by hash and its like.
    #[arg(long, value_name = "NAME")]
    pub exclude_baseline: Vec<String>,
    /// Switch a rule for volatile parts off, so that it keeps lines apart; may be repeated.
    /// `templates` lists the rules.
    #[arg(long, value_name = "RULE")]
    pub keep: Vec<String>,
    /// Lines as they are: no rule.
    #[arg(long)]
    pub raw: bool,
    /// Config file whose `[templates]` is used [default: afteraction/config.toml in the user's
    /// folder for such files].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Wait until everything sealed by now is indexed.
    #[arg(long)]
    pub wait: bool,
}

/// Least frequency of occurrence: each line without its volatile parts (process
/// ids, times, GUIDs, dynamic ports, user names …) is one row with the number of
/// devices it stands on, its count, when it was first and last seen, and a place
/// that `show` takes. A query that asks for text stacks the lines that match; one
/// of fields alone, or --script, stacks all lines. Rare first: a line takes its
/// turn by its devices; one that only puts together words that other devices have
/// too stands back behind lines with words of their own.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  stack --script Get-Persistence.ps1\n  stack --script Get-Persistence.ps1 --max-devices 3 --variants\n  stack 'EventID 4688' --limit 50\n  stack --by hash 'path:*.exe'\n  stack --by error --csv -o errors.csv\n  stack --script Get-Services.ps1 --exclude-baseline golden --keep users\n\nExit codes as in search: 0 rows · 1 none · 2 error · 3 none, but not everything could be looked at"
)]
pub struct Stack {
    /// What to stack, as in `search` [default: everything].
    pub query: Option<String>,
    #[command(flatten)]
    pub select: Select,
    /// Only on this device (id, full or short name; wildcards).
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// What to stack by.
    #[arg(long, value_enum, default_value = "line")]
    pub by: By,
    /// Only what stands on at most so many devices.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_devices: Option<u32>,
    /// List the lines as they are below each row, the rarest first: up to N [default: 5]; a
    /// table of CSV has no place for them.
    #[arg(long, value_name = "N", conflicts_with = "csv", num_args = 0..=1, default_missing_value = "5", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub variants: Option<u32>,
    /// Lines of context around each row's place; not in CSV.
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0, conflicts_with = "csv", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub context: u32,
    /// At most this many rows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub form: Form,
}

/// What is stacked.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum By {
    /// Lines.
    Line,
    /// Lines that scripts wrote to their errors.
    Error,
    /// SHA-256 of members.
    Hash,
    /// Names of members.
    Name,
    /// Paths of members.
    Path,
    /// Exit codes of scripts.
    Exit,
}

/// Compares what two sides hold, whatever the order of their lines, without
/// volatile parts: what changed (`~`), what only the first side has (`-`), what
/// only the second has (`+`). A side is a device, or a REF as `list` and `search`
/// print it. Of a command that ran more than once the newest result counts; a script
/// with other arguments is another command.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  diff fin-ws-07 fin-ws-05 --script Get-Persistence.ps1\n  diff fin-ws-07 --rest --script Get-Persistence.ps1\n  diff fin-ws-07 --over-time --script Get-Services.ps1\n  diff fin-ws-07 --split 2026-03-11T08:00 -C 2\n  diff ACTION_ID/0 OTHER_ID/0 --jsonl\n\nExit codes: 0 something differs · 1 nothing does · 2 error · 3 nothing, but not everything could be looked at"
)]
pub struct Diff {
    /// The first side: a device or a REF.
    pub a: String,
    /// The second side: a device or a REF.
    #[arg(required_unless_present_any = ["rest", "over_time", "split"])]
    pub b: Option<String>,
    /// Against all other devices: `+` what the device has and none of them, `-` what nine of ten
    /// of them have and the device has not.
    #[arg(long, conflicts_with_all = ["b", "over_time", "split"])]
    pub rest: bool,
    /// The device's oldest result of each command against its newest.
    #[arg(long, conflicts_with_all = ["b", "split"])]
    pub over_time: bool,
    /// The device before TIME against the device since then.
    #[arg(long, value_name = "TIME", conflicts_with = "b")]
    pub split: Option<String>,
    /// With --rest: also what so many of the others have.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "rest")]
    pub max_devices: u32,
    /// Only results or lines that match, as in `search`.
    #[arg(long, value_name = "QUERY")]
    pub query: Option<String>,
    #[command(flatten)]
    pub select: Select,
    /// Every result of a command, not its newest.
    #[arg(long, conflicts_with = "over_time")]
    pub all: bool,
    /// Also lines that both sides have, but not as often (`#`).
    #[arg(long, conflicts_with = "rest")]
    pub counts: bool,
    /// Lines of context around each line; not in CSV.
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0, conflicts_with = "csv", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub context: u32,
    /// At most this many rows.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub form: Form,
}

/// How far each device is from those most like it: 0 holds the same lines but for
/// their volatile parts, 1 has none of theirs. The outlier comes first, with the
/// lines on it that the fewest others have. Distances are estimated (MinHash) to
/// about 0.03.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  twins --script Get-Persistence.ps1\n  twins --script Get-Services.ps1 --limit 3 --lines 20\n  twins 'kind:transcript device:srv-*' --csv -o fleet.csv\n\nExit codes as in search: 0 devices · 1 none · 2 error · 3 none, but not everything could be looked at"
)]
pub struct Twins {
    /// What to compare, as in `search` [default: everything].
    pub query: Option<String>,
    #[command(flatten)]
    pub select: Select,
    /// Only these devices (id, full or short name; wildcards).
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Devices that are told, the outliers first; 0 tells all.
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub limit: u64,
    /// Lines told of each.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=1000))]
    pub lines: u32,
    #[command(flatten)]
    pub form: Form,
}

/// A baseline knows the lines of known-good devices, without their volatile
/// parts, exactly. `search`, `stack`, `diff` and `twins` leave out what it knows
/// (--exclude-baseline NAME), and say how much that was. It stands in the archive,
/// beside the evidence; each learning under a name makes a new version.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  baseline learn golden --script Get-Services.ps1 --device 'img-*'\n  baseline learn golden 'device:IN [pc-01 pc-02]' --until 2026-03-01 --min-devices 2\n  baseline export golden -o golden.baseline\n  baseline import golden.baseline --archive another\n  stack --script Get-Services.ps1 --exclude-baseline golden"
)]
pub enum Baseline {
    /// Learn from what a query selects.
    Learn(Box<Learn>),
    /// Every version there is.
    List {
        #[command(flatten)]
        form: Form,
    },
    /// What a baseline was learned from, and its lines.
    Show {
        /// NAME, or NAME@VERSION.
        name: String,
    },
    /// Write a baseline as text that can be read, kept and imported.
    Export {
        /// NAME, or NAME@VERSION.
        name: String,
        /// Write to FILE instead of stdout, which is `-`.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Take in an export, as a new version.
    Import {
        /// An export.
        file: PathBuf,
        /// Under another name.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Delete a version (NAME@VERSION), or all of them (NAME).
    Delete {
        /// NAME, or NAME@VERSION.
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct Learn {
    /// What to call it: small letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// What to learn from, as in `search` [default: everything].
    pub query: Option<String>,
    #[command(flatten)]
    pub select: Select,
    /// Only from this device (id, full or short name; wildcards).
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Only lines that stand on so many of the devices: one that is not so good after all teaches
    /// nothing then.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub min_devices: u32,
    /// Keep what the newest version knows.
    #[arg(long)]
    pub add: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// The rules by which parts of a line are volatile, each with an example. Rules of
/// your own stand in the config file and go first:
///
///   [templates]
///   keep = ["states"]          # rules that are switched off
///   [templates.rules]
///   ticket = 'INC\d{7}'        # what matches becomes <ticket>
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct Templates {
    /// A line, to see what becomes of it.
    pub line: Option<String>,
    /// Switch a rule off; may be repeated.
    #[arg(long, value_name = "RULE")]
    pub keep: Vec<String>,
    /// Config file whose `[templates]` is used.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
