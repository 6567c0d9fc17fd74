//! What a person tells a run that another process is at: a line each in a file
//! beside the archive's own, taken by whoever is at the run within seconds.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::app::failure::{Failure, Kind};
use crate::collect::fleet::{FleetOrder, RunId};

const NAME: &str = "fleet.orders";
/// A person types few orders; a longer file is none of ours.
const BYTES_MAX: u64 = 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Line {
    run: RunId,
    order: FleetOrder,
}

/// Leaves an order.
pub(super) fn leave(archive: &Path, run: RunId, order: FleetOrder) -> Result<(), Failure> {
    let left = (|| {
        let mut file = open(archive, true)?;
        file.lock()?;
        file.seek(SeekFrom::End(0))?;
        let line = serde_json::to_string(&Line { run, order })?;
        file.write_all(format!("{line}\n").as_bytes())?;
        file.sync_data()
    })();
    left.map_err(|e| Failure::caused(Kind::World, "could not leave an order for the run", e))
}

/// Takes what was ordered of a run, in order; other runs' orders stay. A line
/// nobody understands is dropped.
pub(super) fn take(archive: &Path, run: RunId) -> io::Result<Vec<FleetOrder>> {
    let mut file = match open(archive, false) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    file.lock()?;
    let mut bytes = Vec::new();
    (&mut file).take(BYTES_MAX).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines = text
        .lines()
        .filter_map(|l| serde_json::from_str::<Line>(l).ok());
    let (ours, others): (Vec<_>, Vec<_>) = lines.partition(|line| line.run == run);
    let mut kept = String::new();
    for line in &others {
        kept.push_str(&serde_json::to_string(line)?);
        kept.push('\n');
    }
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(kept.as_bytes())?;
    file.sync_data()?;
    Ok(ours.into_iter().map(|line| line.order).collect())
}

fn open(archive: &Path, create: bool) -> io::Result<File> {
    let mut options = File::options();
    options
        .read(true)
        .write(true)
        .create(create)
        .truncate(false);
    options.open(archive.join(NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_taken_once_and_by_their_run() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (RunId::from_bytes([1; 8]), RunId::from_bytes([2; 8]));
        assert_eq!(take(dir.path(), one).unwrap(), []);
        let device = FleetOrder::CancelDevice("ws-1".into());
        for (run, order) in [
            (one, FleetOrder::Pause),
            (other, FleetOrder::Cancel),
            (one, device.clone()),
        ] {
            leave(dir.path(), run, order).unwrap();
        }
        assert_eq!(take(dir.path(), one).unwrap(), [FleetOrder::Pause, device]);
        assert_eq!(take(dir.path(), one).unwrap(), []);
        assert_eq!(take(dir.path(), other).unwrap(), [FleetOrder::Cancel]);
    }
}
