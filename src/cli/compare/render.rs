//! Comparisons for people.

use std::io::{self, Write};

use crate::app::{BaselineRow, DiffKind, DiffRow, SideRow, StackRow, TwinRow, VARIANTS_COUNTED};
use crate::cli::output::{Paint, Row, counted, human_count, visible};

/// **Units**: bytes of a line that a terminal shows; JSON and CSV carry more.
const SHOWN_BYTES: usize = 400;

fn shown(text: &str) -> String {
    let mut end = text.len().min(SHOWN_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let more = if end < text.len() { "…" } else { "" };
    format!("{}{more}", visible(&text[..end]))
}

/// The same with some words painted, each at its first place.
fn painted(text: &str, words: &[String], paint: Paint) -> String {
    let shown = shown(text);
    if !paint.on {
        return shown;
    }
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let place = |word: &String| {
        let word = visible(word);
        let is_whole = |at: &usize| {
            let (before, behind) = (&shown[..*at], &shown[at + word.len()..]);
            !before.ends_with(is_part) && !behind.starts_with(is_part)
        };
        let mut places = shown.match_indices(word.as_ref() as &str).map(|(at, _)| at);
        let at = places.find(is_whole)?;
        Some(at..at + word.len())
    };
    let mut places: Vec<_> = words.iter().filter_map(place).collect();
    places.sort_by_key(|place| place.start);
    let (mut out, mut done) = (String::new(), 0);
    for place in places {
        if place.start >= done {
            out.push_str(&shown[done..place.start]);
            out.push_str(&paint.hit(&shown[place.clone()]));
            done = place.end;
        }
    }
    out + &shown[done..]
}

fn at(reference: &str, line: Option<u64>) -> String {
    let line = line.map_or(String::new(), |line| {
        format!("  line {}", human_count(line))
    });
    format!("{}{line}", visible(reference))
}

impl Row for StackRow {
    /// How rare, the line, and where it stands.
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        let on = self.on.iter().map(|device| visible(device));
        let mut on = on.collect::<Vec<_>>().join(", ");
        if self.on.len() as u64 != self.devices {
            on = String::new();
        }
        match self.devices {
            0 => write!(out, "{}", paint.bold("on no known device"))?,
            devices => write!(
                out,
                "{} of {}",
                paint.bold(&human_count(devices)),
                counted(self.of_devices, "device"),
            )?,
        }
        if self.count > self.devices {
            write!(out, "  {} times", human_count(self.count))?;
        }
        match self.variants {
            0 | 1 => {}
            n if n > VARIANTS_COUNTED as u64 => {
                write!(out, "  more than {VARIANTS_COUNTED} forms")?
            }
            n => write!(out, "  {n} forms")?,
        }
        writeln!(
            out,
            "{}{}",
            if on.is_empty() { "" } else { "  " },
            paint.dim(&on)
        )?;
        for line in &self.example.before {
            writeln!(out, "    {}", paint.dim(&shown(line)))?;
        }
        writeln!(out, "    {}", painted(&self.value, &self.rare_words, paint))?;
        for line in &self.example.after {
            writeln!(out, "    {}", paint.dim(&shown(line)))?;
        }
        // One form is the line itself.
        for raw in self.raw.iter().filter(|_| self.variants > 1) {
            let (count, at) = (human_count(raw.count), at(&raw.reference, raw.line));
            writeln!(out, "      {count} × {}", shown(&raw.text))?;
            writeln!(out, "          {}", paint.place(&at))?;
        }
        if self.raw_left_out > 0 {
            writeln!(out, "      … {} more", human_count(self.raw_left_out))?;
        }
        let at = at(&self.example.place.reference, self.example.line);
        writeln!(out, "    {}", paint.place(&at))
    }
}

impl Row for DiffRow {
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        let marks = match self.change {
            DiffKind::Removed | DiffKind::Added => ["-", "+"],
            DiffKind::Changed => ["~-", "~+"],
            DiffKind::Counted => ["#-", "#+"],
        };
        if let Some(side) = &self.before {
            write_side(out, &paint.red(marks[0]), side, self.change, paint)?;
        }
        if let Some(side) = &self.after {
            write_side(out, &paint.green(marks[1]), side, self.change, paint)?;
        }
        Ok(())
    }
}

fn write_side(
    out: &mut dyn Write,
    mark: &str,
    side: &SideRow,
    change: DiffKind,
    paint: Paint,
) -> io::Result<()> {
    for line in &side.example.before {
        writeln!(out, "    {}", paint.dim(&shown(line)))?;
    }
    let times = match change {
        DiffKind::Counted => format!("{} × ", human_count(side.count)),
        _ => String::new(),
    };
    writeln!(out, "{mark} {times}{}", shown(&side.value))?;
    for line in &side.example.after {
        writeln!(out, "    {}", paint.dim(&shown(line)))?;
    }
    let at = at(&side.example.place.reference, side.example.line);
    writeln!(out, "    {}", paint.place(&at))
}

impl Row for TwinRow {
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()> {
        let name = self.device.as_ref().or(self.machine_id.as_ref());
        let name = name.map_or_else(|| "(no device)".into(), |name| visible(name));
        write!(out, "{:.3}  {}", self.distance, paint.bold(&name))?;
        if let (Some(nearest), Some(distance)) = (&self.nearest, self.nearest_distance) {
            write!(out, "  nearest {} at {distance:.3}", visible(nearest))?;
        }
        writeln!(out)?;
        for line in &self.lines {
            let devices = counted(line.devices, "device");
            writeln!(out, "    on {devices}: {}", shown(&line.value))?;
            writeln!(
                out,
                "      {}",
                paint.place(&at(&line.reference, line.line))
            )?;
        }
        Ok(())
    }
}

impl Row for BaselineRow {
    fn write_line(&self, out: &mut dyn Write, _: Paint) -> io::Result<()> {
        writeln!(out, "{}", baseline(self))
    }
}

/// A baseline in a line.
pub fn baseline(row: &BaselineRow) -> String {
    let mut text = format!(
        "{}@{}  {} from {} of {}  learned {} by {}",
        visible(&row.name),
        row.version,
        counted(row.lines, "line"),
        counted(row.members, "member"),
        counted(row.devices, "device"),
        visible(row.learned_at.text()),
        visible(&row.learned_by),
    );
    for (what, names) in [("without", &row.rules_off), ("with", &row.rules_more)] {
        if !names.is_empty() {
            text.push_str(&format!("  {what} {}", visible(&names.join(", "))));
        }
    }
    if !row.learned_from.is_empty() {
        text.push_str(&format!("  from: {}", visible(&row.learned_from)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_line_is_short_and_obeys_nothing() {
        let long = format!("\u{1b}[2J{}é", "x".repeat(SHOWN_BYTES - 5));
        let text = shown(&long);
        assert!(
            text.starts_with("\\u{1b}[2J") && text.ends_with('…'),
            "{text}"
        );
        let words = ["b".to_string()];
        assert_eq!(painted("a b c b", &words, Paint { on: false }), "a b c b");
        let paint = Paint { on: true };
        assert_eq!(
            painted("a b", &words, paint),
            format!("a {}", paint.hit("b"))
        );
        // The code of a colour is no place of `31`.
        let words = ["evil".to_string(), "31".into(), "vil".into()];
        assert_eq!(
            painted("evil 31 31", &words, paint),
            format!("{} {} 31", paint.hit("evil"), paint.hit("31"))
        );
    }
}
