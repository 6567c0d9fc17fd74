//! Words of one byte a letter that a decoding of wider units swallows: any two
//! of their bytes can be a character. Which reading is right cannot be known,
//! so these words stand beside the text.

/// Shorter ones are mostly chance: halves of ideographs are letters too.
const WORD_BYTES_MIN: usize = 4;

/// What is kept of the printable bytes before a word, for context.
const BEFORE_BYTES_MAX: usize = 256;

/// What is kept in memory until the text is at its end. Random ideographs
/// give 5 % of their length by chance, words of them less, other text nothing.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// Sees all bytes of a text in their order, and how they were decoded.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    /// Printable bytes up to here.
    run: Vec<u8>,
    /// One of them was decoded as part of a wider unit.
    swallowed: bool,
    /// They hold such a word: it is being kept.
    open: bool,
    /// The byte before begins a character of two, maybe.
    leads: bool,
    /// The unit before is a letter, so that a word of bytes behind it does not
    /// stand alone.
    letter: bool,
    kept: String,
    cut: u64,
}

/// What was kept, one run a line.
#[derive(Debug, Default)]
pub(crate) struct Beside {
    pub words: String,
    /// **Units**: bytes beyond [`Beside::MAX`].
    pub cut: u64,
}

impl Beside {
    pub const MAX: usize = KEPT_BYTES_MAX;
}

impl Hidden {
    /// Bytes that were decoded by units of two or four, `last` being the
    /// character at their end.
    pub fn wide(&mut self, bytes: &[u8], last: Option<char>) {
        if let ([0, low, ..], true) = (bytes, self.ends_with_word())
            && (low.is_ascii_alphanumeric() || *low >= 0xa0)
        {
            // the text has nothing between this word and the next
            self.keep_run();
        }
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let plain = rest.first_chunk().filter(|eight| is_plain(eight));
            if let Some(eight) = plain
                && (byte == 0 || self.run.is_empty() && !self.open)
            {
                self.end();
                self.push_swallowed(eight[7]);
                rest = &rest[eight.len()..];
            } else {
                self.push_swallowed(byte);
                rest = &rest[1..];
            }
        }
        if !bytes.is_empty() {
            self.letter = last.is_some_and(char::is_alphanumeric);
        }
    }

    /// Bytes each of which was decoded as itself.
    pub fn narrow(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.swallowed |= std::mem::take(&mut self.letter);
        let mut rest = bytes;
        if self.swallowed {
            let goes_on = rest.iter().take_while(|&&b| is_word(b)).count();
            let (word, behind) = rest.split_at(goes_on);
            word.iter().for_each(|&byte| self.push(byte));
            if behind.is_empty() {
                return;
            }
            self.end();
            rest = behind;
        }
        let look = &rest[rest.len().saturating_sub(BEFORE_BYTES_MAX)..];
        let tail = look.iter().rev().take_while(|&&b| is_printable(b)).count();
        if tail < rest.len() {
            self.run.clear();
        }
        self.run.extend_from_slice(&look[look.len() - tail..]);
        self.trim();
    }

    /// Bytes of a code page whose characters have one or two; the second one
    /// may be a letter.
    pub fn paired(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let follows = std::mem::replace(&mut self.leads, byte >= 0x80);
            if follows {
                self.push_swallowed(byte);
            } else if self.swallowed && is_word(byte) {
                self.push(byte);
            } else {
                self.end();
            }
        }
    }

    /// The text is at its end.
    pub fn finish(&mut self) -> Beside {
        self.end();
        Beside {
            words: std::mem::take(&mut self.kept),
            cut: self.cut,
        }
    }

    fn push_swallowed(&mut self, byte: u8) {
        if is_printable(byte) {
            self.swallowed = true;
            self.push(byte);
        } else {
            self.end();
        }
    }

    fn push(&mut self, byte: u8) {
        if self.open {
            self.keep(byte);
            return;
        }
        self.run.push(byte);
        if self.ends_with_word() {
            self.keep_run();
        }
        self.trim();
    }

    fn ends_with_word(&self) -> bool {
        let word = self.run.last_chunk::<WORD_BYTES_MIN>();
        word.is_some_and(|word| word.iter().all(|&b| is_word(b)))
    }

    fn keep_run(&mut self) {
        let run = std::mem::take(&mut self.run);
        let from = run.len().saturating_sub(BEFORE_BYTES_MAX);
        run.iter().skip(from).for_each(|&byte| self.keep(byte));
        self.open = true;
    }

    fn keep(&mut self, byte: u8) {
        if self.kept.len() < KEPT_BYTES_MAX {
            self.kept.push(char::from(byte));
        } else {
            self.cut += 1;
        }
    }

    /// Forgets what is too far back, now and then.
    fn trim(&mut self) {
        if self.run.len() > 2 * BEFORE_BYTES_MAX {
            self.run.drain(..self.run.len() - BEFORE_BYTES_MAX);
        }
    }

    fn end(&mut self) {
        if self.open {
            self.keep(b'\n');
        }
        self.run.clear();
        self.open = false;
        self.swallowed = false;
    }
}

/// Every other byte is a NUL: nearly all there is in most UTF-16.
fn is_plain(eight: &[u8; 8]) -> bool {
    const EVERY_OTHER: u64 = 0xff00_ff00_ff00_ff00;
    let bytes = u64::from_le_bytes(*eight);
    bytes & EVERY_OTHER == 0 || bytes & !EVERY_OTHER == 0
}

fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

/// What words, names, numbers, paths and addresses are made of.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-:\\/@".contains(&byte)
}
