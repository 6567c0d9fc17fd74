//! Reading the bytes below: a failure there is the world's, and must not be
//! mistaken for damage by the decoders above.

use std::cell::{Cell, RefCell};
use std::io::{self, Read, Seek, SeekFrom};

use flate2::Decompress;

use crate::ReadSeek;
use crate::limits::{ByteLimit, READ_BYTES_MIN, READS_OVER_WORK};

/// What all readers of a walk share.
pub(crate) struct TraverseContext {
    /// The first failure of the world, kept while decoders pass on their own
    /// reading of it.
    fault: RefCell<Option<io::Error>>,
    /// Of the last member, for the next.
    pub engine: Cell<Option<Decompress>>,
    pub inflated: Cell<u64>,
    /// **Units**: bytes, of all sources together.
    read: Cell<u64>,
    /// Of all wrappings together.
    pub work: ByteLimit,
    /// Of one member.
    pub member: ByteLimit,
}

impl TraverseContext {
    pub fn new(work: ByteLimit, member: ByteLimit) -> Self {
        Self {
            fault: RefCell::new(None),
            engine: Cell::new(None),
            inflated: Cell::new(0),
            read: Cell::new(0),
            work,
            member,
        }
    }

    pub fn note(&self, error: &io::Error) {
        let mut fault = self.fault.borrow_mut();
        if fault.is_none() {
            *fault = Some(io::Error::new(error.kind(), error.to_string()));
        }
    }

    pub fn has_fault(&self) -> bool {
        self.fault.borrow().is_some()
    }

    pub fn take_fault(&self) -> Option<io::Error> {
        self.fault.borrow_mut().take()
    }

    pub fn work_left(&self) -> u64 {
        self.work.bytes.saturating_sub(self.inflated.get())
    }

    /// Whether more was read than any archive needs that does not send its
    /// readers in circles.
    pub fn is_read_out(&self) -> bool {
        self.read.get() > self.reads_max()
    }

    pub fn reads_max(&self) -> u64 {
        self.work.bytes.saturating_mul(READS_OVER_WORK)
    }

    fn count_read(&self, bytes: usize) -> io::Result<()> {
        let counted = (bytes as u64).max(READ_BYTES_MIN);
        self.read.set(self.read.get().saturating_add(counted));
        if self.is_read_out() {
            let error = io::Error::other("read more than the limit");
            self.note(&error);
            return Err(error);
        }
        Ok(())
    }
}

/// A stretch of a source, read from its start.
pub(crate) struct RangeReader<'a> {
    source: &'a mut dyn ReadSeek,
    shared: &'a TraverseContext,
    left: u64,
}

impl<'a> RangeReader<'a> {
    pub fn new(
        source: &'a mut dyn ReadSeek,
        shared: &'a TraverseContext,
        start: u64,
        len: u64,
    ) -> io::Result<Self> {
        seek(source, shared, start)?;
        Ok(Self {
            source,
            shared,
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
        let n = read_some(self.source, self.shared, buf)?;
        self.left -= n as u64;
        Ok(n)
    }
}

/// A stretch of a source as a source of its own.
pub(crate) struct SourceSlice<'a> {
    source: &'a mut dyn ReadSeek,
    start: u64,
    len: u64,
    at: u64,
}

impl<'a> SourceSlice<'a> {
    /// The stretch as far as there is one.
    pub fn new(
        source: &'a mut dyn ReadSeek,
        shared: &TraverseContext,
        start: u64,
        len: u64,
    ) -> io::Result<Self> {
        let there = length(source, shared)?.saturating_sub(start);
        Ok(Self {
            source,
            start,
            len: len.min(there),
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
        let to = match to {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        let to = to.ok_or(io::ErrorKind::InvalidInput)?;
        let below = self
            .start
            .checked_add(to)
            .ok_or(io::ErrorKind::InvalidInput)?;
        self.source.seek(SeekFrom::Start(below))?;
        self.at = to;
        Ok(to)
    }
}

/// One read that notes a failure as the world's.
pub(crate) fn read_some(
    source: &mut (impl Read + ?Sized),
    shared: &TraverseContext,
    buf: &mut [u8],
) -> io::Result<usize> {
    loop {
        match source.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => {
                shared.note(&e);
                return Err(e);
            }
            Ok(n) => {
                shared.count_read(n)?;
                return Ok(n.min(buf.len()));
            }
        }
    }
}

pub(crate) fn seek(source: &mut dyn ReadSeek, shared: &TraverseContext, to: u64) -> io::Result<()> {
    source
        .seek(SeekFrom::Start(to))
        .inspect_err(|e| shared.note(e))
        .map(drop)
}

pub(crate) fn length(source: &mut dyn ReadSeek, shared: &TraverseContext) -> io::Result<u64> {
    source
        .seek(SeekFrom::End(0))
        .inspect_err(|e| shared.note(e))
}

/// Fills `buf` from `at` as far as there are bytes.
pub(crate) fn read_at(
    source: &mut dyn ReadSeek,
    shared: &TraverseContext,
    at: u64,
    buf: &mut [u8],
) -> io::Result<usize> {
    seek(source, shared, at)?;
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|b| !b.is_empty()) {
        match read_some(source, shared, rest)? {
            0 => break,
            n => filled += n,
        }
    }
    Ok(filled)
}

/// A stream whose first bytes have been looked at.
pub(crate) struct PeekReader<'a> {
    head: [u8; PEEK_BYTES],
    len: usize,
    at: usize,
    rest: &'a mut dyn Read,
}

/// Enough for every magic and a gzip header of usual length.
pub(crate) const PEEK_BYTES: usize = 512;

impl<'a> PeekReader<'a> {
    /// **Errors**: those of `rest`, after which `Guard` has noted what they
    /// were.
    pub fn new(rest: &'a mut dyn Read) -> io::Result<Self> {
        let mut head = [0; PEEK_BYTES];
        let mut len = 0;
        while let Some(room) = head.get_mut(len..).filter(|b| !b.is_empty()) {
            match rest.read(room)? {
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
