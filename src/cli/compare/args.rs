//! Arguments of the comparing commands.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::args::Form;

/// Selection of results, and rules for their lines.
#[derive(Debug, Args, Clone, Default)]
pub struct Select {
    /// Results of a script (wildcards).
    #[arg(help_heading = "Selection", long, value_name = "NAME")]
    pub script: Option<String>,
    /// Results at or after TIME: 2026-02-01, 2h, 3d.
    #[arg(help_heading = "Selection", long, value_name = "TIME")]
    pub since: Option<String>,
    /// Results before TIME; a day is included as a whole.
    #[arg(help_heading = "Selection", long, value_name = "TIME")]
    pub until: Option<String>,
    /// Hide lines found in a baseline, NAME or NAME@VERSION; repeatable; lines only.
    #[arg(help_heading = "Selection", long, value_name = "NAME")]
    pub exclude_baseline: Vec<String>,
    /// Switch off a rule for volatile parts; repeatable; see `templates`.
    #[arg(help_heading = "Templates", long, value_name = "RULE")]
    pub keep: Vec<String>,
    /// Compare lines unchanged, without rules.
    #[arg(help_heading = "Templates", long)]
    pub raw: bool,
    /// Configuration file with a section [templates] [default: the file of the user].
    #[arg(help_heading = "Templates", long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Wait until all results sealed so far are indexed.
    #[arg(help_heading = "Selection", long)]
    pub wait: bool,
}

/// Print the lines found on the fewest devices.
#[derive(Debug, Args)]
#[command(
    after_help = "Lines are compared without their volatile parts (process ids, times, GUIDs,\ndynamic ports, user names). Each row has the number of devices, the count, the\nfirst and last time, and a REF. A query with text stacks matching lines; a query\nof fields only, or --script, stacks all lines. Lines with rare words come before\nlines that combine common words.\n\nExamples:\n  stack --script Get-Persistence.ps1\n  stack --script Get-Persistence.ps1 --max-devices 3 --variants\n  stack 'EventID 4688' --limit 50\n  stack --by hash 'path:*.exe'\n  stack --by error --csv -o errors.csv\n  stack --script Get-Services.ps1 --exclude-baseline golden --keep users\n\nExit codes:\n  0  rows\n  1  no rows\n  2  error\n  3  no rows, but part of the archive was not compared"
)]
pub struct Stack {
    /// Query that selects members or lines, as in `search` [default: everything].
    pub query: Option<String>,
    #[command(flatten)]
    pub select: Select,
    /// One device: id, full or short name, wildcards.
    #[arg(help_heading = "Selection", long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Item to count: lines, lines of error output, SHA-256, names or paths of members, or exit codes.
    #[arg(help_heading = "Output", long, value_enum, default_value = "line")]
    pub by: By,
    /// Print items on at most N devices.
    #[arg(help_heading = "Output", long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_devices: Option<u32>,
    /// Print up to N original lines for each row, rarest first [default: 5]; not in CSV.
    #[arg(help_heading = "Output", long, value_name = "N", conflicts_with = "csv", num_args = 0..=1, default_missing_value = "5", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub variants: Option<u32>,
    /// Print N lines before and after each line; not in CSV.
    #[arg(help_heading = "Output", short = 'C', long, value_name = "N", default_value_t = 0, conflicts_with = "csv", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub context: u32,
    /// Print at most N rows.
    #[arg(help_heading = "Output", long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub form: Form,
}

/// Item that `stack` counts.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum By {
    Line,
    Error,
    Hash,
    Name,
    Path,
    Exit,
}

/// Compare two devices, a device and all others, or a device over time.
#[derive(Debug, Args)]
#[command(
    after_help = "Lines are compared without their volatile parts and independent of their order:\n`~` changed, `-` first side only, `+` second side only. Of a command that ran\nseveral times, the newest result counts. A script with other arguments is\nanother command.\n\nExamples:\n  diff fin-ws-07 fin-ws-05 --script Get-Persistence.ps1\n  diff fin-ws-07 --rest --script Get-Persistence.ps1\n  diff fin-ws-07 --over-time --script Get-Services.ps1\n  diff fin-ws-07 --split 2026-03-11T08:00 -C 2\n  diff ACTION_ID/0 OTHER_ID/0 --jsonl\n\nExit codes:\n  0  differences\n  1  no differences\n  2  error\n  3  no differences, but part of the archive was not compared"
)]
pub struct Diff {
    /// First side: a device or a REF.
    pub a: String,
    /// Second side: a device or a REF.
    #[arg(required_unless_present_any = ["rest", "over_time", "split"])]
    pub b: Option<String>,
    /// Compare with all other devices: `+` only on this device, `-` on nine of ten others but
    /// not here.
    #[arg(help_heading = "Sides", long, conflicts_with_all = ["b", "over_time", "split"])]
    pub rest: bool,
    /// Compare the oldest result of each command with the newest.
    #[arg(help_heading = "Sides", long, conflicts_with_all = ["b", "split"])]
    pub over_time: bool,
    /// Compare the results before TIME with those since TIME.
    #[arg(
        help_heading = "Sides",
        long,
        value_name = "TIME",
        conflicts_with = "b"
    )]
    pub split: Option<String>,
    /// With --rest, also print lines found on up to N other devices.
    #[arg(
        help_heading = "Sides",
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "rest"
    )]
    pub max_devices: u32,
    /// Compare members or lines that match a query, as in `search`.
    #[arg(help_heading = "Selection", long, value_name = "QUERY")]
    pub query: Option<String>,
    #[command(flatten)]
    pub select: Select,
    /// Use every result of a command, not only the newest.
    #[arg(help_heading = "Selection", long, conflicts_with = "over_time")]
    pub all: bool,
    /// Also print lines that occur on both sides with different counts (`#`).
    #[arg(help_heading = "Output", long, conflicts_with = "rest")]
    pub counts: bool,
    /// Print N lines before and after each line; not in CSV.
    #[arg(help_heading = "Output", short = 'C', long, value_name = "N", default_value_t = 0, conflicts_with = "csv", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub context: u32,
    /// Print at most N rows.
    #[arg(help_heading = "Output", long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub form: Form,
}

/// Print the devices that differ most from all others.
#[derive(Debug, Args)]
#[command(
    after_help = "The distance of a device from its nearest neighbours is 0 for equal lines (apart\nfrom volatile parts) and 1 for no common line. Each device is printed with its\nrarest lines. Distances are estimated (MinHash) to about 0.03.\n\nExamples:\n  outliers --script Get-Persistence.ps1\n  outliers --script Get-Services.ps1 --limit 3 --lines 20\n  outliers 'kind:transcript device:srv-*' --csv -o fleet.csv\n\nExit codes:\n  0  devices\n  1  no devices\n  2  error\n  3  no devices, but part of the archive was not compared"
)]
pub struct Twins {
    /// Query that selects members or lines, as in `search` [default: everything].
    pub query: Option<String>,
    #[command(flatten)]
    pub select: Select,
    /// Devices to print: id, full or short name, wildcards.
    #[arg(help_heading = "Selection", long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Print N devices; 0 prints all.
    #[arg(help_heading = "Output", long, value_name = "N", default_value_t = 10)]
    pub limit: u64,
    /// Print N lines for each device.
    #[arg(help_heading = "Output", long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(..=1000))]
    pub lines: u32,
    #[command(flatten)]
    pub form: Form,
}

/// Manage baselines: templates of known-good devices, hidden elsewhere.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "`search`, `stack`, `diff` and `outliers` hide the lines of a baseline with\n--exclude-baseline NAME and print how many. Baselines are stored in the archive,\napart from the evidence. Learning a name again creates a new version.\n\nExamples:\n  baseline learn golden --script Get-Services.ps1 --device 'img-*'\n  baseline learn golden 'device:IN [pc-01 pc-02]' --until 2026-03-01 --min-devices 2\n  baseline export golden -o golden.baseline\n  baseline import golden.baseline --archive another\n  stack --script Get-Services.ps1 --exclude-baseline golden"
)]
pub enum Baseline {
    /// Learn the lines that a query selects.
    Learn(Box<Learn>),
    /// List all versions.
    List {
        #[command(flatten)]
        form: Form,
    },
    /// Print the origin and the lines of a baseline.
    Show {
        /// NAME, or NAME@VERSION.
        name: String,
    },
    /// Write a baseline as readable text that can be imported.
    Export {
        /// NAME, or NAME@VERSION.
        name: String,
        /// Write to FILE; `-` is standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Import an exported baseline as a new version.
    Import {
        /// Exported baseline.
        file: PathBuf,
        /// Import under another name.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Delete one version (NAME@VERSION), or all (NAME).
    Delete {
        /// NAME, or NAME@VERSION.
        name: String,
    },
}

#[derive(Debug, Args)]
pub struct Learn {
    /// Name: lower-case letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Query that selects members or lines, as in `search` [default: everything].
    pub query: Option<String>,
    #[command(flatten)]
    pub select: Select,
    /// One device: id, full or short name, wildcards.
    #[arg(help_heading = "Selection", long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Learn lines found on at least N of the devices, so that one compromised device teaches
    /// nothing.
    #[arg(help_heading = "Selection", long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub min_devices: u32,
    /// Keep the lines of the newest version.
    #[arg(help_heading = "Selection", long)]
    pub add: bool,
    /// Print JSON.
    #[arg(help_heading = "Output", long)]
    pub json: bool,
}

/// List the rules for volatile parts, or print the template of a line.
#[derive(Debug, Args)]
#[command(
    after_help = "Rules of the configuration file are applied first:\n\n  [templates]\n  keep = [\"states\"]          # rules to switch off\n  [templates.rules]\n  ticket = 'INC\\d{7}'        # matches become <ticket>"
)]
pub struct Templates {
    /// Line whose template is printed.
    pub line: Option<String>,
    /// Switch off a rule; repeatable.
    #[arg(long, value_name = "RULE")]
    pub keep: Vec<String>,
    /// Configuration file with a section [templates].
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}
