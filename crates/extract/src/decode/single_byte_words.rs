//! Single-byte words inside text that is decoded as UTF-16 or as a multi-byte
//! code page. Two of their bytes can form a valid character, so the decoder may
//! consume them. The correct reading cannot be determined; the words are
//! therefore emitted as a second text of the member.

/// Shorter words are mostly chance: halves of ideographs are letters too.
const WORD_BYTES_MIN: usize = 4;

/// Printable bytes kept before a word, as its context.
const CONTEXT_BYTES_MAX: usize = 256;

/// Bytes of words kept in memory until the end of the text. Random ideographs
/// yield 5 % of their length by chance, real ones less, other text nothing.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Collects the words. It gets all bytes of a text in order, and how they were
/// decoded.
#[derive(Debug, Default)]
pub(crate) struct WordCollector {
    /// The printable bytes before the current position.
    run: Vec<u8>,
    /// A byte of the run was decoded as part of a wider character.
    is_consumed: bool,
    /// The run contains such a word: its bytes are kept.
    is_kept: bool,
    /// The previous byte may be the first of a two-byte character.
    is_lead: bool,
    /// The previous wide character is a letter: single bytes directly after it
    /// are not a separate word.
    is_after_letter: bool,
    kept: String,
    dropped_bytes: u64,
}

/// The collected words, one run per line.
#[derive(Debug, Default)]
pub(crate) struct SingleByteWords {
    pub text: String,
    /// **Units**: bytes above [`SingleByteWords::BYTES_MAX`].
    pub dropped_bytes: u64,
}

impl SingleByteWords {
    pub const BYTES_MAX: usize = KEPT_BYTES_MAX;
}

impl WordCollector {
    /// Adds bytes decoded in units of two or four bytes, the last of which is
    /// `last`.
    pub fn add_wide(&mut self, bytes: &[u8], last: Option<char>) {
        if let [0, low, ..] = bytes
            && self.ends_with_word()
            && (low.is_ascii_alphanumeric() || *low >= 0xa0)
        {
            // The decoded text has no separator between this word and the next.
            self.keep_run();
        }
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let plain = rest.first_chunk().filter(|eight| is_plain_utf16(eight));
            if let Some(eight) = plain
                && (byte == 0 || self.run.is_empty() && !self.is_kept)
            {
                self.end_run();
                self.push_consumed(eight[7]);
                rest = &rest[eight.len()..];
            } else {
                self.push_consumed(byte);
                rest = &rest[1..];
            }
        }
        if !bytes.is_empty() {
            self.is_after_letter = last.is_some_and(char::is_alphanumeric);
        }
    }

    /// Adds bytes that were decoded one by one.
    pub fn add_single(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.is_consumed |= std::mem::take(&mut self.is_after_letter);
        let mut rest = bytes;
        if self.is_consumed {
            let word_len = rest.iter().take_while(|&&b| is_word(b)).count();
            let (word, after) = rest.split_at(word_len);
            word.iter().for_each(|&byte| self.push(byte));
            if after.is_empty() {
                return;
            }
            self.end_run();
            rest = after;
        }
        let context = &rest[rest.len().saturating_sub(CONTEXT_BYTES_MAX)..];
        let printable_len = context
            .iter()
            .rev()
            .take_while(|&&b| is_printable(b))
            .count();
        if printable_len < rest.len() {
            self.run.clear();
        }
        self.run
            .extend_from_slice(&context[context.len() - printable_len..]);
        self.trim_run();
    }

    /// Adds bytes of a multi-byte code page, where the second byte of a
    /// character may be a letter.
    pub fn add_multi_byte(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let follows_lead = std::mem::replace(&mut self.is_lead, byte >= 0x80);
            if follows_lead {
                self.push_consumed(byte);
            } else if self.is_consumed && is_word(byte) {
                self.push(byte);
            } else {
                self.end_run();
            }
        }
    }

    /// Ends the text and returns its words.
    pub fn finish(&mut self) -> SingleByteWords {
        self.end_run();
        SingleByteWords {
            text: std::mem::take(&mut self.kept),
            dropped_bytes: self.dropped_bytes,
        }
    }

    fn push_consumed(&mut self, byte: u8) {
        if is_printable(byte) {
            self.is_consumed = true;
            self.push(byte);
        } else {
            self.end_run();
        }
    }

    fn push(&mut self, byte: u8) {
        if self.is_kept {
            self.keep(byte);
            return;
        }
        self.run.push(byte);
        if self.ends_with_word() {
            self.keep_run();
        }
        self.trim_run();
    }

    fn ends_with_word(&self) -> bool {
        self.run
            .last_chunk::<WORD_BYTES_MIN>()
            .is_some_and(|word| word.iter().all(|&b| is_word(b)))
    }

    fn keep_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        let from = run.len().saturating_sub(CONTEXT_BYTES_MAX);
        run.iter().skip(from).for_each(|&byte| self.keep(byte));
        self.is_kept = true;
    }

    fn keep(&mut self, byte: u8) {
        if self.kept.len() < KEPT_BYTES_MAX {
            self.kept.push(char::from(byte));
        } else {
            self.dropped_bytes += 1;
        }
    }

    /// Drops context that is too far from the current position. Waits until
    /// there is twice as much, so that few bytes are moved.
    fn trim_run(&mut self) {
        if self.run.len() > 2 * CONTEXT_BYTES_MAX {
            self.run.drain(..self.run.len() - CONTEXT_BYTES_MAX);
        }
    }

    fn end_run(&mut self) {
        if self.is_kept {
            self.keep(b'\n');
        }
        self.run.clear();
        self.is_kept = false;
        self.is_consumed = false;
    }
}

/// Whether every other byte is a NUL, as in most UTF-16.
fn is_plain_utf16(eight: &[u8; 8]) -> bool {
    const EVERY_OTHER: u64 = 0xff00_ff00_ff00_ff00;
    let bytes = u64::from_le_bytes(*eight);
    bytes & EVERY_OTHER == 0 || bytes & !EVERY_OTHER == 0
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

/// Whether a byte can be part of a word, name, number, path or address.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-:\\/@".contains(&byte)
}
