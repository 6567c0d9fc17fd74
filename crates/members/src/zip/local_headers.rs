//! Recovery: finds members by their local headers if the directory is missing
//! or truncated.

use std::io;

use crate::ReadSeek;
use crate::source::{TraverseContext, read_at};
use crate::zip::entry::{LOCAL_BYTES, ZipEntry};
use crate::zip::{CENTRAL, DESCRIPTOR, LOCAL, u16_at, u32_at};

/// Bytes read and searched at once.
const SCAN_BYTES: usize = 256 << 10;
/// Longest local header: its name and extra fields have 16-bit lengths.
const HEADER_BYTES_MAX: usize = LOCAL_BYTES + 2 * (u16::MAX as usize);
/// Bytes of a data descriptor with its signature.
const DESCRIPTOR_BYTES: usize = 16;

/// A local header, from its start to the end of its member's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LocalHeaderRange {
    pub at: u64,
    pub data_end: u64,
}

pub(crate) struct LocalHeaderScan {
    pub headers: Vec<LocalHeaderRange>,
    /// There are more headers than the limit.
    pub cut: bool,
}

/// Searches for local headers up to `end`, except the `known` ones (sorted).
///
/// **Cost**: reads the bytes between the headers once.
pub(crate) fn scan(
    source: &mut dyn ReadSeek,
    context: &TraverseContext,
    end: u64,
    known: &[u64],
    headers_max: u64,
) -> io::Result<LocalHeaderScan> {
    let mut headers: Vec<LocalHeaderRange> = Vec::new();
    let mut cut = false;
    let mut scanner = SignatureScanner::new(end);
    while let Some(signature) = scanner.next(source, context)? {
        set_open_end(&mut headers, signature.at);
        if !signature.is_local {
            continue;
        }
        let Some((entry, header_len)) = header_at(source, context, signature.at, end)? else {
            continue;
        };
        let data_at = signature.at.saturating_add(header_len);
        let stated_end = data_at.saturating_add(entry.compressed);
        let has_size = entry.compressed > 0 || !entry.has_descriptor();
        let data_end = if has_size && may_end_at(source, context, stated_end, end)? {
            scanner.skip_to(stated_end);
            stated_end
        } else {
            scanner.skip_to(data_at);
            UNKNOWN_END
        };
        if known.binary_search(&signature.at).is_ok() {
            continue;
        }
        if headers.len() as u64 >= headers_max {
            cut = true;
            break;
        }
        headers.push(LocalHeaderRange {
            at: signature.at,
            data_end,
        });
    }
    set_open_end(&mut headers, end);
    Ok(LocalHeaderScan { headers, cut })
}

/// Whether a member can end at `at`: a signature or the end follows. Otherwise
/// the stated size is wrong.
fn may_end_at(
    source: &mut dyn ReadSeek,
    context: &TraverseContext,
    at: u64,
    end: u64,
) -> io::Result<bool> {
    if at >= end {
        return Ok(at == end);
    }
    let mut signature = [0; 2];
    let got = read_at(source, context, at, &mut signature)?;
    Ok(got < 2 || signature == *b"PK")
}

/// End of data that is not known yet.
const UNKNOWN_END: u64 = u64::MAX;

/// Ends the data of the last header at the next signature if its end is
/// unknown. Decoders stop at the end of their stream before it.
fn set_open_end(headers: &mut [LocalHeaderRange], at: u64) {
    if let Some(last) = headers.last_mut()
        && last.data_end == UNKNOWN_END
    {
        last.data_end = at;
    }
}

/// Reads the entry of a recovered header.
pub(crate) fn entry(
    source: &mut dyn ReadSeek,
    context: &TraverseContext,
    range: &LocalHeaderRange,
) -> io::Result<Option<ZipEntry>> {
    let header = header_at(source, context, range.at, range.data_end)?;
    Ok(header.map(|(mut entry, header_len)| {
        let data_at = range.at.saturating_add(header_len);
        entry.compressed = range.data_end.saturating_sub(data_at);
        entry
    }))
}

/// The local header at `at` and its length, if it ends before `end`.
fn header_at(
    source: &mut dyn ReadSeek,
    context: &TraverseContext,
    at: u64,
    end: u64,
) -> io::Result<Option<(ZipEntry, u64)>> {
    let mut fixed = [0; LOCAL_BYTES];
    if read_at(source, context, at, &mut fixed)? < LOCAL_BYTES || !fixed.starts_with(&LOCAL) {
        return Ok(None);
    }
    let Some((name_len, extra_len)) = u16_at(&fixed, 26).zip(u16_at(&fixed, 28)) else {
        return Ok(None);
    };
    let len = LOCAL_BYTES + usize::from(name_len) + usize::from(extra_len);
    if at.saturating_add(len as u64) > end {
        return Ok(None);
    }
    let mut bytes = vec![0; len.min(HEADER_BYTES_MAX)];
    let got = read_at(source, context, at, &mut bytes)?;
    bytes.truncate(got);
    Ok(ZipEntry::from_local(&bytes, at).map(|(entry, len)| (entry, len as u64)))
}

/// A signature that ends the data before it.
struct ZipSignature {
    at: u64,
    is_local: bool,
}

/// Finds the signatures of a source in order.
struct SignatureScanner {
    buf: Vec<u8>,
    buf_at: u64,
    at: u64,
    end: u64,
    /// Start of the data after the previous header, to check a descriptor.
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

    fn skip_to(&mut self, at: u64) {
        self.at = self.at.max(at);
        self.data_at = self.at;
    }

    fn next(
        &mut self,
        source: &mut dyn ReadSeek,
        context: &TraverseContext,
    ) -> io::Result<Option<ZipSignature>> {
        while self.at < self.end {
            let rest = self
                .at
                .checked_sub(self.buf_at)
                .and_then(|skip| usize::try_from(skip).ok())
                .and_then(|skip| self.buf.get(skip..))
                .unwrap_or_default();
            // Keep a whole descriptor in the buffer.
            if rest.len() < DESCRIPTOR_BYTES && self.has_more() || self.buf.is_empty() {
                self.fill(source, context)?;
                if self.buf.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            let Some(offset) = memchr::memmem::find(rest, b"PK") else {
                // The last byte may be the first of a signature.
                self.at += rest.len().saturating_sub(1).max(1) as u64;
                if self.at + 1 >= self.end {
                    return Ok(None);
                }
                continue;
            };
            let at = self.at + offset as u64;
            let candidate = rest.get(offset..).unwrap_or_default();
            if candidate.len() < DESCRIPTOR_BYTES && self.has_more() {
                self.at = at;
                self.fill(source, context)?;
                continue;
            }
            let is_local = candidate.starts_with(&LOCAL);
            let ends_data =
                is_local || candidate.starts_with(&CENTRAL) || self.is_descriptor(candidate, at);
            self.at = at + 2;
            if ends_data {
                return Ok(Some(ZipSignature { at, is_local }));
            }
        }
        Ok(None)
    }

    /// Whether the source continues after the buffer.
    fn has_more(&self) -> bool {
        self.buf_at + (self.buf.len() as u64) < self.end
    }

    /// Whether `candidate` is a descriptor with the right size. The signature
    /// alone can occur in compressed data by chance.
    fn is_descriptor(&self, candidate: &[u8], at: u64) -> bool {
        candidate.starts_with(&DESCRIPTOR)
            && u32_at(candidate, 8).map(u64::from) == at.checked_sub(self.data_at)
    }

    fn fill(&mut self, source: &mut dyn ReadSeek, context: &TraverseContext) -> io::Result<()> {
        let len = SCAN_BYTES.min(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
        self.buf.resize(len, 0);
        let got = read_at(source, context, self.at, &mut self.buf)?;
        self.buf.truncate(got);
        self.buf_at = self.at;
        if got < len {
            self.end = self.at + got as u64;
        }
        Ok(())
    }
}
