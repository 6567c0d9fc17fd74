//! Answers for people: one line a row, evidence made safe for a terminal.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::app::{
    ArchiveStatus, CountRow, GapRow, HitRow, LineOutput, ListRow, ProblemRow, ResultState,
    SearchExplanation, TextAccess, View, ViewMember,
};
use evidence::Time;

use crate::cli::output::{Paint, Row, counted, human_bytes, human_count, visible, write_visible};

fn or_dash(text: Option<&str>) -> Cow<'_, str> {
    text.map_or_else(|| "-".into(), visible)
}

fn time_or_dash(time: Option<&Time>) -> Cow<'_, str> {
    or_dash(time.map(Time::text))
}

impl Row for ListRow {
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        let state = match self.state {
            ResultState::Sealed => human_bytes(self.bytes.unwrap_or(0)),
            ResultState::Gap => paint.red(self.reason.map_or("gap", |r| r.as_str())),
            ResultState::Pending => paint.yellow("pending"),
        };
        let what = self.script.as_deref().or(self.path.as_deref());
        writeln!(
            out,
            "{}  {:<24}  {:<32}  {}  {}",
            paint.place(&visible(&self.place.reference)),
            time_or_dash(self.time.as_ref()),
            or_dash(
                self.place
                    .device
                    .as_deref()
                    .or(self.place.machine_id.as_deref())
            ),
            or_dash(what),
            state
        )
    }
}

impl Row for GapRow {
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        writeln!(
            out,
            "{}  {:<32}  {}  {}: {}",
            paint.place(&visible(&self.place.reference)),
            or_dash(self.place.device.as_deref()),
            or_dash(self.script.as_deref().or(self.path.as_deref())),
            paint.red(self.reason.as_str()),
            visible(&self.detail)
        )
    }
}

impl Row for ProblemRow {
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        writeln!(
            out,
            "{}  {:<32}  {}: {}",
            paint.place(&visible(&self.place.reference)),
            or_dash(self.place.device.as_deref()),
            paint.yellow(self.kind.as_str()),
            visible(&self.message)
        )
    }
}

impl Row for CountRow {
    fn write_line(&self, out: &mut dyn Write, _: Paint) -> io::Result<()> {
        let value = match (self.value.as_str(), self.by_field) {
            ("", true) => "(none)".into(),
            (value, _) => visible(value),
        };
        let line = format!("{:>12}  {value}", human_count(self.hits));
        write!(out, "{}", line.trim_end())?;
        if self.undated > 0 {
            write!(out, "  ({} more without a time)", human_count(self.undated))?;
        }
        writeln!(out)
    }
}

impl Row for HitRow {
    fn write_json(&self, out: &mut Vec<u8>) -> io::Result<()> {
        HitRow::write_json(self, out)
    }

    /// Place and circumstances, then the line with its matches, then context.
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        writeln!(
            out,
            "{}  line {}  {}  {}",
            paint.place(&visible(&self.member.place.reference)),
            human_count(self.line),
            paint.dim(&or_dash(self.member.place.device.as_deref())),
            paint.dim(&time_or_dash(self.member.time.as_ref()))
        )?;
        for line in &self.before {
            writeln!(out, "    {}", paint.dim(&visible(trimmed(line))))?;
        }
        writeln!(out, "    {}", painted(self, paint))?;
        for line in &self.after {
            writeln!(out, "    {}", paint.dim(&visible(trimmed(line))))?;
        }
        Ok(())
    }
}

fn trimmed(line: &str) -> &str {
    line.trim_end_matches(['\n', '\r'])
}

/// A terminal line shows at most this much of a text around its first match;
/// JSON and CSV carry more.
const SHOWN_BYTES: usize = 400;
/// Of which this much before the match.
const SHOWN_BEFORE_BYTES: usize = 120;

fn painted(hit: &HitRow, paint: Paint) -> String {
    let text = trimmed(&hit.shown.text);
    let first = hit
        .shown
        .spans
        .first()
        .map_or(0, |span| span.start.min(text.len()));
    let from = floor(text, first.saturating_sub(SHOWN_BEFORE_BYTES));
    let to = floor(text, (from + SHOWN_BYTES).min(text.len()));
    let mut shown = String::new();
    if from > 0 {
        shown.push('…');
    }
    let mut at = from;
    for span in &hit.shown.spans {
        let (start, end) = (span.start.clamp(at, to), span.end.clamp(at, to));
        shown.push_str(&visible(&text[floor(text, at)..floor(text, start)]));
        if end > start {
            shown.push_str(&paint.hit(&visible(&text[floor(text, start)..floor(text, end)])));
        }
        at = end;
    }
    shown.push_str(&visible(&text[floor(text, at)..to]));
    if to < text.len() || hit.shown.text_truncated {
        shown.push('…');
    }
    shown
}

fn floor(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// On stderr, quiet or not: what is shown may be less than there was.
pub fn say_problem(place: &str, message: &str) {
    eprintln!("problem: {} {}", visible(place), visible(message));
}

/// Prints what `show` goes through.
pub struct ShowView<'a> {
    out: &'a mut dyn Write,
    paint: Paint,
    ends_line: bool,
}

impl<'a> ShowView<'a> {
    pub fn new(out: &'a mut dyn Write, paint: Paint) -> Self {
        Self {
            out,
            paint,
            ends_line: true,
        }
    }
}

impl View for ShowView<'_> {
    fn fact(&mut self, name: &str, value: &str) -> io::Result<()> {
        writeln!(
            self.out,
            "{} {}",
            self.paint.dim(&format!("{name:>10}")),
            visible(value)
        )
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        if !self.ends_line {
            writeln!(self.out)?;
        }
        self.ends_line = true;
        writeln!(
            self.out,
            "{}",
            self.paint.bold(&format!("── {} ──", visible(text)))
        )
    }

    fn text(&mut self, text: &str) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.ends_line = text.ends_with('\n');
        write_visible(self.out, text)
    }

    fn member(&mut self, member: &ViewMember) -> io::Result<()> {
        let size = member.bytes.map_or_else(|| "-".into(), human_bytes);
        let mark = if member.container {
            self.paint.dim(" (archive)")
        } else if member.locked {
            self.paint.yellow(" (locked)")
        } else {
            String::new()
        };
        writeln!(
            self.out,
            "{size:>10}  {}{mark}",
            self.paint.place(&visible(&member.reference))
        )
    }

    fn problem(&mut self, place: &str, message: &str) -> io::Result<()> {
        self.end()?;
        self.out.flush()?;
        say_problem(place, message);
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if !self.ends_line {
            writeln!(self.out)?;
        }
        self.ends_line = true;
        Ok(())
    }
}

/// Prints one line of a text and those around it.
pub struct LineView<'a> {
    out: &'a mut dyn Write,
    paint: Paint,
    reference: &'a str,
    /// The text as it is, and nothing else.
    raw: bool,
    wanted: bool,
    /// A carriage return that may be a line's end.
    held: bool,
}

impl<'a> LineView<'a> {
    pub fn new(out: &'a mut dyn Write, paint: Paint, reference: &'a str, raw: bool) -> Self {
        Self {
            out,
            paint,
            reference,
            raw,
            wanted: false,
            held: false,
        }
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        let shown = visible(text);
        let shown = match self.wanted {
            true => shown,
            false => self.paint.dim(&shown).into(),
        };
        self.out.write_all(shown.as_bytes())
    }
}

impl LineOutput for LineView<'_> {
    fn found(&mut self, number: u64, offset: u64) -> io::Result<()> {
        if self.raw {
            return Ok(());
        }
        writeln!(
            self.out,
            "{}  line {}  offset {}",
            self.paint.place(&visible(self.reference)),
            human_count(number),
            human_count(offset)
        )
    }

    fn begin(&mut self, is_wanted: bool, cut: bool) -> io::Result<()> {
        self.wanted = is_wanted;
        match (self.raw, cut) {
            (true, _) => Ok(()),
            (_, true) => self.out.write_all("    …".as_bytes()),
            (_, false) => self.out.write_all(b"    "),
        }
    }

    fn text(&mut self, piece: &str) -> io::Result<()> {
        if self.raw {
            return self.out.write_all(piece.as_bytes());
        }
        if std::mem::take(&mut self.held) && !piece.is_empty() {
            self.put("\r")?;
        }
        let text = piece.strip_suffix('\r').unwrap_or(piece);
        self.held = text.len() < piece.len();
        self.put(text)
    }

    fn end(&mut self, ended: bool, cut: bool) -> io::Result<()> {
        self.held = false;
        match (self.raw, cut) {
            (true, _) if ended => self.out.write_all(b"\n"),
            (true, _) => Ok(()),
            (_, true) => self.out.write_all("…\n".as_bytes()),
            (_, false) => self.out.write_all(b"\n"),
        }
    }

    fn problem(&mut self, place: &str, message: &str) -> io::Result<()> {
        self.out.flush()?;
        say_problem(place, message);
        Ok(())
    }
}

/// How a search came to its answer, on lines of their own.
pub fn explained(explained: &SearchExplanation) -> String {
    let mut told = String::from("explain: how each text was looked for\n");
    for text in &explained.texts {
        told += &format!("  {}\n      {}\n", visible(&text.text), way(text));
    }
    if explained.texts.is_empty() {
        told += "  no text in the query: members are judged by their fields alone\n";
    }
    told += &format!(
        "  to verify: {} decompressed, {}\n",
        counted(explained.frames, "frame"),
        human_bytes(explained.frame_bytes)
    );
    let ms = |us: u64| us as f64 / 1000.0;
    told += &format!(
        "  time: {:.1} ms to find, {:.1} ms to list",
        ms(explained.finding_us),
        ms(explained.listing_us)
    );
    told
}

fn way(text: &TextAccess) -> String {
    let mut ways = Vec::new();
    if text.candidate_lines_by_words > 0 {
        let lines = counted(text.candidate_lines_by_words, "candidate line");
        ways.push(format!("by words: {lines}"));
    }
    if text.candidate_groups_by_4grams > 0 {
        let groups = counted(text.candidate_groups_by_4grams, "candidate group");
        ways.push(format!("by 4-grams: {groups} of lines"));
    }
    if text.candidate_lines_in_members > 0 {
        let lines = counted(text.candidate_lines_in_members, "candidate line");
        ways.push(format!("only in the members that can match: {lines}"));
    }
    if text.lines_read > 0 {
        let lines = counted(text.lines_read, "distinct line");
        ways.push(format!("by reading all: {lines}"));
    }
    if text.texts_built {
        ways.push("by building every text again".into());
    }
    if ways.is_empty() {
        ways.push("no candidate".into());
    }
    let matching = counted(text.lines_matching, "distinct line");
    let verb = if text.lines_matching == 1 {
        "matches"
    } else {
        "match"
    };
    format!("{}; verified: {matching} {verb}", ways.join(", "))
}

/// What `status --index` adds.
pub fn index_status(out: &mut dyn Write, status: &ArchiveStatus) -> io::Result<()> {
    let Some(index) = &status.index else {
        return writeln!(out, "\nindex: there is none yet; run `index`");
    };
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    writeln!(
        out,
        "\ndistinct  {:.1} % of the text: {} of {} in {} of {}",
        100.0 * index.distinct_share,
        human_bytes(index.distinct_bytes),
        human_bytes(index.text_bytes),
        human_count(index.distinct_lines),
        counted(index.lines, "line")
    )?;
    writeln!(
        out,
        "holds     {}, {}, {}, {}, {}",
        counted(index.segments, "segment"),
        counted(index.results, "result"),
        counted(index.members, "member"),
        counted(index.contents, "distinct content"),
        counted(index.documents, "text")
    )?;
    writeln!(
        out,
        "on disk   {}, {:.1} % of the text",
        human_bytes(index.disk_bytes),
        share(index.disk_bytes, index.text_bytes)
    )?;
    for part in &index.parts {
        writeln!(
            out,
            "  {:<12}{:>10}  {:>5.1} %",
            part.part,
            human_bytes(part.bytes),
            share(part.bytes, index.disk_bytes)
        )?;
    }
    writeln!(
        out,
        "watermark {} of {} in the journal",
        human_count(index.watermark),
        human_count(status.journal)
    )?;
    match &status.lag.since {
        None => writeln!(out, "lag       none: everything sealed is indexed"),
        Some(since) => writeln!(
            out,
            "lag       {} ({}) not indexed, the first since {}",
            counted(status.lag.results, "result"),
            human_bytes(status.lag.bytes),
            visible(since.text())
        ),
    }
}

pub fn status(out: &mut dyn Write, status: &ArchiveStatus) -> io::Result<()> {
    writeln!(
        out,
        "results   {} sealed ({}), {}, {} pending, of {} on {}",
        human_count(status.sealed),
        human_bytes(status.bytes),
        counted(status.gaps, "gap"),
        human_count(status.pending),
        counted(status.actions, "action"),
        counted(status.devices, "device")
    )?;
    writeln!(
        out,
        "journal   at {}, index at {} ({})",
        status.journal,
        status.indexed,
        if status.unindexed == 0 {
            "caught up".into()
        } else {
            format!(
                "{} not indexed yet; run `index`",
                counted(status.unindexed, "result")
            )
        }
    )?;
    if let Some(index) = &status.index {
        writeln!(
            out,
            "index     {}, {} of text in {}, {} on disk, {:.1} % of the text distinct",
            counted(index.documents, "text"),
            human_bytes(index.text_bytes),
            counted(index.segments, "segment"),
            human_bytes(index.disk_bytes),
            100.0 * index.distinct_share
        )?;
    }
    writeln!(
        out,
        "problems  {} in the evidence{}",
        human_count(status.problems),
        if status.problems > 0 {
            "; see `problems`"
        } else {
            ""
        }
    )?;
    for (reason, count) in &status.gaps_by_reason {
        writeln!(out, "gap       {:>6}  {reason}", human_count(*count))?;
    }
    Ok(())
}
