//! What readers have to note: they write to a file of their own, and the next
//! writer folds it into the journal.
//!
//! A line each, with a checksum, masked and in base64: a query may name what an
//! antivirus looks for. A line that is damaged is no event any more: it goes
//! into the journal as it stands, with its place.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;

use crate::StoreError;
use crate::disk::system;
use crate::format::archive_file::Archive;
use crate::format::entry::CustodyEvent;
use crate::format::layout;
use crate::format::mask::Mask;
use crate::read::reader::Damage;
use evidence::Time;

/// **Units**: bytes of one event: more than any command line has. A commit's
/// worth of them is in memory at once.
const EVENT_MAX: usize = 256 << 10;
/// **Units**: bytes of one line, its line feed included. A longer one is none
/// of ours and is read in pieces of this length.
const LINE_MAX: u64 = (EVENT_MAX + CHECKSUM).div_ceil(3) as u64 * 4 + 1;
/// **Units**: bytes behind each event.
const CHECKSUM: usize = 4;
/// **Units**: bytes of a damaged line that go into the journal. Events are
/// some hundred bytes long; of a longer one its beginning is kept.
const DAMAGED_KEPT: usize = 64 << 10;

/// Events that are committed together.
const EVENTS_AT_ONCE: usize = 1_000;

fn mask(archive: &Archive) -> Mask {
    Mask {
        key: archive.key(),
        nonce: *b"custodynotes",
    }
}

/// Appends an event. Readers that come at once wait for each other, some
/// milliseconds.
///
/// **Errors**: also where the event is longer than [`EVENT_MAX`].
pub(crate) fn append(dir: &Path, archive: &Archive, event: &CustodyEvent) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    if line.len() > EVENT_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("an event of {} bytes (limit {EVENT_MAX})", line.len()),
        ));
    }
    line.extend_from_slice(&crc32fast::hash(&line).to_le_bytes());
    mask(archive).apply(0, &mut line);
    // The line feed before ends a line that was cut short.
    let line = format!("\n{}\n", BASE64.encode(line));
    let mut options = File::options();
    // Windows locks no file that is open for appending alone.
    options.read(true).write(true).create(true).truncate(false);
    system::private(&mut options);
    let mut file = options.open(dir.join(layout::NOTES))?;
    file.lock()?;
    let before = file.seek(SeekFrom::End(0))?;
    let written = file.write_all(line.as_bytes());
    if written.is_err() {
        // Half a line on a full disk would look like damage.
        let _ = file.set_len(before);
    }
    written.and_then(|()| file.sync_data())
}

/// Moves all events into the journal, and damaged lines as what they are.
/// Repeating it is harmless. Returns what was damaged.
pub(crate) fn merge(
    dir: &Path,
    archive: &Archive,
    commit: impl Fn(&[CustodyEvent]) -> Result<(), StoreError>,
) -> Result<Vec<Damage>, StoreError> {
    let failed = |e| StoreError::io(format!("fold in {}", layout::NOTES), e);
    let opened = File::options()
        .read(true)
        .write(true)
        .open(dir.join(layout::NOTES));
    let mut file = match opened {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed(e)),
    };
    file.lock().map_err(failed)?;
    let mut lines = CustodyLines::new(&file, archive);
    let mut damaged = Vec::new();
    loop {
        let mut page = Vec::new();
        while page.len() < EVENTS_AT_ONCE
            && let Some(line) = lines.next().map_err(failed)?
        {
            page.push(match line {
                CustodyLine::Event(event) => event,
                CustodyLine::Damaged { offset, bytes } => {
                    damaged.push(damage(offset, bytes.len()));
                    as_it_stands(offset, &bytes)
                }
            });
        }
        if page.is_empty() {
            break;
        }
        commit(&page)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    file.set_len(0).map_err(failed)?;
    file.sync_data().map_err(failed)?;
    Ok(damaged)
}

/// The damaged lines, placed.
///
/// **Cost**: reads the file; writers and readers that note something wait.
pub(crate) fn check(dir: &Path, archive: &Archive) -> io::Result<Vec<Damage>> {
    let file = match File::open(dir.join(layout::NOTES)) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    // Media that can be read only may know no locks; nobody writes there.
    let _ = file.lock_shared();
    let mut lines = CustodyLines::new(&file, archive);
    let mut damaged = Vec::new();
    while let Some(line) = lines.next()? {
        if let CustodyLine::Damaged { offset, bytes } = line {
            damaged.push(damage(offset, bytes.len()));
        }
    }
    Ok(damaged)
}

fn damage(offset: u64, len: usize) -> Damage {
    Damage {
        result: None,
        seq: None,
        file: layout::NOTES.into(),
        offset,
        frame: None,
        expected: "a noted event".into(),
        found: format!("{len} bytes that are none"),
    }
}

/// Says what stood at `offset`; the same for the same bytes, so that folding
/// them in again adds nothing.
fn as_it_stands(offset: u64, line: &[u8]) -> CustodyEvent {
    let kept = line.get(..DAMAGED_KEPT).unwrap_or(line);
    CustodyEvent {
        who: String::new(),
        host: String::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        at: Time::from_text(""),
        what: format!(
            "a line of {} was damaged: {} bytes at byte {offset}, {} of them in base64: {}",
            layout::NOTES,
            line.len(),
            kept.len(),
            BASE64.encode(kept)
        ),
    }
}

enum CustodyLine {
    Event(CustodyEvent),
    Damaged { offset: u64, bytes: Vec<u8> },
}

/// The lines of the file; empty ones are passed over.
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
        let mut event = BASE64.decode(line).ok()?;
        self.mask.apply(0, &mut event);
        let checksum = event.split_off(event.len().checked_sub(CHECKSUM)?);
        (checksum == crc32fast::hash(&event).to_le_bytes())
            .then(|| serde_json::from_slice(&event).ok())
            .flatten()
    }
}
