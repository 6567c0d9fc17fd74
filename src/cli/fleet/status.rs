use std::time::Duration;

use crate::app;
use crate::app::{ArchiveSession, Failure, FleetOrder, Ordered, RunControl, RunRow, in_seconds};
use crate::cli::args::Global;
use crate::cli::notes::{Qualified, print_notes};
use crate::cli::output::{Form, Output, counted, human_count, visible};
use crate::cli::{Exit, archive, connect, runtime, say, session};

use crate::cli::fleet::args;
use crate::cli::fleet::args::Fleet;
use crate::cli::fleet::run::{finish, human_time, polling};
use crate::cli::fleet::view::View;

const TOLD: &str = "told the process that is at it, which obeys within seconds";

pub fn fleet(global: &Global, typed: &Fleet) -> Result<Exit, Failure> {
    match typed {
        Fleet::Status(typed) => status(global, typed),
        Fleet::Pause(typed) => order(global, typed, FleetOrder::Pause),
        Fleet::Resume(typed) => resume(global, typed),
        Fleet::Cancel(typed) => cancel(global, typed),
    }
}

fn status(global: &Global, typed: &args::Status) -> Result<Exit, Failure> {
    let out = Output::open(typed.form.output.as_deref(), global.no_color)?;
    if typed.all {
        let mut rows = out.rows(Form::from(&typed.form));
        for run in app::fleet_runs(&session(global)?)? {
            rows.write(&run)?;
        }
        if rows.finish()? == 0 {
            say(global, "no fleet runs");
        }
        return Ok(Exit::Done);
    }
    let (run, commands) = app::fleet_status(&session(global)?, typed.named.run.as_deref())?;
    let mut rows = out.rows(Form::from(&typed.form));
    for row in commands {
        if !typed.open || !row.cell.state.is_end() {
            rows.write(&row)?;
        }
    }
    rows.finish()?;
    tell(global, &run);
    if typed.named.run.is_none() {
        let notes = app::unreadable_runs(&session(global)?)?;
        print_notes(global, Qualified::Listing, &notes);
    }
    Ok(Exit::Done)
}

fn tell(global: &Global, run: &RunRow) {
    let counts: Vec<String> = run
        .counts
        .iter()
        .map(|(word, count)| format!("{} {word}", human_count(*count)))
        .collect();
    say(
        global,
        &format!(
            "run {} ({}) is {}: {}: {}; {} of {} here",
            run.run,
            visible(&run.comment),
            run.state,
            counted(u64::from(run.devices), "device"),
            counts.join(", "),
            human_count(run.results),
            counted(run.results_expected, "result"),
        ),
    );
    match (run.state, run.left_s) {
        ("left", _) => say(global, "nobody is at it: `fleet resume` goes on"),
        ("paused", _) => say(global, "`fleet resume` goes on"),
        (_, Some(left)) => say(global, &time_left(run, left)),
        _ => {}
    }
}

fn time_left(run: &RunRow, left: u64) -> String {
    let to_come = match run.state {
        "collecting" => format!(
            "its sessions are over, {} still to come: ",
            counted(run.results_to_come, "result")
        ),
        _ => String::new(),
    };
    format!(
        "{to_come}not done before {:.0}, in {}",
        in_seconds(left),
        human_time(Duration::from_secs(left))
    )
}

fn order(global: &Global, typed: &args::Named, order: FleetOrder) -> Result<Exit, Failure> {
    let ordered = app::order_fleet(&archive(global)?, typed.run.as_deref(), order)?;
    let told = match ordered {
        Ordered::Told => TOLD,
        Ordered::Nobody => "no process is at it: it stands in the record",
        Ordered::Already => "it is paused already",
    };
    say(global, told);
    Ok(Exit::Done)
}

fn resume(global: &Global, typed: &args::Resume) -> Result<Exit, Failure> {
    let order = match typed.repost_lost {
        true => FleetOrder::Repost,
        false => FleetOrder::Resume,
    };
    go_on(global, &typed.going, order)
}

fn cancel(global: &Global, typed: &args::Cancel) -> Result<Exit, Failure> {
    let order = match &typed.device {
        Some(device) => FleetOrder::CancelDevice(device.clone()),
        None => FleetOrder::Cancel,
    };
    go_on(global, &typed.going, order)
}

/// Tells the process that is at the run, or goes on with it here.
fn go_on(global: &Global, typed: &args::Going, order: FleetOrder) -> Result<Exit, Failure> {
    let dir = archive(global)?;
    let run = typed.named.run.as_deref();
    if app::order_fleet(&dir, run, order.clone())? == Ordered::Told {
        say(global, TOLD);
        return Ok(Exit::Done);
    }
    let service = connect::settings(&typed.connect)?;
    let polling = polling(&typed.watch);
    let (run, _) = app::fleet_status(&ArchiveSession::new(&dir), run)?;
    let view = View::new(global, u64::from(run.devices));
    let id = run.run.to_string();
    let events = view.clone().events();
    let ended = runtime::run_until_interrupted(|stop| {
        let control = RunControl { events, stop };
        app::resume_fleet(&dir, &service, polling, Some(&id), order, control)
    });
    view.end();
    finish(global, &dir, ended??, &typed.watch, typed.json)
}
