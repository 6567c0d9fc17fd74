//! Where a nested archive is put aside for seeking: small ones in memory,
//! others in a scratch file that is handed in.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use crate::limits::{READ_BYTES, TraverseLimits};
use crate::source::TraverseContext;
use crate::{Scratch, ScratchFactory};

pub(crate) enum Spool {
    Memory(Cursor<Vec<u8>>),
    Scratch(Box<dyn Scratch>),
}

/// What became of the bytes to be put aside.
pub(crate) struct Spooled {
    pub spool: Spool,
    pub cut: bool,
}

/// Why nothing could be put aside.
pub(crate) enum SpoolError {
    Read(io::Error),
    Scratch(io::Error),
}

/// Puts `bytes` aside, as far as the limit goes.
pub(crate) fn spool(
    bytes: &mut dyn Read,
    limits: &TraverseLimits,
    shared: &TraverseContext,
    factory: &mut ScratchFactory<'_>,
) -> Result<Spooled, SpoolError> {
    let mut memory = Vec::new();
    let memory_max = limits.memory_bytes_max.min(limits.scratch_bytes_max);
    bytes
        .take(memory_max)
        .read_to_end(&mut memory)
        .map_err(SpoolError::Read)?;
    let mut next = [0];
    if (memory.len() as u64) < memory_max || read_one(bytes, &mut next)? == 0 {
        return Ok(Spooled {
            spool: Spool::Memory(Cursor::new(memory)),
            cut: false,
        });
    }
    if memory_max == limits.scratch_bytes_max {
        return Ok(Spooled {
            spool: Spool::Memory(Cursor::new(memory)),
            cut: true,
        });
    }
    let scratch_failed = |e: io::Error| {
        shared.note(&e);
        SpoolError::Scratch(e)
    };
    let mut scratch = factory().map_err(scratch_failed)?;
    scratch.write_all(&memory).map_err(scratch_failed)?;
    let mut written = memory.len() as u64;
    drop(memory);
    let mut buf = vec![0; READ_BYTES];
    let mut filled = 1;
    buf[0] = next[0];
    let cut = loop {
        let room = limits.scratch_bytes_max - written;
        let keep = filled.min(usize::try_from(room).unwrap_or(usize::MAX));
        scratch.write_all(&buf[..keep]).map_err(scratch_failed)?;
        written += keep as u64;
        if keep < filled {
            break true;
        }
        filled = bytes.read(&mut buf).map_err(SpoolError::Read)?;
        if filled == 0 {
            break false;
        }
    };
    scratch.flush().map_err(scratch_failed)?;
    Ok(Spooled {
        spool: Spool::Scratch(scratch),
        cut,
    })
}

fn read_one(bytes: &mut dyn Read, next: &mut [u8; 1]) -> Result<usize, SpoolError> {
    bytes.read(next).map_err(SpoolError::Read)
}

impl Read for Spool {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(memory) => memory.read(buf),
            Self::Scratch(scratch) => scratch.read(buf),
        }
    }
}

impl Seek for Spool {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Self::Memory(memory) => memory.seek(to),
            Self::Scratch(scratch) => scratch.seek(to),
        }
    }
}
