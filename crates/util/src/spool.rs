//! Spool: a stream copied to where it can be read with seeking, small ones in
//! memory, larger ones in a scratch file that the caller provides.
//!
//! The spool contains the stream up to a limit. It never contains more, and it
//! says whether the stream was longer.

use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

/// A temporary file. It is deleted when it is dropped.
pub trait Scratch: Read + Write + Seek + Send {}

impl<T: Read + Write + Seek + Send> Scratch for T {}

/// Creates a [`Scratch`] when one is needed.
pub type ScratchFactory<'a> = dyn FnMut() -> io::Result<Box<dyn Scratch>> + 'a;

/// Bytes read at once from the stream.
const READ_BYTES: usize = 64 << 10;

/// How much of a stream is spooled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpoolLimits {
    /// **Units**: bytes. Streams up to this length stay in memory.
    pub memory_bytes_max: u64,
    /// **Units**: bytes. The rest of a longer stream is not read.
    pub bytes_max: u64,
}

/// A spooled stream, to be read from its start or with seeking.
pub enum Spool {
    Memory(Cursor<Vec<u8>>),
    Scratch(Box<dyn Scratch>),
}

/// A spool, and whether it contains the whole stream.
pub struct Spooled {
    pub spool: Spool,
    /// The stream is longer than [`SpoolLimits::bytes_max`].
    pub is_cut: bool,
}

/// Why a stream could not be spooled.
#[derive(Debug)]
pub enum SpoolError {
    /// The stream could not be read.
    Read(io::Error),
    /// The scratch file could not be created or written.
    Scratch(io::Error),
}

impl Spool {
    /// Copies `stream` up to the limits. The position of the spool is its end
    /// in a scratch file and its start in memory: seek before reading.
    ///
    /// **Memory**: at most `memory_bytes_max`.
    pub fn fill(
        stream: &mut dyn Read,
        limits: SpoolLimits,
        factory: &mut ScratchFactory<'_>,
    ) -> Result<Spooled, SpoolError> {
        let memory_max = limits.memory_bytes_max.min(limits.bytes_max);
        let mut memory = Vec::new();
        stream
            .take(memory_max)
            .read_to_end(&mut memory)
            .map_err(SpoolError::Read)?;
        let is_full = memory.len() as u64 >= memory_max;
        let mut next = [0];
        if !is_full || read_some(stream, &mut next)? == 0 {
            return Ok(Spooled::in_memory(memory, false));
        }
        if memory_max == limits.bytes_max {
            return Ok(Spooled::in_memory(memory, true));
        }
        memory.extend_from_slice(&next);
        let mut scratch = factory().map_err(SpoolError::Scratch)?;
        let is_cut = copy(&memory, stream, limits.bytes_max, &mut *scratch)?;
        Ok(Spooled {
            spool: Self::Scratch(scratch),
            is_cut,
        })
    }
}

impl Spooled {
    fn in_memory(bytes: Vec<u8>, is_cut: bool) -> Self {
        Self {
            spool: Spool::Memory(Cursor::new(bytes)),
            is_cut,
        }
    }
}

/// Copies `head` and the rest of `stream` to `scratch`, up to `bytes_max`.
/// Returns whether there was more.
fn copy(
    head: &[u8],
    stream: &mut dyn Read,
    bytes_max: u64,
    scratch: &mut dyn Scratch,
) -> Result<bool, SpoolError> {
    scratch.write_all(head).map_err(SpoolError::Scratch)?;
    let mut left = bytes_max - head.len() as u64;
    let mut buffer = vec![0; READ_BYTES];
    let is_cut = loop {
        let filled = read_some(stream, &mut buffer)?;
        let kept = filled.min(usize::try_from(left).unwrap_or(usize::MAX));
        scratch
            .write_all(&buffer[..kept])
            .map_err(SpoolError::Scratch)?;
        left -= kept as u64;
        if kept < filled || filled == 0 {
            break kept < filled;
        }
    };
    scratch.flush().map_err(SpoolError::Scratch)?;
    Ok(is_cut)
}

fn read_some(stream: &mut dyn Read, buffer: &mut [u8]) -> Result<usize, SpoolError> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read.map_err(SpoolError::Read),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(memory_bytes_max: u64, bytes_max: u64) -> SpoolLimits {
        SpoolLimits {
            memory_bytes_max,
            bytes_max,
        }
    }

    /// The spooled bytes, whether they were cut, and whether a scratch file
    /// was created.
    fn spool(bytes: &[u8], limits: SpoolLimits) -> (Vec<u8>, bool, bool) {
        let mut is_scratch = false;
        let mut factory = || {
            is_scratch = true;
            Ok(Box::new(Cursor::new(Vec::new())) as Box<dyn Scratch>)
        };
        let mut spooled = Spool::fill(&mut &bytes[..], limits, &mut factory).unwrap();
        spooled.spool.seek(SeekFrom::Start(0)).unwrap();
        let mut copied = Vec::new();
        spooled.spool.read_to_end(&mut copied).unwrap();
        (copied, spooled.is_cut, is_scratch)
    }

    #[test]
    fn small_streams_stay_in_memory_and_larger_ones_use_a_scratch_file() {
        let bytes: Vec<u8> = (0..200_000u32).map(|i| ((i * 7) >> 3) as u8).collect();
        for (memory, is_scratch) in [(199_999, true), (200_000, false), (0, true)] {
            let spooled = spool(&bytes, limits(memory, 1 << 20));
            assert!(
                spooled == (bytes.clone(), false, is_scratch),
                "memory {memory}"
            );
        }
        assert_eq!(spool(b"", limits(0, 10)), (Vec::new(), false, false));
    }

    #[test]
    fn streams_longer_than_the_limit_are_cut() {
        let bytes = vec![7; 100_000];
        for (memory, max) in [(10, 99_999), (10, 11), (500, 500), (1_000, 500), (0, 0)] {
            let (copied, is_cut, is_scratch) = spool(&bytes, limits(memory, max));
            assert_eq!(copied, bytes[..max as usize]);
            assert!(is_cut);
            assert_eq!(is_scratch, memory < max);
        }
        assert_eq!(spool(&bytes, limits(10, 100_000)), (bytes, false, true));
    }

    #[test]
    fn errors_of_the_stream_and_of_the_scratch_file_are_kept_apart() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("broken"))
            }
        }
        let mut no_scratch = || Err(io::Error::other("disk full"));
        let mut stream = (&b"0123456789"[..]).chain(Broken);
        let result = Spool::fill(&mut stream, limits(20, 20), &mut no_scratch);
        assert!(matches!(result, Err(SpoolError::Read(_))));
        let result = Spool::fill(&mut &[0; 30][..], limits(20, 40), &mut no_scratch);
        assert!(matches!(result, Err(SpoolError::Scratch(_))));
    }
}
