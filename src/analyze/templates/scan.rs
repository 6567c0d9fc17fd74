//! One pass over a line: what is volatile is replaced, the rest is copied.

use super::rules::{Extent, Kind, is_everywhere, labelled};
use super::{Placeholder, Templates, shapes};

/// Words a label is made of, at most.
const LABEL_WORDS: usize = 3;
/// **Units**: bytes. Labels are short.
const LABEL_MAX: usize = 48;

pub(super) struct Scan<'a> {
    templates: &'a Templates,
    line: &'a str,
    bytes: &'a [u8],
    /// Everything before this has been looked at.
    at: usize,
    /// Everything before this has been written.
    copied: usize,
    /// An address stood here and no word since: numbers may be ports.
    near_address: bool,
    /// The name of the machine that is asked, by its number.
    own: Option<u32>,
    named: &'a mut Vec<u32>,
    out: &'a mut String,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
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

    pub(super) fn run(mut self) {
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
        if self.on(Kind::Blanks) {
            let len = self.out[from..].trim_end_matches(' ').len();
            self.out.truncate(from + len);
        }
    }

    fn on(&self, kind: Kind) -> bool {
        self.templates.on(kind)
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    fn before(&self, at: usize) -> u8 {
        at.checked_sub(1).map_or(0, |at| self.byte(at))
    }

    /// Places come from bytes of ASCII, so that they are borders of characters.
    fn text(&self, from: usize, to: usize) -> &'a str {
        self.line.get(from..to).unwrap_or("")
    }

    fn copy_to(&mut self, to: usize) {
        let text = self.text(self.copied, to);
        self.out.push_str(text);
        self.copied = to;
    }

    fn put(&mut self, from: usize, to: usize, instead: Placeholder) {
        self.copy_to(from);
        self.out.push_str(instead);
        (self.at, self.copied) = (to, to);
    }

    fn replace(&mut self, kind: Kind, from: usize, to: usize) -> bool {
        if self.on(kind) {
            self.put(from, to, kind.placeholder());
        }
        self.at = to;
        self.on(kind)
    }

    fn skip_blanks(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        at + rest
            .iter()
            .take_while(|b| **b == b' ' || **b == b'\t')
            .count()
    }

    /// Up to the next blank.
    fn token_end(&self, at: usize) -> usize {
        let rest = self.bytes.get(at..).unwrap_or(&[]);
        at + rest
            .iter()
            .take_while(|b| **b != b' ' && **b != b'\t')
            .count()
    }

    fn blanks(&mut self) {
        let end = self.skip_blanks(self.at);
        let is_usual = end == self.at + 1 && self.byte(self.at) == b' ';
        if self.on(Kind::Blanks) && !(is_usual && self.at > 0) {
            let one = if self.at == 0 { "" } else { " " };
            self.put(self.at, end, one);
        }
        self.at = end;
    }

    /// Lines whose columns are known by how they begin.
    fn lead(&mut self) {
        let start = self.skip_blanks(0);
        let protocol = self.text(start, self.token_end(start));
        if matches!(protocol, "TCP" | "UDP" | "tcp" | "udp") {
            self.connection(start);
        } else if self.byte(start).is_ascii_digit() {
            self.process(start);
        } else if self.on(Kind::Pids) {
            self.task(start);
        }
    }

    /// A line of `netstat`: protocol, own end, other end, state, process.
    fn connection(&mut self, start: usize) {
        let own = self.skip_blanks(self.token_end(start));
        let other = self.skip_blanks(self.token_end(own));
        let Some(colon) = self.port_of(own) else {
            return;
        };
        if self.port_of(other).is_none() {
            return;
        }
        self.blanks_to(start);
        let address = self.text(own, colon).trim_matches(['[', ']']);
        let is_all = matches!(address, "0.0.0.0" | "::" | "::1" | "*");
        self.walk_to(own);
        if self.on(Kind::Own) && !is_all && !address.starts_with("127.") {
            self.put(own, colon, Kind::Own.placeholder());
        }
        self.at = colon;
        self.port();
        self.walk_to(other);
        let colon = self.port_of(other).unwrap_or(other);
        self.at = colon;
        self.port();
        let mut next = self.skip_blanks(self.token_end(other));
        if self.byte(next).is_ascii_uppercase() {
            self.walk_to(next);
            let end = self.token_end(next);
            if self.text(next, end) != "LISTENING" {
                self.replace(Kind::States, next, end);
            }
            next = self.skip_blanks(end);
        }
        if let Some(end) = shapes::plain(self.bytes, next) {
            self.walk_to(next);
            self.replace(Kind::Pids, next, end);
        }
    }

    /// The colon before the port of an end of a connection.
    fn port_of(&self, at: usize) -> Option<usize> {
        let end = self.token_end(at);
        let colon = self.text(at, end).rfind(':')? + at;
        let port = self.text(colon + 1, end);
        let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit() || b == b'*');
        (is_port && colon > at).then_some(colon)
    }

    /// A dynamic port behind the colon where the scan stands.
    fn port(&mut self) {
        if let Some(end) = shapes::dynamic_port(self.bytes, self.at + 1) {
            self.replace(Kind::Ports, self.at + 1, end);
        }
    }

    /// Goes on to a place behind blanks, taking what lies before as it is.
    fn walk_to(&mut self, to: usize) {
        while self.at < to {
            match self.byte(self.at) {
                b' ' | b'\t' => self.blanks(),
                _ => self.at += 1,
            }
        }
    }

    fn blanks_to(&mut self, start: usize) {
        if start > 0 && self.at == 0 {
            self.blanks();
        }
    }

    /// A line of a list of processes: numbers, and behind them a program.
    fn process(&mut self, start: usize) {
        if !self.on(Kind::Pids) {
            return;
        }
        let mut numbers = Vec::new();
        let mut at = start;
        loop {
            let len = shapes::number(self.bytes, at);
            let end = at + len;
            let is_number = len > 0 && matches!(self.byte(end), b' ' | b'\t');
            if !is_number || numbers.len() > 12 {
                break;
            }
            numbers.push((at, end));
            at = self.skip_blanks(end);
        }
        let name = self.text(at, self.token_end(at));
        let is_program = name.len() > 4 && name.to_ascii_lowercase().ends_with(".exe");
        let is_name = name.starts_with(|c: char| c.is_alphabetic());
        if is_program && numbers.len() > 1 || is_name && numbers.len() > 4 {
            self.blanks_to(start);
            for (from, to) in numbers {
                self.walk_to(from);
                self.put(from, to, Kind::Pids.placeholder());
            }
        }
    }

    /// A line of `tasklist`: program, process, kind of session.
    fn task(&mut self, start: usize) {
        let Some(session) = [" Services ", " Console ", " RDP-Tcp", " N/A "]
            .into_iter()
            .find_map(|name| self.line.find(name))
        else {
            return;
        };
        let before = self.text(start, session).trim_end();
        let Some(gap) = before.rfind([' ', '\t']) else {
            return;
        };
        let pid = start + gap + 1;
        let is_program = self.byte(start) > b' ' && before[..gap].trim_end().contains('.')
            || matches!(
                before[..gap].trim_end(),
                "System" | "Registry" | "System Idle Process"
            );
        if is_program && shapes::plain(self.bytes, pid) == Some(start + before.len()) {
            self.blanks_to(start);
            self.walk_to(pid);
            self.replace(Kind::Pids, pid, start + before.len());
        }
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
        // Names of machines go on over hyphens.
        let rest = self.bytes.get(start..).unwrap_or(&[]);
        let len = rest.iter().take_while(|b| is_word(**b)).count();
        self.at = start + len.max(1);
        if !self.byte(start).is_ascii_digit() {
            self.near_address = false;
        }
    }

    /// What may begin with a digit. Behind a point or colon nothing does.
    fn number(&mut self, start: usize) -> bool {
        let bytes = self.bytes;
        let before = self.before(start);
        if let Some(end) = shapes::guid(bytes, start) {
            return self.replace(Kind::Guids, start, end);
        }
        if let Some(end) = shapes::address(bytes, start) {
            return self.replace(Kind::Addresses, start, end);
        }
        if self.machine(start) {
            return true;
        }
        if before == b'.' || before == b':' && !self.before(start - 1).is_ascii_alphabetic() {
            return false;
        }
        if let Some(end) = shapes::duration(bytes, start) {
            return self.replace(Kind::Durations, start, end);
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
            return self.replace(Kind::Times, start, end);
        }
        if self.near_address
            && let Some(end) = shapes::dynamic_port(bytes, start)
        {
            return self.replace(Kind::Ports, start, end);
        }
        self.quantity(start)
    }

    /// Numbers that their neighbours explain.
    fn quantity(&mut self, start: usize) -> bool {
        let end = start + shapes::number(self.bytes, start);
        if let Some(end) = shapes::kilobytes(self.bytes, end) {
            return self.replace(Kind::Memory, start, end);
        }
        let before = self.text(0, start);
        let is_record = ["A", "AAAA", "CNAME", "PTR", "SRV", "TXT", "NS", "MX", "SOA"]
            .into_iter()
            .any(|kind| {
                before
                    .trim_end_matches(' ')
                    .ends_with(&format!(" {kind}")[..])
            });
        let next = self.skip_blanks(end);
        if before.ends_with(' ') && is_record && next > end && next < self.bytes.len() {
            return self.replace(Kind::Durations, start, end);
        }
        false
    }

    /// What may begin with a letter.
    fn name(&mut self, start: usize) -> bool {
        let bytes = self.bytes;
        match self.byte(start) {
            b'S' => {
                if let Some((from, end)) = shapes::sid(bytes, start) {
                    return self.replace(Kind::Sids, from, end);
                }
            }
            b'P' => {
                if let Some(end) = shapes::duration(bytes, start) {
                    return self.replace(Kind::Durations, start, end);
                }
            }
            _ => {}
        }
        if self.byte(start).is_ascii_hexdigit() {
            if let Some(end) = shapes::guid(bytes, start) {
                return self.replace(Kind::Guids, start, end);
            }
            if let Some(end) = shapes::address(bytes, start) {
                return self.replace(Kind::Addresses, start, end);
            }
        }
        if matches!(
            self.byte(start) | 32,
            b'm' | b't' | b'w' | b'f' | b's' | b'j' | b'a' | b'o' | b'n' | b'd'
        ) && let Some(end) = shapes::named_time(bytes, start)
        {
            return self.replace(Kind::Times, start, end);
        }
        self.machine(start) || self.made_up(start)
    }

    /// The name of a machine of the fleet: replaced where it is the one that
    /// is asked, noted otherwise.
    fn machine(&mut self, start: usize) -> bool {
        if !self.on(Kind::Own) || self.before(start) == b'-' {
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
        if self.own == Some(name) {
            return self.replace(Kind::Own, start, start + len);
        }
        if !self.named.contains(&name) {
            self.named.push(name);
        }
        self.at = start + len;
        true
    }

    /// Names of files that hold what a program made up.
    fn made_up(&mut self, start: usize) -> bool {
        if !self.on(Kind::Temp) {
            return false;
        }
        let rest = self.bytes.get(start..).unwrap_or(&[]);
        let long = |from: usize, ends: &[&str]| {
            let name = self.text(start, self.token_end(start));
            let end = ends.iter().find_map(|end| name.find(end))?;
            (end > from).then_some((start + from, start + end))
        };
        let found = if rest.starts_with(b"_MEI") {
            let len = rest[4..].iter().take_while(|b| b.is_ascii_digit()).count();
            (len > 0).then_some((start + 4, start + 4 + len))
        } else if rest.starts_with(b"__PSScriptPolicyTest_") {
            long(21, &[".ps1", ".psm1"])
        } else if rest.starts_with(b"PowerShell_transcript.") {
            long(22, &[".txt"])
        } else {
            None
        };
        found.is_some_and(|(from, to)| self.replace(Kind::Temp, from, to))
    }

    /// `.tmp` behind a name that looks made up: the name goes.
    fn ending(&mut self) {
        let dot = self.at;
        self.at += 1;
        let is_tmp = self.text(dot + 1, dot + 4).eq_ignore_ascii_case("tmp");
        if !is_tmp || !shapes::ends(self.bytes, dot + 4) || !self.on(Kind::Temp) {
            return;
        }
        let stops = [
            '\\', '/', ' ', '\t', '"', '\'', ',', ';', '=', ':', '(', '[', '|',
        ];
        let before = self.text(self.copied, dot);
        let name = before.rfind(stops).map_or(before, |at| &before[at + 1..]);
        let low = name.to_ascii_lowercase();
        let is_made_up = ["tmp", "~", "wct", "is-", "msi"]
            .into_iter()
            .any(|head| low.starts_with(head) && low.len() > head.len())
            || low.bytes().any(|b| b.is_ascii_digit());
        if !name.is_empty() && is_made_up {
            self.replace(Kind::Temp, dot - name.len(), dot);
        }
    }

    /// Behind `\Users\` stands a user.
    fn separator(&mut self) {
        let at = self.at;
        self.at += 1;
        let from = at.saturating_sub(5);
        let is_users = self
            .bytes
            .get(from..at)
            .is_some_and(|b| b.eq_ignore_ascii_case(b"Users"))
            && matches!(self.before(from), b'\\' | b'/');
        if !is_users || !self.on(Kind::Users) {
            return;
        }
        let rest = self.bytes.get(at + 1..).unwrap_or(&[]);
        let stop = |b: u8| {
            matches!(
                b,
                b'\\' | b'/' | b'"' | b'\'' | b',' | b';' | b'<' | b'>' | b'|' | b':' | b'*'
            )
        };
        let mut len = rest.iter().take_while(|b| !stop(**b)).count();
        // A name may hold blanks where the path goes on behind it.
        if !matches!(rest.get(len), Some(b'\\' | b'/')) {
            len = rest
                .iter()
                .take(len)
                .take_while(|b| **b != b' ' && **b != b'\t')
                .count();
        }
        let user = self.text(at + 1, at + 1 + len);
        if !user.is_empty() && user.len() <= LABEL_MAX && !is_everywhere(user) {
            self.replace(Kind::Users, at + 1, at + 1 + len);
        }
    }

    fn behind_bracket(&mut self) {
        self.at += 1;
        if self.byte(self.at) == b':' {
            self.port();
        }
    }

    /// What stands behind a label that is known.
    fn label(&mut self) {
        let mark = self.at;
        self.at += 1;
        let mut value = self.skip_blanks(mark + 1);
        if matches!(self.byte(value), b'\'' | b'"') {
            value += 1;
        }
        let quoted = matches!(self.before(mark), b'\'' | b'"');
        if self.byte(mark) == b'>' && !quoted || value >= self.bytes.len() {
            return;
        }
        let end = if quoted { mark - 1 } else { mark };
        let Some((kind, extent)) = self.known(end) else {
            return;
        };
        let Some(to) = self.value_end(value, extent).filter(|_| self.on(kind)) else {
            return;
        };
        self.walk_to(value);
        let from = match extent {
            // The domain stays.
            Extent::User => self
                .text(value, to)
                .rfind('\\')
                .map_or(value, |at| value + at + 1),
            _ => value,
        };
        let is_kept = extent == Extent::User && is_everywhere(self.text(from, to));
        if !is_kept && from < to {
            self.replace(kind, from, to);
        }
    }

    /// The label that ends at a place: its last words, or all of the line
    /// before it for what only a whole label tells.
    fn known(&self, end: usize) -> Option<(Kind, Extent)> {
        let head = self.bytes.get(end.saturating_sub(LABEL_MAX)..end)?;
        let mut label = [0u8; LABEL_MAX];
        let (mut from, mut words, mut in_word, mut gap) = (LABEL_MAX, 0, false, false);
        for byte in head.iter().rev() {
            let is_letter = byte.is_ascii_alphanumeric();
            if !is_letter && in_word {
                words += 1;
                let found = labelled(&label[from..]);
                if let Some(found) = found.filter(|(kind, _)| !needs_whole_label(*kind)) {
                    return Some(found);
                }
                gap = words >= LABEL_WORDS;
            }
            in_word = is_letter;
            if is_letter {
                from -= 1;
                label[from] = byte.to_ascii_lowercase();
            } else if !matches!(byte, b' ' | b'\t' | b'.' | b'-' | b'_' | b'(' | b')' | b':') {
                return None;
            }
        }
        let found = labelled(&label[from..])?;
        let is_whole = end <= LABEL_MAX;
        let fits = if needs_whole_label(found.0) {
            is_whole
        } else {
            !gap
        };
        fits.then_some(found)
    }

    fn value_end(&self, at: usize, extent: Extent) -> Option<usize> {
        let bytes = self.bytes;
        match extent {
            Extent::Number => shapes::plain(bytes, at),
            Extent::Port => shapes::dynamic_port(bytes, at),
            Extent::Private => shapes::private(bytes, at),
            Extent::User => {
                let rest = bytes.get(at..)?;
                let stop = |b: &u8| {
                    matches!(
                        b,
                        b'"' | b'\'' | b',' | b';' | b'<' | b'>' | b'\t' | b'(' | b'|'
                    )
                };
                let len = rest.iter().take_while(|b| !stop(b)).count();
                let text = self.text(at, at + len);
                let wide = text.find("  ").unwrap_or(text.len());
                let whole = text[..wide].trim_end();
                // One word is a user; more only for the accounts of systems.
                let name = whole.rsplit('\\').next().unwrap_or(whole);
                let end = match is_everywhere(name) {
                    true => whole.len(),
                    false => whole.find(' ').unwrap_or(whole.len()),
                };
                (end > 0 && end <= 2 * LABEL_MAX).then_some(at + end)
            }
            Extent::Rest => {
                let rest = bytes.get(at..)?;
                let len = rest
                    .iter()
                    .take_while(|b| !matches!(b, b'(' | b'<' | b'\t'))
                    .count();
                let text = self.text(at, at + len);
                let end = text.find("  ").unwrap_or(text.len());
                let end = text[..end].trim_end().len();
                (end > 0).then_some(at + end)
            }
        }
    }
}

fn needs_whole_label(kind: Kind) -> bool {
    matches!(kind, Kind::Own | Kind::Memory)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}
