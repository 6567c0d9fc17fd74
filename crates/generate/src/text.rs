//! A document under construction that records the positions of planted lines.

use std::fmt::{self, Write};

/// Line end of Windows.
const END: &str = "\r\n";

#[derive(Clone, Debug, Default)]
pub(crate) struct TextBuilder {
    pub text: String,
    pub planted: Vec<Planted>,
    lines: u64,
}

/// Position of a planted line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Planted {
    /// Index of the plant.
    pub plant: usize,
    /// Line number, from 1.
    pub line: u64,
    /// Offset in the decoded text, from 0.
    ///
    /// **Units**: bytes.
    pub offset: u64,
}

impl TextBuilder {
    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            text: String::with_capacity(bytes),
            ..Self::default()
        }
    }

    pub fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.end_line();
    }

    pub fn lines<'a>(&mut self, lines: impl IntoIterator<Item = &'a str>) {
        lines.into_iter().for_each(|line| self.line(line));
    }

    pub fn put(&mut self, line: fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(line);
        self.end_line();
    }

    /// An underlined heading, as in PowerShell tables.
    pub fn heading(&mut self, heading: &str) {
        self.line("");
        self.line(heading);
        self.line(&dashes(heading));
    }

    /// Adds `line` and records the position of `needle` in it.
    pub fn plant(&mut self, plant: usize, line: &str, needle: &str) {
        let within = line.find(needle).unwrap_or(0);
        self.planted.push(Planted {
            plant,
            line: self.lines + 1,
            offset: (self.text.len() + within) as u64,
        });
        self.line(line);
    }

    pub fn end_line(&mut self) {
        self.text.push_str(END);
        self.lines += 1;
    }
}

/// The underline of each word of a heading.
fn dashes(heading: &str) -> String {
    let under = |letter| if letter == ' ' { ' ' } else { '-' };
    heading.chars().map(under).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_line_is_at_its_recorded_position() {
        let mut text = TextBuilder::default();
        text.line("one");
        text.plant(3, "the needle here", "needle");
        text.put(format_args!("{}", 3));
        let planted = text.planted[0];
        assert_eq!((planted.plant, planted.line), (3, 2));
        assert!(text.text[planted.offset as usize..].starts_with("needle here\r\n3"));
    }

    #[test]
    fn heading_is_underlined_word_by_word() {
        assert_eq!(dashes("   PID Name"), "   --- ----");
    }
}
