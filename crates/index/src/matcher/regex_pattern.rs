//! Regular expressions over lines, or over whole texts.
//!
//! A line is what stands before its line feed, without a carriage return
//! before that. `^` and `$` hold at its ends, `.` and classes take everything
//! in it, carriage returns too, and never a line feed.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Capture, Class, ClassUnicode, ClassUnicodeRange, Hir, HirKind, Look};

use crate::query::ast::SyntaxError;

/// **Units**: bytes all compiled patterns of a query may take; `regex`'s own
/// measure.
pub(crate) const PATTERNS_MAX: usize = 64 << 20;

/// A pattern whose matches lie within a line.
#[derive(Clone)]
pub(crate) struct LinePattern {
    /// Run over many lines at once: it knows no carriage return from another,
    /// so that it finds every line that matches, and some that do not.
    skim: Regex,
    /// Run over one line without its end.
    exact: Regex,
    /// Where a line ends makes a difference.
    looks_at_end: bool,
    /// What stands around a match makes a difference.
    looks: bool,
    /// **Units**: bytes of the longest match; `None` where there is none.
    pub(crate) len_max: Option<usize>,
}

impl LinePattern {
    /// `size`: bytes it may take once compiled.
    pub(crate) fn compile(
        pattern: &str,
        ignore_case: bool,
        size: usize,
    ) -> Result<(Self, Hir), SyntaxError> {
        let hir = read(pattern, ignore_case)?;
        refuse_line_feeds(&hir)?;
        let exact = rewrite(&hir, &Rules::LINE);
        let skim = rewrite(&hir, &Rules::LINES);
        let looks = hir.properties().look_set();
        let looks_at_end = [Look::End, Look::EndLF, Look::EndCRLF];
        Ok((
            Self {
                skim: build(&skim, size / 2)?,
                exact: build(&exact, size / 2)?,
                looks_at_end: looks_at_end.into_iter().any(|look| looks.contains(look)),
                looks: !looks.is_empty(),
                len_max: exact.properties().maximum_len(),
            },
            exact,
        ))
    }

    /// The first match from `from` on in a line with its end.
    pub(crate) fn find(&self, line: &str, from: usize) -> Option<(usize, usize)> {
        let body = without_end(line);
        (from <= body.len()).then_some(())?;
        let found = self.exact.find_at(body, from)?;
        Some((found.start(), found.end()))
    }

    /// Where the first line may match that does from `from` on, which is the
    /// beginning of one; and whether it surely does.
    pub(crate) fn skim(&self, lines: &str, from: usize) -> Option<(usize, bool)> {
        (from <= lines.len()).then_some(())?;
        let found = self.skim.find_at(lines, from)?;
        let before_end = found
            .end()
            .checked_sub(1)
            .and_then(|at| lines.as_bytes().get(at));
        let is_sure = !self.looks_at_end && before_end != Some(&b'\r');
        Some((found.start(), is_sure))
    }

    /// Whether what stands around a match makes a difference.
    pub(crate) fn looks(&self) -> bool {
        self.looks
    }
}

/// A line without its line feed and the carriage return before that. One that
/// has no line feed has no such end.
pub(crate) fn without_end(line: &str) -> &str {
    match line.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line),
        None => line,
    }
}

/// A pattern over whole texts.
#[derive(Clone)]
pub(crate) struct TextPattern {
    pub(crate) regex: Regex,
    /// What stands around a match makes a difference.
    pub(crate) looks: bool,
    /// **Units**: bytes of the longest match; `None` where there is none.
    pub(crate) len_max: Option<usize>,
}

impl TextPattern {
    pub(crate) fn compile(
        pattern: &str,
        ignore_case: bool,
        size: usize,
    ) -> Result<Self, SyntaxError> {
        let hir = rewrite(&read(pattern, ignore_case)?, &Rules::TEXT);
        Ok(Self {
            regex: build(&hir, size)?,
            looks: !hir.properties().look_set().is_empty(),
            len_max: hir.properties().maximum_len(),
        })
    }
}

fn read(pattern: &str, ignore_case: bool) -> Result<Hir, SyntaxError> {
    let mut parser = regex_syntax::ParserBuilder::new();
    let parser = parser.multi_line(true).case_insensitive(ignore_case);
    let hir = parser.build().parse(pattern);
    hir.map_err(|error| pattern_error(pattern, &error))
}

fn build(hir: &Hir, size: usize) -> Result<Regex, SyntaxError> {
    RegexBuilder::new(&hir.to_string())
        .size_limit(size)
        .build()
        .map_err(|error| SyntaxError::new(0, format!("the pattern cannot be used: {error}")))
}

fn pattern_error(pattern: &str, error: &regex_syntax::Error) -> SyntaxError {
    let (message, offset) = match error {
        regex_syntax::Error::Parse(error) => (error.kind().to_string(), error.span().start.offset),
        regex_syntax::Error::Translate(error) => {
            (error.kind().to_string(), error.span().start.offset)
        }
        other => (other.to_string(), 0),
    };
    let at = pattern.get(..offset).map_or(0, |head| head.chars().count());
    SyntaxError::new(at, format!("the pattern cannot be read: {message}"))
        .hint("use --fixed to find it as it stands")
}

/// What a pattern's looks at the ends of lines become.
struct Rules {
    keeps_feeds: bool,
    start: &'static [Look],
    /// `\z`
    text_end: &'static [Look],
    /// `$`
    end: &'static [Look],
}

impl Rules {
    /// One line without its end.
    const LINE: Self = Self {
        keeps_feeds: false,
        start: &[Look::Start],
        text_end: &[Look::End],
        end: &[Look::End],
    };
    /// Many lines: an end is wherever there may be one.
    const LINES: Self = Self {
        keeps_feeds: false,
        start: &[Look::StartLF],
        text_end: &[Look::EndCRLF, Look::EndLF],
        end: &[Look::EndCRLF, Look::EndLF],
    };
    /// A text: a line ends before its line feed, and before a carriage return
    /// whatever follows that, which cannot be asked.
    const TEXT: Self = Self {
        keeps_feeds: true,
        start: &[],
        text_end: &[],
        end: &[Look::EndCRLF, Look::EndLF],
    };

    fn look(&self, look: Look) -> &[Look] {
        match look {
            Look::Start | Look::StartLF => self.start,
            Look::End => self.text_end,
            Look::EndLF => self.end,
            _ => &[],
        }
    }
}

fn refuse_line_feeds(hir: &Hir) -> Result<(), SyntaxError> {
    let all = |parts: &[Hir]| parts.iter().try_for_each(refuse_line_feeds);
    match hir.kind() {
        HirKind::Literal(literal) if literal.0.contains(&b'\n') => {
            Err(SyntaxError::new(0, "a pattern never matches a line feed")
                .hint("search for the two lines one by one, or with --multiline"))
        }
        HirKind::Repetition(repetition) => refuse_line_feeds(&repetition.sub),
        HirKind::Capture(capture) => refuse_line_feeds(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => all(parts),
        _ => Ok(()),
    }
}

fn rewrite(hir: &Hir, rules: &Rules) -> Hir {
    let all = |parts: &[Hir]| parts.iter().map(|part| rewrite(part, rules)).collect();
    match hir.kind() {
        HirKind::Class(class) if !rules.keeps_feeds => Hir::class(without_feed(class.clone())),
        HirKind::Look(look) => match rules.look(*look) {
            [] => Hir::look(*look),
            looks => Hir::alternation(looks.iter().map(|look| Hir::look(*look)).collect()),
        },
        HirKind::Repetition(repetition) => {
            let mut repetition = repetition.clone();
            repetition.sub = Box::new(grouped(rewrite(&repetition.sub, rules)));
            Hir::repetition(repetition)
        }
        HirKind::Capture(capture) => rewrite(&capture.sub, rules),
        HirKind::Concat(parts) => Hir::concat(all(parts)),
        HirKind::Alternation(parts) => Hir::alternation(all(parts)),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) => hir.clone(),
    }
}

/// A repetition that is repeated, in a group: as text `(?:a+)?` would be `a+?`,
/// which is something else.
fn grouped(hir: Hir) -> Hir {
    match hir.kind() {
        HirKind::Repetition(_) => Hir::capture(Capture {
            index: 1,
            name: None,
            sub: Box::new(hir),
        }),
        _ => hir,
    }
}

fn without_feed(class: Class) -> Class {
    match class {
        Class::Unicode(mut class) => {
            class.difference(&ClassUnicode::new([ClassUnicodeRange::new('\n', '\n')]));
            Class::Unicode(class)
        }
        Class::Bytes(mut class) => {
            let feed = regex_syntax::hir::ClassBytesRange::new(b'\n', b'\n');
            class.difference(&regex_syntax::hir::ClassBytes::new([feed]));
            Class::Bytes(class)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(pattern: &str) -> LinePattern {
        LinePattern::compile(pattern, false, PATTERNS_MAX)
            .unwrap()
            .0
    }

    #[test]
    fn a_pattern_never_leaves_its_line() {
        let compile = |pattern| LinePattern::compile(pattern, false, PATTERNS_MAX);
        assert_eq!(line(r"a\s*[^x]b$").skim("a\n b\r\n", 0), None);
        assert_eq!(line(r"a\s*[^x]b$").find("a  b\r\n", 0), Some((0, 4)));
        assert!(compile(r"a\nb").is_err());
        assert!(compile(r"a[\n]b").is_err());
        assert_eq!(compile("ab(c").err().unwrap().at, 2);
    }

    #[test]
    fn a_carriage_return_ends_a_line_only_before_its_line_feed() {
        for (pattern, text, found) in [
            ("foo$", "foo\r\n", Some((0, 3))),
            ("foo$", "foo\n", Some((0, 3))),
            ("foo$", "foo\r\r\n", None),
            ("foo.$", "foo\r\r\n", Some((0, 4))),
            ("foo$", "foo\rbar\r\n", None),
            ("^bar", "foo\rbar\r\n", None),
            ("10%.*100%", "10%\r 100%\r\n", Some((0, 9))),
            ("foo.", "foo\r\n", None),
            (r"foo\s", "foo\r\n", None),
            (r"foo\s", "foo \r\n", Some((0, 4))),
            (".*", "foo\r\n", Some((0, 3))),
            ("[^x]*$", "ab\r\n", Some((0, 2))),
            ("^$", "\r\n", Some((0, 0))),
            ("^$", "\n", Some((0, 0))),
            (r"\z", "a\r\n", Some((1, 1))),
            (r"\B", "a\r\n", None),
            (r"foo$\b", "foo\r\n", Some((0, 3))),
            ("foo$", "foo\r", None),
            ("foo.$", "foo\r", Some((0, 4))),
            ("foo$|o", "foo\r", Some((1, 2))),
        ] {
            let pattern = line(pattern);
            assert_eq!(pattern.find(text, 0), found, "{:?} {text:?}", pattern.exact);
            let before = format!("x y\r\n{text}");
            match pattern.skim(&before, 5) {
                Some((_, is_sure)) => assert!(!is_sure || found.is_some(), "{text:?}"),
                None => assert_eq!(found, None, "{:?} {text:?}", pattern.exact),
            }
        }
    }

    #[test]
    fn over_a_text_a_line_ends_before_its_carriage_return_too() {
        for (pattern, text, found) in [
            ("foo$", "foo\r\nbar", Some((0, 3))),
            ("foo\r$", "foo\r\nbar", Some((0, 4))),
            ("^$", "a\r\n\r\nb", Some((3, 3))),
            (r"a$\s+^b", "a\r\n\r\n  \nb", Some((0, 9))),
            ("^bar", "foo\rbar", None),
            ("a.*c", "a\rb\rc\n", Some((0, 5))),
            (r"b\z", "b\nb", Some((2, 3))),
        ] {
            let compiled = TextPattern::compile(pattern, false, PATTERNS_MAX).unwrap();
            let place = compiled.regex.find(text).map(|m| (m.start(), m.end()));
            assert_eq!(place, found, "{pattern} {text:?}");
        }
    }

    #[test]
    fn a_repetition_of_a_repetition_stays_what_it_is() {
        let times = [
            "?", "*", "+", "{2}", "{0,1}", "{1,2}", "{2,}", "??", "*?", "+?", "{2}?", "{1,2}?",
            "{2,}?",
        ];
        let nested = times.iter().flat_map(|a| times.map(|b| (a, b)));
        for (inner, outer) in nested {
            for pattern in [
                format!(r"x(\d{inner}){outer}y?"),
                format!(r"x(?:(?:\d{inner})){outer}"),
                format!(r"x(?:(a|bc{inner}){outer}d){outer}"),
                format!(r"(?:(^x|\b){inner}){outer}\d"),
            ] {
                let (ours, whole) = (line(&pattern), pattern.as_str());
                let whole = TextPattern::compile(whole, false, PATTERNS_MAX).unwrap();
                let plain = Regex::new(&pattern).unwrap();
                for text in [
                    "x",
                    "xy",
                    "x1y",
                    "x12",
                    "x1234y",
                    "xabcbccadd",
                    "xdbcd",
                    "1 x1",
                ] {
                    let found = plain.find(text).map(|m| (m.start(), m.end()));
                    assert_eq!(ours.find(text, 0), found, "{pattern} {text}");
                    let place = whole.regex.find(text).map(|m| (m.start(), m.end()));
                    assert_eq!(place, found, "{pattern} {text} over a text");
                }
            }
        }
    }

    #[test]
    fn patterns_have_a_size() {
        let error = LinePattern::compile(r"\w{1000}", false, 1 << 20)
            .err()
            .unwrap();
        assert!(error.message.contains("cannot be used"), "{error}");
        assert_eq!(line("a{3}b?").len_max, Some(4));
        assert_eq!(line("a+").len_max, None);
    }
}
