//! Statistics of a decoding: the bytes that did not fit the encoding.

use crate::decode::single_byte_words::WordCollector;

#[derive(Debug, Default)]
pub(crate) struct DecodeStats {
    /// Bytes decoded with the code page.
    pub code_page_bytes: u64,
    /// Sequences replaced by U+FFFD.
    pub replacements: u64,
    /// Changes from the main width of the text to the other one.
    pub width_changes: u64,
    pub words: WordCollector,
}

impl DecodeStats {
    /// Adds `bytes`, which were decoded to the end of `out`.
    pub fn add_decoded(&mut self, bytes: &[u8], is_wide: bool, out: &str) {
        if is_wide {
            self.words.add_wide(bytes, out.chars().next_back());
        } else {
            self.words.add_single(bytes);
        }
    }
}
