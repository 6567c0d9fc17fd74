//! Reader around a decoder: counts bytes, computes the CRC, stops at limits,
//! and reports damage as the end of the stream (see [`StreamEnd`]), not as an
//! error.

use std::io::{self, Read};

use crc32fast::Hasher;

use crate::source::TraverseContext;

pub(crate) struct CheckedReader<'a> {
    inner: &'a mut dyn Read,
    context: &'a TraverseContext,
    bytes_read: u64,
    crc: Hasher,
    end: Option<StreamEnd>,
}

/// Why a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StreamEnd {
    /// The decoder reached the end of its data.
    Complete,
    Damaged(String),
    MemberLimit,
    /// The limit of all containers together.
    TotalLimit,
    /// The source below the decoder failed or reached its read limit.
    SourceFailure,
}

impl<'a> CheckedReader<'a> {
    pub fn new(inner: &'a mut dyn Read, context: &'a TraverseContext) -> Self {
        Self {
            inner,
            context,
            bytes_read: 0,
            crc: Hasher::new(),
            end: None,
        }
    }

    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// `None` if the end was not reached.
    pub fn end(&self) -> Option<&StreamEnd> {
        self.end.as_ref()
    }

    /// CRC-32 of the bytes read.
    pub fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }

    fn stop(&mut self, end: StreamEnd) -> io::Result<usize> {
        self.end = Some(end);
        Ok(0)
    }

    /// Reads one more byte at a limit: a member that ends exactly there is
    /// complete.
    fn stop_at_limit(&mut self, end: StreamEnd) -> io::Result<usize> {
        match self.inner.read(&mut [0]) {
            Ok(0) => self.stop(StreamEnd::Complete),
            Ok(_) => self.stop(end),
            Err(e) => self.stop_at_error(&e),
        }
    }

    fn stop_at_error(&mut self, error: &io::Error) -> io::Result<usize> {
        if self.context.is_read_limit_reached() {
            // The traversal ends and reports the limit; the bytes are kept.
            return self.stop(StreamEnd::SourceFailure);
        }
        if self.context.has_failure() {
            self.end = Some(StreamEnd::SourceFailure);
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
        let total_left = self.context.inflated_left();
        let member_left = self
            .context
            .member_limit
            .bytes
            .saturating_sub(self.bytes_read);
        let allowed = usize::try_from(total_left.min(member_left)).unwrap_or(usize::MAX);
        let wanted = allowed.min(buf.len());
        if wanted == 0 {
            return self.stop_at_limit(if total_left == 0 {
                StreamEnd::TotalLimit
            } else {
                StreamEnd::MemberLimit
            });
        }
        match self.inner.read(&mut buf[..wanted]) {
            Ok(0) => self.stop(StreamEnd::Complete),
            Ok(n) => {
                self.crc.update(&buf[..n]);
                self.bytes_read += n as u64;
                let inflated = &self.context.inflated;
                inflated.set(inflated.get() + n as u64);
                Ok(n)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => self.stop_at_error(&e),
        }
    }
}
