//! What is searched for, as typed and as it is meant.

use jiff::Timestamp;

use index::{Field, HitOrder, IndexError, Query, SyntaxError, Text};

use crate::app::error::Failure;
use crate::app::parse_args::parse_time;

/// What to search for, as typed.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct SearchRequest {
    pub query: Option<String>,
    pub regex: Option<String>,
    pub fixed: Option<String>,
    /// The pattern may match over line ends.
    pub multiline: bool,
    pub ignore_case: bool,
    pub device: Option<String>,
    pub since: Option<String>,
    pub until: Option<String>,
    /// Lines that these baselines know are left out, and counted.
    pub exclude_baseline: Vec<String>,
    pub sort: Sort,
    pub context: u32,
    pub limit: Option<u64>,
    /// Leave out where in the lines the matches are: machines need none.
    #[serde(skip)]
    pub plain: bool,
    /// Wait until what is sealed by now is indexed.
    pub wait: bool,
}

/// What hits are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// The oldest first; what has no time comes last.
    #[default]
    Time,
    /// Lines on the fewest devices first.
    Rarity,
}

impl From<Sort> for HitOrder {
    fn from(sort: Sort) -> Self {
        match sort {
            Sort::Time => Self::OldestFirst,
            Sort::Rarity => Self::RarestFirst,
        }
    }
}

impl SearchRequest {
    /// What was typed as one query: everything given must hold.
    ///
    /// **Errors**: those that need no index, each with its place.
    pub(super) fn parse(&self, now: Timestamp) -> Result<Query, Failure> {
        let mut query = match &self.query {
            Some(text) if text.trim().is_empty() => return Err(empty()),
            Some(text) => Query::parse(text, now).map_err(|error| unreadable(error, text))?,
            None => Query::All,
        };
        if let Some(pattern) = &self.regex {
            query = query.and(match self.multiline {
                true => Query::multiline(pattern, self.ignore_case),
                false => Query::regex(pattern, self.ignore_case),
            });
        }
        if let Some(text) = &self.fixed {
            query = query.and(Query::fixed(text, self.ignore_case));
        }
        if let Some(device) = &self.device {
            query = query.and(Query::Field(Field::Device, device.clone()));
        }
        let time = |text: &Option<String>, is_end| {
            let text = text.as_deref();
            text.map(|t| parse_time(t, now, is_end)).transpose()
        };
        let (since, until) = (time(&self.since, false)?, time(&self.until, true)?);
        if since.is_some() || until.is_some() {
            query = query.and(Query::Time { since, until });
        }
        for pattern in patterns(&query) {
            if let Some(error) = misread(pattern) {
                return Err(self.blame(pattern, error));
            }
        }
        Ok(query)
    }

    /// What the index could not do, with the place where that is the query's
    /// fault.
    pub(super) fn query_failure(&self, error: IndexError, query: &Query) -> Failure {
        let IndexError::Query(error) = error else {
            return error.into();
        };
        match patterns(query).next() {
            Some(pattern) => self.blame(pattern, error),
            None => {
                let text = self.fixed.as_deref().or(self.query.as_deref());
                unreadable(error, text.unwrap_or(""))
            }
        }
    }

    /// An error whose place counts in a pattern, which may stand in the query.
    fn blame(&self, pattern: &str, error: SyntaxError) -> Failure {
        if self.regex.as_deref() == Some(pattern) {
            return unreadable(error, pattern);
        }
        let text = self.query.as_deref().unwrap_or(pattern);
        let escaped = pattern.replace('/', "\\/");
        let Some(begin) = text.find(&format!("/{escaped}/")) else {
            return unreadable(error, pattern);
        };
        let slashes = pattern.chars().take(error.at).filter(|c| *c == '/').count();
        let before = text.get(..begin).map_or(0, |head| head.chars().count());
        let at = before + 1 + slashes + error.at;
        unreadable(SyntaxError { at, ..error }, text)
    }

    /// Words with a colon that look like a field and are text.
    pub(super) fn unknown_fields(&self, query: &Query) -> Vec<String> {
        let typed = self.query.as_deref().unwrap_or("");
        let mut names: Vec<String> = texts(query)
            .into_iter()
            .filter_map(|text| match text {
                Text::Term(word) | Text::Wildcard(word) => {
                    let quoted = typed.contains(&format!("\"{word}"));
                    field_like(word).filter(|_| !quoted).map(str::to_string)
                }
                _ => None,
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    /// For the custody log.
    pub(super) fn command_text(&self) -> String {
        let flag =
            |name: &str, text: &Option<String>| text.as_ref().map(|t| format!("{name}'{t}'"));
        let switch = |name: &str, on: bool| on.then(|| name.to_string());
        [
            flag("", &self.query),
            flag("--regex ", &self.regex),
            switch("--multiline", self.multiline),
            flag("--fixed ", &self.fixed),
            switch("--ignore-case", self.ignore_case),
            flag("--device ", &self.device),
            flag("--since ", &self.since),
            flag("--until ", &self.until),
        ]
        .into_iter()
        .flatten()
        .chain(
            self.exclude_baseline
                .iter()
                .map(|name| format!("--exclude-baseline {name}")),
        )
        .collect::<Vec<_>>()
        .join(" ")
    }
}

fn empty() -> Failure {
    Failure::usage("the query is empty").hint(
        "write a word, a field as in device:pc17, or * for everything; `afteraction help query` tells more",
    )
}

fn unreadable(error: SyntaxError, text: &str) -> Failure {
    let place = error.at + 1;
    let failure = Failure::usage(format!(
        "could not read the query: {}, at character {place}",
        error.message
    ))
    .pointing(text, error.at);
    match error.hint {
        Some(hint) => failure.hint(hint),
        None => failure.hint("`afteraction help query` shows how queries are written"),
    }
}

fn texts(query: &Query) -> Vec<&Text> {
    match query {
        Query::Text(text) => vec![text],
        Query::And(queries) | Query::Or(queries) => queries.iter().flat_map(texts).collect(),
        Query::Not(query) => texts(query),
        _ => Vec::new(),
    }
}

fn patterns(query: &Query) -> impl Iterator<Item = &str> {
    texts(query).into_iter().filter_map(|text| match text {
        Text::Regex { pattern, .. } | Text::Multiline { pattern, .. } => Some(pattern.as_str()),
        _ => None,
    })
}

/// A pattern that cannot be read is said before anything is opened.
fn misread(pattern: &str) -> Option<SyntaxError> {
    let error = regex_syntax::parse(pattern).err()?;
    let (message, offset) = match &error {
        regex_syntax::Error::Parse(e) => (e.kind().to_string(), e.span().start.offset),
        regex_syntax::Error::Translate(e) => (e.kind().to_string(), e.span().start.offset),
        other => (other.to_string(), 0),
    };
    Some(SyntaxError {
        at: pattern.get(..offset).map_or(0, |head| head.chars().count()),
        message: format!("the pattern cannot be read: {message}"),
        hint: Some("use --fixed to find it as it stands".into()),
    })
}

/// The name in `name:value`. A drive (`C:\`), an address (`fe80::1`) and a URL
/// (`http://`) are none.
fn field_like(word: &str) -> Option<&str> {
    let (name, value) = word.split_once(':')?;
    let is_name = name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let is_value = !value.is_empty() && !value.starts_with(['\\', '/', ':']);
    (is_name && is_value).then_some(name)
}

/// A query as it was describe_query, in the words it is typed with.
pub(super) fn describe_query(query: &Query) -> String {
    let all = |queries: &[Query], word: &str| {
        let parts: Vec<_> = queries.iter().map(describe_query).collect();
        format!("({})", parts.join(word))
    };
    let end = |end: &Option<(String, bool)>| match end {
        Some((value, _)) => format!("\"{value}\""),
        None => "*".into(),
    };
    match query {
        Query::All => "*".into(),
        Query::Text(text) => said_text(text),
        Query::Field(field, value) => format!("{}:\"{value}\"", field.as_str()),
        Query::Range { field, from, to } => {
            let is_out = |end: &Option<(String, bool)>| end.as_ref().is_some_and(|end| !end.1);
            let open = if is_out(from) { '{' } else { '[' };
            let close = if is_out(to) { '}' } else { ']' };
            let (from, to) = (end(from), end(to));
            format!("{}:{open}{from} TO {to}{close}", field.as_str())
        }
        Query::Time { since, until } => {
            let time = |t: &Option<Timestamp>| t.map_or("*".to_string(), |t| t.to_string());
            format!("time:[{} TO {}}}", time(since), time(until))
        }
        Query::And(queries) => all(queries, " AND "),
        Query::Or(queries) => all(queries, " OR "),
        Query::Not(query) => format!("NOT {}", describe_query(query)),
    }
}

fn said_text(text: &Text) -> String {
    match text {
        Text::Regex {
            pattern,
            ignore_case,
        } => {
            let flag = if *ignore_case { "i" } else { "" };
            format!("/{}/{flag}", pattern.replace('/', "\\/"))
        }
        Text::Multiline {
            pattern,
            ignore_case,
        } => {
            let case = if *ignore_case { " in any case" } else { "" };
            format!("over line ends {pattern:?}{case}")
        }
        Text::Fixed {
            text,
            ignore_case: true,
        } => format!("exactly {text:?} in any case"),
        Text::Fixed { text, .. } => format!("exactly {text:?}"),
        Text::Term(word) => format!("\"{word}\""),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-02-10T12:00:00Z".parse().unwrap()
    }

    fn typed(query: &str) -> SearchRequest {
        SearchRequest {
            query: Some(query.into()),
            ..SearchRequest::default()
        }
    }

    fn place(request: &SearchRequest) -> (String, usize) {
        let failure = request.parse(now()).unwrap_err();
        let (text, at) = failure.points_at().unwrap();
        (text.into(), at)
    }

    #[test]
    fn an_error_in_a_pattern_points_into_the_query() {
        assert_eq!(place(&typed("a /b(c/")), ("a /b(c/".into(), 4));
        assert_eq!(place(&typed(r"é /\/x(y/")), (r"é /\/x(y/".into(), 6));
        let flag = SearchRequest {
            regex: Some("ab[".into()),
            ..typed("a OR b")
        };
        assert_eq!(place(&flag), ("ab[".into(), 2));
        assert_eq!(place(&typed("x \"open")), ("x \"open".into(), 2));
    }

    #[test]
    fn a_word_that_looks_like_a_field_is_told_from_what_evidence_holds() {
        for (word, field) in [
            ("bogus:1", Some("bogus")),
            ("user_name:x", Some("user_name")),
            ("C:\\Windows", None),
            ("HKLM:\\Software", None),
            ("http://x", None),
            ("fe80::1", None),
            ("10.0.0.5:80", None),
            (":4444", None),
            ("end:", None),
        ] {
            assert_eq!(field_like(word), field, "{word}");
        }
        let query = typed("a bogus:1 \"other:2\"").parse(now()).unwrap();
        let seeming = typed("a bogus:1 \"other:2\"").unknown_fields(&query);
        assert_eq!(seeming, ["bogus"]);
    }

    #[test]
    fn a_query_is_said_as_it_was_understood() {
        let request = SearchRequest {
            device: Some("pc*".into()),
            since: Some("2h".into()),
            ..typed("a OR NOT \"b c\" exit:>0")
        };
        assert_eq!(
            describe_query(&request.parse(now()).unwrap()),
            "((\"a\" OR (NOT \"b c\" AND exit:{\"0\" TO *])) AND device:\"pc*\" \
             AND time:[2026-02-10T10:00:00Z TO *})"
        );
    }
}
