//! Arguments of the commands for fleet runs.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::args::Form;
use crate::cli::connect::Connect;

const PLAYBOOK_HELP: &str = "\
All errors in a plan are reported before the first session is started. The run
is recorded in the archive. After Ctrl-C or a crash, continue it with
`afteraction fleet resume`.

Examples:
  Check a plan without starting anything
      afteraction run --devices ws-1 --put kape.zip --script collect.ps1 \\
          --args '-Out C:\\Temp' --get 'C:\\Temp\\out.zip' --comment CASE-42 \\
          --dry-run
  Run a playbook on tagged devices and on those listed in a file
      afteraction run --devices tag:incident devices.txt --playbook triage.toml

Playbook:
  comment = \"CASE-42\"
  devices = [\"ws-1\", \"tag:incident\"]       # also group:G, health:H and ids
  [variables]
  out = 'C:\\Temp'                          # single quotes: no escapes
  [[step]]
  put = \"kape.zip\"
  [[step]]
  run = \"collect.ps1\"
  args = \"-Out {{out}} -Host {{device}}\"   # also {{short}} and {{machine}}
  [[step]]
  get = '{{out}}\\out.zip'
  [device.ws-1]                            # values for one device
  out = 'D:\\Temp'

Exit codes:
  0    every command done, every result archived, no problems in them
  2    error, or the plan was rejected and nothing was started
  3    commands not done, results missing, or problems in the evidence
  4    the archive or the record of the run is damaged
  130  stopped by a second Ctrl-C";

/// Run live response commands on devices and collect the results.
#[derive(Debug, Args)]
#[command(after_help = PLAYBOOK_HELP)]
pub struct Run {
    #[command(flatten)]
    pub connect: Connect,
    #[command(flatten)]
    pub what: What,
    #[command(flatten)]
    pub how: How,
    /// Print requests and earliest finish; start nothing.
    #[arg(help_heading = "Sessions", long)]
    pub dry_run: bool,
    /// Print the plan or the report as JSON.
    #[arg(help_heading = "Results", long)]
    pub json: bool,
}

/// Steps and devices of a run.
#[derive(Debug, Args)]
pub struct What {
    /// Id, name, tag:T, group:G, health:H, or a file of these.
    #[arg(help_heading = "Targets", long, value_name = "DEVICE|FILE", num_args = 1..)]
    pub devices: Vec<String>,
    /// Read steps, variables and devices from a TOML file.
    #[arg(help_heading = "Targets", long, value_name = "FILE", conflicts_with_all = ["put", "script", "get"])]
    pub playbook: Option<PathBuf>,
    /// Put a library file on the device; repeatable.
    #[arg(help_heading = "Steps", long, value_name = "FILE")]
    pub put: Vec<String>,
    /// Run a library script; repeatable.
    #[arg(help_heading = "Steps", long, value_name = "NAME")]
    pub script: Vec<String>,
    /// Arguments, one for each --script; '' for none.
    #[arg(
        help_heading = "Steps",
        long,
        value_name = "ARGS",
        allow_hyphen_values = true,
        requires = "script"
    )]
    pub args: Vec<String>,
    /// Fetch a file from the device; repeatable.
    #[arg(help_heading = "Steps", long, value_name = "PATH")]
    pub get: Vec<String>,
    /// Comment of every session, such as a case number.
    #[arg(help_heading = "Steps", long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Send arguments as one base64 word (UTF-16).
    #[arg(help_heading = "Steps", long)]
    pub encode_args: bool,
}

#[derive(Debug, Args)]
pub struct How {
    /// Cancel and requeue sessions that wait for TIME, 5m or more.
    #[arg(help_heading = "Sessions", long, value_name = "TIME", default_value = "15m", value_parser = parse_patience)]
    pub park_after: Duration,
    /// Sessions that may wait for their device, 1 to 25; more are cancelled after 5 minutes if
    /// later ones were picked up.
    #[arg(help_heading = "Sessions", long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=25))]
    pub parked_max: u16,
    /// Let sessions wait for the service's limit of 3 days.
    #[arg(help_heading = "Sessions", long, conflicts_with_all = ["park_after", "parked_max"])]
    pub no_park: bool,
    /// Skip devices last seen longer ago than TIME.
    #[arg(help_heading = "Targets", long, value_name = "TIME", default_value = "3d", value_parser = parse_duration)]
    pub away_max: Duration,
    #[command(flatten)]
    pub watch: Watching,
}

/// How a run is polled and collected.
#[derive(Debug, Args)]
pub struct Watching {
    /// Time between polls, 3 to 3600; 3 leaves 300 of 1,500 list calls an hour to other
    /// clients.
    #[arg(help_heading = "Sessions", long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(3..=3600))]
    pub interval: u64,
    /// Parallel downloads, 1 to 64.
    #[arg(help_heading = "Results", long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub slots: u16,
    /// Do not update the index afterwards.
    #[arg(help_heading = "Results", long)]
    pub no_index: bool,
}

/// Print a matrix of device by command with the outcome of each.
#[derive(Debug, Args)]
#[command(
    after_help = "Outcomes: done, pending, failed, cut off (an earlier command failed), timed out,\ncancelled, expired, missing, never run, unresolved (start sent, no response, not\nfound: see `fleet resume --repost-lost`), old. Exit code 3 if a command is not\ndone."
)]
pub struct Coverage {
    /// One fleet run, by id or its beginning.
    #[arg(help_heading = "Selection", long, value_name = "RUN")]
    pub run: Option<String>,
    /// Mark commands as old that ended longer ago than TIME: 7d, 2w.
    #[arg(help_heading = "Selection", long, value_name = "TIME", value_parser = parse_duration)]
    pub older_than: Option<Duration>,
    /// Write the matrix as an HTML page to FILE.
    #[arg(help_heading = "Output", long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub form: Form,
    /// Hide devices on which every command is done.
    #[arg(help_heading = "Selection", long)]
    pub holes: bool,
    /// Start a new run of commands that failed, were cut off, timed out, were cancelled,
    /// expired, are missing, or were planned and never started.
    #[arg(help_heading = "Retry", long)]
    pub retry_missing: bool,
    /// Comment of the new sessions [default: that of --run].
    #[arg(
        help_heading = "Retry",
        long,
        value_name = "TEXT",
        requires = "retry_missing"
    )]
    pub comment: Option<String>,
    /// Print the requests of the new run; start nothing.
    #[arg(help_heading = "Retry", long, requires = "retry_missing")]
    pub dry_run: bool,
    #[command(flatten)]
    pub connect: Connect,
    #[command(flatten)]
    pub how: How,
}

/// Show, pause, resume and cancel fleet runs.
#[derive(Debug, Subcommand)]
pub enum Fleet {
    /// Print devices and commands of a run, and the expected finish.
    Status(Status),
    /// Start no new sessions; sessions in progress end normally.
    Pause(Named),
    /// Continue a run that was paused, stopped or killed.
    Resume(Box<Resume>),
    /// Cancel a run or one of its devices; completed results are kept.
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
    /// Print one line for each run of the archive.
    #[arg(long, conflicts_with = "run")]
    pub all: bool,
    /// Print only commands that are not done.
    #[arg(long)]
    pub open: bool,
    #[command(flatten)]
    pub form: Form,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// Start sessions in doubt again: the start was sent, no response arrived, and no list
    /// shows the session. One more look comes first.
    #[arg(long)]
    pub repost_lost: bool,
    #[command(flatten)]
    pub going: Going,
}

#[derive(Debug, Args)]
pub struct Cancel {
    /// Cancel one device: id, full or short name. If no process owns the run, it stays paused.
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    #[command(flatten)]
    pub going: Going,
}

/// Options for continuing a run.
#[derive(Debug, Args)]
pub struct Going {
    #[command(flatten)]
    pub named: Named,
    #[command(flatten)]
    pub connect: Connect,
    #[command(flatten)]
    pub watch: Watching,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// Shortest `--park-after`: a session usually waits two minutes for its device.
const PATIENCE_MIN: Duration = Duration::from_secs(5 * 60);

fn parse_patience(text: &str) -> Result<Duration, String> {
    let patience = parse_duration(text)?;
    if patience < PATIENCE_MIN {
        return Err(format!("`{text}` is too short: use 5m or more"));
    }
    Ok(patience)
}

/// `90s`, `15m`, `2h`, `3d`, `1w`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let refuse = || format!("`{text}` is not a duration: use 90s, 15m, 2h or 3d");
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
    fn durations_are_parsed() {
        assert_eq!(parse_duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(parse_duration("3d"), Ok(Duration::from_secs(259_200)));
        for text in ["", "m", "15", "-1m", "1ä", "1.5h"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
