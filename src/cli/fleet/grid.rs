//! Device by command, as a person reads it: a row a device, a column a
//! command, one word or, where the terminal is too narrow, one letter a cell.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use crate::app::{Cell, CellState};
use crate::cli::output::{Output, Paint, human_count, visible};

/// By name and machine id, then by command.
pub type Devices<'a> = BTreeMap<(&'a str, &'a str), BTreeMap<Column<'a>, &'a Cell>>;

/// A command, and how many like it stand before it in its session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Column<'a> {
    command: &'a str,
    repeats: u32,
}

impl fmt::Display for Column<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.command)?;
        match self.repeats {
            0 => Ok(()),
            n => write!(f, " (time {})", u64::from(n) + 1),
        }
    }
}

/// Reasons told below the grid: the commonest say what to do.
const REASONS_MAX: usize = 10;
/// A device's name takes no more of a line.
const NAME_MAX: usize = 32;
/// Between columns.
const SPACE: usize = 2;

pub struct Grid<'a> {
    /// In the order of the session, as far as it is one.
    pub commands: Vec<Column<'a>>,
    pub devices: Devices<'a>,
    counts: BTreeMap<(CellState, Column<'a>), u64>,
    reasons: BTreeMap<(CellState, Column<'a>, &'a str), u64>,
}

/// What stands in a cell.
#[derive(Clone, Copy, PartialEq)]
enum Script {
    Words,
    Letters,
}

impl<'a> Grid<'a> {
    /// `holes` leaves out devices on which all is done; they are counted.
    pub fn of(cells: &'a [Cell], holes: bool) -> Self {
        let mut ranks: BTreeMap<Column<'_>, (u8, u32)> = BTreeMap::new();
        let mut devices = Devices::new();
        let (mut counts, mut reasons) = (BTreeMap::new(), BTreeMap::new());
        for cell in cells {
            let command = Column {
                command: &cell.command,
                repeats: cell.repeats,
            };
            let rank = (cell.step.rank(), cell.command_index.0);
            ranks.entry(command).or_insert(rank);
            let device = devices.entry((&cell.device, &cell.machine_id)).or_default();
            device.insert(command, cell);
            *counts.entry((cell.state, command)).or_default() += 1;
            if !cell.detail.is_empty() {
                let reason = (cell.state, command, cell.detail.as_str());
                *reasons.entry(reason).or_default() += 1;
            }
        }
        if holes {
            let has_hole = |cells: &BTreeMap<Column<'_>, &Cell>| {
                cells.values().any(|cell| cell.state != CellState::Done)
            };
            devices.retain(|_, cells| has_hole(cells));
        }
        let mut commands: Vec<Column<'_>> = ranks.keys().copied().collect();
        commands.sort_by_key(|command| (ranks.get(command).copied(), *command));
        Self {
            commands,
            devices,
            counts,
            reasons,
        }
    }

    /// **Units**: columns of the terminal, where it has an end.
    pub fn write(&self, out: &mut Output, width: Option<usize>) -> io::Result<()> {
        let paint = out.paint;
        for (command, number) in self.commands.iter().zip(1..) {
            writeln!(out, "{number:>4}  {}", visible(&command.to_string()))?;
        }
        let name = self.name_width();
        let fits = |cell: usize| match width {
            Some(width) => width.saturating_sub(name) / (cell + SPACE),
            None => usize::MAX,
        };
        let words = CellState::WIDTH.max(self.number_width());
        let (script, cell) = match fits(words) >= self.commands.len() {
            true => (Script::Words, words),
            false => (Script::Letters, self.number_width()),
        };
        for block in (0..self.commands.len()).step_by(fits(cell).max(1)) {
            let end = block.saturating_add(fits(cell).max(1));
            let block = block..end.min(self.commands.len());
            self.write_block(out, paint, block, script, (name, cell))?;
        }
        if script == Script::Letters {
            writeln!(out, "\n{}", self.legend())?;
        }
        self.write_reasons(out, paint)
    }

    /// Of the letters there are.
    fn legend(&self) -> String {
        let is_there = |state: &&CellState| self.counts.keys().any(|(there, _)| there == *state);
        let states = CellState::ALL.iter().filter(is_there);
        let said = states.map(|state| format!("{} {}", state.letter(), state.as_str()));
        said.collect::<Vec<_>>().join(", ")
    }

    fn name_width(&self) -> usize {
        let names = self.devices.keys();
        let longest = names.map(|(name, _)| visible(name).chars().count()).max();
        longest.unwrap_or(0).clamp("not done".len(), NAME_MAX)
    }

    fn number_width(&self) -> usize {
        human_count(self.devices.len().max(self.commands.len()) as u64).len()
    }

    fn write_block(
        &self,
        out: &mut Output,
        paint: Paint,
        block: std::ops::Range<usize>,
        script: Script,
        (name, cell): (usize, usize),
    ) -> io::Result<()> {
        let commands = self.commands.get(block.clone()).unwrap_or_default();
        let numbers = (block.start + 1..).map(|number| format!("{number:<cell$}"));
        writeln!(out)?;
        write_row(
            out,
            format!("{:<name$}", "device"),
            numbers.take(commands.len()),
        )?;
        for ((device, _), cells) in &self.devices {
            let device = cut(&visible(device), name);
            let space = " ".repeat(name - device.chars().count());
            let words = commands.iter().map(|command| {
                let state = cells.get(command).map(|cell| cell.state);
                let word = match (state, script) {
                    (None, _) => "",
                    (Some(state), Script::Words) => state.as_str(),
                    (Some(state), Script::Letters) => state.letter(),
                };
                painted(state, &format!("{word:<cell$}"), paint)
            });
            write_row(out, format!("{}{space}", paint.place(&device)), words)?;
        }
        for (total, is_done) in [("done", true), ("not done", false)] {
            let counts = commands.iter().map(|command| {
                let count = human_count(self.count(*command, is_done));
                format!("{count:<cell$}")
            });
            write_row(out, paint.bold(&format!("{total:<name$}")), counts)?;
        }
        Ok(())
    }

    /// Devices on which a command is done, or is not.
    fn count(&self, command: Column<'_>, is_done: bool) -> u64 {
        let counts = self.counts.iter();
        counts
            .filter(|((state, of), _)| *of == command && (*state == CellState::Done) == is_done)
            .map(|(_, count)| count)
            .sum()
    }

    fn write_reasons(&self, out: &mut Output, paint: Paint) -> io::Result<()> {
        let mut reasons: Vec<_> = self.reasons.iter().collect();
        reasons.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), **reason));
        if !reasons.is_empty() {
            writeln!(out)?;
        }
        for ((state, command, detail), count) in reasons.iter().take(REASONS_MAX) {
            writeln!(
                out,
                "{:>6}  {}  {}: {}",
                human_count(**count),
                painted(Some(*state), state.as_str(), paint),
                visible(&command.to_string()),
                visible(detail)
            )?;
        }
        let more = reasons.len().saturating_sub(REASONS_MAX);
        if more > 0 {
            writeln!(out, "        and {more} other reasons; --csv has them all")?;
        }
        Ok(())
    }
}

fn write_row(
    out: &mut Output,
    name: String,
    cells: impl Iterator<Item = String>,
) -> io::Result<()> {
    let space = " ".repeat(SPACE);
    let row = cells.fold(name, |row, cell| row + &space + &cell);
    writeln!(out, "{}", row.trim_end())
}

fn painted(state: Option<CellState>, word: &str, paint: Paint) -> String {
    match state {
        None => word.to_string(),
        Some(CellState::Done) => paint.green(word),
        Some(CellState::Pending | CellState::Old) => paint.yellow(word),
        Some(_) => paint.red(word),
    }
}

/// The beginning of a name that is too long, and that it goes on.
fn cut(name: &str, width: usize) -> String {
    if name.chars().count() <= width {
        return name.to_string();
    }
    let kept: String = name.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_too_long_is_cut_and_says_so() {
        assert_eq!(cut("ws-1", 8), "ws-1");
        assert_eq!(cut("ws-0000001.contoso.example", 8), "ws-0000…");
    }

    #[test]
    fn every_state_has_a_letter_of_its_own() {
        let mut letters: Vec<_> = CellState::ALL.iter().map(|s| s.letter()).collect();
        letters.sort_unstable();
        letters.dedup();
        assert_eq!(letters.len(), CellState::ALL.len());
        let widest = CellState::ALL.iter().map(|s| s.as_str().len()).max();
        assert_eq!(widest, Some(CellState::WIDTH));
    }
}
