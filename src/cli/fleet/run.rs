use std::io::Write;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::app;
use crate::app::{
    ArchiveSession, CollectPolling, Failure, FleetEnded, FleetPlan, FleetRequest, FleetRules,
    FleetStep, PlanDiagnostic, PlannedCall, Playbook, RunControl, ServiceSettings,
    TYPICAL_SESSION_TIME,
};
use crate::cli::args::{Connect, Global};
use crate::cli::import::{index_these, print_json};
use crate::cli::output::{Output, counted, human_bytes, human_count, visible};
use crate::cli::{Exit, archive, connect, runtime, say};

use crate::cli::fleet::args::{How, Run, Watching, What};
use crate::cli::fleet::view::View;

pub fn run(global: &Global, typed: &Run) -> Result<Exit, Failure> {
    let request = request(&typed.what)?;
    let service = connect::settings(&typed.connect)?;
    let plan = runtime::run(app::plan_fleet(&service, &request))??;
    let launch = Launch {
        connect: &typed.connect,
        how: &typed.how,
        dry_run: typed.dry_run,
        json: typed.json,
    };
    crate::cli::fleet::run::launch(global, &service, plan, &launch)
}

/// How a plan is started, or only shown.
pub struct Launch<'a> {
    pub connect: &'a Connect,
    pub how: &'a How,
    pub dry_run: bool,
    pub json: bool,
}

pub fn launch(
    global: &Global,
    service: &ServiceSettings,
    plan: Result<FleetPlan, Vec<PlanDiagnostic>>,
    typed: &Launch<'_>,
) -> Result<Exit, Failure> {
    let plan = match plan {
        Ok(plan) => plan,
        Err(wrong) => return Ok(refuse(&wrong)),
    };
    tell_warnings(global, &plan.warnings);
    if typed.dry_run {
        return dry_run(global, typed, &plan);
    }
    let dir = archive(global)?;
    let polling = polling(&typed.how.watch);
    let rules = rules(typed.how);
    say(
        global,
        &format!(
            "fleet run {}: {}, not done in less than {} ({})",
            plan.id,
            counted(plan.devices.len() as u64, "device"),
            human_time(plan.bound.longest()),
            plan.bound.reason()
        ),
    );
    let view = View::new(global, plan.devices.len() as u64);
    let events = view.clone().events();
    let ended = runtime::run_until_interrupted(|stop| {
        app::start_fleet(
            &dir,
            service,
            polling,
            plan,
            rules,
            RunControl { events, stop },
        )
    });
    view.end();
    finish(global, &dir, ended??, &typed.how.watch, typed.json)
}

/// How the service is polled during a run.
pub fn polling(typed: &Watching) -> CollectPolling {
    CollectPolling {
        interval: Some(Duration::from_secs(typed.interval)),
        downloads: Some(usize::from(typed.slots)),
    }
}

fn rules(typed: &How) -> FleetRules {
    FleetRules {
        park_after: (!typed.no_park).then_some(typed.park_after),
        parked_max: usize::from(if typed.no_park { 25 } else { typed.parked_max }),
        away_max: typed.away_max,
        ..FleetRules::default()
    }
}

/// Indexes what came, tells what became of the run.
pub fn finish(
    global: &Global,
    dir: &Path,
    mut ended: FleetEnded,
    typed: &Watching,
    json: bool,
) -> Result<Exit, Failure> {
    let report = &ended.report;
    tell(global, &ended);
    let indexed = match typed.no_index || report.collected.sealed == 0 {
        true => Ok(0),
        false => index_run(global, dir, &report.run.to_string()),
    };
    if json {
        print_json(Output::open(None, true)?, &ended)?;
    }
    if let Some(failure) = ended.failed.take() {
        return Err(failure.hint("the record stands: `fleet resume` goes on"));
    }
    // What the run came to is told first: the index can be caught up later.
    let problems = indexed?;
    Ok(if ended.report.is_complete() && problems == 0 {
        Exit::Done
    } else {
        Exit::Incomplete
    })
}

/// Brings the index up to date; returns the problems in the run's results.
fn index_run(global: &Global, dir: &Path, run: &str) -> Result<u64, Failure> {
    let (_, rows) = app::fleet_status(&ArchiveSession::new(dir), Some(run))?;
    let of = rows.iter().filter_map(|row| row.cell.action_id).collect();
    index_these(global, dir, &of)
}

fn tell(global: &Global, ended: &FleetEnded) {
    let report = &ended.report;
    for notice in ended
        .archive_notices
        .iter()
        .chain(&report.collected.notices)
    {
        if !global.verbose {
            say(global, &format!("note: {}", visible(notice)));
        }
    }
    for (outcome, count) in &report.outcomes {
        say(global, &format!("{outcome:<10} {:>6}", human_count(*count)));
    }
    let counts = report.counts;
    let open = counts.waiting + counts.open + counts.away;
    if open > 0 {
        say(
            global,
            &format!(
                "left       {:>6}  ({} waiting, {} open, {} away); `fleet resume` goes on",
                human_count(open as u64),
                counts.waiting,
                counts.open,
                counts.away
            ),
        );
    }
    let missing = report.collected.left;
    if missing > 0 {
        say(
            global,
            &format!(
                "to come    {:>6}  results not fetched yet; `fleet resume` goes on",
                human_count(missing)
            ),
        );
    }
    say(
        global,
        &format!(
            "collected {} ({}); {} in {}, the least it could take is {} ({})",
            counted(report.collected.sealed, "result"),
            human_bytes(report.collected.bytes),
            counted(report.starts, "session"),
            human_time(report.took),
            human_time(report.bound.longest()),
            report.bound.reason()
        ),
    );
    if !report.is_complete() {
        say(global, "`coverage` says what is missing");
    }
}

/// What was typed → what is meant.
fn request(typed: &What) -> Result<FleetRequest, Failure> {
    let playbook = match &typed.playbook {
        Some(path) => app::read_playbook(path)?,
        None => Playbook {
            steps: steps(typed)?,
            ..Playbook::default()
        },
    };
    Ok(FleetRequest {
        playbook,
        devices: app::read_devices(&typed.devices)?,
        comment: typed.comment.clone(),
        encode_args: typed.encode_args,
    })
}

/// In the service's order, whatever the order on the command line.
fn steps(typed: &What) -> Result<Vec<FleetStep>, Failure> {
    let alone = typed.script.len() == 1 && typed.args.len() <= 1;
    if !alone && !typed.args.is_empty() && typed.args.len() != typed.script.len() {
        return Err(Failure::usage(format!(
            "{} have {}",
            counted(typed.script.len() as u64, "script"),
            counted(typed.args.len() as u64, "--args")
        ))
        .hint("give each --script its --args ('' for none), or write a playbook"));
    }
    let puts = typed
        .put
        .iter()
        .map(|file| FleetStep::Put { file: file.clone() });
    let runs = typed
        .script
        .iter()
        .enumerate()
        .map(|(n, script)| FleetStep::Run {
            script: script.clone(),
            args: typed.args.get(n).filter(|args| !args.is_empty()).cloned(),
        });
    let gets = typed
        .get
        .iter()
        .map(|path| FleetStep::Get { path: path.clone() });
    Ok(puts.chain(runs).chain(gets).collect())
}

/// Everything at once, each with what to do about it.
fn refuse(wrong: &[PlanDiagnostic]) -> Exit {
    for wrong in wrong {
        let word = if wrong.is_warning { "note" } else { "error" };
        eprintln!("{word}: {}", visible(&wrong.to_string()));
        if let Some(hint) = &wrong.hint {
            eprintln!("hint: {}", visible(hint));
        }
    }
    eprintln!("nothing was started");
    Exit::Error
}

fn tell_warnings(global: &Global, warnings: &[PlanDiagnostic]) {
    for warning in warnings {
        say(global, &format!("note: {}", visible(&warning.to_string())));
        if let Some(hint) = &warning.hint {
            say(global, &format!("hint: {}", visible(hint)));
        }
    }
}

#[derive(serde::Serialize)]
struct DryRun<'a> {
    run: String,
    devices: usize,
    commands: usize,
    bound_s: f64,
    bound: &'static str,
    links_s: f64,
    starts_s: f64,
    sessions_s: f64,
    earliest_finish: String,
    warnings: &'a [PlanDiagnostic],
    requests: Vec<PlannedCall>,
}

fn dry_run(global: &Global, typed: &Launch<'_>, plan: &FleetPlan) -> Result<Exit, Failure> {
    let bound = plan.bound.longest();
    let scaled = bound.div_f64(typed.connect.time_scale.max(1.0));
    let finish = Timestamp::now()
        .checked_add(scaled)
        .unwrap_or(Timestamp::MAX);
    let commands = plan.devices.iter().map(|d| d.steps.len()).sum();
    if typed.json {
        let report = DryRun {
            run: plan.id.to_string(),
            devices: plan.devices.len(),
            commands,
            bound_s: bound.as_secs_f64(),
            bound: plan.bound.reason(),
            links_s: plan.bound.links.as_secs_f64(),
            starts_s: plan.bound.starts.as_secs_f64(),
            sessions_s: plan.bound.sessions.as_secs_f64(),
            earliest_finish: finish.to_string(),
            warnings: &plan.warnings,
            requests: plan.calls().collect(),
        };
        print_json(Output::open(None, true)?, &report)?;
        return Ok(Exit::Done);
    }
    let mut out = Output::open(None, global.no_color)?;
    for call in plan.calls() {
        writeln!(out, "{} {}", call.method, visible(&call.path))?;
        writeln!(out, "  {}", visible(&call.body.to_string()))?;
    }
    out.flush()?;
    let away = plan.devices.iter().filter(|d| d.likely_away).count();
    say(
        global,
        &format!(
            "{} ({away} likely away), {}: nothing was started",
            counted(plan.devices.len() as u64, "device"),
            counted(commands as u64, "command"),
        ),
    );
    say(
        global,
        &format!(
            "earliest possible finish {finish:.0}, in {}: {} (links {}, starts {}, sessions {} at {} each)",
            human_time(bound),
            plan.bound.reason(),
            human_time(plan.bound.links),
            human_time(plan.bound.starts),
            human_time(plan.bound.sessions),
            human_time(TYPICAL_SESSION_TIME),
        ),
    );
    Ok(Exit::Done)
}

/// `3 h 20 min`, `40 s`: two units at most.
pub fn human_time(time: Duration) -> String {
    let seconds = time.as_secs_f64().round() as u64;
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) if rest == 0 => format!("{minutes} min"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_two_units() {
        for (seconds, told) in [
            (40, "40 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (11_940, "3 h 19 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(human_time(Duration::from_secs(seconds)), told);
        }
    }
}
