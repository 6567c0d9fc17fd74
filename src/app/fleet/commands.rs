//! What a person tells a run that another process is at: a line each in a file
//! beside the archive's own. Whoever is at the run hears them within seconds,
//! and drops them once what was done about them is in the record. So an order
//! stands in the file, in the record, or for a moment in both.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::app::error::{Failure, FailureKind};
use collect::fleet::{FleetOrder, RunId};

const NAME: &str = "fleet.orders";
/// A person types few orders; a longer file is none of ours.
const BYTES_MAX: u64 = 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Line {
    run: RunId,
    /// Without one: whoever is at the run hears none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<FleetOrder>,
}

/// Leaves an order.
///
/// **Errors**: also where whoever is at the run hears none any more.
pub(super) fn leave(archive: &Path, run: RunId, order: FleetOrder) -> Result<(), Failure> {
    let world = |e| {
        Failure::caused(
            FailureKind::Environment,
            "could not leave an order for the run",
            e,
        )
    };
    let mut held = Held::open(archive).map_err(world)?;
    if held.lines.iter().any(|line| line.is_end(run)) {
        let message =
            format!("run {run} starts nothing more: the process at it collects what is left");
        return Err(Failure::usage(message).hint(
            "`fleet resume` goes on when that is done; Ctrl-C there ends it now and loses nothing",
        ));
    }
    let order = Some(order);
    held.lines.push(Line { run, order });
    held.write().map_err(world)
}

/// What was ordered of a run, in order.
pub(super) fn read(archive: &Path, run: RunId) -> io::Result<Vec<FleetOrder>> {
    let lines = Held::open(archive)?.lines.into_iter();
    let ours = lines.filter(|line| line.run == run);
    Ok(ours.filter_map(|line| line.order).collect())
}

/// Drops the first `count` orders of a run: orders are added behind them, and
/// nobody else drops any.
pub(super) fn remove(archive: &Path, run: RunId, count: usize) -> io::Result<()> {
    let mut left = count;
    Held::open(archive)?.retain(|line| {
        let goes = line.is_order(run) && left > 0;
        left -= usize::from(goes);
        !goes
    })
}

/// Drops what was left about whether to go on: whoever goes on with a run, or
/// does not, decides that anew.
pub(super) fn overrule(archive: &Path, run: RunId) -> io::Result<()> {
    Held::open(archive)?.retain(|line| {
        let going = matches!(line.order, Some(FleetOrder::Pause | FleetOrder::Resume));
        line.run != run || !going
    })
}

/// Whether orders to a run are heard from now on. Not to hear them brings
/// `false` where some wait to be heard.
pub(super) fn hear(archive: &Path, run: RunId, hears: bool) -> io::Result<bool> {
    let mut held = Held::open(archive)?;
    if !hears && held.lines.iter().any(|line| line.is_order(run)) {
        return Ok(false);
    }
    if hears {
        // One process at a time is at an archive: other runs' ends are of
        // none that lives.
        held.retain(|line| line.order.is_some())?;
    } else {
        held.lines.push(Line { run, order: None });
        held.write()?;
    }
    Ok(true)
}

impl Line {
    fn is_order(&self, run: RunId) -> bool {
        self.run == run && self.order.is_some()
    }

    fn is_end(&self, run: RunId) -> bool {
        self.run == run && self.order.is_none()
    }
}

/// The file, locked against other processes as long as this lives. A line
/// nobody understands, such as a torn one, is left out.
struct Held {
    file: File,
    lines: Vec<Line>,
}

impl Held {
    fn open(archive: &Path) -> io::Result<Self> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.open(archive.join(NAME))?;
        file.lock()?;
        let mut bytes = Vec::new();
        (&file).take(BYTES_MAX).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().filter_map(|l| serde_json::from_str(l).ok());
        Ok(Self {
            lines: lines.collect(),
            file,
        })
    }

    /// Writes only where a line goes.
    fn retain(mut self, stays: impl FnMut(&Line) -> bool) -> io::Result<()> {
        let before = self.lines.len();
        self.lines.retain(stays);
        match self.lines.len() < before {
            true => self.write(),
            false => Ok(()),
        }
    }

    /// Lines move towards the beginning at most, and what is behind them is
    /// cut off last: a kill in between leaves an order twice, never not at
    /// all.
    fn write(mut self) -> io::Result<()> {
        let mut text = String::new();
        for line in &self.lines {
            text.push_str(&serde_json::to_string(line)?);
            text.push('\n');
        }
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: RunId = RunId::from_bytes([1; 8]);
    const OTHER: RunId = RunId::from_bytes([2; 8]);

    #[test]
    fn an_order_stands_until_its_run_drops_it() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), ONE).unwrap(), []);
        let device = FleetOrder::CancelDevice("ws-1".into());
        for (run, order) in [
            (ONE, FleetOrder::Pause),
            (OTHER, FleetOrder::Cancel),
            (ONE, device.clone()),
        ] {
            leave(dir.path(), run, order).unwrap();
        }
        let both = [FleetOrder::Pause, device.clone()];
        assert_eq!(read(dir.path(), ONE).unwrap(), both);
        assert_eq!(read(dir.path(), ONE).unwrap(), both, "reading takes none");
        // One came while the other was obeyed.
        remove(dir.path(), ONE, 1).unwrap();
        assert_eq!(read(dir.path(), ONE).unwrap(), [device]);
        remove(dir.path(), ONE, 1).unwrap();
        assert_eq!(read(dir.path(), ONE).unwrap(), []);
        assert_eq!(read(dir.path(), OTHER).unwrap(), [FleetOrder::Cancel]);
    }

    #[test]
    fn no_order_is_left_where_nobody_hears_it() {
        let dir = tempfile::tempdir().unwrap();
        leave(dir.path(), ONE, FleetOrder::Resume).unwrap();
        assert!(!hear(dir.path(), ONE, false).unwrap(), "one waits");
        remove(dir.path(), ONE, 1).unwrap();
        assert!(hear(dir.path(), ONE, false).unwrap());
        let refused = leave(dir.path(), ONE, FleetOrder::Resume).unwrap_err();
        assert!(refused.chain().contains("starts nothing more"));
        assert_eq!(read(dir.path(), ONE).unwrap(), []);
        // Another process goes on with it.
        assert!(hear(dir.path(), ONE, true).unwrap());
        leave(dir.path(), ONE, FleetOrder::Resume).unwrap();
        assert_eq!(read(dir.path(), ONE).unwrap(), [FleetOrder::Resume]);
    }

    #[test]
    fn a_torn_line_swallows_no_order() {
        let dir = tempfile::tempdir().unwrap();
        leave(dir.path(), ONE, FleetOrder::Pause).unwrap();
        let path = dir.path().join(NAME);
        let mut torn = std::fs::read(&path).unwrap();
        torn.extend_from_slice(b"{\"run\":\"0101");
        std::fs::write(&path, torn).unwrap();
        leave(dir.path(), ONE, FleetOrder::Cancel).unwrap();
        let both = [FleetOrder::Pause, FleetOrder::Cancel];
        assert_eq!(read(dir.path(), ONE).unwrap(), both);
    }

    #[test]
    fn going_on_overrules_a_pause_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for order in [FleetOrder::Pause, FleetOrder::Repost, FleetOrder::Resume] {
            leave(dir.path(), ONE, order).unwrap();
        }
        leave(dir.path(), OTHER, FleetOrder::Pause).unwrap();
        overrule(dir.path(), ONE).unwrap();
        assert_eq!(read(dir.path(), ONE).unwrap(), [FleetOrder::Repost]);
        assert_eq!(read(dir.path(), OTHER).unwrap(), [FleetOrder::Pause]);
    }
}
