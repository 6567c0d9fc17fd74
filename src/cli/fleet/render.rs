//! Runs and their commands for people: one line a row.

use std::io::{self, Write};

use crate::app::{Cell, CellState, FleetRow, RunRow};
use crate::cli::output::{Paint, Row, human_count, visible};

fn painted(state: CellState, paint: Paint) -> String {
    let word = format!("{:<9}", state.as_str());
    match state {
        CellState::Done => paint.green(&word),
        CellState::Pending | CellState::Old => paint.yellow(&word),
        _ => paint.red(&word),
    }
}

fn write_cell(out: &mut dyn Write, cell: &Cell, paint: Paint) -> io::Result<()> {
    write!(
        out,
        "{:<28}  {}  {}",
        paint.place(&visible(&cell.device)),
        painted(cell.state, paint),
        visible(&cell.command)
    )?;
    if !cell.detail.is_empty() {
        write!(out, "  {}", paint.dim(&visible(&cell.detail)))?;
    }
    Ok(())
}

impl Row for Cell {
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        write_cell(out, self, paint)?;
        writeln!(out)
    }
}

impl Row for FleetRow {
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        write_cell(out, &self.cell, paint)?;
        if let Some(what) = &self.waits_for {
            write!(
                out,
                "  {}",
                paint.dim(&visible(&format!("waits for {what}")))
            )?;
        }
        writeln!(out)
    }
}

impl Row for RunRow {
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        writeln!(
            out,
            "{}  {}  {:<10}  {:>6} devices  {} of {} results  {}",
            paint.place(&self.run.to_string()),
            visible(self.created.as_ref().map_or("-", |time| time.text())),
            self.state,
            human_count(u64::from(self.devices)),
            human_count(self.results),
            human_count(self.results_expected),
            visible(self.why.as_ref().unwrap_or(&self.comment))
        )
    }
}
