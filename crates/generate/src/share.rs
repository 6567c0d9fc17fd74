//! Share of distinct lines in a text.

use hashbrown::HashSet;
use rustc_hash::{FxBuildHasher, FxHasher};
use std::hash::Hasher;

/// Window in which lines are distinct: about a segment of the index.
///
/// **Units**: bytes of text.
pub(crate) const WINDOW: u64 = 250_000_000;

/// Hash and length of a line, terminator included.
pub(crate) type Measured = (u64, u32);

/// Measures the lines of `text`, terminators included.
pub(crate) fn measure(text: &str, lines: &mut Vec<Measured>) {
    let bytes = text.as_bytes();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', bytes).map(|at| at + 1) {
        lines.push(measured(&bytes[start..end]));
        start = end;
    }
    if start < bytes.len() {
        lines.push(measured(&bytes[start..]));
    }
}

fn measured(line: &[u8]) -> Measured {
    let mut hasher = FxHasher::default();
    hasher.write(line);
    (
        hasher.finish(),
        u32::try_from(line.len()).unwrap_or(u32::MAX),
    )
}

/// Sums up distinct lines; forgets them after each window. **Memory**: the
/// lines of one window, about 40 MB.
#[derive(Debug, Default)]
pub(crate) struct Share {
    seen: HashSet<u64, FxBuildHasher>,
    in_window: u64,
    pub bytes: u64,
    pub distinct: u64,
    pub lines: u64,
}

impl Share {
    pub fn add(&mut self, lines: &[Measured]) {
        for (line, bytes) in lines {
            let bytes = u64::from(*bytes);
            if self.in_window + bytes > WINDOW {
                self.seen.clear();
                self.in_window = 0;
            }
            self.in_window += bytes;
            self.bytes += bytes;
            self.lines += 1;
            if self.seen.insert(*line) {
                self.distinct += bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_counts_once_with_its_terminator() {
        let mut lines = Vec::new();
        measure("a\r\nb\na\r\nb", &mut lines);
        let mut share = Share::default();
        share.add(&lines);
        assert_eq!((share.lines, share.bytes, share.distinct), (4, 9, 6));
    }
}
