use std::collections::BTreeMap;
use std::io::Write;

use jiff::SignedDuration;

use crate::app::{self, Cell, CellState, CoverageRequest, Failure};
use crate::cli::args::Global;
use crate::cli::output::{Form, Output, counted, human_count, unwritable};
use crate::cli::{Exit, archive, connect, say};

use super::args::Coverage;
use super::run::{self, Launch};

pub fn coverage(global: &Global, typed: &Coverage) -> Result<Exit, Failure> {
    let dir = archive(global)?;
    let request = CoverageRequest {
        run: typed.run.clone(),
        older_than: typed
            .older_than
            .map(|age| SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX)),
    };
    let cells = app::coverage(&dir, &request)?;
    if typed.retry_missing {
        return retry(global, typed, &cells);
    }
    if let Some(file) = &typed.html {
        let page = page(&cells);
        std::fs::write(file, page).map_err(|e| unwritable(file, e))?;
    } else {
        let out = Output::open(typed.form.output.as_deref(), global.no_color)?;
        let mut rows = out.rows(Form::from(&typed.form));
        for cell in &cells {
            rows.write(cell)?;
        }
        rows.finish()?;
    }
    tell(global, &cells);
    let holes = cells.iter().any(|cell| cell.state != CellState::Done);
    Ok(if holes { Exit::Incomplete } else { Exit::Done })
}

fn retry(global: &Global, typed: &Coverage, cells: &[Cell]) -> Result<Exit, Failure> {
    if !cells.iter().any(|cell| cell.state.is_hole()) {
        say(global, "nothing is missing");
        return Ok(Exit::Done);
    }
    let settings = connect::settings(&typed.connect)?;
    let comment = typed.comment.as_deref().unwrap_or("");
    let plan = app::plan_missing(&settings, cells, comment)?;
    let launch = Launch {
        connect: &typed.connect,
        how: &typed.how,
        dry_run: typed.dry_run,
        json: typed.form.json,
    };
    run::launch(global, settings, plan, &launch)
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
    say(global, &format!("{all}: {}", counts.join(", ")));
    if cells.iter().any(|cell| cell.state.is_hole()) {
        say(global, "--retry-missing makes a run of what is missing");
    }
}

/// The matrix: a row a device, a column a command. No script, nothing from
/// elsewhere; every text is evidence and escaped.
fn page(cells: &[Cell]) -> Vec<u8> {
    let mut commands: Vec<&str> = Vec::new();
    let mut devices: BTreeMap<(&str, &str), BTreeMap<&str, &Cell>> = BTreeMap::new();
    for cell in cells {
        if !commands.contains(&cell.command.as_str()) {
            commands.push(&cell.command);
        }
        let device = devices.entry((&cell.device, &cell.machine_id)).or_default();
        device.insert(&cell.command, cell);
    }
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = write_page(&mut page, &commands, &devices);
    page
}

const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><title>Coverage</title><style>body{font:14px system-ui,sans-serif}table{border-collapse:collapse}th,td{border:1px solid #999;padding:2px 8px;text-align:left}.done{background:#cfc}.pending,.old{background:#ffc}.hole{background:#fcc}</style><h1>Coverage</h1><table><tr><th>Device";

fn write_page(
    page: &mut Vec<u8>,
    commands: &[&str],
    devices: &BTreeMap<(&str, &str), BTreeMap<&str, &Cell>>,
) -> std::io::Result<()> {
    write!(page, "{HEAD}")?;
    for command in commands {
        write!(page, "<th>{}", escaped(command))?;
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
