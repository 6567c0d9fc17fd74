//! The reader between a decoder and whoever takes its bytes: counts, checks,
//! cuts at limits, and turns damage into an end.

use std::io::{self, Read};

use crc32fast::Hasher;

use crate::source::TraverseContext;

pub(crate) struct CheckedReader<'a> {
    inner: &'a mut dyn Read,
    shared: &'a TraverseContext,
    made: u64,
    crc: Hasher,
    end: Option<StreamEnd>,
}

/// How the bytes came to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    Whole,
    Damaged(String),
    MemberLimit,
    WorkLimit,
    Fault,
}

impl<'a> CheckedReader<'a> {
    pub fn new(inner: &'a mut dyn Read, shared: &'a TraverseContext) -> Self {
        Self {
            inner,
            shared,
            made: 0,
            crc: Hasher::new(),
            end: None,
        }
    }

    /// Bytes given so far.
    pub fn made(&self) -> u64 {
        self.made
    }

    /// `None` while the end was not reached.
    pub fn end(&self) -> Option<&StreamEnd> {
        self.end.as_ref()
    }

    pub fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }

    fn stop(&mut self, end: StreamEnd) -> io::Result<usize> {
        self.end = Some(end);
        Ok(0)
    }

    /// At a limit one more byte is asked for: a member that ends exactly there
    /// is whole.
    fn at_limit(&mut self, end: StreamEnd) -> io::Result<usize> {
        let mut one = [0];
        match self.inner.read(&mut one) {
            Ok(0) => self.stop(StreamEnd::Whole),
            Ok(_) => self.stop(end),
            Err(e) => self.broke(&e),
        }
    }

    fn broke(&mut self, error: &io::Error) -> io::Result<usize> {
        if self.shared.is_read_out() {
            // The walk ends here, and says so; what was read is kept.
            return self.stop(StreamEnd::Fault);
        }
        if self.shared.has_fault() {
            self.end = Some(StreamEnd::Fault);
            return Err(io::Error::new(error.kind(), error.to_string()));
        }
        self.stop(StreamEnd::Damaged(error.to_string()))
    }
}

impl Read for CheckedReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if buf.is_empty() || self.end.is_some() {
            return Ok(0);
        }
        let work = self.shared.work_left();
        let room = self.shared.member.bytes.saturating_sub(self.made);
        let allowed = usize::try_from(work.min(room)).unwrap_or(usize::MAX);
        let wanted = allowed.min(buf.len());
        if wanted == 0 {
            let end = if work == 0 {
                StreamEnd::WorkLimit
            } else {
                StreamEnd::MemberLimit
            };
            return self.at_limit(end);
        }
        match self.inner.read(&mut buf[..wanted]) {
            Ok(0) => self.stop(StreamEnd::Whole),
            Ok(n) => {
                self.crc.update(&buf[..n]);
                self.made += n as u64;
                self.shared
                    .inflated
                    .set(self.shared.inflated.get() + n as u64);
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => self.broke(&e),
        }
    }
}
