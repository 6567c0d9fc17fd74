//! Readers over the bytes of the result.
//!
//! A decoder cannot distinguish a failing disk from damaged data. Every read of the
//! source is therefore done here, and a failure is recorded in the
//! [`TraverseContext`] before the decoder sees it.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Seek, SeekFrom};

use flate2::Decompress;

use crate::ReadSeek;
use crate::limits::{ByteLimit, READ_BYTES_MIN, READS_OVER_WORK};

/// State shared by all readers of a traversal.
pub(crate) struct TraverseContext {
    /// The first failure of a source, while decoders pass on errors of their
    /// own for it.
    failure: RefCell<Option<io::Error>>,
    /// The deflate decoder of the previous member, for the next one.
    pub engine: Cell<Option<Decompress>>,
    /// **Units**: bytes, of all containers together.
    pub inflated: Cell<u64>,
    /// **Units**: bytes, of all sources together.
    read: Cell<u64>,
    /// Limit of all containers together.
    pub total_limit: ByteLimit,
    pub member_limit: ByteLimit,
}

impl TraverseContext {
    pub fn new(total_limit: ByteLimit, member_limit: ByteLimit) -> Self {
        Self {
            failure: RefCell::new(None),
            engine: Cell::new(None),
            inflated: Cell::new(0),
            read: Cell::new(0),
            total_limit,
            member_limit,
        }
    }

    pub fn record_failure(&self, error: &io::Error) {
        let mut failure = self.failure.borrow_mut();
        if failure.is_none() {
            *failure = Some(io::Error::new(error.kind(), error.to_string()));
        }
    }

    pub fn has_failure(&self) -> bool {
        self.failure.borrow().is_some()
    }

    pub fn take_failure(&self) -> Option<io::Error> {
        self.failure.borrow_mut().take()
    }

    /// Bytes that may still be decompressed.
    pub fn inflated_left(&self) -> u64 {
        self.total_limit.bytes.saturating_sub(self.inflated.get())
    }

    pub fn is_read_limit_reached(&self) -> bool {
        self.read.get() > self.read_bytes_max()
    }

    /// Bytes that may be read: more than any valid archive needs.
    pub fn read_bytes_max(&self) -> u64 {
        self.total_limit.bytes.saturating_mul(READS_OVER_WORK)
    }

    fn count_read(&self, bytes: usize) -> io::Result<()> {
        let counted = (bytes as u64).max(READ_BYTES_MIN);
        self.read.set(self.read.get().saturating_add(counted));
        if self.is_read_limit_reached() {
            let error = io::Error::other("read more than the limit");
            self.record_failure(&error);
            return Err(error);
        }
        Ok(())
    }
}

/// Reads a range of a source from its start.
pub(crate) struct RangeReader<'a> {
    source: &'a mut dyn ReadSeek,
    context: &'a TraverseContext,
    left: u64,
}

impl<'a> RangeReader<'a> {
    pub fn new(
        source: &'a mut dyn ReadSeek,
        context: &'a TraverseContext,
        start: u64,
        len: u64,
    ) -> io::Result<Self> {
        seek(source, context, start)?;
        Ok(Self {
            source,
            context,
            left: len,
        })
    }
}

impl Read for RangeReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let Some(buf) = buf.get_mut(..wanted).filter(|b| !b.is_empty()) else {
            return Ok(0);
        };
        let n = read_some(self.source, self.context, buf)?;
        self.left -= n as u64;
        Ok(n)
    }
}

/// A range of a source, itself a source.
pub(crate) struct SourceSlice<'a> {
    source: &'a mut dyn ReadSeek,
    start: u64,
    len: u64,
    at: u64,
}

impl<'a> SourceSlice<'a> {
    /// The range, cut at the end of the source.
    pub fn new(
        source: &'a mut dyn ReadSeek,
        context: &TraverseContext,
        start: u64,
        len: u64,
    ) -> io::Result<Self> {
        let available = length(source, context)?.saturating_sub(start);
        Ok(Self {
            source,
            start,
            len: len.min(available),
            at: 0,
        })
    }
}

impl Read for SourceSlice<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let wanted = left.min(buf.len());
        let n = self.source.read(&mut buf[..wanted])?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for SourceSlice<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        }
        .ok_or(io::ErrorKind::InvalidInput)?;
        let in_source = self
            .start
            .checked_add(at)
            .ok_or(io::ErrorKind::InvalidInput)?;
        self.source.seek(SeekFrom::Start(in_source))?;
        self.at = at;
        Ok(at)
    }
}

/// One read of a source. A failure is recorded.
pub(crate) fn read_some(
    source: &mut (impl Read + ?Sized),
    context: &TraverseContext,
    buf: &mut [u8],
) -> io::Result<usize> {
    loop {
        match source.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                context.record_failure(&e);
                return Err(e);
            }
            Ok(n) => {
                context.count_read(n)?;
                return Ok(n.min(buf.len()));
            }
        }
    }
}

pub(crate) fn seek(
    source: &mut dyn ReadSeek,
    context: &TraverseContext,
    to: u64,
) -> io::Result<()> {
    source
        .seek(SeekFrom::Start(to))
        .inspect_err(|e| context.record_failure(e))
        .map(drop)
}

pub(crate) fn length(source: &mut dyn ReadSeek, context: &TraverseContext) -> io::Result<u64> {
    source
        .seek(SeekFrom::End(0))
        .inspect_err(|e| context.record_failure(e))
}

/// Reads at `at` until `buf` is full or the source ends; returns how many
/// bytes were read.
pub(crate) fn read_at(
    source: &mut dyn ReadSeek,
    context: &TraverseContext,
    at: u64,
    buf: &mut [u8],
) -> io::Result<usize> {
    seek(source, context, at)?;
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|b| !b.is_empty()) {
        match read_some(source, context, rest)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// A stream with access to its first bytes before it is read.
pub(crate) struct PeekReader<'a> {
    head: [u8; PEEK_BYTES],
    len: usize,
    at: usize,
    rest: &'a mut dyn Read,
}

/// Enough for every signature and a gzip header of usual length.
pub(crate) const PEEK_BYTES: usize = 512;

impl<'a> PeekReader<'a> {
    /// **Errors**: those of `rest`, which is a `CheckedReader`: the cause is
    /// recorded there.
    pub fn new(rest: &'a mut dyn Read) -> io::Result<Self> {
        let mut head = [0; PEEK_BYTES];
        let mut len = 0;
        while let Some(free) = head.get_mut(len..).filter(|b| !b.is_empty()) {
            match rest.read(free)? {
                0 => break,
                n => len += n,
            }
        }
        Ok(Self {
            head,
            len,
            at: 0,
            rest,
        })
    }

    pub fn head(&self) -> &[u8] {
        self.head.get(..self.len).unwrap_or_default()
    }
}

impl Read for PeekReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self.head.get(self.at..self.len) {
            Some(head) if !head.is_empty() => {
                let n = head.len().min(buf.len());
                buf[..n].copy_from_slice(&head[..n]);
                self.at += n;
                Ok(n)
            }
            _ => self.rest.read(buf),
        }
    }
}
