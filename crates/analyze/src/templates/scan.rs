//! One pass over a line: volatile parts are replaced, the rest is copied.

use memchr::memmem;

use crate::templates::rules::{Placeholder, RuleKind, SHORT, is_everywhere};
use crate::templates::{NAMED_MAX, Templates, shapes};

/// Longest file name; nothing is searched farther away. A line of 1 MiB may
/// contain the end of a name at every fourth byte.
///
/// **Units**: bytes.
const FILE_NAME_MAX: usize = 255;
/// Longest IPv6 address.
///
/// **Units**: bytes.
const ADDRESS_MAX: usize = 45;
/// DNS record types that are followed by a time to live.
const RECORDS: [&[u8]; 9] = [
    b"A", b"AAAA", b"CNAME", b"PTR", b"SRV", b"TXT", b"NS", b"MX", b"SOA",
];

pub(crate) struct TemplateScan<'a> {
    pub(crate) templates: &'a Templates,
    pub(crate) line: &'a str,
    pub(crate) bytes: &'a [u8],
    /// Position up to which the line was read.
    pub(crate) at: usize,
    /// Position up to which the line was copied.
    copied: usize,
    /// Whether an address was read and no word since; numbers may be ports.
    near_address: bool,
    /// Number of the device that the line is from.
    own: Option<u32>,
    named: &'a mut Vec<u32>,
    out: &'a mut String,
}

impl<'a> TemplateScan<'a> {
    pub(crate) fn new(
        templates: &'a Templates,
        line: &'a str,
        own: Option<u32>,
        named: &'a mut Vec<u32>,
        out: &'a mut String,
    ) -> Self {
        Self {
            templates,
            line,
            bytes: line.as_bytes(),
            at: 0,
            copied: 0,
            near_address: false,
            own,
            named,
            out,
        }
    }

    pub(crate) fn run(mut self) {
        let from = self.out.len();
        self.lead();
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' => self.blanks(),
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => self.word(),
                b'\\' | b'/' => self.separator(),
                b':' | b'=' | b'>' => self.label(),
                b'.' => self.ending(),
                b']' => self.behind_bracket(),
                b'*' => {
                    self.near_address = true;
                    self.at += 1;
                }
                _ => self.at += 1,
            }
        }
        self.copy_to(self.bytes.len());
        if self.on(RuleKind::Blanks) {
            let len = self.out[from..].trim_end_matches(' ').len();
            self.out.truncate(from + len);
        }
    }

    pub(crate) fn on(&self, kind: RuleKind) -> bool {
        self.templates.on(kind)
    }

    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    pub(crate) fn before(&self, at: usize) -> u8 {
        at.checked_sub(1).map_or(0, |at| self.byte(at))
    }

    /// Positions follow ASCII bytes, so they are character boundaries.
    pub(crate) fn text(&self, from: usize, to: usize) -> &'a str {
        self.line.get(from..to).unwrap_or("")
    }

    fn copy_to(&mut self, to: usize) {
        let text = self.text(self.copied, to);
        self.out.push_str(text);
        self.copied = to;
    }

    pub(crate) fn put(&mut self, from: usize, to: usize, instead: Placeholder) {
        self.copy_to(from);
        self.out.push_str(instead);
        (self.at, self.copied) = (to, to);
    }

    pub(crate) fn replace(&mut self, kind: RuleKind, from: usize, to: usize) -> bool {
        if self.on(kind) {
            self.put(from, to, kind.placeholder());
        }
        self.at = to;
        self.on(kind)
    }

    pub(crate) fn skip_blanks(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        at + rest
            .iter()
            .take_while(|b| **b == b' ' || **b == b'\t')
            .count()
    }

    /// Position of the next blank.
    pub(crate) fn token_end(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        at + rest
            .iter()
            .take_while(|b| **b != b' ' && **b != b'\t')
            .count()
    }

    pub(crate) fn blanks(&mut self) {
        let is_one = !matches!(self.byte(self.at + 1), b' ' | b'\t');
        if is_one && self.byte(self.at) == b' ' && self.at > 0 {
            self.at += 1;
            return;
        }
        let end = self.skip_blanks(self.at);
        if self.on(RuleKind::Blanks) {
            let one = if self.at == 0 { "" } else { " " };
            self.put(self.at, end, one);
        }
        self.at = end;
    }

    fn word(&mut self) {
        let start = self.at;
        let found = match self.byte(start) {
            b'0'..=b'9' => self.number(start),
            _ => self.name(start),
        };
        if found {
            return;
        }
        // Device names may contain hyphens.
        let rest = self.bytes.get(start..).unwrap_or(&[]);
        let len = rest.iter().take_while(|b| is_word(**b)).count();
        self.at = start + len.max(1);
        if !self.byte(start).is_ascii_digit() {
            self.near_address = false;
        }
    }

    /// Handles a part that starts with a digit. Nothing starts after a point or
    /// colon.
    fn number(&mut self, start: usize) -> bool {
        let bytes = self.bytes;
        let before = self.before(start);
        if let Some(end) = shapes::guid(bytes, start) {
            return self.replace(RuleKind::Guids, start, end);
        }
        if let Some(end) = shapes::address(bytes, start) {
            return self.replace(RuleKind::Addresses, start, end);
        }
        if self.machine(start) {
            return true;
        }
        if before == b'.' || before == b':' && !self.is_behind_label(start - 1) {
            return false;
        }
        if let Some(end) = shapes::duration(bytes, start) {
            return self.replace(RuleKind::Durations, start, end);
        }
        if let Some(end) = shapes::ipv4(bytes, start) {
            self.at = end;
            self.near_address = true;
            if self.byte(end) == b':' {
                self.port();
            }
            return true;
        }
        if let Some(end) = shapes::time(bytes, start) {
            return self.replace(RuleKind::Times, start, end);
        }
        if self.near_address
            && let Some(end) = shapes::dynamic_port(bytes, start)
        {
            return self.replace(RuleKind::Ports, start, end);
        }
        self.quantity(start)
    }

    /// Whether a colon ends a word and is not part of an address.
    fn is_behind_label(&self, colon: usize) -> bool {
        let before = self.bytes.get(..colon).unwrap_or(&[]);
        let is_part = |b: &&u8| b.is_ascii_hexdigit() || **b == b':';
        let part = before
            .iter()
            .rev()
            .take(ADDRESS_MAX)
            .take_while(is_part)
            .count();
        let head = before.get(..before.len() - part).unwrap_or(&[]);
        head.last().is_some_and(|b| b.is_ascii_alphabetic())
    }

    /// Handles numbers that are explained by adjacent text.
    fn quantity(&mut self, start: usize) -> bool {
        let end = start + shapes::number(self.bytes, start);
        if let Some(end) = shapes::kilobytes(self.bytes, end) {
            return self.replace(RuleKind::Memory, start, end);
        }
        let next = self.skip_blanks(end);
        if next > end && next < self.bytes.len() && self.is_behind_record(start) {
            return self.replace(RuleKind::Durations, start, end);
        }
        false
    }

    /// Whether the word before a position is a DNS record type after a name
    /// with a point.
    fn is_behind_record(&self, at: usize) -> bool {
        let from = at.saturating_sub(FILE_NAME_MAX);
        let before = self.bytes.get(from..at).unwrap_or(&[]);
        let mut words = before.rsplit(|b| *b == b' ');
        if words.next() != Some(b"") {
            return false;
        }
        let mut words = words.filter(|word| !word.is_empty());
        let is_record = words.next().is_some_and(|word| RECORDS.contains(&word));
        is_record && words.next().is_some_and(|name| name.contains(&b'.'))
    }

    /// Handles a part that starts with a letter.
    fn name(&mut self, start: usize) -> bool {
        let bytes = self.bytes;
        match self.byte(start) {
            b'S' => {
                if let Some((from, end)) = shapes::sid(bytes, start) {
                    return self.replace(RuleKind::Sids, from, end);
                }
            }
            b'P' => {
                if let Some(end) = shapes::duration(bytes, start) {
                    return self.replace(RuleKind::Durations, start, end);
                }
            }
            _ => {}
        }
        if self.byte(start).is_ascii_hexdigit() {
            if let Some(end) = shapes::guid(bytes, start) {
                return self.replace(RuleKind::Guids, start, end);
            }
            if let Some(end) = shapes::address(bytes, start) {
                return self.replace(RuleKind::Addresses, start, end);
            }
        }
        if matches!(
            self.byte(start) | 32,
            b'm' | b't' | b'w' | b'f' | b's' | b'j' | b'a' | b'o' | b'n' | b'd'
        ) && let Some(end) = shapes::named_time(bytes, start)
        {
            return self.replace(RuleKind::Times, start, end);
        }
        self.machine(start) || self.made_up(start)
    }

    /// Handles a device name of the fleet: records it, and replaces it if it is
    /// the own name.
    fn machine(&mut self, start: usize) -> bool {
        if !self.on(RuleKind::Own) || self.before(start) == b'-' {
            return false;
        }
        let machines = &self.templates.machines;
        if !machines.may_begin(self.byte(start), self.byte(start + 1)) {
            return false;
        }
        let rest = self.bytes.get(start..).unwrap_or(&[]);
        let len = rest
            .iter()
            .take_while(|b| is_word(**b) || **b == b'-')
            .count();
        let Some(name) = self.templates.machine(self.text(start, start + len)) else {
            return false;
        };
        if self.named.len() <= NAMED_MAX && !self.named.contains(&name) {
            self.named.push(name);
        }
        if self.own == Some(name) {
            return self.replace(RuleKind::Own, start, start + len);
        }
        self.at = start + len;
        true
    }

    /// Handles file names with generated parts.
    fn made_up(&mut self, start: usize) -> bool {
        if !matches!(self.byte(start), b'_' | b'P') || !self.on(RuleKind::Temp) {
            return false;
        }
        let rest = self.bytes.get(start..).unwrap_or(&[]);
        let long = |from: usize, ends: &[&[u8]]| {
            let name = rest.get(..FILE_NAME_MAX).unwrap_or(rest);
            let is_blank = |b: &u8| matches!(b, b' ' | b'\t');
            let name = name.split(is_blank).next()?;
            let end = ends.iter().find_map(|end| memmem::find(name, end))?;
            (end > from).then_some((start + from, start + end))
        };
        let found = if rest.starts_with(b"_MEI") {
            let len = rest[4..].iter().take_while(|b| b.is_ascii_digit()).count();
            (len > 0).then_some((start + 4, start + 4 + len))
        } else if rest.starts_with(b"__PSScriptPolicyTest_") {
            long(21, &[b".ps1", b".psm1"])
        } else if rest.starts_with(b"PowerShell_transcript.") {
            long(22, &[b".txt"])
        } else {
            None
        };
        found.is_some_and(|(from, to)| self.replace(RuleKind::Temp, from, to))
    }

    /// Handles `.tmp` after a generated name.
    fn ending(&mut self) {
        let dot = self.at;
        self.at += 1;
        let is_tmp = self.text(dot + 1, dot + 4).eq_ignore_ascii_case("tmp");
        if !is_tmp || !shapes::ends(self.bytes, dot + 4) || !self.on(RuleKind::Temp) {
            return;
        }
        let is_stop = |b: &u8| b"\\/ \t\"',;=:([|".contains(b);
        let before = self.bytes.get(self.copied..dot).unwrap_or(&[]);
        let mut back = before.iter().rev().take(FILE_NAME_MAX + 1);
        let len = back.position(is_stop).unwrap_or(before.len());
        if len > FILE_NAME_MAX {
            return;
        }
        let name = self.text(dot - len, dot);
        if is_made_up(&name.to_ascii_lowercase()) {
            self.replace(RuleKind::Temp, dot - name.len(), dot);
        }
    }

    /// Handles the user name after `\Users\`.
    fn separator(&mut self) {
        let at = self.at;
        self.at += 1;
        let from = at.saturating_sub(5);
        let is_users = self
            .bytes
            .get(from..at)
            .is_some_and(|b| b.eq_ignore_ascii_case(b"Users"))
            && matches!(self.before(from), b'\\' | b'/');
        if !is_users || !self.on(RuleKind::Users) {
            return;
        }
        let rest = self.bytes.get(at + 1..).unwrap_or(&[]);
        let stop = |b: u8| {
            matches!(
                b,
                b'\\' | b'/' | b'"' | b'\'' | b',' | b';' | b'<' | b'>' | b'|' | b':' | b'*'
            )
        };
        let is_blank = |b: &u8| matches!(b, b' ' | b'\t');
        let mut len = rest
            .iter()
            .take(SHORT + 1)
            .take_while(|b| !stop(**b))
            .count();
        let name = rest.get(..len).unwrap_or(&[]);
        // A name may contain blanks if the path continues after it.
        let goes_on = matches!(rest.get(len), Some(b'\\' | b'/'));
        if !goes_on || name.last().is_some_and(is_blank) {
            len = name.iter().take_while(|b| !is_blank(b)).count();
        }
        let user = self.text(at + 1, at + 1 + len);
        if !user.is_empty() && user.len() <= SHORT && !is_everywhere(user) {
            self.replace(RuleKind::Users, at + 1, at + 1 + len);
        }
    }

    fn behind_bracket(&mut self) {
        self.at += 1;
        if self.byte(self.at) == b':' {
            self.port();
        }
    }
}

/// Whether the name of a temporary file, in lower case, is generated: up to
/// three letters followed by hex digits.
fn is_made_up(name: &str) -> bool {
    let heads = ["tmp", "~", "wct", "is-", "msi"];
    let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_hexdigit());
    let has_digit = name.bytes().any(|b| b.is_ascii_digit());
    let drawn = (0..=3usize.min(name.len())).any(|at| {
        let tail = name.get(at..).unwrap_or("-");
        is_hex(tail) && (1..=4).contains(&tail.len())
    });
    heads
        .iter()
        .any(|head| name.len() > head.len() && name.starts_with(head))
        || has_digit && (drawn || name.len() >= 8 && is_hex(name))
}

/// Letters, digits, `_` and non-ASCII bytes.
const WORD: [bool; 256] = {
    let mut word = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let ascii = byte as u8;
        word[byte] = ascii.is_ascii_alphanumeric() || ascii == b'_' || byte >= 0x80;
        byte += 1;
    }
    word
};

fn is_word(byte: u8) -> bool {
    WORD[usize::from(byte)]
}
