//! What is asked: a tree of our own, whatever answers it.
//!
//! AND, OR and NOT judge one *member*: a content at a place, with all its
//! parts (the output and the errors of a transcript are one member). The hits
//! are the lines in matching members that match a text asked for outside any
//! NOT. A member that matches by its fields alone is listed by its first line.

use jiff::Timestamp;

pub use crate::matcher::ip_network::IpNetwork;

/// A query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// Every member.
    All,
    Text(Text),
    Field(Field, String),
    /// Members whose field lies between two values, each with whether it is
    /// included. Exit codes are compared as numbers, the rest as text in any
    /// case.
    Range {
        field: Field,
        from: Option<(String, bool)>,
        to: Option<(String, bool)>,
    },
    /// Members whose time is known and lies from `since` on and before `until`.
    Time {
        since: Option<Timestamp>,
        until: Option<Timestamp>,
    },
    And(Vec<Query>),
    Or(Vec<Query>),
    Not(Box<Query>),
}

/// A text to be found within a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text {
    /// A word or phrase as written, in any case, with word borders at its ends.
    Term(String),
    /// The same; a blank in it stands for any blanks of a line, or for a line
    /// end with the blanks around that.
    Phrase(String),
    /// The same with `*` (any word characters) and `?` (one).
    Wildcard(String),
    Regex {
        pattern: String,
        ignore_case: bool,
    },
    /// A regular expression over whole texts: its matches may cross line ends.
    /// `^` and `$` hold at lines (`$` before any carriage return too), `.` leaves
    /// line feeds out unless `(?s)`.
    Multiline {
        pattern: String,
        ignore_case: bool,
    },
    /// A substring, anywhere.
    Fixed {
        text: String,
        ignore_case: bool,
    },
    /// A word that differs by no more than `distance` characters: 1 or 2.
    Fuzzy {
        word: String,
        distance: u8,
    },
    /// All of the words in one line, in any order, with no more than `within`
    /// other words between them.
    Near {
        words: Vec<String>,
        within: u32,
    },
    /// An address that lies in a network.
    IpNetwork(IpNetwork),
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Term(text) | Self::Wildcard(text) => f.write_str(text),
            Self::Phrase(text) => write!(f, "\"{text}\""),
            Self::Fuzzy { word, distance } => write!(f, "{word}~{distance}"),
            Self::Near { words, within } => write!(f, "\"{}\"~{within}", words.join(" ")),
            Self::IpNetwork(network) => write!(f, "{network}"),
            Self::Regex { pattern, .. } | Self::Multiline { pattern, .. } => {
                write!(f, "/{pattern}/")
            }
            Self::Fixed { text, .. } => write!(f, "{text:?}"),
        }
    }
}

/// What is known of a member besides its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    /// Machine id, full name, or name before the first dot.
    Device,
    /// Script name.
    Script,
    /// Action id, or its beginning.
    Action,
    /// Exit code of the transcript.
    Exit,
    /// Collected path or member name: the whole, or the last component.
    Path,
    /// `transcript`, `file` or `package`.
    Kind,
    /// Who asked: the whole, or the part before `@`.
    Requestor,
    /// Anywhere in the comment.
    Comment,
    /// The day of the time, UTC, as `2026-02-04`.
    Day,
}

impl Field {
    pub const ALL: [Self; 9] = [
        Self::Device,
        Self::Script,
        Self::Action,
        Self::Exit,
        Self::Path,
        Self::Kind,
        Self::Requestor,
        Self::Comment,
        Self::Day,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Script => "script",
            Self::Action => "action",
            Self::Exit => "exit",
            Self::Path => "path",
            Self::Kind => "kind",
            Self::Requestor => "requestor",
            Self::Comment => "comment",
            Self::Day => "day",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|field| field.as_str().eq_ignore_ascii_case(word))
    }
}

impl Query {
    /// Every line that matches a regular expression. Line-based by contract:
    /// nothing matches across a line feed, and a carriage return before it is
    /// no part of the line.
    pub fn regex(pattern: impl Into<String>, ignore_case: bool) -> Self {
        Self::Text(Text::Regex {
            pattern: pattern.into(),
            ignore_case,
        })
    }

    /// Every line in which a match begins that may cross line ends. Texts are
    /// built again and searched as wholes; one of more than 32 MiB in windows,
    /// in which a match of more than 4 MiB may be missed: `SearchStats::cut_texts`
    /// says so.
    pub fn multiline(pattern: impl Into<String>, ignore_case: bool) -> Self {
        Self::Text(Text::Multiline {
            pattern: pattern.into(),
            ignore_case,
        })
    }

    /// Every line that holds a text.
    pub fn fixed(text: impl Into<String>, ignore_case: bool) -> Self {
        Self::Text(Text::Fixed {
            text: text.into(),
            ignore_case,
        })
    }

    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, other) | (other, Self::All) => other,
            (Self::And(mut all), other) => {
                all.push(other);
                Self::And(all)
            }
            (one, other) => Self::And(vec![one, other]),
        }
    }
}

/// A query that cannot be read, with the place of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}, at character {}", at + 1)]
pub struct SyntaxError {
    /// **Units**: characters of the query before the place.
    pub at: usize,
    pub message: String,
    pub hint: Option<String>,
}

impl SyntaxError {
    pub(crate) fn new(at: usize, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
