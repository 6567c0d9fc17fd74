//! Members found by their local headers, where the directory is of no help.

use std::io;

use crate::ReadSeek;
use crate::source::{TraverseContext, read_at};
use crate::zip::entry::{LOCAL_BYTES, ZipEntry};
use crate::zip::{CENTRAL, DESCRIPTOR, LOCAL, u16_at, u32_at};

/// Bytes looked through at once.
const SCAN_BYTES: usize = 256 << 10;
/// Longest name and extra fields of a local header.
const HEADER_BYTES_MAX: usize = LOCAL_BYTES + 2 * (u16::MAX as usize);

/// A local header and where its data ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalHeaderRange {
    pub at: u64,
    pub data_end: u64,
}

pub(crate) struct LocalHeaderScan {
    pub headers: Vec<LocalHeaderRange>,
    pub cut: bool,
}

/// Looks for local headers up to `end`, leaving out the `known` ones (sorted).
///
/// **Cost**: reads what is between the headers once.
pub(crate) fn scan(
    source: &mut dyn ReadSeek,
    shared: &TraverseContext,
    end: u64,
    known: &[u64],
    headers_max: u64,
) -> io::Result<LocalHeaderScan> {
    let mut headers: Vec<LocalHeaderRange> = Vec::new();
    let mut cut = false;
    let mut marks = SignatureScanner::new(end);
    while let Some(mark) = marks.next(source, shared)? {
        close(&mut headers, mark.at);
        let header = mark
            .is_local
            .then(|| header_at(source, shared, mark.at, end))
            .transpose()?;
        let Some(Some((entry, header_len))) = header else {
            continue;
        };
        let data_at = mark.at.saturating_add(header_len);
        let said = entry.compressed > 0 || !entry.has_descriptor();
        let said_end = data_at.saturating_add(entry.compressed);
        let sized = said && may_end(source, shared, said_end, end)?;
        let data_end = if sized { said_end } else { OPEN };
        marks.go_to(if sized { said_end } else { data_at });
        if known.binary_search(&mark.at).is_ok() {
            continue;
        }
        if headers.len() as u64 >= headers_max {
            cut = true;
            break;
        }
        headers.push(LocalHeaderRange {
            at: mark.at,
            data_end,
        });
    }
    close(&mut headers, end);
    Ok(LocalHeaderScan { headers, cut })
}

/// Whether a member may end at `at`: something of the archive follows, or
/// nothing at all. A size that leads elsewhere is a lie.
fn may_end(
    source: &mut dyn ReadSeek,
    shared: &TraverseContext,
    at: u64,
    end: u64,
) -> io::Result<bool> {
    if at >= end {
        return Ok(at == end);
    }
    let mut signature = [0; 2];
    let got = read_at(source, shared, at, &mut signature)?;
    Ok(got < 2 || signature == *b"PK")
}

/// Stands for an end that is not known yet.
const OPEN: u64 = u64::MAX;

/// The last header's data ends where the next thing begins, where nothing
/// better is known: decoders find their own end before it.
fn close(headers: &mut [LocalHeaderRange], at: u64) {
    if let Some(last) = headers.last_mut().filter(|last| last.data_end == OPEN) {
        last.data_end = at;
    }
}

/// The entry a found header describes.
pub(crate) fn entry(
    source: &mut dyn ReadSeek,
    shared: &TraverseContext,
    found: &LocalHeaderRange,
) -> io::Result<Option<ZipEntry>> {
    let header = header_at(source, shared, found.at, found.data_end)?;
    Ok(header.map(|(mut entry, header_len)| {
        let data_at = found.at.saturating_add(header_len);
        entry.compressed = found.data_end.saturating_sub(data_at);
        entry
    }))
}

fn header_at(
    source: &mut dyn ReadSeek,
    shared: &TraverseContext,
    at: u64,
    end: u64,
) -> io::Result<Option<(ZipEntry, u64)>> {
    let mut fixed = [0; LOCAL_BYTES];
    if read_at(source, shared, at, &mut fixed)? < LOCAL_BYTES || !fixed.starts_with(&LOCAL) {
        return Ok(None);
    }
    let lens = u16_at(&fixed, 26).zip(u16_at(&fixed, 28));
    let Some((name_len, extra_len)) = lens else {
        return Ok(None);
    };
    let len = LOCAL_BYTES + usize::from(name_len) + usize::from(extra_len);
    if at.saturating_add(len as u64) > end {
        return Ok(None);
    }
    let mut bytes = vec![0; len.min(HEADER_BYTES_MAX)];
    let got = read_at(source, shared, at, &mut bytes)?;
    bytes.truncate(got);
    Ok(ZipEntry::from_local(&bytes, at).map(|(entry, len)| (entry, len as u64)))
}

/// Something that ends a member without a size.
struct ZipSignature {
    at: u64,
    is_local: bool,
}

/// Walks along the signatures of a stretch.
struct SignatureScanner {
    buf: Vec<u8>,
    buf_at: u64,
    at: u64,
    end: u64,
    /// Where the data of the header before began, for its descriptor.
    data_at: u64,
}

impl SignatureScanner {
    fn new(end: u64) -> Self {
        Self {
            buf: Vec::new(),
            buf_at: 0,
            at: 0,
            end,
            data_at: 0,
        }
    }

    fn go_to(&mut self, at: u64) {
        self.at = self.at.max(at);
        self.data_at = self.at;
    }

    fn next(
        &mut self,
        source: &mut dyn ReadSeek,
        shared: &TraverseContext,
    ) -> io::Result<Option<ZipSignature>> {
        while self.at < self.end {
            let skip = self
                .at
                .checked_sub(self.buf_at)
                .and_then(|s| usize::try_from(s).ok());
            let rest = skip
                .and_then(|skip| self.buf.get(skip..))
                .unwrap_or_default();
            // a descriptor is looked at whole
            if rest.len() < 16 && self.buf_at + (self.buf.len() as u64) < self.end
                || self.buf.is_empty()
            {
                self.fill(source, shared)?;
                if self.buf.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            let Some(found) = memchr::memmem::find(rest, b"PK") else {
                // the last byte may begin a signature
                let seen = rest.len().saturating_sub(1).max(1) as u64;
                self.at += seen;
                if self.at + 1 >= self.end {
                    return Ok(None);
                }
                continue;
            };
            let at = self.at + found as u64;
            let here = rest.get(found..).unwrap_or_default();
            let more = self.buf_at + (self.buf.len() as u64) < self.end;
            if here.len() < 16 && more {
                self.at = at;
                self.fill(source, shared)?;
                continue;
            }
            self.at = at + 2;
            let is_local = here.starts_with(&LOCAL);
            let ends = is_local || here.starts_with(&CENTRAL) || self.is_descriptor(here, at);
            if ends {
                return Ok(Some(ZipSignature { at, is_local }));
            }
        }
        Ok(None)
    }

    /// A descriptor counts where its size fits: its signature alone may be
    /// chance.
    fn is_descriptor(&self, here: &[u8], at: u64) -> bool {
        here.starts_with(&DESCRIPTOR)
            && u32_at(here, 8).map(u64::from) == at.checked_sub(self.data_at)
    }

    fn fill(&mut self, source: &mut dyn ReadSeek, shared: &TraverseContext) -> io::Result<()> {
        let len = SCAN_BYTES.min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        self.buf.resize(len, 0);
        let got = read_at(source, shared, self.at, &mut self.buf)?;
        self.buf.truncate(got);
        self.buf_at = self.at;
        if got < len {
            self.end = self.at + got as u64;
        }
        Ok(())
    }
}
