//! What can be typed about runs on a fleet.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::args::Form;
use crate::cli::connect::Connect;

const PLAYBOOK_HELP: &str = "Examples:
  run --devices ws-1 --put kape.zip --script collect.ps1 --args '-Out C:\\Temp' \\
      --get 'C:\\Temp\\out.zip' --comment CASE-42 --dry-run
  run --devices tag:incident devices.txt --playbook triage.toml

A playbook:
  comment = \"CASE-42\"
  devices = [\"ws-1\", \"tag:incident\"]        # also group:G, health:H, ids
  [variables]
  out = 'C:\\Temp'                            # single quotes: no escaping
  [[step]]
  put = \"kape.zip\"
  [[step]]
  run = \"collect.ps1\"
  args = \"-Out {{out}} -Host {{device}}\"     # also {{short}} and {{machine}}
  [[step]]
  get = '{{out}}\\out.zip'
  [device.ws-1]                              # its own values
  out = 'D:\\Temp'";

/// What a session does and where, how devices that are away are treated.
///
/// Everything is checked before the first session is started, and all that is wrong is said
/// at once. The run is recorded in the archive: Ctrl-C leaves it, `fleet resume` goes on.
#[derive(Debug, Args)]
#[command(after_help = PLAYBOOK_HELP)]
pub struct Run {
    #[command(flatten)]
    pub connect: Connect,
    #[command(flatten)]
    pub what: What,
    #[command(flatten)]
    pub how: How,
    /// Print the exact requests and the earliest possible finish, and start nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// The plan or the report as JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct What {
    /// Devices by id, full or short name, tag:T, group:G, health:H, or a file of them.
    #[arg(long, value_name = "DEVICE|FILE", num_args = 1..)]
    pub devices: Vec<String>,
    /// Steps, variables and devices in TOML.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["put", "script", "get"])]
    pub playbook: Option<PathBuf>,
    /// File of the library to put on the device; may be repeated.
    #[arg(long, value_name = "FILE")]
    pub put: Vec<String>,
    /// Script of the library to run; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub script: Vec<String>,
    /// Arguments of the script; with several scripts one for each ('' for none).
    #[arg(
        long,
        value_name = "ARGS",
        allow_hyphen_values = true,
        requires = "script"
    )]
    pub args: Vec<String>,
    /// Path on the device to get; may be repeated.
    #[arg(long, value_name = "PATH")]
    pub get: Vec<String>,
    /// Comment of every session.
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Send arguments as one base64 word (UTF-16, as PowerShell has it).
    #[arg(long)]
    pub encode_args: bool,
}

#[derive(Debug, Args)]
pub struct How {
    /// Cancel a session that waits for its device this long, and queue it again when the device
    /// is seen.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = parse_patience)]
    pub park_after: Duration,
    /// Sessions of the 25 that may wait for their devices: of more than these the oldest are
    /// cancelled after 5 minutes, where later ones were taken up.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=25))]
    pub parked_max: u16,
    /// Let sessions wait the service's own 3 days.
    #[arg(long, conflicts_with_all = ["park_after", "parked_max"])]
    pub no_park: bool,
    /// Leave devices out that were away this long.
    #[arg(long, value_name = "TIME", default_value = "3d", value_parser = parse_duration)]
    pub away_max: Duration,
    #[command(flatten)]
    pub watch: Watching,
}

/// How a run is watched.
#[derive(Debug, Args)]
pub struct Watching {
    /// Seconds between two looks at the sessions: 3 leaves 300 of the hour's 1,500 lists to others.
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=3600))]
    pub interval: u64,
    /// Downloads at once.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub slots: u16,
    /// Do not bring the index up to date afterwards.
    #[arg(long)]
    pub no_index: bool,
}

/// A grid of a fleet run or of the whole archive, a row a device and a column a command: done,
/// pending, failed, cut off (one before it failed), timed out, cancelled, expired, missing, never
/// run, unresolved (started, not answered, not found: `fleet resume --repost-lost`), old. Exit
/// code 3 where not everything is done.
#[derive(Debug, Args)]
pub struct Coverage {
    /// Only this fleet run (id or its beginning).
    #[arg(long, value_name = "RUN")]
    pub run: Option<String>,
    /// What was done longer ago than this is old (7d, 2w).
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub older_than: Option<Duration>,
    /// Write the matrix as a page into FILE.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub form: Form,
    /// Leave out devices on which all is done.
    #[arg(long)]
    pub holes: bool,
    /// Start a new run of what is missing: failed, cut off, timed out, cancelled, expired, missing,
    /// and what a run had planned and never started.
    #[arg(long)]
    pub retry_missing: bool,
    /// Comment of the new run's sessions [default: that of --run].
    #[arg(long, value_name = "TEXT", requires = "retry_missing")]
    pub comment: Option<String>,
    /// Print the new run's requests and start nothing.
    #[arg(long, requires = "retry_missing")]
    pub dry_run: bool,
    #[command(flatten)]
    pub connect: Connect,
    #[command(flatten)]
    pub how: How,
}

/// Look at the fleet runs of the archive, and tell them something.
#[derive(Debug, Subcommand)]
pub enum Fleet {
    /// Each device and command of a run: what waits for what, and when it will be done.
    Status(Status),
    /// Start nothing more; what is under way ends.
    Pause(Named),
    /// Go on with a run that was paused, left or killed.
    Resume(Box<Resume>),
    /// Cancel a run or one of its devices; what was completed is kept.
    Cancel(Box<Cancel>),
}

#[derive(Debug, Args)]
pub struct Named {
    /// Id of the run, or its beginning [default: the newest].
    #[arg(value_name = "RUN")]
    pub run: Option<String>,
}

#[derive(Debug, Args)]
pub struct Status {
    #[command(flatten)]
    pub named: Named,
    /// One line for each run of the archive instead.
    #[arg(long, conflicts_with = "run")]
    pub all: bool,
    /// Only commands that are not done.
    #[arg(long)]
    pub open: bool,
    #[command(flatten)]
    pub form: Form,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// Start again what is unresolved: its start was sent, no answer came, and no list shows the
    /// session. One more look comes first; without this it is looked for and left alone.
    #[arg(long)]
    pub repost_lost: bool,
    #[command(flatten)]
    pub going: Going,
}

#[derive(Debug, Args)]
pub struct Cancel {
    /// Only this device (id, full or short name); where no process is at the run, it stays paused.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    #[command(flatten)]
    pub going: Going,
}

/// How a run is gone on with.
#[derive(Debug, Args)]
pub struct Going {
    #[command(flatten)]
    pub named: Named,
    #[command(flatten)]
    pub connect: Connect,
    #[command(flatten)]
    pub watch: Watching,
    /// The report as JSON on stdout.
    #[arg(long)]
    pub json: bool,
}

/// A session is in the queue for two minutes where all is well.
const PATIENCE_MIN: Duration = Duration::from_secs(5 * 60);

fn parse_patience(text: &str) -> Result<Duration, String> {
    let patience = parse_duration(text)?;
    if patience < PATIENCE_MIN {
        return Err(format!("`{text}` is too short: 5m at least"));
    }
    Ok(patience)
}

/// `90s`, `15m`, `2h`, `3d`, `1w`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("`{text}` is no length of time: write 90s, 15m, 2h, 3d");
    let unit = text.chars().last().ok_or_else(refuse)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(refuse()),
    };
    let number: u32 = text
        .strip_suffix(unit)
        .and_then(|number| number.parse().ok())
        .ok_or_else(refuse)?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_people_type_them() {
        assert_eq!(parse_duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_duration("3d"), Ok(Duration::from_secs(259_200)));
        for text in ["", "m", "15", "-1m", "1ä", "1.5h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
