//! Pending custody events: readers append them to `custody.notes`, and the next
//! writer merges them into the journal.
//!
//! One event per line, with a checksum, masked and encoded as base64: a query
//! may contain text that an antivirus looks for. A damaged line is merged too,
//! as an event that contains the line and its offset.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use data_encoding::BASE64_NOPAD;

use crate::StoreError;
use crate::disk::system;
use crate::format::archive_file::Archive;
use crate::format::entry::CustodyEvent;
use crate::format::layout;
use crate::format::mask::Mask;
use crate::read::reader::Damage;
use evidence::Time;

/// **Units**: bytes of one event, more than any command line has. Up to
/// [`EVENTS_AT_ONCE`] events are in memory at once.
const EVENT_MAX: usize = 256 << 10;
/// Events in one commit.
const EVENTS_AT_ONCE: usize = 1_000;
/// **Units**: bytes of one line, including the line feed. A longer line is
/// damaged and is read in pieces of this length.
const LINE_MAX: u64 = (EVENT_MAX + CHECKSUM).div_ceil(3) as u64 * 4 + 1;
/// **Units**: bytes after each event.
const CHECKSUM: usize = 4;
/// **Units**: bytes of a damaged line that are merged into the journal. An
/// event has some hundred bytes.
const DAMAGED_MAX: usize = 64 << 10;

fn mask(archive: &Archive) -> Mask {
    Mask {
        key: archive.key(),
        nonce: *b"custodynotes",
    }
}

/// Appends an event. Concurrent readers wait for each other, for some
/// milliseconds.
///
/// **Errors**: `InvalidInput` if the event is longer than [`EVENT_MAX`]; I/O.
pub(crate) fn append(dir: &Path, archive: &Archive, event: &CustodyEvent) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(event)?;
    if bytes.len() > EVENT_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                "the event has {} bytes, the limit is {EVENT_MAX}",
                bytes.len()
            ),
        ));
    }
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    mask(archive).apply(0, &mut bytes);
    // The first line feed ends a line that a crash cut short.
    let line = format!("\n{}\n", BASE64_NOPAD.encode(&bytes));
    let mut options = File::options();
    // Windows cannot lock a file opened for appending only.
    options.read(true).write(true).create(true).truncate(false);
    system::private(&mut options);
    let mut file = options.open(dir.join(layout::PENDING_CUSTODY))?;
    file.lock()?;
    let end = file.seek(SeekFrom::End(0))?;
    let written = file.write_all(line.as_bytes());
    if written.is_err() {
        // On a full disk, do not leave a part of the line: it would be damage.
        let _ = file.set_len(end);
    }
    written.and_then(|()| file.sync_data())
}

/// Passes all events to `commit`, including one for each damaged line, and then
/// empties the file. Returns the damage.
///
/// Repeating it after a crash is harmless, because the journal ignores
/// duplicate events.
pub(crate) fn merge(
    dir: &Path,
    archive: &Archive,
    commit: impl Fn(&[CustodyEvent]) -> Result<(), StoreError>,
) -> Result<Vec<Damage>, StoreError> {
    let failed = |e| StoreError::io(format!("merge {}", layout::PENDING_CUSTODY), e);
    let opened = File::options()
        .read(true)
        .write(true)
        .open(dir.join(layout::PENDING_CUSTODY));
    let mut file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    file.lock().map_err(failed)?;
    let mut lines = CustodyLines::new(&file, archive);
    let mut damage = Vec::new();
    loop {
        let mut events = Vec::new();
        while events.len() < EVENTS_AT_ONCE
            && let Some(line) = lines.next().map_err(failed)?
        {
            events.push(match line {
                CustodyLine::Event(event) => event,
                CustodyLine::Damaged { offset, bytes } => {
                    damage.push(damage_of(offset, bytes.len()));
                    event_of_damaged(offset, &bytes)
                }
            });
        }
        if events.is_empty() {
            break;
        }
        commit(&events)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.set_len(0).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    Ok(damage)
}

/// The damaged lines.
///
/// **Cost**: reads the file. Merging and appending wait meanwhile.
pub(crate) fn check(dir: &Path, archive: &Archive) -> io::Result<Vec<Damage>> {
    let file = match File::open(dir.join(layout::PENDING_CUSTODY)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    // Read-only media may not support locks; they have no writers either.
    let _ = file.lock_shared();
    let mut lines = CustodyLines::new(&file, archive);
    let mut damage = Vec::new();
    while let Some(line) = lines.next()? {
        if let CustodyLine::Damaged { offset, bytes } = line {
            damage.push(damage_of(offset, bytes.len()));
        }
    }
    Ok(damage)
}

fn damage_of(offset: u64, len: usize) -> Damage {
    Damage {
        result: None,
        seq: None,
        file: layout::PENDING_CUSTODY.into(),
        offset,
        frame: None,
        expected: "a custody event".into(),
        found: format!("{len} damaged bytes"),
    }
}

/// An event that contains a damaged line. It is the same for the same bytes, so
/// that merging the line again adds nothing.
fn event_of_damaged(offset: u64, line: &[u8]) -> CustodyEvent {
    let kept = line.get(..DAMAGED_MAX).unwrap_or(line);
    CustodyEvent {
        who: String::new(),
        host: String::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        at: Time::from_text(""),
        what: format!(
            "damaged line in {}: {} bytes at byte {offset}, the first {} of them in base64: {}",
            layout::PENDING_CUSTODY,
            line.len(),
            kept.len(),
            BASE64_NOPAD.encode(kept)
        ),
    }
}

enum CustodyLine {
    Event(CustodyEvent),
    Damaged { offset: u64, bytes: Vec<u8> },
}

/// The lines of the file, without empty ones.
struct CustodyLines<'a> {
    source: BufReader<&'a File>,
    mask: Mask,
    offset: u64,
}

impl<'a> CustodyLines<'a> {
    fn new(file: &'a File, archive: &Archive) -> Self {
        Self {
            source: BufReader::new(file),
            mask: mask(archive),
            offset: 0,
        }
    }

    fn next(&mut self) -> io::Result<Option<CustodyLine>> {
        loop {
            let mut bytes = Vec::new();
            let offset = self.offset;
            let mut limited = (&mut self.source).take(LINE_MAX);
            let len = limited.read_until(b'\n', &mut bytes)?;
            if len == 0 {
                return Ok(None);
            }
            self.offset += len as u64;
            if bytes.ends_with(b"\n") {
                bytes.pop();
            }
            if !bytes.is_empty() {
                return Ok(Some(match self.parse(&bytes) {
                    Some(event) => CustodyLine::Event(event),
                    None => CustodyLine::Damaged { offset, bytes },
                }));
            }
        }
    }

    fn parse(&self, line: &[u8]) -> Option<CustodyEvent> {
        let mut event = BASE64_NOPAD.decode(line).ok()?;
        self.mask.apply(0, &mut event);
        let checksum = event.split_off(event.len().checked_sub(CHECKSUM)?);
        (checksum == crc32fast::hash(&event).to_le_bytes())
            .then(|| serde_json::from_slice(&event).ok())
            .flatten()
    }
}
