//! Commands that only read: list, show, status, gaps, problems, verify.

use std::io::Write;

use crate::app;
use crate::app::{Failure, ListFilter};

use crate::cli::args;
use crate::cli::args::Global;
use crate::cli::notes::{Qualified, print_notes};
use crate::cli::output::{Form, Output, counted, human_bytes};
use crate::cli::progress::Progress;
use crate::cli::{Exit, say, session};

pub fn list(global: &Global, typed: &args::List) -> Result<Exit, Failure> {
    let filter = ListFilter {
        device: typed.device.clone(),
        action: typed.action.as_deref().map(app::parse_action).transpose()?,
        state: typed.state.clone(),
    };
    let out = Output::open(typed.form.output.as_deref(), global.no_color)?;
    let mut rows = out.rows(Form::from(&typed.form));
    app::list(&session(global)?, &filter, &mut |row| Ok(rows.write(&row)?))?;
    if rows.finish()? == 0 {
        say(global, "no results");
    }
    Ok(Exit::Done)
}

pub fn gaps(global: &Global, typed: &args::Gaps) -> Result<Exit, Failure> {
    let out = Output::open(typed.form.output.as_deref(), global.no_color)?;
    let mut rows = out.rows(Form::from(&typed.form));
    app::gaps(&session(global)?, &mut |row| Ok(rows.write(&row)?))?;
    if rows.finish()? == 0 {
        say(global, "no gaps");
    }
    Ok(Exit::Done)
}

pub fn problems(global: &Global, typed: &args::Problems) -> Result<Exit, Failure> {
    let out = Output::open(typed.form.output.as_deref(), global.no_color)?;
    let mut rows = out.rows(Form::from(&typed.form));
    let notes = app::problems(&session(global)?, &mut |row| Ok(rows.write(&row)?))?;
    if rows.finish()? == 0 && notes.is_empty() {
        say(global, "no problems");
    }
    print_notes(global, Qualified::Listing, &notes);
    Ok(Exit::Done)
}

pub fn show(global: &Global, typed: &args::Show) -> Result<Exit, Failure> {
    let reference = app::parse_reference(&typed.reference)?;
    let mut out = Output::open(typed.output.as_deref(), global.no_color)?;
    let line = typed.at.map(app::LineTarget::Line);
    if let Some(at) = line.or(typed.at_offset.map(app::LineTarget::Offset)) {
        let context = typed.context.unwrap_or(0);
        let paint = out.paint;
        let mut view =
            crate::cli::render::LineView::new(&mut out, paint, &typed.reference, typed.raw);
        app::show_at(&session(global)?, &reference, at, context, &mut view)?;
    } else if typed.raw {
        let tell = &mut crate::cli::render::say_problem;
        app::show_raw(&session(global)?, &reference, &mut out, tell)?;
    } else {
        let paint = out.paint;
        let mut view = crate::cli::render::ShowView::new(&mut out, paint);
        app::show(&session(global)?, &reference, &mut view)?;
    }
    out.flush()?;
    Ok(Exit::Done)
}

pub fn status(global: &Global, typed: &args::Status) -> Result<Exit, Failure> {
    let status = app::status(&session(global)?)?;
    let mut out = Output::open(None, global.no_color)?;
    if typed.json {
        serde_json::to_writer_pretty(&mut out, &status).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        crate::cli::render::status(&mut out, &status)?;
        if typed.index {
            crate::cli::render::index_status(&mut out, &status)?;
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

pub fn verify(global: &Global, typed: &args::Verify) -> Result<Exit, Failure> {
    let progress = Progress::of_bytes(global.quiet, "verifying");
    let report = app::verify(&session(global)?, &mut |done, total| {
        progress.set(done, total)
    })?;
    drop(progress);
    let mut out = Output::open(None, global.no_color)?;
    if typed.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        for damage in &report.damage {
            writeln!(
                out,
                "{}: {}",
                out.paint.red("damaged"),
                crate::cli::output::visible(&damage.message)
            )?;
        }
        let verdict = if report.damage.is_empty() {
            "all whole"
        } else {
            "NOT WHOLE"
        };
        writeln!(
            out,
            "{}, {} read back and compared: {verdict}",
            counted(report.results, "result"),
            human_bytes(report.bytes)
        )?;
    }
    out.flush()?;
    Ok(if report.damage.is_empty() {
        Exit::Done
    } else {
        Exit::Damaged
    })
}
