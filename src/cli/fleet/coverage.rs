use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use jiff::SignedDuration;

use crate::app;
use crate::app::{Cell, CellState, CoverageRequest, Covered, Failure, Note};
use crate::cli::args::Global;
use crate::cli::notes::{Qualified, print_notes};
use crate::cli::output::{Form, Output, counted, human_count, unwritable};
use crate::cli::{Exit, connect, runtime, say, session};

use crate::cli::fleet::args::Coverage;
use crate::cli::fleet::grid::{Column, Devices, Grid};
use crate::cli::fleet::run;
use crate::cli::fleet::run::Launch;

pub fn coverage(global: &Global, typed: &Coverage) -> Result<Exit, Failure> {
    let request = CoverageRequest {
        run: typed.run.clone(),
        older_than: typed
            .older_than
            .map(|age| SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX)),
    };
    let Covered { cells, notes } = app::coverage(&session(global)?, &request)?;
    print_notes(global, Qualified::Listing, &notes);
    if typed.retry_missing {
        return retry(global, typed, &cells);
    }
    let form = Form::from(&typed.form);
    if let Some(file) = &typed.html {
        let page = page(&cells);
        std::fs::write(file, page).map_err(|e| unwritable(file, e))?;
    } else if form == Form::People {
        let mut out = Output::open(typed.form.output.as_deref(), global.no_color)?;
        Grid::of(&cells, typed.holes).write(&mut out, width(typed))?;
        out.flush()?;
    } else {
        let out = Output::open(typed.form.output.as_deref(), global.no_color)?;
        let mut rows = out.rows(form);
        let wanted = |cell: &&Cell| !typed.holes || cell.state != CellState::Done;
        for cell in cells.iter().filter(wanted) {
            rows.write(cell)?;
        }
        rows.finish()?;
    }
    tell(global, &cells);
    let holes = cells.iter().any(|cell| cell.state != CellState::Done);
    Ok(if holes || notes.iter().any(Note::affects_completeness) {
        Exit::Incomplete
    } else {
        Exit::Done
    })
}

/// Of the terminal; elsewhere there is no end to a line.
fn width(typed: &Coverage) -> Option<usize> {
    let is_file = typed.form.output.is_some();
    let size = terminal_size::terminal_size_of(std::io::stdout()).filter(|_| !is_file);
    size.map(|(width, _)| usize::from(width.0))
}

fn retry(global: &Global, typed: &Coverage, cells: &[Cell]) -> Result<Exit, Failure> {
    let in_doubt = cells.iter().filter(|c| c.state == CellState::Unresolved);
    let in_doubt: BTreeSet<&str> = in_doubt.map(|cell| cell.device.as_str()).collect();
    if !in_doubt.is_empty() {
        let devices = counted(in_doubt.len() as u64, "device");
        say(
            global,
            &format!("{devices} left out, unresolved: `fleet resume --repost-lost` decides"),
        );
    }
    if !has_holes(cells) {
        return Ok(nothing_missing(global, cells));
    }
    let comment = comment(global, typed)?;
    let service = connect::settings(&typed.connect)?;
    let plan = runtime::run(app::plan_missing(&service, cells, &comment))??;
    let launch = Launch {
        connect: &typed.connect,
        how: &typed.how,
        dry_run: typed.dry_run,
        json: typed.form.json,
    };
    run::launch(global, &service, plan, &launch)
}

/// Worth another run.
fn has_holes(cells: &[Cell]) -> bool {
    let mut cells = cells.iter();
    cells.any(|cell| cell.is_meant && cell.state.is_hole())
}

/// What is unresolved or still to come is not done, and no work for a retry.
fn nothing_missing(global: &Global, cells: &[Cell]) -> Exit {
    let count = |state| cells.iter().filter(|cell| cell.state == state).count() as u64;
    let pending = count(CellState::Pending);
    if pending > 0 {
        let commands = counted(pending, "command");
        say(
            global,
            &format!("{commands} still to come: `fleet status` says why"),
        );
    }
    if pending + count(CellState::Unresolved) > 0 {
        say(global, "nothing else is missing");
        return Exit::Incomplete;
    }
    say(global, "nothing is missing");
    Exit::Done
}

/// As typed, else that of the run whose holes these are.
fn comment(global: &Global, typed: &Coverage) -> Result<String, Failure> {
    match (&typed.comment, &typed.run) {
        (Some(comment), _) => Ok(comment.clone()),
        (None, Some(run)) => Ok(app::fleet_status(&session(global)?, Some(run))?.0.comment),
        (None, None) => Err(
            Failure::usage("the service wants a comment with every session")
                .hint("add --comment CASE-42, or name the run: --run RUN"),
        ),
    }
}

fn tell(global: &Global, cells: &[Cell]) {
    let mut counts: BTreeMap<CellState, u64> = BTreeMap::new();
    for cell in cells {
        *counts.entry(cell.state).or_default() += 1;
    }
    let counts: Vec<String> = counts
        .iter()
        .map(|(state, count)| format!("{} {}", human_count(*count), state.as_str()))
        .collect();
    let all = counted(cells.len() as u64, "command");
    let counts = match counts.is_empty() {
        true => String::new(),
        false => format!(": {}", counts.join(", ")),
    };
    say(global, &format!("{all}{counts}"));
    if has_holes(cells) {
        say(global, "--retry-missing makes a run of what is missing");
    }
}

/// The matrix: a row a device, a column a command. No script, nothing from
/// elsewhere; every text is evidence and escaped.
fn page(cells: &[Cell]) -> Vec<u8> {
    let grid = Grid::of(cells, false);
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = write_page(&mut page, &grid.commands, &grid.devices);
    page
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Coverage</title><style>body{font:14px system-ui,sans-serif}table{border-collapse:collapse}th,td{border:1px solid #999;padding:2px 8px;text-align:left}.done{background:#cfc}.pending,.old{background:#ffc}.hole{background:#fcc}</style><h1>Coverage</h1><table><tr><th>Device";

fn write_page(
    page: &mut Vec<u8>,
    commands: &[Column<'_>],
    devices: &Devices<'_>,
) -> std::io::Result<()> {
    write!(page, "{HEAD}")?;
    for command in commands {
        write!(page, "<th>{}", escaped(&command.to_string()))?;
    }
    for ((device, id), cells) in devices {
        write!(
            page,
            "\n<tr><th title=\"{}\">{}",
            escaped(id),
            escaped(device)
        )?;
        for command in commands {
            match cells.get(command) {
                Some(cell) => write!(
                    page,
                    "<td class={} title=\"{}\">{}",
                    class(cell.state),
                    escaped(&cell.detail),
                    cell.state.as_str()
                )?,
                None => write!(page, "<td>")?,
            }
        }
    }
    writeln!(page, "\n</table>")
}

fn class(state: CellState) -> &'static str {
    match state {
        CellState::Done => "done",
        CellState::Pending => "pending",
        CellState::Old => "old",
        _ => "hole",
    }
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_obeys_nothing_that_is_evidence() {
        assert_eq!(
            escaped("<b title=\"x\">&\u{7}"),
            "&lt;b title=&quot;x&quot;&gt;&amp; "
        );
        assert!(
            String::from_utf8(page(&[]))
                .unwrap()
                .ends_with("</table>\n")
        );
    }
}
