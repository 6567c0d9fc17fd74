//! What readers have to note: they write to a file of their own, and the next
//! writer folds it into the journal.
//!
//! A line each, masked and in base64: a query may name what an antivirus
//! looks for.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use super::archive::Archive;
use super::card::CustodyEvent;
use super::mask::Mask;
use super::{Store, StoreError, layout};

/// **Units**: bytes of one line; a longer one is none of ours.
const LINE_MAX: u64 = 2 << 20;

fn mask(archive: &Archive) -> Mask {
    Mask {
        key: archive.key(),
        nonce: *b"custodynotes",
    }
}

/// Appends an event. Readers that come at once wait for each other, some
/// milliseconds.
pub(super) fn append(dir: &Path, archive: &Archive, event: &CustodyEvent) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    mask(archive).apply(0, &mut line);
    // The line feed before ends a line that was cut short.
    let line = format!("\n{}\n", BASE64.encode(line));
    let mut file = File::options()
        .append(true)
        .create(true)
        .open(dir.join(layout::NOTES))?;
    file.lock()?;
    file.write_all(line.as_bytes())?;
    file.sync_data()
}

/// Moves all events into the journal. Repeating it is harmless.
pub(super) fn fold_in(store: &Store, dir: &Path) -> Result<(), StoreError> {
    let failed = |e| StoreError::io(format!("fold in {}", layout::NOTES), e);
    let file = match File::options()
        .read(true)
        .write(true)
        .open(dir.join(layout::NOTES))
    {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(e)),
    };
    file.lock().map_err(failed)?;
    let mask = mask(store.archive());
    let mut lines = BufReader::new(&file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut lines).take(LINE_MAX);
        if limited.read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        if let Some(event) = parse(&mask, line.trim_ascii()) {
            store.note_custody(&event)?;
        }
    }
    let mut file = &file;
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.set_len(0).map_err(failed)?;
    file.sync_data().map_err(failed)
}

fn parse(mask: &Mask, line: &[u8]) -> Option<CustodyEvent> {
    let mut json = BASE64.decode(line).ok()?;
    mask.apply(0, &mut json);
    serde_json::from_slice(&json).ok()
}
