//! The tolerant reader of one JSON object.

use std::ops::ControlFlow;

use crate::Sink;
use crate::transcript::values::{Target, Values};
use evidence::ProblemKind;

/// How far behind a quote is looked to tell whether it ends its string. Valid
/// JSON needs as much only for keys that long or that much white space, and
/// is then believed.
const LOOK_BYTES: usize = 512;

/// Longest key; longer ones are cut. The known ones are short.
const KEY_BYTES_MAX: usize = 1 << 10;

/// `\ud83d\ude00`: the longest escape.
const ESCAPE_BYTES: usize = 12;

/// The end of most lines, as it is written.
const LINE_END: &[u8; 4] = br"\r\n";

enum State {
    /// Before the object.
    Start,
    /// Before a key.
    Key,
    InKey,
    /// Between a key and its value.
    Colon,
    Value,
    Text(Target),
    Raw(Target, Raw),
    /// Behind a value.
    After,
    /// Behind the object.
    Tail,
}

/// A value that is no string, kept as it stands.
#[derive(Clone, Copy, Default)]
struct Raw {
    depth: u32,
    in_string: bool,
    escaped: bool,
}

/// What was wrong with the JSON.
#[derive(Default)]
struct Repairs {
    encoding: bool,
    control: bool,
    escape: bool,
    surrogate: bool,
    quote: bool,
    syntax: bool,
    tail: bool,
    cut: Option<&'static str>,
}

pub(crate) struct Reader<'a> {
    values: Values<'a>,
    state: State,
    /// Read and not yet understood.
    pending: String,
    key: String,
    /// Plain text of one step of the string that is read.
    plain: String,
    repairs: Repairs,
}

/// Whether a step got on, or needs to see more.
enum Step {
    On(usize),
    More(usize),
}

impl<'a> Reader<'a> {
    pub fn new(sink: &'a mut dyn Sink, encoding: &'static str) -> Self {
        Self {
            values: Values::new(sink, encoding),
            state: State::Start,
            pending: String::new(),
            key: String::new(),
            plain: String::new(),
            repairs: Repairs::default(),
        }
    }

    /// The bytes were not plain UTF-8, as JSON is.
    pub fn note_encoding(&mut self) {
        self.repairs.encoding = true;
    }

    pub fn take(&mut self, piece: &str) -> ControlFlow<()> {
        if self.pending.is_empty() {
            let used = self.read(piece, false)?;
            self.pending.push_str(piece.get(used..).unwrap_or_default());
            return ControlFlow::Continue(());
        }
        self.pending.push_str(piece);
        self.read_pending(false)
    }

    /// Everything is read; `beside` are lines that stand beside it.
    pub fn finish(&mut self, beside: &str) -> ControlFlow<()> {
        self.read_pending(true)?;
        self.end_cut()?;
        if !beside.is_empty() {
            self.values.push_other("\n");
            self.values.push_other(beside);
        }
        self.values.finish()?;
        self.tell();
        ControlFlow::Continue(())
    }

    fn read_pending(&mut self, last: bool) -> ControlFlow<()> {
        let mut pending = std::mem::take(&mut self.pending);
        let used = self.read(&pending, last)?;
        pending.drain(..used);
        self.pending = pending;
        ControlFlow::Continue(())
    }

    /// Reads as far as it is understood, and says how far that was.
    fn read(&mut self, text: &str, last: bool) -> ControlFlow<(), usize> {
        let mut at = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            if rest.is_empty() {
                return ControlFlow::Continue(at);
            }
            match self.step(rest, last)? {
                Step::On(used) => at += used,
                Step::More(used) => return ControlFlow::Continue(at + used),
            }
        }
    }

    fn step(&mut self, rest: &str, last: bool) -> ControlFlow<(), Step> {
        match self.state {
            State::Text(target) => return self.step_text(rest, last, Some(target)),
            State::InKey => return self.step_text(rest, last, None),
            State::Raw(target, raw) => return self.step_raw(rest, target, raw),
            State::Tail => return self.step_tail(rest),
            _ => {}
        }
        let skipped = rest.len() - rest.trim_start_matches(is_space).len();
        if skipped > 0 {
            return ControlFlow::Continue(Step::On(skipped));
        }
        let c = rest.chars().next().unwrap_or_default();
        self.step_syntax(rest, c)
    }

    /// Between values, at something that is no white space.
    fn step_syntax(&mut self, rest: &str, c: char) -> ControlFlow<(), Step> {
        let one = ControlFlow::Continue(Step::On(c.len_utf8()));
        match (&self.state, c) {
            (State::Start, '{') => self.state = State::Key,
            (State::Key, '"') => {
                self.key.clear();
                self.state = State::InKey;
            }
            (State::Key | State::After, '}') => self.state = State::Tail,
            (State::Colon, ':') => self.state = State::Value,
            (State::Value, '"') => {
                let target = self.begin_value();
                self.state = State::Text(target);
            }
            (State::Value, ',' | '}') => {
                // a key without a value
                self.repairs.syntax = true;
                let target = self.begin_value();
                self.values.end(target, false)?;
                self.state = State::After;
                return ControlFlow::Continue(Step::On(0));
            }
            (State::Value, _) => return self.begin_raw(rest),
            (State::After, ',') => self.state = State::Key,
            (State::After, '"') => {
                self.repairs.syntax = true;
                self.state = State::Key;
                return ControlFlow::Continue(Step::On(0));
            }
            _ => {
                self.repairs.syntax = true;
                self.values
                    .push_other(rest.get(..c.len_utf8()).unwrap_or_default());
            }
        }
        one
    }

    fn begin_value(&mut self) -> Target {
        let target = self.values.target(&self.key);
        self.values.begin(&self.key, target);
        target
    }

    // ---- strings -------------------------------------------------------

    /// Reads a string (a key where there is no target) as far as it goes.
    fn step_text(
        &mut self,
        rest: &str,
        last: bool,
        target: Option<Target>,
    ) -> ControlFlow<(), Step> {
        let mut plain = std::mem::take(&mut self.plain);
        let mut at = 0;
        let (more, ended) = loop {
            let ahead = rest.get(at..).unwrap_or_default();
            let bytes = ahead.as_bytes();
            let Some(found) = memchr::memchr2(b'"', b'\\', bytes) else {
                self.push_plain(ahead, &mut plain);
                at = rest.len();
                break (true, false);
            };
            self.push_plain(&ahead[..found], &mut plain);
            at += found;
            let ahead = &ahead[found..];
            if ahead.starts_with('\\') {
                if ahead.len() < ESCAPE_BYTES && !last {
                    break (true, false);
                }
                at += self.unescape(ahead, &mut plain);
                continue;
            }
            match closes(ahead.get(1..).unwrap_or_default(), last, target.is_none()) {
                None => break (true, false),
                Some(true) => {
                    at += 1;
                    break (false, true);
                }
                Some(false) => {
                    self.repairs.quote = true;
                    plain.push('"');
                    at += 1;
                }
            }
        };
        let flow = self.give(&plain, target, ended);
        plain.clear();
        self.plain = plain;
        flow?;
        ControlFlow::Continue(if more { Step::More(at) } else { Step::On(at) })
    }

    fn give(&mut self, plain: &str, target: Option<Target>, ended: bool) -> ControlFlow<()> {
        match target {
            Some(target) => {
                self.values.push(target, plain)?;
                if ended {
                    self.values.end(target, true)?;
                    self.state = State::After;
                }
            }
            None => {
                let room = KEY_BYTES_MAX.saturating_sub(self.key.len());
                self.key.extend(plain.chars().take(room));
                if ended {
                    self.state = State::Colon;
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn push_plain(&mut self, text: &str, plain: &mut String) {
        if !self.repairs.control {
            // without a way out, so that many bytes are compared at once
            self.repairs.control = text.bytes().fold(false, |found, b| found | (b < b' '));
        }
        plain.push_str(text);
    }

    /// Reads one escape; an invalid one stands for itself.
    fn unescape(&mut self, ahead: &str, plain: &mut String) -> usize {
        if ahead.as_bytes().starts_with(LINE_END) {
            plain.push_str("\r\n");
            return LINE_END.len();
        }
        let short = match ahead.as_bytes().get(1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') if hex4(ahead, 2).is_some() => return self.unescape_unit(ahead, plain),
            _ => {
                self.repairs.escape = true;
                plain.push('\\');
                return 1;
            }
        };
        plain.push(short);
        2
    }

    fn unescape_unit(&mut self, ahead: &str, plain: &mut String) -> usize {
        let first = hex4(ahead, 2).unwrap_or_default();
        let second = match ahead.get(6..8) {
            Some("\\u") => hex4(ahead, 8),
            _ => None,
        };
        if let Some(c) = char::from_u32(u32::from(first)) {
            plain.push(c);
            return 6;
        }
        let pair = second.and_then(|second| char::decode_utf16([first, second]).next());
        if let Some(Ok(c)) = pair {
            plain.push(c);
            return 12;
        }
        self.repairs.surrogate = true;
        plain.push(char::REPLACEMENT_CHARACTER);
        6
    }

    // ---- other values --------------------------------------------------

    fn begin_raw(&mut self, rest: &str) -> ControlFlow<(), Step> {
        let target = self.values.target(&self.key);
        // null is no text
        let text = matches!(target, Target::Text(_));
        let target = if text && rest.starts_with('n') {
            Target::Other
        } else {
            target
        };
        self.values.begin(&self.key, target);
        self.state = State::Raw(target, Raw::default());
        ControlFlow::Continue(Step::On(0))
    }

    fn step_raw(&mut self, rest: &str, target: Target, mut raw: Raw) -> ControlFlow<(), Step> {
        let mut end = None;
        for (i, byte) in rest.bytes().enumerate() {
            if raw.in_string {
                raw.in_string = raw.escaped || byte != b'"';
                raw.escaped = !raw.escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => raw.in_string = true,
                b'{' | b'[' => raw.depth = raw.depth.saturating_add(1),
                b',' | b'}' | b']' if raw.depth == 0 => {
                    end = Some(i);
                    break;
                }
                b'}' | b']' => raw.depth -= 1,
                _ => {}
            }
        }
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        self.values.push(
            target,
            text.trim_end_matches(if end.is_some() { is_space } else { no_char }),
        )?;
        self.state = State::Raw(target, raw);
        if end.is_some() {
            self.values.end(target, false)?;
            self.state = State::After;
        }
        ControlFlow::Continue(Step::On(text.len()))
    }

    fn step_tail(&mut self, rest: &str) -> ControlFlow<(), Step> {
        if !rest.chars().all(is_json_space) {
            self.repairs.tail = true;
            self.values.push_other(rest.trim_matches(is_space));
        }
        ControlFlow::Continue(Step::On(rest.len()))
    }

    // ---- the end -------------------------------------------------------

    /// Ends whatever the input broke off in.
    fn end_cut(&mut self) -> ControlFlow<()> {
        let cut = match self.state {
            State::Tail => return ControlFlow::Continue(()),
            State::Text(target) => {
                self.values.end(target, true)?;
                "a value"
            }
            State::Raw(target, _) => {
                self.values.end(target, false)?;
                "a value"
            }
            State::InKey | State::Colon | State::Value => {
                let key = std::mem::take(&mut self.key);
                self.values.push_other(&key);
                "a key"
            }
            State::Start | State::Key | State::After => "the object",
        };
        self.repairs.cut = Some(cut);
        ControlFlow::Continue(())
    }

    fn tell(&mut self) {
        let repairs = &self.repairs;
        let said: Vec<&str> = [
            (
                repairs.encoding,
                "byte order mark or an encoding other than UTF-8",
            ),
            (repairs.control, "control characters inside strings"),
            (repairs.escape, "escapes that are none"),
            (repairs.surrogate, "halves of surrogate pairs"),
            (repairs.quote, "quotes inside strings"),
            (repairs.syntax, "something between the values"),
            (repairs.tail, "something behind the end"),
            (repairs.cut.is_some(), "no end"),
        ]
        .iter()
        .filter_map(|(is, what)| is.then_some(*what))
        .collect();
        if let Some(cut) = repairs.cut {
            self.values.problem(
                ProblemKind::Damaged,
                format!("transcript breaks off inside {cut}: what is there is kept"),
            );
        }
        if !said.is_empty() {
            self.values.problem(
                ProblemKind::Repaired,
                format!(
                    "transcript is no strict JSON and was read all the same: {}",
                    said.join(", ")
                ),
            );
        }
    }
}

/// Whether a string ends at a quote, going by what follows it. `None` where
/// more has to be seen.
fn closes(after: &str, last: bool, is_key: bool) -> Option<bool> {
    let look = after.as_bytes();
    let more = |is: bool| {
        if last || look.len() >= LOOK_BYTES {
            Some(is)
        } else {
            None
        }
    };
    let next = skip_space(look, 0);
    match look.get(next) {
        None => more(true),
        Some(b':') => Some(is_key),
        Some(_) if is_key => Some(false),
        Some(b'}') => {
            let end = skip_space(look, next + 1);
            let padded = look.get(next + 1..end).is_some_and(|gap| gap.contains(&0));
            match look.get(end) {
                None => more(true),
                Some(b'{') => Some(true),
                Some(_) => Some(padded || end >= LOOK_BYTES),
            }
        }
        Some(b',') => {
            let key = skip_space(look, next + 1);
            match look.get(key) {
                None => more(true),
                Some(b'"') => is_key_ahead(look, key + 1, || more(true)),
                Some(b'}') => Some(true),
                Some(_) => Some(false),
            }
        }
        // a comma left out
        Some(b'"') => is_key_ahead(look, next + 1, || more(false)),
        Some(_) => Some(false),
    }
}

/// Whether a key and its colon stand at `at`.
fn is_key_ahead(look: &[u8], mut at: usize, undecided: impl Fn() -> Option<bool>) -> Option<bool> {
    loop {
        match look.get(at) {
            None => return undecided(),
            Some(b'\\') => at += 2,
            Some(b'"') => break,
            Some(_) => at += 1,
        }
    }
    match look.get(skip_space(look, at + 1)) {
        None => undecided(),
        Some(byte) => Some(*byte == b':'),
    }
}

fn skip_space(look: &[u8], from: usize) -> usize {
    let rest = look.get(from..).unwrap_or_default();
    from + rest
        .iter()
        .take_while(|&&b| is_space(char::from(b)))
        .count()
}

fn is_json_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// White space, and the NULs that some tails are made of.
fn is_space(c: char) -> bool {
    is_json_space(c) || c == '\0'
}

fn no_char(_: char) -> bool {
    false
}

fn hex4(text: &str, at: usize) -> Option<u16> {
    let digits = text.get(at..at + 4)?;
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u16::from_str_radix(digits, 16).ok()
}
