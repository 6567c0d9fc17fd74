//! Lines with columns, recognized by their start: connections and processes.

use crate::templates::rules::RuleKind;
use crate::templates::scan::TemplateScan;
use crate::templates::shapes;

/// Numbers in a line of `Get-Process`, with and without the time: handles,
/// three or four memory sizes, time, process, session.
const NUMBERS: std::ops::RangeInclusive<usize> = 6..=8;
/// Connection states of `netstat` and `Get-NetTCPConnection`, in lower case
/// without `_`. `listening` is not volatile.
const STATES: [&str; 11] = [
    "established",
    "timewait",
    "closewait",
    "synsent",
    "synreceived",
    "finwait1",
    "finwait2",
    "closing",
    "lastack",
    "closed",
    "bound",
];

impl TemplateScan<'_> {
    /// Handles lines with columns.
    pub(crate) fn lead(&mut self) {
        let start = self.skip_blanks(0);
        let protocol = self.text(start, self.token_end(start));
        if matches!(protocol, "TCP" | "UDP" | "tcp" | "udp") {
            self.connection(start);
        } else if self.byte(start).is_ascii_digit() {
            self.process(start);
        } else if self.on(RuleKind::Pids) {
            self.task(start);
        }
    }

    /// Line of `netstat`: protocol, local end, remote end, state, process.
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
        if self.on(RuleKind::Own) && !is_all && !address.starts_with("127.") {
            self.put(own, colon, RuleKind::Own.placeholder());
        }
        self.at = colon;
        self.port();
        self.walk_to(other);
        let colon = self.port_of(other).unwrap_or(other);
        self.at = colon;
        self.port();
        let mut next = self.skip_blanks(self.token_end(other));
        let end = self.token_end(next);
        let state = self.text(next, end).to_ascii_lowercase().replace('_', "");
        if STATES.contains(&state.as_str()) {
            self.walk_to(next);
            self.replace(RuleKind::States, next, end);
            next = self.skip_blanks(end);
        } else if matches!(state.as_str(), "listening" | "listen") {
            next = self.skip_blanks(end);
        }
        if let Some(end) = shapes::plain(self.bytes, next) {
            self.walk_to(next);
            self.replace(RuleKind::Pids, next, end);
        }
    }

    /// Position of the colon before the port of a connection end.
    fn port_of(&self, at: usize) -> Option<usize> {
        let end = self.token_end(at);
        let colon = self.text(at, end).rfind(':')? + at;
        let port = self.text(colon + 1, end);
        let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit() || b == b'*');
        (is_port && colon > at).then_some(colon)
    }

    /// Replaces a dynamic port after the colon at the current position.
    pub(crate) fn port(&mut self) {
        if let Some(end) = shapes::dynamic_port(self.bytes, self.at + 1) {
            self.replace(RuleKind::Ports, self.at + 1, end);
        }
    }

    /// Advances to a position after blanks and copies the text before it.
    pub(crate) fn walk_to(&mut self, to: usize) {
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

    /// Line of a process list: numbers followed by a program name. Fewer
    /// numbers may be ports or event numbers.
    fn process(&mut self, start: usize) {
        if !self.on(RuleKind::Pids) {
            return;
        }
        let mut numbers = Vec::new();
        let mut at = start;
        while let Some(end) = self.column(at) {
            if numbers.len() == *NUMBERS.end() {
                return;
            }
            numbers.push((at, end));
            at = self.skip_blanks(end);
        }
        let is_name = self.byte(at).is_ascii_alphabetic();
        let used = self.skip_blanks(self.token_end(at));
        let used = used + shapes::number(self.bytes, used);
        let has_memory = shapes::kilobytes(self.bytes, used).is_some() && numbers.len() > 1;
        if is_name && (has_memory || NUMBERS.contains(&numbers.len())) {
            self.blanks_to(start);
            for (from, to) in numbers {
                self.walk_to(from);
                self.put(from, to, RuleKind::Pids.placeholder());
            }
        }
    }

    /// A number in a column: `1,234`, `0.33`, but not an address.
    fn column(&self, at: usize) -> Option<usize> {
        let end = at + shapes::number(self.bytes, at);
        let text = self.bytes.get(at..end)?;
        let points = text.iter().filter(|b| **b == b'.').count();
        let is_column = end > at && matches!(self.byte(end), b' ' | b'\t') && points < 2;
        is_column.then_some(end)
    }

    /// Line of `tasklist`: program, process id, session kind.
    fn task(&mut self, start: usize) {
        let program = match self.templates.program.find(self.bytes) {
            Some(dot) => dot + 4,
            None => match self.text(start, self.token_end(start)) {
                "System" | "Registry" => self.token_end(start),
                _ => return,
            },
        };
        let pid = self.skip_blanks(program);
        let Some(end) = shapes::plain(self.bytes, pid) else {
            return;
        };
        let session = self.skip_blanks(end);
        let session = self.text(session, self.token_end(session));
        let is_session = matches!(session, "Services" | "Console" | "N/A");
        if is_session || session.starts_with("RDP-Tcp") {
            self.blanks_to(start);
            self.walk_to(pid);
            self.replace(RuleKind::Pids, pid, end);
        }
    }
}
