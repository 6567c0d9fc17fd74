//! What can be typed. Help texts teach: what a command does, what it leaves
//! behind, and what to type next.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use crate::cli::compare::args::{Baseline, Diff, Stack, Templates, Twins};
pub use crate::cli::connect::Connect;
pub use crate::cli::fleet::args::{Coverage, Fleet, Run};
pub use crate::cli::library::{Action, Library, Package};

/// Keeps and searches what Microsoft Defender live response brought back.
///
/// Collect results before their links die, archive the bytes untouched, search
/// every word in transcripts, zips and gzips, offline.
#[derive(Debug, Parser)]
#[command(
    name = "afteraction",
    version,
    max_term_width = 100,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "First day:\n  afteraction demo                              see the whole road, offline\n  afteraction collect --archive case --tenant T --client-id ID\n  afteraction import --archive case FOLDER\n  afteraction search --archive case 'psexesvc OR \"new service\"'\n  afteraction show --archive case REF\n\nExit codes: 0 done (search: hits) · 1 search: no hits, everything was searched · 2 error ·\n3 done with gaps or problems (search: no hits, but not everything could be searched) ·\n4 verification failed"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

#[derive(Debug, Args)]
pub struct Global {
    /// Folder of the archive.
    #[arg(
        long,
        global = true,
        env = "AFTERACTION_ARCHIVE",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub archive: Option<PathBuf>,
    /// Say only what went wrong.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Say more: each retry, each wait, each rebuilt part.
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// No colour (NO_COLOR in the environment does the same).
    #[arg(long, global = true)]
    pub no_color: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show the whole road on a made-up incident: emulator, collect, search.
    Demo(Demo),
    /// Fetch every live response result through the Defender API.
    Collect(Box<Collect>),
    /// Run live response on devices, within every limit, and collect what comes of it.
    Run(Box<Run>),
    /// Where fleet runs stand; pause, resume, cancel.
    #[command(subcommand)]
    Fleet(Fleet),
    /// What was run where and what became of it: device by command.
    Coverage(Box<Coverage>),
    /// The service's library of scripts and tools: list, upload, delete.
    #[command(subcommand)]
    Library(Library),
    /// One action as the service describes it; cancel it.
    Action(Box<Action>),
    /// Have an investigation package collected, wait for it and archive it.
    Package(Box<Package>),
    /// Take in results that others saved: folders, zips, gzips, transcripts.
    Import(Import),
    /// Search every word of the archive.
    Search(Box<Search>),
    /// What is rare: lines by the number of devices they stand on, rare first.
    Stack(Box<Stack>),
    /// What differs between two devices, a device and the rest, or over time.
    Diff(Box<Diff>),
    /// A whole fleet as distances, the outlier first, with the lines that make it one.
    Twins(Box<Twins>),
    /// What known-good devices hold, to be left out elsewhere: learn, list, show, export.
    #[command(subcommand)]
    Baseline(Baseline),
    /// What counts as volatile in a line: the rules, and what becomes of a line.
    Templates(Templates),
    /// Print a result or a member of one, checked by hash on the way.
    Show(Show),
    /// List results: one line each, with those that are missing.
    List(List),
    /// How much there is, how far the index has come, what is missing.
    Status(Status),
    /// Results that are not there, and why.
    Gaps(Gaps),
    /// What is wrong inside the evidence: damaged, locked, cut by a limit.
    Problems(Problems),
    /// Read every byte back and compare it with its hash (exit 4 on damage).
    Verify(Verify),
    /// Bring the index up to date, or build it anew.
    Index(Index),
    /// Serve the Defender API from a folder of results, with faults on request.
    #[cfg(feature = "emulator")]
    Emulate(Box<Emulate>),
    /// Make collections whose answers are known.
    #[command(subcommand)]
    Bench(Bench),
    /// The query language, on one page (`help query`).
    #[command(long_about = crate::cli::query::PAGE, help_template = "{about}")]
    Query,
    /// Print completions for a shell.
    Completions {
        /// Shell to complete for.
        shell: clap_complete::Shell,
    },
    /// Write man pages into a folder.
    Man {
        /// Folder to write into.
        dir: PathBuf,
    },
}

#[derive(Debug, Args)]
pub struct Demo {
    /// Leave the archive out of the way: use a temporary one and delete it.
    #[arg(long)]
    pub discard: bool,
}

#[derive(Debug, Args)]
pub struct Collect {
    #[command(flatten)]
    pub connect: Connect,
    /// Only actions created at or after this time (2026-02-01, 2h, 3d).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only actions created before this time; a day counts whole.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only actions on this device (name or machine id); may be repeated.
    #[arg(long, value_name = "DEVICE")]
    pub device: Vec<String>,
    /// Only this action; may be repeated.
    #[arg(long, value_name = "ACTION_ID")]
    pub action: Vec<String>,
    /// Only the command in this place of its action (from 0); may be repeated.
    #[arg(long, value_name = "N", requires = "action")]
    pub index: Vec<u32>,
    /// Investigation packages instead of live response results.
    #[arg(long)]
    pub packages: bool,
    /// Fetch what is in the archive once more; what differs becomes a new version.
    #[arg(long)]
    pub again: bool,
    /// Only actions whose comment holds this text.
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Keep polling for new results until Ctrl-C.
    #[arg(long)]
    pub watch: bool,
    /// Seconds between polls with --watch.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub interval: u64,
    /// Downloads at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub slots: u16,
    /// Only try sign-in, permissions, host, clock and disk, and say what is wrong.
    #[arg(long)]
    pub check: bool,
    /// Do not bring the index up to date afterwards.
    #[arg(long)]
    pub no_index: bool,
    /// The report as JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Import {
    /// Files and folders to take in.
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// Device that all of it comes from.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["device_from_folder", "device_pattern"])]
    pub device: Option<String>,
    /// Take the device from the first folder below PATH.
    #[arg(long, conflicts_with = "device_pattern")]
    pub device_from_folder: bool,
    /// Take the device from the path with this regex (its first group, or `device`).
    #[arg(long, value_name = "REGEX")]
    pub device_pattern: Option<String>,
    /// Do not bring the index up to date afterwards.
    #[arg(long)]
    pub no_index: bool,
    /// The report as JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args, Clone, Default)]
pub struct Form {
    /// One JSON array.
    #[arg(long, conflicts_with_all = ["jsonl", "csv"])]
    pub json: bool,
    /// One JSON object a line.
    #[arg(long, conflicts_with = "csv")]
    pub jsonl: bool,
    /// Comma-separated values with a header, safe in a spreadsheet and on a terminal: formulas get
    /// a quote before them, control characters are written as \u{1b}. JSON keeps them as they are.
    #[arg(long)]
    pub csv: bool,
    /// Write to FILE instead of stdout, which is `-`.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Terms, "phrases", /patterns/, AND OR NOT, wildcards, and fields device: script:
/// action: exit: path: kind: requestor: comment: day: time: since: until:. AND, OR
/// and NOT judge one member; the hits are the lines in it that match. `afteraction
/// help query` tells all of it on one page.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  search 'mimikatz'\n  search '\"new service\" AND device:srv-*'\n  search --regex 'HKLM.*Run.*\\.exe'\n  search --fixed '203.0.113.7:4444' --jsonl\n  search --regex '(?s)IEX.*?DownloadString' --multiline\n  search '*.exe' --sort rarity --limit 20\n  search 'exit:1 kind:transcript' --count --by device\n  search '203.0.113.7' --certificate absent.json\n\nExit codes: 0 hits · 1 no hits, everything was searched · 2 error ·\n3 no hits, but not everything could be searched\n\nThe query language: afteraction help query"
)]
pub struct Search {
    /// What to search for.
    #[arg(required_unless_present_any = ["regex", "fixed"])]
    pub query: Option<String>,
    /// Lines that match this regular expression (as written; (?i) ignores case).
    #[arg(long, value_name = "PATTERN", conflicts_with = "fixed")]
    pub regex: Option<String>,
    /// Lines that hold exactly this text.
    #[arg(long, value_name = "TEXT")]
    pub fixed: Option<String>,
    /// Let --regex match over line ends: every text is built again and searched as a whole, which
    /// takes its time. `.` still ends at a line's end; (?s) lets it go on.
    #[arg(short = 'U', long, requires = "regex")]
    pub multiline: bool,
    /// Ignore case in --regex and --fixed.
    #[arg(short, long)]
    pub ignore_case: bool,
    /// Only on this device (id, full or short name; wildcards).
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Only results at or after this time (2026-02-01, 2h, 3d).
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only results before this time; a day counts whole. Results without a time are left out by
    /// both, and that is said.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Leave out lines that this baseline knows (NAME, or NAME@VERSION); may be repeated. How many
    /// hits it hides is said. Not with --certificate, which hides nothing.
    #[arg(long, value_name = "NAME", conflicts_with = "certificate")]
    pub exclude_baseline: Vec<String>,
    /// Print how many instead of which: hits, the members they are in, and members left out for
    /// want of a time.
    #[arg(long)]
    pub count: bool,
    /// Count by this field: device, script, action, exit, path, kind, requestor, comment, day.
    #[arg(long, value_name = "FIELD", requires = "count")]
    pub by: Option<String>,
    /// Order of the hits.
    #[arg(long, value_enum, default_value = "time")]
    pub sort: Sort,
    /// Lines of context around each hit.
    #[arg(short = 'C', long, value_name = "N", default_value_t = 0)]
    pub context: u32,
    /// Wait until everything sealed by now is indexed: for the process that is at it, else
    /// by catching up here. Ctrl-C leaves; what was indexed stays.
    #[arg(long)]
    pub wait: bool,
    /// Say on stderr how each text was looked for: by words, by 4-grams or by reading every line;
    /// candidates, lines that match, what was decompressed, time.
    #[arg(long)]
    pub explain: bool,
    /// Write what was searched and what was not, and why, by name, into FILE (JSON): also, and
    /// above all, where nothing was found.
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// At most this many hits.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
    #[command(flatten)]
    pub form: Form,
}

/// Order of hits.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Sort {
    /// The oldest first; what has no time comes last.
    Time,
    /// Lines on the fewest devices first, the same lines together.
    Rarity,
}

/// REF is what `list` and `search` print: ACTION_ID/INDEX[@VERSION], then
/// !member for each layer. A hit's line is shown again by its REF and number:
/// the original bytes are read, checked by hash and decoded anew.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  show ACTION_ID/0\n  show 'ACTION_ID/0!evidence.zip!logs/a.log' --at 120 -C 3\n  show 'ACTION_ID/0!output' --at-offset 4711 --raw"
)]
pub struct Show {
    /// Place of a result or member, as `list`, `search` and `problems` print it.
    #[arg(value_name = "REF")]
    pub reference: String,
    /// The bytes as they are, to stdout; with --at, the decoded line and nothing around it.
    #[arg(long)]
    pub raw: bool,
    /// Only this line, counted from 1 in the decoded text, as in `line` of a hit.
    #[arg(long, value_name = "LINE", group = "place", value_parser = line_number)]
    pub at: Option<u64>,
    /// Only the line that holds this byte of the decoded text (UTF-8), counted from 0, as in
    /// `offset` of a hit; of a very long line what stands around it.
    #[arg(long, value_name = "BYTES", group = "place", value_parser = number)]
    pub at_offset: Option<u64>,
    /// Lines of context around it.
    #[arg(short = 'C', long, value_name = "N", requires = "place", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub context: Option<u32>,
    /// Write to FILE instead of stdout, which is `-`.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A number as hits print it: `4,711`.
fn number(text: &str) -> Result<u64, String> {
    let digits = text.replace(',', "");
    digits.parse().map_err(|_| "it is no number".into())
}

fn line_number(text: &str) -> Result<u64, String> {
    match number(text)? {
        0 => Err("lines count from 1".into()),
        line => Ok(line),
    }
}

#[derive(Debug, Args)]
pub struct List {
    /// Only on this device (id, full or short name).
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Only of this action.
    #[arg(long, value_name = "ACTION_ID")]
    pub action: Option<String>,
    /// Only in this state.
    #[arg(long, value_parser = ["sealed", "gap", "pending"])]
    pub state: Option<String>,
    #[command(flatten)]
    pub form: Form,
}

#[derive(Debug, Args)]
pub struct Status {
    /// More of the index: how much the text repeats, sizes by part, what is not indexed yet and
    /// since when. (JSON always has it.)
    #[arg(long)]
    pub index: bool,
    /// As JSON.
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
    /// The report as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Index {
    /// Throw the index away and build it from the archive.
    #[arg(long)]
    pub rebuild: bool,
    /// File of passwords to try on locked members, one a line; kept with the archive.
    #[arg(long, value_name = "FILE")]
    pub passwords: Option<PathBuf>,
    /// Windows code page of text that is no Unicode [default: 1252]; kept with
    /// the archive, and the index is built anew.
    #[arg(long, value_name = "N")]
    pub code_page: Option<u16>,
}

#[cfg(feature = "emulator")]
#[derive(Debug, Args)]
pub struct Emulate {
    /// Folder of results to serve: ACTION_ID.json beside ACTION_ID/INDEX.*, or any
    /// files [default: sample-data, or none with --fleet].
    #[arg(value_name = "DIR")]
    pub folder: Option<PathBuf>,
    /// Serve a made-up fleet of N machines, on which commands can be run.
    #[arg(long, value_name = "N")]
    pub fleet: Option<usize>,
    /// Share of the made-up fleet that is away at the start (0 to 1).
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, requires = "fleet", value_parser = share)]
    pub away: f64,
    /// Hours they stay away, from half of it to half more.
    #[arg(long, value_name = "H", default_value_t = 4.0, requires = "fleet", value_parser = hours)]
    pub away_hours: f64,
    /// Group of machines on which nothing may be run; may be repeated.
    #[arg(long, value_name = "GROUP")]
    pub disallow: Vec<String>,
    /// Live response sessions, of 25, that others have taken.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub sessions_held: usize,
    /// How likely a command fails (0 to 1).
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub failing: f64,
    /// How likely a script runs into the limit of 10 minutes (0 to 1).
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    pub hanging: f64,
    /// Same seed: same fleet, same lots drawn, same answers of the machines.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Address to listen on.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8790")]
    pub listen: std::net::SocketAddr,
    /// Allow an address that other machines can reach.
    #[arg(long)]
    pub allow_remote: bool,
    /// Times faster than the wall clock the service runs (1 to 100).
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    pub time_scale: f64,
    /// Certificate (PEM) that may sign in, besides the secret.
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// No call limits.
    #[arg(long)]
    pub no_limits: bool,
    /// A fault to show, NAME[=ARG]; may be repeated.
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<String>,
    /// File that keeps the service's clock and call counts across restarts; runs
    /// under way are forgotten.
    #[arg(long, value_name = "FILE")]
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
    // A century: beyond it nobody waits for anything.
    let read = text.parse().ok();
    read.filter(|hours| (0.0..=876_600.0).contains(hours))
        .ok_or_else(|| "not a number of hours".into())
}

#[derive(Debug, Subcommand)]
pub enum Bench {
    /// Write a seeded collection into a folder, with its answers.
    Generate {
        /// Folder to write into; must not exist or be empty.
        dir: PathBuf,
        /// Same seed and settings, same bytes.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Devices in the fleet.
        #[arg(long, default_value_t = 200)]
        devices: u32,
        /// Text to make, in MB before packing.
        #[arg(long, value_name = "MB", default_value_t = 256)]
        megabytes: u64,
        /// fleet: golden images that repeat; unique: text that hardly does; script: one script's
        /// output, some 200 KB a device.
        #[arg(long, default_value = "fleet", value_parser = ["fleet", "unique", "script"])]
        shape: String,
    },
}
