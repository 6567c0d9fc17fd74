//! Bytes in windows that are always filled: what a decoder sees does not
//! depend on how its source cuts.

use std::io::{self, Read};

/// The first window: what decides the encoding. Also the step by which the
/// rest is read. Large enough to meet a non-ASCII character in most files,
/// small enough to be held for every leaf.
pub(crate) const WINDOW_BYTES: usize = 64 << 10;

pub(crate) struct Feed<'a> {
    source: &'a mut dyn Read,
    buf: Vec<u8>,
    at: usize,
    step: usize,
    ended: bool,
}

impl<'a> Feed<'a> {
    pub fn new(source: &'a mut dyn Read, step: usize) -> Self {
        Self {
            source,
            buf: Vec::new(),
            at: 0,
            step: step.max(1),
            ended: false,
        }
    }

    /// What has been read and not consumed.
    pub fn window(&self) -> &[u8] {
        self.buf.get(self.at..).unwrap_or_default()
    }

    /// Nothing follows the window.
    pub fn is_last(&self) -> bool {
        self.ended
    }

    pub fn consume(&mut self, n: usize) {
        self.at = (self.at + n).min(self.buf.len());
    }

    pub fn fill_first(&mut self) -> io::Result<()> {
        self.read_to(WINDOW_BYTES)
    }

    /// Puts another step behind what is left of the window.
    pub fn fill(&mut self) -> io::Result<()> {
        self.buf.drain(..self.at);
        self.at = 0;
        self.read_to(self.buf.len() + self.step)
    }

    fn read_to(&mut self, len: usize) -> io::Result<()> {
        let mut filled = self.buf.len();
        self.buf.resize(len, 0);
        while let Some(room) = self.buf.get_mut(filled..).filter(|b| !b.is_empty()) {
            match self.source.read(room) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.buf.truncate(filled);
                    return Err(e);
                }
            }
        }
        self.buf.truncate(filled);
        Ok(())
    }
}
