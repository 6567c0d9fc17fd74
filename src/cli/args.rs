//! Command line arguments, with their help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use crate::cli::compare::args::{Baseline, Diff, Stack, Templates, Twins};
pub use crate::cli::connect::Connect;
pub use crate::cli::fleet::args::{Coverage, Fleet, Run};
pub use crate::cli::library::{Action, Library, Package};

const ROOT_HELP: &str = "\
First day:
  afteraction demo
  afteraction collect --archive case --tenant TENANT --client-id APP_ID
  afteraction import --archive case FOLDER
  afteraction search --archive case 'psexesvc OR \"new service\"'
  afteraction show --archive case REF

Exit codes:
  0  done; search: hits
  1  search: no hits, and everything was searched
  2  error
  3  done with gaps or problems; search: no hits, but part of the archive was
     not searched
  4  verification failed

Manual: afteraction help TOPIC, with install, collect, import, search, query,
compare, fleet, emulator, custody, formats, exit-codes or performance.";

const SEARCH_HELP: &str = "\
QUERY, --regex or --fixed, --device, --since and --until are combined with AND.
AND, OR and NOT apply to a member; the hits are its matching lines. --since and
--until exclude results without a time and print how many members would match.

Examples:
  Find a word
      afteraction search mimikatz
  Find a phrase on some devices
      afteraction search '\"new service\" AND device:srv-*'
  Find a pattern, also across line ends
      afteraction search --regex '(?s)IEX.*?DownloadString' --multiline
  Find an address and its port, as JSON lines
      afteraction search --fixed '203.0.113.7:4444' --jsonl
  Count failed scripts by device
      afteraction search 'kind:transcript exit:1' --count --by device
  Print the 20 rarest lines that contain a program name
      afteraction search '*.exe' --sort rarity --limit 20
  Document that an address was not found
      afteraction search '203.0.113.7' --certificate absent.json

Exit codes:
  0  hits
  1  no hits, and everything was searched
  2  error
  3  no hits, but part of the archive was not searched: not indexed yet,
     unreadable, without a time, longer than the search window, or hidden by
     a baseline

Query language: afteraction help query";

const COLLECT_HELP: &str = "\
Without selection options, every live response result that the service lists is
downloaded, and archived results are skipped. Collection can be interrupted at
any time; run the same command again to continue.

Examples:
  Check the setup before the first download
      afteraction collect --check --tenant TENANT --client-id APP_ID
  Download everything created in the last three days
      afteraction collect --since 3d
  Keep collecting one case
      afteraction collect --comment CASE-42 --watch

Exit codes:
  0    complete
  2    error, or --check found a fault
  3    complete except for gaps, pending results or problems
  130  stopped by a second Ctrl-C";

const IMPORT_HELP: &str = "\
Examples:
  Import a folder with one folder for each device
      afteraction import results --device-from-folder
  Import one file of a known device
      afteraction import triage.zip --device ws-1
  Take the device from the path
      afteraction import all --device-pattern '/(?<device>[^/]+)/triage/'

Exit codes:
  0  complete
  2  error
  3  done, with gaps, problems or skipped files";

const SHOW_HELP: &str = "\
REF is ACTION_ID/INDEX[@VERSION][!MEMBER...], the first column of `list`,
`search` and `problems`. The original bytes are read, checked against their
hash, and decoded again.

Examples:
  Print a transcript, or list the members of a file
      afteraction show ACTION_ID/0
  Print a line of a member with three lines around it
      afteraction show 'ACTION_ID/0!evidence.zip!logs/a.log' --at 120 -C 3
  Save the bytes as they were downloaded
      afteraction show ACTION_ID/0 --raw -o result.gz";

/// Collect, archive and search results of Microsoft Defender live response.
#[derive(Debug, Parser)]
#[command(
    name = "afteraction",
    version,
    max_term_width = 80,
    propagate_version = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
after_help = ROOT_HELP
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

#[derive(Debug, Args)]
pub struct Global {
    /// Archive directory.
    #[arg(
        help_heading = "Common",
        long,
        global = true,
        env = "AFTERACTION_ARCHIVE",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub archive: Option<PathBuf>,
    /// Print errors only.
    #[arg(help_heading = "Common", short, long, global = true)]
    pub quiet: bool,
    /// Print retries, waits and rebuilds.
    #[arg(help_heading = "Common", short, long, global = true)]
    pub verbose: bool,
    /// Print trace events to stderr: error, warn, info, debug, trace, or levels by crate such as
    /// collect=trace,store=debug.
    #[arg(
        help_heading = "Common",
        long,
        global = true,
        env = "AFTERACTION_LOG",
        value_name = "LEVEL",
        hide_env_values = true,
        value_parser = crate::cli::log::parse
    )]
    pub log: Option<tracing_subscriber::filter::Targets>,
    /// Disable colour; so does NO_COLOR in the environment.
    #[arg(help_heading = "Common", long, global = true)]
    pub no_color: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Collect, archive and search a sample incident, offline.
    Demo(Demo),
    /// Download live response results through the Defender API.
    Collect(Box<Collect>),
    /// Run live response commands on devices and collect the results.
    Run(Box<Run>),
    /// Show, pause, resume and cancel fleet runs.
    #[command(subcommand)]
    Fleet(Fleet),
    /// Print a matrix of device by command with the outcome of each.
    Coverage(Box<Coverage>),
    /// List, upload and delete files of the live response library.
    #[command(subcommand)]
    Library(Library),
    /// Print one action as the service describes it, or cancel it.
    Action(Box<Action>),
    /// Collect the investigation package of a device.
    Package(Box<Package>),
    /// Import results that other tools saved: folders, zip, gzip, transcripts.
    Import(Import),
    /// Search the text of all indexed results.
    Search(Box<Search>),
    /// Print the lines found on the fewest devices.
    Stack(Box<Stack>),
    /// Compare two devices, a device and all others, or a device over time.
    Diff(Box<Diff>),
    /// Print the devices that differ most from all others.
    #[command(alias = "twins")]
    Outliers(Box<Twins>),
    /// Manage baselines: templates of known-good devices, hidden elsewhere.
    #[command(subcommand)]
    Baseline(Baseline),
    /// List the rules for volatile parts, or print the template of a line.
    Templates(Templates),
    /// Print a result, a member or a line from the original bytes.
    Show(Show),
    /// List results, including missing ones.
    List(List),
    /// Summarize the archive and its index.
    Status(Status),
    /// List missing results with the reasons.
    Gaps(Gaps),
    /// List damaged, encrypted and unreadable content.
    Problems(Problems),
    /// Read every byte back and compare it with its hash (exit code 4 on damage).
    Verify(Verify),
    /// Update the index, or rebuild it.
    Index(Index),
    /// Serve the Defender API from a folder of results, or with a synthetic fleet.
    #[cfg(feature = "emulator")]
    Emulate(Box<Emulate>),
    /// Generate collections with known answers.
    #[command(subcommand)]
    Bench(Bench),
    /// Print a page of the manual, or the help of a command.
    Help {
        /// Topic or command.
        #[arg(value_name = "TOPIC|COMMAND")]
        words: Vec<String>,
    },
    /// Print the query language (the same as `help query`).
    Query,
    /// Print completions for a shell.
    Completions {
        /// Shell.
        shell: clap_complete::Shell,
    },
    /// Write man pages to a directory.
    Man {
        /// Directory to write to.
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Use a temporary archive and delete it afterwards.
    #[arg(long)]
    pub discard: bool,
}

#[derive(Debug, Args)]
#[command(after_help = COLLECT_HELP)]
pub struct Collect {
    #[command(flatten)]
    pub connect: Connect,
    /// Actions created at or after TIME: 2026-02-01, 2h, 3d.
    #[arg(help_heading = "Selection", long, value_name = "TIME")]
    pub since: Option<String>,
    /// Actions created before TIME; a day is included as a whole.
    #[arg(help_heading = "Selection", long, value_name = "TIME")]
    pub until: Option<String>,
    /// Actions on a device, by name or machine id; repeatable.
    #[arg(help_heading = "Selection", long, value_name = "DEVICE")]
    pub device: Vec<String>,
    /// One action; repeatable.
    #[arg(help_heading = "Selection", long, value_name = "ACTION_ID")]
    pub action: Vec<String>,
    /// Command N of --action, from 0; repeatable.
    #[arg(
        help_heading = "Selection",
        long,
        value_name = "N",
        requires = "action"
    )]
    pub index: Vec<u32>,
    /// Investigation packages, not live response results.
    #[arg(help_heading = "Selection", long)]
    pub packages: bool,
    /// Download archived results again; different bytes become a new version.
    #[arg(help_heading = "Selection", long)]
    pub again: bool,
    /// Actions whose comment contains TEXT.
    #[arg(help_heading = "Selection", long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Keep polling until Ctrl-C.
    #[arg(help_heading = "Collection", long)]
    pub watch: bool,
    /// Time between polls with --watch, 1 to 3600.
    #[arg(help_heading = "Collection", long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    /// Parallel downloads, 1 to 64.
    #[arg(help_heading = "Collection", long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub slots: u16,
    /// Test sign-in, permissions, host, clock and disk only.
    #[arg(help_heading = "Collection", long)]
    pub check: bool,
    /// Do not update the index afterwards.
    #[arg(help_heading = "Collection", long)]
    pub no_index: bool,
    /// Print the report as JSON.
    #[arg(help_heading = "Collection", long)]
    pub json: bool,
}

#[derive(Debug, Args)]
#[command(after_help = IMPORT_HELP)]
pub struct Import {
    /// Files and folders to import.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Device of all imported files.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["device_from_folder", "device_pattern"])]
    pub device: Option<String>,
    /// Use the first folder below PATH as the device.
    #[arg(long, conflicts_with = "device_pattern")]
    pub device_from_folder: bool,
    /// Take the device from the path: group `device`, or the first group.
    #[arg(long, value_name = "REGEX")]
    pub device_pattern: Option<String>,
    /// Do not update the index afterwards.
    #[arg(long)]
    pub no_index: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args, Clone, Default)]
pub struct Form {
    /// Print a JSON array.
    #[arg(help_heading = "Output", long, conflicts_with_all = ["jsonl", "csv"])]
    pub json: bool,
    /// Print one JSON object per line.
    #[arg(help_heading = "Output", long, conflicts_with = "csv")]
    pub jsonl: bool,
    /// Print CSV, escaped for spreadsheets and terminals.
    #[arg(help_heading = "Output", long)]
    pub csv: bool,
    /// Write to FILE; `-` is standard output.
    #[arg(help_heading = "Output", short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Search the text of all indexed results.
#[derive(Debug, Args)]
#[command(
after_help = SEARCH_HELP
)]
pub struct Search {
    /// Query, such as 'psexesvc device:srv-*'; see `afteraction help query`.
    #[arg(required_unless_present_any = ["regex", "fixed"])]
    pub query: Option<String>,
    /// Match lines against a regular expression.
    #[arg(
        help_heading = "Query",
        long,
        value_name = "PATTERN",
        conflicts_with = "fixed"
    )]
    pub regex: Option<String>,
    /// Match lines that contain TEXT.
    #[arg(help_heading = "Query", long, value_name = "TEXT")]
    pub fixed: Option<String>,
    /// Let --regex match across line ends (slow).
    #[arg(help_heading = "Query", short = 'U', long, requires = "regex")]
    pub multiline: bool,
    /// Ignore case in --regex and --fixed.
    #[arg(help_heading = "Query", short, long)]
    pub ignore_case: bool,
    /// Search one device: id, full or short name, wildcards.
    #[arg(help_heading = "Query", long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Search results at or after TIME: 2026-02-01, 2h, 3d.
    #[arg(help_heading = "Query", long, value_name = "TIME")]
    pub since: Option<String>,
    /// Search results before TIME; a day is included as a whole.
    #[arg(help_heading = "Query", long, value_name = "TIME")]
    pub until: Option<String>,
    /// Hide lines found in a baseline, NAME or NAME@VERSION; repeatable.
    #[arg(
        help_heading = "Query",
        long,
        value_name = "NAME",
        conflicts_with = "certificate"
    )]
    pub exclude_baseline: Vec<String>,
    /// Print the number of hits and of matching members.
    #[arg(help_heading = "Output", long)]
    pub count: bool,
    /// With --count, group by device, script, action, exit, path, kind, requestor, comment or
    /// day.
    #[arg(
        help_heading = "Output",
        long,
        value_name = "FIELD",
        requires = "count"
    )]
    pub by: Option<String>,
    /// Order of the hits: oldest or rarest first.
    #[arg(help_heading = "Output", long, value_enum, default_value = "time")]
    pub sort: Sort,
    /// Print N lines before and after each hit.
    #[arg(
        help_heading = "Output",
        short = 'C',
        long,
        value_name = "N",
        default_value_t = 0
    )]
    pub context: u32,
    /// Wait until all results sealed so far are indexed.
    #[arg(help_heading = "Completeness", long)]
    pub wait: bool,
    /// Print access path, candidates and time to stderr.
    #[arg(help_heading = "Completeness", long)]
    pub explain: bool,
    /// Write what was and what was not searched to FILE, as JSON.
    #[arg(help_heading = "Completeness", long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Stop after N hits.
    #[arg(help_heading = "Output", long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub form: Form,
}

/// Order of hits.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Sort {
    Time,
    Rarity,
}

/// Print a result, a member or a line from the original bytes.
#[derive(Debug, Args)]
#[command(
after_help = SHOW_HELP
)]
pub struct Show {
    /// REF of a result or member, from `list`, `search` or `problems`.
    #[arg(value_name = "REF")]
    pub reference: String,
    /// Print the bytes unchanged; with --at, the decoded line only.
    #[arg(long)]
    pub raw: bool,
    /// Print line LINE of the decoded text, from 1.
    #[arg(long, value_name = "LINE", group = "place", value_parser = line_number)]
    pub at: Option<u64>,
    /// Print the line at byte BYTES of the decoded text (UTF-8), from 0; of a very long line,
    /// the text around it.
    #[arg(long, value_name = "BYTES", group = "place", value_parser = number)]
    pub at_offset: Option<u64>,
    /// Print N lines before and after.
    #[arg(short = 'C', long, value_name = "N", requires = "place", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub context: Option<u32>,
    /// Write to FILE; `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Parses a number with thousands separators: `4,711`.
fn number(text: &str) -> Result<u64, String> {
    let digits = text.replace(',', "");
    digits.parse().map_err(|_| "not a number".into())
}

fn line_number(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err("lines count from 1".into()),
        line => Ok(line),
    }
}

#[derive(Debug, Args)]
pub struct List {
    /// Results of a device: id, full or short name.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Results of an action.
    #[arg(long, value_name = "ACTION_ID")]
    pub action: Option<String>,
    /// Results in a state.
    #[arg(long, value_parser = ["sealed", "gap", "pending"])]
    pub state: Option<String>,
    #[command(flatten)]
    pub form: Form,
}

#[derive(Debug, Args)]
pub struct Status {
    /// Also print repetition of text, sizes by part, and results not indexed yet (JSON always
    /// contains them).
    #[arg(long)]
    pub index: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Gaps {
    #[command(flatten)]
    pub form: Form,
}

#[derive(Debug, Args)]
pub struct Problems {
    #[command(flatten)]
    pub form: Form,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Index {
    /// Delete the index and build it from the archive.
    #[arg(long)]
    pub rebuild: bool,
    /// File of passwords for encrypted members, one per line; stored in the archive.
    #[arg(long, value_name = "FILE")]
    pub passwords: Option<PathBuf>,
    /// Code page of text that is not Unicode [default: 1252]; stored in the archive, rebuilds
    /// the index.
    #[arg(long, value_name = "N")]
    pub code_page: Option<u16>,
}

#[cfg(feature = "emulator")]
#[derive(Debug, Args)]
pub struct Emulate {
    /// Folder of results to serve: ACTION_ID.json and ACTION_ID/INDEX.*, or any files [default:
    /// sample-data, or none with --fleet].
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Serve a synthetic fleet of N devices that can run commands.
    #[arg(help_heading = "Synthetic fleet", long, value_name = "N")]
    pub fleet: Option<usize>,
    /// Share of the fleet that is away at the start, 0 to 1.
    #[arg(help_heading = "Synthetic fleet", long, value_name = "SHARE", default_value_t = 0.0, requires = "fleet", value_parser = share)]
    pub away: f64,
    /// Mean hours a device is away; half to one and a half of it.
    #[arg(help_heading = "Synthetic fleet", long, value_name = "H", default_value_t = 4.0, requires = "fleet", value_parser = hours)]
    pub away_hours: f64,
    /// Device group that may not run commands; repeatable.
    #[arg(help_heading = "Synthetic fleet", long, value_name = "GROUP")]
    pub disallow: Vec<String>,
    /// Sessions, of 25, that other clients occupy.
    #[arg(
        help_heading = "Synthetic fleet",
        long,
        value_name = "N",
        default_value_t = 0
    )]
    pub sessions_held: usize,
    /// Probability that a command fails, 0 to 1.
    #[arg(help_heading = "Synthetic fleet", long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub failing: f64,
    /// Probability that a script runs into its limit of 10 minutes, 0 to 1.
    #[arg(help_heading = "Synthetic fleet", long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub hanging: f64,
    /// Seed of fleet, faults and results.
    #[arg(
        help_heading = "Synthetic fleet",
        long,
        value_name = "N",
        default_value_t = 1
    )]
    pub seed: u64,
    /// Address to listen on.
    #[arg(
        help_heading = "Service",
        long,
        value_name = "ADDR",
        default_value = "127.0.0.1:8790"
    )]
    pub listen: std::net::SocketAddr,
    /// Allow a listen address that other hosts can reach.
    #[arg(help_heading = "Service", long)]
    pub allow_remote: bool,
    /// Speed of the service clock, 1 to 100.
    #[arg(
        help_heading = "Service",
        long,
        value_name = "N",
        default_value_t = 1.0
    )]
    pub time_scale: f64,
    /// Accept sign-in with this certificate (PEM) as well.
    #[arg(help_heading = "Service", long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Disable the call limits.
    #[arg(help_heading = "Service", long)]
    pub no_limits: bool,
    /// Inject a fault, NAME[=ARG]; repeatable.
    #[arg(help_heading = "Service", long, value_name = "FAULT")]
    pub fault: Vec<String>,
    /// Keep the service clock and call counts in FILE across restarts; runs in progress are
    /// lost.
    #[arg(help_heading = "Service", long, value_name = "FILE")]
    pub state: Option<PathBuf>,
}

#[cfg(feature = "emulator")]
fn share(text: &str) -> Result<f64, String> {
    let read = text.parse().ok();
    read.filter(|share| (0.0..=1.0).contains(share))
        .ok_or_else(|| "not between 0 and 1".into())
}

#[cfg(feature = "emulator")]
fn hours(text: &str) -> Result<f64, String> {
    // Limit: a century.
    let read = text.parse().ok();
    read.filter(|hours| (0.0..=876_600.0).contains(hours))
        .ok_or_else(|| "not a number of hours".into())
}

#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Write a seeded collection and its answers to a directory.
    Generate {
        /// Directory to write to; must be empty or not exist.
        dir: PathBuf,
        /// Seed; equal settings give equal bytes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Number of devices.
        #[arg(long, default_value_t = 200)]
        devices: u32,
        /// Amount of text, in MB before compression.
        #[arg(long, value_name = "MB", default_value_t = 256)]
        megabytes: u64,
        /// fleet: repetitive images; unique: hardly repetitive text; script: the output of one
        /// script, about 200 KB for each device.
        #[arg(long, default_value = "fleet", value_parser = ["fleet", "unique", "script"])]
        shape: String,
    },
}
