//! Tolerant reader of one JSON object, a state machine over pieces of text.

use std::ops::ControlFlow;

use crate::sink::Sink;
use crate::transcript::values::{TranscriptValues, ValueTarget};
use evidence::ProblemKind;

/// Bytes inspected after a quote to decide whether it ends its string.
/// Valid JSON needs more only for longer keys or longer white space; then the
/// quote is taken as the end.
const LOOKAHEAD_BYTES: usize = 512;

/// Longest key kept. The known ones are shorter.
const KEY_BYTES_MAX: usize = 1 << 10;

/// Length of the longest escape, `\ud83d\ude00`.
const ESCAPE_BYTES: usize = 12;

/// The most frequent escape: the end of a line.
const ESCAPED_LINE_END: &[u8; 4] = br"\r\n";

enum ReaderState {
    /// Before the object.
    Start,
    /// Before a key.
    Key,
    InKey,
    /// Between a key and its value.
    Colon,
    /// Before a value.
    Value,
    InString(ValueTarget),
    InOther(ValueTarget, OtherValue),
    /// After a value.
    AfterValue,
    /// After the object.
    End,
}

/// A value that is not a string. It is kept as it is written.
#[derive(Clone, Copy, Default)]
struct OtherValue {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

/// Defects of the JSON that were read over.
#[derive(Default)]
struct JsonRepairs {
    encoding: bool,
    control: bool,
    escape: bool,
    surrogate: bool,
    quote: bool,
    syntax: bool,
    data_after_end: bool,
    /// The part in which the JSON ends too early.
    truncated_in: Option<&'static str>,
}

impl JsonRepairs {
    fn descriptions(&self) -> Vec<&'static str> {
        [
            (
                self.encoding,
                "byte order mark or an encoding other than UTF-8",
            ),
            (self.control, "control characters in strings"),
            (self.escape, "invalid escapes"),
            (self.surrogate, "unpaired surrogates"),
            (self.quote, "unescaped quotes in strings"),
            (self.syntax, "unexpected characters between values"),
            (self.data_after_end, "data after the end"),
            (self.truncated_in.is_some(), "missing end"),
        ]
        .into_iter()
        .filter_map(|(is_present, description)| is_present.then_some(description))
        .collect()
    }
}

pub(crate) struct TranscriptReader<'a> {
    values: TranscriptValues<'a>,
    state: ReaderState,
    /// Text that needs more text to be read.
    pending: String,
    key: String,
    /// Buffer for the unescaped text of one step.
    unescaped: String,
    repairs: JsonRepairs,
}

/// The result of a step.
enum ReadStep {
    /// This many bytes were read.
    Advance(usize),
    /// This many bytes were read; the next ones need more text.
    NeedMore(usize),
}

impl<'a> TranscriptReader<'a> {
    pub fn new(sink: &'a mut dyn Sink, encoding: &'static str) -> Self {
        Self {
            values: TranscriptValues::new(sink, encoding),
            state: ReaderState::Start,
            pending: String::new(),
            key: String::new(),
            unescaped: String::new(),
            repairs: JsonRepairs::default(),
        }
    }

    /// Reports that the bytes were not UTF-8 without a mark, as JSON must be.
    pub fn report_encoding(&mut self) {
        self.repairs.encoding = true;
    }

    /// Reads the next piece of the transcript.
    pub fn push(&mut self, piece: &str) -> ControlFlow<()> {
        if self.pending.is_empty() {
            let used = self.read(piece, false)?;
            self.pending.push_str(piece.get(used..).unwrap_or_default());
            return ControlFlow::Continue(());
        }
        self.pending.push_str(piece);
        self.read_pending(false)
    }

    /// Ends the transcript. `words` are added to the part `Other`.
    pub fn finish(&mut self, words: &str) -> ControlFlow<()> {
        self.read_pending(true)?;
        self.end_truncated()?;
        if !words.is_empty() {
            self.values.push_other("\n");
            self.values.push_other(words);
        }
        self.values.finish()?;
        self.report_repairs();
        ControlFlow::Continue(())
    }

    fn read_pending(&mut self, last: bool) -> ControlFlow<()> {
        let mut pending = std::mem::take(&mut self.pending);
        let used = self.read(&pending, last)?;
        pending.drain(..used);
        self.pending = pending;
        ControlFlow::Continue(())
    }

    /// Reads as much of `text` as possible, and returns how many bytes.
    fn read(&mut self, text: &str, last: bool) -> ControlFlow<(), usize> {
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return ControlFlow::Continue(at);
            }
            match self.step(rest, last)? {
                ReadStep::Advance(used) => at += used,
                ReadStep::NeedMore(used) => return ControlFlow::Continue(at + used),
            }
        }
    }

    fn step(&mut self, rest: &str, last: bool) -> ControlFlow<(), ReadStep> {
        match self.state {
            ReaderState::InString(target) => return self.step_string(rest, last, Some(target)),
            ReaderState::InKey => return self.step_string(rest, last, None),
            ReaderState::InOther(target, value) => return self.step_other(rest, target, value),
            ReaderState::End => return self.step_end(rest),
            _ => {}
        }
        let skipped = rest.len() - rest.trim_start_matches(is_space).len();
        if skipped > 0 {
            return ControlFlow::Continue(ReadStep::Advance(skipped));
        }
        let c = rest.chars().next().unwrap_or_default();
        self.step_syntax(rest, c)
    }

    /// Reads one character between values, which is not white space.
    fn step_syntax(&mut self, rest: &str, c: char) -> ControlFlow<(), ReadStep> {
        match (&self.state, c) {
            (ReaderState::Start, '{') => self.state = ReaderState::Key,
            (ReaderState::Key, '"') => {
                self.key.clear();
                self.state = ReaderState::InKey;
            }
            (ReaderState::Key | ReaderState::AfterValue, '}') => self.state = ReaderState::End,
            (ReaderState::Colon, ':') => self.state = ReaderState::Value,
            (ReaderState::Value, '"') => {
                let target = self.begin_value();
                self.state = ReaderState::InString(target);
            }
            (ReaderState::Value, ',' | '}') => {
                // A key without a value.
                self.repairs.syntax = true;
                let target = self.begin_value();
                self.values.end(target, false)?;
                self.state = ReaderState::AfterValue;
                return ControlFlow::Continue(ReadStep::Advance(0));
            }
            (ReaderState::Value, _) => return self.begin_other(rest),
            (ReaderState::AfterValue, ',') => self.state = ReaderState::Key,
            (ReaderState::AfterValue, '"') => {
                self.repairs.syntax = true;
                self.state = ReaderState::Key;
                return ControlFlow::Continue(ReadStep::Advance(0));
            }
            _ => {
                self.repairs.syntax = true;
                self.values
                    .push_other(rest.get(..c.len_utf8()).unwrap_or_default());
            }
        }
        ControlFlow::Continue(ReadStep::Advance(c.len_utf8()))
    }

    fn begin_value(&mut self) -> ValueTarget {
        let target = self.values.target(&self.key);
        self.values.begin(&self.key, target);
        target
    }

    // ---- strings -------------------------------------------------------

    /// Reads the rest of a string, or of a key if there is no target.
    fn step_string(
        &mut self,
        rest: &str,
        last: bool,
        target: Option<ValueTarget>,
    ) -> ControlFlow<(), ReadStep> {
        let mut unescaped = std::mem::take(&mut self.unescaped);
        let mut at = 0;
        let has_ended = loop {
            let ahead = rest.get(at..).unwrap_or_default();
            let Some(plain_len) = memchr::memchr2(b'"', b'\\', ahead.as_bytes()) else {
                self.push_plain(ahead, &mut unescaped);
                at = rest.len();
                break false;
            };
            self.push_plain(&ahead[..plain_len], &mut unescaped);
            at += plain_len;
            let special = &ahead[plain_len..];
            if special.starts_with('\\') {
                if special.len() < ESCAPE_BYTES && !last {
                    break false;
                }
                at += self.unescape(special, &mut unescaped);
                continue;
            }
            let after = special.get(1..).unwrap_or_default();
            let Some(is_end) = ends_string(after, last, target.is_none()) else {
                break false;
            };
            at += 1;
            if is_end {
                break true;
            }
            self.repairs.quote = true;
            unescaped.push('"');
        };
        let flow = self.push_unescaped(&unescaped, target, has_ended);
        unescaped.clear();
        self.unescaped = unescaped;
        flow?;
        ControlFlow::Continue(if has_ended {
            ReadStep::Advance(at)
        } else {
            ReadStep::NeedMore(at)
        })
    }

    fn push_unescaped(
        &mut self,
        text: &str,
        target: Option<ValueTarget>,
        has_ended: bool,
    ) -> ControlFlow<()> {
        let Some(target) = target else {
            let free = KEY_BYTES_MAX.saturating_sub(self.key.len());
            self.key.extend(text.chars().take(free));
            if has_ended {
                self.state = ReaderState::Colon;
            }
            return ControlFlow::Continue(());
        };
        self.values.push(target, text)?;
        if has_ended {
            self.values.end(target, true)?;
            self.state = ReaderState::AfterValue;
        }
        ControlFlow::Continue(())
    }

    fn push_plain(&mut self, text: &str, unescaped: &mut String) {
        if !self.repairs.control {
            // A fold without an early exit compares many bytes at once.
            self.repairs.control = text.bytes().fold(false, |found, b| found | (b < b' '));
        }
        unescaped.push_str(text);
    }

    /// Reads one escape and returns its length. The backslash of an invalid
    /// escape is kept as text.
    fn unescape(&mut self, escape: &str, unescaped: &mut String) -> usize {
        if escape.as_bytes().starts_with(ESCAPED_LINE_END) {
            unescaped.push_str("\r\n");
            return ESCAPED_LINE_END.len();
        }
        let character = match escape.as_bytes().get(1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') if hex4(escape, 2).is_some() => {
                return self.unescape_unit(escape, unescaped);
            }
            _ => {
                self.repairs.escape = true;
                unescaped.push('\\');
                return 1;
            }
        };
        unescaped.push(character);
        2
    }

    fn unescape_unit(&mut self, escape: &str, unescaped: &mut String) -> usize {
        let first = hex4(escape, 2).unwrap_or_default();
        if let Some(c) = char::from_u32(u32::from(first)) {
            unescaped.push(c);
            return 6;
        }
        let second = match escape.get(6..8) {
            Some("\\u") => hex4(escape, 8),
            _ => None,
        };
        let pair = second.and_then(|second| char::decode_utf16([first, second]).next());
        if let Some(Ok(c)) = pair {
            unescaped.push(c);
            return 12;
        }
        self.repairs.surrogate = true;
        unescaped.push(char::REPLACEMENT_CHARACTER);
        6
    }

    // ---- other values --------------------------------------------------

    fn begin_other(&mut self, rest: &str) -> ControlFlow<(), ReadStep> {
        let target = match self.values.target(&self.key) {
            // A null is not a text.
            ValueTarget::Text(_) if rest.starts_with('n') => ValueTarget::Other,
            target => target,
        };
        self.values.begin(&self.key, target);
        self.state = ReaderState::InOther(target, OtherValue::default());
        ControlFlow::Continue(ReadStep::Advance(0))
    }

    fn step_other(
        &mut self,
        rest: &str,
        target: ValueTarget,
        mut value: OtherValue,
    ) -> ControlFlow<(), ReadStep> {
        let mut end = None;
        for (i, byte) in rest.bytes().enumerate() {
            if value.in_string {
                value.in_string = value.escaped || byte != b'"';
                value.escaped = !value.escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => value.in_string = true,
                b'{' | b'[' => value.depth = value.depth.saturating_add(1),
                b',' | b'}' | b']' if value.depth == 0 => {
                    end = Some(i);
                    break;
                }
                b'}' | b']' => value.depth -= 1,
                _ => {}
            }
        }
        let Some(end) = end else {
            self.values.push(target, rest)?;
            self.state = ReaderState::InOther(target, value);
            return ControlFlow::Continue(ReadStep::Advance(rest.len()));
        };
        let text = rest.get(..end).unwrap_or_default();
        self.values.push(target, text.trim_end_matches(is_space))?;
        self.values.end(target, false)?;
        self.state = ReaderState::AfterValue;
        ControlFlow::Continue(ReadStep::Advance(text.len()))
    }

    fn step_end(&mut self, rest: &str) -> ControlFlow<(), ReadStep> {
        if !rest.chars().all(is_json_space) {
            self.repairs.data_after_end = true;
            self.values.push_other(rest.trim_matches(is_space));
        }
        ControlFlow::Continue(ReadStep::Advance(rest.len()))
    }

    // ---- the end -------------------------------------------------------

    /// Ends the value or key in which the input ended.
    fn end_truncated(&mut self) -> ControlFlow<()> {
        let truncated_in = match self.state {
            ReaderState::End => return ControlFlow::Continue(()),
            ReaderState::InString(target) => {
                self.values.end(target, true)?;
                "a value"
            }
            ReaderState::InOther(target, _) => {
                self.values.end(target, false)?;
                "a value"
            }
            ReaderState::InKey | ReaderState::Colon | ReaderState::Value => {
                let key = std::mem::take(&mut self.key);
                self.values.push_other(&key);
                "a key"
            }
            ReaderState::Start | ReaderState::Key | ReaderState::AfterValue => "the object",
        };
        self.repairs.truncated_in = Some(truncated_in);
        ControlFlow::Continue(())
    }

    fn report_repairs(&mut self) {
        if let Some(part) = self.repairs.truncated_in {
            self.values.problem(
                ProblemKind::Damaged,
                format!("transcript is truncated inside {part}; the text before is kept"),
            );
        }
        let descriptions = self.repairs.descriptions();
        if !descriptions.is_empty() {
            self.values.problem(
                ProblemKind::Repaired,
                format!(
                    "transcript is not strict JSON but was read: {}",
                    descriptions.join(", ")
                ),
            );
        }
    }
}

/// Whether a quote ends its string, decided from the text `after` it. `None`
/// means that more text is needed.
fn ends_string(after: &str, last: bool, is_key: bool) -> Option<bool> {
    let ahead = after.as_bytes();
    // The answer if the text ends here.
    let at_text_end = |answer: bool| (last || ahead.len() >= LOOKAHEAD_BYTES).then_some(answer);
    let next = skip_space(ahead, 0);
    match ahead.get(next) {
        None => at_text_end(true),
        Some(b':') => Some(is_key),
        Some(_) if is_key => Some(false),
        Some(b'}') => {
            let end = skip_space(ahead, next + 1);
            let has_nul = ahead.get(next + 1..end).is_some_and(|gap| gap.contains(&0));
            match ahead.get(end) {
                None => at_text_end(true),
                Some(b'{') => Some(true),
                Some(_) => Some(has_nul || end >= LOOKAHEAD_BYTES),
            }
        }
        Some(b',') => {
            let key = skip_space(ahead, next + 1);
            match ahead.get(key) {
                None => at_text_end(true),
                Some(b'"') => is_key_at(ahead, key + 1, || at_text_end(true)),
                Some(b'}') => Some(true),
                Some(_) => Some(false),
            }
        }
        // The comma may be missing.
        Some(b'"') => is_key_at(ahead, next + 1, || at_text_end(false)),
        Some(_) => Some(false),
    }
}

/// Whether the string that starts at `at` is followed by a colon.
fn is_key_at(ahead: &[u8], mut at: usize, at_text_end: impl Fn() -> Option<bool>) -> Option<bool> {
    loop {
        match ahead.get(at) {
            None => return at_text_end(),
            Some(b'\\') => at += 2,
            Some(b'"') => break,
            Some(_) => at += 1,
        }
    }
    match ahead.get(skip_space(ahead, at + 1)) {
        None => at_text_end(),
        Some(byte) => Some(*byte == b':'),
    }
}

fn skip_space(ahead: &[u8], from: usize) -> usize {
    let rest = ahead.get(from..).unwrap_or_default();
    from + rest
        .iter()
        .take_while(|&&b| is_space(char::from(b)))
        .count()
}

fn is_json_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// White space, and NULs, with which some transcripts are padded.
fn is_space(c: char) -> bool {
    is_json_space(c) || c == '\0'
}

fn hex4(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + 4)?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}
