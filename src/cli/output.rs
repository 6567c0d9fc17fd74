//! Where answers go and in which form. Evidence is written by attackers: what
//! a person reads has its control characters made visible, what a spreadsheet
//! reads has its formulas disarmed.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::app::{Columns, Failure, FailureKind};
use crate::cli::args;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    People,
    Json,
    Jsonl,
    Csv,
}

impl From<&args::Form> for Form {
    fn from(typed: &args::Form) -> Self {
        match (typed.json, typed.jsonl, typed.csv) {
            (true, ..) => Self::Json,
            (_, true, _) => Self::Jsonl,
            (.., true) => Self::Csv,
            _ => Self::People,
        }
    }
}

/// Something that prints as a JSON object, a CSV row, or a line for people.
pub trait Row: Serialize + Columns {
    /// As one JSON object.
    fn write_json(&self, out: &mut Vec<u8>) -> io::Result<()> {
        Ok(serde_json::to_writer(out, self)?)
    }

    /// For people, ended by a line feed.
    fn write_line(&self, out: &mut dyn Write, paint: Paint) -> io::Result<()>;
}

/// Stdout or a file, buffered.
pub struct Output {
    out: BufWriter<Box<dyn Write>>,
    pub paint: Paint,
}

/// Room for one write to the terminal or file: fewer system calls on long
/// answers, small enough that the first lines come at once.
const BUFFER_BYTES: usize = 64 * 1024;

impl Output {
    /// Opens `file`, else stdout, which is also `-`. Colour only on a terminal
    /// that wants it. What the file held stays until there is an answer.
    ///
    /// **Errors**: a file that cannot be written, by its name.
    pub fn open(file: Option<&Path>, no_color: bool) -> Result<Self, Failure> {
        let (out, terminal): (Box<dyn Write>, bool) = match file.filter(|file| !is_stdout(file)) {
            Some(path) => (
                Box::new(LateFile::at(path).map_err(|e| unwritable(path, e))?),
                false,
            ),
            None => (Box::new(io::stdout()), io::stdout().is_terminal()),
        };
        Ok(Self {
            out: BufWriter::with_capacity(BUFFER_BYTES, out),
            paint: Paint {
                on: terminal
                    && !no_color
                    && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
            },
        })
    }

    pub fn rows<R: Row>(self, form: Form) -> Rows<R> {
        Rows {
            output: self,
            form,
            written: 0,
            text: Vec::new(),
            columns: R::columns(),
            row: std::marker::PhantomData,
        }
    }
}

fn is_stdout(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// A file that is made or emptied by the first write to it: a query that
/// cannot be read takes nothing away.
struct LateFile {
    path: PathBuf,
    file: Option<File>,
}

impl LateFile {
    /// **Errors**: where the path cannot be written by what is known of it
    /// before that.
    fn at(path: &Path) -> io::Result<Self> {
        match File::options().write(true).open(path) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => is_folder(folder_of(path))?,
            Err(e) => return Err(e),
        }
        Ok(Self {
            path: path.to_path_buf(),
            file: None,
        })
    }

    fn file(&mut self) -> io::Result<&mut File> {
        if self.file.is_none() {
            self.file = Some(File::create(&self.path)?);
        }
        self.file
            .as_mut()
            .ok_or_else(|| io::Error::other("no file"))
    }
}

impl Write for LateFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file()?.flush()
    }
}

/// The folder a file of this name stands in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn is_folder(path: &Path) -> io::Result<()> {
    match std::fs::metadata(path)?.is_dir() {
        true => Ok(()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

/// Refuses a file whose folder is not there, before long work is done for it;
/// and stdout, where the answer goes.
pub fn check_place(path: &Path) -> Result<(), Failure> {
    if is_stdout(path) {
        return Err(
            Failure::usage("`-` is no file, and the answer goes to stdout")
                .hint("name a file; ./- is one called `-`"),
        );
    }
    is_folder(folder_of(path)).map_err(|e| unwritable(path, e))
}

pub fn unwritable(path: &Path, error: io::Error) -> Failure {
    let what = format!("could not write {}", path.display());
    Failure::caused(FailureKind::Environment, what, error)
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Rows of one answer, written as they come.
pub struct Rows<R> {
    output: Output,
    form: Form,
    written: u64,
    /// Of a row: it is written in many small pieces.
    text: Vec<u8>,
    columns: Vec<&'static str>,
    row: std::marker::PhantomData<R>,
}

impl<R: Row> Rows<R> {
    pub fn write(&mut self, row: &R) -> io::Result<()> {
        self.text.clear();
        let out = &mut self.text;
        match self.form {
            Form::People => row.write_line(out, self.output.paint)?,
            Form::Jsonl => {
                row.write_json(out)?;
                out.write_all(b"\n")?;
            }
            Form::Json => {
                out.write_all(if self.written == 0 { b"[\n" } else { b",\n" })?;
                row.write_json(out)?;
            }
            Form::Csv => {
                if self.written == 0 {
                    write_header(out, &self.columns)?;
                }
                write_cells(out, &self.columns, row)?;
            }
        }
        self.written += 1;
        self.output.out.write_all(&self.text)
    }

    pub fn finish(mut self) -> io::Result<u64> {
        let out = &mut self.output.out;
        match (self.form, self.written) {
            (Form::Json, 0) => out.write_all(b"[]\n")?,
            (Form::Json, _) => out.write_all(b"\n]\n")?,
            (Form::Csv, 0) => write_header(out, &self.columns)?,
            _ => {}
        }
        out.flush()?;
        Ok(self.written)
    }
}

fn write_header(out: &mut dyn Write, columns: &[&str]) -> io::Result<()> {
    writeln!(out, "{}", columns.join(","))
}

fn write_cells(out: &mut dyn Write, columns: &[&str], row: &impl Row) -> io::Result<()> {
    let value = serde_json::to_value(row)?;
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            out.write_all(b",")?;
        }
        let cell = match value.get(column) {
            None | Some(serde_json::Value::Null) => Cow::default(),
            Some(serde_json::Value::String(text)) => safe(text)?,
            Some(list @ (serde_json::Value::Array(_) | serde_json::Value::Object(_))) => {
                safe(&list.to_string())?.into_owned().into()
            }
            Some(other) => other.to_string().into(),
        };
        write_cell(out, &cell)?;
    }
    out.write_all(b"\n")
}

/// A cell's text, which neither a terminal nor a spreadsheet obeys.
fn safe(text: &str) -> io::Result<Cow<'_, str>> {
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b';';
    let is_formula = text.starts_with(FORMULA) || text.starts_with('"');
    // Most text is plain.
    if text.bytes().all(is_plain) && !is_formula {
        return Ok(text.into());
    }
    Ok(disarm(&visible_lines(text)?).into())
}

/// What a formula may begin with.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// What a spreadsheet would run as a formula gets a quote before it: at the
/// beginning of a cell, and where one begins for a spreadsheet that parts cells
/// by `;` or tabs and so takes no quotes around this one for such, but may take
/// one behind its own border for the beginning of a cell in quotes.
fn disarm(text: &str) -> String {
    let mut disarmed = String::with_capacity(text.len() + 1);
    if text.starts_with(['\t', '\r', '\n']) {
        disarmed.push('\'');
    }
    let mut begins = true;
    for c in text.chars() {
        if begins && FORMULA.contains(&c) {
            disarmed.push('\'');
        }
        begins = matches!(c, ';' | '\t' | '\n') || (begins && c == '"');
        disarmed.push(c);
    }
    disarmed
}

fn write_cell(out: &mut dyn Write, cell: &str) -> io::Result<()> {
    if cell.contains([',', '"', '\n', '\r']) {
        write!(out, "\"{}\"", cell.replace('"', "\"\""))
    } else {
        out.write_all(cell.as_bytes())
    }
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paint {
    pub on: bool,
}

impl Paint {
    pub fn bold(self, text: &str) -> String {
        self.wrap("1", text)
    }

    pub fn dim(self, text: &str) -> String {
        self.wrap("2", text)
    }

    pub fn red(self, text: &str) -> String {
        self.wrap("31", text)
    }

    pub fn green(self, text: &str) -> String {
        self.wrap("32", text)
    }

    pub fn yellow(self, text: &str) -> String {
        self.wrap("33", text)
    }

    /// A match: what the eye looks for.
    pub fn hit(self, text: &str) -> String {
        self.wrap("1;31", text)
    }

    pub fn place(self, text: &str) -> String {
        self.wrap("36", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_string()
        }
    }
}

/// Text from evidence, fit for a terminal: what would move the cursor, colour
/// the screen or reorder the line is shown as an escape.
pub fn visible(text: &str) -> Cow<'_, str> {
    // Most text is plain.
    if text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\t')) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => shown.push('\t'),
            c if is_unsafe(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

fn visible_lines(text: &str) -> io::Result<String> {
    let mut shown = Vec::with_capacity(text.len());
    write_visible(&mut shown, text)?;
    String::from_utf8(shown).map_err(io::Error::other)
}

/// The same for many lines: line ends stay.
pub fn write_visible(out: &mut dyn Write, text: &str) -> io::Result<()> {
    for piece in text.split_inclusive('\n') {
        let line = piece.strip_suffix('\n').unwrap_or(piece);
        let line = line.strip_suffix('\r').unwrap_or(line);
        out.write_all(visible(line).as_bytes())?;
        if piece.ends_with('\n') {
            out.write_all(b"\n")?;
        }
    }
    Ok(())
}

/// Controls, and all that Unicode counts among formats (Cf) and the ends of
/// lines and paragraphs (Zl, Zp).
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}'
            | '\u{600}'..='\u{605}'
            | '\u{61c}'
            | '\u{6dd}'
            | '\u{70f}'
            | '\u{890}'..='\u{891}'
            | '\u{8e2}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{110bd}'
            | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0001}'
            | '\u{e0020}'..='\u{e007f}')
}

/// A typed text with a caret under the character at fault, on two lines fit
/// for a terminal.
pub fn pointed(text: &str, at: usize) -> String {
    /// Characters shown before and behind the place: two thirds of a line.
    const AROUND: usize = 50;
    let shown = |c: char| {
        if c == '\t' {
            " ".into()
        } else {
            visible(&c.to_string()).into_owned()
        }
    };
    let from = at.saturating_sub(AROUND);
    let before: String = text.chars().take(at).skip(from).map(shown).collect();
    let behind: String = text.chars().skip(at).take(AROUND).map(shown).collect();
    let lead = if from > 0 { "…" } else { "" };
    let more = if text.chars().count() > at + AROUND {
        "…"
    } else {
        ""
    };
    let blanks = " ".repeat(lead.chars().count() + before.chars().count());
    format!("  {lead}{before}{behind}{more}\n  {blanks}^")
}

/// Bytes for people: `12.3 MB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{bytes} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// `1,234,567`.
pub fn human_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// `1 hit`, `2 hits`.
pub fn counted(count: u64, thing: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {thing}{ending}", human_count(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::columns::columns;

    columns! {
        struct Pair {
            a: &'static str,
            b: Option<u32>,
        }
    }

    impl Row for Pair {
        fn write_line(&self, out: &mut dyn Write, _: Paint) -> io::Result<()> {
            writeln!(out, "{}", self.a)
        }
    }

    fn csv(a: &'static str) -> String {
        let mut out = Vec::new();
        write_cells(&mut out, &Pair::columns(), &Pair { a, b: None }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_formula_is_disarmed_and_a_quote_is_doubled() {
        assert_eq!(csv("=cmd|' /C calc'!A0"), "'=cmd|' /C calc'!A0,\n");
        assert_eq!(csv("@SUM(1,2)"), "\"'@SUM(1,2)\",\n");
        assert_eq!(csv("say \"hi\"\n"), "\"say \"\"hi\"\"\n\",\n");
    }

    #[test]
    fn a_formula_is_disarmed_wherever_a_cell_may_begin() {
        assert_eq!(csv("foo;=cmd|x"), "foo;'=cmd|x,\n");
        assert_eq!(csv("foo\t@x;y"), "foo\t'@x;y,\n");
        assert_eq!(csv("foo\n-1"), "\"foo\n'-1\",\n");
        assert_eq!(csv("foo;\"=cmd|x"), "\"foo;\"\"'=cmd|x\",\n");
        assert_eq!(csv("a\t\"\"+1"), "\"a\t\"\"\"\"'+1\",\n");
        for formula in ["＝1", "＋1", "－1", "＠x"] {
            assert_eq!(csv(formula), format!("'{formula},\n"));
        }
        assert_eq!(csv("a=b c-d; e"), "a=b c-d; e,\n");
    }

    #[test]
    fn lists_in_a_cell_show_their_escape_codes() {
        columns! {
            struct Listing {
                a: Vec<&'static str>,
                b: i32,
            }
        }
        impl Row for Listing {
            fn write_line(&self, _: &mut dyn Write, _: Paint) -> io::Result<()> {
                Ok(())
            }
        }
        let mut out = Vec::new();
        let a = vec!["x\u{9b}2J\u{202e}", "y;=cmd"];
        write_cells(&mut out, &Listing::columns(), &Listing { a, b: -5 }).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "\"[\"\"x\\u{9b}2J\\u{202e}\"\",\"\"y;'=cmd\"\"]\",-5\n"
        );
    }

    #[test]
    fn a_cell_keeps_its_lines_and_shows_its_escape_codes() {
        assert_eq!(
            csv("a\x1b[2J\r\nb\u{9b}\u{202e}\tc\rd"),
            "\"a\\u{1b}[2J\nb\\u{9b}\\u{202e}\tc\\u{d}d\",\n"
        );
    }

    #[test]
    fn escape_codes_and_bidi_overrides_are_shown_not_obeyed() {
        assert_eq!(
            visible("a\x1b[2Jb\u{202e}c\td"),
            "a\\u{1b}[2Jb\\u{202e}c\td"
        );
        let mut out = Vec::new();
        write_visible(&mut out, "one\r\ntwo\x07\nthree").unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "one\ntwo\\u{7}\nthree");
    }

    #[test]
    fn whatever_formats_or_ends_a_line_is_shown() {
        let unseen = regex::Regex::new(r"[\p{Cf}\p{Zl}\p{Zp}]").unwrap();
        for c in ('\0'..=char::MAX).filter(|c| unseen.is_match(c.encode_utf8(&mut [0; 4]))) {
            assert!(is_unsafe(c), "{}", c.escape_unicode());
        }
        assert_eq!(visible("a\u{61c}b\u{e0041}c"), "a\\u{61c}b\\u{e0041}c");
    }

    #[test]
    fn a_caret_stands_under_its_character() {
        assert_eq!(pointed("x \"open", 2), "  x \"open\n    ^");
        assert_eq!(pointed("a AND", 5), "  a AND\n       ^");
        assert_eq!(pointed("\x1b\té x", 2), "  \\u{1b} é x\n         ^");
        let long = pointed(&"y".repeat(500), 300);
        let (text, caret) = long.split_once('\n').unwrap();
        assert_eq!(caret.chars().count(), 2 + 1 + 50 + 1);
        assert!(text.starts_with("  …y") && text.ends_with("y…"), "{text}");
    }

    #[test]
    fn a_file_keeps_what_it_held_until_something_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        std::fs::write(&path, "before").unwrap();
        drop(Output::open(Some(&path), true).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
        Output::open(Some(&path), true).unwrap().flush().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "");
        let fresh = dir.path().join("b");
        drop(Output::open(Some(&fresh), true).unwrap());
        assert!(!fresh.exists());
        assert!(Output::open(Some(&dir.path().join("no/b")), true).is_err());
    }

    #[test]
    fn numbers_read_at_a_glance() {
        assert_eq!(human_count(0), "0");
        assert_eq!(human_count(1_234_567), "1,234,567");
        assert_eq!(human_bytes(999), "999 B");
        assert_eq!(human_bytes(1_500_000), "1.5 MB");
    }
}
